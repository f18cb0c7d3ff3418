"""Titles, names of lines, legends and notes of plots, and a layout that keeps them off the data.

Matplotlib's layouts make room for titles and ticks, but not for names at the ends of lines, which must be apart from
each other and follow limits that another plot changes later, nor do they move a legend below a small panel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._spacing import apart
from .style import LETTER, QUIET, WARNING, Series, font, inches, is_wide, limit, plain, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.text import Annotation, Text


class Room:
    """Places axes each time they are drawn: in their part of the figure, less what is around them.

    So nothing covers a neighbor, whatever lays the figure out, and names follow limits that another plot has changed
    since, as with ``sharey=True``.
    """

    def __init__(self, ax: Axes) -> None:
        found = ax.get_axes_locator()
        # Axes within axes have a locator, too, and keep it; an earlier plot's locator in these axes is replaced.
        self.outer: Any = found.outer if isinstance(found, Room) else found
        self.get_subplotspec = ax.get_subplotspec  # tight layouts ask the locator for it
        self.names: list[tuple[Annotation, float, float]] = []
        self.beside: list[Text] = []
        self.legend: Legend | None = None
        self.legend_below = False
        ax.set_axes_locator(self)  # type: ignore[arg-type]  # any callable will do

    @classmethod
    def of(cls, ax: Axes) -> Room:
        """The room of these axes, made if they have none."""
        found: Any = ax.get_axes_locator()
        return found if isinstance(found, cls) else cls(ax)

    def __call__(self, ax: Axes, renderer: Any) -> Any:
        """The position of the axes, as a part of the figure."""
        from matplotlib.text import Text
        from matplotlib.transforms import Bbox

        figure: Any = ax.get_figure()
        place = self.outer(ax, renderer) if self.outer is not None else ax.get_position(original=True)
        full = figure.bbox.width, figure.bbox.height
        width, height = place.width * full[0], place.height * full[1]
        point = figure.figure.dpi / 72
        legend = self.legend if self.legend is not None and ax.get_legend() is self.legend else None
        size = legend.get_window_extent(renderer) if legend is not None else None

        titles = [t for t in ax.get_children() if isinstance(t, Text) and t not in ax.texts and t.get_text()]
        above = max((t.get_window_extent(renderer).height for t in titles), default=0.0) + 6 * point * bool(titles)
        below = size.height + 4 * point if size is not None and self.legend_below else 0.0
        inner = max(height - above - below, 0.3 * height)

        right = max((t.get_window_extent(renderer).width for t in self.beside if t.axes is ax), default=0.0)
        right += 4 * point * bool(right)
        if size is not None and not self.legend_below:
            right += size.width + 8 * point
        free = max(width - right, 0.3 * width)
        free = self._name(ax, renderer, free, inner, point)

        if legend is not None and size is not None:
            down = 0.0
            if self.legend_below:
                axis = ax.xaxis.get_tightbbox(renderer)
                down = (max(ax.bbox.y0 - axis.y0, 0.0) if axis is not None else 0.0) + 4 * point
                # Far enough to the left to end within the part of the figure.
                legend.set_bbox_to_anchor((min(0.0, (width - size.width) / free), -down / inner), ax.transAxes)
            else:
                legend.set_bbox_to_anchor((1 + (free and 8 * point / free), 1.0), ax.transAxes)
        left, bottom = place.x0, place.y0 + below / full[1]
        return Bbox.from_bounds(left, bottom, free / full[0], inner / full[1])

    def _name(self, ax: Axes, renderer: Any, width: float, height: float, point: float) -> float:
        """Put the names of lines to the right of the last end, apart from each other; return the width that is left."""
        from matplotlib.text import Text

        names = [each for each in self.names if each[0].axes is ax]
        if not names:
            return width
        low, high = sorted(ax.get_ylim())
        transform = ax.transScale + ax.transLimits
        ends = []
        for text, x, y in names:
            shown = float(np.clip(y, low, high)) if np.isfinite(y) else low
            text.xy = (x, shown)
            across, up = transform.transform((x, shown))
            ends.append((float(up), float(np.clip(across, 0.0, 1.0)), text))
        ends.sort(key=lambda end: end[0])
        column, lead = max(end[1] for end in ends), 12 * point
        need = lead + max(Text.get_window_extent(text, renderer).width for _, _, text in ends)
        if column * width + need > width:
            width = max((width - need) / column, 0.3 * width)
        line = 1.15 * font(ax) * point
        fitting = max(int(height / line), 2)
        every = -(-(len(ends) - 1) // (fitting - 1)) if len(ends) > fitting else 1
        kept = [end for i, end in enumerate(ends) if i % every == 0 or i == len(ends) - 1]
        if every > 1 and len(kept) > 2 and (len(ends) - 1) % every:
            del kept[-2]  # too close to the last
        for _, _, text in ends:
            text.set_visible(False)
        heights = apart([end[0] for end in kept], [line / height] * (len(kept) - 1), low=0.0, high=1.0)
        for place, (_, across, text) in zip(heights, kept, strict=True):
            text.set_visible(True)
            text.set_position((column + lead / width, place))
            if text.arrow_patch is not None:  # a long leader from an early end must not look like data
                text.arrow_patch.set_linestyle("-" if column - across < 0.02 else (0, (1, 4)))
        return width


def tidy(ax: Axes, title: str, x: str, y: str) -> None:
    """Set title, labels with units, a light grid and an open frame; a title that the axes have stays."""
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


def layer_ticks(ax: Axes, layers: Sequence[str]) -> None:
    """The layers' names along the horizontal axis: rotated if long, every n-th if too many."""
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

    Names that would overlap are moved apart; if there are too many for the height, only every n-th is shown.
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
    """A cross where values stop being finite, with the step for the legend; nothing if all are finite."""
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
    """The color, dark enough for text on white."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(color)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return tuple(min(1.0, c * min(1.0, 0.42 / max(light, 1e-6))) for c in (red, green, blue))


def legend(ax: Axes, shown: Sequence[Artist] | None = None, below: bool = False) -> None:
    """A legend to the right of the axes, where it covers nothing, or below them if they are small.

    Args:
        shown: the artists that it explains; by default all that have a label.
        below: put it below in any case.
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
    """How many columns a legend may have, filled one after the other, within a width in font sizes."""
    for columns in range(len(labels), 1, -1):
        # If they are not even, the first columns have one more.
        parts = np.array_split(np.array([len(label) for label in labels]), columns)
        if sum(part.max() * LETTER + 4.0 for part in parts) <= width:
            return columns
    return 1


def note(ax: Axes, text: str) -> None:
    """Write in the middle of the axes why they are empty."""
    ax.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False, which="both")
    ax.grid(visible=False)
    shown = plain(wrapped(text, 0.9 * inches(ax)[0], font(ax) + 1))
    ax.text(0.5, 0.5, shown, transform=ax.transAxes, ha="center", va="center", fontsize=font(ax) + 0.5, color=QUIET)
