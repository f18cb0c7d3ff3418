"""Findings: what a recording says of a training, in plain sentences, each with the numbers that it rests on.

A finding is made only where the numbers are far from those of trainings that go well; a healthy run has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..records.recording import Recording, Source, opened
from . import gradients, losses, nonfinite, scales, steps, units
from .finding import GOOD_RATIO, MANY, SEVERITIES, Finding
from .order import ordered

__all__ = ["GOOD_RATIO", "MANY", "SEVERITIES", "Finding", "findings"]

# What is asked of the records whose numbers are all finite.
_QUESTIONS: tuple[Callable[[Recording], Iterator[Finding]], ...] = (
    *(steps.left_out, steps.standing, losses.loss),
    *(scales.inputs, scales.initial_scale, scales.growth, units.units),
    *(gradients.gradients, gradients.kept),
    *(steps.ratios, steps.clips, steps.decay, steps.warm_up, steps.trust),
)


def findings(recording: Source) -> list[Finding]:
    """Everything that stands out in a recording, or a recorder's, or the one in a file or a run's folder.

    The worst stands first, and a cause before what comes of it. A recording without a record gives one note that says
    so.

    >>> for finding in study.findings("runs/digits-adam-1"):  # doctest: +SKIP
    ...     print(finding)
    """
    recording = opened(recording)
    if not len(recording):
        sentence = (
            "no step was recorded: optimizer.step() was not called while the recorder was attached, by "
            "Recorder(model, optimizer) as a with block or in callbacks, or an error ended training before its first "
            "step was complete"
        )
        return [Finding("note", "no records", None, sentence)]
    found = list(nonfinite.nonfinite(recording))
    rest = nonfinite.finite(recording) if found else recording
    if len(rest):
        found += [finding for question in _QUESTIONS for finding in question(rest)]
    return ordered(found)
