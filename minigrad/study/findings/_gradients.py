"""Findings about the gradients: missing, never cleared, vanishing or exploding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..records.recording import Recording
from .finding import FEW_STEPS, Finding, middle, named, only


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
