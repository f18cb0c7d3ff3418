"""Findings about outputs: the scales of inputs, first weights and outputs, and units that are dead or saturated."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..records.recording import Recording
from .finding import MANY, MOST, Finding, clip_helps, goes_well, middle, named, only, rounded

# The spread of the inputs that weights of a usual size can work with.
INPUTS = 1e-2, 30.0
# The gain of a layer before training: from 1 to 1.4 preserves the variance.
GAINS, BAD_GAINS = (0.2, 2.5), (0.05, 20.0)
# How much the outputs may grow from the first layer to the last, of this many layers or more.
DEEP, GROWN = 4, 10.0
# A probe with fewer rows does not show the behavior of a unit.
FEW_ROWS = 16


def inputs(recording: Recording) -> Iterator[Finding]:
    """Inputs that spread far more, or far less, than weights of a usual size can work with."""
    first = _weighted(recording)[:1]
    spread = recording.records[0]["activations"][first[0]].get("arriving", 1.0) if first else 1.0
    if math.isfinite(spread) and spread > 0 and not INPUTS[0] < spread < INPUTS[1] and not goes_well(recording):
        sentence = (
            f"the inputs of layer {first[0]} spread {spread:.3g} around their means, where about 1 is usual; normalize "
            "the features: subtract their mean, and divide by their standard deviation"
        )
        yield Finding("warning", "input scale", first[0], sentence, {"spread": spread})


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
        verb, what = "divide" if gain > 1 else "multiply", "its outputs" if one else f"the outputs of layer {name}"
        scaled = f"{verb} {'its' if one else 'their'} weights by about {rounded(max(gain, 1 / max(gain, 1e-9)))}, or "
        sentence = (
            f"{named(wrong)}: wrong initial scale: before the first step {what} spread {times} its inputs, where 1 to "
            f"1.4 times preserves the variance; {scaled if gain else ''}initialize {'it' if one else 'them'} by "
            "nn.init.kaiming_normal_"
        )
        bad = not BAD_GAINS[0] < gain < BAD_GAINS[1]
        evidence = {"gain": gain, "std": recording.records[0]["activations"][name].get("std", math.nan)}
        yield Finding("error" if bad else "warning", "initial scale", only(wrong), sentence, evidence)


def _wrong_gains(recording: Recording) -> dict[str, float]:
    """The gains before the first step that no usual initialization gives, by layer."""
    found: dict[str, float] = {}
    weighted = _weighted(recording)
    for name in weighted:
        gain = recording.records[0]["activations"][name]["gain"]
        large = gain > GAINS[1] and _weights_gain(recording, name) > GAINS[1]
        small = gain < GAINS[0] and name != weighted[-1]  # many models begin with a small last layer
        if math.isfinite(gain) and (large or small):
            found[name] = gain
    return found


def _weights_gain(recording: Recording, name: str) -> float:
    """The gain of the layer's weights on inputs that are all independent.

    The measured gain may be larger by chance in a layer of few units, and is in a trained one: their weights point
    where the inputs differ.
    """
    norm = recording.records[0]["layers"].get(name, {}).get("parameter_norm", math.inf)
    return float(norm / math.sqrt(recording.records[0]["activations"][name].get("width", 0) or 1))


def _growing_together(recording: Recording) -> Finding | None:
    """Layers that are alike, but whose outputs grow from each to the next."""
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
        f"wrong initial scale: before the first step the outputs of layer {weighted[-1]} spread {grown:.3g} times as "
        f"far as those of layer {weighted[0]}: the {len(weighted)} layers together make every value larger, each about "
        f"{each:.2g} times; divide the weights of all by {each:.2g}, or initialize them by nn.init.kaiming_normal_"
    )
    severity = "warning" if grown < GROWN**3 else "error"
    return Finding(severity, "initial scale", None, sentence, {"growth": grown, "per_layer": each})


def _weighted(recording: Recording) -> list[str]:
    """The outputs of layers with a matrix of weights before the first step, in order; empty if not recorded."""
    first = recording.records[0].get("activations", {}) if recording.steps[0] == 1 else {}
    return [name for name in first if "gain" in first[name]]


def growth(recording: Recording) -> Iterator[Finding]:
    """Weights or outputs that have grown by a large factor, though they did not begin far too small.

    The outputs of the last layer are logits, or whatever fits the targets: they begin near 0 and have to grow. While
    the loss falls, weights may grow, too.
    """
    weighted, most = _weighted(recording), 30 if goes_well(recording) else 10
    last = weighted[-1:]
    small = {name for name in weighted if recording.records[0]["activations"][name]["gain"] < GAINS[0]}
    for layer in recording.layers:
        if layer in small:
            continue
        size = recording.layer(layer, "parameter_norm")
        seen = layer in recording.activations and layer not in last
        output = recording.activation(layer, "std") if seen else np.ones(len(recording))
        with np.errstate(all="ignore"):
            grown, spread = size[-1] / size[0], output[-1] / output[0]
        if (grown > most and size[0] > 0) or (spread > 10 * most and grown > 2):
            sentence = f"layer {layer}: explodes: its weights have grown by a factor of {grown:.3g}"
            sentence += f", the spread of its outputs by {spread:.3g}" if spread > 2 else ""
            clip = " clip its gradient," if clip_helps(recording) else ""
            sentence += f"; halve its learning rate,{clip} or let its weights decay"
            evidence = {"first_norm": size[0], "last_norm": size[-1], "output_growth": spread}
            evidence = {what: float(value) for what, value in evidence.items()}
            yield Finding("warning" if goes_well(recording) else "error", "exploding", layer, sentence, evidence)


def units(recording: Recording) -> Iterator[Finding]:
    """Dead units of ReLU, and saturated units if a layer follows."""
    if 0 < recording.header.get("probe_rows", 0) < FEW_ROWS:
        return
    owner = None
    for name in recording.activations:
        if name in recording.layers:
            owner = name
        kind = recording.header.get("activations", {}).get(name, {}).get("kind", "activation")
        what = f"{kind} {name}" if name != owner else str(kind)
        yield from _dead(recording, name, owner or name, what)
        if name != recording.activations[-1]:
            yield from _saturated(recording, name, owner or name, what)


def _dead(recording: Recording, name: str, layer: str, what: str) -> Iterator[Finding]:
    dead, count = (recording.activation(name, which).tolist() for which in ("dead", "units"))
    first, last, every = dead[0], dead[-1], count[-1]
    if not last >= MANY * every:
        return
    rows, is_dead = recording.header.get("probe_rows", 0), last >= MOST * every
    remedy = (
        "Look at its initial bias and weights" if first >= 0.7 * last else "Halve the learning rate, or use LeakyReLU"
    )
    sentence = (
        f"layer {layer}{' is dead' if is_dead else ''}: {last:.0f} of {every:.0f} units never active ({what}, {rows} "
        f"rows of the probe); {first:.0f} at the first record. {remedy}"
    )
    evidence = {"units": every, "rows": rows, "first_dead": first, "dead": last}
    yield Finding("error" if is_dead else "warning", "dead units", layer, sentence, evidence)


def _saturated(recording: Recording, name: str, layer: str, what: str) -> Iterator[Finding]:
    names = ("saturated", "units", "saturated_share")
    saturated, count, shares = (recording.activation(name, which).tolist() for which in names)
    first, last, every = saturated[0], saturated[-1], count[-1]
    if not last >= MANY * every:
        return
    sentence = (
        f"layer {layer}: {last:.0f} of {every:.0f} units saturated ({what}), {first:.0f} at the first record; almost "
        "no gradient passes through them. Make its weights or its inputs smaller, or normalize them"
    )
    evidence = {"units": every, "rows": recording.header.get("probe_rows", 0), "saturated": last}
    evidence |= {"first_saturated": first, "share_of_values": shares[-1]}
    yield Finding("error" if last >= MOST * every else "warning", "saturated units", layer, sentence, evidence)
