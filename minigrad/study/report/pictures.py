"""Pictures within the page: a figure becomes data that needs no file, the same bytes for the same figure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from .markup import Html, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A picture of more bytes than these as SVG becomes pixels, of which a screen has only so many.
LARGEST_SVG = 300_000
_DPI = 200


def picture(draw: Callable[[], Figure], alt: str, caption: str) -> Html:
    """A figure with a text that stands for it, and a caption.

    Args:
        draw: makes the figure; what the user has set of matplotlib does not count.
        alt: what is to be seen, for who does not see it.
        caption: how to read it.
    """
    import matplotlib.style

    settings = {"svg.fonttype": "path", "svg.hashsalt": "minigrad", "savefig.facecolor": "white"}
    with matplotlib.style.context(["default", settings]):
        figure = draw()
        kind, data = "svg+xml", _svg(figure)
        if len(data) > LARGEST_SVG:
            figure.set_layout_engine("none")  # as it has been laid out
            kind, data = "png", _saved(figure, "png", {"Software": None})
    return image(kind, data, alt, caption, *(round(float(inches) * 96) for inches in figure.get_size_inches()))


def image(kind: str, data: bytes, alt: str, caption: str, width: int, height: int) -> Html:
    """A picture in the page, as wide as it is meant where there is room; the narrow page scrolls it by itself."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    shown = tag("img", src=source, alt=alt, width=width, height=height)
    frame = tag("div", shown, class_="scroll", tabindex=0, role="group", aria_label=caption)
    return tag("figure", frame, tag("figcaption", caption))


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    data = BytesIO()
    figure.savefig(data, format=kind, dpi=_DPI, metadata=metadata)
    return data.getvalue()


def _svg(figure: Figure) -> bytes:
    """The figure as SVG without what nobody sees: prologue, comments, and digits far below a pixel."""
    text = _saved(figure, "svg", dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = re.sub(rb"<!--.*?-->\s*", b"", text[text.index(b"<svg") :], flags=re.S)
    shorter = re.compile(rb"(\.\d\d)\d+")
    text = re.sub(rb'(?<=\bd=")[^"]*', lambda path: shorter.sub(rb"\1", path[0]).replace(b"\n", b""), text)
    return re.sub(rb"\n\s*", b"\n", text)
