"""Plots of the optimizer: the learning rates and signals in its state, and the effect of its clips."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ...checks import choice, unknown, whole
from ..records.quantities import quantity as entry
from ..records.recording import Recording, Source
from ._labels import legend, mark_lost, note, tidy
from .style import (
    COLORS,
    FONT,
    LETTER,
    QUIET,
    WARNING,
    Series,
    canvas,
    dot,
    finish,
    font,
    inches,
    limit,
    log_scale,
    picture_format,
    plain,
    shortened,
    single,
    steps_axis,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLIP = entry("clip", "norm_before")
_ENTRIES = {name: entry("layer", name) for name in ("effective_rate", "signal")}


def optimizer_state(
    recording: Source,
    quantity: str = "effective_rate",
    layer: str | None = None,
    *,
    ax: Axes | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Which rates do the weights of a layer really have? Bands contain half of them, and nine tenths.

    Args:
        recording: a recording or its file.
        quantity: ``"effective_rate"``, η / (√v̂ + ε), or ``"signal"``, |m̂| / √v̂: 1 in the first step and where equal
            gradients agree. For pure noise its median is .6745 √((1 - β₁) / (1 + β₁)) in the end, 0.15 for β₁ = 0.9.
            It also falls where gradients shrink, since v̂ remembers them longer than m̂.
        layer: one layer; by default a panel for each, unless ``ax`` is given, which gets the first.
        ax, path: as in `update_ratios`.

    Raises:
        ValueError: for another quantity.
        KeyError: for an unknown layer.
    """
    choice("optimizer_state", "quantity", quantity, _ENTRIES)
    r = single("optimizer_state", recording)
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"optimizer_state: layers are given by name, such as '0', not {layer!r:.40}")
    if layer is not None and layer not in r.layers:
        raise KeyError(unknown("layer", layer, r.layers))
    drawn = r.layers if layer is None else [layer]
    known = _limits(r, drawn, quantity)
    if ax is not None or len(drawn) <= 1 or not np.isfinite(known).any():
        figure, ax = canvas(ax, path=path)
        title = f"{_ENTRIES[quantity].heading}, {r.optimizer}"
        if not drawn or not np.isfinite(known).any():
            tidy(ax, title, "step", _ENTRIES[quantity].axis)
            note(ax, _nothing(r, quantity) if drawn else "no layers were recorded")
            return finish(figure, path)
        _bands(ax, r, drawn[0], quantity, _limits(r, drawn[:1], quantity))
        letters = int(inches(ax)[0] * 72 / (LETTER * (font(ax) + 1))) - len(r.optimizer) - 2
        name = shortened(drawn[:1], min(40, max(12, letters)))[0]
        tidy(ax, f"{_ENTRIES[quantity].heading} in layer {name}, {r.optimizer}", "step", _ENTRIES[quantity].axis)
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
    shown: dict[str, Any] = {}  # for the legend: some panels may lack what others have
    for number, panel in enumerate(panels.ravel()):
        if number >= len(drawn):
            panel.set_axis_off()
            panels[rows - 2, number % columns].tick_params(labelbottom=True)
            continue
        _bands(panel, r, drawn[number], quantity, known)
        tidy(panel, f"layer {names[number]}", "step" if number + columns >= len(drawn) else "", "")
        shown |= {str(handle.get_label()): handle for handle in panel.get_legend_handles_labels()[0]}
    meaning = r.header.get(quantity, "")
    title = f"{_ENTRIES[quantity].heading}, {r.optimizer}" + (f": {meaning}" if meaning else "")
    figure.suptitle(plain(wrapped(title, figure.get_figwidth() - 0.4, FONT + 1.5)), fontsize=FONT + 1.5)
    figure.supylabel(_ENTRIES[quantity].axis, fontsize=FONT + 0.5)
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower right", ncols=4 if columns > 2 else 2, frameon=False,
        fontsize=FONT,
    )  # fmt: skip
    return finish(figure, path)


def _nothing(r: Recording, quantity: str) -> str:
    """Explain why the quantity has no value."""
    if r.header.get(quantity):
        return "no value was finite"
    does_not = "keep both moments" if r.header.get("effective_rate") else "declare the meaning of its state"
    return f"{r.optimizer} does not {does_not}"


def _limits(r: Recording, layers: list[str], quantity: str) -> Series:
    """Every value in the panels that share an axis."""
    found = [r.layer(layer, quantity) for layer in layers]
    return np.concatenate([each.ravel() for each in found if each.ndim == 2 and each.shape[1] == 5] or [np.empty(0)])


def _bands(ax: Axes, r: Recording, layer: str, quantity: str, limits: Series) -> None:
    bands = r.layer(layer, quantity)
    steps_axis(ax, r.steps)
    if bands.ndim != 2 or bands.shape[1] != 5 or not np.isfinite(bands).any():
        note(ax, _nothing(r, quantity))
        return
    if quantity == "effective_rate":
        # The rate of a weight that never had a gradient is η/ε, far above all others: it may leave the axis.
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
            transform=ax.get_xaxis_transform(), label="continues above",
        )  # fmt: skip
    there = np.array([quantity in record["layers"].get(layer, {}) for record in r.records])
    mark_lost(ax, [(r.steps[there], bands[there, 2])])


def clip_ledger(
    recording: Source, clip: int = 0, *, ax: Axes | None = None, path: str | os.PathLike[str] | None = None
) -> Figure:
    """How much does clipping take away, and how often? The norm before and after, what is cut between them shaded.

    The strip at the bottom is the share of the steps since the record before in which the clip acted: dark is all.
    Of a clip with many ranges, the one that was clipped hardest is shown.

    Args:
        recording: a recording or its file.
        clip: which of the optimizer's clips, from 0.
        ax, path: as in `update_ratios`.

    Raises:
        IndexError: for a clip that the optimizer does not have.
    """
    r = single("clip_ledger", recording)
    entries = r.clips(whole("clip_ledger", "clip", clip, least=None))
    figure, ax = canvas(ax, path=path)
    if not entries:
        tidy(ax, f"{_CLIP.heading}, {r.optimizer}", "step", _CLIP.axis)
        note(ax, f"{r.optimizer} does not clip")
        return finish(figure, path)
    steps = np.array([e["step"] for e in entries])
    before, after = (np.array([float(e[f"norm_{when}"]) for e in entries]) for when in ("before", "after"))
    log_scale(ax, before, after)
    steps_axis(ax, steps)
    ax.fill_between(steps, after, before, color=WARNING, alpha=0.18, linewidth=0, label="cut away")
    ax.plot(steps, before, "-", color=WARNING, linewidth=1.5, label="before", **dot(len(steps)))
    ax.plot(steps, after, "-", color=COLORS[0], linewidth=1.8, label="after", **dot(len(steps)))
    limits = np.array([e["thresholds"].get("max_norm", np.nan) for e in entries])
    if np.isfinite(limits).any() and entries[0]["ranges"] == 1:
        ax.plot(steps, limits, ":", color="black", linewidth=1.2, label="threshold")
    mark_lost(ax, [(steps, before), (steps, after)])
    _strip(ax, steps, np.array([e["share"] for e in entries]))
    last = entries[-1]
    share = last["acted_steps"] / max(last["steps"], 1)
    words = ", ".join(f"{name} {value:g}" for name, value in last["thresholds"].items())
    steps_ = "recorded steps" if last.get("sampled") else "steps"
    title = f"{last['title']} ({words}) acted on {share:.0%} of {last['steps']:,} {steps_}"
    which = _CLIP.axis if last["ranges"] == 1 else f"{_CLIP.axis}, hardest clipped {last['scope']}"
    tidy(ax, title, "step", which)
    legend(ax)
    return finish(figure, path)


def _strip(ax: Axes, steps: np.ndarray, share: np.ndarray) -> None:
    """A strip at the bottom of the axes, in space made for it, colored by the share of clipped steps."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("share", ["#f2f2f2", WARNING])
    low, high = ax.get_ylim()
    limit(ax, "y", low / (high / low) ** 0.09 if ax.get_yscale() == "log" else low - 0.09 * (high - low), high)
    edges = np.concatenate([[steps[0] - 1 if len(steps) == 1 else steps[0]], steps[1:], [steps[-1] + 1]])
    if len(steps) > 1:  # the share belongs to the stretch that ends at the record
        edges, share = steps, share[1:]
    strip = ax.inset_axes((0.0, 0.0, 1.0, 0.05), sharex=ax)
    # Each cell reaches to the end, under those after it: between cells that only touch, the background would show.
    cells = [(left, edges[-1] - left) for left in edges[:-1]]
    strip.broken_barh(cells, (0, 1), array=share, cmap=shades, clim=(0.0, 1.0), linewidth=0)
    strip.set_ylim(0, 1)
    strip.set_axis_off()
    for value in (0.0, 0.5, 1.0):
        ax.fill([], [], facecolor=shades(value), edgecolor=QUIET, linewidth=0.4, label=f"acted on {value:.0%}")
