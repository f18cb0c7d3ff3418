"""What all pictures share: a figure without a display, colours that everyone can tell apart, labels beside the data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...schedulers.preview import COLOURS, DASHES
from ...training.files import write_atomically
from ..records.recording import Recording
from ..records.source import Source, opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "DASHES", "WARNING", "Source"]

Series = npt.NDArray[np.float64]

WARNING, QUIET = "#D55E00", "#666666"
FONT = 8.5


def canvas(ax: Axes | None, width: float = 7.5, height: float = 4.0) -> tuple[Figure, Axes]:
    """The axes to draw in and their figure, a new one where none are given.

    A figure of its own needs no display, and leaves pyplot's state and backend alone.
    """
    if ax is not None:
        figure: Any = ax.get_figure()
        return figure, ax
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    """Write the figure where a path is given, in the format of its suffix; the figure."""
    if path is not None:
        picture, suffix = BytesIO(), Path(path).suffix.lower().removeprefix(".") or "png"
        if suffix not in figure.canvas.get_supported_filetypes():
            known = ", ".join(sorted(figure.canvas.get_supported_filetypes()))
            raise ValueError(f"{path}: no picture can be written as .{suffix}; there are {known}")
        figure.savefig(picture, format=suffix, dpi=150)
        write_atomically(path, picture.getvalue())
    return figure


def several(source: Source | Mapping[str, Source]) -> dict[str, Recording]:
    """Recordings by name; one alone has the name of its optimizer.

    Raises:
        ValueError: if there is none, or one has no records.
    """
    if not isinstance(source, Mapping):
        recording = opened(source)
        source = {recording.optimizer: recording}
    found = {name: opened(each) for name, each in source.items()}
    if not found or not all(map(len, found.values())):
        raise ValueError("there is nothing to draw: no records")
    return found


def single(source: Source) -> Recording:
    """One recording that has records."""
    return next(iter(several(source).values()))


def by_depth(count: int) -> list[Any]:
    """A colour for each layer, dark for the first and light for the last, in steps that also print in grey."""
    from matplotlib import colormaps

    return [colormaps["viridis"](place) for place in np.linspace(0.0, 0.88, count)] if count > 1 else [COLOURS[0]]


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Title, labels with units, a quiet grid, and a frame that does not shout."""
    ax.set_title(title, loc="left", fontsize=FONT + 1.5, parse_math=False)  # names may hold a $
    ax.set_xlabel(x, fontsize=FONT + 0.5)
    ax.set_ylabel(y, fontsize=FONT + 0.5)
    ax.tick_params(labelsize=FONT)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


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
    ax.set_ylim(low / 1.5, high * 1.5)
    return True


def steps_axis(ax: Axes, steps: npt.NDArray[Any]) -> None:
    """Whole steps on the horizontal axis, and a little room beside a single one."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    first, last = int(steps[0]), int(steps[-1])
    ax.set_xlim((first - 1, last + 1) if first == last else (first, last))


def label_ends(ax: Axes, ends: Sequence[tuple[str, float, Any]]) -> None:
    """Name each line at its right end, in its colour; names that would overlap are moved apart.

    Call it when the limits of the axes are final.
    """
    low, high = sorted(ax.get_ylim())
    transform = ax.transScale + ax.transLimits
    places = []
    for name, value, colour in ends:
        shown = float(np.clip(value, low, high)) if np.isfinite(value) else low
        places.append((float(transform.transform((ax.get_xlim()[1], shown))[1]), name, colour))
    places.sort(key=lambda place: place[0])
    heights = _apart([place for place, _, _ in places], min(0.058, 1.0 / max(len(places), 1)))
    for height, (place, name, colour) in zip(heights, places, strict=True):
        ax.annotate(
            name,
            xy=(1.0, place),
            xytext=(1.035, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=FONT,
            color=darker(colour),
            va="center",
            annotation_clip=False,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Heights from 0 to 1 in the same order, each at least ``gap`` from the next, and as near to ``places`` as that."""
    groups: list[list[float]] = []  # each the sum of where its members would begin it, and their number
    for place in places:
        groups.append([place, 1])
        while len(groups) > 1 and _start(groups[-2], gap) + groups[-2][1] * gap > _start(groups[-1], gap):
            total, count = groups.pop()
            # The members of the later group begin the joined one by the length of the earlier one before them.
            groups[-1] = [groups[-1][0] + total - count * groups[-1][1] * gap, groups[-1][1] + count]
    return [_start(group, gap) + i * gap for group in groups for i in range(int(group[1]))]


def _start(group: Sequence[float], gap: float) -> float:
    """Where a group of labels begins, so that all of it stands between 0 and 1."""
    return min(max(group[0] / group[1], 0.0), max(1.0 - (group[1] - 1) * gap, 0.0))


def darker(colour: Any) -> Any:
    """The colour as text on white can be read."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return tuple(min(1.0, c * min(1.0, 0.42 / max(light, 1e-6))) for c in (red, green, blue))


def legend_outside(ax: Axes) -> None:
    """The legend to the right of the axes, where it covers nothing."""
    ax.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, frameon=False, fontsize=FONT, handlelength=2.2
    )


def layer_ticks(ax: Axes, layers: Sequence[str]) -> None:
    """The layers' names along the horizontal axis; aslant where they are many or long."""
    long = sum(map(len, layers)) + 2 * len(layers) > 60
    ax.set_xticks(
        range(len(layers)), layers, rotation=40 if long else 0, ha="right" if long else "center", fontsize=FONT
    )
    ax.set_xlim(-0.5, len(layers) - 0.5)


def note(ax: Axes, text: str) -> None:
    """Say in the middle of the axes why there is nothing in them."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=FONT + 1, color=QUIET)
