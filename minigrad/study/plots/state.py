"""What the optimizer's state makes of the learning rate, and how sure it is of its direction."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from ..records.recording import Recording
from .style import (
    COLOURS,
    FONT,
    Series,
    Source,
    canvas,
    finish,
    legend_outside,
    log_scale,
    note,
    single,
    steps_axis,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {"effective_rate": "Effective learning rate", "signal": "Signal of the gradient"}
_UNITS = {"effective_rate": "rate per weight", "signal": "|m̂| / √v̂"}


def optimizer_state(
    recording: Source,
    quantity: str = "effective_rate",
    layer: str | None = None,
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Which rates do the weights of a layer really have? Bands that hold half of them, and nine tenths.

    Args:
        recording: a recording or its file.
        quantity: ``"effective_rate"``, η / (√v̂ + ε), or ``"signal"``, |m̂| / √v̂: 1 where all gradients agree, near 0
            where they are noise.
        layer: one layer; by default a panel for each, unless ``ax`` is given, which gets the first.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: for another quantity.
        KeyError: for an unknown layer.
    """
    if quantity not in _TITLES:
        raise ValueError(f"optimizer_state: quantity must be 'effective_rate' or 'signal', not {quantity!r}")
    r = single(recording)
    meaning = r.header.get(quantity, "")
    if ax is not None or layer is not None or len(r.layers) == 1:
        figure, ax = canvas(ax)
        name = r.layers[0] if layer is None else layer
        _bands(ax, r, name, quantity, _limits(r, [name], quantity))
        tidy(ax, f"{_TITLES[quantity]} in layer {name}, {r.optimizer}", "step", _UNITS[quantity])
        if len(r) > 1 and ax.get_legend_handles_labels()[0]:
            legend_outside(ax)
        return finish(figure, path)
    from matplotlib.figure import Figure

    columns = min(4, math.ceil(math.sqrt(len(r.layers))))
    rows = math.ceil(len(r.layers) / columns)
    figure = Figure(figsize=(max(2.5 * columns, 6.0) + 0.4, 1.75 * rows + 1.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    limits = _limits(r, r.layers, quantity)
    for number, panel in enumerate(panels.ravel()):
        if number >= len(r.layers):
            panel.set_axis_off()
            panels[rows - 2, number % columns].tick_params(labelbottom=True)
            continue
        _bands(panel, r, r.layers[number], quantity, limits)
        tidy(panel, f"layer {r.layers[number]}", "step" if number + columns >= len(r.layers) else "", "")
    figure.suptitle(f"{_TITLES[quantity]}, {r.optimizer}: {meaning}", fontsize=FONT + 1.5, x=0.01, ha="left")
    figure.supylabel(_UNITS[quantity], fontsize=FONT + 0.5)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=FONT)
    return finish(figure, path)


def _limits(r: Recording, layers: list[str], quantity: str) -> Series:
    """Every value that is to be seen in the panels that share an axis."""
    return np.concatenate([r.layer(layer, quantity).ravel() for layer in layers])


def _bands(ax: Axes, r: Recording, layer: str, quantity: str, limits: Series) -> None:
    bands = r.layer(layer, quantity)
    steps_axis(ax, r.steps)
    if bands.ndim != 2 or bands.shape[1] != 5 or not np.isfinite(bands).any():
        note(ax, "none" if r.header.get(quantity) else f"{r.optimizer} does not keep both moments")
        return
    if quantity == "effective_rate":
        # The rate of a weight that never had a gradient is η/ε, far above all others: it need not be seen whole.
        positive = limits[np.isfinite(limits) & (limits > 0)]
        log_scale(ax, np.minimum(positive, 30 * np.median(positive)) if positive.size else positive)
    else:
        ax.set_ylim(0.0, max(1.05, float(np.nanmax(np.where(np.isfinite(limits), limits, np.nan)))))
    if len(r) == 1:
        step = r.steps[0]
        ax.vlines(step, bands[0, 0], bands[0, 4], color=COLOURS[0], alpha=0.3, linewidth=3)
        ax.vlines(step, bands[0, 1], bands[0, 3], color=COLOURS[0], alpha=0.6, linewidth=6)
        ax.plot([step], bands[:, 2], "o", color=COLOURS[0], markersize=4)
        return
    ax.fill_between(
        r.steps, bands[:, 0], bands[:, 4], color=COLOURS[0], alpha=0.15, linewidth=0, label="nine tenths of the weights"
    )
    ax.fill_between(r.steps, bands[:, 1], bands[:, 3], color=COLOURS[0], alpha=0.32, linewidth=0, label="half of them")
    ax.plot(r.steps, bands[:, 2], color=COLOURS[0], linewidth=1.6, label="median")
