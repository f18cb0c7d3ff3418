"""Warnings and errors of schedulers; an error leaves everything as it was."""

import dataclasses
import inspect
import math
import re
import warnings

import pytest
from schedule_cases import MAKERS
from schedule_tools import everything, follow, options_of, parameter, sgd

from minigrad import clipping, optim
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


@pytest.mark.parametrize(
    "make",
    [
        lambda o: S.LambdaLR(o, lambda t: 1 - t / 10),
        lambda o: S.Scheduler(o, lambda t: 0.1 - t / 100),
        lambda o: S.OneCycleLR(o, 0.2, 3, pct_start=0.9, anneal_strategy="linear"),
    ],
    ids=["lambda", "function", "onecycle"],
)
def test_schedules_that_do_not_follow_the_value_overwrite_a_change_with_a_warning(make):
    optimizer, untouched = sgd(0.1), sgd(0.1)
    scheduler, expected = make(optimizer), make(untouched).preview(2)["lr"][0, 1]
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.3
    with pytest.warns(UserWarning, match=r"lr of param group 0 was set to 0.3 by something else .*ChainedScheduler"):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == expected


def test_a_change_is_overwritten_with_a_warning_where_no_first_value_would_lead_to_it():
    optimizer = sgd(0.1)
    scheduler = S.PolynomialLR(optimizer, total_iters=2)
    follow(optimizer, scheduler, 2)
    optimizer.param_groups[0]["lr"] = 0.3
    with pytest.warns(UserWarning, match="was set to 0.3 by something else since this scheduler set 0.0"):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0


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
        (lambda o: S.ReduceLROnPlateau(o, factor=1.0), ValueError, r"factor must be a number in \[0, 1\), not 1\.0"),
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


# Values that are too large, or not a number


@dataclasses.dataclass(frozen=True, repr=False)
class Complex(S.Schedule):
    def value(self, step, initial):
        return (initial - step) ** 0.5


def growing(factor):
    return S.Product([S.Constant(), S.Join([S.Warmup(3), S.Scale(S.Shift(S.Exponential(factor), 2), 2.0)], [3])])


@pytest.mark.parametrize(
    ("make", "step", "error", "message"),
    [
        (lambda o: S.ExponentialLR(o, 2), 1024, ValueError, r"Exponential\(gamma=2.0\) is too large.* at step 1024"),
        (lambda o: S.ExponentialLR(o, 1e300), 2, ValueError, r"Exponential\(gamma=1e\+300\) is too large"),
        (lambda o: S.StepLR(o, 2, 1e200), 4, ValueError, r"StepDecay\(step_size=2.*too large for a float at step 4"),
        (lambda o: S.MultiStepLR(o, [1, 2], 1e200), 2, ValueError, r"MultiStep\(.*too large for a float at step 2"),
        (lambda o: S.CyclicLR(o, 0.1, 0.2, 3, mode="exp_range", gamma=1e200), 2, ValueError, "Cyclic.*at step 2"),
        (
            lambda o: S.CyclicLR(o, 0.1, 0.2, 3, scale_fn=lambda n: 10 ** (400 * n - 400)),
            8,
            ValueError,
            "too large for a float",
        ),
        (lambda o: S.LambdaLR(o, lambda t: 1e200**t), 2, ValueError, r"Lambda\(.*too large for a float at step 2"),
        (
            lambda o: S.LambdaLR(o, lambda t: 1.0 - t),
            2,
            ValueError,
            r"lr must be .* not -0.1, from Lambda\(.* at step 2",
        ),
        (lambda o: S.LambdaLR(o, lambda t: math.nan if t else 1.0), 3, ValueError, r"Lambda\(.* is NaN at step 3"),
        (lambda o: S.LambdaLR(o, lambda t: (1 - t) ** 0.5), 2, TypeError, r"Lambda: .*\(2\) must be a number, not \("),
        (lambda o: S.MultiplicativeLR(o, lambda t: 1e200), 2, ValueError, r"Multiplicative\(.* at step 2"),
        (
            lambda o: S.Scheduler(o, lambda t: 2.0**t),
            1024,
            ValueError,
            r"Function\(.*too large for a float at step 1024",
        ),
        (
            lambda o: S.Scheduler(o, lambda t: math.inf if t else 1),
            1,
            ValueError,
            r"not inf, from Function\(.* at step 1",
        ),
        (lambda o: S.Scheduler(o, Complex()), 3, TypeError, "must be a number at step 3, not "),
        (lambda o: S.Scheduler(o, growing(1e200)), 7, ValueError, r"Product\(.*too large for a float at step 7"),
        (
            lambda o: S.SequentialLR(o, [S.LinearLR(o, total_iters=3), S.ExponentialLR(o, 1e200)], [3]),
            5,
            ValueError,
            r"Join\(.*too large for a float at step 5",
        ),
        (lambda o: S.ChainedScheduler([S.LinearLR(o), S.ExponentialLR(o, 1e200)]), 2, ValueError, "Product.*step 2"),
    ],
)
def test_a_value_that_is_too_large_or_not_a_number_names_the_schedule_and_the_step(make, step, error, message):
    optimizer = sgd(0.1, 0.2)
    scheduler = make(optimizer)
    optimizer.step()
    before = everything(scheduler)
    with pytest.raises(error, match=message):
        scheduler.step(step)
    assert everything(scheduler) == before
    scheduler.step(0)


def test_a_schedule_that_is_too_large_says_so_when_it_is_called_or_previewed():
    with pytest.raises(ValueError, match=r"Exponential\(gamma=2.0\) is too large for a float at step 5000"):
        S.Exponential(2.0)(5000)
    with pytest.raises(ValueError, match="at step 1024"):
        S.ExponentialLR(sgd(0.1), 2.0).preview(2000)


def test_a_threshold_may_be_infinite_for_a_while():
    optimizer = optim.SGD([parameter()], clip=clipping.by_global_norm(1.0))
    scheduler = S.Scheduler(optimizer, lambda t: math.inf if t < 2 else 0.5, option="max_norm")
    assert follow(optimizer, scheduler, 3, "max_norm").ravel().tolist() == [math.inf, math.inf, 0.5]


# Attributes that are set later


@pytest.mark.parametrize("name", [name for name in S.__all__ if issubclass(getattr(S, name), S.Scheduler)])
def test_every_setting_of_a_scheduler_is_refused_afterwards(name):
    optimizer = sgd(0.1, 0.3)
    scheduler = MAKERS[name](S, optimizer) if name in MAKERS else S.Scheduler(optimizer, S.Warmup(3))
    before = repr(scheduler)
    settings = {*inspect.signature(getattr(S, name)).parameters, "optimizer", "schedules", "base_lrs"} - {"last_epoch"}
    for setting in settings:
        with pytest.raises(AttributeError, match=f"{name}: {setting} cannot be set later; make another {name}"):
            setattr(scheduler, setting, 0.9)
    assert repr(scheduler) == before


def test_the_epoch_may_be_set_and_is_checked():
    optimizer = sgd(0.8)
    scheduler = S.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    scheduler.last_epoch = 2
    scheduler.step()
    assert (scheduler.epoch, scheduler.get_last_lr()) == (3, [0.1])
    scheduler.epoch = 1.5
    assert scheduler.last_epoch == 1
    for wrong in (-1, math.nan, "2", True):
        with pytest.raises((ValueError, TypeError)):
            scheduler.epoch = wrong
    assert scheduler.epoch == 1.5


def test_another_schedule_put_in_place_is_followed_and_checked():
    optimizer = sgd(0.8)
    scheduler = S.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    scheduler.schedules["lr"] = S.Exponential(0.25)
    scheduler.step()
    assert scheduler.get_last_lr() == [0.2]
    scheduler.schedules["momentum"] = S.Exponential(0.5)
    with pytest.raises(ValueError, match="StepLR: schedules: unexpected 'momentum'"):
        scheduler.step()
    del scheduler.schedules["momentum"]
    scheduler.schedules["lr"] = lambda step: step / 8
    scheduler.step()
    assert scheduler.get_last_lr() == [0.25]
    scheduler.schedules["lr"] = 0.5
    with pytest.raises(TypeError, match=r"StepLR: a schedule must be a Schedule or a function of the step, not 0\.5"):
        scheduler.step()


def test_a_class_of_ones_own_may_have_attributes_of_any_name():
    class Halving(S.Scheduler):
        def __init__(self, optimizer, gamma):
            super().__init__(optimizer, S.Exponential(gamma))
            self.gamma = gamma

        def step(self, epoch=None):
            self.steps_taken = epoch
            super().step(epoch)

    optimizer = sgd(0.8)
    assert follow(optimizer, Halving(optimizer, 0.5), 2).ravel().tolist() == [0.8, 0.4]


@pytest.mark.parametrize("name", [n for n in S.__all__ if issubclass(getattr(S, n), S.Schedule) and n != "Schedule"])
def test_every_field_of_a_schedule_is_fixed(name):
    kind = getattr(S, name)
    schedule = object.__new__(kind)
    for each in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(schedule, each.name, 1)


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("factor", 0.25, 1.0),
        ("patience", 3, -1),
        ("threshold", 0.5, -1),
        ("threshold_mode", "abs", "relative"),
        ("cooldown", 2, 1.5),
        ("min_lr", [0.1], -0.1),
        ("eps", 0.01, math.nan),
        ("mode", "max", "more"),
        ("best", 0.5, math.nan),
        ("num_bad_epochs", 2, -1),
        ("cooldown_counter", 2, -1),
        ("last_epoch", 4, -1),
    ],
)
def test_every_attribute_of_a_plateau_may_be_set_within_its_limits(name, value, wrong):
    scheduler = S.ReduceLROnPlateau(sgd(0.1))
    setattr(scheduler, name, value)
    assert getattr(scheduler, name) == value
    with pytest.raises((ValueError, TypeError)):
        setattr(scheduler, name, wrong)
    assert getattr(scheduler, name) == value


def test_a_plateau_keeps_its_optimizer_and_after_a_metric_its_mode():
    scheduler = S.ReduceLROnPlateau(sgd(0.1), patience=0, factor=0.5)
    with pytest.raises(AttributeError, match=r"(?s)ReduceLROnPlateau\.optimizer is .* cannot be changed"):
        scheduler.optimizer = sgd(0.2)
    scheduler.mode = "max"
    for metric in (1.0, 2.0, 3.0):
        scheduler.step(metric)
    assert scheduler.get_last_lr() == [0.1]
    with pytest.raises(AttributeError, match="mode cannot be set after the first metric"):
        scheduler.mode = "min"
    assert scheduler.mode == "max"
