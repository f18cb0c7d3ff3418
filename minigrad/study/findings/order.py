"""Which findings are causes and which are consequences; the causes stand first, and many of a kind are told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .finding import SEVERITIES, Finding, listed

# In the order in which one is looked for: what is above explains what is below.
KINDS = (
    *("not finite", "no records", "no gradient", "gradients add up", "left out", "no update"),
    *("input scale", "initial scale", "updates too large", "decay", "clipping"),
    *("dead units", "saturated units", "exploding", "vanishing", "updates too small", "diverging", "plateau"),
)
# Causes that are as grave as what comes of them.
GRAVE = ("input scale", "initial scale", "updates too large", "decay", "clipping")
SYMPTOMS = ("dead units", "saturated units", "exploding", "vanishing", "diverging")
# What is not said where one of these is: it would be the wrong thing to act on.
EXPLAINED = {
    "vanishing": ("gradients add up", "dead units", "saturated units", "decay"),
    "updates too small": ("dead units", "saturated units", "clipping", "vanishing"),
    "updates too large": ("decay",),
    "plateau": ("no update", "left out", "updates too small"),
}
MANY_ALIKE = 2


def ordered(found: Sequence[Finding]) -> list[Finding]:
    """The worst first, and among equals the cause."""
    kept = [each for each in found if not _is_explained(each, found)]
    if any(each.kind in SYMPTOMS and each.severity == "error" for each in kept):
        kept = [replace(f, severity="error") if f.kind in GRAVE and f.severity == "warning" else f for f in kept]
    kept.sort(key=_rank)
    return _told_once(kept)


def _rank(finding: Finding) -> tuple[int, int]:
    kind = KINDS.index(finding.kind) if finding.kind in KINDS else len(KINDS)
    return SEVERITIES.index(finding.severity), kind


def _is_explained(finding: Finding, found: Sequence[Finding]) -> bool:
    return any(
        other.kind in EXPLAINED.get(finding.kind, ()) and other.severity != "note" and finding is not other
        for other in found
    )


def _told_once(found: Sequence[Finding]) -> list[Finding]:
    """The first of those that differ in their layer alone, with the names of the other layers."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in found:
        groups.setdefault((each.kind, each.severity), []).append(each)
    told: list[Finding] = []
    for group in groups.values():
        if len(group) <= MANY_ALIKE or any(each.layer is None for each in group):
            told += group
            continue
        first, *others = group
        names = listed([str(each.layer) for each in others], len(others))
        told.append(replace(first, sentence=f"{first.sentence}. Layers {names} have the same"))
    return told
