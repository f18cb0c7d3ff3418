"""Many steps in one call: batches gathered from memory, scalars that change from step to step, results noted.

A `Driver` belongs to one bound program and so to one model, optimizer and generator. Several drivers may run at once on
threads, as machine code does not need the interpreter lock: copies of one program, each with its own parameters, state,
scalars, random numbers and order of the data. `minigrad.training._together` trains many runs in this way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arrays import address
from .bound import Bound
from .effects import Effect
from .runtime import DRIVE, PARTS, driver, parts_driver, words

Array = npt.NDArray[Any]


class Outcome(NamedTuple):
    """What has become of a stretch of steps.

    Attributes:
        done: how many steps were taken.
        logs: for each result of the step an array with a row per step, of which ``done`` are filled.
        numbers: for each update an array with a row per step, its `Layout.numbers`, if they are noted.
        eager: why the next step has to be made by Python; empty if that is not so.
        error: what the update of the next step has raised, whose results are logged; that step is half done.
    """

    done: int
    logs: list[Array]
    numbers: list[Array]
    eager: str
    error: Exception | None


class Driver:
    """Runs a bound step over batches of arrays.

    Args:
        bound: a step of one batch of each array, or of several in turn: one of each, then another of each.
        sources: the arrays, C-contiguous, whose rows are gathered.
        numbers: whether to note `Layout.numbers` of each update.

    Raises:
        ValueError: if every step needs Python, for the reason that the text gives.
    """

    def __init__(self, bound: Bound, sources: Sequence[Array], numbers: bool = False) -> None:
        self.bound, self.sources = bound, list(sources)
        problem = problem_of(bound, sources)
        if problem:
            raise ValueError(problem)
        # The batches of a source are side by side, as their rows are in the order.
        pieces = len(bound.arguments) // len(sources)
        self._batches = []
        for memory in bound.arguments[: len(sources)]:
            rows, *rest = memory.node.shape
            self._batches.append(np.empty((pieces * rows, *rest), memory.node.dtype))
        self._places = [
            self._batches[i % len(sources)][i // len(sources) * memory.node.shape[0] :]
            for i, memory in enumerate(bound.arguments)
        ]
        self._made = [np.empty(shape, dtype) for shape, dtype in bound.made]
        self._drive = driver()
        self._results = self._made[: len(bound.plan.results)]
        self._wants_numbers = numbers
        self._bindings: list[Any] = []
        self._words: Any = None

    @property
    def is_alone(self) -> bool:
        """Whether machine code needs nothing of Python between steps and stretches, nor Python of what it leaves."""
        bound = self.bound
        return self.longest() is None and not any(effect.reason for effect in bound.effects) and not bound.exchanges

    def longest(self) -> int | None:
        """How many steps may be taken before an optimizer has something to do in Python; None for any number."""
        chains = [chain for effect in self.bound.effects for chain in getattr(effect.update, "periodic", ())]
        return min((chain.k - chain.counter % chain.k for chain in chains), default=None)

    def run(self, order: Array, steps: int, between: Callable[[], bool] | None = None) -> Outcome:
        """Take steps.

        Args:
            order: the rows of the batches, one batch after the other.
            steps: how many steps, at most `longest`.
            between: called after each step's scalars are known, for what changes options, such as schedulers; all
                calls come in advance. It returns whether another step may follow.
        """
        stretch = self.begin(order, steps, between)
        return self.end(stretch, self._drive(stretch.address))

    def begin(
        self, order: Array, steps: int, between: Callable[[], bool] | None = None, scalars: Sequence[Array] = ()
    ) -> Stretch:
        """Prepare a stretch; machine code can run it on any thread. ``scalars`` are those of the updates, if known."""
        bound = self.bound
        bound.begin()
        native = [effect for effect in bound.effects if not effect.reason]
        if scalars:
            rows = list(scalars)
        elif between is None:
            rows = [effect.layout.scalar_rows(steps) for effect in native]
        else:
            steps, rows = self._changing(native, steps, between)
        logs = [np.empty((steps, *array.shape), array.dtype) for array in self._results]
        numbers = [np.empty((steps, effect.layout.numbers.size)) for effect in native if self._wants_numbers]
        bindings = [effect.words for effect in native]
        if self._words is None or [*map(id, bindings)] != [*map(id, self._bindings)]:
            self._bindings, self._words = bindings, self._fixed(native)
        table = self._words.copy()
        table[DRIVE.index("last")] = steps
        changing = *[order] * len(self.sources), *rows, *logs, *numbers
        for place, array in zip(self._changing_words, changing, strict=True):
            table[place] = address(array)
        if bound.filled is not self:
            bound.filled = self
            for key, array in zip(bound.varying, (*self._places, *self._made), strict=True):
                bound.code.set(key, address(array))
        for effect in bound.effects:
            effect.noted = [] if effect.reason and self._wants_numbers else None
        return Stretch(table, steps, logs, numbers, (order, rows))

    def _fixed(self, native: Sequence[Effect]) -> Any:
        """The words of a stretch, without those that differ from one to the next, whose places are noted."""
        used = [effect.layout.numbers for effect in native if self._wants_numbers]
        values = {
            "records": self.bound.code.address, "gathers": len(self._batches), "feeds": len(native),
            "logs": len(self._results) + len(used), "ends": len(native),
        }  # fmt: skip
        rest: list[int] = []
        self._changing_words = []
        for array, source in zip(self._batches, self.sources, strict=True):
            rest += [len(array), source.nbytes // len(source), address(source), address(array), 0]
            self._changing_words.append(len(DRIVE) + len(rest) - 1)
        for effect in native:
            rest += [effect.layout.scalars.nbytes, 0, address(effect.layout.scalars)]
            self._changing_words.append(len(DRIVE) + len(rest) - 2)
        for array in (*self._results, *used):
            rest += [array.nbytes, address(array), 0]
            self._changing_words.append(len(DRIVE) + len(rest) - 1)
        return words(DRIVE, values, *rest, *(address(effect.words) for effect in native))

    @staticmethod
    def _changing(native: Sequence[Effect], steps: int, between: Callable[[], bool]) -> tuple[int, list[Array]]:
        """The scalars of steps between which options change, and how many steps these are."""
        rows: list[list[Array]] = [[] for _ in native]
        for step in range(steps):
            for effect, found in zip(native, rows, strict=True):
                found.append(effect.update.scalars_ahead(step)[0])
            if not between():
                steps = step + 1
                break
        return steps, [np.ascontiguousarray(np.stack(found)) for found in rows]

    def end(self, stretch: Stretch, status: int) -> Outcome:
        """Account for the steps that were taken."""
        bound = self.bound
        done = int(stretch.words[DRIVE.index("step")])
        for effect in bound.effects:
            if not effect.reason and done:
                effect.update.advance(effect.layout, done)
        if not status and done < stretch.steps:  # the update of this step was stopped by a norm
            for effect in bound.effects:
                if not effect.reason:
                    effect.end()
            done += 1
            status = 0
        own = [array.copy() for array in self._made[len(bound.plan.results) :]]
        if done:
            bound.settle(own)
        tables = iter(stretch.numbers)
        numbers = [np.array(e.noted) if e.reason else next(tables) for e in bound.effects if self._wants_numbers]
        eager, error = "", None
        if status:
            try:
                eager = bound.given_up(status)
            except Exception as raised:
                error = raised
                for array, log in zip(self._results, stretch.logs, strict=True):
                    log[done] = array
        return Outcome(done, stretch.logs, numbers, eager, error)


class Stretch(NamedTuple):
    """Steps that are ready to run: the words of `minigrad.compiled.runtime.DRIVE`, and what they refer to."""

    words: Any
    steps: int
    logs: list[Array]
    numbers: list[Array]
    kept: Any

    @property
    def address(self) -> int:
        """Of the words."""
        return address(self.words)


class Part(NamedTuple):
    """Steps of a stretch, from ``first`` on, before ``last``."""

    stretch: Stretch
    first: int
    last: int


def run_parts(parts: Sequence[Part]) -> tuple[int, int]:
    """Run parts of stretches in turn; return how many are complete, and the status of the one after these."""
    triples = [number for part in parts for number in (part.stretch.address, part.first, part.last)]
    given = words(PARTS, {"parts": len(parts)}, *triples)
    status = parts_driver()(address(given))
    return int(given[PARTS.index("part")]), status


def problem_of(bound: Bound, sources: Sequence[Array]) -> str:
    """Why a step cannot be driven; empty if it can."""
    if bound.plan.problem:
        return bound.plan.problem
    if bound.has_calls:
        return "the step calls Python between or after its updates"
    if bound.calls_generator and bound.plan.decided >= 0:
        return "the step draws random numbers in Python, and may be given up after that"
    for memory, source in zip(bound.arguments, itertools.cycle(sources), strict=False):
        node = memory.node
        if not source.flags.c_contiguous or source.shape[1:] != node.shape[1:] or source.dtype != node.dtype:
            return "the rows of the dataset are not as the batches are"
    return ""
