"""Plots with a line or a point for each layer: update-to-weight ratios, gradients, trust ratios."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..records.quantities import quantity
from ..records.recording import Recording, Source
from ._labels import label_ends, layer_ticks, legend, mark_lost, note, tidy
from .style import (
    COLORS,
    QUIET,
    WARNING,
    by_depth,
    canvas,
    dot,
    finish,
    log_scale,
    look,
    several,
    single,
    steps_axis,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]


def update_ratios(
    recording: Source | Mapping[str, Source], *, ax: Axes | None = None, path: Path | None = None
) -> Figure:
    """How large is a step, compared to the weights that it changes?

    A shaded band marks the ratios with which all T steps of the recording together move the weights by as much as they
    are: from 1/T, if all steps point the same way, to 1/√T, if they are independent. No ratio is good by itself.

    Args:
        recording: a recording or its file: a line for each layer. Several by name, such as one per optimizer: for each
            the median of its layers as a line, in a band from the smallest to the largest. A cross marks where a
            line stops being finite, a triangle a change of 0, which a logarithmic axis cannot show.
        ax: the axes to draw in, instead of a new figure.
        path: the file to write, in the format of its suffix.
    """
    found = several("update_ratios", recording)
    figure, ax = canvas(ax, path=path)
    tables = {name: np.array([r.layer(layer, "update_ratio") for layer in r.layers]) for name, r in found.items()}
    ratios = [table[np.isfinite(table) & (table > 0)] for table in tables.values()]
    last = max((int(r.steps[-1]) for r in found.values() if len(r)), default=1)
    once = 1 / last, 1 / math.sqrt(last)
    log_scale(ax, *ratios, once)
    ax.axhspan(
        *once, color=COLORS[2], alpha=0.13, linewidth=0, label="all steps together move the weights once by their size"
    )
    steps_axis(ax, np.unique(np.concatenate([r.steps for r in found.values()])))
    lines, marked = [], []
    for number, (name, r) in enumerate(found.items()):
        table = np.where(tables[name] == 0, np.nan, tables[name])
        if len(found) == 1:
            for layer, values, color in zip(r.layers, table, by_depth(len(table)), strict=True):
                ax.plot(r.steps, values, "-", color=color, linewidth=1.5, label=layer, **dot(len(r)))
                lines.append((layer, r.steps, values, color))
            marked += [(r.steps, row) for row in tables[name]]
        elif len(table):
            style, middle = look(number), _over_layers(np.median, table)
            low, high = (_over_layers(f, table) for f in (np.min, np.max))
            ax.fill_between(r.steps, low, high, color=style["color"], alpha=0.16, linewidth=0)
            ax.plot(r.steps, middle, **style, linewidth=1.8, label=name, **dot(len(r)))
            lines.append((name, r.steps, middle, style["color"]))
            marked.append((r.steps, np.where(np.isfinite(tables[name]).all(axis=0), np.nan_to_num(middle), np.nan)))
    what = f"each layer, {next(iter(found))}" if len(found) == 1 else "median layer, smallest to largest"
    entry = quantity("layer", "update_ratio")
    tidy(ax, f"{entry.heading}: {what}", "step", entry.axis)
    if not lines:
        note(ax, "no layers were recorded")
        return finish(figure, path)
    label_ends(ax, lines)
    unmoved = _mark_unmoved(ax, found, tables)
    legend(ax, [ax.patches[0], *unmoved, *mark_lost(ax, marked)], below=True)
    return finish(figure, path)


def _mark_unmoved(ax: Axes, found: Mapping[str, Recording], tables: Mapping[str, np.ndarray]) -> Sequence[Artist]:
    """A logarithmic axis cannot show a change of 0: a triangle at its lower end."""
    places = [r.steps[(tables[name] == 0).any(axis=0)] for name, r in found.items()]
    steps = np.unique(np.concatenate(places))
    if not steps.size:
        return []
    return ax.plot(
        steps, np.full(len(steps), 0.012), "v", color=QUIET, markersize=3.5, transform=ax.get_xaxis_transform(),
        label="a layer did not change",
    )  # fmt: skip


def _over_layers(function: object, table: np.ndarray) -> np.ndarray:
    """A statistic of the layers at each record, of those that have a value."""
    columns = [column[np.isfinite(column)] for column in table.T]
    return np.array([function(column) if column.size else np.nan for column in columns])  # type: ignore[operator]


def gradient_flow(recording: Source, *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """How large is the gradient from the first layer to the last? Even is good; a slope vanishes or explodes.

    The norm over the root of the number of weights, so that layers of all sizes compare: at the first record, at the
    last, and the median with a range around it. A triangle at the lower end marks a gradient of 0, in the median of
    the records or at the last, and a cross a last one that is not finite.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    r = single("gradient_flow", recording)
    figure, ax = canvas(ax, path=path)
    entry = quantity("layer", "gradient_norm")
    tidy(ax, f"{entry.heading}, {r.optimizer}", "layer, from input to output", entry.axis)
    if not r.layers:
        note(ax, "no layers were recorded")
        return finish(figure, path)
    counts = [max(r.header["layers"][layer].get("parameters", 1), 1) for layer in r.layers]
    norms = np.array([r.layer(layer, "gradient_norm") for layer in r.layers]) / np.sqrt(counts)[:, None]
    shown = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    places = np.arange(len(r.layers))
    if log_scale(ax, shown):
        floor = min(ax.get_ylim())
        low, middle, high = (_over_layers(lambda c, q=q: np.quantile(c, q), norms.T) for q in (0.05, 0.5, 0.95))
        edges = np.maximum(low, floor), np.maximum(high, floor)
        ax.fill_between(places, *edges, color=COLORS[0], alpha=0.15, linewidth=0, label="5 to 95 % of records")
        seen = np.where(middle > 0, middle, np.nan)
        ax.plot(places, seen, "-", color=COLORS[0], marker="o", markersize=4, linewidth=1.8, label="median")
        if (middle == 0).any():
            ax.plot(
                places[middle == 0], np.zeros((middle == 0).sum()), "v", color=COLORS[0], markersize=9,
                clip_on=False, transform=ax.get_xaxis_transform(), label="median 0",
            )  # fmt: skip
        for row, color, dash in ((0, QUIET, ":"), (-1, "black", "--"))[: len(r)]:
            ax.plot(
                places, shown[:, row], dash, color=color, marker="o", markersize=3, linewidth=1.3,
                label=f"step {r.steps[row]:,}",
            )  # fmt: skip
        for name, gone in (("0", norms[:, -1] == 0), ("not finite", ~np.isfinite(norms[:, -1]))):
            if gone.any():
                ax.plot(
                    places[gone], np.zeros(gone.sum()), "v" if name == "0" else "X", color=WARNING, markersize=7,
                    clip_on=False, transform=ax.get_xaxis_transform(), label=f"{name} in step {r.steps[-1]:,}",
                )  # fmt: skip
    else:
        finite = np.isfinite(norms).any()
        note(ax, "no layer had a gradient other than 0" if finite else "no gradient was finite")
    layer_ticks(ax, r.layers)
    legend(ax)
    return finish(figure, path)


def trust_ratios(recording: Source, *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """By how much does LAMB or LARS lengthen or shorten each tensor's step? A cross marks a norm that was clamped.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    r = single("trust_ratios", recording)
    figure, ax = canvas(ax, path=path)
    ratios = r.trust_ratios()
    entry = quantity("layer", "trust")
    tidy(ax, f"{entry.heading}, {r.optimizer}", "step", entry.axis)
    if not ratios:
        note(ax, f"{r.optimizer} has no trust ratios")
        return finish(figure, path)
    log_scale(ax, *ratios.values())
    steps_axis(ax, r.steps)
    low, high = ax.get_ylim()
    if low < 1 < high:
        ax.axhline(1.0, color=QUIET, linewidth=0.9, linestyle=":")
    lines = []
    marks: Sequence[Artist] = []
    for (name, values), color in zip(ratios.items(), by_depth(len(ratios)), strict=True):
        ax.plot(r.steps, values, "-", color=color, linewidth=1.5, label=name, **dot(len(r)))
        lines.append((name, r.steps, values, color))
        clamped = _trust(r, name, "clamped", False)
        crosses = ax.plot(
            r.steps[clamped], values[clamped], "x", color=WARNING, markersize=4.5, markeredgewidth=1.2,
            label="norm of the weights was clamped",
        )  # fmt: skip
        marks = crosses if clamped.any() else marks
    label_ends(ax, lines)
    there = {name: np.isfinite(values) | _trust(r, name, "ratio", 0.0).astype(bool) for name, values in ratios.items()}
    lost = mark_lost(ax, [(r.steps[there[name]], values[there[name]]) for name, values in ratios.items()])
    legend(ax, [*marks, *lost], below=True)
    return finish(figure, path)


def _trust(r: Recording, name: str, what: str, otherwise: float) -> np.ndarray:
    """One value of a tensor's trust ratio in each record; ``otherwise`` if it had none."""
    tables = ([layer.get("trust", {}) for layer in record["layers"].values()] for record in r.records)
    return np.array(
        [next((table[name].get(what, otherwise) for table in each if name in table), otherwise) for each in tables]
    )
