"""Schedulers with PyTorch's names and arguments, each a schedule or a combination of schedules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..attributes import make_constructor
from ..checks import number, whole
from ..optim import Optimizer
from ._option import find_option
from .plateau import ReduceLROnPlateau
from .schedule import Hold, Join, Product, Schedule, check_milestones
from .scheduler import Scheduler, check_optimizer, schedulers_of
from .schedules import (
    Constant,
    CosineAnnealing,
    Cyclic,
    Exponential,
    ExponentialRate,
    Lambda,
    Linear,
    Multiplicative,
    MultiStep,
    OneCycle,
    Polynomial,
    StepDecay,
    WarmRestarts,
)

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "SequentialLR",
    "StepLR",
]

Factor = Callable[[int], float]
Numbers = float | Sequence[float]


# --- one schedule of the learning rate -------------------------------------------------------------------------------


class OfSchedule(Scheduler):
    """A scheduler of the learning rate that takes the arguments of one schedule.

    A subclass names the schedule, and gets its arguments between ``optimizer`` and ``last_epoch``, and its docstring
    after its own; ``keyword_only`` lists the arguments that PyTorch does not have.
    """

    def __init_subclass__(
        cls, schedule: type[Schedule] | None = None, keyword_only: Sequence[str] = (), **keywords: Any
    ) -> None:
        super().__init_subclass__(**keywords)
        if schedule is None:  # a user's subclass of StepLR
            return
        kinds = inspect.Parameter
        own = [
            each.replace(kind=kinds.KEYWORD_ONLY if each.name in keyword_only else kinds.POSITIONAL_OR_KEYWORD)
            for each in inspect.signature(schedule).parameters.values()
        ]
        first = kinds("optimizer", kinds.POSITIONAL_OR_KEYWORD)
        last = kinds("last_epoch", kinds.POSITIONAL_OR_KEYWORD, default=-1)

        def bind(self: OfSchedule, arguments: dict[str, Any]) -> None:
            optimizer, last_epoch = arguments.pop("optimizer"), arguments.pop("last_epoch")
            self._bind(optimizer, {"lr": schedule(**arguments)}, last_epoch)

        # Sorted by kind, which is stable: keyword-only arguments follow last_epoch.
        make_constructor(cls, [first, *sorted([*own, last], key=lambda each: each.kind)], bind)
        cls.__doc__ = f"{inspect.getdoc(cls)}\n\nIt follows `{schedule.__name__}`: {inspect.getdoc(schedule)}"

    def __init__(self, optimizer: Optimizer, *args: Any, last_epoch: int = -1, **settings: Any) -> None:
        # For type checkers: every subclass has the constructor above.
        raise NotImplementedError


class StepLR(OfSchedule, schedule=StepDecay):
    """Multiply the learning rate by gamma every step_size steps."""


class MultiStepLR(OfSchedule, schedule=MultiStep):
    """Multiply the learning rate by gamma at each milestone."""


class ConstantLR(OfSchedule, schedule=Constant):
    """Multiply the learning rate by a factor for the first total_iters steps."""


class LinearLR(OfSchedule, schedule=Linear):
    """Change the learning rate linearly within total_iters steps."""


class PolynomialLR(OfSchedule, schedule=Polynomial):
    """Lower the learning rate to 0 within total_iters steps, by a power of the remaining part."""


class CosineAnnealingLR(OfSchedule, schedule=CosineAnnealing, keyword_only=["repeat"]):
    """Lower the learning rate to eta_min along half a cosine within T_max steps; then it stays there.

    PyTorch lets the cosine rise again, as does ``repeat=True``.
    """


class CosineAnnealingWarmRestarts(OfSchedule, schedule=WarmRestarts):
    """Lower the learning rate along half a cosine again and again, in cycles each T_mult times as long.

    As in PyTorch, η₀ is the group's ``initial_lr`` if an earlier scheduler has stored one, not the current rate.
    `step` takes fractions of an epoch, as in PyTorch: ``scheduler.step(epoch + batch / batches)``.
    """

    _from_initial = True

    def _cycle(self) -> tuple[float, int, int]:
        schedule = self.schedules["lr"]
        assert isinstance(schedule, WarmRestarts)
        return schedule.cycle(self.epoch)

    @property
    def T_cur(self) -> float:  # noqa: N802  # the paper's and PyTorch's name
        """Steps since the last restart."""
        return self._cycle()[0]

    @property
    def T_i(self) -> int:  # noqa: N802
        """The length of the current cycle."""
        return self._cycle()[1]


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


class LambdaLR(Scheduler):
    """η₀ · f(t), by `Lambda`; ``lr_lambda`` is f, or a list with one for each param group.

    As in PyTorch, η₀ is the group's ``initial_lr`` if an earlier scheduler has stored one, not the current rate.

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
    return [kind(function) for function in functions] if isinstance(functions, Sequence) else kind(functions)


# --- the learning rate, and the momentum against it ------------------------------------------------------------------


class CyclicLR(Scheduler):
    """Raise the learning rate from base_lr to max_lr and lower it again, in cycles, by `Cyclic`.

    With ``cycle_momentum`` the momentum, or beta1 of an optimizer with betas, falls from max_momentum to base_momentum
    and rises again. ``base_lr``, ``max_lr`` and the momenta may be lists with one number for each param group.

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

        schedules = {"lr": _per_group("CyclicLR", optimizer, cyclic, base_lr=base_lr, max_lr=max_lr)}
        if cycle_momentum:
            schedules[_momentum("CyclicLR", optimizer)] = _per_group(
                "CyclicLR", optimizer, cyclic, max_momentum=max_momentum, base_momentum=base_momentum
            )
        fresh = [group for group in optimizer.param_groups if "initial_lr" not in group]
        self._bind(optimizer, schedules, last_epoch)
        for group in fresh:
            group["initial_lr"] = group["lr"]


class OneCycleLR(Scheduler):
    """Raise the learning rate from max_lr / div_factor to max_lr, then lower it to a final_div_factor-th of the start.

    It follows `OneCycle`. With ``cycle_momentum`` the momentum, or beta1 of an optimizer with betas, falls from
    max_momentum to base_momentum and rises again. The number of steps is ``total_steps``, or
    ``epochs * steps_per_epoch``; after it the values stay, where PyTorch raises. ``max_lr`` and the momenta may be
    lists with one number for each param group.

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
            total_steps = whole(self, "epochs", epochs) * whole(self, "steps_per_epoch", steps_per_epoch)
        number(self, "div_factor", div_factor, above=0)
        number(self, "final_div_factor", final_div_factor, above=0)
        settings = (total_steps, pct_start, anneal_strategy, three_phase)

        def rate(max_lr: float) -> Schedule:
            start = number(self, "max_lr", max_lr, above=0) / div_factor
            return OneCycle(start, max_lr, start / final_div_factor, *settings)

        def momentum(top: float, base: float) -> Schedule:
            return OneCycle(top, base, top, *settings)

        schedules = {"lr": _per_group("OneCycleLR", optimizer, rate, max_lr=max_lr)}
        if cycle_momentum:
            schedules[_momentum("OneCycleLR", optimizer)] = _per_group(
                "OneCycleLR", optimizer, momentum, max_momentum=max_momentum, base_momentum=base_momentum
            )
        self._bind(optimizer, schedules, last_epoch)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]


def _momentum(owner: str, optimizer: Optimizer) -> str:
    """The option that ``cycle_momentum`` means: ``momentum``, or ``beta1`` of an optimizer with betas."""
    if "betas" in optimizer.defaults:
        return "beta1"
    if "momentum" in optimizer.defaults:
        return "momentum"
    raise ValueError(f"{owner}: {type(optimizer).__name__} has neither momentum nor betas; give cycle_momentum=False")


def _per_group(
    owner: str, optimizer: Optimizer, make: Callable[..., Schedule], **arguments: Any
) -> Schedule | list[Schedule]:
    """One schedule, or one for each param group if an argument is a list."""
    groups = len(optimizer.param_groups)
    lists = {name: value for name, value in arguments.items() if isinstance(value, list | tuple)}
    for name, value in lists.items():
        if len(value) != groups:
            raise ValueError(f"{owner}: {name} has {len(value)} numbers for {groups} param groups")
    if not lists:
        return make(*arguments.values())
    rows = [value if name in lists else [value] * groups for name, value in arguments.items()]
    return [make(*row) for row in zip(*rows, strict=True)]


# --- composed schedulers ---------------------------------------------------------------------------------------------


class SequentialLR(Scheduler):
    """One scheduler after the other: each begins at its milestone, and counts its own steps from there, by `Join`.

    The schedulers only provide their schedules; call `step` of this one only. An option that some of them do not
    schedule keeps, during their turns, the last value that it was set to.

    Args:
        optimizer: the optimizer of all schedulers.
        schedulers: new ones, in order.
        milestones: the steps at which the second, third, … begin.
        last_epoch: as in `Scheduler`.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> warm_up = schedulers.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> decay = schedulers.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = schedulers.SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.4, 0.4, 0.8, 0.4, 0.2])
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Scheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        _check_parts("SequentialLR", schedulers, optimizer)
        ends = check_milestones(self, "milestones", milestones, least=1, twice=False)
        needed = len(schedulers) - 1
        if len(ends) != needed:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedulers need {needed} milestones, not {len(ends)}")
        lengths = [end - start for start, end in zip((0, *ends), ends, strict=False)]
        joined = {}
        for option, parts in _per_option(schedulers, optimizer).items():
            joined[option] = [Join(_filled(turns, lengths), ends) for turns in zip(*parts, strict=True)]
        firsts = {name: find_option("SequentialLR", optimizer, name).initial for name in joined}
        starts = {name: [first(group) for group in optimizer.param_groups] for name, first in firsts.items()}
        self._bind(optimizer, _shared(schedulers, joined), last_epoch, starts)


class ChainedScheduler(Scheduler):
    """All schedulers at once: the product of their factors, by `Product`.

    The schedulers only provide their schedules; call `step` of this one only. Where PyTorch lets the last one
    overwrite the values of the others (a cyclic or one-cycle scheduler that is not the first), this raises.

    Args:
        schedulers: new ones.
        optimizer: the optimizer of all schedulers; by default the first one's.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.8)
    >>> warm_up = schedulers.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> decay = schedulers.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = schedulers.ChainedScheduler([warm_up, decay])
    >>> scheduler.preview(5)["lr"][0].round(3)
    array([0.4 , 0.2 , 0.2 , 0.1 , 0.05])
    """

    def __init__(self, schedulers: Sequence[Scheduler], optimizer: Optimizer | None = None) -> None:
        if optimizer is None and len(schedulers) and isinstance(schedulers[0], Scheduler):
            optimizer = schedulers[0].optimizer
        _check_parts("ChainedScheduler", schedulers, optimizer)
        assert optimizer is not None  # the parts were checked
        chained = {}
        for option, parts in _per_option(schedulers, optimizer).items():
            present = [part for part in parts if part[0] is not None]
            chained[option] = [Product(list(factors)) for factors in zip(*present, strict=True)]
        # The values of each option before the first of the schedulers was made.
        starts: dict[str, list[float]] = {}
        for scheduler in sorted(schedulers, key=schedulers_of(optimizer).index):
            for name, found in scheduler._options.items():
                starts.setdefault(name, [found.track(group).start for group in optimizer.param_groups])
        self._bind(optimizer, _shared(schedulers, chained), -1, starts)


def _check_parts(owner: str, schedulers: Sequence[Any], optimizer: Any) -> None:
    if isinstance(schedulers, Scheduler) or not isinstance(schedulers, Sequence):
        raise TypeError(f"{owner}: needs a list of schedulers, not {type(schedulers).__name__}")
    if not schedulers:
        raise ValueError(f"{owner}: the list of schedulers is empty")
    for i, scheduler in enumerate(schedulers):
        kind = type(scheduler).__name__
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"{owner}: {kind} (number {i}) needs a metric at each step; leave it out of the list and call its "
                "step(metric) as well: its reductions persist under all other schedulers"
            )
        if not isinstance(scheduler, Scheduler):
            raise TypeError(f"{owner}: number {i} is not a scheduler but {kind}")
        if scheduler.optimizer is not check_optimizer(owner, optimizer):
            raise ValueError(f"{owner}: {kind} (number {i}) belongs to another optimizer")
        if scheduler.epoch != 0:
            raise ValueError(f"{owner}: {kind} (number {i}) has already stepped; give new schedulers")


def _per_option(
    schedulers: Sequence[Scheduler], optimizer: Optimizer
) -> dict[str, list[Sequence[Schedule] | list[None]]]:
    """For each option and scheduler one schedule per param group, None if it does not schedule the option."""
    groups = len(optimizer.param_groups)
    options = dict.fromkeys(option for scheduler in schedulers for option in scheduler.schedules)
    return {
        option: [s._schedules_of(option) if option in s.schedules else [None] * groups for s in schedulers]
        for option in options
    }


def _shared(schedulers: Sequence[Scheduler], joined: dict[str, list[Any]]) -> dict[str, Any]:
    """One schedule instead of equal ones per group, if no scheduler has a list: groups added later follow it."""
    lists = {name for s in schedulers for name, given in s.schedules.items() if isinstance(given, list)}
    return {name: each if name in lists else each[0] for name, each in joined.items()}


def _filled(turns: Sequence[Schedule | None], lengths: Sequence[int]) -> list[Schedule]:
    """Fill the turns that have no schedule: hold the last value of the one before, or the first of the next one."""
    filled: list[Schedule] = []
    for i, turn in enumerate(turns):
        if turn is not None:
            filled.append(turn)
        elif filled:
            before = filled[-1]
            filled.append(before if isinstance(before, Hold) else Hold(before, lengths[i - 1] - 1))
        else:
            filled.append(Hold(next(each for each in turns if each is not None), 0))
    return filled
