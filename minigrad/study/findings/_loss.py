"""Findings about the loss: that it rises, jumped, has hardly fallen, or was still falling at the end.

All limits are parts of how far the loss fell, so they hold for any loss. tests/study/test_judgement.py calibrates them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, Finding, clip_helps, goes_well, middle, rounded

# The loss rises if it ends above its lowest by this part of its whole fall; the larger part makes it diverge.
RISEN, DIVERGED = 0.08, 0.5
# The loss jumped if it was above its first value by this factor.
JUMPED = 5.0
# It has hardly fallen if it fell by less than this part of its first value.
HARDLY = 0.1
# It was still falling if this part of its fall came in the last third: a straight line has 1/3, and an exponential
# curve that has come down to a tenth has 0.13.
STILL = 0.15
# Weights that could move by less than this part of their size in all steps together had no chance to learn.
UNMOVED = 0.5


def loss(recording: Recording) -> Iterator[Finding]:
    """What the curve of the loss shows; what is maximized is turned around."""
    losses, steps = recording.values("mean_loss"), recording.steps
    known = np.isfinite(losses)
    losses, steps = losses[known], steps[known]
    if len(losses) < FEW_RECORDS:
        return
    if recording.header.get("maximize"):
        losses = -losses
    first, last, lowest = float(losses[0]), middle(losses[-3:]), int(losses.argmin())
    low, highest = float(losses[lowest]), int(losses.argmax())
    evidence = {"first": first, "last": last, "lowest": low, "lowest_step": int(steps[lowest])}
    # One batch shows little: a loss near 0 may be many times larger on the next.
    high = float(losses[:3].max()) if losses.max() < 100 * abs(first) else first
    rose = last - low
    fallen = f", {low:.3g} at step {steps[lowest]:,}" if lowest else ""
    story = f"{first:.3g} at first{fallen}, {last:.3g} at the end"
    remedy = f"halve the learning rate{', or clip the gradient' if clip_helps(recording) else ''}"
    if last > high + 0.2 * abs(first) or (rose > DIVERGED * (first - low) and rose > 0.1 * abs(first)):
        yield Finding("error", "diverging", None, f"the loss rises: {story}; {remedy}", evidence)
        return
    rises = rose > RISEN * (first - low) and lowest < len(losses) - len(losses) // 4
    if rises and first - low > HARDLY * abs(first):
        sentence = f"the loss has risen again: {story}; halve the learning rate, or let a schedule lower it"
        yield Finding("warning", "rising", None, sentence, evidence)
    if losses[highest] > first + (JUMPED - 1) * abs(first):
        sentence = (
            f"the loss jumped from {first:.3g} to {losses[highest]:.3g} by step {steps[highest]:,} before it fell: the "
            "steps there were far too long; halve the learning rate, or start with a warm-up"
        )
        jump = {"first": first, "highest": float(losses[highest]), "highest_step": int(steps[highest])}
        yield Finding("warning", "jumped", None, sentence, jump)
    if steps[-1] < FEW_STEPS:
        return
    if first - low < HARDLY * abs(first):
        yield _hardly_fallen(recording, evidence)
    elif (share := _late_share(losses, first - last)) > STILL and not rises:
        sentence = (
            f"the loss was still falling when training ended: {share:.0%} of its fall from {first:.3g} to {last:.3g} "
            "came in the last third of the steps; train longer, or double the learning rate"
        )
        severity = "note" if goes_well(recording) else "warning"
        yield Finding(severity, "still falling", None, sentence, {**evidence, "late_share": share})
    elif not goes_well(recording):
        sentence = (
            f"the loss has stopped falling at {last:.3g}, where it began at {first:.3g}; if lower values are in reach, "
            "compare learning rates by study.sweep, or take a model with fewer layers or more units"
        )
        yield Finding("note", "plateau", None, sentence, evidence)


def _hardly_fallen(recording: Recording, evidence: dict[str, float]) -> Finding:
    steps, moved, first, last = recording.steps, _moved(recording), evidence["first"], evidence["last"]
    sentence = f"the loss has hardly fallen: {first:.3g} at step {steps[0]:,}, {last:.3g} at step {steps[-1]:,}"
    if not 0 < moved < UNMOVED:
        sentence += "; see whether a single batch can be fitted, and whether its targets belong to its inputs"
        return Finding("warning", "plateau", None, sentence, evidence)
    sentence += (
        f"; updates are too small: all {steps[-1] - steps[0] + 1:,} steps together can move no layer by more than "
        f"{moved:.2g} of its weights. Multiply the learning rate by about {rounded(1 / moved)}, with which they could "
        "move by as much as they are"
    )
    return Finding("warning", "updates too small", None, sentence, {**evidence, "moved": moved})


def _moved(recording: Recording) -> float:
    """The length of the path of all updates over the norm of the weights, in the layer that moves most."""
    steps = int(recording.steps[-1] - recording.steps[0] + 1)
    ratios = [recording.layer(layer, "update_ratio") for layer in recording.layers]
    means = [float(ratio[np.isfinite(ratio)].mean()) for ratio in ratios if np.isfinite(ratio).any()]
    return max(means, default=0.0) * steps


def _late_share(losses: npt.NDArray[np.float64], fall: float) -> float:
    """The part of the fall that came in the last third of the records."""
    third = len(losses) // 3
    if third < 3 or fall <= 0:
        return 0.0
    return (middle(losses[-third - 2 : -third + 1]) - middle(losses[-3:])) / fall
