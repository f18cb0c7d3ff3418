"""Curves of the loss and the metrics, of one run or of several beside each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...training.logs import read_metrics
from ...training.progress import Row
from .style import (
    COLOURS,
    Source,
    canvas,
    finish,
    label_ends,
    legend_outside,
    log_scale,
    note,
    several,
    steps_axis,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]
Rows = Sequence[Row] | Path


def losses(recording: Source | Mapping[str, Source], *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """How does the loss fall, step by step? The mean since the record before.

    Args:
        recording: a recording or its file, or several by name, which are compared.
        ax, path: as in `update_ratios`.
    """
    found = several(recording)
    figure, ax = canvas(ax)
    values = {name: r.values("mean_loss") for name, r in found.items()}
    known = np.concatenate(list(values.values()))
    if not (known[np.isfinite(known)] <= 0).any():
        log_scale(ax, known)
    steps_axis(ax, np.unique(np.concatenate([r.steps for r in found.values()])))
    if np.isnan(known).all():
        note(ax, "no loss was recorded; call recorder.note(loss)")
    ends = []
    for number, (name, r) in enumerate(found.items()):
        colour, mark = COLOURS[number % len(COLOURS)], "o" if len(r) <= 3 else ""
        ax.plot(r.steps, values[name], color=colour, linewidth=1.8, marker=mark, markersize=3, label=name)
        finite = values[name][np.isfinite(values[name])]
        ends.append((name, float(finite[-1]) if finite.size else np.nan, colour))
    tidy(ax, "Training loss", "step", "mean loss since the record before")
    if len(found) > 1:
        label_ends(ax, ends)
    return finish(figure, path)


def metrics(
    runs: Rows | Mapping[str, Rows],
    metric: str | None = None,
    *,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Figure:
    """How do loss and metrics go, epoch by epoch, on the training data (dashed) and on the data held out?

    Args:
        runs: the rows of a run, ``run.progress.history``, or its ``metrics.csv``, or several by name, of which the
            held-out part is shown.
        metric: such as ``"loss"``; by default a panel for each, unless ``ax`` is given, which gets the loss.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: if there are no rows, or none with such a metric.
    """
    asked = {"": runs} if not isinstance(runs, Mapping) else runs
    by_name = {name: _read(rows) if isinstance(rows, str | os.PathLike) else rows for name, rows in asked.items()}
    kinds = list(dict.fromkeys(_kind(name) for rows in by_name.values() for row in rows[:1] for name in row))
    if metric is not None and metric not in kinds:
        raise ValueError(f"metrics: no run has {metric!r}" + (f", but {', '.join(kinds)}" if kinds else ""))
    if not kinds:
        raise ValueError("metrics: there is nothing to draw: no rows")
    if ax is not None or metric is not None or len(kinds) == 1:
        figure, ax = canvas(ax, 6.0, 4.0)
        _panel(ax, by_name, metric or kinds[0], legend=True)
        return finish(figure, path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(kinds) + 1.2, 3.8), layout="constrained")
    for place, kind in enumerate(kinds, 1):
        _panel(figure.add_subplot(1, len(kinds), place), by_name, kind, legend=place == len(kinds))
    return finish(figure, path)


def _read(path: Path) -> list[Row]:
    """The rows of a ``metrics.csv``, without what only counts."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such file; give the metrics.csv of a run, or its rows")
    return [{name: value for name, value in row.items() if name not in ("epoch", "step")} for row in read_metrics(path)]


def _kind(name: str) -> str:
    return name.removeprefix("train_").removeprefix("held_out_")


def _panel(ax: Axes, runs: Mapping[str, Sequence[Row]], kind: str, legend: bool) -> None:
    drawn, longest = [], 1
    for number, (label, rows) in enumerate(runs.items()):
        for part, style in (("train", "--"), ("held_out", "-")):
            name = f"{part}_{kind}"
            if not rows or name not in rows[0] or (len(runs) > 1 and part == "train" and f"held_out_{kind}" in rows[0]):
                continue
            values = np.array([row[name] for row in rows], np.float64)
            # One run has a colour for each part; several have one each.
            colour = COLOURS[(0 if part == "held_out" else 1) if len(runs) == 1 else number % len(COLOURS)]
            words = part.replace("_", " ") if len(runs) == 1 else label
            mark = "o" if len(rows) <= 3 else ""
            ax.plot(np.arange(1, len(rows) + 1), values, style, color=colour, linewidth=1.7, label=words, marker=mark)
            drawn.append(values)
            longest = max(longest, len(rows))
    if kind.endswith("loss") and drawn and not any((v[np.isfinite(v)] <= 0).any() for v in drawn):
        log_scale(ax, *drawn)
    steps_axis(ax, np.array([1, longest]))
    tidy(ax, kind if len(runs) == 1 else f"held-out {kind}", "epoch", kind)
    if legend and drawn:
        legend_outside(ax)
