"""Numbers that are none, and a loss that does not fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, Finding, middle


def nonfinite(recording: Recording) -> Iterator[Finding]:
    """NaN and infinities, where they were seen first."""
    for layer in recording.layers:
        seen = [
            (record["step"], what, counts)
            for record in recording.records
            for what, counts in record["layers"].get(layer, {}).get("nonfinite", {}).items()
        ]
        if seen:
            step, what, (nan, inf) = seen[0]
            sentence = f"layer {layer}: the {what} held {_amounts(nan, inf)} at step {step:,}, the first time"
            yield Finding("error", "not finite", layer, sentence, {"step": step, "nan": nan, "infinite": inf})
    for name in recording.activations:
        counts = recording.activation(name, "nan"), recording.activation(name, "inf")
        bad = np.flatnonzero(np.isfinite(counts[0]))
        if bad.size:
            step, nan, inf = recording.steps[bad[0]], int(counts[0][bad[0]]), int(counts[1][bad[0]])
            sentence = f"layer {name}: its output held {_amounts(nan, inf)} at step {step:,}, the first time"
            yield Finding("error", "not finite", name, sentence, {"step": int(step), "nan": nan, "infinite": inf})


def _amounts(nan: int, inf: int) -> str:
    parts = [f"{nan:,} NaN"] if nan else []
    return " and ".join([*parts, *([f"{inf:,} infinite values"] if inf else [])])


def loss(recording: Recording) -> Iterator[Finding]:
    """A loss that is not finite, rises, or does not fall."""
    loss, steps = recording.values("mean_loss"), recording.steps
    known = np.array(["mean_loss" in record for record in recording.records])
    bad = np.flatnonzero(known & ~np.isfinite(loss))
    if bad.size:
        sentence = f"the loss was {loss[bad[0]]} by step {steps[bad[0]]:,}"
        yield Finding("error", "not finite", None, sentence, {"step": int(steps[bad[0]])})
    loss, steps = loss[known & np.isfinite(loss)], steps[known & np.isfinite(loss)]
    if len(loss) < FEW_RECORDS:
        return
    first, last, lowest = loss[0], middle(loss[-3:]), int(loss.argmin())
    low = float(loss[lowest])
    evidence = {"first": float(first), "last": last, "lowest": low, "lowest_step": int(steps[lowest])}
    if last > first + 0.2 * abs(first) or last > low + 0.5 * (first - low) > low + 0.1 * abs(first):
        sentence = (
            f"the loss rises: {first:.3g} at first, {low:.3g} at step {steps[lowest]:,}, {last:.3g} at the end; lower "
            "the learning rate, or clip the gradient"
        )
        yield Finding("error", "diverging", None, sentence, evidence)
    elif first - low < 0.05 * abs(first) and steps[-1] >= FEW_STEPS:
        sentence = (
            f"the loss has hardly fallen: {first:.3g} at step {steps[0]:,}, {last:.3g} at step {steps[-1]:,}; look at "
            "the update-to-weight ratios and at the gradients of the first layers"
        )
        yield Finding("warning", "plateau", None, sentence, evidence)
