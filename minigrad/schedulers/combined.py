"""Schedulers made of schedulers, with PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..optim import Optimizer
from .compose import Hold, Join, Product
from .option import find_option
from .plateau import ReduceLROnPlateau
from .schedule import Schedule, check_milestones
from .scheduler import Scheduler, check_optimizer, schedulers_of


class SequentialLR(Scheduler):
    """One scheduler after the other: each begins at its milestone, and counts its own steps from there, by `Join`.

    The schedulers only lend their schedules; call `step` of this one alone. An option that not all of them schedule
    stays, during the others' turns, where the last one has left it.

    Args:
        optimizer: the one of all schedulers.
        schedulers: fresh ones, in order.
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
        ends = check_milestones("SequentialLR", "milestones", milestones, strictly=True)
        if len(ends) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones, not {len(ends)}"
            )
        lengths = [end - start for start, end in zip((0, *ends), ends, strict=False)]
        joined = {}
        for option, parts in _per_option(schedulers, optimizer).items():
            joined[option] = [Join(_filled(turns, lengths), ends) for turns in zip(*parts, strict=True)]
        firsts = {name: find_option("SequentialLR", optimizer, name).initial for name in joined}
        starts = {name: [first(group) for group in optimizer.param_groups] for name, first in firsts.items()}
        self._bind(optimizer, _shared(schedulers, joined), last_epoch, starts)


class ChainedScheduler(Scheduler):
    """All schedulers at once: the product of their factors, by `Product`.

    The schedulers only lend their schedules; call `step` of this one alone. Where PyTorch lets the last one
    overwrite what the others have set (cyclic and one-cycle after another), this raises.

    Args:
        schedulers: fresh ones.
        optimizer: the one of all schedulers; by default that of the first.

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
        self._bind(optimizer, _shared(schedulers, chained), -1, _starts(schedulers, optimizer))


def _check_parts(owner: str, schedulers: Sequence[Any], optimizer: Any) -> None:
    if isinstance(schedulers, Scheduler) or not isinstance(schedulers, Sequence):
        raise TypeError(f"{owner}: needs a list of schedulers, not {type(schedulers).__name__}")
    if not schedulers:
        raise ValueError(f"{owner}: the list of schedulers is empty")
    for number, scheduler in enumerate(schedulers):
        kind = type(scheduler).__name__
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(
                f"{owner}: {kind} (number {number}) needs a metric at each step; leave it out of the list and call its "
                "step(metric) as well: its reductions remain whatever the other schedulers do"
            )
        if not isinstance(scheduler, Scheduler):
            raise TypeError(f"{owner}: number {number} is no scheduler but {kind}")
        if scheduler.optimizer is not check_optimizer(owner, optimizer):
            raise ValueError(f"{owner}: {kind} (number {number}) is of another optimizer")
        if scheduler.epoch != 0:
            raise ValueError(f"{owner}: {kind} (number {number}) has stepped already; give fresh schedulers")


def _per_option(
    schedulers: Sequence[Scheduler], optimizer: Optimizer
) -> dict[str, list[Sequence[Schedule] | list[None]]]:
    """For each option and scheduler one schedule per param group, None where it does not schedule the option."""
    groups = len(optimizer.param_groups)
    options = dict.fromkeys(option for scheduler in schedulers for option in scheduler.schedules)
    return {
        option: [s._schedules_of(option) if option in s.schedules else [None] * groups for s in schedulers]
        for option in options
    }


def _starts(schedulers: Sequence[Scheduler], optimizer: Optimizer) -> dict[str, list[float]]:
    """For each option the values that it had before the first of the schedulers was made."""
    found: dict[str, list[float]] = {}
    for scheduler in sorted(schedulers, key=schedulers_of(optimizer).index):
        for name, option in scheduler._options.items():
            found.setdefault(name, [option.track(group).start for group in optimizer.param_groups])
    return found


def _shared(schedulers: Sequence[Scheduler], joined: dict[str, list[Any]]) -> dict[str, Any]:
    """One schedule instead of equal ones per group, where no scheduler has a list: groups added later follow it."""
    lists = {name for s in schedulers for name, given in s.schedules.items() if isinstance(given, list)}
    return {name: each if name in lists else each[0] for name, each in joined.items()}


def _filled(turns: Sequence[Schedule | None], lengths: Sequence[int]) -> list[Schedule]:
    """Schedules for those turns that have none: where the one before ends, or else where the next one begins."""
    filled: list[Schedule] = []
    for number, turn in enumerate(turns):
        if turn is not None:
            filled.append(turn)
        elif filled:
            before = filled[-1]
            filled.append(before if isinstance(before, Hold) else Hold(before, lengths[number - 1] - 1))
        else:
            filled.append(Hold(next(each for each in turns if each is not None), 0))
    return filled
