"""Periodic: a second chain of an optimizer, which runs after every k-th update."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..autograd.graph import tick
from ..checks import same_keys, same_value, whole_number
from ..kernels.cohort import Member
from ..kernels.layout import Layout
from ..kernels.plan import Plan
from ..kernels.program import Program
from ..kernels.store import ParameterStore
from ..rules import Rule
from ._slots import Slots

# Rules, or a function that chooses them by the names of the state that the optimizer's own chain keeps.
Rules = Sequence[Rule] | Callable[[tuple[str, ...]], Sequence[Rule]]


class Periodic:
    """A chain that runs after every ``k``-th update, on the parameters that it moved. Made by `Optimizer.every`.

    Steps that a clip skips are not counted. State that begins as ``"param"`` begins at the values that a parameter has
    just before its first step, so that weights can be loaded until then.

    Attributes:
        name: its name in messages; its key in a state dict is the same in lower case.
        k: the number of updates per run. May be set.
        options: the numbers that its rules read by name. They may be set.
        settings: further values that a state dict compares.
        state: the first value of each slot that it keeps: a number or ``"param"``.
        counter: the number of updates so far.
    """

    def __init__(
        self,
        name: str,
        k: int,
        rules: Rules,
        state: Mapping[str, float | str],
        options: Mapping[str, float],
        settings: Mapping[str, Any],
    ) -> None:
        self.name, self.k, self._rules = name, k, rules
        self.state, self.options, self.settings = dict(state), dict(options), dict(settings)
        self.counter = 0
        self._layout: Layout | None = None
        self._main: Callable[[], Layout | None] = _nothing  # the layout of the update that `_layout` belongs to

    def __getstate__(self) -> dict[str, Any]:
        """Everything except compiled kernels; a shallow copy has its own options."""
        return {**vars(self), "options": dict(self.options), "_layout": None, "_main": _nothing}

    def rules(self, state: tuple[str, ...]) -> tuple[Rule, ...]:
        """The rules, for an optimizer whose own chain keeps this state."""
        return tuple(self._rules(state) if callable(self._rules) else self._rules)

    def plan(self, state: tuple[str, ...]) -> Plan:
        """The plan of the rules. They may move parameters, or only keep state, as an average of the weights does.

        Raises:
            ValueError: for rules that would change nothing, or compute numbers from the step.
        """
        rules = self.rules(state)
        for each in rules:
            if each.scalars is not None:
                raise ValueError(
                    f"{self.name}: rule {each.name!r} computes numbers from the step, which a chain with a period does "
                    "not have; count in a slot of state instead"
                )
        return Plan(rules, purpose=("param", *(slot for rule in rules for slot in rule.state)))

    def program(self, store: ParameterStore, state: tuple[str, ...]) -> Program:
        """The compiled chain."""
        return Program(self.plan(state), store)

    def is_due(self) -> bool:
        """Whether the update that was counted last is one that it follows."""
        return self.counter % self.k == 0

    def begin(self, ages: Mapping[str, int], slots: Slots) -> None:
        """Give the parameters that have not taken a step their first state."""
        fresh = [name for name, age in ages.items() if not (self.counter and age)]
        for slot, first in self.state.items():
            if first == "param":
                slots.fill(slot, first, fresh)

    def run(self, main: Layout, store: ParameterStore, slots: Slots) -> None:
        """Run the rules on the parameters that ``main``, the layout of the update, has moved."""
        if self._layout is None or self._main() is not main:
            program = self.program(store, main.plan.state)
            moved = (Member(entry) for entry in store.entries.values() if entry not in main.missing)
            self._layout = program.lay_out(moved, slots.by_buffer())
            self._main = weakref.ref(main)
        layout = self._layout
        layout.bind_options([self.options])
        layout.run()
        now = tick()
        for version in layout.versions:
            version[0] = now

    # --- its part of a state dict ------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Its key in a state dict."""
        return self.name.lower()

    def _compared(self) -> dict[str, Any]:
        return {"k": self.k, **self.options, **self.settings}

    def exported(self) -> dict[str, Any]:
        """Its settings, and the number of updates so far."""
        return {**self._compared(), "counter": self.counter}

    def checked_counter(self, saved: Mapping[str, Any]) -> int:
        """The counter in its part of a state dict.

        Raises:
            ValueError: if that was saved with other settings, or is damaged.
        """
        compared = self._compared()
        same_keys(f"state of {self.name}", saved, (*compared, "counter"))
        for name, value in compared.items():
            same_value(f"{self.name}: {name}", saved[name], value)
        return whole_number(f"state of {self.name}: counter", saved["counter"])


def _nothing() -> None:
    return None
