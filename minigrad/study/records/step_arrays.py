"""The flat arrays around one step, and what its rules did to each element of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...devices.arrays import to_host
from ...kernels.cohort import Cohort
from ...kernels.layout import Layout
from ...kernels.store import Entry
from ...optim import Optimizer
from ...rules import Norm
from .decay import decays, split_change
from .state_names import effective_rate, signal

Array = npt.NDArray[Any]

# Rates and signals of more elements than these are looked at on so many, evenly spread.
SAMPLED = 4096
# Small layers are read together, up to so many elements: NumPy's calls cost more than what they compute there.
TOGETHER = 1 << 14


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
    store = layout.store
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
    return found | dict(zip(layout.plan.hypers, cohort.row.tolist(), strict=True))


class Elements(NamedTuple):
    """What a step did to the elements of one stretch, in float64.

    Attributes:
        gradient_part, decay_part: the sums of the squares of the two parts of the change, before slow weights;
            ``None`` where no rule decays.
        rate: the effective learning rate of the elements that are sampled; ``None`` where it is the same for all.
        signal: |m̂| / √v̂ of those; ``None`` where not both moments are kept.
    """

    gradient_part: float | None
    decay_part: float | None
    rate: Array | None
    signal: Array | None


class StepArrays:
    """The arrays of an optimizer before and after the step that it has just taken.

    Args:
        optimizer: whose kernel moved the parameters; inside Lookahead, the one that moves the fast weights.
        before: what the arrays held before it.
        fast: copies of the parameters after its own update, where slow weights have moved them since.
    """

    def __init__(self, optimizer: Optimizer, before: Before, fast: Sequence[Array] | None = None) -> None:
        assert optimizer._layout is not None
        self.layout, self.before = optimizer._layout, before
        self.plan = self.layout.plan
        self.after = [to_host(buffer.data) for buffer in optimizer.store.buffers]
        self.grad = [to_host(buffer.grad) for buffer in optimizer.store.buffers]
        self.state = {slot: [to_host(array) for array in arrays] for slot, arrays in optimizer._state.items()}
        self.fast = self.after if fast is None else fast
        self.scalars = {id(cohort): scalars_of(cohort, self.layout, optimizer) for cohort in self.layout.cohorts}
        decaying = (decays(self.plan.rules, scalars) for scalars in self.scalars.values())
        self._decays = optimizer.stepped and any(decaying)

    def elements(self, layers: Iterable[Sequence[Stretch]]) -> dict[tuple[int, int], Elements]:
        """What happened to the elements of each stretch that has a gradient, by its buffer and start."""
        found: dict[tuple[int, int], Elements] = {}
        for pieces in _together(piece for layer in layers for piece in layer if piece.cohort is not None):
            whole = pieces[0]._replace(stop=pieces[-1].stop, entries=[e for piece in pieces for e in piece.entries])
            alone = len(pieces) == 1
            parts = self._split(whole) if self._decays else None
            rates = self._rates(whole, sampled(whole) if alone else 1)
            for piece in pieces:
                where = slice(piece.start - whole.start, piece.stop - whole.start)
                gradient, decay = (float(x[where] @ x[where]) for x in parts) if parts else (None, None)
                some = slice(None) if alone else slice(where.start, where.stop, sampled(piece))
                rate, share = (None if each is None else each[some] for each in rates)
                found[piece.buffer, piece.start] = Elements(gradient, decay, rate, share)
        return found

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
        if norm.scope == "global":
            return taken[0]
        units = [entry.units if norm.scope == "unit" else 1 for entry in piece.entries]
        places = [e.ids[norm.scope] + i for e, n in zip(piece.entries, units, strict=True) for i in range(n)]
        sizes = [(e.stop - e.start) // n for e, n in zip(piece.entries, units, strict=True) for _ in range(n)]
        return np.repeat(taken[places], sizes)

    def _rates(self, piece: Stretch, step: int) -> tuple[Array | None, Array | None]:
        """The effective rate and the signal of every so many elements."""
        where, scalars = slice(piece.start, piece.stop, step), self.scalars[id(piece.cohort)]
        assert piece.cohort is not None
        kept = [slot for slot in self.state if slot in self.plan.state]
        state = {slot: self.state[slot][piece.buffer][where] for slot in kept}
        before = {slot: self.before.state[slot][piece.buffer][where] for slot in kept if slot in self.before.state}
        rate = effective_rate(state, before, scalars) if before or not state else None
        return rate, signal(state, scalars, piece.cohort.age)


def sampled(piece: Stretch) -> int:
    """The distance between the elements of a stretch that are looked at, where not all are."""
    return -(-(piece.stop - piece.start) // SAMPLED)


def _together(pieces: Iterable[Stretch]) -> list[list[Stretch]]:
    """Neighbors in a buffer that share every scalar, `TOGETHER` elements at most unless one alone has more."""
    groups: list[list[Stretch]] = []
    for piece in pieces:
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
