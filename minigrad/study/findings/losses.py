"""Numbers that are none, and a loss that does not fall."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..records.recording import Recording
from .finding import FEW_RECORDS, FEW_STEPS, Finding, listed, middle


class Place(NamedTuple):
    """Where values that are not finite were seen, and when first.

    Attributes:
        step: of the record.
        rank: the order in which one gives rise to the next within a step: parameters, outputs, the loss, gradients,
            and what the step made of them; layers forward, and with gradients backward.
        layer: the layer or activation, ``None`` for the loss.
        what: which of its values.
        nan, infinite: how many.
    """

    step: int
    rank: tuple[int, int]
    layer: str | None
    what: str
    nan: int
    infinite: int

    def __str__(self) -> str:
        return "the loss" if self.layer is None else f"the {self.what} of layer {self.layer}"


def nonfinite(recording: Recording) -> Iterator[Finding]:
    """NaN and infinities: where they were seen first, and in how many places by the end."""
    places = sorted(_places(recording))
    if not places:
        return
    first, *others = places
    if first.layer is None:
        amount = "NaN" if first.nan else "infinite"
        sentence = f"the loss was {amount} by step {first.step:,}, the first value that was not finite"
        sentence += "" if others else "; no layer held one: look at the features of the batch, and at the loss function"
    else:
        sentence = (
            f"layer {first.layer}: the {first.what} held {_amounts(first.nan, first.infinite)} at step {first.step:,}, "
            "the first that were not finite"
        )
    if others:
        by = f"by step {others[-1].step:,}" if others[-1].step > first.step else "at that step"
        sentence += f"; {by} {listed([str(place) for place in others])} too"
    sentence += ". study.detect_anomaly() names the operation that made the first"
    evidence = {"step": first.step, "nan": first.nan, "infinite": first.infinite, "places": len(places)}
    yield Finding("error", "not finite", first.layer, sentence, evidence)


def _places(recording: Recording) -> Iterator[Place]:
    """Every kind of value of every layer once, when it was not finite first."""
    seen: set[tuple[str | None, str]] = set()
    layers, outputs = recording.layers, recording.activations
    for record in recording.records:
        found: list[Place] = []
        for layer, values in record["layers"].items():
            place = layers.index(layer) if layer in layers else len(layers)
            for what, (nan, infinite) in values.get("nonfinite", {}).items():
                rank = {"parameter": (0, place), "gradient": (3, -place)}.get(what, (4, place))
                found.append(Place(record["step"], rank, layer, what, nan, infinite))
        for name, values in record.get("activations", {}).items():
            nan, infinite = values.get("nan", 0), values.get("inf", 0)
            if nan or infinite:
                found.append(Place(record["step"], (1, outputs.index(name)), name, "output", nan, infinite))
        for loss in (record[name] for name in ("loss", "mean_loss") if name in record):
            if not math.isfinite(loss):
                of_which = int(math.isnan(loss)), int(math.isinf(loss))
                found += [Place(record["step"], (2, 0), None, "loss", *of_which)]
        for each in found:
            if (each.layer, each.what) not in seen:
                seen.add((each.layer, each.what))
                yield each


def _amounts(nan: int, inf: int) -> str:
    parts = [f"{nan:,} NaN"] if nan else []
    return " and ".join([*parts, *([f"{inf:,} infinite values"] if inf else [])])


def loss(recording: Recording) -> Iterator[Finding]:
    """A loss that rises, or does not fall."""
    loss, steps = recording.values("mean_loss"), recording.steps
    known = np.array(["mean_loss" in record for record in recording.records])
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
