"""A finding, what counts as far from usual, and how its sentence says names and numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..records.recording import Recording

SEVERITIES = ("error", "warning", "note")

# What an update should be, beside the parameter that it changes, and how far from it is too far.
GOOD_RATIO, TOO_LARGE, TOO_SMALL = 1e-3, 5e-2, 1e-5
TOO_LARGE_ANYWAY = 0.2  # also while the loss falls well
# The spread of what the first layer is given.
INPUTS = 1e-2, 30.0
# The spread of a layer's output over that of its input before training: what preserves the variance is 1 to 1.4.
GAINS, BAD_GAINS = (0.2, 2.5), (0.05, 20.0)
# From the first layer to the last of so many or more.
DEEP, GROWN = 4, 10.0
# Of the units of a layer; fewer rows than these do not show what a unit does.
MANY, MOST, FEW_ROWS = 0.5, 0.9, 16
# Steps or records below which nothing is said of shares and trends.
FEW_STEPS, FEW_RECORDS = 10, 5
# The part of the first loss that is left where training goes well, whatever else there is.
WELL = 0.5


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


def goes_well(recording: Recording) -> bool:
    """Whether the loss has fallen so far that what looks odd is no fault; never with a dead layer."""
    losses = recording.values("mean_loss")
    losses = losses[np.isfinite(losses)] * (-1 if recording.header.get("maximize") else 1)
    outputs = recording.records[-1].get("activations", {}).values()
    dead = any(output.get("dead", 0) >= MOST * output.get("units", math.inf) for output in outputs)
    if len(losses) < 2 or dead:
        return False
    fallen = float(losses[0]) - middle(losses[-min(3, len(losses) // 2) :])
    return fallen > (1 - WELL) * abs(losses[0]) or not losses[-1]


def clips(recording: Recording) -> bool:
    """Whether gradients were clipped, which then is no advice."""
    return any(record.get("clips") for record in recording.records)


def named(names: Collection[str]) -> str:
    """The names as a sentence begins with them."""
    return f"layer{'s' if len(names) > 1 else ''} {listed(list(names), len(names))}"


def only(names: Collection[str]) -> str | None:
    """The name, if it is but one."""
    return next(iter(names)) if len(names) == 1 else None


def listed(parts: Sequence[str], most: int = 3) -> str:
    """What a sentence says of some things of which it names the first."""
    left = len(parts) - most
    shown = list(parts[:most]) + ([f"{left} more"] if left > 0 else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def middle(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """The median, as a number."""
    return float(np.median(np.asarray(values, np.float64)))


def rounded(value: float, up: bool = False) -> str:
    """A number to one digit, as one says it; the nearest, or the next above."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    scale = 10.0 ** math.floor(math.log10(value))
    return f"{(math.ceil if up else round)(value / scale) * scale:g}"
