"""What is wrong inside layers: units that take no part, scales, and gradients that vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ..records.recording import Recording
from .finding import BAD_GAINS, GAINS, MANY, MOST, Finding, middle, named, only, rounded


def units(recording: Recording) -> Iterator[Finding]:
    """Dead ReLU units, and saturated ones where a layer follows."""
    owner = None
    for name in recording.activations:
        if name in recording.layers:
            owner = name
        units = recording.activation(name, "units")
        kind = recording.header.get("activations", {}).get(name, {}).get("kind", "activation")
        what = f"{kind} {name}" if name != owner else str(kind)
        layer = owner or name
        dead, saturated = recording.activation(name, "dead"), recording.activation(name, "saturated")
        rows, all_units = recording.header.get("probe_rows", 0), units[-1]
        evidence = {"units": all_units, "rows": rows, "first_dead": dead[0], "dead": dead[-1]}
        if dead[-1] >= MANY * all_units:
            how = " is dead" if dead[-1] >= MOST * all_units else ""
            sentence = (
                f"layer {layer}{how}: {dead[-1]:.0f} of {all_units:.0f} units never active ({what}, {rows} rows of the "
                f"probe); {dead[0]:.0f} were so at first. "
            )
            sentence += (
                "Look at its initial bias and weights"
                if dead[0] >= 0.7 * dead[-1]
                else "Lower the learning rate, or use LeakyReLU"
            )
            yield Finding("error" if how else "warning", "dead units", layer, sentence, evidence)
        if saturated[-1] >= MANY * all_units and name != recording.activations[-1]:
            evidence = {"units": all_units, "rows": rows, "saturated": saturated[-1], "first_saturated": saturated[0]}
            evidence["share_of_values"] = recording.activation(name, "saturated_share")[-1]
            sentence = (
                f"layer {layer}: {saturated[-1]:.0f} of {all_units:.0f} units saturated ({what}), {saturated[0]:.0f} "
                "at first; hardly a gradient passes them. Make its weights or its inputs smaller, or normalise them"
            )
            yield Finding(
                "error" if saturated[-1] >= MOST * all_units else "warning",
                "saturated units",
                layer,
                sentence,
                evidence,
            )


def initial_scale(recording: Recording) -> Iterator[Finding]:
    """A layer whose weights, before the first step, make its output much larger or smaller than its input."""
    if recording.steps[0] != 1:
        return
    first = recording.records[0].get("activations", {})
    weighted = _weighted(recording)
    for name in weighted:
        gain, std = first[name]["gain"], first[name]["std"]
        small = gain < GAINS[0] and name != weighted[-1]  # a small last layer is how many begin
        if not (gain > GAINS[1] or small) or not math.isfinite(gain):
            continue
        bad = not BAD_GAINS[0] < gain < BAD_GAINS[1]
        times = f"{gain:.3g} times as far as" if gain > 1 else f"only {gain:.2g} times as far as"
        remedy = (
            f"{'divide' if gain > 1 else 'multiply'} its weights by about {rounded(max(gain, 1 / max(gain, 1e-9)))}"
        )
        sentence = (
            f"layer {name}: wrong initial scale: before training its outputs spread {times} its inputs, where "
            f"1 to 1.4 times preserves the variance; {remedy}, or initialise it by nn.init.kaiming_normal_"
        )
        yield Finding("error" if bad else "warning", "initial scale", name, sentence, {"gain": gain, "std": std})


def _weighted(recording: Recording) -> list[str]:
    """The outputs that layers with a matrix of weights made at the first record, in order."""
    first = recording.records[0].get("activations", {})
    return [name for name in first if "gain" in first[name]]


def growth(recording: Recording) -> Iterator[Finding]:
    """Weights, or outputs, that have grown many times, and did not have to, as those that began far too small had.

    The outputs of the last layer are logits, or whatever fits the targets: they begin near 0 and have to grow.
    """
    small = {f.layer for f in initial_scale(recording) if f.evidence["gain"] < 1}
    last = _weighted(recording)[-1:]
    for layer in recording.layers:
        if layer in small:
            continue
        size = recording.layer(layer, "parameter_norm")
        seen = layer in recording.activations and layer not in last
        output = recording.activation(layer, "std") if seen else np.ones(len(recording))
        with np.errstate(all="ignore"):
            grown, spread = size[-1] / size[0], output[-1] / output[0]
        if (grown > 10 and size[0] > 0) or (spread > 100 and grown > 2):
            sentence = f"layer {layer}: explodes: its weights have grown {grown:.3g} times"
            sentence += f", the spread of its outputs {spread:.3g} times" if spread > 2 else ""
            sentence += "; lower its learning rate, clip its gradient, or let its weights decay"
            evidence = {"first_norm": size[0], "last_norm": size[-1], "output_growth": spread}
            yield Finding("error", "exploding", layer, sentence, evidence)


def gradients(recording: Recording) -> Iterator[Finding]:
    """Layers that no gradient reaches, or one far smaller or larger than that of the others."""
    sizes, dead = {}, {each.layer for each in units(recording) if each.kind == "dead units"}
    for layer in recording.layers:
        norm = recording.layer(layer, "gradient_norm")
        count = recording.header["layers"][layer].get("parameters", 1)
        if np.isnan(norm).all():
            if not any("nonfinite" in record["layers"].get(layer, {}) for record in recording.records):
                sentence = f"layer {layer}: never had a gradient; it is frozen, or the loss does not depend on it"
                yield Finding("note", "no gradient", layer, sentence)
        elif (zero := int((norm == 0).sum())) > 0.5 * len(norm):
            sentence = (
                f"layer {layer}: its gradient was 0 at {zero} of {len(norm)} records: what it computes does not reach "
            )
            sentence += "the loss; look for dead units behind it"
            yield Finding("error", "vanishing", layer, sentence, {"zero": zero, "records": len(norm)})
        else:
            sizes[layer] = middle(norm[np.isfinite(norm)]) / math.sqrt(count)
    yield from _beside_each_other(recording, sizes, dead)


def _beside_each_other(
    recording: Recording, sizes: Mapping[str, float], dead: Collection[str | None]
) -> Iterator[Finding]:
    """Gradients per weight that are far smaller or larger than those of the other layers; dead ones say why."""
    if len(sizes) < 2:
        return
    typical, largest = middle(list(sizes.values())), max(sizes, key=lambda name: sizes[name])
    least = min(1e-3 * sizes[largest], 0.5 * typical)
    small = {name: size for name, size in sizes.items() if size < least and name not in dead}
    if small:
        layer, size = min(small.items(), key=lambda item: item[1])
        sentence = (
            f"{named(small)}: vanishing gradient: {size:.2g} per weight in layer {layer}, {sizes[largest]:.2g} in "
            f"layer {largest}; use ReLU with He's initialisation, a normalisation, or fewer layers"
        )
        evidence = {"gradient_rms": size, "largest": sizes[largest], "median_of_layers": typical}
        yield Finding("warning", "vanishing", only(small), sentence, evidence)
    for layer, size in sizes.items():
        norms = recording.layer(layer, "gradient_norm"), recording.layer(layer, "parameter_norm")
        if size > 1e3 * typical and middle(norms[0]) > middle(norms[1]):
            sentence = (
                f"layer {layer}: exploding gradient: {size:.2g} per weight, {typical:.2g} in the layer in the middle; "
                "clip by layer, or make the weights behind it smaller"
            )
            evidence = {"gradient_rms": size, "median_of_layers": typical}
            yield Finding("warning", "exploding", layer, sentence, evidence)
