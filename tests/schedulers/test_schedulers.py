"""Schedulers: any option of any optimizer, groups added later, any epoch, schedulers of schedulers."""

import math
import warnings

import numpy as np
import pytest
from schedule_tools import follow, options_of, parameter, sgd

from minigrad import clipping, nn, optim, tensor
from minigrad import schedulers as S

# What is scheduled


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay", "dampening"])
def test_any_option_follows_a_schedule_from_its_own_first_value(option):
    optimizer = optim.SGD([parameter()], lr=0.5, momentum=0.8, weight_decay=0.4, dampening=0.2)
    first = optimizer.param_groups[0][option]
    before = options_of(optimizer)[0]
    values = follow(optimizer, S.Scheduler(optimizer, S.Exponential(0.9), option=option), 20, option)
    np.testing.assert_allclose(values[:, 0], first * 0.9 ** np.arange(20), rtol=1e-14)
    after = options_of(optimizer)[0]
    assert {name for name in after if after[name] != before.get(name)} == {option, f"initial_{option}"}


def test_each_beta_follows_its_own_schedule_and_leaves_the_other():
    optimizer = optim.Adam([parameter()], betas=(0.5, 0.8))
    first = S.Scheduler(optimizer, S.Linear(1.0, 0.5, 10), option="beta1")
    second = S.Scheduler(optimizer, lambda step: 0.8 + step / 200, option="beta2")
    for step in range(20):
        expected = (0.5 * (1 - 0.05 * min(step, 10)), 0.8 + step / 200)
        assert optimizer.param_groups[0]["betas"] == pytest.approx(expected, rel=1e-14)
        optimizer.step()
        first.step()
        second.step()
    assert optimizer.param_groups[0]["initial_betas"] == (0.5, 0.8)


def test_a_clips_threshold_follows_a_schedule_and_the_clip_acts_on_it():
    weight = nn.Parameter(np.zeros(2))
    optimizer = optim.SGD([weight], lr=1.0, clip=clipping.by_global_norm(4.0))
    scheduler = S.Scheduler(optimizer, S.Exponential(0.5), option="max_norm")
    for step in range(4):
        before = weight.data.copy()
        weight.grad = tensor(np.array([300.0, 400.0]))
        optimizer.step()
        scheduler.step()
        assert np.linalg.norm(weight.data - before) == pytest.approx(4 * 0.5**step, rel=1e-6)


def test_a_scheduled_option_changes_the_update_it_belongs_to():
    """The kernel must see a changed beta, which lies within a tuple, as it sees a changed rate."""
    results = []
    for schedule in (None, lambda step: 0.5 + 0.1 * step):
        weight = nn.Parameter(np.ones(3))
        optimizer = optim.Adam([weight], lr=0.1, betas=(0.5, 0.9))
        scheduler = S.Scheduler(optimizer, schedule, option="beta1") if schedule else None
        m = v = 0.0
        value = np.ones(3)
        for step in range(4):
            grad = np.array([1.0, -2.0, 0.5]) * (-1) ** step * (step + 1)
            beta = schedule(step) if schedule else 0.5
            m, v = beta * m + (1 - beta) * grad, 0.9 * v + 0.1 * grad**2
            c1, c2 = 1 - beta ** (step + 1), 1 - 0.9 ** (step + 1)
            value = value - 0.1 * (m / c1) / (np.sqrt(v / c2) + 1e-8)
            weight.grad = tensor(grad)
            optimizer.step()
            if scheduler:
                scheduler.step()
        np.testing.assert_allclose(weight.data, value, rtol=1e-12)
        results.append(weight.data.copy())
    assert not np.allclose(*results)


def test_changing_a_beta_does_not_plan_the_chain_anew():
    optimizer = optim.Adam([parameter()])
    scheduler = S.Scheduler(optimizer, lambda step: 0.9 - step / 100, option="beta1")
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0].changed
    assert not optimizer.param_groups[0].restructured


def test_groups_keep_their_own_first_values_and_may_have_their_own_schedules():
    optimizer = sgd(0.1, 0.4)
    np.testing.assert_allclose(follow(optimizer, S.StepLR(optimizer, 2, 0.5), 4)[3], [0.05, 0.2])
    optimizer = sgd(0.1, 0.4)
    scheduler = S.Scheduler(optimizer, [S.Exponential(0.5), S.Constant(0.1, 2)])
    np.testing.assert_allclose(
        follow(optimizer, scheduler, 4), [[0.1, 0.04], [0.05, 0.04], [0.025, 0.4], [0.0125, 0.4]]
    )


def test_a_plain_function_gives_the_value_and_a_lambda_scheduler_the_factor():
    optimizer = sgd(0.1)
    S.Scheduler(optimizer, lambda step: 0.7 - step / 10)
    assert optimizer.param_groups[0]["lr"] == 0.7
    optimizer = sgd(0.1)
    S.LambdaLR(optimizer, lambda step: 0.7 - step / 10)
    assert optimizer.param_groups[0]["lr"] == 0.1 * 0.7


def test_a_callable_object_may_be_a_learning_rate_lambda():
    class Halving:
        def __call__(self, step):
            return 0.5**step

    optimizer = sgd(0.8)
    scheduler = S.LambdaLR(optimizer, Halving())
    assert scheduler.preview(3)["lr"].tolist() == [[0.8, 0.4, 0.2]]
    assert scheduler.state_dict()["schedules"]["lr"].startswith("Lambda(function=test_a_callable")


def test_exponential_by_rate_is_the_exponential_of_the_rate():
    optimizer = sgd(0.8)
    curve = S.ExponentialLR(optimizer, rate=0.05).preview(50)["lr"][0]
    np.testing.assert_allclose(curve, 0.8 * np.exp(-0.05 * np.arange(50)), rtol=1e-14)


# Param groups added later


@pytest.mark.parametrize(
    "make",
    [
        lambda o: S.StepLR(o, 3, 0.5),
        lambda o: S.CosineAnnealingWarmRestarts(o, 5, 2),
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=4), S.ExponentialLR(o, 0.9)], [4]),
        lambda o: S.ChainedScheduler([S.ConstantLR(o), S.ExponentialLR(o, 0.9)]),
        lambda o: S.OneCycleLR(o, 1.0, 40),
    ],
    ids=["step", "restarts", "sequential", "chained", "onecycle"],
)
def test_a_group_added_later_follows_the_scheduler(make):
    optimizer, whole = sgd(0.1), sgd(0.1, 0.3)
    scheduler, expected = make(optimizer), make(whole).preview(30)["lr"]
    follow(optimizer, scheduler, 7)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.3})
    assert optimizer.param_groups[1]["lr"] == 0.3
    ahead = scheduler.preview(23)["lr"][:, 1:]
    optimizer.step()
    scheduler.step()
    values = follow(optimizer, scheduler, 22)
    np.testing.assert_array_equal(values.T, expected[:, 8:])
    np.testing.assert_array_equal(values.T, ahead)
    assert len(scheduler.get_last_lr()) == 2


def test_a_list_of_schedules_says_that_it_has_none_for_a_group_added_later():
    optimizer = sgd(0.1, 0.2)
    scheduler = S.LambdaLR(optimizer, [lambda t: 1.0, lambda t: 0.5**t])
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    before = options_of(optimizer)
    optimizer.step()
    with pytest.raises(ValueError, match="2 schedules of lr for 3 param groups"):
        scheduler.step()
    assert options_of(optimizer) == before
    assert scheduler.last_epoch == 0
    scheduler.schedules["lr"].append(S.Exponential(0.1))
    scheduler.step()
    assert scheduler.get_last_lr() == [0.1, 0.1, pytest.approx(0.04)]


# Any epoch


def test_step_goes_to_any_epoch_and_on_from_there():
    optimizer = sgd(0.1)
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 1, 3)
    optimizer.step()
    scheduler.step(121)
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (121, 0, 243)
    assert scheduler.get_last_lr() == [0.1]
    scheduler.step(3.75)
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (3, 2.75, 3)
    scheduler.step()
    assert (scheduler.last_epoch, scheduler.T_cur, scheduler.T_i) == (4, 0, 9)


def test_warm_restarts_resumed_in_the_middle_of_a_cycle():
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["initial_lr"] = 0.1
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 10, 2, last_epoch=50)
    assert (scheduler.T_cur, scheduler.T_i) == (21, 40)
    assert optimizer.param_groups[0]["lr"] == 0.1 * (1 + math.cos(math.pi * 21 / 40)) / 2


def test_resuming_needs_to_know_the_first_value():
    optimizer = sgd(0.1)
    with pytest.raises(ValueError, match=r"param group 0 has no 'initial_lr'.*load the optimizer's state dict"):
        S.StepLR(optimizer, 3, last_epoch=7)
    assert "initial_lr" not in optimizer.param_groups[0]


def test_a_second_scheduler_starts_from_the_value_that_is_set_and_the_group_remembers_the_first_one():
    optimizer = sgd(0.1)
    follow(optimizer, S.ExponentialLR(optimizer, 0.5), 3)
    later = S.ConstantLR(optimizer, 0.5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    assert later.get_last_lr() == [0.00625]


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay", "beta1"])
def test_any_option_starts_again_from_what_was_set(option):
    kind = optim.Adam if option == "beta1" else sgd
    optimizer = kind([parameter()], weight_decay=0.4) if kind is optim.Adam else sgd(0.1, weight_decay=0.4)
    follow(optimizer, S.Scheduler(optimizer, S.Exponential(0.5), option), 3)
    key, value = ("betas", (0.6, 0.9)) if option == "beta1" else (option, 0.6)
    optimizer.param_groups[0][key] = value
    again = S.Scheduler(optimizer, S.Linear(1.0, 0.0, 2), option)
    assert again.preview(3)[option].tolist() == [[0.6, 0.3, 0.0]]


def test_a_schedule_that_starts_from_the_initial_rate_says_so_where_another_was_set():
    """PyTorch drops the rate that was set, without a word."""
    optimizer = sgd(0.1)
    follow(optimizer, S.StepLR(optimizer, 1, 0.5), 2)
    optimizer.param_groups[0]["lr"] = 0.07
    makers = (
        lambda: S.LambdaLR(optimizer, lambda t: 1.0),
        lambda: S.CosineAnnealingWarmRestarts(optimizer, 5),
        lambda: S.SequentialLR(optimizer, [S.StepLR(optimizer, 3)], []),
    )
    for make in makers[:2]:
        with pytest.warns(UserWarning, match=r"starts from initial_lr=0.1 of param group 0.*not from 0.07") as caught:
            assert make().get_last_lr() == [0.1]
        assert caught[0].filename == __file__
        optimizer.param_groups[0]["lr"] = 0.07
    optimizer.param_groups[0]["initial_lr"] = 0.07
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [make().get_last_lr() for make in makers] == [[0.07]] * 3


def test_schedulers_follow_their_groups_when_these_change_places():
    optimizer = sgd(0.1, 0.4)
    scheduler = S.LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 0.1**t])
    plateau = S.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, min_lr=[0.04, 0.0])
    follow(optimizer, scheduler, 1)
    first, second = list(optimizer.param_groups)
    optimizer.param_groups.reverse()
    optimizer.step()
    scheduler.step()
    assert (first["lr"], second["lr"]) == (0.1 * 0.25, pytest.approx(0.4 * 0.01))
    first["lr"] = 0.05
    for metric in (1.0, 1.0):
        plateau.step(metric)
    assert (first["lr"], second["lr"]) == (0.04, pytest.approx(0.002))


def test_cyclic_and_one_cycle_say_their_own_first_rate():
    optimizer = sgd(0.1)
    S.CyclicLR(optimizer, 0.02, 0.5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.02
    S.OneCycleLR(optimizer, 0.5, 100, div_factor=5)
    assert optimizer.param_groups[0]["initial_lr"] == 0.1
    assert optimizer.param_groups[0]["initial_momentum"] == 0.9


# Schedulers of schedulers


def test_an_option_that_some_turns_lack_stays_where_the_last_one_left_it():
    optimizer = sgd(0.1)
    parts = [S.LinearLR(optimizer, total_iters=5), S.OneCycleLR(optimizer, 0.5, 30), S.ExponentialLR(optimizer, 0.9)]
    curves = S.SequentialLR(optimizer, parts, [5, 15]).preview(25)
    cycle = S.OneCycle(0.95, 0.85, 0.95, 30)
    expected = [cycle(0)] * 5 + [cycle(t) for t in range(10)] + [cycle(9)] * 10
    assert curves["momentum"][0].tolist() == expected


def test_sequences_and_chains_nest():
    optimizer = sgd(0.1)
    chained = S.ChainedScheduler([S.ExponentialLR(optimizer, 0.9), S.StepLR(optimizer, 4, 0.5)])
    scheduler = S.SequentialLR(optimizer, [S.LinearLR(optimizer, 0.1, total_iters=5), chained], [5])
    values = follow(optimizer, scheduler, 30)[:, 0]
    t = np.arange(25)
    np.testing.assert_allclose(values[5:], 0.1 * 0.9**t * 0.5 ** (t // 4), rtol=1e-13)
    np.testing.assert_allclose(values[:5], 0.1 * (0.1 + 0.9 * np.arange(5) / 5), rtol=1e-13)


def test_a_sequence_resumes_at_any_last_epoch():
    def make(optimizer, last_epoch):
        parts = [S.LinearLR(optimizer, total_iters=5), S.ExponentialLR(optimizer, 0.9)]
        return S.SequentialLR(optimizer, parts, [5], last_epoch=last_epoch)

    expected = make(sgd(0.1), -1).preview(20)["lr"]
    for last_epoch in range(15):
        optimizer = sgd(0.1)
        optimizer.param_groups[0]["initial_lr"] = 0.1
        np.testing.assert_array_equal(
            make(optimizer, last_epoch).preview(5)["lr"], expected[:, last_epoch + 1 :][:, :5]
        )


def test_what_cannot_be_combined_says_why():
    optimizer, other = sgd(0.1), sgd(0.1)
    step, plateau = S.StepLR(optimizer, 3), S.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau \(number 1\) needs a metric"):
        S.SequentialLR(optimizer, [step, plateau], [3])
    with pytest.raises(ValueError, match=r"StepLR \(number 0\) belongs to another optimizer"):
        S.SequentialLR(other, [step, step], [3])
    with pytest.raises(ValueError, match="2 schedulers need 1 milestones, not 2"):
        S.SequentialLR(optimizer, [step, step], [3, 5])
    with pytest.raises(ValueError, match="milestones must be increasing"):
        S.SequentialLR(optimizer, [step, step, step], [5, 3])
    with pytest.raises(ValueError, match="the list of schedulers is empty"):
        S.ChainedScheduler([])
    with pytest.raises(TypeError, match="number 1 is not a scheduler but StepDecay"):
        S.ChainedScheduler([step, S.StepDecay(3)])
    with pytest.raises(ValueError, match=r"Cyclic gives absolute values.*put it first"):
        S.ChainedScheduler([step, S.CyclicLR(optimizer, 0.1, 1.0, cycle_momentum=False)])
    optimizer.step()
    step.step()
    with pytest.raises(ValueError, match="has already stepped"):
        S.ChainedScheduler([step])


# How it shows itself


def test_a_scheduler_shows_its_schedules_and_where_it_stands():
    optimizer = sgd(0.1)
    scheduler = S.StepLR(optimizer, 3)
    follow(optimizer, scheduler, 2)
    assert repr(scheduler) == "StepLR(lr=StepDecay(step_size=3, gamma=0.1), epoch=2)"
    assert repr(S.ReduceLROnPlateau(optimizer, min_lr=[0.1])).startswith("ReduceLROnPlateau(mode='min', factor=0.1, ")
