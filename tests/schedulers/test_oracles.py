"""minigrad's schedulers have PyTorch's values over 300 steps, stored and live, on the grid of schedule_cases.py."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import schedule_patterns
from schedule_cases import CASES, STEPS, case_named, trajectory
from schedule_tools import assert_same_curve

from minigrad import nn, optim, schedulers

GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def stored() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "schedules.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def script():
    spec = importlib.util.spec_from_file_location("golden_schedules", GOLDEN / "schedules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_here(case) -> np.ndarray:
    return trajectory(case, optim, schedulers, lambda: nn.Parameter(np.ones(1)), True)


def assert_same_values(ours: np.ndarray, theirs: np.ndarray, what: str = "the scheduler") -> None:
    # The absolute part is rounding of the largest value, which remains where PyTorch subtracts large values.
    assert_same_curve(ours, theirs, what, "in PyTorch", atol=1e-15 * np.abs(theirs).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_scheduler_has_the_stored_values_of_pytorch(case):
    assert_same_values(run_here(case), stored()[case.name], case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_stored_values_are_what_pytorch_gives_now(case):
    pytest.importorskip("torch")
    assert_same_values(script().run(case), stored()[case.name])


def test_every_case_is_stored_and_nothing_else():
    assert set(stored()) == {case.name for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_scheduler_of_pytorch_is_here_and_has_a_case():
    lr_scheduler = pytest.importorskip("torch.optim.lr_scheduler")
    theirs = set(lr_scheduler.__all__) - {"LRScheduler"}
    assert theirs <= set(schedulers.__all__)
    assert theirs == {case.scheduler for case in CASES}


def test_every_stored_curve_changes_unless_its_arguments_say_otherwise():
    constant = {name for name, values in stored().items() if np.ptp(values) == 0}
    for name in constant:
        arguments = case_named(name).arguments
        assert 1.0 in arguments.values() or arguments.get("T_0") == 1 or arguments.get("milestones") == [], name


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.scheduler not in ("ReduceLROnPlateau", "ChainedScheduler", "SequentialLR")],
    ids=lambda case: case.name,
)
def test_a_run_resumed_at_any_last_epoch_goes_on_as_if_it_had_not_stopped(case):
    values = stored()[case.name]
    momentum = {"momentum": 0.9} if case.optimizer == "SGD" else {}
    for last_epoch in [*range(12), 49, 50, 119, 120, 121, 298]:
        groups = [{"params": [nn.Parameter(np.ones(1))], "lr": 0.777} for _ in case.rates]
        optimizer = getattr(optim, case.optimizer)(groups, **momentum)
        for group, rate in zip(optimizer.param_groups, case.rates, strict=True):
            group["initial_lr"] = rate
            group["initial_momentum" if momentum else "initial_betas"] = 0.9 if momentum else (0.9, 0.999)
        made = getattr(schedulers, case.scheduler)
        scheduler = made(optimizer, **case.arguments, **case.here, last_epoch=last_epoch)
        curves = scheduler.preview(STEPS - 1 - last_epoch)
        assert scheduler.last_epoch == last_epoch + 1
        assert_same_values(np.concatenate(list(curves.values())).T, values[last_epoch + 1 :])


# Several schedulers of one optimizer, and rates set by hand


@cache
def stored_patterns() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "schedule_patterns.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("case", schedule_patterns.CASES, ids=" ".join)
def test_several_schedulers_and_rates_set_by_hand_give_the_stored_values_of_pytorch(case):
    ours = schedule_patterns.run_pattern(case, optim, schedulers, lambda: nn.Parameter(np.ones(1)))
    assert_same_values(ours, stored_patterns()[" ".join(case)], " ".join(case))


@pytest.mark.parametrize("case", schedule_patterns.CASES, ids=" ".join)
def test_the_stored_values_of_several_schedulers_are_what_pytorch_gives_now(case):
    pytest.importorskip("torch")
    assert_same_values(script().run_pattern(case), stored_patterns()[" ".join(case)])
