"""Pictures with a line or a place for each layer: updates beside weights, gradients, trust ratios."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..findings import GOOD_RATIO
from ..records.recording import Recording
from .style import (
    COLOURS,
    QUIET,
    WARNING,
    Source,
    by_depth,
    canvas,
    finish,
    label_ends,
    layer_ticks,
    legend_outside,
    log_scale,
    note,
    several,
    single,
    steps_axis,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]


def update_ratios(
    recording: Source | Mapping[str, Source], *, ax: Axes | None = None, path: Path | None = None
) -> Figure:
    """How large is a step beside the weights that it changes? About 1e-3 is usual; a shaded band marks it.

    Args:
        recording: a recording or its file: a line for each layer. Several by name, such as one per optimizer: for each
            its layers' middle as a line, in a band from the smallest to the largest.
        ax: the axes to draw in, instead of a figure of their own.
        path: the file to write, in the format of its suffix.
    """
    found = several(recording)
    figure, ax = canvas(ax)
    tables = {name: np.array([r.layer(layer, "update_ratio") for layer in r.layers]) for name, r in found.items()}
    ratios = [table[np.isfinite(table) & (table > 0)] for table in tables.values()]
    log_scale(ax, *ratios, [GOOD_RATIO / 3, GOOD_RATIO * 3])
    ax.axhspan(GOOD_RATIO / 3, GOOD_RATIO * 3, color=COLOURS[2], alpha=0.13, linewidth=0)
    ax.axhline(GOOD_RATIO, color=COLOURS[2], linewidth=0.9, linestyle=":")
    everything = np.unique(np.concatenate([r.steps for r in found.values()]))
    steps_axis(ax, everything)
    ends = []
    for number, (name, r) in enumerate(found.items()):
        table = np.where(tables[name] > 0, tables[name], np.nan)
        if len(found) == 1:
            for layer, values, colour in zip(r.layers, table, by_depth(len(table)), strict=True):
                ax.plot(r.steps, values, color=colour, linewidth=1.5, label=layer, marker=_dot(len(r)), markersize=3)
                ends.append((layer, _last(values), colour))
        else:
            colour, middle = COLOURS[number % len(COLOURS)], _over_layers(np.median, table)
            low, high = (_over_layers(f, table) for f in (np.min, np.max))
            ax.fill_between(r.steps, low, high, color=colour, alpha=0.16, linewidth=0)
            ax.plot(r.steps, middle, color=colour, linewidth=1.8, label=name, marker=_dot(len(r)), markersize=3)
            ends.append((name, _last(middle), colour))
    what = f"each layer, {next(iter(found))}" if len(found) == 1 else "median layer, smallest to largest"
    tidy(ax, f"Update-to-weight ratio: {what}", "step", "‖change‖ / ‖weights‖ per step")
    label_ends(ax, ends)
    return finish(figure, path)


def _dot(records: int) -> str:
    """A marker where there are few points, which a line alone would hide."""
    return "o" if records <= 3 else ""


def _last(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if finite.size else float("nan")


def _over_layers(function: object, table: np.ndarray) -> np.ndarray:
    """A statistic of the layers at each record, of those that have a value."""
    columns = [column[np.isfinite(column)] for column in table.T]
    return np.array([function(column) if column.size else np.nan for column in columns])  # type: ignore[operator]


def gradient_flow(recording: Source, *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """How large is the gradient from the first layer to the last? Even is good; a slope vanishes or explodes.

    The norm over the root of the number of weights, so that layers of all sizes compare: at the first record, at the
    last, and the middle with the range between them. A cross marks a gradient of 0, or one that is not finite.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    r = single(recording)
    figure, ax = canvas(ax)
    counts = [max(r.header["layers"][layer].get("parameters", 1), 1) for layer in r.layers]
    norms = np.array([r.layer(layer, "gradient_norm") for layer in r.layers]) / np.sqrt(counts)[:, None]
    shown = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    places = np.arange(len(r.layers))
    log = log_scale(ax, shown)
    low, middle, high = (_over_layers(lambda c, q=q: np.quantile(c, q), shown.T) for q in (0.05, 0.5, 0.95))
    ax.fill_between(places, low, high, color=COLOURS[0], alpha=0.15, linewidth=0, label="5 to 95 % of records")
    ax.plot(places, middle, color=COLOURS[0], marker="o", markersize=4, linewidth=1.8, label="median")
    for row, colour, dash in ((0, QUIET, ":"), (-1, COLOURS[4], "--")):
        ax.plot(
            places, shown[:, row], dash, color=colour, marker="o", markersize=3, linewidth=1.3,
            label=f"step {r.steps[row]:,}",
        )  # fmt: skip
        if len(r) == 1:
            break
    gone = [i for i in places if not np.isfinite(shown[i, -1])]
    if gone and log:
        bottom = ax.get_ylim()[0] * 1.15
        ax.plot(
            gone, [bottom] * len(gone), "x", color=WARNING, markersize=8, markeredgewidth=2, clip_on=False,
            label="0 or not finite at the end",
        )  # fmt: skip
    if not log:
        note(ax, "no layer had a gradient other than 0")
    layer_ticks(ax, r.layers)
    tidy(ax, f"Gradient by layer, {r.optimizer}", "layer, from input to output", "‖gradient‖ / √weights")
    legend_outside(ax)
    return finish(figure, path)


def trust_ratios(recording: Source, *, ax: Axes | None = None, path: Path | None = None) -> Figure:
    """By how much does LAMB or LARS lengthen or shorten each tensor's step? A cross marks a norm that was clamped.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    r = single(recording)
    figure, ax = canvas(ax)
    ratios = r.trust_ratios()
    steps_axis(ax, r.steps)
    if ratios:
        log_scale(ax, *ratios.values())
        low, high = ax.get_ylim()
        if low < 1 < high:
            ax.axhline(1.0, color=QUIET, linewidth=0.9, linestyle=":")
        ends = []
        for (name, values), colour in zip(ratios.items(), by_depth(len(ratios)), strict=True):
            ax.plot(r.steps, values, color=colour, linewidth=1.5, label=name, marker=_dot(len(r)), markersize=3)
            clamped = _clamped(r, name)
            ax.plot(r.steps[clamped], values[clamped], "x", color=WARNING, markersize=5, markeredgewidth=1.4)
            ends.append((name, _last(values), colour))
        label_ends(ax, ends)
    else:
        note(ax, f"{r.optimizer} has no trust ratios")
    marked = any(_clamped(r, name).any() for name in ratios)
    tidy(
        ax, f"Trust ratio of each tensor, {r.optimizer}{' (crosses: clamped)' if marked else ''}", "step", "trust ratio"
    )
    return finish(figure, path)


def _clamped(r: Recording, name: str) -> np.ndarray:
    return np.array([
        any(layer.get("trust", {}).get(name, {}).get("clamped", False) for layer in record["layers"].values())
        for record in r.records
    ])  # fmt: skip
