"""Schedule: a pure function from step to value; and schedules composed of functions and of other schedules."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Integral
from typing import Any

from ..checks import check_fields, checked, function, is_number, number, owner_name, shown, whole

__all__ = ["Function", "Hold", "Join", "Product", "Scale", "Schedule", "Shift"]

Step = int | float


class Schedule:
    """The value of an option at any step t, in any order of steps: ``schedule(t, initial=1.0)``.

    ``initial`` is the first value of the option, η₀. Most schedules multiply it by a factor, and return that factor
    for the default of 1. Steps count from 0 and may be fractions. A new schedule is a frozen dataclass that declares
    its numbers and defines `value`::

        from minigrad.checks import checked, whole

        @dataclass(frozen=True, repr=False)
        class Halving(Schedule):
            every: int = checked(whole)

            def value(self, step, initial):
                return initial * 0.5 ** (step // self.every)

    Raises:
        ValueError: for a number outside its range, and for a step that is negative or not finite.
        TypeError: for a value that is not a number.
    """

    @property
    def relative(self) -> bool:
        """Whether the values depend on ``initial``; if not, the schedule gives absolute values."""
        return True

    def reference(self, initial: float) -> float:
        """The value that counts as a factor of 1: ``initial``, or the peak of a schedule with absolute values."""
        return initial

    def value(self, step: Step, initial: float) -> float:
        """The value at a step that has been checked."""
        raise NotImplementedError(f"{type(self).__name__} does not define value(step, initial)")

    def evaluate(self, step: Step, initial: float) -> float:
        """The value at a step that has been checked, as a Python float.

        Raises:
            ValueError: naming the schedule and the step, if the value overflows or is NaN.
            TypeError: likewise, if it is not a number.
        """
        try:
            value = self.value(step, initial)
            if type(value) is float and math.isfinite(value):
                return value
            if not is_number(value):
                raise TypeError(f"{self!r} must be a number at step {step}, not {value!r}")
            found = float(value)
            # A function may return infinity, such as the threshold of a clip that is off.
            if math.isinf(found) and math.isfinite(initial) and self.relative:
                raise OverflowError
        except OverflowError:
            raise ValueError(f"{self!r} is too large for a float at step {step}") from None
        if math.isnan(found):
            raise ValueError(f"{self!r} is NaN at step {step}")
        return found

    def __call__(self, step: Step, initial: float = 1.0) -> float:
        """The value at ``step`` of an option whose first value is ``initial``."""
        return self.evaluate(check_step(self, step), initial)

    def __post_init__(self) -> None:
        check_fields(self)
        self.check()

    def check(self) -> None:
        """Raise ValueError if two settings, each valid by itself, contradict each other."""

    def __repr__(self) -> str:
        names = [each.name for each in fields(self) if each.repr]  # type: ignore[arg-type]  # subclasses are dataclasses
        return f"{type(self).__name__}({', '.join(f'{name}={_code(getattr(self, name))}' for name in names)})"


def _code(value: Any) -> str:
    """The value as code; a function by its name, because its address differs from run to run."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_code, value))}]"
    if callable(value) and not isinstance(value, Schedule):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return repr(value)


# --- checks of steps and results -------------------------------------------------------------------------------------


def check_step(owner: Any, step: Any) -> Step:
    """A step or epoch of 0 or more: a Python int if its type is an integer, otherwise a float."""
    if isinstance(step, Integral):
        return whole(owner, "a step", step, least=0)
    return number(owner, "a step", step, low=0)


def check_milestones(owner: Any, name: str, value: Any, least: int, twice: bool) -> tuple[int, ...]:
    """Whole numbers of ``least`` or more in increasing order; ``twice`` allows equal neighbors."""
    kind = owner_name(owner)
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{kind}: {name} must be a list of whole numbers, not {shown(value)}")
    found = tuple(whole(owner, f"each of {name}", each, least) for each in value)
    if any(after < before or (after == before and not twice) for before, after in pairwise(found)):
        raise ValueError(f"{kind}: {name} must be increasing, not {list(found)}")
    return found


def call(owner: Any, function: Callable[..., Any], step: Step) -> float:
    """The result of a user's function, as a Python float."""
    result = function(step)
    where = f"{type(owner).__name__}: {_code(function)}({step})"
    try:
        return float(result)
    except OverflowError:
        raise ValueError(f"{where} is too large for a float") from None
    except (TypeError, ValueError):
        raise TypeError(f"{where} must be a number, not {result!r}") from None


# --- a user's function -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Function(Schedule):
    """f(t), regardless of the option's first value.

    Args:
        function: f, from step to value; it must depend on nothing else.
    """

    function: Callable[..., float] = checked(function)
    relative = False

    def value(self, step: Step, initial: float) -> float:
        return call(self, self.function, step)


def as_schedule(owner: Any, schedule: Any) -> Schedule:
    """A schedule itself; any other function of the step as a `Function`."""
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(
            f"{owner_name(owner)}: a schedule must be a Schedule or a function of the step, not {shown(schedule)}"
        )
    return Function(schedule)


# --- composed schedules ----------------------------------------------------------------------------------------------


def _one(owner: Any, name: str, value: Any) -> Schedule:
    return as_schedule(owner, value)


def _several(owner: Any, name: str, value: Any) -> tuple[Schedule, ...]:
    kind = owner_name(owner)
    if isinstance(value, Schedule) or not isinstance(value, Sequence):
        raise TypeError(f"{kind}: {name} must be a list of schedules, not {shown(value)}")
    if not value:
        raise ValueError(f"{kind}: the list of schedules is empty")
    return tuple(as_schedule(owner, each) for each in value)


@dataclass(frozen=True, repr=False)
class Join(Schedule):
    """One schedule after the other: each begins at its milestone, and counts its own steps from there.

    Args:
        schedules: in order; each follows the option's first value, not the last value of its predecessor.
        milestones: the steps at which the second, third, … begin.

    >>> schedule = schedulers.Join([schedulers.Warmup(2), schedulers.Exponential(0.5)], [2])
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.4, 0.8, 0.4, 0.2]
    """

    schedules: Sequence[Schedule] = checked(_several)
    milestones: Sequence[int] = checked(check_milestones, least=1, twice=False)

    def check(self) -> None:
        """Raise ValueError unless there is one milestone between any two neighbors."""
        needed = len(self.schedules) - 1
        if len(self.milestones) != needed:
            raise ValueError(
                f"Join: {len(self.schedules)} schedules need {needed} milestones, not {len(self.milestones)}"
            )

    @property
    def relative(self) -> bool:
        """Whether all of them are."""
        return all(schedule.relative for schedule in self.schedules)

    def reference(self, initial: float) -> float:
        """The highest reference of them."""
        return max(schedule.reference(initial) for schedule in self.schedules)

    def value(self, step: Step, initial: float) -> float:
        turn = bisect_right(self.milestones, step)
        return self.schedules[turn].value(step - (self.milestones[turn - 1] if turn else 0), initial)


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    """The product of factors: each schedule takes the value of its predecessor as its first value.

    A floor such as ``eta_min`` of the last schedule is therefore a floor of the value, not of a factor.

    Args:
        schedules: all but the first must depend on the option's first value.

    >>> schedule = schedulers.Product([schedulers.Warmup(2), schedulers.Exponential(0.5)])
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.2, 0.2, 0.1, 0.05]
    """

    schedules: Sequence[Schedule] = checked(_several)

    def check(self) -> None:
        """Raise ValueError if a schedule ignores what comes before it."""
        for schedule in self.schedules[1:]:
            if not schedule.relative:
                raise ValueError(
                    f"Product: {type(schedule).__name__} gives absolute values, so what comes before it would have "
                    "no effect; put it first"
                )

    @property
    def relative(self) -> bool:
        """Whether the first one is."""
        return self.schedules[0].relative

    def reference(self, initial: float) -> float:
        """The reference of the first one, which the others scale."""
        return self.schedules[0].reference(initial)

    def value(self, step: Step, initial: float) -> float:
        for schedule in self.schedules:
            initial = schedule.value(step, initial)
        return initial


@dataclass(frozen=True, repr=False)
class _OfOne(Schedule):
    """A schedule that modifies one other schedule s; its values are absolute if the values of s are."""

    schedule: Schedule = checked(_one)

    @property
    def relative(self) -> bool:
        return self.schedule.relative

    def reference(self, initial: float) -> float:
        return self.schedule.reference(initial)


@dataclass(frozen=True, repr=False)
class Shift(_OfOne):
    """s(t - steps), and s(0) before that.

    Args:
        schedule: s.
        steps: how many steps later; a negative number skips as many steps of s.

    >>> schedule = schedulers.Shift(schedulers.Exponential(0.5), 2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.8, 0.8, 0.4, 0.2]
    """

    steps: int = checked(whole, least=None)

    def value(self, step: Step, initial: float) -> float:
        return self.schedule.value(max(step - self.steps, 0), initial)


@dataclass(frozen=True, repr=False)
class Scale(_OfOne):
    """c · s(t).

    Args:
        schedule: s.
        factor: c.

    >>> schedule = schedulers.Scale(schedulers.Exponential(0.5), 2.0)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [1.6, 0.8, 0.4, 0.2, 0.1]
    """

    factor: float = checked(number)

    def value(self, step: Step, initial: float) -> float:
        return self.factor * self.schedule.value(step, initial)


@dataclass(frozen=True, repr=False)
class Hold(_OfOne):
    """s(at) at every step.

    Args:
        schedule: s.
        at: the step whose value is held.

    >>> schedule = schedulers.Hold(schedulers.Exponential(0.5), at=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.2, 0.2, 0.2, 0.2, 0.2]
    """

    at: int = checked(whole, least=0)

    def value(self, step: Step, initial: float) -> float:
        return self.schedule.value(self.at, initial)
