"""Warnings and errors of schedulers; an error leaves everything as it was."""

import math
import re
import warnings

import pytest
from schedule_tools import everything, follow, options_of, parameter, sgd

from minigrad import optim
from minigrad import schedulers as S

# Warnings


def test_a_step_before_the_optimizers_first_one_warns_once():
    optimizer = sgd(0.1)
    scheduler = S.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=re.escape("StepLR.step() came before optimizer.step()")) as caught:
        scheduler.step()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_a_step_of_the_optimizer_before_the_scheduler_was_made_does_not_count():
    optimizer = sgd(0.1)
    optimizer.step()
    scheduler = S.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="came before optimizer"):
        scheduler.step()


def test_the_right_order_does_not_warn():
    for make in (lambda o: S.StepLR(o, 3), lambda o: S.SequentialLR(o, [S.StepLR(o, 3), S.LinearLR(o)], [4])):
        optimizer = sgd(0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            follow(optimizer, make(optimizer), 10)


def test_a_change_by_something_else_is_overwritten_with_a_warning():
    optimizer = sgd(0.1)
    first, second = S.ExponentialLR(optimizer, 0.9), S.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    first.step()
    with pytest.warns(UserWarning, match=r"StepLR: lr of param group 0 was set to 0.09.*ChainedScheduler"):
        second.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


# Errors leave everything as it was


def test_a_value_that_the_option_does_not_allow_changes_nothing():
    optimizer = sgd(0.1, 0.2)
    scheduler = S.Scheduler(optimizer, [lambda t: 0.5, lambda t: 0.5 - t])
    optimizer.step()
    before = everything(scheduler)
    with pytest.raises(ValueError, match=r"lr must be a finite number of 0 or more, not -0\.5"):
        scheduler.step()
    assert everything(scheduler) == before
    with pytest.raises(ValueError, match="a step must be"):
        scheduler.step(-1)
    assert everything(scheduler) == before


def test_a_scheduler_that_cannot_be_made_changes_nothing():
    optimizer = optim.Adam([{"params": [parameter()]}, {"params": [parameter()]}])
    before = options_of(optimizer)
    for make in (
        lambda: S.Scheduler(optimizer, lambda t: 2.0, option="beta1"),
        lambda: S.Scheduler(optimizer, [lambda t: 0.1, lambda t: math.nan]),
        lambda: S.Scheduler(optimizer, [S.Constant()]),
        lambda: S.Scheduler(optimizer, S.Constant(), last_epoch=-2),
        lambda: S.OneCycleLR(optimizer, 0.1, 100, max_momentum=1.5),
        lambda: S.OneCycleLR(optimizer, [0.1], 100),
    ):
        with pytest.raises(ValueError):  # noqa: PT011  # each has its own text, which other tests look at
            make()
        assert options_of(optimizer) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: S.StepLR([1], 3), TypeError, "StepLR: needs an optimizer, not list"),
        (lambda o: S.OneCycleLR(None, 0.1, 3), TypeError, "OneCycleLR: needs an optimizer, not NoneType"),
        (lambda o: S.Scheduler(o, 0.5), TypeError, "must be a Schedule or a function of the step, not 0.5"),
        (lambda o: S.Scheduler(o, S.Constant), TypeError, "must be a Schedule or a function"),
        (
            lambda o: S.Scheduler(o, S.Constant(), "momentun"),
            ValueError,
            "unknown option 'momentun'; did you mean 'momentum'",
        ),
        (lambda o: S.Scheduler(o, S.Constant(), "nesterov"), ValueError, "numeric options of param group 0 of SGD"),
        (lambda o: S.Scheduler(o, S.Constant(), "beta1"), ValueError, "unknown option 'beta1'"),
        (lambda o: S.Scheduler(o, [S.Constant()] * 2), ValueError, "2 schedules of lr for 1 param groups"),
        (lambda o: S.StepLR(o, 3, last_epoch=-2), ValueError, "last_epoch must be a whole number of -1 or more"),
        (lambda o: S.CosineAnnealingLR(o, -10), ValueError, "T_max must be a whole number of 1 or more, not -10"),
        (lambda o: S.ExponentialLR(o, math.nan), ValueError, "gamma must be"),
        (lambda o: S.ExponentialLR(o), ValueError, "either gamma or rate"),
        (lambda o: S.ExponentialLR(o, 0.9, rate=0.1), ValueError, "either gamma or rate"),
        (lambda o: S.MultiStepLR(o, [5, 3]), ValueError, "milestones must be increasing"),
        (lambda o: S.LambdaLR(o, [abs, abs]), ValueError, "2 schedules of lr for 1 param groups"),
        (lambda o: S.OneCycleLR(o, 0.1), ValueError, "total_steps, or both epochs and steps_per_epoch"),
        (lambda o: S.OneCycleLR(o, 0.1, epochs=3), ValueError, "total_steps, or both"),
        (lambda o: S.OneCycleLR(o, 0.1, 10, div_factor=0), ValueError, "div_factor must be"),
        (lambda o: S.OneCycleLR(o, [0.1, 0.2], 10), ValueError, "max_lr has 2 numbers for 1 param groups"),
        (lambda o: S.OneCycleLR(o, 0.1, 10, anneal_strategy="lin"), ValueError, "did you mean 'linear'"),
        (lambda o: S.CyclicLR(o, 0.1, 0.2, mode="exprange"), ValueError, "did you mean 'exp_range'"),
        (lambda o: S.ReduceLROnPlateau(o, "mni"), ValueError, "unknown mode 'mni'; did you mean 'min'"),
        (lambda o: S.ReduceLROnPlateau(o, threshold_mode="relative"), ValueError, "unknown threshold_mode"),
        (lambda o: S.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor must be below 1"),
        (lambda o: S.ReduceLROnPlateau(o, patience=-1), ValueError, "patience must be"),
        (lambda o: S.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), ValueError, "min_lr has 2 numbers for 1 param groups"),
        (lambda o: S.ReduceLROnPlateau(o).step("low"), ValueError, "could not convert"),
        (lambda o: S.ReduceLROnPlateau(o).step(None), TypeError, "float"),
        (lambda o: S.StepLR(o, 3).preview(0), ValueError, "steps must be a whole number of 1 or more"),
        (lambda o: S.StepLR(o, 3).get_last_values("momentum"), ValueError, "unknown scheduled option 'momentum'"),
        (lambda o: S.Scheduler(o, S.Constant(), "momentum").get_last_lr(), ValueError, "unknown scheduled option 'lr'"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(make, error, message):
    with pytest.raises(error, match=message):
        make(sgd(0.1))


def test_cycling_the_momentum_of_an_optimizer_that_has_none_is_refused():
    optimizer = optim.Adagrad([parameter()])
    for make in (S.CyclicLR, S.OneCycleLR):
        with pytest.raises(ValueError, match="Adagrad has neither momentum nor betas; give cycle_momentum=False"):
            make(optimizer, 0.1, 20)
    S.OneCycleLR(optimizer, 0.1, 20, cycle_momentum=False)
