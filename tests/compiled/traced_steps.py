"""A function of tensors that is traced once, and then run in three ways that must give the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import random
from minigrad.autograd.tensor import Tensor
from minigrad.compiled.bound import Bound
from minigrad.compiled.reference import evaluate
from minigrad.compiled.trace import Trace

SEED = 3


def tensors(arrays: Sequence[Any]) -> list[Tensor]:
    """The arguments of a step: those of floats require a gradient."""
    return [Tensor(a.copy(order="K"), requires_grad=a.dtype.kind == "f") for a in arrays]


def same(a: Any, b: Any) -> bool:
    """Whether arrays have the same bits; all NaNs are the same."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "f":
        a, b = (np.where(np.isnan(x), np.nan, x) for x in (a, b))
    return a.tobytes() == b.tobytes()


def difference(found: Sequence[Any], expected: Sequence[Any]) -> str:
    """What differs first; empty if nothing does."""
    if len(found) != len(expected):
        return f"{len(found)} results for {len(expected)}"
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if not same(a, b):
            return f"result {i}, {b.dtype} {b.shape}:\n{a!r}\nin place of\n{b!r}"
    return ""


class TracedStep:
    """A step, traced on the values of some arrays.

    Args:
        step: from tensors (or arrays) to a sequence of them.
        arrays: the values of its arguments in the trace.
        given: makes its arguments of arrays.
        outside: tensors that it changes beside its arguments. Every run begins with their values before the trace, and
            their values afterward are part of its result, as is the state of the random numbers.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        arrays: Sequence[Any],
        outside: Sequence[Tensor] = (),
        given: Callable[[Sequence[Any]], Sequence[Any]] = tensors,
    ) -> None:
        self.step, self.outside, self._given = step, outside, given
        self._before = [tensor._data.copy() for tensor in outside]
        self._begin()
        self.trace = Trace(lambda *leaves: list(step(*leaves)), given(arrays))
        self.traced = self._end(self._merged(self.trace.values, arrays))
        self._begin()
        self._bound: Bound | None = None

    @property
    def bound(self) -> Bound:
        """The program, made when it is first used."""
        if self._bound is None:
            self._bound = Bound(self.trace)
        return self._bound

    def _begin(self) -> None:
        random.manual_seed(SEED)
        for tensor, values in zip(self.outside, self._before, strict=True):
            tensor._data[...] = values

    def _end(self, results: Sequence[Any]) -> list[Any]:
        state = random.get_state()["state"]["state"]
        low = np.array([state % 2**63], np.int64)
        return [
            *(np.array(getattr(r, "_data", r)) for r in results),
            *(tensor._data.copy() for tensor in self.outside),
            low,
        ]

    def eager(self, arrays: Sequence[Any]) -> list[Any]:
        """The results in Python."""
        self._begin()
        return self._end(self.step(*self._given(arrays)))

    def machine(self, arrays: Sequence[Any]) -> list[Any]:
        """The results of the machine code.

        Raises:
            GuardError: if Python would take another branch.
        """
        self._begin()
        made = self.bound.run([array.copy(order="K") for array in arrays])
        return self._end(self._merged(made, arrays))

    def reference(self, arrays: Sequence[Any]) -> list[Any]:
        """The results of NumPy's evaluation of the graph."""
        self._begin()
        given = iter(arrays)
        memory = {
            m.node.params: next(given).copy(order="K") if m.kind == "argument" else m.array.copy(order="K")
            for m in self.trace.memories
        }
        with np.errstate(all="ignore"):
            values = evaluate(self.trace.graph.nodes, memory, random.generator().random)
        results = [np.array(values[r.node]) for r in self.trace.results if r.node is not None]
        written = [(write.memory.array, np.array(values[write.node])) for write in self.trace.writes]
        for array, value in written:
            array[...] = value
        return self._end(self._merged(results, arrays))

    def _merged(self, made: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        """All results: those that were computed, arguments, and tensors from outside."""
        new = iter(made)
        known = [r.existing if r.argument is None else arrays[r.argument] for r in self.trace.results]
        return [next(new) if r.node else old for r, old in zip(self.trace.results, known, strict=True)]
