"""The clip ledger: what reached a clip, what left it, and how often it acted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from ...checks import whole
from .style import COLORS, QUIET, WARNING, Source, canvas, dot, finish, limit, log_scale, single, steps_axis, tidy
from .words import legend, mark_lost, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def clip_ledger(
    recording: Source, clip: int = 0, *, ax: Axes | None = None, path: str | os.PathLike[str] | None = None
) -> Figure:
    """How much does clipping take away, and how often? The norm before and after, what is cut between them shaded.

    The strip at the lower end is the share of steps, since the record before, in which the clip acted: dark is all.
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
        tidy(ax, f"Clipping, {r.optimizer}", "step", "gradient norm")
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
    which = "gradient norm" if last["ranges"] == 1 else f"gradient norm, hardest clipped {last['scope']}"
    tidy(ax, title, "step", which)
    legend(ax)
    return finish(figure, path)


def _strip(ax: Axes, steps: np.ndarray, share: np.ndarray) -> None:
    """A strip inside the bottom of the axes, with room made for it, colored by the share of clipped steps."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("share", ["#f2f2f2", WARNING])
    low, high = ax.get_ylim()
    limit(ax, "y", low / (high / low) ** 0.09 if ax.get_yscale() == "log" else low - 0.09 * (high - low), high)
    edges = np.concatenate([[steps[0] - 1 if len(steps) == 1 else steps[0]], steps[1:], [steps[-1] + 1]])
    if len(steps) > 1:  # the share belongs to the stretch that ends at the record
        edges, share = steps, share[1:]
    strip = ax.inset_axes((0.0, 0.0, 1.0, 0.05), sharex=ax)
    # Each cell reaches to the end, under those after it: between cells that only touch, the ground shines through.
    cells = [(left, edges[-1] - left) for left in edges[:-1]]
    strip.broken_barh(cells, (0, 1), array=share, cmap=shades, clim=(0.0, 1.0), linewidth=0)
    strip.set_ylim(0, 1)
    strip.set_axis_off()
    for value in (0.0, 0.5, 1.0):
        ax.fill([], [], facecolor=shades(value), edgecolor=QUIET, linewidth=0.4, label=f"acted on {value:.0%}")
