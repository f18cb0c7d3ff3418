"""Cosine annealing, once or with warm restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .schedule import Schedule, Step, flag, number, whole


def _anneal(initial: float, eta_min: float, part: float) -> float:
    return eta_min + (initial - eta_min) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True, repr=False)
class CosineAnnealing(Schedule):
    """η_min + ½ (η₀ - η_min) (1 + cos(πt/T)), and η_min after T.

    Args:
        T_max: T.
        eta_min: η_min.
        repeat: after T the cosine goes up again, as in PyTorch: a period of 2T.

    Reference: Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, equation 5
    without restarts.

    >>> schedule = schedulers.CosineAnnealing(T_max=4)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.683, 0.4, 0.117, 0.0]
    """

    T_max: int = whole()
    eta_min: float = number(0.0)
    repeat: bool = flag(False)

    def value(self, step: Step, initial: float) -> float:
        """The cosine at t."""
        if step >= self.T_max and not self.repeat:
            return self.eta_min
        # Within one period cos is as exact late in a run as at its beginning.
        return _anneal(initial, self.eta_min, step % (2 * self.T_max) / self.T_max)


@dataclass(frozen=True, repr=False)
class WarmRestarts(Schedule):
    """η_min + ½ (η₀ - η_min) (1 + cos(π T_cur / T_i)), T_cur steps after the start of a cycle of T_i steps.

    The first cycle has T_0 steps, each later one T_mult times as many. Where a cycle starts is computed with whole
    numbers; the logarithm of PyTorch's ``step(epoch)`` misses some starts.

    Args:
        T_0: the length of the first cycle.
        T_mult: how many times longer the next one is.
        eta_min: η_min.

    Reference: Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.

    >>> schedule = schedulers.WarmRestarts(T_0=2, T_mult=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(7)]
    [0.8, 0.4, 0.8, 0.683, 0.4, 0.117, 0.8]
    """

    T_0: int = whole()
    T_mult: int = whole(1)
    eta_min: float = number(0.0)

    def cycle(self, step: Step) -> tuple[Step, int, int]:
        """T_cur, T_i, and the number of restarts so far."""
        if self.T_mult == 1:
            return step % self.T_0, self.T_0, int(step // self.T_0)
        length, restarts = self.T_0, 0
        while step >= length:
            step -= length
            length *= self.T_mult
            restarts += 1
        return step, length, restarts

    def value(self, step: Step, initial: float) -> float:
        """The cosine within the cycle."""
        current, length, _ = self.cycle(step)
        return _anneal(initial, self.eta_min, current / length)
