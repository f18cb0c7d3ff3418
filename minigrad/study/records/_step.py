"""One step as the recorder reads it: the flat arrays before and after it, and each layer's part of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...devices.arrays import to_host
from ...kernels.cohort import Cohort
from ...kernels.layout import Layout
from ...kernels.store import Entry, ParameterStore
from ...optim import Optimizer
from ...rules import Norm, Rule
from .._shares import decays, split_change
from ._state import Values, signal

Array = npt.NDArray[Any]

# Rates and signals of longer stretches are read at this many of their elements, evenly spread.
SAMPLED = 4096
# Small layers are read together, up to this many elements: there, NumPy's calls cost more than what they compute.
TOGETHER = 1 << 14


class Stretch(NamedTuple):
    """Neighboring parameters of one layer that share every scalar of a step; without a gradient they have no cohort."""

    buffer: int
    start: int
    stop: int
    cohort: Cohort | None
    entries: list[Entry]

    def of(self, arrays: Sequence[Array]) -> Array:
        """Its part of flat arrays, one for each buffer."""
        return arrays[self.buffer][self.start : self.stop]

    @property
    def stride(self) -> int:
        """The distance between the elements at which rates and signals are read."""
        return -(-(self.stop - self.start) // SAMPLED)


def stretches(layout: Layout, layers: Container[str] | None) -> dict[str, list[Stretch]]:
    """The parameters of each of these layers (of all, if None) in as few stretches as possible."""
    store = layout.store
    cohorts = {entry: cohort for cohort in layout.cohorts for entry in cohort.entries}
    found: dict[str, list[Stretch]] = {layer: [] for layer in store.layers if layers is None or layer in layers}
    for number, buffer in enumerate(store.buffers):
        for entry in buffer.entries:
            if entry.layer not in found:
                continue
            cohort, own = cohorts.get(entry), found[entry.layer]
            if own and own[-1].buffer == number and own[-1].stop == entry.start and own[-1].cohort is cohort:
                own[-1] = own[-1]._replace(stop=entry.stop, entries=[*own[-1].entries, entry])
            else:
                own.append(Stretch(number, entry.start, entry.stop, cohort, [entry]))
    return found


class Before(NamedTuple):
    """Copies on the CPU of the flat arrays before a step, one for each buffer."""

    param: list[Array]
    state: dict[str, list[Array]]


def snapshot(optimizer: Optimizer) -> Before:
    """Copy an optimizer's parameters and state."""
    param = [host_copy(buffer.data) for buffer in optimizer.store.buffers]
    return Before(param, {slot: [host_copy(array) for array in arrays] for slot, arrays in optimizer._state.items()})


def host_copy(array: Any) -> Array:
    """A copy on the CPU of an array on any device."""
    return array.copy() if isinstance(array, np.ndarray) else to_host(array)


def scalars_of(cohort: Cohort, layout: Layout, optimizer: Optimizer) -> dict[str, float]:
    """Every number that the last step used for these parameters, by name."""
    found = {**optimizer.param_groups[cohort.group].scalars(), **cohort.overrides}
    for function, arguments in cohort.bound:
        found |= function(cohort.age, *arguments)
    return found | dict(zip(layout.plan.hypers, cohort.row.tolist(), strict=True))


def spread(layout: Layout, norm: Norm, piece: Stretch) -> Any:
    """A norm, as the last step found it, as each element of a stretch sees it."""
    taken = layout.norm_values(norm)
    if norm.scope == "global":
        return taken[0]
    units = [entry.units if norm.scope == "unit" else 1 for entry in piece.entries]
    places = [e.ids[norm.scope] + i for e, n in zip(piece.entries, units, strict=True) for i in range(n)]
    sizes = [(e.stop - e.start) // n for e, n in zip(piece.entries, units, strict=True) for _ in range(n)]
    return np.repeat(taken[places], sizes)


class Elements(NamedTuple):
    """The effect of a step on the elements of one stretch, in float64.

    Attributes:
        gradient_part, decay_part: the sums of the squares of the two parts of the change, before slow weights;
            ``None`` if no rule decays.
        rate: the effective learning rate of the elements that are read; ``None`` if the optimizer does not declare it.
        signal: |m̂| / √v̂ of the same elements; likewise.
    """

    gradient_part: float | None
    decay_part: float | None
    rate: Array | None
    signal: Array | None


class Step:
    """The step that an optimizer has just taken.

    Args:
        optimizer: the optimizer.
        before: copies of the arrays from before it.
        layers: the stretches of each layer to read.
        fast: copies of the parameters after its own update, if slow weights have moved them since.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        before: Before,
        layers: Mapping[str, Sequence[Stretch]],
        fast: Sequence[Array] | None = None,
    ) -> None:
        assert optimizer._layout is not None
        self.layout, self.before, self._layers = optimizer._layout, before, layers
        self.plan = self.layout.plan
        self.after = [to_host(buffer.data) for buffer in optimizer.store.buffers]
        self.grad = [to_host(buffer.grad) for buffer in optimizer.store.buffers]
        self.state = {slot: [to_host(array) for array in arrays] for slot, arrays in optimizer._state.items()}
        self.fast = self.after if fast is None else fast
        self.scalars = {id(cohort): scalars_of(cohort, self.layout, optimizer) for cohort in self.layout.cohorts}
        decaying = (decays(self.plan.rules, scalars) for scalars in self.scalars.values())
        self._decays = optimizer.stepped and any(decaying)
        self._meaning = optimizer.meaning()
        clips = {clip.rule for clip in optimizer.clips}
        self.trust_rules = [
            rule for rule in self.plan.rules if rule not in clips and rule.norms and rule.outputs == ("update",)
        ]
        self._elements = self._of_elements()

    def layers(self) -> Iterator[tuple[str, Layer]]:
        """The layers that are read, by name."""
        for name, pieces in self._layers.items():
            yield name, Layer.in_step(self, pieces)

    def elements(self, piece: Stretch) -> Elements:
        """The changes to the elements of a stretch that has a gradient."""
        return self._elements[piece.buffer, piece.start]

    def _of_elements(self) -> dict[tuple[int, int], Elements]:
        found: dict[tuple[int, int], Elements] = {}
        for pieces in self._together():
            whole = pieces[0]._replace(stop=pieces[-1].stop, entries=[e for piece in pieces for e in piece.entries])
            alone = len(pieces) == 1
            parts = self._split(whole) if self._decays else None
            rates = self._rates(whole, whole.stride if alone else 1)
            for piece in pieces:
                where = slice(piece.start - whole.start, piece.stop - whole.start)
                gradient, decay = (float(x[where] @ x[where]) for x in parts) if parts else (None, None)
                some = slice(None) if alone else slice(where.start, where.stop, piece.stride)
                rate, share = (None if each is None else each[some] for each in rates)
                found[piece.buffer, piece.start] = Elements(gradient, decay, rate, share)
        return found

    def _together(self) -> list[list[Stretch]]:
        """Neighbors in a buffer that share every scalar, at most `TOGETHER` elements unless a single one has more."""
        groups: list[list[Stretch]] = []
        for piece in (piece for pieces in self._layers.values() for piece in pieces if piece.cohort is not None):
            own = groups[-1] if groups else []
            if (
                own
                and own[-1].buffer == piece.buffer
                and own[-1].stop == piece.start
                and own[-1].cohort is piece.cohort
                and piece.stop - own[0].start <= TOGETHER
            ):
                own.append(piece)
            else:
                groups.append([piece])
        return groups

    def _split(self, piece: Stretch) -> tuple[Array, Array]:
        """The change of each element, from the gradient and from decay."""
        grad = piece.of(self.grad)
        values: dict[str, Any] = {"param": piece.of(self.before.param), "grad": grad, "update": grad}
        values |= {slot: piece.of(arrays) for slot, arrays in self.before.state.items()}
        values |= {norm.name: spread(self.layout, norm, piece) for norm in self.plan.norms}
        carried = ("grad", "update", *self.before.state)
        return split_change(self.plan.rules, values | self.scalars[id(piece.cohort)], carried)

    def _rates(self, piece: Stretch, stride: int) -> tuple[Array | None, Array | None]:
        """The effective rate and the signal of some elements."""
        if self._meaning is None:
            return None, None
        assert piece.cohort is not None
        kept = [slot for slot in self.state if slot in self.plan.state]
        state = {slot: piece.of(self.state[slot])[::stride] for slot in kept}
        before = {slot: piece.of(self.before.state[slot])[::stride] for slot in kept if slot in self.before.state}
        count = len(range(piece.start, piece.stop, stride))
        scalars = self.scalars[id(piece.cohort)] | {"step": piece.cohort.age}
        values = Values(state, before, scalars, count)
        return values.of(self._meaning.rate), signal(self._meaning, values)


class Layer:
    """One layer's part of a step, taken or not: the source of a layer's quantities.

    Attributes:
        parameters: before the step.
        gradients: before any clip; empty if it has none.
        nonfinite: the counts of NaN and of infinities in the values measured so far, by name; only nonzero ones.
    """

    def __init__(
        self, parameters: list[Array], gradients: list[Array], step: Step | None = None, pieces: Sequence[Stretch] = ()
    ) -> None:
        self.parameters, self.gradients = parameters, gradients
        self.nonfinite: dict[str, list[int]] = {}
        self._step = step
        self._pieces = pieces
        self._present = [piece for piece in pieces if piece.cohort is not None]

    @classmethod
    def in_step(cls, step: Step, pieces: Sequence[Stretch]) -> Layer:
        """The layer that consists of these stretches, in a step that was taken."""
        parameters = [piece.of(step.before.param).astype(np.float64) for piece in pieces]
        return cls(parameters, [p.of(step.grad) for p in pieces if p.cohort is not None], step, pieces)

    @classmethod
    def at_rest(cls, store: ParameterStore, name: str) -> Layer:
        """The layer before a step that was not taken."""
        parameters = [entry.parameter for entry in store.entries.values() if entry.layer == name]
        gradients = [to_host(p._grad._data).ravel() for p in parameters if p._grad is not None]
        return cls([to_host(p._data).ravel() for p in parameters], gradients)

    @property
    def step(self) -> Step:
        """The step that was taken."""
        assert self._step is not None, "this quantity needs a step that was taken"
        return self._step

    def norm(self, what: str, arrays: Sequence[Array]) -> float:
        """The 2-norm in float64. Values that are not finite make it NaN or infinity, and are counted under ``what``."""
        found = length([x.astype(np.float64, copy=False) for x in arrays])
        if not math.isfinite(found):
            counts = [sum(int(test(x).sum()) for x in arrays) for test in (np.isnan, np.isinf)]
            if any(counts):  # otherwise finite values overflowed in their squares
                self.nonfinite[what] = counts
        return found

    @functools.cached_property
    def parameter_norm(self) -> float:
        """Of the parameters before the step."""
        return self.norm("parameter", self.parameters)

    @functools.cached_property
    def update_norm(self) -> float:
        """Of the whole change."""
        after = self.step.after
        return self.norm("update", [p.of(after) - x for p, x in zip(self._pieces, self.parameters, strict=True)])

    @functools.cached_property
    def parts(self) -> tuple[float, float]:
        """The norms of the change that came from the gradient, and from decay, before slow weights."""
        elements = [self.step.elements(piece) for piece in self._present]
        known = [
            (e.gradient_part, e.decay_part)
            for e in elements
            if e.gradient_part is not None and e.decay_part is not None
        ]
        if known:
            gradient, decay = (math.sqrt(sum(each)) for each in zip(*known, strict=True))
            return gradient, decay
        if not self._moved_by_slow_weights:
            return self.update_norm, 0.0
        before, fast = self.step.before.param, self.step.fast
        return length([p.of(fast) - p.of(before).astype(float) for p in self._present]), 0.0

    @property
    def _moved_by_slow_weights(self) -> bool:
        return self.step.fast is not self.step.after and bool(self._present)

    def slow_part(self) -> float | None:
        """The norm of the change that slow weights made after the optimizer's own."""
        if not self._moved_by_slow_weights:
            return None
        after, fast = self.step.after, self.step.fast
        return length([p.of(after) - p.of(fast).astype(np.float64) for p in self._present])

    def slow_distance(self) -> float | None:
        """How far the slow weights are from the fast ones, before a slow step makes them the same."""
        slow = self.step.before.state.get("slow")
        if not self._present or "slow" not in self.step.state or slow is None:
            return None
        return length([p.of(self.step.fast).astype(np.float64) - p.of(slow) for p in self._present])

    def rates(self) -> list[Array]:
        """The effective learning rates of the elements that are read; empty if the optimizer does not declare them."""
        return [e.rate for e in map(self.step.elements, self._present) if e.rate is not None]

    def signals(self) -> list[Array]:
        """|m̂| / √v̂ of the elements that are read; empty if the optimizer does not declare both moments."""
        return [e.signal for e in map(self.step.elements, self._present) if e.signal is not None]

    def state_norms(self) -> dict[str, float]:
        """The norm of each slot of the state after the step."""
        kept = {slot: state for slot, state in self.step.state.items() if slot in self.step.plan.state}
        if not self._present:
            return {}
        return {slot: self.norm(slot, [p.of(state) for p in self._present]) for slot, state in kept.items()}

    def scalars(self) -> Mapping[str, float] | None:
        """The numbers that the step used for the largest stretch, which is usually the weight's."""
        if not self._present:
            return None
        return self.step.scalars[id(max(self._present, key=lambda p: p.stop - p.start).cohort)]

    def trust_ratios(self) -> dict[str, dict[str, Any]]:
        """For each parameter that is scaled by norms, the factor and the norms from which it was made."""
        found: dict[str, dict[str, Any]] = {}
        for rule in self.step.trust_rules:
            wheres = [n.where for n in self.step.plan.norms if n.name in rule.norms and n.where is not None]
            for piece in self._present:
                known = self.step.scalars[id(piece.cohort)]
                if all(known.get(where, 1.0) for where in wheres):
                    for entry in piece.entries:
                        own = piece._replace(start=entry.start, stop=entry.stop)
                        found[entry.name] = {**self._ratio(rule, entry, known), "update_ratio": self._update_ratio(own)}
        return found

    def _ratio(self, rule: Rule, entry: Entry, known: Mapping[str, float]) -> dict[str, Any]:
        norms = self.step.layout.norms_of(entry)
        own = {name: norms[name] for name in rule.norms}
        factor = rule.factor(own, known)
        size = own.get("param_norm", math.nan)
        clamped = not known.get("phi_low", -math.inf) <= size <= known.get("phi_high", math.inf)
        return {"ratio": factor, **own, "clamped": bool(clamped and size == size)}

    def _update_ratio(self, piece: Stretch) -> float:
        before = piece.of(self.step.before.param).astype(np.float64)
        return ratio(length([piece.of(self.step.after) - before]), length([before]))


def length(arrays: Sequence[Array]) -> float:
    """The 2-norm of all elements together."""
    return math.sqrt(sum(float(x @ x) for x in arrays))


def ratio(change: float, size: float) -> float:
    """A change over what it changed; infinity where something came from 0, NaN where nothing did."""
    return change / size if size else math.nan if change == 0 else math.inf
