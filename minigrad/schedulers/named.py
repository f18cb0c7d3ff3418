"""Schedulers of the learning rate with PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..optim import Optimizer
from .cosine import CosineAnnealing, WarmRestarts
from .decay import (
    Constant,
    Exponential,
    ExponentialRate,
    Lambda,
    Linear,
    Multiplicative,
    MultiStep,
    Polynomial,
    StepDecay,
)
from .schedule import Schedule
from .scheduler import Scheduler

Factor = Callable[[int], float]


class StepLR(Scheduler):
    """η₀ · γ^⌊t / step_size⌋, by `StepDecay`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8, 0.8, 0.4, 0.4, 0.2])
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        super().__init__(optimizer, StepDecay(step_size, gamma), last_epoch=last_epoch)


class MultiStepLR(Scheduler):
    """η₀ · γ^n, where n milestones lie at or before t, by `MultiStep`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.MultiStepLR(optimizer, [1, 3], gamma=0.5)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8, 0.4, 0.4, 0.2, 0.2])
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        super().__init__(optimizer, MultiStep(milestones, gamma), last_epoch=last_epoch)


class ConstantLR(Scheduler):
    """η₀ · factor before total_iters, η₀ from then on, by `Constant`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.4, 0.4, 0.8, 0.8, 0.8])
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        super().__init__(optimizer, Constant(factor, total_iters), last_epoch=last_epoch)


class LinearLR(Scheduler):
    """From η₀ · start_factor to η₀ · end_factor within total_iters steps, by `Linear`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.LinearLR(optimizer, 1.0, 0.0, total_iters=4)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8, 0.6, 0.4, 0.2, 0. ])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, Linear(start_factor, end_factor, total_iters), last_epoch=last_epoch)


class ExponentialLR(Scheduler):
    """η₀ · γ^t, by `Exponential`; with ``rate`` λ instead of γ, η₀ · e^(-λt), by `ExponentialRate`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8 , 0.4 , 0.2 , 0.1 , 0.05])
    """

    def __init__(
        self, optimizer: Optimizer, gamma: float | None = None, last_epoch: int = -1, *, rate: float | None = None
    ) -> None:
        schedule: Schedule
        if gamma is not None and rate is None:
            schedule = Exponential(gamma)
        elif rate is not None and gamma is None:
            schedule = ExponentialRate(rate)
        else:
            raise ValueError(f"ExponentialLR: needs either gamma or rate, not gamma={gamma!r} and rate={rate!r}")
        super().__init__(optimizer, schedule, last_epoch=last_epoch)


class PolynomialLR(Scheduler):
    """η₀ · (1 - min(t, total_iters) / total_iters)^power, by `Polynomial`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.PolynomialLR(optimizer, total_iters=4, power=2.0)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8 , 0.45, 0.2 , 0.05, 0.  ])
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        super().__init__(optimizer, Polynomial(total_iters, power), last_epoch=last_epoch)


class CosineAnnealingLR(Scheduler):
    """Half a cosine from η₀ to eta_min within T_max steps, by `CosineAnnealing`; then it stays there.

    PyTorch lets the cosine go up again; ``repeat=True`` does so too.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.CosineAnnealingLR(optimizer, T_max=4)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8  , 0.683, 0.4  , 0.117, 0.   ])
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1, *, repeat: bool = False
    ) -> None:
        super().__init__(optimizer, CosineAnnealing(T_max, eta_min, repeat), last_epoch=last_epoch)


class CosineAnnealingWarmRestarts(Scheduler):
    """Cosines from η₀ to eta_min, each T_mult times as long as the one before, by `WarmRestarts`.

    As in PyTorch, η₀ is the group's ``initial_lr`` where an earlier scheduler has left one, not the rate that is set.
    `step` takes fractions of an epoch, as in PyTorch: ``scheduler.step(epoch + batch / batches)``.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> scheduler.preview(7)["lr"][0].round(3)
    array([0.8  , 0.4  , 0.8  , 0.683, 0.4  , 0.117, 0.8  ])
    """

    _from_initial = True

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._restarts = WarmRestarts(T_0, T_mult, eta_min)
        super().__init__(optimizer, self._restarts, last_epoch=last_epoch)

    @property
    def T_cur(self) -> float:  # noqa: N802  # the paper's and PyTorch's name
        """Steps since the last restart."""
        return self._restarts.cycle(self.epoch)[0]

    @property
    def T_i(self) -> int:  # noqa: N802
        """The length of the cycle now."""
        return self._restarts.cycle(self.epoch)[1]


class LambdaLR(Scheduler):
    """η₀ · f(t), by `Lambda`; ``lr_lambda`` is f, or a list with one for each param group.

    As in PyTorch, η₀ is the group's ``initial_lr`` where an earlier scheduler has left one, not the rate that is set.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8  , 0.4  , 0.267, 0.2  , 0.16 ])
    """

    _from_initial = True

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        super().__init__(optimizer, _each(Lambda, lr_lambda), last_epoch=last_epoch)


class MultiplicativeLR(Scheduler):
    """η₀ · f(1) · … · f(t), by `Multiplicative`; ``lr_lambda`` is f, or a list with one for each param group.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> scheduler = schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.8 , 0.4 , 0.2 , 0.1 , 0.05])
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1) -> None:
        super().__init__(optimizer, _each(Multiplicative, lr_lambda), last_epoch=last_epoch)


def _each(kind: type[Lambda] | type[Multiplicative], functions: Factor | Sequence[Factor]) -> Schedule | list[Schedule]:
    if isinstance(functions, Sequence):
        return [kind(function) for function in functions]
    return kind(functions)
