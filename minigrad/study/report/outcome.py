"""How a run ended, and what its metrics alone say: findings that need no recording."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ...text import plural
from ...training.ending import WITHOUT
from ..findings import SEVERITIES, Finding, findings
from .source import Source
from .wording import brief, number

# Of the loss of the first step, as `minigrad.training.StopIfDiverged` has it.
DIVERGED = 10.0
# How much larger than its lowest the held-out loss must be at the end, and how many epochs after it.
OVERFITTING, FEW_EPOCHS = 1.25, 3
# And when the lowest was in the first half of the epochs.
OVERFITTING_LONG = 1.1
REMEDY = "lower the learning rate, begin with a warm-up, or clip the gradient"


def all_findings(source: Source) -> list[Finding]:
    """Everything that stands out in a run, the worst first; how it ended comes before all of its severity."""
    found = [*_ending(source), *(findings(source.recording) if source.recording else []), *_overfitting(source)]
    reason = source.ending.reason if source.ending is not None else ""
    if reason:  # which the recording may say too
        found = [each for each in found if each.kind != "not finite" or each.sentence != reason]
    if has_diverged(source):  # which the recording says too, but it cannot know that the run was stopped for it
        found = [found[0], *(each for each in found[1:] if each.kind != "diverging")]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def status(source: Source) -> str:
    """How far the run has come, in a few words."""
    if not source.is_run:
        return f"a recording up to step {source.last_step:,}"
    state = state_of(source)
    far = f"{_epochs(source)}, {plural(source.last_step, 'step')}"
    if state in ("finished", "stopped"):
        return f"{state} after {_epochs(source)}"
    return f"{WITHOUT}; {far}" if state is None else f"{state} after {far}"


def state_of(source: Source) -> str | None:
    """How the run ended, of `minigrad.training.ending.STATES`; worked out for a run that is older than these."""
    if source.ending is not None:
        return source.ending.state
    if not source.has_weights:
        return "diverged" if has_diverged(source) else None
    if source.epochs in (None, len(source.rows)):
        return "finished"
    return "stopped" if source.arguments.get("patience") is not None else None


def _epochs(source: Source) -> str:
    done, asked = len(source.rows), source.epochs
    return f"{done:,} of {plural(asked, 'epoch')}" if asked not in (None, done) else plural(done, "epoch")


def has_diverged(source: Source) -> bool:
    """Whether training was given up because the loss was far above that of the first step."""
    if source.has_weights or not source.steps or not source.rows:
        return False
    first, last = source.steps[0].loss, source.rows[-1].get("train_loss", math.nan)
    return last > DIVERGED * abs(first) + 1e-3


def _ending(source: Source) -> Iterator[Finding]:
    if not source.is_run:
        return
    evidence: dict[str, float] = {"epochs": len(source.rows), "steps": source.last_step}
    if source.epochs is not None:
        evidence["epochs_asked_for"] = source.epochs
    if source.steps:
        evidence["last_loss"] = source.steps[-1].loss
    far, state = f"{_epochs(source)}, {plural(source.last_step, 'step')}", state_of(source)
    reason = brief(source.ending.reason) if source.ending else ""
    again = f"minigrad resume {source.place} goes on with it"
    if has_diverged(source):
        evidence |= {"first_loss": source.steps[0].loss, "last_loss": source.rows[-1]["train_loss"]}
        sentence = (
            f"the loss has diverged, and training was given up after epoch {len(source.rows)}: "
            f"{number(evidence['last_loss'])} in that epoch, {number(evidence['first_loss'])} at the first step; "
            f"{REMEDY}"
        )
        yield Finding("error", "diverged", None, sentence, evidence)
    elif state == "diverged":
        sentence = f"training failed after {far}: {reason}. {REMEDY[:1].upper()}{REMEDY[1:]}"
        yield Finding("error", "diverged", None, sentence, evidence)
    elif state == "failed":
        sentence = f"training failed after {far}: {reason}. When the cause is mended, {again}"
        yield Finding("error", "failed", None, sentence, evidence)
    elif state == "interrupted":
        sentence = f"training was interrupted {reason} after {far}; {again}"
        yield Finding("warning", "not finished", None, sentence, evidence)
    elif state is None:
        sentence = f"the run {WITHOUT}. It has {far}; {again}"
        yield Finding("warning", "not finished", None, sentence, evidence)
    elif state == "stopped":
        why = reason or f"for want of progress, by --patience {number(source.arguments.get('patience'))}"
        sentence = f"training was stopped early, after {_epochs(source)}: {_named(why)}"
        yield Finding("note", "stopped early", None, sentence, evidence)


def _named(text: str) -> str:
    """A text with the names of metrics as people say them."""
    return re.sub(r"\b(held_out|train)_(\w+)", lambda m: f"the {m[1].replace('_', '-')} {m[2].replace('_', ' ')}", text)


def _overfitting(source: Source) -> Iterator[Finding]:
    """A loss that rises on the data held out while it falls on the training data."""
    held = np.array([row.get("held_out_loss", math.nan) for row in source.rows])
    train = np.array([row.get("train_loss", math.nan) for row in source.rows])
    if len(held) <= FEW_EPOCHS or not np.isfinite(held).all() or not np.isfinite(train).all():
        return
    best = int(held.argmin())
    behind = len(held) - 1 - best
    end = float(np.median(held[-3:]))
    falls = train[-1] < train[best] and sum(b < a for a, b in pairwise(train[best:])) > behind / 2
    most = OVERFITTING_LONG if behind > len(held) / 2 else OVERFITTING
    if behind < FEW_EPOCHS or held[best] <= 0 or end < most * held[best] or not falls:
        return
    sentence = (
        f"overfitting: the loss on the data held out was lowest after epoch {best + 1}, {number(held[best])}, and is "
        f"{number(end)} at the end, while that on the training data fell from {number(train[best])} to "
        f"{number(train[-1])}; stop earlier (--patience), or use weight decay or dropout"
    )
    evidence = {"lowest": float(held[best]), "epoch": best + 1, "at_the_end": end, "train_loss": float(train[-1])}
    yield Finding("note", "overfitting", None, sentence, evidence)
