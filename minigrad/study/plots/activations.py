"""Activation health: what every layer gives out, and how many of its units take no part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..findings import MANY
from ..records.recording import Recording
from .style import COLOURS, FONT, QUIET, WARNING, Source, canvas, finish, note, single, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def activation_health(
    recording: Source, *, ax: Axes | None = None, path: str | os.PathLike[str] | None = None
) -> Figure:
    """What do the layers give out, and which units are dead or saturated? A histogram for each output, first on top.

    Each row is the output of one module on the probe at the last record, over that at the first in grey; a row's own
    largest bar has its full height. The bar is the mean and a standard deviation to both sides. At the right stand
    dead and saturated units, and values that are NaN or infinite.

    Args:
        recording: a recording or its file.
        ax, path: as in `update_ratios`.
    """
    r = single(recording)
    seen = [record["activations"] for record in r.records if record.get("activations")]
    names = r.activations
    figure, ax = canvas(ax, 7.5, 1.4 + (0.48 if len(names) <= 12 else 0.36) * max(len(names), 2))
    title = f"Outputs on {r.header.get('probe_rows', 0):,} fixed rows, {r.optimizer}"
    if not seen:
        tidy(ax, title, "value", "")
        note(ax, "no activations were recorded")
        return finish(figure, path)
    first, last = seen[0], seen[-1]
    steps = [record["step"] for record in r.records if record.get("activations")]
    low, high = _range([each.get(name, {}) for each in (first, last) for name in names])
    for row, name in enumerate(names):
        base = len(names) - 1 - row
        _ridge(ax, first.get(name, {}), base, QUIET, 0.35, f"step {steps[0]:,}" if row == 0 else "")
        if len(seen) > 1:
            _ridge(ax, last.get(name, {}), base, COLOURS[0], 0.6, f"step {steps[-1]:,}" if row == 0 else "")
        _spread(ax, last.get(name, {}), base, "mean ± std" if row == 0 else "")
        text, bad = _health(last.get(name, {}))
        ax.annotate(
            text, (1.01, base + 0.22), xycoords=("axes fraction", "data"), fontsize=FONT, va="center",
            color=WARNING if bad else QUIET, fontweight="bold" if bad else "normal", annotation_clip=False,
        )  # fmt: skip
    ax.set_xlim(low, high)
    ax.set_ylim(-0.2, len(names) - 0.05)
    ax.set_yticks(range(len(names)), [_title(r, name) for name in reversed(names)])
    tidy(ax, title, "value", "")
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _legend_below(ax)
    return finish(figure, path)


def _legend_below(ax: Axes) -> None:
    """The right side has the numbers, so the legend stands below the axis, half an inch."""
    figure: Any = ax.get_figure()
    height = max(ax.get_position().height * figure.get_size_inches()[1], 1.0)
    ax.legend(
        loc="upper right", bbox_to_anchor=(1.0, -0.5 / height), ncols=3, frameon=False, fontsize=FONT, borderaxespad=0.0
    )


def _title(r: Recording, name: str) -> str:
    kind = r.header.get("activations", {}).get(name, {}).get("kind", "")
    return f"{name}  {kind}" if kind and kind not in name else name


def _range(outputs: list[dict[str, Any]]) -> tuple[float, float]:
    """From the lowest to the highest value, but no farther than six standard deviations of the layer in the middle."""
    known = [o for o in outputs if "std" in o and np.isfinite(o["std"])]
    if not known:
        return -1.0, 1.0
    reach = 6 * float(np.median([abs(o["mean"]) + o["std"] for o in known])) or 1.0
    low = max(min(o["low"] for o in known), -reach)
    high = min(max(o["high"] for o in known), reach)
    room = 0.03 * (high - low) or 1.0
    return low - room, high + room


def _ridge(ax: Axes, output: dict[str, Any], base: float, colour: str, alpha: float, label: str) -> None:
    counts = np.array(output.get("counts", []), np.float64)
    if not counts.size or not counts.max() > 0 or "low" not in output:
        return
    edges = np.linspace(output["low"], output["high"], counts.size + 1)
    heights = base + 0.78 * counts / counts.max()
    if output["high"] == output["low"]:
        ax.vlines(output["low"], base, base + 0.78, color=colour, alpha=alpha, linewidth=3, label=label)
        return
    ax.stairs(heights, edges, baseline=base, fill=True, color=colour, alpha=alpha, linewidth=0, label=label)


def _spread(ax: Axes, output: dict[str, Any], base: float, label: str) -> None:
    if "std" in output:
        mean, std = output["mean"], output["std"]
        ax.plot(
            [mean - std, mean + std],
            [base - 0.07] * 2,
            color="black",
            linewidth=1.6,
            label=label,
            solid_capstyle="butt",
        )
        ax.plot([mean], [base - 0.07], "|", color="black", markersize=5)


def _health(output: dict[str, Any]) -> tuple[str, bool]:
    """Dead and saturated units in words, and whether they are many."""
    units, words, bad = output.get("units", 0), [], False
    for what in ("dead", "saturated"):
        if what in output:
            words.append(f"{output[what]} of {units} {what}")
            bad = bad or output[what] >= MANY * units > 0
    wrong = [f"{output[key]:,} {word}" for key, word in (("nan", "NaN"), ("inf", "infinite")) if output.get(key)]
    return ", ".join([*words, *wrong]), bad or bool(wrong)
