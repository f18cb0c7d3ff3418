"""Schedule preview: what the hyper-parameters will be, before a step is taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schedulers import ReduceLROnPlateau, Scheduler
from .style import canvas, dot, finish, look, steps_axis, tidy
from .words import legend

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
        TypeError: for what is no scheduler.
        ValueError: for an option that the scheduler does not set, or no scheduler.
    """
    given = scheduler if isinstance(scheduler, Mapping) else {type(scheduler).__name__: scheduler}
    if not given:
        raise ValueError("schedule: there is nothing to draw: no schedulers")
    lines: list[tuple[str, int, Any]] = []
    for name, each in given.items():
        if not isinstance(each, Scheduler | ReduceLROnPlateau):
            kind = each.__name__ if isinstance(each, type) else type(each).__name__
            raise TypeError(f"schedule: needs a scheduler of an optimizer, or several by name, not {kind}")
        curves = each.preview(steps)
        if option not in curves:
            raise ValueError(f"schedule: {name} does not set {option!r}, but {', '.join(curves)}")
        groups = curves[option]
        for place, values in enumerate(groups):
            label = str(name) if len(groups) == 1 else f"{name}, param group {place}"
            lines.append((label, each.last_epoch, values))
    figure, ax = canvas(ax, path=path)
    for number, (label, first, values) in enumerate(lines):
        # What a step sets holds until the next one.
        at = {"drawstyle": "steps-post", **dot(len(values))}
        ax.plot(first + np.arange(len(values)), values, **look(number), linewidth=1.8, label=label, **at)
    ends = [(first, first + len(values) - 1) for _, first, values in lines]
    steps_axis(ax, np.array([min(first for first, _ in ends), max(last for _, last in ends)]))
    title = f"Schedule of {option}" + (f", {next(iter(given))}" if len(given) == 1 else "")
    tidy(ax, title, "scheduler step", "learning rate" if option == "lr" else option)
    if len(lines) > 1:
        legend(ax)
    return finish(figure, path)
