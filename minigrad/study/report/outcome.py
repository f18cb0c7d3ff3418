"""How a run ended, and what its metrics alone say: findings that need no recording."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ..findings import SEVERITIES, Finding, findings
from .source import Source
from .wording import number, plural

# Of the loss of the first step, as `minigrad.training.StopIfDiverged` has it.
DIVERGED = 10.0
# How much larger than its lowest the held-out loss must be at the end, and how many epochs after it.
OVERFITTING, FEW_EPOCHS = 1.25, 3


def all_findings(source: Source) -> list[Finding]:
    """Everything that stands out in a run, the worst first; how it ended comes before all of its severity."""
    found = [*_ending(source), *(findings(source.recording) if source.recording else []), *_overfitting(source)]
    if has_diverged(source):  # which the recording says too, but it cannot know that the run was stopped for it
        found = [found[0], *(each for each in found[1:] if each.kind != "diverging")]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))


def status(source: Source) -> str:
    """How far the run has come, in a few words."""
    done, asked = len(source.rows), source.epochs
    of = "" if asked is None or asked == done else f" of {asked:,}"
    epochs = f"{done:,}{of} epoch{'' if (asked or done) == 1 else 's'}"
    if not source.is_run:
        return f"a recording up to step {source.last_step:,}"
    if source.has_weights:
        return (
            f"finished after {epochs}"
            if not of or source.arguments.get("patience") is None
            else f"stopped after {epochs}"
        )
    return f"{'diverged' if has_diverged(source) else 'not finished'}: {epochs}, {plural(source.last_step, 'step')}"


def has_diverged(source: Source) -> bool:
    """Whether training was given up because the loss was far above that of the first step."""
    if source.has_weights or not source.steps or not source.rows:
        return False
    first, last = source.steps[0].loss, source.rows[-1].get("train_loss", math.nan)
    return last > DIVERGED * abs(first) + 1e-3


def _ending(source: Source) -> Iterator[Finding]:
    if not source.is_run:
        return
    done, asked, steps = len(source.rows), source.epochs, source.last_step
    evidence: dict[str, float] = {"epochs": done, "steps": steps}
    if asked is not None:
        evidence["epochs_asked_for"] = asked
    if has_diverged(source):
        first, last = source.steps[0].loss, source.rows[-1]["train_loss"]
        sentence = (
            f"the loss has diverged, and training was given up after epoch {done}: {number(last)} in that epoch, "
            f"{number(first)} at the first step; lower the learning rate, begin with a warm-up, or clip the gradient"
        )
        yield Finding("error", "diverged", None, sentence, evidence | {"first_loss": first, "last_loss": last})
    elif not source.has_weights:
        far = f"{done:,} of {asked:,} epochs" if asked is not None else plural(done, "epoch")
        sentence = (
            f"the run is not finished: {far}, {plural(steps, 'step')}. It is still under way, was interrupted, or has "
            f"failed, as with a loss that is not finite; minigrad resume {source.name} goes on with it, or says why not"
        )
        if steps:
            evidence["last_loss"] = _last_loss(source)
        yield Finding("warning", "not finished", None, sentence, evidence)
    elif asked is not None and done < asked and source.arguments.get("patience") is not None:
        patience = source.arguments["patience"]
        sentence = (
            f"training was stopped early, after {done:,} of {asked:,} epochs, since {_named(source.monitor)} had not "
            f"improved for {number(patience)} epochs"
        )
        yield Finding("note", "stopped early", None, sentence, evidence)


def _last_loss(source: Source) -> float:
    if source.steps:
        return source.steps[-1].loss
    return float(source.recording.values("loss")[-1]) if source.recording else math.nan


def _named(metric: str | None) -> str:
    return "the metric" if metric is None else metric.replace("held_out", "held-out").replace("_", " ")


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
    if behind < FEW_EPOCHS or held[best] <= 0 or end < OVERFITTING * held[best] or not falls:
        return
    sentence = (
        f"overfitting: the loss on the data held out was lowest after epoch {best + 1}, {number(held[best])}, and is "
        f"{number(end)} at the end, while that on the training data fell from {number(train[best])} to "
        f"{number(train[-1])}; stop earlier (--patience), or use weight decay or dropout"
    )
    evidence = {"lowest": float(held[best]), "epoch": best + 1, "at_the_end": end, "train_loss": float(train[-1])}
    yield Finding("note", "overfitting", None, sentence, evidence)
