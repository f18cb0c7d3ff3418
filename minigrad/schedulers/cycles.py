"""Schedulers that cycle the learning rate, and the momentum against it, with PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..optim import Optimizer
from .cyclic import Cyclic, OneCycle
from .option import momentum_option
from .schedule import Schedule, check_number, check_whole
from .scheduler import Scheduler, check_optimizer

Numbers = float | Sequence[float]


class CyclicLR(Scheduler):
    """From base_lr up to max_lr and back, again and again, by `Cyclic`.

    With ``cycle_momentum`` the momentum, or beta1 where there are betas, goes from max_momentum down to base_momentum
    and back. ``base_lr``, ``max_lr`` and the momenta may be lists with one number for each param group.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], momentum=0.9)
    >>> scheduler = schedulers.CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, step_size_up=2)
    >>> scheduler.preview(6)["lr"][0].round(3)
    array([0.1, 0.3, 0.5, 0.3, 0.1, 0.3])
    >>> scheduler.preview(6)["momentum"][0].round(3)
    array([0.9 , 0.85, 0.8 , 0.85, 0.9 , 0.85])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Numbers,
        max_lr: Numbers,
        step_size_up: float = 2000,
        step_size_down: float | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Numbers = 0.8,
        max_momentum: Numbers = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("CyclicLR", optimizer)

        def cyclic(base: float, top: float) -> Schedule:
            return Cyclic(base, top, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)

        schedules = {"lr": per_group("CyclicLR", optimizer, cyclic, base_lr=base_lr, max_lr=max_lr)}
        if cycle_momentum:
            schedules[momentum_option("CyclicLR", optimizer)] = per_group(
                "CyclicLR", optimizer, cyclic, max_momentum=max_momentum, base_momentum=base_momentum
            )
        fresh = [group for group in optimizer.param_groups if "initial_lr" not in group]
        self._bind(optimizer, schedules, last_epoch)
        for group in fresh:
            group["initial_lr"] = group["lr"]


class OneCycleLR(Scheduler):
    """From max_lr / div_factor up to max_lr, down to a final_div_factor-th of the start, by `OneCycle`.

    With ``cycle_momentum`` the momentum, or beta1 where there are betas, goes from max_momentum down to base_momentum
    and back. The number of steps is ``total_steps``, or ``epochs * steps_per_epoch``; after it the values stay, where
    PyTorch raises. ``max_lr`` and the momenta may be lists with one number for each param group.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], momentum=0.9)
    >>> scheduler = schedulers.OneCycleLR(optimizer, max_lr=0.5, total_steps=6)
    >>> scheduler.preview(6)["lr"][0].round(3)
    array([0.02 , 0.497, 0.406, 0.231, 0.067, 0.   ])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Numbers,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Numbers = 0.85,
        max_momentum: Numbers = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: needs total_steps, or both epochs and steps_per_epoch")
            total_steps = check_whole("OneCycleLR", "epochs", epochs)
            total_steps *= check_whole("OneCycleLR", "steps_per_epoch", steps_per_epoch)
        check_number("OneCycleLR", "div_factor", div_factor, above=0)
        check_number("OneCycleLR", "final_div_factor", final_div_factor, above=0)
        settings = (total_steps, pct_start, anneal_strategy, three_phase)

        def rate(max_lr: float) -> Schedule:
            start = check_number("OneCycleLR", "max_lr", max_lr, above=0) / div_factor
            return OneCycle(start, max_lr, start / final_div_factor, *settings)

        def momentum(top: float, base: float) -> Schedule:
            return OneCycle(top, base, top, *settings)

        schedules = {"lr": per_group("OneCycleLR", optimizer, rate, max_lr=max_lr)}
        if cycle_momentum:
            schedules[momentum_option("OneCycleLR", optimizer)] = per_group(
                "OneCycleLR", optimizer, momentum, max_momentum=max_momentum, base_momentum=base_momentum
            )
        self._bind(optimizer, schedules, last_epoch)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]


def per_group(
    owner: str, optimizer: Optimizer, make: Callable[..., Schedule], **arguments: Any
) -> Schedule | list[Schedule]:
    """One schedule, or one for each param group where an argument is a list.

    Raises:
        ValueError: if a list has another length than there are groups.
    """
    groups = len(optimizer.param_groups)
    lists = {name: value for name, value in arguments.items() if isinstance(value, list | tuple)}
    for name, value in lists.items():
        if len(value) != groups:
            raise ValueError(f"{owner}: {name} has {len(value)} numbers for {groups} param groups")
    if not lists:
        return make(*arguments.values())
    rows = [value if name in lists else [value] * groups for name, value in arguments.items()]
    return [make(*row) for row in zip(*rows, strict=True)]
