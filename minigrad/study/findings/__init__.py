"""Findings: the problems of a training, in plain sentences, each with its evidence.

A finding is reported only if the run shows a problem; a healthy run has none, or notes. The text of a finding is in the
function that makes it, next to its limits, which tests/study/test_judgement.py calibrates on runs with known results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..records.recording import Recording, Source, opened
from . import _gradients, _loss, _not_finite, _outputs, _steps
from .finding import SEVERITIES, Finding, listed

__all__ = ["Finding", "findings"]

# The checks of the records in which all numbers are finite.
CHECKS: tuple[Callable[[Recording], Iterator[Finding]], ...] = (
    _steps.left_out,
    _steps.no_update,
    _loss.loss,
    _outputs.inputs,
    _outputs.initial_scale,
    _outputs.growth,
    _outputs.units,
    _gradients.gradients,
    _gradients.adding_up,
    _steps.ratios,
    _steps.clips,
    _steps.decay,
    _steps.warm_up,
    _steps.trust,
)

# From causes to consequences.
KINDS = (
    *("not finite", "no records", "no gradient", "gradients add up", "left out", "no update"),
    *("input scale", "initial scale", "updates too large", "trust ratio", "decay", "clipping", "jumped"),
    *("dead units", "saturated units", "exploding", "vanishing", "updates too small", "diverging", "rising"),
    *("plateau", "still falling"),
)
# Causes that are as severe as their consequences.
GRAVE = ("input scale", "initial scale", "updates too large", "trust ratio", "decay", "clipping", "jumped")
SYMPTOMS = ("dead units", "saturated units", "exploding", "vanishing", "diverging")
# With one of these, a larger learning rate would be wrong.
LOST = ("updates too large", "trust ratio", "decay", "jumped", "dead units", "exploding", "vanishing", "diverging")
# A finding is left out if there is one of these: acting on it would be wrong.
EXPLAINED = {
    "no update": ("initial scale", "dead units", "vanishing"),
    "vanishing": ("gradients add up", "dead units", "saturated units", "decay"),
    "updates too small": ("initial scale", "no update", "dead units", "saturated units", "clipping", "vanishing"),
    "updates too large": ("decay",),
    "plateau": ("no update", "left out", "decay", "vanishing", "initial scale", "updates too large"),
    "still falling": LOST,
}
# More findings than these, in which only the layer differs, become one.
MANY_ALIKE = 2


def findings(recording: Source) -> list[Finding]:
    """Find the problems of the training in a recording, a recorder, a file or the folder of a run.

    The worst comes first, and a cause before its consequences. A recording without records gives one note that says so.

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
    found = list(_not_finite.not_finite(recording))
    rest = _not_finite.finite(recording) if found else recording
    if len(rest):
        found += [finding for check in CHECKS for finding in check(rest)]
    return _ordered(found)


def _ordered(found: Sequence[Finding]) -> list[Finding]:
    """The worst first, and of equally severe findings the cause."""
    kept = [each for each in found if not _is_explained(each, found)]
    if any(each.kind in SYMPTOMS and each.severity == "error" for each in kept):
        kept = [replace(f, severity="error") if f.kind in GRAVE and f.severity == "warning" else f for f in kept]
    kept.sort(key=_rank)
    return _merged(kept)


def _rank(finding: Finding) -> tuple[int, int]:
    kind = KINDS.index(finding.kind) if finding.kind in KINDS else len(KINDS)
    return SEVERITIES.index(finding.severity), kind


def _is_explained(finding: Finding, found: Sequence[Finding]) -> bool:
    return any(
        other.kind in EXPLAINED.get(finding.kind, ()) and other.severity != "note" and finding is not other
        for other in found
    )


def _merged(found: Sequence[Finding]) -> list[Finding]:
    """One of those in which only the layer differs, with the names of the other layers."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in found:
        groups.setdefault((each.kind, each.severity), []).append(each)
    merged: list[Finding] = []
    for group in groups.values():
        if len(group) <= MANY_ALIKE or any(each.layer is None for each in group):
            merged += group
            continue
        first, *others = group
        names = listed([str(each.layer) for each in others], len(others))
        merged.append(replace(first, sentence=f"{first.sentence}. Layers {names} have the same"))
    return merged
