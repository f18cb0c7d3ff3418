"""The finding about NaN and infinities: where they were seen first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ...text import plural
from ..records.recording import Record, Recording
from .finding import Finding, listed


class Place(NamedTuple):
    """A place where values are not finite, and the first step at which they were seen.

    Attributes:
        step: of the record.
        rank: the order in which one causes the next within a step: parameters, outputs, the loss, gradients, and what
            the step computed from them; by layer forward, and for gradients backward.
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


def not_finite(recording: Recording) -> Iterator[Finding]:
    """NaN and infinities: where they were seen first, and in how many places in the end."""
    seen: dict[tuple[str | None, str], Place] = {}
    for record in recording.records:
        for place in _places(recording, record):
            seen.setdefault((place.layer, place.what), place)
    if not seen:
        return
    first, *others = sorted(seen.values())
    reasons = [str(r["reason"]) for r in recording.records if r["step"] == first.step and "reason" in r]
    if reasons:
        sentence = reasons[0]
    elif first.layer is None:
        amount = "NaN" if first.nan else "infinite"
        sentence = f"the loss was {amount} by step {first.step:,}, the first value that was seen not to be finite; "
        sentence += (
            "no parameter was, and no output on the probe: look at the features of the batch, and at the loss function"
        )
    else:
        sentence = (
            f"layer {first.layer}: the {first.what} held {_amounts(first.nan, first.infinite)} at step {first.step:,}, "
            "the first that was seen"
        )
    if others and not reasons:
        by = f"by step {others[-1].step:,}" if others[-1].step > first.step else "at that step"
        sentence += f"; {by} {listed([str(place) for place in others])} too"
    sentence += ". study.detect_anomaly() names the operation that made the first" if not reasons else ""
    evidence = {"step": first.step, "nan": first.nan, "infinite": first.infinite, "places": len(seen)}
    yield Finding("error", "not finite", first.layer, sentence, evidence)


def finite(recording: Recording) -> Recording:
    """The records without such values; the other records show only consequences of them."""
    records = (record for record in recording.records if next(_places(recording, record), None) is None)
    return Recording(recording.header, records)


def _places(recording: Recording, record: Record) -> Iterator[Place]:
    step, layers, outputs = record["step"], recording.layers, recording.activations
    for layer, values in record["layers"].items():
        number = layers.index(layer) if layer in layers else len(layers)
        for what, (nan, infinite) in values.get("nonfinite", {}).items():
            rank = {"parameter": (0, number), "gradient": (3, -number)}.get(what, (4, number))
            yield Place(step, rank, layer, what, nan, infinite)
    for name, values in record.get("activations", {}).items():
        nan, infinite = values.get("nan", 0), values.get("inf", 0)
        if nan or infinite:
            yield Place(step, (1, outputs.index(name)), name, "output", nan, infinite)
    for loss in (record[name] for name in ("loss", "mean_loss") if name in record):
        if not math.isfinite(loss):
            yield Place(step, (2, 0), None, "loss", int(math.isnan(loss)), int(math.isinf(loss)))


def _amounts(nan: int, infinite: int) -> str:
    values = plural(infinite, "infinite value") if infinite else ""
    return " and ".join(filter(None, (f"{nan:,} NaN" if nan else "", values)))
