"""Layout: the tables that the CPU's kernels read for one set of gradients present, and the run of one step."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..devices.arrays import given
from ..rules import Norm
from .blocks import ROW, block_tables, lengths, range_column, spans
from .cohort import Cohort
from .cpu import Kernel, pass_arguments, step_arguments
from .lower import flat
from .norms import finished
from .plan import Plan
from .store import Buffer, Entry, ParameterStore
from .threads import PARALLEL_FROM, get_num_threads, run_blocks

Array = npt.NDArray[Any]
# A function with all its arguments; calling it so is faster than through functools.partial.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class NotSerialError(Exception):
    """A step is more than one call per buffer; the text gives the reason."""


class Layout:
    """A plan laid out over the parameters that have a gradient, ready to run. Made by `Program.lay_out`.

    Attributes:
        plan, store: the plan to run, and its parameters.
        cohorts: row ``i`` of the scalars belongs to ``cohorts[i]``.
        missing: the entries without a gradient, which no block covers.
        scalars: a float64 row per cohort, a column per hyper-parameter.
        versions: the version counters of the parameters that a step changes.
        elements: the number of elements that take part.
    """

    elements: int

    def __init__(
        self,
        plan: Plan,
        store: ParameterStore,
        kernels: Sequence[Any],
        cohorts: Sequence[Cohort],
        states: Sequence[Mapping[str, Array]],
    ) -> None:
        self.plan, self.store, self.cohorts = plan, store, cohorts
        present = [entry for cohort in cohorts for entry in cohort.entries]
        self.missing = {*store.entries.values()} - {*present}
        self.versions = [entry.parameter._version for entry in present] if "param" in plan.outputs else []
        # Norms and scalars are parts of one array, so that a reader can copy everything that a step used at once.
        norms = len(plan.norms), max([store.counts[norm.scope] for norm in plan.norms], default=0)
        scalars = len(cohorts), len(plan.hypers)
        self._numbers = np.zeros(math.prod(norms) + math.prod(scalars))
        self._norms = self._numbers[: math.prod(norms)].reshape(norms)
        self.scalars = self._numbers[math.prod(norms) :].reshape(scalars)
        for cohort, row in zip(cohorts, self.scalars, strict=True):
            cohort.row = row
        self._kernels, self._states = kernels, states
        self._rows = {entry.name: row for row, cohort in enumerate(cohorts) for entry in cohort.entries}
        # Made by the first `_make_calls`. A cached_property would be as short, but it makes every attribute of an
        # instance slower to read, and a small step is attribute reads.
        self._tables: list[tuple[Array, Array]] = []
        self._make_calls()
        for buffer in store.buffers:
            buffer.memory.follow(self)

    def _make_calls(self) -> None:
        """Make the calls that run the kernels, for the current arrays of gradients."""
        plan = self.plan
        if not self._tables:
            self._tables = [block_tables(buffer, self._rows, plan) for buffer in self.store.buffers]
        self._parts: list[_Part] = []
        for kernel, buffer, state, (blocks, coarse) in zip(
            self._kernels, self.store.buffers, self._states, self._tables, strict=True
        ):
            if len(blocks):
                self._parts.append(_Part(plan, kernel, buffer, state, blocks, coarse, self.scalars, self._norms))
        self.elements = sum(part.elements for part in self._parts)
        self._widest = max(p.moved for p in plan.passes)  # values that the largest pass moves per element
        self._small = self.elements * self._widest < PARALLEL_FROM
        # A norm may cover several buffers; then each pass waits until the one before is done everywhere.
        self._steps = [part.step for part in self._parts]
        self._one_call = len(self._steps) <= 1 or not plan.norms
        self._norms_of = [[(plan.norms.index(norm), norm) for norm in p.norms] for p in plan.passes]
        # The most threads that can share the spans of one buffer: none may take half again as long as the average.
        self._sharing = 0
        if len(self._parts) == 1 and len(self._parts[0].spans) > 1:
            self._sharing = int(1.5 * self.elements / self._parts[0].longest)
        self._scratch = threading.local()

    def renewed(self) -> None:
        """Make the calls again, since gradients have other memory."""
        self._make_calls()

    def bind_options(
        self, options: Sequence[Mapping[str, float]], groups: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Take over the options of each param group.

        Args:
            options: the numbers among them, by the names that rules know.
            groups: all given options, for error messages.

        Raises:
            TypeError: if a rule needs an option that is missing.
        """
        for cohort in self.cohorts:
            cohort.bind(self.plan, options[cohort.group], groups[cohort.group] if groups is not None else {})

    def refresh_scalars(self) -> None:
        """Write the values that depend on the step that the cohorts are about to take."""
        columns = self.plan.columns
        for cohort in self.cohorts:
            for function, arguments in cohort.bound:
                for name, value in function(cohort.age + 1, *arguments).items():
                    if name in columns:
                        cohort.row[columns[name]] = value

    def scalar_rows(self, steps: int, ahead: int = 0) -> Array:
        """The values that `refresh_scalars` would write in each of the coming steps, with the present options.

        No ages change; `advance` takes over that steps were taken. If options change in between, bind them and ask for
        the next rows with ``ahead``.

        Args:
            steps: the number of steps.
            ahead: how many coming steps to leave out, whose rows are known. Functions that carry numbers from step to
                step continue from there.

        Returns:
            The scalars of each step: shape (steps, cohorts, hypers), in float64.
        """
        rows = np.empty((steps, *self.scalars.shape))
        rows[:] = self.scalars
        computed: dict[Any, list[tuple[int, int, Array]]] = {}
        for number, cohort in enumerate(self.cohorts):
            first = cohort.age + ahead + 1
            for function, arguments in cohort.bound:
                # By its text, since an option of -0.0 or True is equal to one of 0.0 or 1.0, but may give other bits.
                key = function, repr(arguments), first
                if key not in computed:
                    # A map is a third faster than a comprehension, and this takes much of a small compiled step.
                    results = list(map(function, range(first, first + steps), *map(itertools.repeat, arguments)))
                    computed[key] = _columns(results, self.plan.columns)
                for column, start, values in computed[key]:
                    rows[start:, number, column] = values
        return rows

    def advance(self, steps: int) -> None:
        """Take over that every cohort has taken some of the steps whose scalars `scalar_rows` gave."""
        for cohort in self.cohorts:
            cohort.advance(steps)

    # --- one step ----------------------------------------------------------------------------------------------------

    def serial_calls(self) -> list[Call]:
        """The calls that are one step, one per buffer with blocks, where `run` makes nothing else.

        The same list is returned as long as it is valid. With norms, the call zeroes them first, and returns 0 or the
        number (from 1) of a norm that was not finite and stopped the step before it changed anything.

        Raises:
            NotSerialError: if the step takes more than these calls: threads, or work between the buffers' passes.
        """
        if not self._small and get_num_threads() > 1:
            raise NotSerialError(f"{self.elements:,} elements are updated by {get_num_threads()} threads")
        if not self._one_call:
            raise NotSerialError("a norm covers parameters of two dtypes")
        return self._steps

    def run(self) -> Norm | None:
        """Run every pass once over every block.

        Returns:
            A norm that was not finite, and stopped the step before it changed anything; usually ``None``.
        """
        serial = self._small or get_num_threads() == 1
        if serial and self._one_call:
            stopped: int | None = 0
            for function, arguments in self._steps:
                stopped = function(*arguments)
            return self.plan.norms[stopped - 1] if stopped else None
        self._norms.fill(0.0)
        if get_num_threads() <= self._sharing:
            run_blocks(self._run_spans, len(self._parts[0].spans), self.elements * self._widest)
            return None
        for number, (p, norms) in enumerate(zip(self.plan.passes, self._norms_of, strict=True)):
            for part in self._parts:
                if serial:
                    function, arguments = part.whole[number]
                    function(*arguments)
                else:
                    run_blocks(*part.shared[number], self.elements * p.moved)
            for index, norm in norms:
                for part in self._parts:
                    part.combine(index)
                if norm.nonfinite != "propagate" and not _all_finite(self._norms[index]):
                    return norm
        return None

    def _run_spans(self, first: int, last: int) -> None:
        """Run every pass over some spans, span by span, as the kernel for one thread does."""
        (part,) = self._parts
        scratch = getattr(self._scratch, "update", None)
        if scratch is None:
            size = part.longest if "update" in self.plan.arrays else 0
            scratch = self._scratch.update = np.empty(size, self.store.buffers[0].dtype)
        for start, stop, origin in part.spans[first:last]:
            for run, norms in zip(part.over, self._norms_of, strict=True):
                run(start, stop, origin, scratch)
                for index, _ in norms:
                    part.combine(index, start, stop)

    # --- values of the last step ------------------------------------------------------------------------------------

    @property
    def norms(self) -> Array:
        """The total of each norm over each range, as the last step left it, before the root is taken."""
        return self._norms

    @property
    def numbers(self) -> Array:
        """The elements of `norms`, then of ``scalars``, in one flat array."""
        return self._numbers

    def norm_values(self, norm: Norm) -> Array:
        """A norm over each of its ranges, as the last step found it."""
        totals = given(self.norms)[self.plan.norms.index(norm)][: self.store.counts[norm.scope]]
        return finished(norm.order, totals)

    def scalars_of(self, entry: Entry) -> dict[str, float]:
        """Every hyper-parameter of one parameter by name, as the last step used it.

        Raises:
            KeyError: if the parameter had no gradient, and so took no part.
        """
        row = self._rows.get(entry.name)
        if row is None:
            raise KeyError(f"parameter {entry.name!r} had no gradient and was skipped")
        return dict(zip(self.plan.hypers, self.scalars[row].tolist(), strict=True))

    def norms_of(self, entry: Entry, unit: int = 0) -> dict[str, float]:
        """Every norm by name over the range that holds this parameter, or its unit ``unit``, as the last step found it.

        A norm at scope tensor or wider is the same for all units.
        """
        return {
            norm.name: float(self.norm_values(norm)[entry.ids[norm.scope] + (unit if norm.scope == "unit" else 0)])
            for norm in self.plan.norms
        }

    def norm_shares(self, norm: Norm) -> Array:
        """The norm of each cohort's part of each range: a row per cohort, a column per range."""
        index, column = self.plan.norms.index(norm), range_column(self.plan, norm.scope)
        shares = np.zeros((len(self.cohorts), self.store.counts[norm.scope]))
        largest = np.zeros_like(shares)
        parts = []
        for tables, partials in self._parts_of_norms():
            table = tables[index]
            where = table[:, ROW], table[:, column]
            parts.append((where, finished(norm.order, partials[index, : len(table)])))
            np.maximum.at(largest, *parts[-1])
        if norm.order == np.inf:
            return largest
        with np.errstate(invalid="ignore"):  # where the largest is 0 or infinite, it is the norm
            for where, norms in parts:
                np.add.at(shares, where, (norms / np.where(largest[where] > 0, largest[where], 1.0)) ** norm.order)
            return np.where(np.isinf(largest), largest, largest * shares ** (1 / norm.order))

    def _parts_of_norms(self) -> list[tuple[list[Array], Array]]:
        """For each buffer the table of blocks of each norm, and the norm over each block."""
        return [(part.tables, part.partials) for part in self._parts]

    def parts(self, scope: str) -> list[tuple[int, int]]:
        """Each pair of a cohort's row and the number of a range, at this scope, that has some of its parameters."""
        return list(
            dict.fromkeys(
                (row, entry.ids[scope] + i)
                for row, cohort in enumerate(self.cohorts)
                for entry in cohort.entries
                for i in range(entry.units if scope == "unit" else 1)
            )
        )


class _Part:
    """The calls that run a kernel over the blocks of one buffer.

    Attributes:
        step: runs every pass on the calling thread.
        whole: runs one pass over all blocks.
        shared: the work of threads in a pass: a function of the first and the last block, and the number of blocks.
        over: runs a pass over some blocks: of their first and last, and of a scratch array for the running update with
            the element that is first in it.
        tables: the table of blocks that each norm is taken over.
        partials: each norm over each block.
        spans: the spans of blocks, each with the element that it begins with.
        longest: the elements of the longest span.
        elements: the number of elements.
    """

    def __init__(
        self,
        plan: Plan,
        kernel: Kernel,
        buffer: Buffer,
        state: Mapping[str, Array],
        blocks: Array,
        coarse: Array,
        scalars: Array,
        norms: Array,
    ) -> None:
        self.elements = int(lengths(blocks).sum())
        cut = spans(blocks, plan)
        self.spans = [(first, last, int(blocks[first, 0])) for first, last in cut.tolist()]
        self.longest = max(int(lengths(blocks[first:last]).sum()) for first, last, _ in self.spans)
        self.partials = np.zeros((len(plan.norms), max(len(blocks), len(coarse))))
        values: dict[str, Any] = {flat(name): array for name, array in state.items()}
        values |= {flat("param"): buffer.data, flat("grad"): buffer.grad}
        if "update" in plan.arrays:
            values[flat("update")] = np.empty_like(buffer.data)
        values |= {"blocks": blocks, "coarse": coarse, "spans": cut, "first": 0, "last": len(blocks), "origin": 0}
        values |= {"scalars": scalars, "norms": norms, "partials": self.partials}
        self.step: Call = kernel.step, tuple(values[name] for name in step_arguments(plan))
        self.tables = [blocks] * len(plan.norms)
        self.whole: list[Call] = []
        self.shared: list[tuple[Callable[[int, int], None], int]] = []
        self.over: list[Callable[..., None]] = []
        for p, function in zip(plan.passes, kernel.passes, strict=True):
            table = coarse if p.coarse else blocks
            names = pass_arguments(plan, p)
            given = values | {"blocks": table, "last": len(table)}
            self.whole.append((function, tuple(given[name] for name in names)))
            self.over.append(_over(function, names, given))
            scratch = values.get(flat("update"))
            self.shared.append((functools.partial(self.over[-1], origin=0, scratch=scratch), len(table)))
            for norm in p.norms:
                self.tables[plan.norms.index(norm)] = table
        self._combine, self._norms = kernel.combine, norms

    def combine(self, index: int, first: int = 0, last: int | None = None) -> None:
        """Add to the totals of a norm the results of some of its blocks, by default all."""
        assert self._combine is not None
        table = self.tables[index]
        self._combine(index, table, first, len(table) if last is None else last, self._norms, self.partials)


def _over(function: Callable[..., None], names: Sequence[str], values: Mapping[str, Any]) -> Callable[..., None]:
    """A pass over some blocks, with a scratch array for the running update whose first element is ``origin``."""
    arguments = [values[name] for name in names]
    places = [names.index(name) if name in names else None for name in ("first", "last", "origin", flat("update"))]

    def run(first: int, last: int, origin: int, scratch: Array | None) -> None:
        given = list(arguments)  # each thread needs its own
        for place, value in zip(places, (first, last, origin, scratch), strict=True):
            if place is not None:
                given[place] = value
        function(*given)

    return run


def _columns(results: Sequence[Mapping[str, float]], columns: Mapping[str, int]) -> list[tuple[int, int, Array]]:
    """The columns of scalars that results give: the number, the first result that has it, the values from there on."""
    found = []
    for name in set[str]().union(*results) & columns.keys():
        start = 0
        try:
            values = np.fromiter(map(operator.itemgetter(name), results), np.float64, len(results))
        except KeyError:  # a step without the name keeps the value of the step before
            start = next(i for i, result in enumerate(results) if name in result)
            values = np.empty(len(results) - start)
            for i, result in enumerate(results[start:]):
                values[i] = result.get(name, values[i - 1])
        found.append((columns[name], start, values))
    return found


def _all_finite(totals: Array) -> bool:
    # The sum is usually finite, and takes half the time; the sum of large numbers may be infinite.
    return math.isfinite(np.add.reduce(totals)) or bool(np.isfinite(totals).all())
