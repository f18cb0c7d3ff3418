"""Pictures within the page: a figure becomes data that needs no file, the same bytes for the same figure."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from .markup import Html, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A picture of more bytes than these as SVG becomes pixels, of which a screen has only so many. One with more panels
# than these would be so large that SVG is not tried.
LARGEST_SVG, MOST_PANELS = 130_000, 8
_DPI, _COLORS = 130, 128


def picture(draw: Callable[[], Figure], alt: str, caption: str) -> Html:
    """A figure with a text that stands for it, and a caption.

    Args:
        draw: makes the figure; what the user has set of matplotlib does not count.
        alt: what is to be seen, for who does not see it.
        caption: how to read it.
    """
    import matplotlib.style

    settings = {"svg.fonttype": "path", "svg.hashsalt": "minigrad", "savefig.facecolor": "white"}
    quiet = np.errstate(over="ignore")  # of ticks, where values are as large as a float can be
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings(), quiet:
        # A name in a script that the font does not have is drawn as squares; the page has it in its text.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = draw()
        data = _svg(figure) if len(figure.axes) <= MOST_PANELS else b""
        kind = "svg+xml"
        if not 0 < len(data) <= LARGEST_SVG:
            kind, data = "png", _png(figure)
    return image(kind, data, alt, caption, *(round(float(inches) * 96) for inches in figure.get_size_inches()))


def image(kind: str, data: bytes, alt: str, caption: str, width: int, height: int) -> Html:
    """A picture in the page, as wide as it is meant where there is room; the narrow page scrolls it by itself."""
    shown = tag("img", src=data_url(kind, data), alt=alt, width=width, height=height)
    frame = tag("div", shown, class_="scroll", tabindex=0, role="group", aria_label=caption)
    return tag("figure", frame, tag("figcaption", caption))


def data_url(kind: str, data: bytes) -> str:
    """An address that holds the picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _png(figure: Figure) -> bytes:
    """The figure as PNG in as many colors as it needs to look the same."""
    from PIL import Image

    data, small = BytesIO(), BytesIO()
    figure.savefig(data, format="png", dpi=_DPI)
    Image.open(data).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def _svg(figure: Figure) -> bytes:
    """The figure as SVG without what nobody sees: prologue, comments, and digits far below a pixel."""
    data = BytesIO()
    figure.savefig(data, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = data.getvalue()
    text = re.sub(rb"<!--.*?-->\s*", b"", text[text.index(b"<svg") :], flags=re.S)
    shorter = re.compile(rb"(\.\d\d)\d+")
    text = re.sub(rb'(?<=\bd=")[^"]*', lambda path: shorter.sub(rb"\1", path[0]).replace(b"\n", b""), text)
    return re.sub(rb"\n\s*", b"\n", text)
