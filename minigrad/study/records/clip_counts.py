"""What clips do: in the recorded step range by range, and in how many of all steps they acted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...clipping import Clip, ClipReport
from ...kernels.layout import Layout
from ...kernels.norms import finished
from ...optim import Optimizer

# Steps whose norms are held until they are looked at together, and the most numbers in them.
HELD, HELD_NUMBERS = 1024, 1 << 16
# Reports on more ranges than these are recorded as their hardest clipped range alone.
LISTED = 64


class ClipCounts:
    """Counts, for each clip of an optimizer, the steps that were looked at and those in which it acted.

    After a step its norms are copied, no more; many steps are looked at together. A clip that takes no norm is
    looked at in recorded steps alone.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._layout: Layout | None = None
        self._held: list[bytes] = []  # the norms and scalars of each step; bytes are the quickest copy
        self._bound = HELD
        self.steps = [0] * len(optimizer.clips)
        self.acted = [0] * len(optimizer.clips)

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_layout": None}

    def count(self) -> None:
        """Keep what tells whether the clips acted in the step that was just taken."""
        layout = self._optimizer._layout
        if layout is not self._layout:
            self.settle()
            self._layout = layout
            self._bound = max(1, min(HELD, HELD_NUMBERS // max(layout.numbers.size, 1))) if layout is not None else HELD
        if layout is not None:
            held = self._held
            held.append(layout.numbers.tobytes())
            if len(held) == self._bound:
                self.settle()

    def settle(self) -> None:
        """Look at the steps that are held."""
        held, self._held = self._held, []
        layout = self._layout
        if not held or layout is None:
            return
        table = np.frombuffer(b"".join(held)).reshape(len(held), -1)
        norms = table[:, : layout.norms.size].reshape(len(held), *layout.norms.shape)
        scalars = table[:, layout.norms.size :].reshape(len(held), *layout.scalars.shape)
        for number, clip in enumerate(self._optimizer.clips):
            if clip.norms:
                self.steps[number] += len(held)
                self.acted[number] += int(_acted(clip, layout, norms, scalars).sum())

    def take(self, reports: Sequence[ClipReport]) -> list[dict[str, Any]]:
        """The entries of a record for the step just taken, with the counts since recording began."""
        self.settle()
        assert self._layout is not None
        found = []
        for number, (clip, report) in enumerate(zip(self._optimizer.clips, reports, strict=True)):
            if not clip.norms:
                self.steps[number] += 1
                self.acted[number] += bool(report.acted.any())
            counts = {"steps": self.steps[number], "acted_steps": self.acted[number], "sampled": not clip.norms}
            found.append({**_entry(clip, report, self._layout), **counts})
        return found


def _acted(clip: Clip, layout: Layout, norms: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whether the clip changed anything in each step, from its norms and scalars, a table per step."""
    plan = layout.plan
    rows, numbers = np.array(layout.parts(clip.norms[0].scope), np.intp).reshape(-1, 2).T
    found = {n.name: finished(n.order, norms[:, plan.norms.index(n), numbers]) for n in clip.norms}
    factor = clip.rule.factor(found, {name: scalars[:, rows, plan.columns[name]] for name in clip.rule.hypers})
    return (factor != 1.0).any(1)


def _entry(clip: Clip, report: ClipReport, layout: Layout) -> dict[str, Any]:
    """A report in numbers; where there are several ranges, ``range`` names the one that was clipped hardest."""
    columns = layout.plan.columns
    hardest = int(np.lexsort((-report.norm_before, report.factor))[0])
    found: dict[str, Any] = {
        "clip": report.clip,
        "scope": report.scope,
        "thresholds": {name: float(layout.scalars[0, columns[name]]) for name in clip.options},
        "range": report.ranges[hardest],
        "norm_before": float(report.norm_before[hardest]),
        "norm_after": float(report.norm_after[hardest]),
        "factor": float(report.factor[hardest]),
        "ranges": len(report.ranges),
        "acted_ranges": int(report.acted.sum()),
    }
    if 1 < len(report.ranges) <= LISTED:
        rows = zip(report.norm_before, report.norm_after, report.factor, strict=True)
        found["by_range"] = {name: [float(v) for v in row] for name, row in zip(report.ranges, rows, strict=True)}
    return found
