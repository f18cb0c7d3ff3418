"""Words beside the data: the names of lines and layers, the legend, marks of what is not finite, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .room import LETTER, Room, font, inches, is_wide, plain, shortened, wrapped
from .style import QUIET, WARNING, Series, limit

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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


def label_ends(ax: Axes, ends: Iterable[tuple[str, npt.NDArray[Any], Series, Any]]) -> None:
    """Name each line, of name, places, values and color, at its own end and in its color.

    Names that would overlap are moved apart; of too many for the height, every so many is left out.
    """
    given = list(ends)
    names = shortened([name for name, *_ in given], max(8, int(inches(ax)[0] * 0.35 * 72 / (LETTER * font(ax)))))
    room = Room.of(ax)
    for shown, (_, places, values, color) in zip(names, given, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        last = int(known[-1]) if known.size else len(places) - 1
        value = float(values[last]) if known.size else np.nan
        text = ax.annotate(
            plain(shown) if known.size else f"{plain(shown)} (no value)",
            xy=(places[last], value),
            xytext=(1.0, 0.5),
            textcoords="axes fraction",
            fontsize=font(ax),
            color=darker(color),
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
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


def darker(color: Any) -> Any:
    """The color as text on white can be read."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
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
