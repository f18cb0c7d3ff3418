"""The effect of clips: in a recorded step, for each range, and the number of all steps in which they acted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...clipping import Clip, ClipReport
from ...kernels.layout import Layout
from ...kernels.norms import finished
from ...optim import Optimizer

# The norms of this many steps are kept until they are evaluated together; fewer, if they hold more numbers than this.
HELD, HELD_NUMBERS = 1024, 1 << 16
# Of clips with more ranges than this, only the range that was clipped hardest is recorded.
LISTED = 64


class ClipCounts:
    """Counts, for each clip of an optimizer, the checked steps and the steps in which it acted.

    A step only copies its norms; many steps are checked together. A clip without a norm, as by value, is checked only
    in recorded steps.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._layout: Layout | None = None
        self._held: list[bytes] = []  # the norms and scalars of each step; bytes are the fastest copy
        self._bound = HELD
        self.steps = [0] * len(optimizer.clips)
        self.acted = [0] * len(optimizer.clips)

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_layout": None}

    def count(self) -> None:
        """Keep the norms of the step just taken, from which it follows whether a clip acted."""
        layout = self._optimizer._layout
        if layout is not None:
            self.count_rows([layout.numbers])

    def count_rows(self, numbers: Iterable[npt.NDArray[Any]]) -> None:
        """Keep the norms of the last steps, each from a row of `Layout.numbers`."""
        layout = self._optimizer._layout
        assert layout is not None
        if layout is not self._layout:
            self.settle()
            self._layout = layout
            self._bound = max(1, min(HELD, HELD_NUMBERS // max(layout.numbers.size, 1)))
        held = self._held
        for row in numbers:
            held.append(row.tobytes())
            if len(held) == self._bound:
                self.settle()
                held = self._held

    def settle(self) -> None:
        """Check the steps that are kept."""
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

    def take(self, reports: Sequence[ClipReport]) -> list[Acted]:
        """The effect of each clip in the last step, with the counts since recording began."""
        self.settle()
        layout = self._layout
        assert layout is not None
        found = []
        for number, (clip, report) in enumerate(zip(self._optimizer.clips, reports, strict=True)):
            if not clip.norms:
                self.steps[number] += 1
                self.acted[number] += bool(report.acted.any())
            found.append(Acted(clip, report, layout, self.steps[number], self.acted[number]))
        return found


def _acted(clip: Clip, layout: Layout, norms: npt.NDArray[Any], scalars: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Whether the clip changed anything in each step, from tables of its norms and scalars, one per step."""
    plan = layout.plan
    rows, numbers = np.array(layout.parts(clip.norms[0].scope), np.intp).reshape(-1, 2).T
    found = {n.name: finished(n.order, norms[:, plan.norms.index(n), numbers]) for n in clip.norms}
    factor = clip.rule.factor(found, {name: scalars[:, rows, plan.columns[name]] for name in clip.rule.hypers})
    return (factor != 1.0).any(1)


@dataclass
class Acted:
    """The effect of a clip in a step, and its count since recording began: the source of a clip's quantities."""

    clip: Clip
    report: ClipReport
    layout: Layout
    steps: int
    acted_steps: int

    @cached_property
    def hardest(self) -> int:
        """The range that was clipped hardest; of equals, the one with the largest norm."""
        return int(np.lexsort((-self.report.norm_before, self.report.factor))[0])

    def thresholds(self) -> dict[str, float]:
        """The clip's options as the step used them."""
        columns = self.layout.plan.columns
        return {name: float(self.layout.scalars[0, columns[name]]) for name in self.clip.options}

    def by_range(self) -> dict[str, list[float]] | None:
        """Norm before, norm after and factor of each range; ``None`` for a single range, and for very many."""
        report = self.report
        if not 1 < len(report.ranges) <= LISTED:
            return None
        rows = zip(report.norm_before, report.norm_after, report.factor, strict=True)
        return {name: [float(v) for v in row] for name, row in zip(report.ranges, rows, strict=True)}
