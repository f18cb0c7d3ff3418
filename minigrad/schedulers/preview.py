"""Drawing the curves of schedules to a file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np
import numpy.typing as npt

# Okabe and Ito's colors, which color-blind readers can tell apart; the dashes help in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")


def draw(
    curves: Mapping[str, npt.NDArray[np.float64]], steps: npt.NDArray[np.float64], path: str | PathLike[str]
) -> None:
    """Draw one picture for each option, with a line for each param group, to a file."""
    # A Figure of its own needs no display, and leaves pyplot's state and backend alone.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.8 * len(curves)), layout="constrained")
    axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, groups) in zip(axes, curves.items(), strict=True):
        for number, values in enumerate(groups):
            color, dash = COLORS[number % len(COLORS)], DASHES[number % len(DASHES)]
            ax.plot(steps, values, color=color, linestyle=dash, linewidth=1.8, label=f"param group {number}")
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
        if len(groups) > 1:
            ax.legend()
    axes[-1].set_xlabel("scheduler step")
    figure.savefig(path, dpi=150)
