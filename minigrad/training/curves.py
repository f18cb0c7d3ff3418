"""Pictures of the metrics of one run, or of several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from .files import write_atomically
from .progress import Row


def draw_curves(runs: Mapping[str, Sequence[Row]], path: str | os.PathLike[str]) -> Path:
    """Draw the metrics over the epochs: one panel for the losses and one for every other metric.

    Args:
        runs: the rows of metrics of each run by its name; of a single run, both parts of the data are drawn.
        path: the PNG file, written in one step.
    """
    # Without pyplot there is no window system to choose, and nothing global is changed.
    from matplotlib.figure import Figure

    kinds = dict.fromkeys(name.partition("_")[2].removeprefix("out_") for rows in runs.values() for name in rows[0])
    figure = Figure(figsize=(5 * max(len(kinds), 1), 4), layout="constrained")
    for place, kind in enumerate(kinds, 1):
        axes, positive = figure.add_subplot(1, len(kinds), place), True
        for number, (label, rows) in enumerate(runs.items()):
            for part, style in (("train", "--"), ("held_out", "-")):
                name = f"{part}_{kind}"
                if name not in rows[0] or (len(runs) > 1 and part == "train" and f"held_out_{kind}" in rows[0]):
                    continue
                words = part.replace("_", " ") if len(runs) == 1 else label
                values = [row[name] for row in rows]
                axes.plot(range(1, len(rows) + 1), values, style, color=f"C{number}", label=words)
                positive = positive and min(values) > 0
        axes.set_xlabel("epoch")
        axes.set_title(kind if len(runs) == 1 else f"held-out {kind}")
        if kind.endswith("loss") and positive:
            axes.set_yscale("log")
        axes.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return write_atomically(path, picture.getvalue())
