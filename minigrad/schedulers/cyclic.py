"""Cyclic and one-cycle schedules: their values are given, and do not follow the option's first one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .schedule import (
    Schedule,
    Step,
    check_function,
    check_number,
    check_result,
    checked,
    choice,
    flag,
    number,
    optional,
    whole,
)
from .shapes import interpolate


@dataclass(frozen=True, repr=False)
class Cyclic(Schedule):
    """base + (max - base) · s · f: s goes from 0 up to 1 and back in each cycle, f shrinks the cycles.

    Args:
        base_value: at the ends of a cycle.
        max_value: at the peak of the first; it may lie below ``base_value``, as for momentum.
        step_size_up: steps from the base to the peak.
        step_size_down: steps back; by default as many.
        mode: f is 1 (``"triangular"``), 2^(1 - cycle) (``"triangular2"``), or γ^t (``"exp_range"``).
        gamma: γ.
        scale_fn: f instead of the mode's.
        scale_mode: with ``scale_fn``: f depends on the number of the ``"cycle"``, from 1, or on ``"iterations"``, t.

    Reference: Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    >>> schedule = schedulers.Cyclic(0.1, 0.5, 2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(6)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """

    base_value: float = number()
    max_value: float = number()
    step_size_up: float = number(2000, above=0)
    step_size_down: float | None = field(
        default=None, metadata=checked(optional(lambda o, n, v: check_number(o, n, v, above=0)))
    )
    mode: str = choice(("triangular", "triangular2", "exp_range"), "triangular")
    gamma: float = number(1.0, low=0)
    scale_fn: Callable[..., float] | None = field(default=None, metadata=checked(optional(check_function)))
    scale_mode: str = choice(("cycle", "iterations"), "cycle")

    @property
    def relative(self) -> bool:
        """No: both ends are given."""
        return False

    def reference(self, initial: float) -> float:
        """The upper end."""
        return max(self.base_value, self.max_value)

    def value(self, step: Step, initial: float) -> float:
        """base + (max - base) · s · f."""
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, position = divmod(step, up + down)
        height = position / up if position <= up else (up + down - position) / down
        return self.base_value + (self.max_value - self.base_value) * height * self._scale(step, int(cycle) + 1)

    def _scale(self, step: Step, cycle: int) -> float:
        if self.scale_fn is not None:
            at = cycle if self.scale_mode == "cycle" else step
            return check_result("Cyclic", self.scale_fn, at, self.scale_fn(at))
        if self.mode == "exp_range":
            return self.gamma**step
        return 0.5 ** (cycle - 1) if self.mode == "triangular2" else 1.0


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """From ``initial_value`` up to ``max_value`` and down to ``min_value``, where it then stays.

    With p = ``pct_start`` and N = ``total_steps``, the way up ends at step pN - 1 and the way down at N - 1. With
    ``three_phase`` the way down ends at ``initial_value`` at step 2pN - 2, and a third way leads to ``min_value``.

    Args:
        initial_value: at the start.
        max_value: at the peak; it may lie below the others, as for momentum.
        min_value: at the end.
        total_steps: N.
        pct_start: p, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        three_phase: as the paper has it.

    Reference: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018.

    >>> schedule = schedulers.OneCycle(0.1, 0.5, 0.0, total_steps=6)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(6)]
    [0.1, 0.497, 0.406, 0.231, 0.067, 0.0]
    """

    initial_value: float = number()
    max_value: float = number()
    min_value: float = number()
    total_steps: int = whole()
    pct_start: float = number(0.3, low=0, high=1)
    anneal_strategy: str = choice(("cos", "linear"), "cos")
    three_phase: bool = flag(False)

    @property
    def relative(self) -> bool:
        """No: every value is given."""
        return False

    def reference(self, initial: float) -> float:
        """The peak, or the start of one that goes down first."""
        return max(self.initial_value, self.max_value)

    def value(self, step: Step, initial: float) -> float:
        """The value within the phase that t lies in."""
        last = self.total_steps - 1
        peak = self.pct_start * self.total_steps
        phases = [(peak - 1, self.max_value), (last, self.min_value)]
        if self.three_phase:
            phases.insert(1, (2 * peak - 2, self.initial_value))
        shape = "cosine" if self.anneal_strategy == "cos" else "linear"
        start, begin = 0.0, self.initial_value
        step = min(step, last)
        for end, target in phases[:-1]:
            if step <= end:
                return interpolate(shape, begin, target, (step - start) / (end - start) if end > start else 1.0)
            start, begin = end, target
        return interpolate(shape, begin, self.min_value, (step - start) / (last - start) if last > start else 1.0)
