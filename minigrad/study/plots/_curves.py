"""Curves of losses, metrics and schedules, of one run or of several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...schedulers import ReduceLROnPlateau, Scheduler
from ...training.logs import METRICS, read_metrics
from ...training.progress import Row
from ..records.quantities import quantity
from ..records.recording import Source
from ._labels import label_ends, legend, mark_lost, note, tidy
from .style import COLORS, canvas, dot, finish, log_scale, look, picture_format, several, steps_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]
Rows = Sequence[Row] | Path
# From this ratio of the largest loss to the smallest on, the axis is logarithmic.
FAR = 3


def losses(recording: Source | Mapping[str, Source], *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """How does the loss fall, step by step? The mean since the record before.

    Args:
        recording: a recording or its file, or several by name, which are compared.
        ax, path: as in `update_ratios`.
    """
    found = several("losses", recording)
    figure, ax = canvas(ax, path=path)
    entry = quantity("record", "mean_loss")
    tidy(ax, entry.heading, "step", entry.axis)
    lines = {}
    for name, r in found.items():
        noted = np.array(["mean_loss" in record for record in r.records])
        lines[name] = r.steps[noted], r.values("mean_loss")[noted]
    known = np.concatenate([values for _, values in lines.values()])
    steps_axis(ax, np.unique(np.concatenate([r.steps for r in found.values()])))
    if not np.isfinite(known).any():
        note(ax, "no loss was finite" if known.size else "no loss was recorded; call recorder.note(loss)")
        return finish(figure, path)
    _loss_scale(ax, known)
    for number, (name, (steps, values)) in enumerate(lines.items()):
        ax.plot(steps, values, **look(number), linewidth=1.8, label=name, **dot(len(steps)))
    if len(found) > 1:
        drawn = [(name, *line, look(number)["color"]) for number, (name, line) in enumerate(lines.items())]
        label_ends(ax, [each for each in drawn if len(each[1])])
    legend(ax, mark_lost(ax, lines.values()), below=True)
    return finish(figure, path)


def metrics(
    runs: Rows | Mapping[str, Rows],
    metric: str | None = None,
    *,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Figure:
    """How do loss and metrics change by epoch, on the training data (dashed) and on the held-out data?

    Args:
        runs: the rows of a run, ``run.progress.history``, or its folder or ``metrics.csv``, or several by name, of
            which the held-out part is shown.
        metric: such as ``"loss"``; by default a panel for each, unless ``ax`` is given, which gets the loss.
        ax, path: as in `update_ratios`.

    Raises:
        TypeError: for something that is not rows.
        FileNotFoundError, ValueError: if a file is missing or damaged.
        ValueError: if there are no rows, or none with such a metric.
    """
    asked = {"": runs} if not isinstance(runs, Mapping) else {str(name): rows for name, rows in runs.items()}
    by_name = {name: _rows(name, rows) for name, rows in asked.items()}
    kinds = list(dict.fromkeys(_kind(name) for rows in by_name.values() for row in rows for name in row))
    if metric is not None and metric not in kinds:
        raise ValueError(f"metrics: no run has {metric!r}" + (f", but {', '.join(kinds)}" if kinds else ""))
    if not kinds:
        raise ValueError("metrics: nothing to draw: no rows")
    if ax is not None or metric is not None or len(kinds) == 1:
        figure, ax = canvas(ax, 6.0, 4.0, path=path)
        _panel(ax, by_name, metric or kinds[0])
        legend(ax)
        return finish(figure, path)
    from matplotlib.figure import Figure

    if path is not None:
        picture_format(path)
    columns = min(len(kinds), 3)
    lines = -(-len(kinds) // columns)
    figure = Figure(figsize=(4.6 * columns + 1.2, 3.8 * lines), layout="constrained")
    for place, kind in enumerate(kinds, 1):
        panel = figure.add_subplot(lines, columns, place)
        _panel(panel, by_name, kind)
        legend(panel, below=True)
    return finish(figure, path)


def _loss_scale(ax: Axes, *values: np.ndarray) -> None:
    """A logarithmic axis for losses that fall far; others would look flat on it."""
    together = np.concatenate([each[np.isfinite(each)] for each in values] or [np.empty(0)])
    if together.size and together.min() > 0 and together.max() > FAR * together.min():
        log_scale(ax, together)


def _rows(run: str, rows: Rows) -> Sequence[Row]:
    """The given rows, or the rows of a ``metrics.csv`` without its counters."""
    of = f"metrics, {run!r}" if run else "metrics"
    if isinstance(rows, str | os.PathLike):
        rows = os.path.join(rows, METRICS) if os.path.isdir(rows) else rows
        if not os.path.exists(rows):
            raise FileNotFoundError(f"{rows}: no such file; give the metrics.csv of a run, or its rows")
        return [{k: value for k, value in row.items() if k not in ("epoch", "step")} for row in read_metrics(rows)]
    if not isinstance(rows, Sequence):
        raise TypeError(
            f"{of}: needs the rows of a run (run.progress.history), the path of its metrics.csv, or several of these "
            f"by name, not {type(rows).__name__}"
        )
    found: list[Row] = []
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"{of}: a row must be a dictionary of numbers by name, not {type(row).__name__}")
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise TypeError(f"{of}: {name!r} must be a number, not {value!r:.60}")
        found.append(row)
    return found


def _kind(name: str) -> str:
    return name.removeprefix("train_").removeprefix("held_out_")


def _panel(ax: Axes, runs: Mapping[str, Sequence[Row]], kind: str) -> None:
    lines, longest = [], 1
    for number, (label, rows) in enumerate(runs.items()):
        has = {part for part in ("train", "held_out") if any(f"{part}_{kind}" in row for row in rows)}
        for part in ("train", "held_out") if len(runs) == 1 else ("held_out",) if "held_out" in has else ("train",):
            if part not in has:
                continue
            epochs = np.array([i for i, row in enumerate(rows, 1) if f"{part}_{kind}" in row])
            values = np.array([row[f"{part}_{kind}"] for row in rows if f"{part}_{kind}" in row], np.float64)
            # One run has a color for each part; several have one each.
            own = {"color": COLORS[part == "train"], "linestyle": "--" if part == "train" else "-"}
            words = part.replace("_", " ") if len(runs) == 1 else label
            style = own if len(runs) == 1 else look(number)
            ax.plot(epochs, values, **style, linewidth=1.7, label=words, **dot(len(rows)))
            lines.append((epochs, values))
            longest = max(longest, len(rows))
    if kind.endswith("loss"):
        _loss_scale(ax, *(values for _, values in lines))
    steps_axis(ax, np.array([1, longest]))
    mark_lost(ax, lines, "epoch")
    tidy(ax, kind if len(runs) == 1 else f"held-out {kind}", "epoch", kind)


def schedule(
    scheduler: Any,
    steps: Any,
    option: str = "lr",
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """How will the learning rate change? Neither the scheduler nor the optimizer does.

    Args:
        scheduler: any of `minigrad.schedulers`, or several by name to compare them.
        steps: how many, or for `ReduceLROnPlateau` the metrics that are supposed.
        option: which hyper-parameter.
        ax, path: as in `update_ratios`.

    Raises:
        TypeError: for something that is not a scheduler.
        ValueError: for an option that the scheduler does not set, or no scheduler.
    """
    given = scheduler if isinstance(scheduler, Mapping) else {type(scheduler).__name__: scheduler}
    if not given:
        raise ValueError("schedule: nothing to draw: no schedulers")
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
        # A value holds until the next step.
        at = {"drawstyle": "steps-post", **dot(len(values))}
        ax.plot(first + np.arange(len(values)), values, **look(number), linewidth=1.8, label=label, **at)
    ends = [(first, first + len(values) - 1) for _, first, values in lines]
    steps_axis(ax, np.array([min(first for first, _ in ends), max(last for _, last in ends)]))
    title = f"Schedule of {option}" + (f", {next(iter(given))}" if len(given) == 1 else "")
    tidy(ax, title, "scheduler step", "learning rate" if option == "lr" else option)
    if len(lines) > 1:
        legend(ax)
    return finish(figure, path)
