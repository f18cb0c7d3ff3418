"""Watching updates: a step copies the values that it overwrites, so that it can be explained afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..autograd.hooks import FIRST, LAST, Hooks, RemovableHandle
from ..clipping import Clip
from ..kernels.layout import Layout
from ..kernels.plan import Plan
from ..kernels.store import Entry, ParameterStore
from ..rules import Rule
from ._state import Stateful, StateView, chosen_names

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


@dataclass
class Later:
    """The state of a chain that runs after every k-th update, after one step.

    Attributes:
        name, k: of the chain.
        counter: the number of updates so far, this one included; the chain has run if k divides it.
        rules, options: its rules, and the numbers that they read.
    """

    name: str
    k: int
    counter: int
    rules: tuple[Rule, ...]
    options: dict[str, float]


@dataclass
class Record:
    """Copies of the values before and after one step, and of the numbers that it used.

    Attributes:
        step: the number of the step, from 1.
        plan, store, clips: of the optimizer at that time.
        before: for each parameter by name ``param``, ``grad`` if it had one, and its state.
        ages: how many steps each parameter had taken before.
        groups: the number of each parameter's group.
        options: the numeric options of each group.
        carried: the numbers that rules carry from the step before, for each parameter.
        origins: for each group, texts that name what set the scheduled options.
        outcome: ``"updated"``, ``"skipped"``, or ``"stopped"`` by an error.
        overrides: for each parameter, the options in which it differed from its group.
        scalars: the hyper-parameters of each parameter that took part.
        norms: each norm over all its ranges.
        after: ``param`` and state after the optimizer's own chain.
        left: the same at the end, after chains with a period.
        later: the chains with a period.
    """

    step: int
    plan: Plan
    store: ParameterStore
    clips: tuple[Clip, ...]
    before: dict[str, Arrays]
    ages: dict[str, int]
    groups: dict[str, int]
    options: list[dict[str, float]]
    origins: list[dict[str, str]]
    carried: dict[str, dict[str, float]] = field(default_factory=dict)
    outcome: str = "stopped"
    overrides: dict[str, Mapping[str, float]] = field(default_factory=dict)
    scalars: dict[str, dict[str, float]] = field(default_factory=dict)
    norms: dict[str, Array] = field(default_factory=dict)
    after: dict[str, Arrays] = field(default_factory=dict)
    left: dict[str, Arrays] = field(default_factory=dict)
    later: tuple[Later, ...] = ()

    def entry(self, name: str) -> Entry:
        """The place of a parameter."""
        return self.store.entries[name]


class Watched(Stateful, Protocol):
    """The members of an optimizer that a watch reads."""

    steps: int
    stepped: bool
    _layout: Layout | None
    _group_of: dict[str, int]
    _pre_hooks: Hooks
    _update_hooks: Hooks
    _post_hooks: Hooks

    @property
    def state(self) -> StateView: ...
    def origins(self, group: int) -> dict[str, str]: ...
    def _all_carried(self) -> dict[str, dict[str, float]]: ...


class Watch:
    """A handle that keeps a `Record` of an optimizer's last step. Made by ``optimizer.watch()``.

    ``remove()`` ends it, as does leaving a ``with`` block; the last record stays until the optimizer is watched again.

    Attributes:
        record: the last step, or ``None`` before the first one.
        active: whether steps are still recorded.
    """

    def __init__(self, optimizer: Watched, names: str | Iterable[str] | None = None) -> None:
        self._names = None if names is None else set(chosen_names(optimizer, "watch", names))
        self._optimizer = optimizer
        self.record: Record | None = None
        self.active = True
        # After all other hooks before the step, and before all other hooks after it.
        self._handles = [
            RemovableHandle(optimizer._pre_hooks, self._begin, LAST, copied=False),
            RemovableHandle(optimizer._update_hooks, self._note_update, FIRST, copied=False),
            RemovableHandle(optimizer._post_hooks, self._end, FIRST, copied=False),
        ]

    def __getstate__(self) -> dict[str, Any]:
        """A copy keeps the last record, and does not watch."""
        self.last()
        return {**vars(self), "active": False, "_handles": []}

    def covers(self, name: str) -> bool:
        """Whether it watches this parameter."""
        return self._names is None or name in self._names

    def last(self) -> Record | None:
        """The last record. For a step that an error has stopped, it has the norms that were computed."""
        record = self.record
        if record is not None and record.outcome == "stopped" and self._optimizer.steps == record.step - 1:
            self._note_layout(record)
        return record

    def _begin(self, optimizer: Watched) -> None:
        program = optimizer.prepare()
        names = [name for name in optimizer.store.entries if self.covers(name)]
        options = [group.scalars() for group in optimizer.param_groups]
        self.record = Record(
            step=optimizer.steps + 1,
            plan=program.plan,
            store=optimizer.store,
            clips=optimizer.clips,
            before=self._arrays(names, with_grad=True),
            ages={name: age for name, age in optimizer._all_ages().items() if self.covers(name)},
            groups={name: optimizer._group_of[name] for name in names},
            options=options,
            origins=[optimizer.origins(number) for number in range(len(optimizer.param_groups))],
            carried=optimizer._all_carried(),
        )

    def _arrays(self, names: Iterable[str], with_grad: bool = False) -> dict[str, Arrays]:
        state, found = self._optimizer.state, {}
        for name in names:
            parameter = self._optimizer.store.entries[name].parameter
            arrays = {"param": parameter._data.copy()}
            if with_grad and parameter._grad is not None:
                arrays["grad"] = parameter._grad._data.copy()
            found[name] = arrays | {slot: array.copy() for slot, array in state[name].items() if slot != "step"}
        return found

    def _note_update(self, optimizer: Watched) -> None:
        """Keep the results of the optimizer's own chain, before others change them."""
        if self.record is not None:
            self.record.after = self._arrays(self.record.before)

    def _end(self, optimizer: Watched) -> None:
        record = self.record
        if record is None:  # hooks of a step that was under way when the watch began
            return
        self._note_layout(record)
        record.outcome = "updated" if optimizer.stepped else "skipped"
        record.left = self._arrays(record.before)
        record.after = record.after or record.left
        record.later = tuple(
            Later(each.name, each.k, each.counter, each.rules(record.plan.state), dict(each.options))
            for each in optimizer.periodic
        )

    def _note_layout(self, record: Record) -> None:
        layout = self._optimizer._layout
        if layout is None or layout.plan is not record.plan:
            return
        record.norms = {norm.name: np.array(layout.norm_values(norm)) for norm in record.plan.norms}
        for cohort in layout.cohorts:
            for entry in cohort.entries:
                if self.covers(entry.name):
                    record.scalars[entry.name] = layout.scalars_of(entry)
                    record.overrides[entry.name] = dict(cohort.overrides)

    def remove(self) -> None:
        """Record no further steps; doing so twice is harmless."""
        self.active = False
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
