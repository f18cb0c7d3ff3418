"""Findings about the loss and the gradients: a loss that rises or does not fall, gradients that vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..records.quantities import USUAL_RATIO
from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, Finding, clips, middle, named, only

# If the loss does not fall, updates below this part of the usual ratio explain it.
SLOW = 0.2


def loss(recording: Recording) -> Iterator[Finding]:
    """A loss that rises or does not fall; if it is maximized, the other way round."""
    loss, steps = recording.values("mean_loss"), recording.steps
    known = np.isfinite(loss)
    loss, steps = loss[known], steps[known]
    if len(loss) < FEW_RECORDS:
        return
    if recording.header.get("maximize"):
        loss = -loss
    first, last, lowest = loss[0], middle(loss[-3:]), int(loss.argmin())
    low = float(loss[lowest])
    # One batch shows little: a loss near 0 may be many times larger on the next.
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
            f"a step changes {ratio:.2g} of the weights, where about {USUAL_RATIO:g} is usual: raise the learning rate"
            if 0 < ratio < SLOW * USUAL_RATIO
            else "look at the update-to-weight ratios and at the gradients of the first layers"
        )
        yield Finding("warning", "plateau", None, sentence, evidence)


def _usual_ratio(recording: Recording) -> float:
    """The largest of the layers' median update-to-weight ratios."""
    ratios = [recording.layer(layer, "update_ratio") for layer in recording.layers]
    return max((middle(ratio[np.isfinite(ratio)]) for ratio in ratios if np.isfinite(ratio).any()), default=0.0)


def gradients(recording: Recording) -> Iterator[Finding]:
    """Layers without a gradient, or with a far smaller or larger one than the other layers."""
    norms = {layer: recording.layer(layer, "gradient_norm") for layer in recording.layers}
    without = [layer for layer, norm in norms.items() if np.isnan(norm).all()]
    learning = recording.values("loss") != 0  # what is fitted exactly has no gradient
    zeros = {layer: int((norm[learning] == 0).sum()) for layer, norm in norms.items()}
    zeros = {layer: zero for layer, zero in zeros.items() if zero > 0.5 * len(recording)}
    if recording.steps[-1] >= FEW_STEPS and len(without) == len(norms) > 0:
        sentence = (
            f"no layer had a gradient at any of {len(recording)} records, so nothing is learned: call loss.backward() "
            "after zero_grad() and before step()"
        )
        yield Finding("error", "no gradient", None, sentence, {"records": len(recording)})
        return
    for layer in without:
        frozen = recording.header["layers"][layer].get("frozen")
        why = "it is frozen, or the loss does not depend on it"
        if frozen is not None:
            why = "it is frozen" if frozen else "the loss does not depend on it, as after detach() or under no_grad()"
        sentence = f"layer {layer}: never had a gradient; {why}"
        yield Finding("warning" if frozen is False else "note", "no gradient", layer, sentence)
    for layer, zero in zeros.items():
        sentence = (
            f"layer {layer}: its gradient was 0 at {zero} of {len(recording)} records: its output does not reach the "
            "loss; look for dead units after it"
        )
        yield Finding("error", "vanishing", layer, sentence, {"zero": zero, "records": len(recording)})
    sizes = {
        layer: middle(norm[np.isfinite(norm)]) / math.sqrt(recording.header["layers"][layer].get("parameters", 1))
        for layer, norm in norms.items()
        if layer not in zeros and np.isfinite(norm).any()
    }
    yield from _beside_each_other(recording, sizes)


def adding_up(recording: Recording) -> Iterator[Finding]:
    """Gradients that are never cleared, so that each is added to all before."""
    steps = [record["step"] for record in recording.records if record.get("gradient_kept")]
    if len(steps) > 0.5 * len(recording):
        sentence = (
            f"gradients add up: the gradient of step {steps[-1]:,} was still there when the next was added, at "
            f"{len(steps)} of {len(recording)} records; call optimizer.zero_grad() before every backward pass"
        )
        yield Finding("error", "gradients add up", None, sentence, {"kept": len(steps), "records": len(recording)})


def _beside_each_other(recording: Recording, sizes: Mapping[str, float]) -> Iterator[Finding]:
    """Layers whose gradient per weight is far smaller or larger than in the other layers."""
    if len(sizes) < 2:
        return
    typical, largest = middle(list(sizes.values())), max(sizes, key=lambda name: sizes[name])
    least = min(1e-3 * sizes[largest], 0.5 * typical)
    small = {name: size for name, size in sizes.items() if size < least}
    if small:
        layer, size = min(small.items(), key=lambda item: item[1])
        sentence = (
            f"{named(small)}: vanishing gradient: {size:.2g} per weight in layer {layer}, {sizes[largest]:.2g} in "
            f"layer {largest}; use ReLU with He's initialization, a normalization, or fewer layers"
        )
        evidence = {"gradient_rms": size, "largest": sizes[largest], "median_of_layers": typical}
        yield Finding("warning", "vanishing", only(small), sentence, evidence)
    for layer, size in sizes.items():
        norms = recording.layer(layer, "gradient_norm"), recording.layer(layer, "parameter_norm")
        if size > 1e3 * typical and middle(norms[0]) > middle(norms[1]):
            sentence = (
                f"layer {layer}: exploding gradient: {size:.2g} per weight, {typical:.2g} in the median layer; "
                "clip by layer, or make the weights after it smaller"
            )
            evidence = {"gradient_rms": size, "median_of_layers": typical}
            yield Finding("warning", "exploding", layer, sentence, evidence)
