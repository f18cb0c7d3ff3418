"""What one step did to each layer, in numbers: computed from the arrays before and after it."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...devices.arrays import to_host
from ...kernels.store import Entry, ParameterStore
from ...optim import Optimizer
from ...rules import Rule
from .state_names import base_rate
from .step_arrays import Elements, StepArrays, Stretch, sampled

Array = npt.NDArray[Any]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def resting(store: ParameterStore, layers: Container[str] | None) -> dict[str, dict[str, Any]]:
    """What a record holds of layers, by default all, of which no step was made."""
    found: dict[str, dict[str, Any]] = {}
    for name in store.layers:
        if layers is not None and name not in layers:
            continue
        parameters = [entry.parameter for entry in store.entries.values() if entry.layer == name]
        gradients = [to_host(p._grad._data).ravel() for p in parameters if p._grad is not None]
        nonfinite: dict[str, list[int]] = {}
        found[name] = {"gradient_norm": _norm("gradient", gradients, nonfinite)} if gradients else {}
        found[name]["parameter_norm"] = _norm("parameter", [to_host(p._data).ravel() for p in parameters], nonfinite)
        if nonfinite:
            found[name]["nonfinite"] = nonfinite
    return found


class StepReader:
    """Reads a step of an optimizer, layer by layer.

    Args:
        optimizer: whose kernel moved the parameters.
        arrays: those around its last step.
        layers: the stretches of each layer that is read.
    """

    def __init__(self, optimizer: Optimizer, arrays: StepArrays, layers: Mapping[str, Sequence[Stretch]]) -> None:
        self.arrays, self._layers = arrays, layers
        self.elements: dict[tuple[int, int], Elements] = arrays.elements(layers.values())
        clips = {clip.rule for clip in optimizer.clips}
        self._trusts = [
            rule for rule in arrays.plan.rules if rule not in clips and rule.norms and rule.outputs == ("update",)
        ]

    def layers(self) -> dict[str, dict[str, Any]]:
        """What a record holds of the layers, by their names."""
        return {name: self._layer(pieces) for name, pieces in self._layers.items()}

    def _layer(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        arrays = self.arrays
        present = [piece for piece in pieces if piece.cohort is not None]
        params = [arrays.before.param[p.buffer][p.start : p.stop].astype(np.float64) for p in pieces]
        changes = [arrays.after[p.buffer][p.start : p.stop] - x for p, x in zip(pieces, params, strict=True)]
        found: dict[str, Any] = {}
        nonfinite: dict[str, list[int]] = {}
        gradients = [arrays.grad[p.buffer][p.start : p.stop] for p in present]
        if gradients:
            found["gradient_norm"] = _norm("gradient", gradients, nonfinite)
        found["parameter_norm"] = size = _norm("parameter", params, nonfinite)
        found["update_norm"] = moved = _norm("update", changes, nonfinite)
        found["update_ratio"] = _over(moved, size)
        found |= self._parts(present, found)
        if present:
            found |= self._state(present, nonfinite)
            found |= self._scalars(present)
        trust = self._trust(present)
        if trust:
            found["trust"] = trust
        if nonfinite:
            found["nonfinite"] = nonfinite
        return found

    def _parts(self, pieces: Sequence[Stretch], found: Mapping[str, Any]) -> dict[str, float]:
        """The norms of the parts of the change: from the gradient, from decay, from slow weights."""
        arrays = self.arrays
        slow: list[Array] = []
        if arrays.fast is not arrays.after:
            slow = [
                arrays.after[p.buffer][p.start : p.stop] - arrays.fast[p.buffer][p.start : p.stop].astype(np.float64)
                for p in pieces
            ]
        parts = {"slow_part": _length(slow)} if slow else {}
        squares = [(e.gradient_part, e.decay_part) for e in map(self._elements, pieces)]
        known = [(gradient, decay) for gradient, decay in squares if gradient is not None and decay is not None]
        if known:
            gradient, decay = (math.sqrt(sum(each)) for each in zip(*known, strict=True))
            return {"gradient_part": gradient, "decay_part": decay, **parts}
        made = found["update_norm"]
        if slow:
            made = _length([
                arrays.fast[p.buffer][p.start : p.stop] - arrays.before.param[p.buffer][p.start : p.stop].astype(float)
                for p in pieces
            ])  # fmt: skip
        return {"gradient_part": made, "decay_part": 0.0, **parts}

    def _elements(self, piece: Stretch) -> Elements:
        return self.elements[piece.buffer, piece.start]

    def _state(self, pieces: Sequence[Stretch], nonfinite: dict[str, list[int]]) -> dict[str, Any]:
        """The sizes of the state, the effective rates, the signal, and how far the slow weights are away."""
        arrays = self.arrays
        found: dict[str, Any] = {"effective_rate": quantiles([self._rate(piece) for piece in pieces])}
        signals = [e.signal for e in map(self._elements, pieces) if e.signal is not None]
        if signals:
            found["signal"] = quantiles(signals)
        kept = {slot: state for slot, state in arrays.state.items() if slot in arrays.plan.state}
        if kept:
            found["state_norm"] = {
                slot: _norm(slot, [state[p.buffer][p.start : p.stop] for p in pieces], nonfinite)
                for slot, state in kept.items()
            }
        if "slow" in arrays.state:
            # Before the slow step, if there was one: after it, fast and slow weights are the same.
            slow = arrays.before.state["slow"]
            found["slow_distance"] = _length([
                arrays.fast[p.buffer][p.start : p.stop].astype(np.float64) - slow[p.buffer][p.start : p.stop]
                for p in pieces
            ])  # fmt: skip
        return found

    def _rate(self, piece: Stretch) -> Array:
        rate = self._elements(piece).rate
        if rate is not None:
            return rate
        count = len(range(piece.start, piece.stop, sampled(piece)))
        return np.full(count, base_rate(self.arrays.scalars[id(piece.cohort)]))

    def _scalars(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        """The rate, the corrections and the rectification of the largest stretch, usually the weight's."""
        piece = max(pieces, key=lambda p: p.stop - p.start)
        known = self.arrays.scalars[id(piece.cohort)]
        names = ("lr", "debias1", "debias2", "rho", "rectified", "rectification")
        return {"scalars": {name: known[name] for name in names if name in known}}

    def _trust(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        """The factor by norms of each parameter that is adapted, and the norms that it was taken of."""
        found: dict[str, Any] = {}
        for rule in self._trusts:
            for piece in pieces:
                for entry in piece.entries:
                    known = self.arrays.scalars[id(piece.cohort)]
                    wheres = [n.where for n in self.arrays.plan.norms if n.name in rule.norms and n.where is not None]
                    if all(known.get(where, 1.0) for where in wheres):
                        moved = self._update_ratio(piece.buffer, entry)
                        found[entry.name] = {**self._ratio(rule, entry, known), "update_ratio": moved}
        return found

    def _update_ratio(self, buffer: int, entry: Entry) -> float:
        """Of one parameter alone."""
        before = self.arrays.before.param[buffer][entry.start : entry.stop].astype(np.float64)
        moved, size = _length([self.arrays.after[buffer][entry.start : entry.stop] - before]), _length([before])
        return _over(moved, size)

    def _ratio(self, rule: Rule, entry: Entry, known: Mapping[str, float]) -> dict[str, Any]:
        norms = self.arrays.layout.norms_of(entry)
        own = {name: norms[name] for name in rule.norms}
        ratio = rule.factor(own, known)
        size = own.get("param_norm", math.nan)
        clamped = not known.get("phi_low", -math.inf) <= size <= known.get("phi_high", math.inf)
        return {"ratio": ratio, **own, "clamped": bool(clamped and size == size)}


def _over(moved: float, size: float) -> float:
    """A change beside what it changed."""
    return moved / size if size else math.nan if moved == 0 else math.inf


def _length(arrays: Sequence[Array]) -> float:
    return math.sqrt(sum(float(x @ x) for x in arrays))


def _norm(what: str, arrays: Sequence[Array], nonfinite: dict[str, list[int]]) -> float:
    """The 2-norm in float64. Values that are not finite are counted, and the norm shows them as NaN or infinity."""
    length = _length([x.astype(np.float64, copy=False) for x in arrays])
    if not math.isfinite(length):
        counts = [sum(int(test(x).sum()) for x in arrays) for test in (np.isnan, np.isinf)]
        if any(counts):
            nonfinite[what] = counts
    return length


def quantiles(arrays: Sequence[Array]) -> list[float]:
    """The `QUANTILES` of the finite values, interpolated as NumPy does by default; NaN if there is none."""
    values = arrays[0].ravel() if len(arrays) == 1 else np.concatenate([x.ravel() for x in arrays])
    ordered = np.sort(values)
    if not math.isfinite(float(ordered[-1] if ordered.size else 0.0)) or (ordered.size and ordered[0] == -math.inf):
        ordered = ordered[np.isfinite(ordered)]
    if not ordered.size:
        return [math.nan] * len(QUANTILES)
    places = np.array(QUANTILES) * (ordered.size - 1)
    lower = places.astype(np.intp)
    upper = np.minimum(lower + 1, ordered.size - 1)
    return (ordered[lower] + (places - lower) * (ordered[upper] - ordered[lower])).tolist()
