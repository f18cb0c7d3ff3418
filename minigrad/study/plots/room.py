"""Room: title, legend and the names of lines stay within the place that axes have in their figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.text import Annotation, Text

FONT = 8.5
_LARGE = (4.2, 2.6)  # inches of axes that leave room for letters of that size, and a legend at the right
LETTER = 0.53  # the width of a usual letter, over its size


def inches(ax: Axes) -> tuple[float, float]:
    """Width and height of the place that the figure gives to the axes."""
    figure: Any = ax.get_figure()
    place, dpi = ax.get_position(original=True), figure.figure.dpi
    return place.width * figure.bbox.width / dpi, place.height * figure.bbox.height / dpi


def font(ax: Axes) -> float:
    """The size of letters, in points: smaller in small axes, as those of a grid are."""
    return max(6.5, FONT * min(1.0, *(have / need for have, need in zip(inches(ax), _LARGE, strict=True))) ** 0.4)


def is_wide(ax: Axes) -> bool:
    """Whether a legend at the right leaves enough for the data."""
    return inches(ax)[0] >= _LARGE[0]


def plain(text: object) -> str:
    """The text as matplotlib shows it letter by letter: between two ``$`` it would read a formula."""
    return str(text).replace("$", r"\$")


def wrapped(text: str, length: float, size: float) -> str:
    """The text in lines of so many inches, in letters of so many points."""
    return textwrap.fill(
        text, max(int(length * 72 / (LETTER * size)), 8), break_on_hyphens=False, break_long_words=False
    )


def shortened(names: Sequence[str], letters: int) -> list[str]:
    """Names without their middle where they are longer; all of it where they could not be told apart then."""
    head = letters // 3
    short = [n if len(n) <= letters else f"{n[:head]}…{n[head + 1 - letters :]}" for n in names]
    return short if len(set(short)) == len(set(names)) else list(names)


class Room:
    """Says where the axes go whenever they are drawn: in their place, less what stands around them.

    So nothing lands on a neighbor, whatever lays the figure out, and names follow limits that another plot has changed
    since, as ``sharey=True`` lets it.
    """

    def __init__(self, ax: Axes) -> None:
        found = ax.get_axes_locator()
        # Axes within axes are placed this way too, and keep it; what was drawn here before is gone.
        self.outer: Any = found.outer if isinstance(found, Room) else found
        self.get_subplotspec = ax.get_subplotspec  # tight layouts ask whoever places the axes for it
        self.names: list[tuple[Annotation, float, float]] = []
        self.beside: list[Text] = []
        self.legend: Legend | None = None
        self.legend_below = False
        ax.set_axes_locator(self)  # type: ignore[arg-type]  # any callable will do

    @classmethod
    def of(cls, ax: Axes) -> Room:
        """The room of these axes, made where there is none."""
        found: Any = ax.get_axes_locator()
        return found if isinstance(found, cls) else cls(ax)

    def __call__(self, ax: Axes, renderer: Any) -> Any:
        """The place of the axes, in parts of the figure."""
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
                # As far to the left as it must to end where the place does.
                legend.set_bbox_to_anchor((min(0.0, (width - size.width) / free), -down / inner), ax.transAxes)
            else:
                legend.set_bbox_to_anchor((1 + (free and 8 * point / free), 1.0), ax.transAxes)
        left, bottom = place.x0, place.y0 + below / full[1]
        return Bbox.from_bounds(left, bottom, free / full[0], inner / full[1])

    def _name(self, ax: Axes, renderer: Any, width: float, height: float, point: float) -> float:
        """Put the names of lines where the last of these ends, apart from each other; the width that is left."""
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
            del kept[-2]  # too near to the last
        for _, _, text in ends:
            text.set_visible(False)
        heights = apart([end[0] for end in kept], line / height)
        for place, (_, across, text) in zip(heights, kept, strict=True):
            text.set_visible(True)
            text.set_position((column + lead / width, place))
            if text.arrow_patch is not None:  # a long way from an early end must not look like data
                text.arrow_patch.set_linestyle("-" if column - across < 0.02 else (0, (1, 4)))
        return width


def apart(places: Sequence[float], gap: float) -> list[float]:
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
