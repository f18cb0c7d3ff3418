"""What the optimizer's state makes of the learning rate, and how sure it is of its direction."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ...checks import unknown
from ..records.recording import Recording
from .room import FONT, LETTER, font, inches, plain, shortened, wrapped
from .style import (
    COLORS,
    Series,
    Source,
    canvas,
    dot,
    finish,
    limit,
    log_scale,
    picture_format,
    single,
    steps_axis,
    tidy,
)
from .words import legend, mark_lost, note

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
    r = single("optimizer_state", recording)
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"optimizer_state: layers are given by name, such as '0', not {layer!r:.40}")
    if layer is not None and layer not in r.layers:
        raise KeyError(unknown("layer", layer, r.layers))
    drawn = r.layers if layer is None else [layer]
    known = _limits(r, drawn, quantity)
    if ax is not None or len(drawn) <= 1 or not np.isfinite(known).any():
        figure, ax = canvas(ax, path=path)
        title = f"{_TITLES[quantity]}, {r.optimizer}"
        if not drawn or not np.isfinite(known).any():
            tidy(ax, title, "step", _UNITS[quantity])
            note(ax, _nothing(r, quantity) if drawn else "no layers were recorded")
            return finish(figure, path)
        _bands(ax, r, drawn[0], quantity, _limits(r, drawn[:1], quantity))
        letters = int(inches(ax)[0] * 72 / (LETTER * (font(ax) + 1))) - len(r.optimizer) - 2
        name = shortened(drawn[:1], min(40, max(12, letters)))[0]
        tidy(ax, f"{_TITLES[quantity]} in layer {name}, {r.optimizer}", "step", _UNITS[quantity])
        legend(ax)
        return finish(figure, path)
    from matplotlib.figure import Figure

    if path is not None:
        picture_format(path)
    columns = min(4, math.ceil(math.sqrt(len(drawn))))
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(max(2.5 * columns, 6.0) + 0.4, 1.75 * rows + 1.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    names = shortened(drawn, 24)
    shown: dict[str, Any] = {}  # what the legend explains: some panel may have lost what another has
    for number, panel in enumerate(panels.ravel()):
        if number >= len(drawn):
            panel.set_axis_off()
            panels[rows - 2, number % columns].tick_params(labelbottom=True)
            continue
        _bands(panel, r, drawn[number], quantity, known)
        tidy(panel, f"layer {names[number]}", "step" if number + columns >= len(drawn) else "", "")
        shown |= {str(handle.get_label()): handle for handle in panel.get_legend_handles_labels()[0]}
    meaning = r.header.get(quantity, "")
    title = f"{_TITLES[quantity]}, {r.optimizer}" + (f": {meaning}" if meaning else "")
    figure.suptitle(plain(wrapped(title, figure.get_figwidth() - 0.4, FONT + 1.5)), fontsize=FONT + 1.5)
    figure.supylabel(_UNITS[quantity], fontsize=FONT + 0.5)
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower right", ncols=4 if columns > 2 else 2, frameon=False,
        fontsize=FONT,
    )  # fmt: skip
    return finish(figure, path)


def _nothing(r: Recording, quantity: str) -> str:
    """Why there is no value of the quantity."""
    return "no value was finite" if r.header.get(quantity) else f"{r.optimizer} does not keep both moments"


def _limits(r: Recording, layers: list[str], quantity: str) -> Series:
    """Every value that is to be seen in the panels that share an axis."""
    found = [r.layer(layer, quantity) for layer in layers]
    return np.concatenate([each.ravel() for each in found if each.ndim == 2 and each.shape[1] == 5] or [np.empty(0)])


def _bands(ax: Axes, r: Recording, layer: str, quantity: str, limits: Series) -> None:
    bands = r.layer(layer, quantity)
    steps_axis(ax, r.steps)
    if bands.ndim != 2 or bands.shape[1] != 5 or not np.isfinite(bands).any():
        note(ax, _nothing(r, quantity))
        return
    if quantity == "effective_rate":
        # The rate of a weight that never had a gradient is η/ε, far above all others: it need not be seen whole.
        positive, middles = limits[np.isfinite(limits) & (limits > 0)], limits.reshape(-1, 5)[:, 2]
        most = 3 * np.max(middles[np.isfinite(middles)], initial=0.0)
        log_scale(ax, np.minimum(positive, most) if positive.size and most > 0 else positive)
    else:
        limit(ax, "y", 0.0, max(1.05, float(np.nanmax(np.where(np.isfinite(limits), limits, np.nan)))))
    label = ("nine tenths of the weights", "half of them", "median")
    if len(r) == 1:
        step = r.steps[0]
        ax.vlines(step, bands[0, 0], bands[0, 4], color=COLORS[0], alpha=0.3, linewidth=3, label=label[0])
        ax.vlines(step, bands[0, 1], bands[0, 3], color=COLORS[0], alpha=0.6, linewidth=6, label=label[1])
    else:
        for low, high, alpha, words in ((0, 4, 0.15, label[0]), (1, 3, 0.32, label[1])):
            edges = bands[:, low], bands[:, high]
            ax.fill_between(r.steps, *edges, color=COLORS[0], alpha=alpha, linewidth=0, label=words)
    ax.plot(r.steps, bands[:, 2], "-", color=COLORS[0], linewidth=1.6, label=label[2], **dot(len(r)))
    top = max(ax.get_ylim())
    above = np.flatnonzero(bands[:, 4] > top)
    if above.size:
        ax.plot(
            r.steps[above[[-1]]], [1.0], "^", color=COLORS[0], markersize=6, clip_on=False, zorder=4,
            transform=ax.get_xaxis_transform(), label="goes on above",
        )  # fmt: skip
    there = np.array([quantity in record["layers"].get(layer, {}) for record in r.records])
    mark_lost(ax, [(r.steps[there], bands[there, 2])])
