"""Schedules that begin small: warm-up, inverse square root, warm-up-stable-decay."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .schedule import Schedule, Step, check_number, checked, choice, number, optional, whole
from .shapes import SHAPES, check_exponential, interpolate

WARMUPS = ("linear", "cosine", "exponential")


@dataclass(frozen=True, repr=False)
class Warmup(Schedule):
    """From η₀ · start_factor up to η₀ within T steps, and η₀ from then on.

    With p = t/T and the start factor a, the factor is a + (1 - a)p for ``"linear"``, a + (1 - a)(1 - cos πp)/2 for
    ``"cosine"``, and a^(1 - p) for ``"exponential"``. It leads into another schedule by `Join`, or scales one by
    `Product`.

    Args:
        total_iters: T.
        shape: ``"linear"``, ``"cosine"`` or ``"exponential"``.
        start_factor: a; above 0 for ``"exponential"``.

    Reference: Goyal et al., "Accurate, large minibatch SGD", 2017.

    >>> schedule = schedulers.Warmup(total_iters=3)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.267, 0.533, 0.8, 0.8]
    """

    total_iters: int = whole()
    shape: str = choice(WARMUPS, "linear")
    start_factor: float = number(0.0, low=0)

    def check(self) -> None:
        """An exponential curve begins above 0."""
        check_exponential("Warmup", self.shape, {"start_factor": self.start_factor})

    def value(self, step: Step, initial: float) -> float:
        """η₀ times the factor."""
        return initial * interpolate(self.shape, self.start_factor, 1.0, step / self.total_iters)


@dataclass(frozen=True, repr=False)
class InverseSqrt(Schedule):
    """Linear up to η₀ within w steps, then η₀ · √(τ / (τ + t - w)); with τ = w that is η₀ · √(w/t).

    Args:
        warmup_steps: w; 0 begins at η₀.
        timescale: τ, above 0; by default w, or 1 without warm-up.
        start_factor: the factor at t = 0.

    Reference: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 5.3.

    >>> schedule = schedulers.InverseSqrt(warmup_steps=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.4, 0.8, 0.653, 0.566]
    """

    warmup_steps: int = whole(0, low=0)
    timescale: float | None = field(
        default=None, metadata=checked(optional(lambda o, n, v: check_number(o, n, v, above=0)))
    )
    start_factor: float = number(0.0, low=0)

    def value(self, step: Step, initial: float) -> float:
        """η₀ times the factor."""
        if step < self.warmup_steps:
            return initial * interpolate("linear", self.start_factor, 1.0, step / self.warmup_steps)
        timescale = self.timescale or max(self.warmup_steps, 1)
        return initial * math.sqrt(timescale / (timescale + step - self.warmup_steps))


@dataclass(frozen=True, repr=False)
class WarmupStableDecay(Schedule):
    """Up to η₀, η₀ for a while, down to η₀ · end_factor, where it stays.

    Args:
        warmup_steps: the length of the first part; 0 for none.
        stable_steps: of the second.
        decay_steps: of the third.
        warmup: ``"linear"``, ``"cosine"`` or ``"exponential"``, as in `Warmup`.
        decay: likewise, or ``"sqrt"``: 1 - √p.
        start_factor: the factor at t = 0; above 0 for an exponential warm-up.
        end_factor: the factor at the end; above 0 for an exponential decay.

    Reference: Hu et al., "MiniCPM: unveiling the potential of small language models", 2024; the square root is from
    Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", NeurIPS 2024.

    >>> schedule = schedulers.WarmupStableDecay(2, 2, 2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(7)]
    [0.0, 0.4, 0.8, 0.8, 0.8, 0.4, 0.0]
    """

    warmup_steps: int = whole(low=0)
    stable_steps: int = whole(low=0)
    decay_steps: int = whole()
    warmup: str = choice(WARMUPS, "linear")
    decay: str = choice(SHAPES, "linear")
    start_factor: float = number(0.0, low=0)
    end_factor: float = number(0.0, low=0)

    def check(self) -> None:
        """Exponential curves begin and end above 0."""
        check_exponential("WarmupStableDecay", self.warmup, {"start_factor": self.start_factor})
        check_exponential("WarmupStableDecay", self.decay, {"end_factor": self.end_factor})

    def value(self, step: Step, initial: float) -> float:
        """η₀ times the factor of the part that t lies in."""
        if step < self.warmup_steps:
            return initial * interpolate(self.warmup, self.start_factor, 1.0, step / self.warmup_steps)
        step -= self.warmup_steps + self.stable_steps
        if step < 0:
            return initial
        return initial * interpolate(self.decay, 1.0, self.end_factor, step / self.decay_steps)
