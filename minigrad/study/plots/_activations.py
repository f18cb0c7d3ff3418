"""Activation health: the outputs of every layer, and how many of its units are dead or saturated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..findings.finding import MANY
from ..records.recording import Recording, Source
from ._labels import Room, legend, note, tidy
from .style import (
    COLORS,
    LETTER,
    QUIET,
    WARNING,
    canvas,
    finish,
    font,
    inches,
    is_wide,
    limit,
    plain,
    shortened,
    single,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def activation_health(
    recording: Source, *, ax: Axes | None = None, path: str | os.PathLike[str] | None = None
) -> Figure:
    """What do the layers return, and which units are dead or saturated? A histogram for each output, the first on top.

    Each row is the output of one module on the probe at the last record, over the first record in gray; the largest bar
    of each row has the full height. The black bar is the mean and a standard deviation to both sides. On the right are
    the counts of dead and saturated units, and of NaN and infinite values. The axis leaves out far values that would
    make all else small; an arrow then shows which part of the values is beyond the axis, and how far.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    from matplotlib.ticker import MaxNLocator

    r = single("activation_health", recording)
    seen = [record["activations"] for record in r.records if record.get("activations")]
    names = r.activations
    figure, ax = canvas(ax, 7.5, 1.4 + (0.48 if len(names) <= 12 else 0.36) * max(len(names), 2), path=path)
    title = f"Outputs on {r.header.get('probe_rows', 0):,} fixed rows, {r.optimizer}"
    if not seen:
        tidy(ax, title, "value", "")
        note(ax, "no activations were recorded")
        return finish(figure, path)
    first, last = seen[0], seen[-1]
    steps = [record["step"] for record in r.records if record.get("activations")]
    low, high = _range([each.get(name, {}) for each in (first, last) for name in names])
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8 if is_wide(ax) else 4))
    limit(ax, "x", low, high)
    low, high = sorted(ax.get_xlim())
    row_height = 0.9 * inches(ax)[1] * 72 / len(names)
    size = min(max(0.85 * row_height, 5.0), font(ax))
    beyond = False
    for row, name in enumerate(names):
        base, output = len(names) - 1 - row, last.get(name, {})
        _ridge(ax, first.get(name, {}), base, QUIET, 0.35, f"step {steps[0]:,}" if row == 0 else "")
        if len(seen) > 1:
            _ridge(ax, output, base, COLORS[0], 0.6, f"step {steps[-1]:,}" if row == 0 else "")
        if output.get("std", 0.0) <= high - low:
            _spread(ax, output, base, "mean ± std" if row == 0 else "")
        outside = _outside(ax, output, base, low, high, min(5.0, 0.6 * row_height))
        beyond = beyond or bool(outside)
        text, bad = _health(output)
        words = ax.annotate(
            plain("; ".join(filter(None, [text, *outside]))), (1.0, base + 0.22),
            xycoords=("axes fraction", "data"), xytext=(7, 0), textcoords="offset points", fontsize=size,
            va="center", color=WARNING if bad else QUIET, fontweight="bold" if bad else "normal", annotation_clip=False,
        )  # fmt: skip
        Room.of(ax).beside.append(words)
    ax.set_ylim(-0.2, len(names) - 0.05)
    every = int(np.ceil(5.5 / row_height))
    shown = range((len(names) - 1) % every, len(names), every)
    letters = min(26, max(10, int(0.35 * inches(ax)[0] * 72 / (LETTER * size))))
    titles = shortened([_title(r, name) for name in reversed(names)], letters)
    ax.set_yticks(shown, [plain(titles[i]) for i in shown])
    tidy(ax, title, "value" + (", arrows: share beyond the axis, and how far" if beyond else ""), "")
    ax.tick_params(axis="y", length=0, labelsize=size)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    legend(ax, below=True)
    return finish(figure, path)


def _title(r: Recording, name: str) -> str:
    kind = r.header.get("activations", {}).get(name, {}).get("kind", "")
    return f"{name}  {kind}" if kind and kind not in name else name


def _range(outputs: list[dict[str, Any]]) -> tuple[float, float]:
    """From the lowest to the highest value, but at most six standard deviations of the median layer."""
    known = [o for o in outputs if "std" in o and np.isfinite(o["std"])]
    if not known:
        return -1.0, 1.0
    reach = 6 * float(np.median([abs(o["mean"]) + o["std"] for o in known])) or 1.0
    low = max(min(o["low"] for o in known), -reach)
    high = min(max(o["high"] for o in known), reach)
    room = 0.03 * (high - low) or 1.0
    return low - room, high + room


def _ridge(ax: Axes, output: dict[str, Any], base: float, color: str, alpha: float, label: str) -> None:
    counts = np.array(output.get("counts", []), np.float64)
    if not counts.size or not counts.max() > 0 or "low" not in output:
        return
    edges = np.linspace(output["low"], output["high"], counts.size + 1)
    heights = base + 0.78 * counts / counts.max()
    low, high = sorted(ax.get_xlim())
    if edges[1] - edges[0] > high - low:  # a bar would only show that it is wider than the axis
        ax.fill([], [], color=color, alpha=alpha, linewidth=0, label=label)
        return
    if output["high"] == output["low"]:
        ax.vlines(output["low"], base, base + 0.78, color=color, alpha=alpha, linewidth=3, label=label)
        return
    ax.stairs(heights, edges, baseline=base, fill=True, color=color, alpha=alpha, linewidth=0, label=label)


def _outside(ax: Axes, output: dict[str, Any], base: float, low: float, high: float, size: float) -> list[str]:
    """Arrows at the ends of the axis if the histogram extends beyond, and as text how much of it, and how far."""
    counts = np.array(output.get("counts", []), np.float64)
    if not counts.size or not counts.sum() > 0 or "low" not in output:
        return []
    edges = np.linspace(output["low"], output["high"], counts.size + 1)
    width = np.maximum(np.diff(edges), np.finfo(float).tiny)
    words = []
    for arrow, marker, end, far, parts in (
        ("←", "<", low, output["low"], np.clip((low - edges[:-1]) / width, 0.0, 1.0)),
        ("→", ">", high, output["high"], np.clip((edges[1:] - high) / width, 0.0, 1.0)),
    ):
        if (far < low) if arrow == "←" else (far > high):
            share = float(counts @ parts / (counts.sum() + _lost(output)))
            words.append(f"{arrow} {f'{share:.0%}' if share >= 0.005 else '<1%'} to {far:.2g}")
            ax.plot([end], [base + 0.2], marker, color=COLORS[0], markersize=size, clip_on=False, zorder=4)
    return words


def _lost(output: dict[str, Any]) -> int:
    """The count of values that are not finite."""
    return int(output.get("nan", 0)) + int(output.get("inf", 0))


def _spread(ax: Axes, output: dict[str, Any], base: float, label: str) -> None:
    if "std" in output:
        mean, std = output["mean"], output["std"]
        ax.plot(
            [mean - std, mean + std],
            [base - 0.07] * 2,
            "-",
            color="black",
            linewidth=1.6,
            label=label,
            solid_capstyle="butt",
        )
        ax.plot([mean], [base - 0.07], "|", color="black", markersize=5)


def _health(output: dict[str, Any]) -> tuple[str, bool]:
    """The counts of dead and saturated units as text, and whether they are many."""
    units, words, bad = output.get("units", 0), [], False
    for what in ("dead", "saturated"):
        if what in output and "low" in output:
            words.append(f"{output[what]} of {units} {what}")
            bad = bad or output[what] >= MANY * units > 0
    every = int(sum(output.get("counts", []))) + _lost(output)
    wrong = [
        f"{output[key]:,} of {every:,} {word}" if output[key] < every else f"all {every:,} {word}"
        for key, word in (("nan", "NaN"), ("inf", "infinite"))
        if output.get(key)
    ]
    return ", ".join([*words, *wrong]), bad or bool(wrong)
