"""The schedules, each a formula of the step t and the option's first value η₀, as a frozen dataclass.

They come in this order: decays, cosines, cycles with absolute values, and schedules that begin with a warm-up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..checks import checked, choice, flag, function, number, optional, whole
from .schedule import Schedule, Step, call, check_milestones

__all__ = [
    "Constant",
    "CosineAnnealing",
    "Cyclic",
    "Exponential",
    "ExponentialRate",
    "InverseSqrt",
    "Lambda",
    "Linear",
    "MultiStep",
    "Multiplicative",
    "OneCycle",
    "Polynomial",
    "StepDecay",
    "WarmRestarts",
    "Warmup",
    "WarmupStableDecay",
]


# --- decays ----------------------------------------------------------------------------------------------------------


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

    step_size: int = checked(whole)
    gamma: float = checked(number, 0.1, low=0)

    def value(self, step: Step, initial: float) -> float:
        return initial * self.gamma ** (step // self.step_size)


@dataclass(frozen=True, repr=False)
class MultiStep(Schedule):
    """η₀ · γ^n after n milestones; a milestone counts from its step on.

    Args:
        milestones: steps in increasing order; one that is listed twice counts twice.
        gamma: γ, 0 or more.

    >>> schedule = schedulers.MultiStep([1, 3], gamma=0.5)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.4, 0.4, 0.2, 0.2]
    """

    milestones: Sequence[int] = checked(check_milestones, least=0, twice=True)
    gamma: float = checked(number, 0.1, low=0)

    def value(self, step: Step, initial: float) -> float:
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

    gamma: float = checked(number, low=0)

    def value(self, step: Step, initial: float) -> float:
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

    rate: float = checked(number, low=0)

    def value(self, step: Step, initial: float) -> float:
        return initial * math.exp(-self.rate * step)


@dataclass(frozen=True, repr=False)
class Constant(Schedule):
    """η₀ · factor before step total_iters, η₀ from then on.

    Args:
        factor: 0 or more; PyTorch allows at most 1.
        total_iters: the number of steps with the factor.

    >>> schedule = schedulers.Constant(factor=0.5, total_iters=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.4, 0.4, 0.8, 0.8, 0.8]
    """

    factor: float = checked(number, 1 / 3, low=0)
    total_iters: int = checked(whole, 5, least=0)

    def value(self, step: Step, initial: float) -> float:
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

    start_factor: float = checked(number, 1 / 3, low=0)
    end_factor: float = checked(number, 1.0, low=0)
    total_iters: int = checked(whole, 5)

    def value(self, step: Step, initial: float) -> float:
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

    total_iters: int = checked(whole, 5)
    power: float = checked(number, 1.0, above=0)

    def value(self, step: Step, initial: float) -> float:
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

    function: Callable[..., float] = checked(function)

    def value(self, step: Step, initial: float) -> float:
        return initial * call(self, self.function, step)


@dataclass(frozen=True, repr=False)
class Multiplicative(Schedule):
    """η₀ · f(1) · f(2) · … · f(t).

    The products are stored, so that each further step costs one call of f.

    Args:
        function: f, from step to factor; it must depend on nothing else.

    Raises:
        ValueError: for a step that is a fraction.

    >>> schedule = schedulers.Multiplicative(lambda step: 1 / step)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.8, 0.4, 0.133, 0.033]
    """

    function: Callable[..., float] = checked(function)
    _products: list[float] = field(default_factory=lambda: [1.0], init=False, repr=False, compare=False)

    def value(self, step: Step, initial: float) -> float:
        if step != int(step):
            raise ValueError(f"Multiplicative: the product over steps needs a whole step, not {step!r}")
        for k in range(len(self._products), int(step) + 1):
            self._products.append(self._products[-1] * call(self, self.function, k))
        return initial * self._products[int(step)]


# --- cosines ---------------------------------------------------------------------------------------------------------


def _anneal(initial: float, eta_min: float, part: float) -> float:
    return eta_min + (initial - eta_min) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True, repr=False)
class CosineAnnealing(Schedule):
    """η_min + ½ (η₀ - η_min) (1 + cos(πt/T)), and η_min after T.

    Args:
        T_max: T.
        eta_min: η_min.
        repeat: after T the cosine rises again, as in PyTorch: a period of 2T.

    Reference: Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, equation 5
    without restarts.

    >>> schedule = schedulers.CosineAnnealing(T_max=4)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.8, 0.683, 0.4, 0.117, 0.0]
    """

    T_max: int = checked(whole)
    eta_min: float = checked(number, 0.0)
    repeat: bool = checked(flag, False)

    def value(self, step: Step, initial: float) -> float:
        if step >= self.T_max and not self.repeat:
            return self.eta_min
        # Within one period cos is as exact late in a run as at its beginning.
        return _anneal(initial, self.eta_min, step % (2 * self.T_max) / self.T_max)


@dataclass(frozen=True, repr=False)
class WarmRestarts(Schedule):
    """η_min + ½ (η₀ - η_min) (1 + cos(π T_cur / T_i)), T_cur steps after the start of a cycle of T_i steps.

    The first cycle has T_0 steps, and each later one is T_mult times as long. The start of a cycle is computed with
    whole numbers; the logarithm in PyTorch's ``step(epoch)`` misses some starts.

    Args:
        T_0: the length of the first cycle.
        T_mult: how many times longer each cycle is than the one before.
        eta_min: η_min.

    Reference: Loshchilov and Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.

    >>> schedule = schedulers.WarmRestarts(T_0=2, T_mult=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(7)]
    [0.8, 0.4, 0.8, 0.683, 0.4, 0.117, 0.8]
    """

    T_0: int = checked(whole)
    T_mult: int = checked(whole, 1)
    eta_min: float = checked(number, 0.0)

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
        current, length, _ = self.cycle(step)
        return _anneal(initial, self.eta_min, current / length)


# --- curves between two values ---------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, p: (end - start) * p + start,
    "cosine": lambda start, end, p: end + (start - end) / 2 * (math.cos(math.pi * p) + 1),
    "sqrt": lambda start, end, p: (end - start) * math.sqrt(p) + start,
    "exponential": lambda start, end, p: start * (end / start) ** p,
}
WARMUPS = ("linear", "cosine", "exponential")


def _between(shape: str, start: float, end: float, part: float) -> float:
    """The value after a part p of the way; exactly the ends at p = 0, and from p = 1 on."""
    if part <= 0 or part >= 1:
        return start if part <= 0 else end
    return SHAPES[shape](start, end, part)


def _check_exponential(schedule: Schedule, shape: str, **factors: float) -> None:
    """Raise ValueError if an exponential curve begins or ends at 0, which it never reaches."""
    for name, factor in factors.items():
        if shape == "exponential" and factor <= 0:
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be above 0 for an exponential curve, not {factor!r}; try 0.01"
            )


# --- cycles with absolute values -------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Cyclic(Schedule):
    """base + (max - base) · s · f: s rises from 0 to 1 and falls back in each cycle, f shrinks the cycles.

    Args:
        base_value: at the ends of a cycle.
        max_value: at the peak of the first cycle; it may be below ``base_value``, as for momentum.
        step_size_up: steps from the base to the peak.
        step_size_down: steps back; by default the same number.
        mode: f is 1 (``"triangular"``), 2^(1 - cycle) (``"triangular2"``), or γ^t (``"exp_range"``).
        gamma: γ.
        scale_fn: f in place of the mode's.
        scale_mode: with ``scale_fn``: f depends on the number of the ``"cycle"``, from 1, or on ``"iterations"``, t.

    Reference: Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    >>> schedule = schedulers.Cyclic(0.1, 0.5, 2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(6)]
    [0.1, 0.3, 0.5, 0.3, 0.1, 0.3]
    """

    base_value: float = checked(number)
    max_value: float = checked(number)
    step_size_up: float = checked(number, 2000, above=0)
    step_size_down: float | None = checked(optional(number), None, above=0)
    mode: str = checked(choice, "triangular", known=("triangular", "triangular2", "exp_range"))
    gamma: float = checked(number, 1.0, low=0)
    scale_fn: Callable[..., float] | None = checked(optional(function), None)
    scale_mode: str = checked(choice, "cycle", known=("cycle", "iterations"))
    relative = False

    def reference(self, initial: float) -> float:
        return max(self.base_value, self.max_value)

    def value(self, step: Step, initial: float) -> float:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, position = divmod(step, up + down)
        height = position / up if position <= up else (up + down - position) / down
        return self.base_value + (self.max_value - self.base_value) * height * self._scale(step, int(cycle) + 1)

    def _scale(self, step: Step, cycle: int) -> float:
        if self.scale_fn is not None:
            return call(self, self.scale_fn, cycle if self.scale_mode == "cycle" else step)
        if self.mode == "exp_range":
            return self.gamma**step
        return 0.5 ** (cycle - 1) if self.mode == "triangular2" else 1.0


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """From ``initial_value`` up to ``max_value`` and down to ``min_value``, where it stays.

    With p = ``pct_start`` and N = ``total_steps``, the way up ends at step pN - 1 and the way down at N - 1. With
    ``three_phase`` the way down ends at ``initial_value`` at step 2pN - 2, and a third phase leads to ``min_value``.

    Args:
        initial_value: at the start.
        max_value: at the peak; it may be below the others, as for momentum.
        min_value: at the end.
        total_steps: N.
        pct_start: p, in [0, 1].
        anneal_strategy: ``"cos"`` or ``"linear"``.
        three_phase: the three phases of the paper.

    Reference: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018.

    >>> schedule = schedulers.OneCycle(0.1, 0.5, 0.0, total_steps=6)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(6)]
    [0.1, 0.497, 0.406, 0.231, 0.067, 0.0]
    """

    initial_value: float = checked(number)
    max_value: float = checked(number)
    min_value: float = checked(number)
    total_steps: int = checked(whole)
    pct_start: float = checked(number, 0.3, low=0, high=1)
    anneal_strategy: str = checked(choice, "cos", known=("cos", "linear"))
    three_phase: bool = checked(flag, False)
    relative = False

    def reference(self, initial: float) -> float:
        # The peak, or the start of a cycle that goes down first.
        return max(self.initial_value, self.max_value)

    def value(self, step: Step, initial: float) -> float:
        last, peak = self.total_steps - 1, self.pct_start * self.total_steps
        phases = [(peak - 1, self.max_value), (last, self.min_value)]
        if self.three_phase:
            phases.insert(1, (2 * peak - 2, self.initial_value))
        shape = "cosine" if self.anneal_strategy == "cos" else "linear"
        step = min(step, last)
        start, begin = 0.0, self.initial_value
        for end, target in phases:
            if step <= end:  # the last phase always matches, since no step is after its end
                break
            start, begin = end, target
        return _between(shape, begin, target, (step - start) / (end - start) if end > start else 1.0)


# --- schedules that begin with a warm-up -----------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Warmup(Schedule):
    """From η₀ · start_factor up to η₀ within T steps, and η₀ from then on.

    With p = t/T and the start factor a, the factor is a + (1 - a)p for ``"linear"``, a + (1 - a)(1 - cos πp)/2 for
    ``"cosine"``, and a^(1 - p) for ``"exponential"``. Use `Join` to continue with another schedule, and `Product` to
    scale one.

    Args:
        total_iters: T.
        shape: ``"linear"``, ``"cosine"`` or ``"exponential"``.
        start_factor: a; above 0 for ``"exponential"``.

    Reference: Goyal et al., "Accurate, large minibatch SGD", 2017.

    >>> schedule = schedulers.Warmup(total_iters=3)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.267, 0.533, 0.8, 0.8]
    """

    total_iters: int = checked(whole)
    shape: str = checked(choice, "linear", known=WARMUPS)
    start_factor: float = checked(number, 0.0, low=0)

    def check(self) -> None:
        _check_exponential(self, self.shape, start_factor=self.start_factor)

    def value(self, step: Step, initial: float) -> float:
        return initial * _between(self.shape, self.start_factor, 1.0, step / self.total_iters)


@dataclass(frozen=True, repr=False)
class InverseSqrt(Schedule):
    """Linear up to η₀ within w steps, then η₀ · √(τ / (τ + t - w)); with τ = w that is η₀ · √(w/t).

    Args:
        warmup_steps: w; with 0 it begins at η₀.
        timescale: τ, above 0; by default w, or 1 without warm-up.
        start_factor: the factor at t = 0.

    Reference: Vaswani et al., "Attention is all you need", NeurIPS 2017, section 5.3.

    >>> schedule = schedulers.InverseSqrt(warmup_steps=2)
    >>> [round(schedule(t, initial=0.8), 3) for t in range(5)]
    [0.0, 0.4, 0.8, 0.653, 0.566]
    """

    warmup_steps: int = checked(whole, 0, least=0)
    timescale: float | None = checked(optional(number), None, above=0)
    start_factor: float = checked(number, 0.0, low=0)

    def value(self, step: Step, initial: float) -> float:
        if step < self.warmup_steps:
            return initial * _between("linear", self.start_factor, 1.0, step / self.warmup_steps)
        timescale = self.timescale or max(self.warmup_steps, 1)
        return initial * math.sqrt(timescale / (timescale + step - self.warmup_steps))


@dataclass(frozen=True, repr=False)
class WarmupStableDecay(Schedule):
    """Up to η₀, η₀ for a while, down to η₀ · end_factor, where it stays.

    Args:
        warmup_steps: the length of the warm-up; 0 for none.
        stable_steps: the length of the constant part.
        decay_steps: the length of the decay.
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

    warmup_steps: int = checked(whole, least=0)
    stable_steps: int = checked(whole, least=0)
    decay_steps: int = checked(whole)
    warmup: str = checked(choice, "linear", known=WARMUPS)
    decay: str = checked(choice, "linear", known=tuple(SHAPES))
    start_factor: float = checked(number, 0.0, low=0)
    end_factor: float = checked(number, 0.0, low=0)

    def check(self) -> None:
        _check_exponential(self, self.warmup, start_factor=self.start_factor)
        _check_exponential(self, self.decay, end_factor=self.end_factor)

    def value(self, step: Step, initial: float) -> float:
        if step < self.warmup_steps:
            return initial * _between(self.warmup, self.start_factor, 1.0, step / self.warmup_steps)
        step -= self.warmup_steps + self.stable_steps
        if step < 0:
            return initial
        return initial * _between(self.decay, 1.0, self.end_factor, step / self.decay_steps)
