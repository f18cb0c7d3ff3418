"""The style of all plots: figures without a display, colors that everyone can distinguish, fonts, axes."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...files import write_atomically
from ..records.recording import Recording, Source, opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = npt.NDArray[np.float64]

# Okabe and Ito's colors, which color-blind readers can distinguish; the dashes help in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
WARNING, QUIET = "#D55E00", "#666666"


# --- figures and files -----------------------------------------------------------------------------------------------


def canvas(
    ax: Axes | None, width: float = 7.5, height: float = 4.0, path: str | os.PathLike[str] | None = None
) -> tuple[Figure, Axes]:
    """The axes to draw in and their figure; a new figure if no axes are given.

    A new figure needs no display, and does not touch pyplot's state and backend.

    Raises:
        TypeError: for something that is not axes or not a path.
        ValueError: for a path without a name, or of a format that is not written.
    """
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if path is not None:
        picture_format(path)
    if ax is None:
        made = Figure(figsize=(width, height), layout="constrained")
        return made, made.add_subplot()
    if not isinstance(ax, Axes):
        several = ", of which it takes one" if isinstance(ax, np.ndarray | list | tuple) else ""
        raise TypeError(f"ax must be matplotlib's Axes, not {type(ax).__name__}{several}")
    figure: Any = ax.get_figure()
    if figure is None:
        raise ValueError("ax no longer belongs to a figure")
    return figure.figure, ax  # of a SubFigure, the figure that it is in


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format of a picture, from the suffix of its path."""
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, not {type(path).__name__}")
    name, known = Path(path), FigureCanvasBase.get_supported_filetypes()
    if not name.name:
        raise ValueError(f"path {os.fspath(path)!r} does not name a file")
    suffix = name.suffix.lower().removeprefix(".") or "png"
    if suffix not in known:
        raise ValueError(f"{path}: cannot write a picture as .{suffix}; the formats are {', '.join(sorted(known))}")
    return suffix


def finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure if a path is given, whole or not at all, in the format of its suffix; return the figure."""
    if path is not None:
        picture = BytesIO()
        figure.savefig(picture, format=picture_format(path), dpi=150)
        write_atomically(path, picture.getvalue())
    return figure


# --- recordings ------------------------------------------------------------------------------------------------------


def several(plot: str, source: Source | Mapping[str, Source]) -> dict[str, Recording]:
    """Recordings by name; a single one gets the name of its optimizer.

    Raises:
        TypeError: for something that is not a recording.
        ValueError: if there are no recordings, or one has no records.
    """
    given = source if isinstance(source, Mapping) else {"": source}
    if not given:
        raise ValueError(f"{plot}: nothing to draw: no recordings")
    found: dict[str, Recording] = {}
    for name, each in given.items():
        try:
            recording = opened(each)
        except TypeError as error:
            raise TypeError(f"{plot}{f', {name!r}' if name else ''}: {error}") from None
        if not len(recording):
            raise ValueError(f"{plot}{f', {name!r}' if name else ''}: nothing to draw: no records")
        found[str(name) if isinstance(source, Mapping) else recording.optimizer] = recording
    return found


def single(plot: str, source: Source) -> Recording:
    """One recording that has records."""
    if isinstance(source, Mapping):
        raise TypeError(f"{plot} draws one recording, not a dictionary of {len(source)}: call it for each, with ax=")
    return next(iter(several(plot, source).values()))


# --- letters and sizes ------------------------------------------------------------------------------------------------

FONT = 8.5
_LARGE = (4.2, 2.6)  # inches of axes with space for letters of that size, and for a legend to the right
LETTER = 0.53  # the width of a usual letter, over its size


def inches(ax: Axes) -> tuple[float, float]:
    """The width and height that the figure gives to the axes."""
    figure: Any = ax.get_figure()
    place, dpi = ax.get_position(original=True), figure.figure.dpi
    return place.width * figure.bbox.width / dpi, place.height * figure.bbox.height / dpi


def font(ax: Axes) -> float:
    """The font size in points, smaller in small axes such as the cells of a grid."""
    return max(6.5, FONT * min(1.0, *(have / need for have, need in zip(inches(ax), _LARGE, strict=True))) ** 0.4)


def is_wide(ax: Axes) -> bool:
    """Whether a legend at the right leaves enough for the data."""
    return inches(ax)[0] >= _LARGE[0]


def plain(text: object) -> str:
    """The text with ``$`` escaped: between two of them, Matplotlib would read a formula."""
    return str(text).replace("$", r"\$")


def wrapped(text: str, length: float, size: float) -> str:
    """The text in lines of at most ``length`` inches, for letters of ``size`` points."""
    return textwrap.fill(
        text, max(int(length * 72 / (LETTER * size)), 8), break_on_hyphens=False, break_long_words=False
    )


def shortened(names: Sequence[str], letters: int) -> list[str]:
    """Names without their middle if they are longer; in full if they would otherwise look alike."""
    head = letters // 3
    short = [n if len(n) <= letters else f"{n[:head]}…{n[head + 1 - letters :]}" for n in names]
    return short if len(set(short)) == len(set(names)) else list(names)


# --- axes ------------------------------------------------------------------------------------------------------------


def by_depth(count: int) -> list[Any]:
    """A color for each layer, dark for the first and light for the last, in steps that also print in gray."""
    from matplotlib import colormaps

    if count <= 1:
        return [COLORS[0]] * count
    return [colormaps["viridis"](place) for place in np.linspace(0.0, 0.88, count)]


def look(number: int) -> dict[str, Any]:
    """Color and dashes of one of several lines; the first 28 all differ."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number % len(DASHES)]}


def dot(points: int) -> dict[str, Any]:
    """A marker if there are few points, which a line would hide."""
    return {"marker": "o" if points <= 3 else "", "markersize": 3.5}


def limit(ax: Axes, which: str, low: float, high: float) -> None:
    """Limits of the axis ``"x"`` or ``"y"``; axes that share it with others keep what those show in view."""
    others = getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax)
    if any(other is not ax and other.has_data() for other in others):
        before = sorted(getattr(ax, f"get_{which}lim")())
        shows_low = before[0] > 0 or getattr(ax, f"get_{which}scale")() != "log"
        low, high = min(low, before[0]) if shows_low else low, max(high, before[1])
    getattr(ax, f"set_{which}lim")(low, high)


def log_scale(ax: Axes, *values: Series | Sequence[float]) -> bool:
    """Make the vertical axis logarithmic if any value is above 0."""
    from ._ticks import PlainLogFormatter

    together = np.concatenate([np.asarray(each, np.float64).ravel() for each in values] or [np.empty(0)])
    positive = together[np.isfinite(together) & (together > 0)]
    if not positive.size:
        return False
    ax.set_yscale("log")
    low, high = positive.min(), positive.max()
    if high < 3 * low:  # less than half a decade would have hardly any ticks
        low, high = low / 2, high * 2
    limit(ax, "y", low / 1.5, min(high, 1e300) * 1.5)
    ax.yaxis.set_major_formatter(PlainLogFormatter())
    ax.yaxis.set_minor_formatter(PlainLogFormatter(labelOnlyBase=False, minor_thresholds=(1.5, 0.4)))
    return True


def steps_axis(ax: Axes, steps: npt.NDArray[Any]) -> None:
    """Whole steps on the horizontal axis, with some space around a single step."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8 if is_wide(ax) else 5, integer=True))
    first, last = int(steps[0]), int(steps[-1])
    limit(ax, "x", *((first - 1, last + 1) if first == last else (first, last)))
