"""A loss that rises, or does not fall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, GOOD_RATIO, Finding, clips, middle

# Updates below this part of the usual ratio explain a loss that does not fall.
SLOW = 0.2


def loss(recording: Recording) -> Iterator[Finding]:
    """A loss that rises, or does not fall; what is maximized, the other way round."""
    loss, steps = recording.values("mean_loss"), recording.steps
    known = np.isfinite(loss)
    loss, steps = loss[known], steps[known]
    if len(loss) < FEW_RECORDS:
        return
    if recording.header.get("maximize"):
        loss = -loss
    first, last, lowest = loss[0], middle(loss[-3:]), int(loss.argmin())
    low = float(loss[lowest])
    # One batch tells little: a loss near 0 is many times larger on another.
    high = float(loss[:3].max()) if loss.max() < 100 * abs(first) else first
    evidence = {"first": float(first), "last": last, "lowest": low, "lowest_step": int(steps[lowest])}
    if last > high + 0.2 * abs(first) or last > low + 0.5 * (first - low) > low + 0.1 * abs(first):
        fall = f", {low:.3g} at step {steps[lowest]:,}" if lowest else ""
        sentence = (
            f"the loss rises: {first:.3g} at first{fall}, {last:.3g} at the end; lower the learning rate"
            f"{'' if clips(recording) else ', or clip the gradient'}"
        )
        yield Finding("error", "diverging", None, sentence, evidence)
    elif first - low < 0.05 * abs(first) and steps[-1] >= FEW_STEPS:
        ratio = _usual_ratio(recording)
        sentence = f"the loss has hardly fallen: {first:.3g} at step {steps[0]:,}, {last:.3g} at step {steps[-1]:,}; "
        sentence += (
            f"a step changes {ratio:.2g} of the weights, where about {GOOD_RATIO:g} is usual: raise the learning rate"
            if 0 < ratio < SLOW * GOOD_RATIO
            else "look at the update-to-weight ratios and at the gradients of the first layers"
        )
        yield Finding("warning", "plateau", None, sentence, evidence)


def _usual_ratio(recording: Recording) -> float:
    """The largest of the layers' update-to-weight ratios, each in the middle of the records."""
    ratios = [recording.layer(layer, "update_ratio") for layer in recording.layers]
    return max((middle(ratio[np.isfinite(ratio)]) for ratio in ratios if np.isfinite(ratio).any()), default=0.0)
