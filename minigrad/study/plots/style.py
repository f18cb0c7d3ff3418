"""What all pictures share: a figure without a display, colours that everyone can tell apart, names beside the data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...schedulers.preview import COLOURS, DASHES
from ...training.files import write_atomically
from ..records.recording import Recording
from ..records.source import Source, opened
from .room import FONT, LETTER, Room, font, inches, is_wide, plain, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "DASHES", "FONT", "WARNING", "Source", "font", "inches", "plain", "shortened"]

Series = npt.NDArray[np.float64]

WARNING, QUIET = "#D55E00", "#666666"


# --- figures and files -----------------------------------------------------------------------------------------------


def canvas(
    ax: Axes | None, width: float = 7.5, height: float = 4.0, path: str | os.PathLike[str] | None = None
) -> tuple[Figure, Axes]:
    """The axes to draw in and their figure, a new one where none are given.

    A figure of its own needs no display, and leaves pyplot's state and backend alone.

    Raises:
        TypeError: for what is no axes or no path.
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
        raise ValueError("ax belongs to no figure any more")
    return figure.figure, ax  # of a SubFigure, the figure that it is in


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format that a picture is written in: the suffix of its path."""
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, not {type(path).__name__}")
    name, known = Path(path), FigureCanvasBase.get_supported_filetypes()
    if not name.name:
        raise ValueError(f"path {os.fspath(path)!r} names no file")
    suffix = name.suffix.lower().removeprefix(".") or "png"
    if suffix not in known:
        raise ValueError(f"{path}: no picture can be written as .{suffix}; there are {', '.join(sorted(known))}")
    return suffix


def finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure where a path is given, whole or not at all, in the format of its suffix; the figure."""
    if path is not None:
        picture = BytesIO()
        figure.savefig(picture, format=picture_format(path), dpi=150)
        write_atomically(path, picture.getvalue())
    return figure


# --- recordings ------------------------------------------------------------------------------------------------------


def several(plot: str, source: Source | Mapping[str, Source]) -> dict[str, Recording]:
    """Recordings by name; one alone has the name of its optimizer.

    Raises:
        TypeError: for what is none.
        ValueError: if there is none, or one has no records.
    """
    given = source if isinstance(source, Mapping) else {"": source}
    if not given:
        raise ValueError(f"{plot}: there is nothing to draw: no recordings")
    found: dict[str, Recording] = {}
    for name, each in given.items():
        try:
            recording = opened(each)
        except TypeError as error:
            raise TypeError(f"{plot}{f', {name!r}' if name else ''}: {error}") from None
        if not len(recording):
            raise ValueError(f"{plot}{f', {name!r}' if name else ''}: there is nothing to draw: no records")
        found[str(name) if isinstance(source, Mapping) else recording.optimizer] = recording
    return found


def single(plot: str, source: Source) -> Recording:
    """One recording that has records."""
    if isinstance(source, Mapping):
        raise TypeError(f"{plot} draws one recording, not a dictionary of {len(source)}: call it for each, with ax=")
    return next(iter(several(plot, source).values()))


# --- axes ------------------------------------------------------------------------------------------------------------


def by_depth(count: int) -> list[Any]:
    """A colour for each layer, dark for the first and light for the last, in steps that also print in grey."""
    from matplotlib import colormaps

    if count <= 1:
        return [COLOURS[0]] * count
    return [colormaps["viridis"](place) for place in np.linspace(0.0, 0.88, count)]


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of one of several lines, no two alike among the first 28."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def dot(points: int) -> dict[str, Any]:
    """A marker where there are few points, which a line alone would hide."""
    return {"marker": "o" if points <= 3 else "", "markersize": 3.5}


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Title, labels with units, a quiet grid, and a frame that does not shout. A title that is there stays."""
    size, (width, height) = font(ax), inches(ax)
    if not any(ax.get_title(loc=side) for side in ("left", "center", "right")):
        ax.set_title(plain(wrapped(title, width, size + 1)), fontsize=size + 1)
    ax.set_xlabel(plain(wrapped(x, width, size)), fontsize=size)
    ax.set_ylabel(plain(wrapped(y, height, size)), fontsize=size)
    ax.tick_params(labelsize=size, which="both")
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    Room.of(ax)


def limit(ax: Axes, which: str, low: float, high: float) -> None:
    """Limits of the axis ``"x"`` or ``"y"``; axes that share it with others keep what those show in view."""
    others = getattr(ax, f"get_shared_{which}_axes")().get_siblings(ax)
    if any(other is not ax and other.has_data() for other in others):
        before = sorted(getattr(ax, f"get_{which}lim")())
        shows_low = before[0] > 0 or getattr(ax, f"get_{which}scale")() != "log"
        low, high = min(low, before[0]) if shows_low else low, max(high, before[1])
    getattr(ax, f"set_{which}lim")(low, high)


def log_scale(ax: Axes, *values: Series | Sequence[float]) -> bool:
    """Make the vertical axis logarithmic if there is something above 0 to show on it."""
    together = np.concatenate([np.asarray(each, np.float64).ravel() for each in values] or [np.empty(0)])
    positive = together[np.isfinite(together) & (together > 0)]
    if not positive.size:
        return False
    ax.set_yscale("log")
    low, high = positive.min(), positive.max()
    if high < 3 * low:  # less than half a decade has hardly a tick: widen it
        low, high = low / 2, high * 2
    limit(ax, "y", low / 1.5, min(high, 1e300) * 1.5)
    _plain_ticks(ax)
    return True


def _plain_ticks(ax: Axes) -> None:
    """Few decades about 1 read best as 0.2 and 3, others as powers of ten."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            if not (text := super().__call__(x, pos)):
                return ""
            low, high = sorted(ax.get_ylim())
            return f"{x:g}" if low >= 1e-3 and high <= 1e4 else text

    ax.yaxis.set_major_formatter(Plain())
    ax.yaxis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(1.5, 0.4)))


def steps_axis(ax: Axes, steps: npt.NDArray[Any]) -> None:
    """Whole steps on the horizontal axis, and a little room beside a single one."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8 if is_wide(ax) else 5, integer=True))
    first, last = int(steps[0]), int(steps[-1])
    limit(ax, "x", *((first - 1, last + 1) if first == last else (first, last)))


def layer_ticks(ax: Axes, layers: Sequence[str]) -> None:
    """The layers' names along the horizontal axis; aslant where they are many or long, every so many where too many."""
    size, (width, height) = font(ax), inches(ax)
    names = shortened(layers, min(22, max(8, int(0.25 * height * 72 / (LETTER * 0.64 * size)))))
    long = (sum(map(len, names)) + 2 * len(names)) * 0.6 * size > 72 * width
    every = -(-len(names) * size // int(72 * width)) if long else 1
    shown = range(0, len(names), int(every))
    ax.set_xticks(
        shown, [plain(names[i]) for i in shown], rotation=40 if long else 0, ha="right" if long else "center",
        rotation_mode="anchor" if long else "default", fontsize=size,
    )  # fmt: skip
    limit(ax, "x", -0.5, len(layers) - 0.5)


# --- words beside the data -------------------------------------------------------------------------------------------


def label_ends(ax: Axes, ends: Iterable[tuple[str, npt.NDArray[Any], Series, Any]]) -> None:
    """Name each line, of name, places, values and colour, at its own end and in its colour.

    Names that would overlap are moved apart; of too many for the height, every so many is left out.
    """
    given = list(ends)
    names = shortened([name for name, *_ in given], max(8, int(inches(ax)[0] * 0.35 * 72 / (LETTER * font(ax)))))
    room = Room.of(ax)
    for shown, (_, places, values, colour) in zip(names, given, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        last = int(known[-1]) if known.size else len(places) - 1
        value = float(values[last]) if known.size else np.nan
        text = ax.annotate(
            plain(shown) if known.size else f"{plain(shown)} (no value)",
            xy=(places[last], value),
            xytext=(1.0, 0.5),
            textcoords="axes fraction",
            fontsize=font(ax),
            color=darker(colour),
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
        room.names.append((text, float(places[last]), value))


def mark_lost(ax: Axes, lines: Iterable[tuple[npt.NDArray[Any], Series]], unit: str = "step") -> Sequence[Artist]:
    """A cross where values cease to be finite, and for the legend since which step; nothing where all are."""
    places: list[float] = []
    values: list[float] = []
    since: list[int] = []
    stays = True
    for steps, line in lines:
        good = np.isfinite(line)
        ends = np.flatnonzero(good[:-1] & ~good[1:])
        places += steps[ends].tolist()
        values += line[ends].tolist()
        if not good.all():
            first = np.flatnonzero(~good)[0]
            since.append(int(steps[first]))
            stays = stays and not good[first:].any()
    if not since:
        return []
    when = f"after it, first in {unit} {min(since):,}" if places else f"at first, in {unit} {min(since):,}"
    if stays and len(set(since)) == 1:
        when = f"from {unit} {since[0]:,} on"
    return ax.plot(
        places, values, "X", color=WARNING, markersize=7, markeredgecolor="white", markeredgewidth=0.6, clip_on=False,
        zorder=4, label=f"not finite {when}",
    )  # fmt: skip


def darker(colour: Any) -> Any:
    """The colour as text on white can be read."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return tuple(min(1.0, c * min(1.0, 0.42 / max(light, 1e-6))) for c in (red, green, blue))


def legend(ax: Axes, shown: Sequence[Artist] | None = None, below: bool = False) -> None:
    """The legend to the right of the axes, where it covers nothing, or below small ones and where the right is taken.

    Args:
        shown: what it explains; by default everything that has a label.
        below: put it there in any case.
    """
    handles: Sequence[Any] = ax.get_legend_handles_labels()[0] if shown is None else shown
    if not handles:
        return
    size, width = font(ax), inches(ax)[0]
    below = below or not is_wide(ax)
    room = Room.of(ax)
    letters = max(40, int((width if below else 0.5 * width) * 72 / (LETTER * size)) - 6)
    labels = shortened([str(handle.get_label()) for handle in handles], letters)
    columns = _columns(labels, width * 72 / size) if below else 1
    room.legend = ax.legend(
        handles, list(map(plain, labels)), loc="upper left", borderaxespad=0.0, borderpad=0.2, frameon=False,
        fontsize=size, handlelength=2.0, columnspacing=1.2, labelspacing=0.35, ncols=columns,
    )  # fmt: skip
    room.legend_below = below


def _columns(labels: Sequence[str], width: float) -> int:
    """How many columns a legend may have, filled one after the other, to be no wider than so many letters' sizes."""
    for columns in range(len(labels), 1, -1):
        # The first of the columns have one more, where they are not even.
        parts = np.array_split(np.array([len(label) for label in labels]), columns)
        if sum(part.max() * LETTER + 4.0 for part in parts) <= width:
            return columns
    return 1


def note(ax: Axes, text: str) -> None:
    """Say in the middle of the axes why there is nothing in them."""
    ax.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False, which="both")
    ax.grid(visible=False)
    shown = plain(wrapped(text, 0.9 * inches(ax)[0], font(ax) + 1))
    ax.text(0.5, 0.5, shown, transform=ax.transAxes, ha="center", va="center", fontsize=font(ax) + 0.5, color=QUIET)
