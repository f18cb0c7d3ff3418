"""AdamW's decay by the schedule's factor alone: λ times η_t, which is 1 where the schedule is at its full rate."""

import math

import numpy as np
import pytest

from minigrad import nn, optim, tensor
from minigrad import schedulers as S

RATE, DECAY = 0.02, 0.1

# A scheduler, and the rate at which its factor is 1.
SCHEDULERS = {
    "StepLR": (lambda o: S.StepLR(o, 3, 0.5), RATE),
    "MultiStepLR": (lambda o: S.MultiStepLR(o, [2, 5]), RATE),
    "ConstantLR": (lambda o: S.ConstantLR(o), RATE),
    "LinearLR": (lambda o: S.LinearLR(o, 0.1, total_iters=6), RATE),
    "ExponentialLR": (lambda o: S.ExponentialLR(o, 0.9), RATE),
    "PolynomialLR": (lambda o: S.PolynomialLR(o, 15), RATE),
    "CosineAnnealingLR": (lambda o: S.CosineAnnealingLR(o, 15, 0.001), RATE),
    "CosineAnnealingWarmRestarts": (lambda o: S.CosineAnnealingWarmRestarts(o, 4), RATE),
    "LambdaLR": (lambda o: S.LambdaLR(o, lambda t: min(1, (1 + t) / 5)), RATE),
    "MultiplicativeLR": (lambda o: S.MultiplicativeLR(o, lambda t: 0.9), RATE),
    "CyclicLR": (lambda o: S.CyclicLR(o, 0.001, 0.5, 4, mode="triangular2"), 0.5),
    "OneCycleLR": (lambda o: S.OneCycleLR(o, 0.5, 20), 0.5),
    "OneCycleLR at the optimizer's rate": (lambda o: S.OneCycleLR(o, RATE, 20), RATE),
    "OneCycleLR below the optimizer's rate": (lambda o: S.OneCycleLR(o, RATE / 10, 20), RATE / 10),
    "warm-up": (lambda o: S.Scheduler(o, S.Warmup(5)), RATE),
    "inverse square root": (lambda o: S.Scheduler(o, S.InverseSqrt(5)), RATE),
    "warm-up, stable, decay": (lambda o: S.Scheduler(o, S.WarmupStableDecay(5, 5, 5)), RATE),
    "one cycle as a schedule": (lambda o: S.Scheduler(o, S.OneCycle(0.01, 0.3, 0.0, 20)), 0.3),
    "cycles as a schedule": (lambda o: S.Scheduler(o, S.Shift(S.Scale(S.Cyclic(0.01, 0.3, 5), 0.5), 2)), 0.3),
    "joined": (lambda o: S.Scheduler(o, S.Join([S.Warmup(4), S.OneCycle(0.02, 0.3, 0.0, 9)], [4])), 0.3),
    "product": (lambda o: S.Scheduler(o, S.Product([S.OneCycle(0.01, 0.3, 0.0, 20), S.Exponential(0.9)])), 0.3),
    "sequence": (lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1), S.ExponentialLR(o, 0.9)], [5]), RATE),
    "sequence with one cycle": (lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1), S.OneCycleLR(o, 0.5, 20)], [5]), 0.5),
    "chain": (lambda o: S.ChainedScheduler([S.LinearLR(o, 0.1), S.ExponentialLR(o, 0.9)]), RATE),
    "plateau": (lambda o: S.ReduceLROnPlateau(o, factor=0.5, patience=1), RATE),
    "function": (lambda o: S.Scheduler(o, lambda t: RATE * 0.9**t), RATE),
}  # fmt: skip


def adamw(**options):
    weight = nn.Parameter(np.array([1.0, -2.0]))
    options = {"lr": RATE, "weight_decay": DECAY, "decay_coupling": "schedule", **options}
    return weight, optim.AdamW([weight], **options)


def assert_decays_by(weight, optimizer, factor):
    """With a gradient of 0 Adam does not move, and only the decay is left."""
    before = weight.data.copy()
    weight.grad = tensor(np.zeros(2))
    optimizer.step()
    np.testing.assert_allclose(weight.data, before * (1 - factor * DECAY), rtol=1e-12)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_decay_is_the_schedules_factor_of_its_full_rate(name):
    make, full = SCHEDULERS[name]
    weight, optimizer = adamw()
    scheduler = make(optimizer)
    for _ in range(20):
        assert_decays_by(weight, optimizer, optimizer.param_groups[0]["lr"] / full)
        scheduler.step(*([1.0] if name == "plateau" else []))


def test_one_cycle_decays_fully_at_its_peak_and_a_25th_of_that_at_its_start():
    weight, optimizer = adamw()
    scheduler = S.OneCycleLR(optimizer, 0.5, 20, pct_start=0.5, anneal_strategy="linear")
    factors = [0.04 + 0.96 * t / 9 for t in range(10)]
    for factor in factors:
        assert_decays_by(weight, optimizer, factor)
        scheduler.step()
    assert factors[-1] == pytest.approx(1)


@pytest.mark.parametrize("lookahead", [False, True])
def test_groups_have_their_own_full_rate_and_a_loaded_optimizer_the_same(lookahead):
    def make(rates):
        params = [nn.Parameter(np.ones(1)) for _ in rates]
        groups = [{"params": [param], "lr": rate} for param, rate in zip(params, rates, strict=True)]
        optimizer = optim.AdamW(groups, weight_decay=DECAY, decay_coupling="schedule")
        return params, optim.Lookahead(optimizer, k=100) if lookahead else optimizer

    _, optimizer = make((0.1, 0.3))
    scheduler = S.OneCycleLR(optimizer, [0.5, 0.2], 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    again, loaded = make((0.7, 0.9))
    loaded.load_state_dict(optimizer.state_dict())
    for param, group, peak in zip(again, loaded.param_groups, (0.5, 0.2), strict=True):
        param.grad = tensor(np.zeros(1))
        factor = group["lr"] / peak
        assert 0 < factor < 1
        loaded.step()
        np.testing.assert_allclose(param.data, 1 - factor * DECAY, rtol=1e-6)
        param.grad = None


def test_the_first_schedule_counts_from_the_rate_that_was_set_for_it_and_a_second_one_continues():
    weight, optimizer = adamw(lr=1e-3)
    optimizer.param_groups[0]["lr"] = 0.05
    scheduler = S.StepLR(optimizer, 1, 0.5)
    for factor in (1.0, 0.5):
        assert_decays_by(weight, optimizer, factor)
        scheduler.step()
    scheduler = S.ExponentialLR(optimizer, 0.9)
    for step in range(3):
        assert_decays_by(weight, optimizer, 0.25 * 0.9**step)
        scheduler.step()
    optimizer.param_groups[0]["lr"] = 0.2
    S.ConstantLR(optimizer, 1.0)
    assert_decays_by(weight, optimizer, 1.0)


def test_rates_set_by_hand_are_a_schedule_too():
    weight, optimizer = adamw()
    for factor in (1.0, 0.5, 0.25):
        optimizer.param_groups[0]["lr"] = RATE * factor
        assert_decays_by(weight, optimizer, factor)
    weight, optimizer = adamw(lr=0.0)
    assert_decays_by(weight, optimizer, 0.0)
    assert math.isfinite(weight.data[0])


def test_the_state_of_a_version_without_a_full_rate_is_loaded():
    weight, optimizer = adamw()
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        del group["max_lr"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["max_lr"] == RATE
    assert_decays_by(weight, optimizer, 1.0)
