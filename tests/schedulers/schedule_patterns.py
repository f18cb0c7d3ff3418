"""Several schedulers of one optimizer, and rates set by hand, as users of PyTorch write it; runs on either library.

Each pattern is a function of an optimizer's maker and two makers of schedulers, and gives the learning rate and the
momentum of every group after each action.
"""

import copy
import warnings
from itertools import product
from typing import Any

import numpy as np
from schedule_cases import MAKERS

__all__ = ["CASES", "run_pattern"]

# Those that PyTorch computes from the rate that is set, so that they compose with whatever else sets it.
CHAINABLE = [
    name
    for name in MAKERS
    if name not in ("CosineAnnealingWarmRestarts", "LambdaLR", "CyclicLR", "OneCycleLR", "SequentialLR")
]
FIRST = ["StepLR", "CosineAnnealingLR-floor", "LambdaLR", "OneCycleLR"]


class _Run:
    """An optimizer with two groups, and what became of its options."""

    def __init__(self, optim: Any, parameter: Any, lr: float = 0.1) -> None:
        groups = [{"params": [parameter()]}, {"params": [parameter()], "lr": 3 * lr}]
        self.optimizer = optim.SGD(groups, lr=lr, momentum=0.7)
        self.rows: list[list[float]] = []

    def note(self) -> None:
        self.rows.append([float(group[key]) for group in self.optimizer.param_groups for key in ("lr", "momentum")])

    def note_start(self, scheduler: Any) -> None:
        # After another scheduler, PyTorch's CyclicLR begins at the `initial_lr` of that one instead of at its base_lr.
        if type(scheduler).__name__ != "CyclicLR":
            self.note()

    def set(self, rate: float) -> None:
        for number, group in enumerate(self.optimizer.param_groups, 1):
            group["lr"] = rate * number

    def advance(self, steps: int, *schedulers: Any, metric: float | None = None) -> None:
        for _ in range(steps):
            self.optimizer.step()
            for scheduler in schedulers:
                plateau = metric is not None and type(scheduler).__name__ == "ReduceLROnPlateau"
                scheduler.step(metric) if plateau else scheduler.step()
            self.note()


def _second(run: _Run, fresh: _Run, S: Any, first: Any, second: Any, by_hand: bool = False) -> _Run:
    run.advance(7, first(S, run.optimizer))
    if by_hand:
        run.set(0.04)
    scheduler = second(S, run.optimizer)
    run.note_start(scheduler)
    run.advance(12, scheduler)
    return run


def _second_after_a_rate_was_set(run: _Run, fresh: _Run, S: Any, first: Any, second: Any) -> _Run:
    return _second(run, fresh, S, first, second, by_hand=True)


def _loaded(run: _Run, fresh: _Run, S: Any, first: Any, second: Any) -> _Run:
    """A rate that was set after loading the optimizer's state, for further training."""
    run.advance(7, first(S, run.optimizer))
    fresh.optimizer.load_state_dict(copy.deepcopy(run.optimizer.state_dict()))
    fresh.set(0.04)
    scheduler = second(S, fresh.optimizer)
    fresh.note_start(scheduler)
    fresh.advance(12, scheduler)
    return fresh


def _in_turn(run: _Run, fresh: _Run, S: Any, first: Any, second: Any) -> _Run:
    run.advance(12, first(S, run.optimizer), second(S, run.optimizer))
    return run


def _set_between(run: _Run, fresh: _Run, S: Any, first: Any, second: Any) -> _Run:
    scheduler = first(S, run.optimizer)
    run.advance(7, scheduler)
    run.set(0.04)
    run.advance(7, scheduler)
    return run


def _with_plateau(run: _Run, fresh: _Run, S: Any, first: Any, second: Any) -> _Run:
    plateau = S.ReduceLROnPlateau(run.optimizer, factor=0.5, patience=1)
    run.advance(20, first(S, run.optimizer), plateau, metric=1.0)
    return run


PATTERNS = {
    "second": _second,
    "second-set": _second_after_a_rate_was_set,
    "loaded-set": _loaded,
    "in-turn": _in_turn,
    "set-between": _set_between,
    "plateau": _with_plateau,
}
CASES = [
    *product(["second", "second-set", "loaded-set"], FIRST, MAKERS),
    *product(["in-turn"], ["StepLR", "LinearLR", "CosineAnnealingLR-floor"], CHAINABLE),
    *product(["set-between"], MAKERS, [""]),
    *product(["plateau"], CHAINABLE, [""]),
]


def run_pattern(case: tuple[str, str, str], optim: Any, schedulers: Any, parameter: Any) -> np.ndarray:
    """The options of every group after each action, as one library computes them."""
    pattern, first, second = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rates that are overwritten, which tests look at elsewhere
        run = PATTERNS[pattern](
            _Run(optim, parameter), _Run(optim, parameter, 0.77), schedulers, MAKERS[first], MAKERS.get(second)
        )
    return np.array(run.rows)
