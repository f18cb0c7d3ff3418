"""Schedules made of schedules: one after the other, multiplied, shifted, scaled."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .schedule import Schedule, Step, as_schedule, check_milestones, checked, number, whole


def _several(owner: str, name: str, value: Any) -> tuple[Schedule, ...]:
    if isinstance(value, Schedule) or not isinstance(value, Sequence):
        raise TypeError(f"{owner}: {name} must be a list of schedules, not {value!r}")
    if not value:
        raise ValueError(f"{owner}: the list of schedules is empty")
    return tuple(as_schedule(owner, each) for each in value)


def _one(owner: str, name: str, value: Any) -> Schedule:
    return as_schedule(owner, value)


@dataclass(frozen=True, repr=False)
class Join(Schedule):
    """One schedule after the other: each begins at its milestone, and counts its own steps from there.

    Args:
        schedules: in order; each follows the option's first value, not where the one before has left it.
        milestones: the steps at which the second, third, … begin.

    >>> schedule = schedulers.Join([schedulers.Warmup(2), schedulers.Exponential(0.5)], [2])
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.4, 0.8, 0.4, 0.2]
    """

    schedules: Sequence[Schedule] = field(metadata=checked(_several))
    milestones: Sequence[int] = field(metadata=checked(lambda o, n, v: check_milestones(o, n, v, strictly=True)))

    def check(self) -> None:
        """There is a milestone between any two neighbors."""
        if len(self.milestones) != len(self.schedules) - 1:
            raise ValueError(
                f"Join: {len(self.schedules)} schedules need {len(self.schedules) - 1} milestones, "
                f"not {len(self.milestones)}"
            )

    @property
    def relative(self) -> bool:
        """Whether all of them are."""
        return all(schedule.relative for schedule in self.schedules)

    def reference(self, initial: float) -> float:
        """The highest one."""
        return max(schedule.reference(initial) for schedule in self.schedules)

    def value(self, step: Step, initial: float) -> float:
        """The value of the schedule whose turn it is."""
        turn = bisect_right(self.milestones, step)
        return self.schedules[turn].value(step - (self.milestones[turn - 1] if turn else 0), initial)


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    """The product of factors: each schedule has the value of the one before as its first value.

    A floor such as ``eta_min`` is so a floor of the value, not of a factor, where its schedule is the last one.

    Args:
        schedules: all but the first must follow the option's first value.

    >>> schedule = schedulers.Product([schedulers.Warmup(2), schedulers.Exponential(0.5)])
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.2, 0.2, 0.1, 0.05]
    """

    schedules: Sequence[Schedule] = field(metadata=checked(_several))

    def check(self) -> None:
        """Nothing after the first forgets what came before it."""
        for schedule in self.schedules[1:]:
            if not schedule.relative:
                raise ValueError(
                    f"Product: {type(schedule).__name__} gives values of its own, so what comes before it would have "
                    "no effect; put it first"
                )

    @property
    def relative(self) -> bool:
        """Whether the first one is."""
        return self.schedules[0].relative

    def reference(self, initial: float) -> float:
        """That of the first one, which the others scale."""
        return self.schedules[0].reference(initial)

    def value(self, step: Step, initial: float) -> float:
        """The product at t."""
        for schedule in self.schedules:
            initial = schedule.value(step, initial)
        return initial


@dataclass(frozen=True, repr=False)
class Shift(Schedule):
    """Later by some steps: s(t - steps), and s(0) before that.

    Args:
        schedule: s.
        steps: how much later; below 0 it begins further on.

    >>> schedule = schedulers.Shift(schedulers.Exponential(0.5), 2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.8, 0.8, 0.4, 0.2]
    """

    schedule: Schedule = field(metadata=checked(_one))
    steps: int = whole(low=-(2**62))

    @property
    def relative(self) -> bool:
        """Whether the schedule is."""
        return self.schedule.relative

    def reference(self, initial: float) -> float:
        """That of the schedule."""
        return self.schedule.reference(initial)

    def value(self, step: Step, initial: float) -> float:
        """s(t - steps)."""
        return self.schedule.value(max(step - self.steps, 0), initial)


@dataclass(frozen=True, repr=False)
class Scale(Schedule):
    """c · s(t).

    Args:
        schedule: s.
        factor: c.

    >>> schedule = schedulers.Scale(schedulers.Exponential(0.5), 2.0)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [1.6, 0.8, 0.4, 0.2, 0.1]
    """

    schedule: Schedule = field(metadata=checked(_one))
    factor: float = number()

    @property
    def relative(self) -> bool:
        """Whether the schedule is."""
        return self.schedule.relative

    def reference(self, initial: float) -> float:
        """That of the schedule."""
        return self.schedule.reference(initial)

    def value(self, step: Step, initial: float) -> float:
        """c · s(t)."""
        return self.factor * self.schedule.value(step, initial)


@dataclass(frozen=True, repr=False)
class Hold(Schedule):
    """s(at) at every step.

    Args:
        schedule: s.
        at: the step whose value is held.

    >>> schedule = schedulers.Hold(schedulers.Exponential(0.5), at=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.2, 0.2, 0.2, 0.2, 0.2]
    """

    schedule: Schedule = field(metadata=checked(_one))
    at: int = whole(low=0)

    @property
    def relative(self) -> bool:
        """Whether the schedule is."""
        return self.schedule.relative

    def reference(self, initial: float) -> float:
        """That of the schedule."""
        return self.schedule.reference(initial)

    def value(self, step: Step, initial: float) -> float:
        """s(at)."""
        return self.schedule.value(self.at, initial)
