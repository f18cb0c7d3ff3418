"""What is wrong inside layers: units that take no part, scales, and gradients that vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ..records.recording import Recording
from .finding import (
    BAD_GAINS,
    DEEP,
    FEW_STEPS,
    FEW_UNITS,
    GAIN_OF_FEW,
    GAINS,
    GROWN,
    MANY,
    MOST,
    Finding,
    middle,
    named,
    only,
    rounded,
)


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
        dead, saturated = (recording.activation(name, which).tolist() for which in ("dead", "saturated"))
        rows, all_units = recording.header.get("probe_rows", 0), float(units[-1])
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
            evidence["share_of_values"] = float(recording.activation(name, "saturated_share")[-1])
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
    """Layers whose weights, before the first step, make their output much larger or smaller than their input."""
    gains, together = _wrong_gains(recording), _growing_together(recording)
    if together is not None:
        yield together
        gains = {name: gain for name, gain in gains.items() if gain < 1}
    for wrong in ({n: g for n, g in gains.items() if g > 1}, {n: g for n, g in gains.items() if g < 1}):
        if not wrong:
            continue
        name = max(wrong, key=lambda name: abs(math.log(max(wrong[name], 1e-30))))
        gain, one = wrong[name], len(wrong) == 1
        times = f"{gain:.3g} times as far as" if gain > 1 else f"only {gain:.2g} times as far as"
        verb, factor = "divide" if gain > 1 else "multiply", rounded(max(gain, 1 / max(gain, 1e-9)))
        what = "its outputs spread" if one else f"the outputs of layer {name} spread"
        sentence = (
            f"{named(wrong)}: wrong initial scale: before training {what} {times} its inputs, where 1 to 1.4 times "
            f"preserves the variance; {verb} {'its' if one else 'their'} weights by about {factor}, or initialise "
            f"{'it' if one else 'them'} by nn.init.kaiming_normal_"
        )
        bad = not BAD_GAINS[0] < gain < BAD_GAINS[1]
        evidence = {"gain": gain, "std": recording.records[0]["activations"][name].get("std", math.nan)}
        yield Finding("error" if bad else "warning", "initial scale", only(wrong), sentence, evidence)


def _wrong_gains(recording: Recording) -> dict[str, float]:
    """The gains before training that no way to initialise gives, by layer."""
    found: dict[str, float] = {}
    weighted = _weighted(recording)
    for name in weighted:
        entry = recording.records[0]["activations"][name]
        gain, most = entry["gain"], GAINS[1] if entry.get("width", 1) >= FEW_UNITS else GAIN_OF_FEW
        small = gain < GAINS[0] and name != weighted[-1]  # a small last layer is how many begin
        if math.isfinite(gain) and (gain > most or small):
            found[name] = gain
    return found


def _growing_together(recording: Recording) -> Finding | None:
    """Layers of which none is wrong beside the others, but whose outputs grow from each to the next."""
    weighted = _weighted(recording)
    if len(weighted) < DEEP:
        return None
    entries = [recording.records[0]["activations"][name] for name in weighted]
    gains, first, last = [entry["gain"] for entry in entries], entries[0].get("std", 0.0), entries[-1].get("std", 0.0)
    grown = last / first if first > 0 else math.nan
    if not GROWN < grown < math.inf or max(gains) > 2 * middle(gains):
        return None
    each = grown ** (1 / (len(weighted) - 1))
    sentence = (
        f"wrong initial scale: before training the outputs of layer {weighted[-1]} spread {grown:.3g} times as far as "
        f"those of layer {weighted[0]}: the {len(weighted)} layers together make every value larger, each about "
        f"{each:.2g} times; divide the weights of all by {each:.2g}, or initialise them by nn.init.kaiming_normal_"
    )
    severity = "warning" if grown < GROWN**3 else "error"
    return Finding(severity, "initial scale", None, sentence, {"growth": grown, "per_layer": each})


def _weighted(recording: Recording) -> list[str]:
    """The outputs that layers with a matrix of weights made before the first step, in order; none if not recorded."""
    first = recording.records[0].get("activations", {}) if recording.steps[0] == 1 else {}
    return [name for name in first if "gain" in first[name]]


def growth(recording: Recording) -> Iterator[Finding]:
    """Weights, or outputs, that have grown many times, and did not have to, as those that began far too small had.

    The outputs of the last layer are logits, or whatever fits the targets: they begin near 0 and have to grow.
    """
    small = {name for name, gain in _wrong_gains(recording).items() if gain < 1}
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
            evidence = {what: float(value) for what, value in evidence.items()}
            yield Finding("error", "exploding", layer, sentence, evidence)


def gradients(recording: Recording) -> Iterator[Finding]:
    """Layers that no gradient reaches, or one far smaller or larger than that of the others."""
    norms = {layer: recording.layer(layer, "gradient_norm") for layer in recording.layers}
    without = [layer for layer, norm in norms.items() if np.isnan(norm).all() and not _saw_nonfinite(recording, layer)]
    if not any(record.get("stepped", True) for record in recording.records):  # it ended before the first step
        without = []
    zeros = {layer: int((norm == 0).sum()) for layer, norm in norms.items()}
    zeros = {layer: zero for layer, zero in zeros.items() if zero > 0.5 * len(recording)}
    if recording.steps[-1] >= FEW_STEPS and len(without) == len(norms) > 0:
        sentence = (
            f"no layer had a gradient at any of {len(recording)} records, so nothing is learnt: call loss.backward() "
            "after zero_grad() and before step()"
        )
        yield Finding("error", "no gradient", None, sentence, {"records": len(recording)})
        return
    for layer in without:
        sentence = f"layer {layer}: never had a gradient; it is frozen, or the loss does not depend on it"
        yield Finding("note", "no gradient", layer, sentence)
    for layer, zero in zeros.items():
        sentence = (
            f"layer {layer}: its gradient was 0 at {zero} of {len(recording)} records: what it computes does not reach "
            "the loss; look for dead units behind it"
        )
        yield Finding("error", "vanishing", layer, sentence, {"zero": zero, "records": len(recording)})
    sizes = {
        layer: middle(norm[np.isfinite(norm)]) / math.sqrt(recording.header["layers"][layer].get("parameters", 1))
        for layer, norm in norms.items()
        if layer not in zeros and np.isfinite(norm).any()
    }
    dead = {each.layer for each in units(recording) if each.kind == "dead units"}
    yield from _beside_each_other(recording, sizes, dead)


def _saw_nonfinite(recording: Recording, layer: str) -> bool:
    return any("nonfinite" in record["layers"].get(layer, {}) for record in recording.records)


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
