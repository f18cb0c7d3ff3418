"""A program: a plan bound to a store, the tables that its kernels read, and the run of one step."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rules import Norm
from ..rules.language import SCOPES
from .backend import backend_of
from .cpu import RANGES, ROW, Kernel, pass_arguments, step_arguments
from .lower import flat
from .norms import finished
from .plan import Plan
from .store import Buffer, Entry, ParameterStore
from .threads import PARALLEL_FROM, get_num_threads, run_blocks

Array = npt.NDArray[Any]

StepFunction = Callable[..., Mapping[str, float]]

# The arrays of one block stay in the second-level cache between its loop and its norms.
BLOCK = 32768


class Cohort:
    """Parameters that share every scalar of a step: one group, the same overrides, the same age.

    Attributes:
        group: the number of their param group.
        overrides: what these parameters have otherwise than their group.
        age: how many steps they have taken.
        entries: the parameters.
        past: for each function of the step that carries numbers, what it returned for the last steps, by their number.
        row: its row of scalars.
        bound: the functions of the step, with the options that they take.
    """

    def __init__(
        self,
        group: int,
        overrides: Mapping[str, float],
        age: int,
        entries: list[Entry],
        carried: Mapping[str, float] | None = None,
    ) -> None:
        self.group, self.overrides, self.age, self.entries = group, dict(overrides), age, entries
        self.past: dict[StepFunction, dict[int, Mapping[str, float]]] = {}
        self._first, self._carry = dict(carried or {}), set[str]()
        self.row: Array = np.empty(0)
        self.bound: list[tuple[StepFunction, tuple[float, ...]]] = []

    def carrying(self, function: StepFunction, names: Sequence[str]) -> StepFunction:
        """The function of the step, given what it returned under these names for the step before.

        A step that is not taken in the end leaves the age as it was, and with it what the next call is given.
        """
        past = self.past.setdefault(function, {self.age: self._first})
        self._carry.update(names)

        def carried(step: int, *arguments: float) -> Mapping[str, float]:
            before = past[step - 1]
            found = past[step] = function(step, *arguments, **{name: before.get(name) for name in names})
            past.pop(step - 3, None)
            return found

        return carried

    def carried(self) -> dict[str, float]:
        """The numbers that are carried, after the last step."""
        found = dict(self._first)
        for past in self.past.values():
            found |= {name: value for name, value in past[self.age].items() if name in self._carry}
        return found


class Program:
    """A plan and its compiled kernels, one per dtype of the store."""

    def __init__(self, plan: Plan, store: ParameterStore) -> None:
        self.plan = plan
        self.store = store
        self.columns = {name: column for column, name in enumerate(plan.hypers)}
        self.backend = backend_of(store.buffers[0].data)
        self.kernels: list[Any] = [self.backend.kernel(plan, buffer.dtype) for buffer in store.buffers]
        # What depends on the step: functions with the options that they take.
        functions = {rule.scalars: rule for rule in plan.rules if rule.scalars is not None}
        self._functions = [(f, rule.scalar_options, rule.carry) for f, rule in functions.items()]

    def lay_out(self, cohorts: list[Cohort], missing: list[Entry], states: Sequence[Mapping[str, Array]]) -> Layout:
        """The tables for these cohorts, ready to run; ``states`` has the flat arrays of each buffer by slot."""
        return self.backend.layout(self, cohorts, missing, states)

    def bind_options(
        self, cohort: Cohort, options: Mapping[str, float], group: Mapping[str, Any] | None = None
    ) -> None:
        """Take over the options of the cohort's group, and write those that do not depend on the step.

        Args:
            cohort: the parameters.
            options: the numbers among the options, by the names that rules know.
            group: all options as they were given, for an error to say what is wrong with one.

        Raises:
            TypeError: if a rule needs an option that is not there.
        """
        known = {**options, **cohort.overrides}
        for function, names, _ in self._functions:
            for name in names:
                if name not in known:
                    raise TypeError(_missing_number(f"{function.__name__}()", name, group or {}))
        bound = [(function, tuple(known[name] for name in names), carry) for function, names, carry in self._functions]
        cohort.bound = [(cohort.carrying(f, carry) if carry else f, arguments) for f, arguments, carry in bound]
        for function, arguments, _ in bound:
            known.update(function(1, *arguments))
        for name, column in self.columns.items():
            if name not in known:
                users = [rule.name for rule in self.plan.rules if name in rule.hypers] or ["a norm"]
                raise TypeError(_missing_number(f"rule {users[0]!r}", name, group or {}))
            cohort.row[column] = known[name]


def _missing_number(user: str, name: str, group: Mapping[str, Any]) -> str:
    """What to say where a rule reads a number that the options of its param group do not give."""
    stem = name.rstrip("0123456789")
    plural, place = f"{stem}s", name.removeprefix(stem)
    if name in group:
        value = group[name]
        return (
            f"{user} needs a number for {name!r}, which is {value!r}, of type {type(value).__name__}; pass a number: "
            f"{name}=..., or optimizer.param_groups[i][{name!r}] = ..."
        )
    if place and plural in group:
        value = group[plural]
        return (
            f"{user} needs {name!r}, number {place} of {plural!r}, which is {value!r}; pass a tuple of at least "
            f"{place} numbers: {plural}=(...), or optimizer.param_groups[i][{plural!r}] = (...)"
        )
    return f"{user} needs {name!r}, which is not an option of the param group; add it to the optimizer's defaults"


class Layout:
    """Where each cohort's parameters lie: block tables and scalars for one pattern of gradients present.

    Attributes:
        cohorts: row ``i`` of the scalars belongs to ``cohorts[i]``.
        missing: the entries without a gradient, which no block covers.
        scalars: a float64 row per cohort, a column per hyper-parameter.
    """

    def __init__(
        self, program: Program, cohorts: list[Cohort], missing: list[Entry], states: Sequence[Mapping[str, Array]]
    ) -> None:
        plan, store = program.plan, program.store
        self.program, self.cohorts, self.missing = program, cohorts, missing
        # Norms and scalars lie side by side, so that who wants to know later what a step did copies one array.
        norms = len(plan.norms), max([store.counts[norm.scope] for norm in plan.norms], default=0)
        scalars = len(cohorts), len(plan.hypers)
        self._numbers = np.zeros(math.prod(norms) + math.prod(scalars))
        self._norms = self._numbers[: math.prod(norms)].reshape(norms)
        self.scalars = self._numbers[math.prod(norms) :].reshape(scalars)
        for cohort, row in zip(cohorts, self.scalars, strict=True):
            cohort.row = row
        self.versions = [entry.parameter._version for cohort in cohorts for entry in cohort.entries]
        self._bind({entry.name: row for row, cohort in enumerate(cohorts) for entry in cohort.entries}, states)
        for buffer in store.buffers:
            buffer.memory.follow(self)

    def _bind(self, rows: Mapping[str, int], states: Sequence[Mapping[str, Array]]) -> None:
        """Make the tables of every buffer, and the calls that run the kernels over them."""
        program, plan = self.program, self.program.plan
        self._widest = max(p.moved for p in plan.passes)  # values that the largest pass moves per element
        self._sources: list[tuple[Kernel, Buffer, Mapping[str, Array], Array, Array]] = []
        for kernel, buffer, state in zip(program.kernels, program.store.buffers, states, strict=True):
            blocks = block_table(buffer, rows, plan.scopes)
            if len(blocks):
                coarse = block_table(buffer, rows, plan.scopes, coarse=True) if plan.mixed else blocks
                self._sources.append((kernel, buffer, state, blocks, coarse))
        self._make_calls()

    def _make_calls(self) -> None:
        """Make the calls for the arrays as they are now."""
        plan = self.program.plan
        self._steps: list[tuple[Callable[..., int | None], tuple[Any, ...]]] = []
        self._passes: list[list[tuple[Callable[[int, int], None], int]]] = [[] for _ in plan.passes]
        self._whole: list[list[tuple[Callable[..., None], tuple[Any, ...]]]] = [[] for _ in plan.passes]
        self._combines: list[Callable[..., None]] = []
        # For threads that share spans: the spans, with the element that each begins with, and the passes over one.
        self._spans: list[tuple[int, int, int]] = []
        self._span_passes: list[Callable[..., None]] = []
        self._scratch = threading.local()
        self._partials: list[tuple[list[Array], Array]] = []
        self.elements = self._longest = 0
        for source in self._sources:
            self._add(*source)
        self._small = self.elements * self._widest < PARALLEL_FROM
        # What a step does that is not one call: passes over every buffer, each with the norms that it finds.
        self._rounds = [
            (whole, calls, self.elements * p.moved, [(plan.norms.index(norm), norm) for norm in p.norms])
            for whole, calls, p in zip(self._whole, self._passes, plan.passes, strict=True)
        ]
        # A norm may cover several buffers; then each pass waits until the one before is done everywhere.
        self._one_call = len(self._steps) <= 1 or not plan.norms
        # Up to so many threads can share the spans, none of which is more than half again as long as each one's part.
        self._sharing = int(1.5 * self.elements / self._longest) if len(self._steps) == 1 < len(self._spans) else 0

    def renewed(self) -> None:
        """Make the calls again, since gradients have other memory."""
        self._make_calls()

    def _add(self, kernel: Kernel, buffer: Buffer, state: Mapping[str, Array], blocks: Array, coarse: Array) -> None:
        plan = self.program.plan
        values: dict[str, Any] = {flat(name): array for name, array in state.items()}
        values |= {flat("param"): buffer.data, flat("grad"): buffer.grad}
        if "update" in plan.arrays:
            values[flat("update")] = np.empty_like(buffer.data)
        values |= {"blocks": blocks, "coarse": coarse, "first": 0, "last": len(blocks), "origin": 0}
        values["spans"] = spans(blocks, plan)
        for first, last in values["spans"].tolist():
            self._spans.append((first, last, int(blocks[first, 0])))
            self._longest = max(self._longest, int((blocks[first:last, 1] - blocks[first:last, 0]).sum()))
        partials = np.zeros((len(plan.norms), max(len(blocks), len(coarse))))
        values |= {"scalars": self.scalars, "norms": self.norms, "partials": partials}
        self._steps.append((kernel.step, tuple(values[name] for name in step_arguments(plan))))
        tables = [blocks] * len(plan.norms)
        for number, (p, function) in enumerate(zip(plan.passes, kernel.passes, strict=True)):
            table = coarse if p.coarse else blocks
            names = pass_arguments(plan, p)
            arguments = [table if name == "blocks" else values[name] for name in names]
            run = _over(function, names, arguments)
            whole = {"first": 0, "last": len(table), "origin": 0}
            given = tuple(whole.get(name, value) for name, value in zip(names, arguments, strict=True))
            self._whole[number].append((function, given))
            scratch = values.get(flat("update"))
            self._passes[number].append((functools.partial(run, origin=0, scratch=scratch), len(table)))
            self._span_passes.append(run)
            for norm in p.norms:
                tables[plan.norms.index(norm)] = table
        if kernel.combine is not None:
            self._combines.append(_combiner(kernel.combine, tables, self.norms, partials))
        self._partials.append((tables, partials))
        self.elements += int((blocks[:, 1] - blocks[:, 0]).sum())

    @property
    def norms(self) -> Array:
        """The total of each norm over each range, as the last step left it, before the root is taken."""
        return self._norms

    @property
    def numbers(self) -> Array:
        """What stands in `norms`, and after it what stands in ``scalars``, in one flat array."""
        return self._numbers

    def refresh_scalars(self) -> None:
        """Write what depends on the step that the cohorts are about to take."""
        columns = self.program.columns
        for cohort in self.cohorts:
            step = cohort.age + 1
            for function, arguments in cohort.bound:
                for name, value in function(step, *arguments).items():
                    if name in columns:
                        cohort.row[columns[name]] = value

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
            return self.program.plan.norms[stopped - 1] if stopped else None
        self.norms.fill(0.0)
        if get_num_threads() <= self._sharing:
            run_blocks(self._run_spans, len(self._spans), self.elements * self._widest)
            return None
        for whole, calls, moved, norms in self._rounds:
            if serial:
                for function, arguments in whole:
                    function(*arguments)
            else:
                for run, blocks in calls:
                    run_blocks(run, blocks, moved)
            for index, norm in norms:
                for combine in self._combines:
                    combine(index)
                if norm.nonfinite != "propagate" and not _all_finite(self.norms[index]):
                    return norm
        return None

    def _run_spans(self, first: int, last: int) -> None:
        """Run every pass over some spans, span by span, as the kernel for one thread does."""
        (combine,), plan = self._combines, self.program.plan
        scratch = getattr(self._scratch, "update", None)
        if scratch is None:
            size = self._longest if "update" in plan.arrays else 0
            scratch = self._scratch.update = np.empty(size, self.program.store.buffers[0].dtype)
        for start, stop, origin in self._spans[first:last]:
            for p, run in zip(plan.passes, self._span_passes, strict=True):
                run(start, stop, origin, scratch)
                for norm in p.norms:
                    combine(plan.norms.index(norm), start, stop)

    def norm_values(self, norm: Norm) -> Array:
        """A norm over each of its ranges, as the last step found it."""
        totals = self.norms[self.program.plan.norms.index(norm)][: self.program.store.counts[norm.scope]]
        return finished(norm.order, totals)

    def scalars_of(self, entry: Entry) -> dict[str, float]:
        """Every hyper-parameter of one parameter by name, as the last step used it.

        Raises:
            KeyError: if the parameter had no gradient, and so took no part.
        """
        row = next((row for row, cohort in enumerate(self.cohorts) if entry in cohort.entries), None)
        if row is None:
            raise KeyError(f"parameter {entry.name!r} had no gradient and was skipped")
        return dict(zip(self.program.plan.hypers, self.scalars[row].tolist(), strict=True))

    def norms_of(self, entry: Entry, unit: int = 0) -> dict[str, float]:
        """Every norm by name over the range that holds this parameter, or its unit ``unit``, as the last step found it.

        A norm at scope tensor or wider is the same for all units.
        """
        return {
            norm.name: float(self.norm_values(norm)[entry.ids[norm.scope] + (unit if norm.scope == "unit" else 0)])
            for norm in self.program.plan.norms
        }

    def norm_shares(self, norm: Norm) -> Array:
        """The norm of each cohort's part of each range: a row per cohort, a column per range."""
        plan, index = self.program.plan, self.program.plan.norms.index(norm)
        shares = np.zeros((len(self.cohorts), self.program.store.counts[norm.scope]))
        largest = np.zeros_like(shares)
        parts = []
        for tables, partials in self._parts_of_norms():
            table = tables[index]
            where = table[:, ROW], table[:, RANGES + plan.scopes.index(norm.scope)]
            parts.append((where, finished(norm.order, partials[index, : len(table)])))
            np.maximum.at(largest, *parts[-1])
        if norm.order == np.inf:
            return largest
        with np.errstate(invalid="ignore"):  # where the largest is 0 or infinite, it is the norm
            for where, norms in parts:
                np.add.at(shares, where, (norms / np.where(largest[where] > 0, largest[where], 1.0)) ** norm.order)
            return np.where(np.isinf(largest), largest, largest * shares ** (1 / norm.order))

    def _parts_of_norms(self) -> list[tuple[list[Array], Array]]:
        """For each buffer the table of blocks of each norm, and what each block found."""
        return self._partials

    def parts(self, scope: str) -> list[tuple[int, int]]:
        """Each pair of a cohort's row and the number of a range, at this scope, that some of its parameters are in."""
        return list(
            dict.fromkeys(
                (row, entry.ids[scope] + i)
                for row, cohort in enumerate(self.cohorts)
                for entry in cohort.entries
                for i in range(entry.units if scope == "unit" else 1)
            )
        )


def _all_finite(totals: Array) -> bool:
    # The sum alone says so in the usual case, in half the time; that of large numbers may be infinite.
    return math.isfinite(np.add.reduce(totals)) or bool(np.isfinite(totals).all())


def _over(function: Callable[..., None], names: Sequence[str], arguments: Sequence[Any]) -> Callable[..., None]:
    """Run a pass over some blocks, with a place for the running update in which the element ``origin`` stands first."""
    places = [names.index(name) if name in names else None for name in ("first", "last", "origin", flat("update"))]

    def run(first: int, last: int, origin: int, scratch: Array | None) -> None:
        given = list(arguments)
        for place, value in zip(places, (first, last, origin, scratch), strict=True):
            if place is not None:
                given[place] = value
        function(*given)

    return run


def _combiner(
    function: Callable[..., None], tables: Sequence[Array], norms: Array, partials: Array
) -> Callable[..., None]:
    """Add up norm ``index`` over some of its blocks, by default all, which are those of ``tables[index]``."""
    whole = [(index, table, 0, len(table), norms, partials) for index, table in enumerate(tables)]

    def combine(index: int, first: int = 0, last: int | None = None) -> None:
        if last is None:
            function(*whole[index])
        else:
            function(index, tables[index], first, last, norms, partials)

    return combine


def block_table(
    buffer: Buffer, rows: Mapping[str, int], scopes: Sequence[str], *, coarse: bool = False, size: int = 0
) -> Array:
    """Rows of start, stop, row of scalars, and the number of the range at each of ``scopes``.

    Without norms, neighbors with the same scalars are joined. With norms a block never spans two tensors, so that
    the sum over a tensor does not depend on what lies beside it. All are cut into pieces of at most ``size``
    elements, or `BLOCK`.
    """
    largest = size or BLOCK
    pieces = []
    for entry in buffer.entries:
        if entry.name not in rows or entry.start == entry.stop:
            continue
        parts = entry.units if "unit" in scopes and not coarse else 1
        number = np.arange(parts)
        length = (entry.stop - entry.start) // parts
        piece = np.empty((parts, RANGES + len(scopes)), np.int64)
        piece[:, 0] = entry.start + number * length
        piece[:, 1] = piece[:, 0] + length
        piece[:, 2] = rows[entry.name]
        for column, scope in enumerate(scopes, RANGES):
            piece[:, column] = entry.ids[scope] + (number if scope == "unit" else 0)
        pieces.append(piece)
    if not pieces:
        return np.empty((0, RANGES + len(scopes)), np.int64)
    table = np.concatenate(pieces)
    joins = (table[1:, 0] == table[:-1, 1]) & (table[1:, 2] == table[:-1, 2]) & (not scopes)
    first = np.flatnonzero(np.append(True, ~joins))
    last = np.append(first[1:], len(table)) - 1
    joined = table[first]
    joined[:, 1] = table[last, 1]
    counts = -(-(joined[:, 1] - joined[:, 0]) // largest)
    cut = np.repeat(joined, counts, axis=0)
    offset = np.arange(len(cut)) - np.repeat(np.cumsum(counts) - counts, counts)
    cut[:, 0] += offset * largest
    cut[:, 1] = np.minimum(cut[:, 0] + largest, cut[:, 1])
    return np.ascontiguousarray(cut)


def spans(blocks: Array, plan: Plan) -> Array:
    """Ranges of blocks that can run through all passes one after the other, each at least `BLOCK` elements.

    A norm over everything makes one span, and so does one that may stop the step before anything changes. Otherwise
    a span is some whole ranges of the widest scope, so that its second pass finds in cache what the first has read.
    """
    widest = max(plan.scopes, key=SCOPES.index, default="global")
    if widest == "global" or plan.mixed or any(norm.nonfinite != "propagate" for norm in plan.norms):
        return np.array([[0, len(blocks)]], np.int64)
    numbers = blocks[:, RANGES + plan.scopes.index(widest)]
    if (np.diff(numbers) < 0).any():  # parameters that moved here in another order: a range may be in several parts
        return np.array([[0, len(blocks)]], np.int64)
    ends = np.append(np.flatnonzero(np.diff(numbers)) + 1, len(blocks))
    found, first, elements = [], 0, 0
    done = np.concatenate(([0], np.cumsum(blocks[:, 1] - blocks[:, 0])))
    for end in ends.tolist():
        elements = done[end] - done[first]
        if elements >= BLOCK or end == len(blocks):
            found.append((first, end))
            first = end
    return np.array(found, np.int64).reshape(-1, 2)


def range_names(store: ParameterStore, scope: str) -> list[str]:
    """The names of the ranges at a scope, in the order of `Layout.norm_values`."""
    if scope == "global":
        return ["global"]
    if scope == "layer":
        return list(store.layers)
    names: list[tuple[int, str]] = []
    for entry in store.entries.values():
        rows = [entry.name]
        if scope == "unit" and entry.units > 1:
            rows = [f"{entry.name}[{i}]" for i in range(entry.units)]
        names += [(entry.ids[scope] + i, row) for i, row in enumerate(rows)]
    return [name for _, name in sorted(names)]
