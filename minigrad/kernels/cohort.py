"""Cohorts: parameters that share every scalar of a step, and the scalars themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .plan import Plan
from .store import Entry

Array = npt.NDArray[Any]
StepFunction = Callable[..., Mapping[str, float]]

# How many results of a function that carries numbers are kept, up to that of the last step that was taken.
_KEPT = 2
_NOTHING: Mapping[str, float] = MappingProxyType({})


class Member(NamedTuple):
    """A parameter that takes part in a step, with everything that its scalars depend on.

    Attributes:
        entry: the parameter.
        group: the number of its param group.
        age: how many steps it has taken.
        overrides: the options in which it differs from its group.
        carried: the numbers that rules carry for it from the step before.
    """

    entry: Entry
    group: int = 0
    age: int = 0
    overrides: Mapping[str, float] = _NOTHING
    carried: Mapping[str, float] = _NOTHING


class Cohort:
    """Members that share every scalar of a step: of one group, with the same overrides, age and carried numbers.

    Attributes:
        group, age, overrides: shared by the members; the age grows with each step.
        entries: the parameters.
        row: its row of scalars, a view of the layout's table.
        bound: the functions of the step, each with the options that it takes.
    """

    def __init__(self, first: Member) -> None:
        self.group, self.age, self.overrides = first.group, first.age, dict(first.overrides)
        self.entries: list[Entry] = []
        self.row: Array = np.empty(0)
        self.bound: list[tuple[StepFunction, tuple[float, ...]]] = []
        # For each function that carries numbers, its results for the last steps, by the number of the step.
        self._past: dict[StepFunction, dict[int, Mapping[str, float]]] = {}
        self._first, self._carry = dict(first.carried), set[str]()
        self._computed: frozenset[str] = frozenset()  # the scalars that functions have given

    def bind(self, plan: Plan, options: Mapping[str, float], given: Mapping[str, Any]) -> None:
        """Take over options, and write the scalars that do not depend on the step.

        Args:
            plan: the plan, whose rules read the scalars.
            options: the numbers among the options of the group, by the names that rules know.
            given: all given options of the group, for error messages.

        Raises:
            TypeError: if a rule, or the function that computes its scalars, needs an option that is missing.
        """
        known = {**options, **self.overrides}
        self.bound = []
        for function, names, carry in plan.functions:
            for name in names:
                if name not in known:
                    raise TypeError(_missing_number(f"{function.__name__}()", name, given))
            called = self._carrying(function, carry) if carry else function
            self.bound.append((called, tuple(known[name] for name in names)))
        for name, column in plan.columns.items():
            if name in known:
                self.row[column] = known[name]
        unset = [name for name in plan.columns if name not in known and name not in self._computed]
        if unset:
            self._check_set(plan, unset, given)

    def _check_set(self, plan: Plan, unset: Iterable[str], given: Mapping[str, Any]) -> None:
        """Raise TypeError if a rule reads a scalar that neither an option nor a function of the step gives."""
        step = self.age + 1  # what a function gives, it shows only by running
        self._computed = frozenset(name for function, arguments in self.bound for name in function(step, *arguments))
        for name in unset:
            if name not in self._computed:
                users = [rule.name for rule in plan.rules if name in rule.hypers] or ["a norm"]
                raise TypeError(_missing_number(f"rule {users[0]!r}", name, given))

    def _carrying(self, function: StepFunction, names: Sequence[str]) -> StepFunction:
        """The function of the step, called with its results under these names for the previous step.

        A step that is not taken leaves the age unchanged, and with it the numbers of the next call.
        """
        past = self._past.setdefault(function, {self.age: self._first})
        self._carry.update(names)

        def carried(step: int, *arguments: float) -> Mapping[str, float]:
            before = past[step - 1]
            found = past[step] = function(step, *arguments, **{name: before.get(name) for name in names})
            past.pop(self.age - _KEPT, None)  # by age: steps computed ahead may not all be taken
            return found

        return carried

    def advance(self, steps: int) -> None:
        """Take over that the members have taken some steps, whose scalars were computed before."""
        self.age += steps
        for past in self._past.values():
            for step in [step for step in past if step <= self.age - _KEPT]:
                del past[step]

    def carried(self) -> dict[str, float]:
        """The numbers that rules carry, after the last step."""
        found = dict(self._first)
        for past in self._past.values():
            found |= {name: value for name, value in past[self.age].items() if name in self._carry}
        return found


def cohorts_of(members: Iterable[Member]) -> list[Cohort]:
    """The fewest cohorts that the members form, in order of their first members."""
    found: dict[tuple[Any, ...], Cohort] = {}
    for member in members:
        key = (member.group, member.age, tuple(sorted(member.overrides.items())), tuple(member.carried.items()))
        if key not in found:
            found[key] = Cohort(member)
        found[key].entries.append(member.entry)
    return list(found.values())


def _missing_number(user: str, name: str, given: Mapping[str, Any]) -> str:
    """The error text if the options of a param group do not give a number that a rule reads."""
    stem = name.rstrip("0123456789")
    plural, place = f"{stem}s", name.removeprefix(stem)
    if name in given:
        value = given[name]
        return (
            f"{user} needs a number for {name!r}, which is {value!r}, of type {type(value).__name__}; pass a number: "
            f"{name}=..., or optimizer.param_groups[i][{name!r}] = ..."
        )
    if place and plural in given:
        value = given[plural]
        return (
            f"{user} needs {name!r}, number {place} of {plural!r}, which is {value!r}; pass a tuple of at least "
            f"{place} numbers: {plural}=(...), or optimizer.param_groups[i][{plural!r}] = (...)"
        )
    return f"{user} needs {name!r}, which is not an option of the param group; add it to the optimizer's defaults"
