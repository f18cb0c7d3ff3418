"""Findings: what a recording says of a training, in plain sentences, each with the numbers that it rests on.

A finding is made only where the numbers are far from those of trainings that go well; a healthy run has none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .records.recording import Recording
from .records.source import Source, opened

Series = npt.NDArray[np.float64]
SEVERITIES = ("error", "warning", "note")

# What an update should be, beside the parameter that it changes, and how far from it is too far.
GOOD_RATIO, TOO_LARGE, TOO_SMALL = 1e-3, 5e-2, 1e-5
# The spread of a layer's output over that of its input before training: what preserves the variance is 1 to 1.4.
GAINS, BAD_GAINS = (0.2, 5.0), (0.05, 20.0)
# Of the units of a layer.
MANY, MOST = 0.4, 0.9
# Steps or records below which nothing is said of shares and trends.
FEW_STEPS, FEW_RECORDS = 10, 5


@dataclass(frozen=True)
class Finding:
    """One thing that a recording shows.

    Attributes:
        severity: ``"error"`` (training cannot go well), ``"warning"`` (it probably does not) or ``"note"``.
        kind: a word for what it is, such as ``"dead units"``.
        layer: the layer, or ``None`` where it is the whole training.
        sentence: what there is and what to do.
        evidence: the numbers, by name.
    """

    severity: str
    kind: str
    layer: str | None
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.severity}: {self.sentence}"


def findings(recording: Source) -> list[Finding]:
    """Everything that stands out in a recording, or a recorder's, or the one in a file; the worst first.

    One without a record gives one note that says so.

    >>> for finding in study.findings("runs/digits-adam-1/record.jsonl"):  # doctest: +SKIP
    ...     print(finding)
    """
    recording = opened(recording)
    if not len(recording):
        sentence = (
            "no step was recorded: attach the recorder before the training loop, with Recorder(model, optimizer) or "
            "in callbacks, and take a step of the optimizer that it was given"
        )
        return [Finding("note", "no records", None, sentence)]
    found = [finding for question in _QUESTIONS for finding in question(recording)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


# --- numbers that are none ------------------------------------------------------------------------------------------


def _nonfinite(recording: Recording) -> Iterator[Finding]:
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


# --- the loss --------------------------------------------------------------------------------------------------------


def _loss(recording: Recording) -> Iterator[Finding]:
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
    first, last, lowest = loss[0], _middle(loss[-3:]), int(loss.argmin())
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


# --- units -----------------------------------------------------------------------------------------------------------


def _units(recording: Recording) -> Iterator[Finding]:
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


# --- scales ----------------------------------------------------------------------------------------------------------


def _initial_scale(recording: Recording) -> Iterator[Finding]:
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
        remedy = f"{'divide' if gain > 1 else 'multiply'} its weights by about {_round(max(gain, 1 / max(gain, 1e-9)))}"
        sentence = (
            f"layer {name}: wrong initial scale: before training its outputs spread {times} its inputs, where "
            f"1 to 1.4 times preserves the variance; {remedy}, or initialise it by nn.init.kaiming_normal_"
        )
        yield Finding("error" if bad else "warning", "initial scale", name, sentence, {"gain": gain, "std": std})


def _weighted(recording: Recording) -> list[str]:
    """The outputs that layers with a matrix of weights made at the first record, in order."""
    first = recording.records[0].get("activations", {})
    return [name for name in first if "gain" in first[name]]


def _growth(recording: Recording) -> Iterator[Finding]:
    """Weights, or outputs, that have grown many times, and did not have to, as those that began far too small had.

    The outputs of the last layer are logits, or whatever fits the targets: they begin near 0 and have to grow.
    """
    small = {f.layer for f in _initial_scale(recording) if f.evidence["gain"] < 1}
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


def _gradients(recording: Recording) -> Iterator[Finding]:
    """Layers that no gradient reaches, or one far smaller or larger than that of the others."""
    sizes = {}
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
            sizes[layer] = _middle(norm[np.isfinite(norm)]) / math.sqrt(count)
    yield from _beside_each_other(recording, sizes)


def _beside_each_other(recording: Recording, sizes: Mapping[str, float]) -> Iterator[Finding]:
    """Gradients per weight that are far smaller or larger than those of the other layers."""
    if len(sizes) < 2:
        return
    typical, largest = _middle(list(sizes.values())), max(sizes, key=lambda name: sizes[name])
    small = {name: size for name, size in sizes.items() if size < 1e-3 * sizes[largest] and size < 0.5 * typical}
    if small:
        layer, size = min(small.items(), key=lambda item: item[1])
        sentence = (
            f"{_layers(small)}: vanishing gradient: {size:.2g} per weight in layer {layer}, {sizes[largest]:.2g} in "
            f"layer {largest}; use ReLU with He's initialisation, a normalisation, or fewer layers"
        )
        evidence = {"gradient_rms": size, "largest": sizes[largest], "median_of_layers": typical}
        yield Finding("warning", "vanishing", _one(small), sentence, evidence)
    for layer, size in sizes.items():
        norms = recording.layer(layer, "gradient_norm"), recording.layer(layer, "parameter_norm")
        if size > 1e3 * typical and _middle(norms[0]) > _middle(norms[1]):
            sentence = (
                f"layer {layer}: exploding gradient: {size:.2g} per weight, {typical:.2g} in the layer in the middle; "
                "clip by layer, or make the weights behind it smaller"
            )
            evidence = {"gradient_rms": size, "median_of_layers": typical}
            yield Finding("warning", "exploding", layer, sentence, evidence)


def _layers(names: Collection[str]) -> str:
    """The names as a sentence begins with them."""
    first, *rest = names
    return f"layers {', '.join([first, *rest[:-1]])} and {rest[-1]}" if rest else f"layer {first}"


def _one(names: Collection[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


# --- the optimizer ---------------------------------------------------------------------------------------------------


def _ratios(recording: Recording) -> Iterator[Finding]:
    """Updates far too large or too small beside the weights."""
    if recording.steps[-1] < FEW_STEPS:
        return
    large, small = {}, {}
    for layer in recording.layers:
        ratio = recording.layer(layer, "update_ratio")
        ratio = ratio[np.isfinite(ratio)]
        if not ratio.size or not recording.layer(layer, "gradient_norm").any():
            continue
        if (middle := _middle(ratio)) > TOO_LARGE:
            large[layer] = middle
        elif 0 < (highest := float(ratio.max())) < TOO_SMALL:
            small[layer] = highest
    for found, word, verb in ((large, "large", "divide"), (small, "small", "multiply")):
        if not found:
            continue
        typical = _middle(list(found.values()))
        factor = _round(typical / GOOD_RATIO if word == "large" else GOOD_RATIO / typical)
        everywhere = len(found) == len(recording.layers) > 1
        sentence = (
            f"{'every layer' if everywhere else _layers(found)}: updates are too {word}: {typical:.2g} of the weights "
            f"per step, where about {GOOD_RATIO:g} is usual; {verb} the learning rate{'' if everywhere else ' there'} "
            f"by about {factor}"
        )
        yield Finding("warning", f"updates too {word}", _one(found), sentence, {"update_ratio": typical})


def _clips(recording: Recording) -> Iterator[Finding]:
    """A clip that acts on most steps sets the length of the steps, not the learning rate."""
    for number in range(max(len(record.get("clips", [])) for record in recording.records)):
        entries = recording.clips(number)
        last = entries[-1]
        acted, steps = last["acted_steps"], last["steps"]
        hit = _middle([e["acted_ranges"] / max(e["ranges"], 1) for e in entries])
        factor, norm = _middle([e["factor"] for e in entries]), _middle([e["norm_before"] for e in entries])
        if steps < FEW_STEPS or acted < 0.5 * steps or (last["ranges"] > 1 and hit < 0.5) or factor > 0.95:
            continue
        limits = ", ".join(f"{name} {value:g}" for name, value in last["thresholds"].items())
        part = f", {hit:.0%} of the {last['ranges']} {last['scope']}s" if last["ranges"] > 1 else ""
        sentence = (
            f"clipping acted on {acted / steps:.0%} of steps{part}: it is your learning rate ({last['clip']}, "
            f"{limits}; norm {norm:.3g} in the middle, factor {factor:.2g}). Raise the threshold above {_round(norm)}, "
            "or lower the learning rate until the clip is an exception"
        )
        evidence = {"steps": steps, "acted_steps": acted, "median_norm": norm, "median_factor": factor}
        yield Finding("warning", "clipping", None, sentence, evidence | last["thresholds"])


def _decay(recording: Recording) -> Iterator[Finding]:
    """Layers that decay moves more than the gradient does."""
    for layer in recording.layers:
        decay, gradient = recording.layer(layer, "decay_part"), recording.layer(layer, "gradient_part")
        ok = np.isfinite(decay) & np.isfinite(gradient) & (gradient > 0)
        if ok.sum() >= FEW_RECORDS and (share := _middle((decay[ok] / gradient[ok])[ok.sum() // 2 :])) > 0.5:
            sentence = (
                f"layer {layer}: decay moves it {share:.2g} times as far as the gradient does in the second half of "
                "the training; lower weight_decay"
            )
            yield Finding("note", "decay", layer, sentence, {"decay_over_gradient": share})


def _warm_up(recording: Recording) -> Iterator[Finding]:
    """RAdam that still waits for its second moment."""
    layer = next(
        (name for name in recording.layers if "scalars" in recording.records[-1]["layers"].get(name, {})), None
    )
    if layer is None or recording.layer(layer, "scalars.rectified")[-1] != 0:
        return
    rho = float(recording.layer(layer, "scalars.rho")[-1])
    sentence = (
        f"not rectified yet at step {recording.steps[-1]:,} (rho_t = {rho:.2g}): so far every step was one of "
        "momentum, without a rate per weight"
    )
    yield Finding("note", "not rectified", None, sentence, {"step": int(recording.steps[-1]), "rho": rho})


def _trust(recording: Recording) -> Iterator[Finding]:
    """Trust ratios that a bound decides."""
    entries: dict[str, list[bool]] = {}
    for record in recording.records:
        for layer in record["layers"].values():
            for name, trust in layer.get("trust", {}).items():
                entries.setdefault(name, []).append(bool(trust.get("clamped")))
    for name, clamped in entries.items():
        if len(clamped) >= FEW_RECORDS and sum(clamped) >= 0.5 * len(clamped):
            sentence = (
                f"{name}: its norm was clamped in {sum(clamped)} of {len(clamped)} records, so the bound and not the "
                "weight sets its trust ratio; widen phi"
            )
            yield Finding("note", "clamped", name, sentence, {"clamped": sum(clamped), "records": len(clamped)})


def _middle(values: Sequence[float] | Series) -> float:
    """The median, as a number."""
    return float(np.median(np.asarray(values, np.float64)))


def _round(value: float) -> str:
    """A number to one digit, as one says it."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    scale = 10.0 ** math.floor(math.log10(value))
    return f"{round(value / scale) * scale:g}"


_QUESTIONS: tuple[Any, ...] = (
    *(_nonfinite, _loss, _units, _initial_scale, _growth, _gradients),
    *(_ratios, _clips, _decay, _warm_up, _trust),
)
