"""Schedule preview: what the hyper-parameters will be, before a step is taken."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLOURS, DASHES, canvas, finish, legend_outside, steps_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def schedule(
    scheduler: Any,
    steps: Any,
    option: str = "lr",
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """How will the learning rate go? Neither the scheduler nor the optimizer changes.

    Args:
        scheduler: any of `minigrad.schedulers`, or several by name to compare them.
        steps: how many, or for `ReduceLROnPlateau` the metrics that are supposed.
        option: which hyper-parameter.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: for an option that the scheduler does not set.
    """
    given = scheduler if isinstance(scheduler, dict) else {type(scheduler).__name__: scheduler}
    figure, ax = canvas(ax)
    number = 0
    longest = 1
    for name, each in given.items():
        curves = each.preview(steps)
        if option not in curves:
            raise ValueError(f"schedule: {name} does not set {option!r}, but {', '.join(curves)}")
        groups = curves[option]
        for place, values in enumerate(groups):
            first = each.last_epoch
            x = first + np.arange(len(values))
            colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
            label = name if len(groups) == 1 else f"{name}, param group {place}"
            ax.plot(x, values, color=colour, linestyle=dash, linewidth=1.8, label=label)
            number, longest = number + 1, max(longest, len(values))
    steps_axis(ax, np.array([0, longest - 1]) + min(each.last_epoch for each in given.values()))
    title = f"Schedule of {option}" + (f", {next(iter(given))}" if len(given) == 1 else "")
    tidy(ax, title, "scheduler step", "learning rate" if option == "lr" else option)
    if number > 1:
        legend_outside(ax)
    return finish(figure, path)
