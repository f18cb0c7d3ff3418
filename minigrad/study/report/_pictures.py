"""The pictures of a page: figures embedded as data, with the same bytes for the same figure, and sparklines."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..records.recording import Record, Recording
from ._text import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

# A picture with more bytes as SVG than LARGEST_SVG is embedded as pixels, since a screen shows no more. With more
# panels than MOST_PANELS, SVG is not even tried.
LARGEST_SVG, MOST_PANELS = 130_000, 8
_DPI, _COLORS = 130, 128  # of pictures in pixels
RECORDS = 200  # drawn at most: a picture is hardly wider
LAYERS = 60  # nor higher
_LONGEST = 40  # characters of a name in a picture


class Picture(NamedTuple):
    """An embedded picture: its address, which holds all of it, and the size at which it is shown."""

    source: str
    width: int
    height: int


def picture(draw: Callable[[], Figure]) -> Picture:
    """Embed the figure that ``draw`` returns. The user's settings of matplotlib do not count."""
    import matplotlib.style

    settings = {"svg.fonttype": "path", "svg.hashsalt": "minigrad", "savefig.facecolor": "white"}
    quiet = np.errstate(over="ignore")  # in matplotlib's ticks, if values are near the largest float
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings(), quiet:
        # Letters that the font does not have are drawn as squares; the page has the name in its text.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = draw()
        data = _svg(figure) if len(figure.axes) <= MOST_PANELS else b""
        kind = "svg+xml"
        if not 0 < len(data) <= LARGEST_SVG:
            kind, data = "png", _png(figure)
    width, height = (round(float(inches) * 96) for inches in figure.get_size_inches())
    return Picture(data_url(kind, data), width, height)


def data_url(kind: str, data: bytes) -> str:
    """Return an address that holds the picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _png(figure: Figure) -> bytes:
    """The figure as PNG, in as few colors as look the same."""
    from PIL import Image

    data, small = BytesIO(), BytesIO()
    figure.savefig(data, format="png", dpi=_DPI)
    Image.open(data).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def _svg(figure: Figure) -> bytes:
    """The figure as SVG, without prologue, comments, and digits far below a pixel."""
    data = BytesIO()
    figure.savefig(data, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = data.getvalue()
    text = re.sub(rb"<!--.*?-->\s*", b"", text[text.index(b"<svg") :], flags=re.S)
    longer = re.compile(rb"(\.\d\d)\d+")
    text = re.sub(rb'(?<=\bd=")[^"]*', lambda path: longer.sub(rb"\1", path[0]).replace(b"\n", b""), text)
    return re.sub(rb"\n\s*", b"\n", text)


def learning_rate(steps: npt.NDArray[np.int64], rates: npt.NDArray[np.float64]) -> Figure:
    """Draw the learning rate of each step."""
    from ..plots._labels import tidy
    from ..plots.style import COLORS, canvas, finish, steps_axis

    figure, ax = canvas(None, 7.5, 2.8)
    changes = np.unique([0, len(rates) - 1, *np.flatnonzero(np.diff(rates)), *np.flatnonzero(np.diff(rates)) + 1])
    ax.step(steps[changes], rates[changes], where="post", color=COLORS[0], linewidth=1.6)
    steps_axis(ax, steps)
    ax.set_ylim(bottom=0.0)
    tidy(ax, "Learning rate", "step", "learning rate")
    return finish(figure, None)


# --- recordings that can be drawn ------------------------------------------------------------------------------------


def drawable(recording: Recording) -> Recording:
    """Thin a recording to what a picture can show, with short names on one line.

    Records and layers are evenly spread. Records with values that are not finite are kept.
    """
    records = recording.records
    bad = (i for i, record in enumerate(records) if any("nonfinite" in layer for layer in record["layers"].values()))
    chosen = sorted({*spread(range(len(records)), RECORDS), *islice(bad, RECORDS)})
    outputs = set(spread(recording.activations, LAYERS))
    kept = of_layers(Recording(recording.header, (_only(records[i], outputs) for i in chosen)), LAYERS)
    return Recording(*short_names([kept.header, kept.records]))


def of_layers(recording: Recording, count: int) -> Recording:
    """Return the recording with at most this many of its layers, evenly spread."""
    if len(recording.layers) <= count:
        return recording
    kept = {layer: recording.header["layers"][layer] for layer in spread(recording.layers, count)}
    records = [
        {**r, "layers": {name: r["layers"][name] for name in kept if name in r["layers"]}} for r in recording.records
    ]
    return Recording({**recording.header, "layers": kept}, records)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most this many items, evenly spread from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return [items[i] for i in places]


def _only(record: Record, outputs: set[str]) -> Record:
    if len(record.get("activations", {})) <= LAYERS:
        return record
    return {**record, "activations": {name: each for name, each in record["activations"].items() if name in outputs}}


def short_names(value: Any) -> Any:
    """Replace every text in nested lists and dictionaries by one that can be drawn, different texts by different ones.

    A line break would begin a second line in Matplotlib, and a long name would leave no room for the picture.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()

    def short(name: str) -> str:
        if name not in found:
            text = " ".join(readable(name).split())
            if len(text) > _LONGEST:
                text = text[:_LONGEST] + "…"
            while text != name and (text in taken or not text.endswith(" ")):
                text += " "  # an unchanged name does not end with a space, so no two are the same
            taken.add(text)
            found[name] = text
        return found[name]

    def within(value: Any) -> Any:
        if isinstance(value, dict):
            return {short(key): within(each) for key, each in value.items()}
        if isinstance(value, list) and value and not isinstance(value[0], int | float):
            return [within(each) for each in value]
        return short(value) if isinstance(value, str) else value

    return within(value)


# --- sparks: pictures as small as a word, drawn in the page's colors -------------------------------------------------

WIDTH, HEIGHT, POINTS = 120, 26, 60


class Spark(NamedTuple):
    """A line as high as a row of text.

    Attributes:
        lines: the points of each stretch of finite values, as SVG has them.
        crosses: where values are NaN or infinite.
        end: the last point, if it is finite.
    """

    lines: list[str]
    crosses: list[str]
    end: tuple[str, str] | None


def spark(values: npt.NDArray[np.float64]) -> Spark | None:
    """Draw a series, on a logarithmic scale if it is positive and spans decades; ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    if len(values) > POINTS:
        even = spread(range(len(values)), POINTS)
        bad = np.flatnonzero(~np.isfinite(values))[:POINTS]  # which are always shown
        values = values[np.union1d(even, bad).astype(int)]
    ok = np.isfinite(values)
    if not ok.any():
        return Spark([], [], None)
    with np.errstate(all="ignore"):
        if (values[ok] > 0).all() and values[ok].max() > 30 * values[ok].min():
            values = np.log10(values)
        low, high = float(values[ok].min()), float(values[ok].max())
        level = np.full(len(values), 0.5) if high == low else (values - low) / (high - low)
    x = np.linspace(2, WIDTH - 2, len(values))
    y = HEIGHT - 4 - level * (HEIGHT - 8)
    pieces = np.split(np.arange(len(values)), np.flatnonzero(np.diff(ok.astype(int))) + 1)
    lines = [
        # A single value between two gaps is drawn as a dot: a line from itself to itself.
        " ".join(f"{x[i]:.3g},{y[i]:.3g}" for i in (piece if len(piece) > 1 else [*piece, *piece]))
        for piece in pieces
        if ok[piece[0]]
    ]
    crosses = [f"{x[i] - 2:.3g}" for i in np.flatnonzero(~ok)]
    return Spark(lines, crosses, (f"{x[-1]:.3g}", f"{y[-1]:.3g}") if ok[-1] else None)


def bars(counts: Sequence[float]) -> str:
    """Draw a histogram as high as a row of text: the path of its bars, as SVG has it."""
    top, width = max(counts, default=0), WIDTH / max(len(counts), 1)
    if not top > 0:
        return ""
    return "".join(
        f"M{i * width:.4g},{HEIGHT}v{-count / top * HEIGHT:.3g}h{width * 0.9:.3g}V{HEIGHT}z"
        for i, count in enumerate(counts)
        if count
    )
