"""What one step did to each layer, in numbers: computed from the arrays before and after it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...devices import to_host
from ...kernels.program import Cohort, Layout
from ...optim import Optimizer
from ...rules import Norm, Rule
from ...store import Entry
from .decay import decays, split_change
from .state_names import base_rate, effective_rate, signal

Array = npt.NDArray[Any]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Quantiles of more elements than these are taken of so many, evenly spread.
SAMPLED = 4096


class Stretch(NamedTuple):
    """Parameters of one layer that lie side by side and share every scalar."""

    buffer: int
    start: int
    stop: int
    cohort: Cohort | None
    entries: list[Entry]


class Before(NamedTuple):
    """Copies of the flat arrays before a step on the CPU, a list by buffer."""

    param: list[Array]
    state: dict[str, list[Array]]


def snapshot(optimizer: Optimizer) -> Before:
    """Parameters and state as they are."""
    param = [host_copy(buffer.data) for buffer in optimizer.store.buffers]
    return Before(param, {slot: [host_copy(array) for array in arrays] for slot, arrays in optimizer._state.items()})


def host_copy(array: Any) -> Array:
    """A copy on the CPU."""
    return array.copy() if isinstance(array, np.ndarray) else to_host(array)


def stretches(layout: Layout) -> dict[str, list[Stretch]]:
    """Every layer's parameters, the fewest stretches that hold them; without a gradient they have no cohort."""
    store = layout.program.store
    cohorts = {entry: cohort for cohort in layout.cohorts for entry in cohort.entries}
    found: dict[str, list[Stretch]] = {layer: [] for layer in store.layers}
    for number, buffer in enumerate(store.buffers):
        for entry in buffer.entries:
            cohort, own = cohorts.get(entry), found[entry.layer]
            if own and own[-1].buffer == number and own[-1].stop == entry.start and own[-1].cohort is cohort:
                own[-1] = own[-1]._replace(stop=entry.stop, entries=[*own[-1].entries, entry])
            else:
                own.append(Stretch(number, entry.start, entry.stop, cohort, [entry]))
    return found


def scalars_of(cohort: Cohort, layout: Layout, optimizer: Optimizer) -> dict[str, float]:
    """Every number that the step which was just taken used for these parameters, by name."""
    found = {**optimizer.param_groups[cohort.group].scalars(), **cohort.overrides}
    for function, arguments in cohort.bound:
        found |= function(cohort.age, *arguments)
    return found | dict(zip(layout.program.plan.hypers, cohort.row.tolist(), strict=True))


class StepReader:
    """Reads the step that an optimizer has just taken.

    Args:
        optimizer: whose kernel moved the parameters; inside Lookahead, the one that moves the fast weights.
        before: what the arrays held before it.
        fast: copies of the parameters after its own update, where slow weights have moved them since.
    """

    def __init__(self, optimizer: Optimizer, before: Before, fast: Sequence[Array] | None = None) -> None:
        assert optimizer._layout is not None
        self.optimizer, self.layout, self.before = optimizer, optimizer._layout, before
        self.after = [to_host(buffer.data) for buffer in optimizer.store.buffers]
        self.grad = [to_host(buffer.grad) for buffer in optimizer.store.buffers]
        self.state = {slot: [to_host(array) for array in arrays] for slot, arrays in optimizer._state.items()}
        self.fast = self.after if fast is None else fast
        self.plan = self.layout.program.plan
        self.scalars = {id(cohort): scalars_of(cohort, self.layout, optimizer) for cohort in self.layout.cohorts}
        decaying = (decays(self.plan.rules, scalars) for scalars in self.scalars.values())
        self._decays = optimizer.stepped and any(decaying)
        clips = {clip.rule for clip in optimizer.clips}
        self._trusts = [
            rule for rule in self.plan.rules if rule not in clips and rule.norms and rule.outputs == ("update",)
        ]

    def layer(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        """What a record holds of one layer."""
        present = [piece for piece in pieces if piece.cohort is not None]
        params = [self.before.param[p.buffer][p.start : p.stop].astype(np.float64) for p in pieces]
        changes = [self.after[p.buffer][p.start : p.stop] - x for p, x in zip(pieces, params, strict=True)]
        found: dict[str, Any] = {}
        nonfinite: dict[str, list[int]] = {}
        gradients = [self.grad[p.buffer][p.start : p.stop] for p in present]
        if gradients:
            found["gradient_norm"] = _norm("gradient", gradients, nonfinite)
        found["parameter_norm"] = size = _norm("parameter", params, nonfinite)
        found["update_norm"] = moved = _norm("update", changes, nonfinite)
        found["update_ratio"] = moved / size if size else math.nan if moved == 0 else math.inf
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
        slow = [
            self.after[p.buffer][p.start : p.stop] - self.fast[p.buffer][p.start : p.stop].astype(np.float64)
            for p in pieces
            if self.fast is not self.after
        ]
        parts = {"slow_part": _length(slow)} if slow else {}
        if not self._decays or not pieces:
            made = found["update_norm"]
            if slow:
                made = _length([
                    self.fast[p.buffer][p.start : p.stop] - self.before.param[p.buffer][p.start : p.stop].astype(float)
                    for p in pieces
                ])  # fmt: skip
            return {"gradient_part": made, "decay_part": 0.0, **parts}
        splits = [self._split(piece) for piece in pieces]
        return {
            "gradient_part": _length([gradient for gradient, _ in splits]),
            "decay_part": _length([decay for _, decay in splits]),
            **parts,
        }

    def _split(self, piece: Stretch) -> tuple[Array, Array]:
        where = slice(piece.start, piece.stop)
        grad = self.grad[piece.buffer][where]
        values: dict[str, Any] = {"param": self.before.param[piece.buffer][where], "grad": grad, "update": grad}
        values |= {slot: arrays[piece.buffer][where] for slot, arrays in self.before.state.items()}
        values |= {norm.name: self._spread(norm, piece) for norm in self.plan.norms}
        return split_change(self.plan.rules, values | self.scalars[id(piece.cohort)])

    def _spread(self, norm: Norm, piece: Stretch) -> Any:
        """A norm as each element of the stretch sees it."""
        taken = self.layout.norm_values(norm)
        if norm.scope in ("layer", "global"):
            return taken[piece.entries[0].ids[norm.scope]]
        units = [entry.units if norm.scope == "unit" else 1 for entry in piece.entries]
        places = [e.ids[norm.scope] + i for e, n in zip(piece.entries, units, strict=True) for i in range(n)]
        sizes = [(e.stop - e.start) // n for e, n in zip(piece.entries, units, strict=True) for _ in range(n)]
        return np.repeat(taken[places], sizes)

    def _state(self, pieces: Sequence[Stretch], nonfinite: dict[str, list[int]]) -> dict[str, Any]:
        """The sizes of the state, the effective rates, the signal, and how far the slow weights are away."""
        slots = [slot for slot in self.state if slot in self.plan.state]
        rates: list[Array] = []
        signals: list[Array] = []
        views = []
        for piece in pieces:
            where, scalars = slice(piece.start, piece.stop), self.scalars[id(piece.cohort)]
            assert piece.cohort is not None
            state = {slot: self.state[slot][piece.buffer][where] for slot in slots}
            before = {slot: self.before.state[slot][piece.buffer][where] for slot in slots if slot in self.before.state}
            views.append(state)
            step = -(-(piece.stop - piece.start) // SAMPLED)
            if step > 1:
                state, before = ({slot: a[::step] for slot, a in each.items()} for each in (state, before))
            rate = effective_rate(state, before, scalars) if before or not state else None
            rates.append(np.full(min(SAMPLED, piece.stop - piece.start), base_rate(scalars)) if rate is None else rate)
            share = signal(state, scalars, piece.cohort.age)
            if share is not None:
                signals.append(share)
        found: dict[str, Any] = {"effective_rate": quantiles(rates)}
        if signals:
            found["signal"] = quantiles(signals)
        if slots:
            found["state_norm"] = {slot: _norm(slot, [view[slot] for view in views], nonfinite) for slot in slots}
        if "slow" in self.state:
            # Before the slow step, if there was one: after it, fast and slow weights are the same.
            slow = self.before.state["slow"]
            found["slow_distance"] = _length([
                self.fast[p.buffer][p.start : p.stop].astype(np.float64) - slow[p.buffer][p.start : p.stop]
                for p in pieces
            ])  # fmt: skip
        return found

    def _scalars(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        """The rate, the corrections and the rectification of the largest stretch, usually the weight's."""
        piece = max(pieces, key=lambda p: p.stop - p.start)
        known = self.scalars[id(piece.cohort)]
        names = ("lr", "debias1", "debias2", "rho", "rectified", "rectification")
        return {"scalars": {name: known[name] for name in names if name in known}}

    def _trust(self, pieces: Sequence[Stretch]) -> dict[str, Any]:
        """The factor by norms of each parameter that is adapted, and the norms that it was taken of."""
        found: dict[str, Any] = {}
        for rule in self._trusts:
            for piece in pieces:
                for entry in piece.entries:
                    known = self.scalars[id(piece.cohort)]
                    wheres = [n.where for n in self.plan.norms if n.name in rule.norms and n.where is not None]
                    if all(known.get(where, 1.0) for where in wheres):
                        found[entry.name] = self._ratio(rule, entry, known)
        return found

    def _ratio(self, rule: Rule, entry: Entry, known: Mapping[str, float]) -> dict[str, Any]:
        norms = self.layout.norms_of(entry)
        own = {name: norms[name] for name in rule.norms}
        # The rule is linear in the update, so on an update of 1 it gives its factor.
        names = rule.inputs
        given = [1.0 if name == "update" else own[name] for name in names]
        ratio = float(rule.function(*given, **{name: known[name] for name in rule.hypers}))
        size = own.get("param_norm", math.nan)
        clamped = not known.get("phi_low", -math.inf) <= size <= known.get("phi_high", math.inf)
        return {"ratio": ratio, **own, "clamped": bool(clamped and size == size)}


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
