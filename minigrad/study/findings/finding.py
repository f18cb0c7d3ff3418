"""A finding, and shared parts of the checks: limits, whether training goes well, names and numbers in sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..records.recording import Recording

__all__ = ["Finding"]

SEVERITIES = ("error", "warning", "note")

# Shares and trends in fewer steps or records are not reported.
FEW_STEPS, FEW_RECORDS = 10, 5
# The shares of a layer's units that are many, and most.
MANY, MOST = 0.5, 0.9
# The part of the first loss that is left if training goes well, whatever else looks odd.
WELL = 0.5


@dataclass(frozen=True)
class Finding:
    """One problem that a recording shows.

    Attributes:
        severity: ``"error"`` (training cannot go well), ``"warning"`` (it probably does not) or ``"note"``.
        kind: its name, such as ``"dead units"``.
        layer: the layer, or ``None`` if it is about the whole training.
        sentence: the problem and its remedy.
        evidence: the numbers that support it, by name.
    """

    severity: str
    kind: str
    layer: str | None
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.severity}: {self.sentence}"


def goes_well(recording: Recording) -> bool:
    """Whether the loss has fallen so far that what looks odd is not a fault; never with a dead layer."""
    losses = recording.values("mean_loss")
    losses = losses[np.isfinite(losses)] * (-1 if recording.header.get("maximize") else 1)
    outputs = recording.records[-1].get("activations", {}).values()
    dead = any(output.get("dead", 0) >= MOST * output.get("units", math.inf) for output in outputs)
    if len(losses) < 2 or dead:
        return False
    fallen = float(losses[0]) - middle(losses[-min(3, len(losses) // 2) :])
    return fallen > (1 - WELL) * abs(losses[0]) or not losses[-1]


def is_scale_free(recording: Recording) -> bool:
    """Whether the optimizer takes the same steps for gradients twice as long, so that a clip changes nothing."""
    return bool(recording.header.get("scale_free"))


def clip_helps(recording: Recording) -> bool:
    """Whether to advise a clip: none is used, and the length of a step depends on that of the gradient."""
    return not is_scale_free(recording) and not any(record.get("clips") for record in recording.records)


def named(names: Collection[str]) -> str:
    """The names of layers at the beginning of a sentence."""
    return f"layer{'s' if len(names) > 1 else ''} {listed(list(names), len(names))}"


def only(names: Collection[str]) -> str | None:
    """The name, if there is exactly one."""
    return next(iter(names)) if len(names) == 1 else None


def listed(parts: Sequence[str], most: int = 3) -> str:
    """The first few things as a list in a sentence, and the number of the others."""
    left = len(parts) - most
    shown = list(parts[:most]) + ([f"{left} more"] if left > 0 else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def middle(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """The median, as a number."""
    return float(np.median(np.asarray(values, np.float64)))


def rounded(value: float, up: bool = False) -> str:
    """A number to one digit: the nearest, or the next above."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    scale = 10.0 ** math.floor(math.log10(value))
    return f"{(math.ceil if up else round)(value / scale) * scale:g}"
