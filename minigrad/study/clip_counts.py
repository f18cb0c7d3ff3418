"""What clips do: in the recorded step range by range, and in how many of all steps they acted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..clip_reports import ClipReport
from ..clipping import Clip
from ..kernels.program import Layout
from ..optim import Optimizer

# A clip with more parts than these is counted on recorded steps alone, and so is one that takes no norm.
COUNTED_PARTS = 4
# Reports on more ranges than these are recorded as their hardest clipped range alone.
LISTED = 64


class ClipCounts:
    """Counts, for each clip of an optimizer, the steps that were looked at and those in which it acted."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._layout: Layout | None = None
        self._watched: list[tuple[int, list[_Part]]] = []
        self.steps = [0] * len(optimizer.clips)
        self.acted = [0] * len(optimizer.clips)

    def count(self) -> None:
        """Look at the step that was just taken; clips that are too costly for every step are passed over."""
        layout = self._optimizer._layout
        if layout is not self._layout:
            self._watch(layout)
        for number, parts in self._watched:
            self.steps[number] += 1
            for part in parts:
                if part.acts():
                    self.acted[number] += 1
                    break

    def _watch(self, layout: Layout | None) -> None:
        self._layout, self._watched = layout, []
        for number, clip in enumerate(self._optimizer.clips):
            parts = [] if layout is None or not clip.norms else layout.parts(clip.norms[0].scope)
            if layout is not None and 0 < len(parts) <= COUNTED_PARTS:
                self._watched.append((number, [_Part(clip, layout, row, place) for row, place in parts]))

    def take(self, reports: Sequence[ClipReport]) -> list[dict[str, Any]]:
        """The entries of a record for the step just taken, with the counts since the last record; they begin anew."""
        watched = {number for number, _ in self._watched}
        found = []
        for number, (clip, report) in enumerate(zip(self._optimizer.clips, reports, strict=True)):
            if number not in watched:
                self.steps[number] += 1
                self.acted[number] += bool(report.acted.any())
            assert self._layout is not None
            counts = {"steps": self.steps[number], "acted_steps": self.acted[number]}
            found.append({**_entry(clip, report, self._layout), **counts})
            self.steps[number] = self.acted[number] = 0
        return found


class _Part:
    """One range of one cohort, and how to tell whether a clip acts there."""

    def __init__(self, clip: Clip, layout: Layout, row: int, place: int) -> None:
        indices = {norm.name: layout.program.plan.norms.index(norm) for norm in clip.norms}
        self._function: Callable[..., Any] = clip.rule.function
        self._norms, self._places = layout.norms, [(indices[name], place) for name in clip.rule.norms]
        self._order = clip.norms[0].order
        # A numbered clip's rule has names of its own, its function those that it was written with.
        keywords = [p.name for p in inspect.signature(self._function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        columns = layout.program.columns
        self._row = layout.scalars[row]
        self._columns = [(key, columns[name]) for key, name in zip(keywords, clip.rule.hypers, strict=True)]

    def acts(self) -> bool:
        norms = [self._norms.item(place) for place in self._places]
        if self._order not in (1.0, np.inf):
            norms = [norm ** (1 / self._order) for norm in norms]
        # The rule is linear in the update, so on an update of 1 it gives its factor.
        factor: float = self._function(1.0, *norms, **{key: self._row.item(column) for key, column in self._columns})
        return factor != 1.0


def _entry(clip: Clip, report: ClipReport, layout: Layout) -> dict[str, Any]:
    """A report in numbers; where there are several ranges, ``range`` names the one that was clipped hardest."""
    columns = layout.program.columns
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


def merged(entries: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Over the entries of one clip in several records: in how many steps it acted, and how many were looked at."""
    return sum(each["acted_steps"] for each in entries), sum(each["steps"] for each in entries)
