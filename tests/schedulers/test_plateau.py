"""ReduceLROnPlateau: metrics, groups added later, what would happen."""

import json
import math
import warnings

import numpy as np
import pytest
from schedule_tools import follow, parameter, sgd

from minigrad import optim, tensor
from minigrad import schedulers as S


def test_a_metric_of_nan_counts_as_no_better():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    scheduler.step(1.0)
    for _ in range(2):
        scheduler.step(math.nan)
    assert scheduler.best == 1.0
    assert scheduler.get_last_lr() == [0.05]


def test_a_metric_may_be_a_tensor_and_a_group_added_later_is_reduced_too():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    scheduler.step(tensor(1.0))
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    scheduler.step(tensor(np.array([2.0])).sum())
    assert scheduler.get_last_lr() == [0.05, 0.2]
    assert scheduler.last_epoch == 2


def test_a_list_of_least_rates_says_that_it_has_none_for_a_group_added_later():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.01])
    scheduler.step(1.0)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="min_lr has 1 numbers for 2 param groups"):
        scheduler.step(2.0)
    assert scheduler.state_dict() == before
    scheduler.min_lr.append(0.3)
    scheduler.step(2.0)
    assert scheduler.get_last_lr() == [pytest.approx(0.01), 0.3]


def test_the_preview_of_a_plateau_is_what_happens_under_those_metrics(tmp_path):
    optimizer = sgd(0.1, 0.3)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=2, factor=0.5, cooldown=1)
    scheduler.step(1.0)
    metrics = [1.0, 0.9, 0.95, math.nan, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6]
    before = json.dumps(scheduler.state_dict())
    preview = scheduler.preview(metrics, tmp_path / "plateau.png")["lr"]
    assert json.dumps(scheduler.state_dict()) == before
    rows = [scheduler.get_last_lr()]
    for metric in metrics:
        scheduler.step(metric)
        rows.append(scheduler.get_last_lr())
    np.testing.assert_array_equal(preview.T, rows)
    assert len(set(preview[0])) > 2
    assert (tmp_path / "plateau.png").stat().st_size > 1000


# What counts as better


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("kind", ["rel", "abs"])
@pytest.mark.parametrize("best", [4.0, 0.5, 0.0, -0.5, -4.0])
def test_a_metric_must_pass_the_margin_whatever_the_sign_of_the_best(mode, kind, best):
    """PyTorch multiplies by 1 - threshold, and so puts the margin of a negative best on the wrong side."""
    sign = -1 if mode == "min" else 1
    margin = 0.1 * abs(best) if kind == "rel" else 0.1
    for metric, is_better in ((best + sign * (margin + 1e-9), True), (best + sign * (margin - 1e-9), False)):
        scheduler = S.ReduceLROnPlateau(sgd(0.1), mode, threshold=0.1, threshold_mode=kind)
        scheduler.step(best)
        scheduler.step(metric)
        assert (scheduler.best, scheduler.num_bad_epochs) == ((metric, 0) if is_better else (best, 1))


@pytest.mark.parametrize("threshold", [0.0, 1e-4, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_infinite_and_missing_metrics_are_bad_and_the_first_finite_one_is_good(mode, kind, threshold):
    worst = math.inf if mode == "min" else -math.inf
    scheduler = S.ReduceLROnPlateau(sgd(0.1), mode, threshold=threshold, threshold_mode=kind)
    for bad, metric in enumerate((worst, math.nan), 1):
        scheduler.step(metric)
        assert (scheduler.best, scheduler.num_bad_epochs) == (worst, bad)
    for metric in (3.0, -worst):
        scheduler.step(metric)
        assert (scheduler.best, scheduler.num_bad_epochs) == (metric, 0)
    for bad, metric in enumerate((-worst, 3.0, math.nan, worst), 1):
        scheduler.step(metric)
        assert (scheduler.best, scheduler.num_bad_epochs) == (-worst, bad)
    again = S.ReduceLROnPlateau(sgd(0.1), mode, threshold=threshold, threshold_mode=kind)
    again.load_state_dict(json.loads(json.dumps(scheduler.state_dict(), allow_nan=False)))
    assert again.best == -worst


# With other schedulers


WITH = {
    "warm-up": lambda o: S.Scheduler(o, S.Warmup(6, start_factor=0.1)),
    "warm-up from 0": lambda o: S.Scheduler(o, S.Warmup(6)),
    "warm-up by a function": lambda o: S.Scheduler(o, lambda t: 0.1 * min(1 + t, 6)),
    "LinearLR": lambda o: S.LinearLR(o, 0.1, total_iters=6),
    "LambdaLR": lambda o: S.LambdaLR(o, lambda t: min(1 + t, 6) / 6),
    "MultiplicativeLR": lambda o: S.MultiplicativeLR(o, lambda t: 0.9),
    "restarts": lambda o: S.CosineAnnealingWarmRestarts(o, 5),
    "cyclic": lambda o: S.CyclicLR(o, 0.1, 0.5, 4),
    "one cycle": lambda o: S.OneCycleLR(o, 0.5, 20),
    "sequence": lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=4), S.ExponentialLR(o, 0.9)], [4]),
    "sequence of both kinds": lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1), S.OneCycleLR(o, 0.5, 20)], [4]),
    "chain": lambda o: S.ChainedScheduler([S.LinearLR(o, 0.1, total_iters=4), S.ExponentialLR(o, 0.9)]),
    "product": lambda o: S.Scheduler(o, S.Product([S.Warmup(4), S.Exponential(0.9)])),
    "join": lambda o: S.Scheduler(o, S.Join([S.Warmup(4), S.Cyclic(0.1, 0.3, 3)], [4])),
}


@pytest.mark.parametrize("plateau_first", [False, True])
@pytest.mark.parametrize("make", WITH.values(), ids=WITH)
def test_a_plateau_is_a_factor_of_any_other_schedule(make, plateau_first):
    """Each reduction lasts: no schedule sets its rate back, and nothing warns that it did."""
    optimizer, alone = sgd(0.6, 0.3), sgd(0.6, 0.3)
    expected = follow(alone, make(alone), 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        others = [] if plateau_first else [make(optimizer)]
        plateau = S.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, eps=0.0)
        schedulers = [*others, plateau] if others else [plateau, make(optimizer)]
        factor = 1.0
        for step in range(20):
            np.testing.assert_allclose([g["lr"] for g in optimizer.param_groups], factor * expected[step], rtol=1e-12)
            optimizer.step()
            factor *= 0.5 if plateau.num_bad_epochs == 3 else 1.0
            for each in schedulers:
                each.step(1.0) if each is plateau else each.step()
    assert factor == 0.5**4


def test_a_run_with_a_plateau_resumes_under_any_other_schedule():
    for make in WITH.values():
        optimizer = sgd(0.6)
        schedulers = [make(optimizer), S.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)]

        def advance(optimizer, schedulers, steps):
            for _ in range(steps):
                optimizer.step()
                schedulers[0].step()
                schedulers[1].step(1.0)
            return [group["lr"] for group in optimizer.param_groups]

        advance(optimizer, schedulers, 9)
        states = json.loads(json.dumps([each.state_dict() for each in schedulers], allow_nan=False))
        other = sgd(0.6)
        again = [make(other), S.ReduceLROnPlateau(other, factor=0.5, patience=1)]
        for each, state in zip(again, states, strict=True):
            each.load_state_dict(state)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert advance(other, again, 9) == advance(optimizer, schedulers, 9)


def test_a_plateau_leaves_schedules_of_other_options_and_later_groups_alone():
    optimizer = optim.SGD([parameter()], lr=0.4, momentum=0.8)
    momentum, constant = S.Scheduler(optimizer, S.Exponential(0.5), "momentum"), S.Scheduler(optimizer, S.Constant())
    plateau = S.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    plateau.step(1.0)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.8})
    plateau.step(1.0)
    optimizer.step()
    momentum.step()
    constant.step()
    rates = [(group["lr"], group["momentum"]) for group in optimizer.param_groups]
    assert rates == [(pytest.approx(0.4 / 6), 0.4), (pytest.approx(0.4 / 3), 0.4)]


def test_a_refused_combination_with_a_plateau_says_that_both_can_be_stepped():
    optimizer = sgd(0.1)
    plateau = S.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match=r"number 1\) needs a metric at each step; .*its reductions persist"):
        S.ChainedScheduler([S.StepLR(optimizer, 3), plateau])
