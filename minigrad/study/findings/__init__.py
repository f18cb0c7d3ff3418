"""Findings: what a recording says of a training, in plain sentences, each with the numbers that it rests on.

A finding is made only where the numbers are far from those of trainings that go well; a healthy run has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..records.recording import Recording
from ..records.source import Source, opened
from . import layers, losses, steps
from .finding import GOOD_RATIO, MANY, SEVERITIES, Finding

__all__ = ["GOOD_RATIO", "MANY", "SEVERITIES", "Finding", "findings"]

_QUESTIONS: tuple[Callable[[Recording], Iterator[Finding]], ...] = (
    *(losses.nonfinite, steps.left_out, steps.standing, losses.loss),
    *(layers.units, layers.initial_scale, layers.growth, layers.gradients),
    *(steps.ratios, steps.clips, steps.decay, steps.warm_up, steps.trust),
)


def findings(recording: Source) -> list[Finding]:
    """Everything that stands out in a recording, or a recorder's, or the one in a file; the worst first.

    One without a record gives one note that says so.

    >>> for finding in study.findings("runs/digits-adam-1/record.jsonl"):  # doctest: +SKIP
    ...     print(finding)
    """
    recording = opened(recording)
    if not len(recording):
        sentence = (
            "no step was recorded: training ended before its first step was complete, as by an error, or the recorder "
            "was not attached before it, with Recorder(model, optimizer) or in callbacks, to the optimizer that steps"
        )
        return [Finding("note", "no records", None, sentence)]
    found = [finding for question in _QUESTIONS for finding in question(recording)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
