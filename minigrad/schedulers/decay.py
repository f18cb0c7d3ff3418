"""Schedules that fall by a formula: step, exponential, linear, polynomial, and by a user's function."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .schedule import Schedule, Step, check_function, check_milestones, check_result, checked, number, whole


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """η₀ · γ^⌊t / step_size⌋.

    Args:
        step_size: steps between two decays.
        gamma: γ, 0 or more.

    >>> schedule = schedulers.StepDecay(step_size=2, gamma=0.5)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.8, 0.4, 0.4, 0.2]
    """

    step_size: int = whole()
    gamma: float = number(0.1, low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · γ^⌊t / step_size⌋."""
        return initial * self.gamma ** (step // self.step_size)


@dataclass(frozen=True, repr=False)
class MultiStep(Schedule):
    """η₀ · γ^n, where n milestones lie at or before t.

    Args:
        milestones: steps in increasing order; one that is there twice counts twice.
        gamma: γ, 0 or more.

    >>> schedule = schedulers.MultiStep([1, 3], gamma=0.5)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.4, 0.4, 0.2, 0.2]
    """

    milestones: Sequence[int] = field(metadata=checked(lambda o, n, v: check_milestones(o, n, v, strictly=False)))
    gamma: float = number(0.1, low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · γ^n."""
        return initial * self.gamma ** bisect_right(self.milestones, step)


@dataclass(frozen=True, repr=False)
class Exponential(Schedule):
    """η₀ · γ^t.

    Args:
        gamma: γ, 0 or more.

    >>> schedule = schedulers.Exponential(gamma=0.5)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.4, 0.2, 0.1, 0.05]
    """

    gamma: float = number(low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · γ^t."""
        return initial * self.gamma**step


@dataclass(frozen=True, repr=False)
class ExponentialRate(Schedule):
    """η₀ · e^(-λt).

    Args:
        rate: λ, 0 or more.

    >>> schedule = schedulers.ExponentialRate(rate=0.5)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.485, 0.294, 0.179, 0.108]
    """

    rate: float = number(low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · e^(-λt)."""
        return initial * math.exp(-self.rate * step)


@dataclass(frozen=True, repr=False)
class Constant(Schedule):
    """η₀ · factor before total_iters, η₀ from then on.

    Args:
        factor: 0 or more; PyTorch stops at 1.
        total_iters: the number of steps with the factor.

    >>> schedule = schedulers.Constant(factor=0.5, total_iters=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.4, 0.4, 0.8, 0.8, 0.8]
    """

    factor: float = number(1 / 3, low=0)
    total_iters: int = whole(5, low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · factor, or η₀."""
        return initial * self.factor if step < self.total_iters else initial


@dataclass(frozen=True, repr=False)
class Linear(Schedule):
    """η₀ · (a + (b - a) · min(t, T) / T).

    Args:
        start_factor: a, 0 or more; PyTorch allows neither 0 nor more than 1.
        end_factor: b, 0 or more.
        total_iters: T.

    >>> schedule = schedulers.Linear(1.0, 0.0, total_iters=4)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.6, 0.4, 0.2, 0.0]
    """

    start_factor: float = number(1 / 3, low=0)
    end_factor: float = number(1.0, low=0)
    total_iters: int = whole(5)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · (a + (b - a) · min(t, T) / T)."""
        part = min(step, self.total_iters) / self.total_iters
        return initial * (self.start_factor + (self.end_factor - self.start_factor) * part)


@dataclass(frozen=True, repr=False)
class Polynomial(Schedule):
    """η₀ · (1 - min(t, T) / T)^power.

    Args:
        total_iters: T.
        power: above 0.

    >>> schedule = schedulers.Polynomial(total_iters=4, power=2.0)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.45, 0.2, 0.05, 0.0]
    """

    total_iters: int = whole(5)
    power: float = number(1.0, above=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · (1 - min(t, T) / T)^power."""
        return initial * (1 - min(step, self.total_iters) / self.total_iters) ** self.power


@dataclass(frozen=True, repr=False)
class Lambda(Schedule):
    """η₀ · f(t).

    Args:
        function: f, from step to factor; it must depend on nothing else.

    >>> schedule = schedulers.Lambda(lambda step: 1 / (1 + step))
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.4, 0.267, 0.2, 0.16]
    """

    function: Callable[..., float] = field(metadata=checked(check_function))

    def value(self, step: Step, initial: float) -> float:
        """η₀ · f(t)."""
        factor = self.function(step)
        return initial * check_result("Lambda", self.function, step, factor)


@dataclass(frozen=True, repr=False)
class Multiplicative(Schedule):
    """η₀ · f(1) · f(2) · … · f(t).

    The products are kept, so that a step after another costs one call of f.

    Args:
        function: f, from step to factor; it must depend on nothing else.

    Raises:
        ValueError: for a step that is a fraction.

    >>> schedule = schedulers.Multiplicative(lambda step: 1 / step)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.8, 0.4, 0.133, 0.033]
    """

    function: Callable[..., float] = field(metadata=checked(check_function))
    _products: list[float] = field(default_factory=lambda: [1.0], init=False, repr=False, compare=False)

    def value(self, step: Step, initial: float) -> float:
        """η₀ · f(1) · … · f(t)."""
        if step != int(step):
            raise ValueError(f"Multiplicative: the product over steps needs a whole step, not {step!r}")
        for k in range(len(self._products), int(step) + 1):
            factor = check_result("Multiplicative", self.function, k, self.function(k))
            self._products.append(self._products[-1] * factor)
        return initial * self._products[int(step)]
