"""Schedules are pure functions of the step, equal to their formulas."""

import dataclasses
import math

import numpy as np
import pytest
from schedule_cases import CASES, STEPS, examples
from schedule_tools import assert_same_curve

from minigrad import schedulers as S


def curve(schedule, steps=STEPS, initial=1.0):
    return np.array([schedule(step, initial) for step in range(steps)])


# What each schedule is, by its definition: of the step, the first value, and the arguments.


def step_decay(t, first, step_size, gamma=0.1):
    for _ in range(t // step_size):
        first *= gamma
    return first


def multi_step(t, first, milestones, gamma=0.1):
    return first * math.prod([gamma for milestone in milestones if milestone <= t])


def constant(t, first, factor, total_iters):
    return first * (factor if t < total_iters else 1)


def linear(t, first, start_factor=1 / 3, end_factor=1.0, total_iters=5):
    return first * np.interp(t, [0, total_iters], [start_factor, end_factor])


def polynomial(t, first, total_iters, power):
    return first * (1 - t / total_iters) ** power if t < total_iters else 0.0


def cosine(t, first, T_max, eta_min):
    return eta_min + (first - eta_min) * math.cos(math.pi * t / T_max / 2) ** 2  # (1 + cos 2x)/2 = cos² x


def restarts(t, first, T_0, T_mult, eta_min):
    start, length = 0, T_0
    while start + length <= t:
        start, length = start + length, length * T_mult
    return cosine(t - start, first, length, eta_min)


def cyclic(t, first, base_lr, max_lr, step_size_up, step_size_down=None, mode="triangular", gamma=1.0, **custom):
    down = step_size_down or step_size_up
    cycle, place = divmod(t, step_size_up + down)
    height = np.interp(place, [0, step_size_up, step_size_up + down], [0, 1, 0])
    scale = {"triangular": 1, "triangular2": 1 / 2**cycle, "exp_range": gamma**t}[mode]
    if "scale_fn" in custom:
        scale = custom["scale_fn"](t if custom.get("scale_mode") == "iterations" else cycle + 1)
    return base_lr + (max_lr - base_lr) * height * scale


FORMULAS = {
    "StepLR": step_decay,
    "MultiStepLR": multi_step,
    "ConstantLR": constant,
    "LinearLR": linear,
    "ExponentialLR": lambda t, first, gamma: first * math.exp(t * math.log(gamma)),
    "PolynomialLR": polynomial,
    "CosineAnnealingLR": cosine,
    "CosineAnnealingWarmRestarts": restarts,
    "LambdaLR": lambda t, first, lr_lambda: first * lr_lambda(t),
    "MultiplicativeLR": lambda t, first, lr_lambda: first * math.prod(lr_lambda(k) for k in range(1, t + 1)),
    "CyclicLR": cyclic,
}
SCHEDULES = {
    "StepLR": S.StepDecay,
    "MultiStepLR": S.MultiStep,
    "ConstantLR": S.Constant,
    "LinearLR": S.Linear,
    "ExponentialLR": S.Exponential,
    "PolynomialLR": S.Polynomial,
    "CosineAnnealingLR": S.CosineAnnealing,
    "CosineAnnealingWarmRestarts": S.WarmRestarts,
    "LambdaLR": S.Lambda,
    "MultiplicativeLR": S.Multiplicative,
    "CyclicLR": S.Cyclic,
}
WITH_FORMULA = [case for case in CASES if case.scheduler in FORMULAS and len(case.rates) == 1]


@pytest.mark.parametrize("case", WITH_FORMULA, ids=lambda case: case.name)
def test_the_schedule_equals_its_definition_at_every_step(case):
    given = {name: value for name, value in case.arguments.items() if name != "cycle_momentum"}
    names = {"base_lr": "base_value", "max_lr": "max_value", "lr_lambda": "function"}
    schedule = SCHEDULES[case.scheduler](**{names.get(k, k): v for k, v in given.items()}, **case.here)
    expected = [FORMULAS[case.scheduler](t, 0.1, **given) for t in range(STEPS)]
    assert_same_curve(curve(schedule, initial=0.1), expected, case.name, "by the formula in schedule_cases.py")


def test_exponential_decay_by_rate_is_e_to_the_minus_rate_times_step():
    np.testing.assert_allclose(curve(S.ExponentialRate(0.02), initial=3.0), 3 * np.exp(-0.02 * np.arange(STEPS)), 1e-13)


def test_cosine_annealing_stays_at_its_floor_after_the_last_step_unless_it_repeats():
    held, repeated = S.CosineAnnealing(50, 0.01), S.CosineAnnealing(50, 0.01, repeat=True)
    assert [held(t) for t in range(50)] == [repeated(t) for t in range(50)]
    assert {held(t) for t in range(50, STEPS)} == {0.01}
    assert repeated(100) == repeated(1000) == 1.0
    assert repeated(75) == pytest.approx((1 + 0.01) / 2)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_goes_through_its_given_values_and_stays_at_the_last(anneal, three_phase):
    schedule = S.OneCycle(0.1, 1.0, 0.001, 101, pct_start=30 / 101, anneal_strategy=anneal, three_phase=three_phase)
    assert schedule(0) == 0.1
    assert schedule(29) == pytest.approx(1.0, abs=1e-14)
    assert schedule(14.5) == pytest.approx((0.1 + 1.0) / 2)
    if three_phase:
        assert schedule(58) == pytest.approx(0.1)
    assert schedule(100) == schedule(101) == schedule(10**6) == 0.001
    assert curve(schedule).argmax() == 29


def test_one_cycle_whose_first_phase_has_no_length_begins_at_the_peak():
    assert S.OneCycle(0.1, 1.0, 0.0, 10, pct_start=0.1)(0) == 1.0
    assert S.OneCycle(0.1, 1.0, 0.0, 1)(0) == 0.0


# Warm restarts: every restart exactly, by counting


@pytest.mark.parametrize("first", [1, 2, 3, 7, 10, 37, 1000])
@pytest.mark.parametrize("factor", [1, 2, 3, 5, 10])
def test_every_restart_up_to_step_100000_is_exact(first, factor):
    schedule = S.WarmRestarts(first, factor, eta_min=0.01)
    start, length, number = 0, first, 0
    while start <= 100_000:
        assert schedule.cycle(start) == (0, length, number)
        assert schedule(start, 0.3) == 0.3
        assert schedule.cycle(start + length - 1) == (length - 1, length, number)
        start, length, number = start + length, length * factor, number + 1


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 10])
def test_every_step_between_restarts_counts_from_the_last_one(factor):
    schedule, start, length = S.WarmRestarts(3, factor), 0, 3
    for step in range(20_000):
        if step == start + length:
            start, length = step, length * factor
        assert schedule.cycle(step)[:2] == (step - start, length)


def test_the_restart_that_a_floating_point_logarithm_misses_is_there():
    assert S.WarmRestarts(1, 3)(121, 0.1) == 0.1
    assert S.WarmRestarts(10, 2).cycle(51)[:2] == (21, 40)


def test_fractions_of_an_epoch_lie_between_the_restarts():
    schedule = S.WarmRestarts(10, 2)
    assert schedule.cycle(29.75) == (19.75, 20, 1)
    assert schedule.cycle(30.25) == (0.25, 40, 2)
    assert schedule(5.0) == pytest.approx(0.5)
    assert schedule(9.5) < schedule(9) < schedule(8.5)


# Warm-up and what follows it


@pytest.mark.parametrize(
    ("shape", "at_quarter"),
    [("linear", 0.325), ("cosine", 0.1 + 0.9 * (1 - math.sqrt(0.5)) / 2), ("exponential", 0.1**0.75)],
)
def test_warm_up_rises_from_the_start_factor_to_one_and_stays(shape, at_quarter):
    schedule = S.Warmup(20, shape, start_factor=0.1)
    values = curve(schedule, 40)
    assert values[0] == pytest.approx(0.1)
    assert values[5] == pytest.approx(at_quarter, rel=1e-12)
    assert (np.diff(values[:21]) > 0).all()
    assert (values[20:] == 1).all()


def test_linear_warm_up_from_nothing_is_the_step_over_the_length():
    np.testing.assert_allclose(curve(S.Warmup(10), 11), np.arange(11) / 10, rtol=1e-15)


def test_inverse_square_root_rises_linearly_and_falls_by_the_root():
    schedule = S.InverseSqrt(16)
    np.testing.assert_allclose(curve(schedule, 17), np.arange(17) / 16)
    steps = np.arange(16, STEPS)
    np.testing.assert_allclose([schedule(int(t)) for t in steps], np.sqrt(16 / steps), rtol=1e-14)
    np.testing.assert_allclose(curve(S.InverseSqrt()), 1 / np.sqrt(1 + np.arange(STEPS)), rtol=1e-14)
    assert S.InverseSqrt(10, timescale=90)(10 + 270) == 0.5


@pytest.mark.parametrize(
    ("decay", "at_quarter"),
    [
        ("linear", 1 - 0.99 / 4),
        ("cosine", 0.01 + 0.99 * (1 + math.sqrt(0.5)) / 2),
        ("sqrt", 1 - 0.99 / 2),
        ("exponential", 0.01**0.25),
    ],
)
def test_warm_up_stable_decay_has_its_three_parts(decay, at_quarter):
    schedule = S.WarmupStableDecay(10, 50, 40, decay=decay, end_factor=0.01)
    values = curve(schedule, 150)
    np.testing.assert_allclose(values[:10], np.arange(10) / 10)
    assert (values[10:61] == 1).all()
    assert values[70] == pytest.approx(at_quarter, rel=1e-12)
    assert (np.diff(values[60:101]) < 0).all()
    assert (values[100:] == 0.01).all()


def test_warm_up_stable_decay_may_have_no_warm_up_and_no_stable_part():
    np.testing.assert_allclose(curve(S.WarmupStableDecay(0, 0, 10), 12), [*np.arange(10, -1, -1) / 10, 0])


# Composition


def test_joined_schedules_count_from_their_milestones():
    joined = S.Join([S.Warmup(5), S.CosineAnnealing(20), S.Exponential(0.5)], [5, 25])
    for t in range(60):
        expected = S.Warmup(5)(t) if t < 5 else S.CosineAnnealing(20)(t - 5) if t < 25 else 0.5 ** (t - 25)
        assert joined(t) == expected


def test_a_product_multiplies_factors_and_keeps_the_floor_of_its_last_schedule():
    product = S.Product([S.Exponential(0.9), S.Linear(0.5, 1.0, 10)])
    for t in range(30):
        assert product(t, 2.0) == pytest.approx(2 * 0.9**t * min(0.5 + 0.05 * t, 1), rel=1e-14)
    floored = S.Product([S.Warmup(5), S.CosineAnnealing(10, eta_min=0.05)])
    assert floored(50, 2.0) == 0.05


def test_shifted_and_scaled_schedules():
    schedule = S.Exponential(0.5)
    assert curve(S.Shift(schedule, 2), 5).tolist() == [1, 1, 1, 0.5, 0.25]
    assert curve(S.Shift(schedule, -2), 2).tolist() == [0.25, 0.125]
    assert curve(S.Scale(schedule, 8), 3, initial=2.0).tolist() == [16, 8, 4]
    assert S.Hold(schedule, 3)(100) == 0.125


def test_any_function_of_the_step_is_a_schedule_that_gives_the_value_itself():
    joined = S.Join([lambda t: 7.0 + t, S.Exponential(0.5)], [3])
    assert curve(joined, 5, initial=100.0).tolist() == [7, 8, 9, 100, 50]


def test_a_product_refuses_what_would_forget_the_factors_before_it():
    cyclic = S.Cyclic(0.1, 1.0, 5)
    with pytest.raises(ValueError, match="Cyclic gives absolute values"):
        S.Product([S.Exponential(0.9), cyclic])
    with pytest.raises(ValueError, match="Shift gives absolute values"):
        S.Product([S.Exponential(0.9), S.Shift(S.Scale(cyclic, 2.0), 1)])
    assert S.Product([cyclic, S.Exponential(0.5)])(5, 100.0) == pytest.approx(0.5**5)


# Purity, and how schedules show themselves


def test_every_schedule_has_an_example():
    exported = {getattr(S, name) for name in S.__all__}
    schedules = {each for each in exported if issubclass(each, S.Schedule)} - {S.Schedule}
    assert schedules == {type(example) for example in examples(S)}


@pytest.mark.parametrize("schedule", examples(S), ids=repr)
def test_steps_can_be_asked_in_any_order(schedule):
    fresh = dataclasses.replace(schedule)
    backwards = [fresh(t, 0.3) for t in reversed(range(60))]
    assert backwards[::-1] == [schedule(t, 0.3) for t in range(60)]
    assert schedule(np.int64(17), 0.3) == schedule(17, 0.3)


@pytest.mark.parametrize("schedule", examples(S), ids=repr)
def test_a_relative_schedule_scales_with_the_first_value_and_another_does_not_see_it(schedule):
    with_floor = getattr(schedule, "eta_min", 0) != 0
    for t in range(40):
        if not schedule.relative:
            assert schedule(t, 5.0) == schedule(t, 1.0)
        elif not with_floor:
            assert schedule(t, 5.0) == pytest.approx(5 * schedule(t), rel=1e-12)


@pytest.mark.parametrize("schedule", examples(S), ids=repr)
def test_schedules_are_immutable_and_refuse_impossible_steps(schedule):
    name = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, name, 1)
    for wrong in (-1, -0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="a step must be"):
            schedule(wrong)
    for wrong in ("3", None, True, 1j):
        with pytest.raises(TypeError, match="a step must be"):
            schedule(wrong)


def test_a_schedule_shows_its_numbers_and_names_its_functions():
    assert repr(S.CosineAnnealing(10)) == "CosineAnnealing(T_max=10, eta_min=0.0, repeat=False)"
    assert repr(S.MultiStep((np.int64(3), 9), np.float64(0.5))) == "MultiStep(milestones=[3, 9], gamma=0.5)"
    joined = S.Join([S.Warmup(3), step_decay], [3])
    assert repr(joined) == (
        "Join(schedules=[Warmup(total_iters=3, shape='linear', start_factor=0.0), "
        "Function(function=step_decay)], milestones=[3])"
    )


def test_schedules_with_the_same_numbers_are_equal():
    assert S.Exponential(0.9) == S.Exponential(0.9) != S.Exponential(0.8)
    used, fresh = S.Multiplicative(math.cos), S.Multiplicative(math.cos)
    used(10)
    assert used == fresh


def test_a_new_schedule_is_a_dataclass_with_a_value():
    @dataclasses.dataclass(frozen=True, repr=False)
    class Halving(S.Schedule):
        every: int = 2

        def value(self, step, initial):
            return initial * 0.5 ** (step // self.every)

    assert S.Product([Halving(3), S.Exponential(0.5)])(3) == 0.0625
    assert repr(Halving()) == "Halving(every=2)"


# Wrong arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.StepDecay(0), "StepDecay: step_size must be a whole number of 1 or more, not 0"),
        (lambda: S.StepDecay(5, math.nan), "gamma must be a finite number of 0 or more, not nan"),
        (lambda: S.StepDecay(5, -0.1), "gamma must be a finite number of 0 or more, not -0.1"),
        (lambda: S.MultiStep([30, 10]), r"milestones must be increasing, not \[30, 10\]"),
        (lambda: S.MultiStep([-1, 10]), "each of milestones must be a whole number of 0 or more"),
        (lambda: S.Exponential(math.inf), "gamma must be a finite number"),
        (lambda: S.ExponentialRate(-1), "rate must be"),
        (lambda: S.Constant(-1), "factor must be"),
        (lambda: S.Constant(0.5, -1), "total_iters must be a whole number of 0 or more"),
        (lambda: S.Linear(total_iters=0), "total_iters must be a whole number of 1 or more"),
        (lambda: S.Polynomial(5, 0), "power must be a finite number above 0"),
        (lambda: S.CosineAnnealing(-5), "CosineAnnealing: T_max must be a whole number of 1 or more, not -5"),
        (lambda: S.CosineAnnealing(5, math.nan), "eta_min must be a finite number, not nan"),
        (lambda: S.WarmRestarts(10, 0), "T_mult must be a whole number of 1 or more"),
        (lambda: S.Cyclic(0.1, 1.0, mode="triangle"), "unknown mode 'triangle'; did you mean 'triangular'"),
        (lambda: S.Cyclic(0.1, 1.0, 0), "step_size_up must be a finite number above 0"),
        (lambda: S.Cyclic(0.1, 1.0, scale_mode="cycles"), "did you mean 'cycle'"),
        (lambda: S.OneCycle(0.1, 1.0, 0.0, 10, pct_start=1.5), r"pct_start must be a number in \[0, 1\], not 1\.5"),
        (lambda: S.OneCycle(0.1, 1.0, 0.0, 10, anneal_strategy="cosine"), "did you mean 'cos'"),
        (lambda: S.Warmup(10, "exponential"), "start_factor must be above 0 for an exponential curve"),
        (lambda: S.Warmup(10, "linaer"), "unknown shape 'linaer'; did you mean 'linear'"),
        (lambda: S.WarmupStableDecay(1, 1, 1, decay="exponential"), "end_factor must be above 0"),
        (lambda: S.InverseSqrt(5, timescale=0), "timescale must be"),
        (lambda: S.Join([S.Constant()], [5]), "1 schedules need 0 milestones, not 1"),
        (lambda: S.Join([S.Constant()] * 3, [5, 5]), "milestones must be increasing"),
        (lambda: S.Join([], []), "the list of schedules is empty"),
        (lambda: S.Multiplicative(math.cos)(2.5), "needs a whole step"),
    ],
)
def test_values_outside_their_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.StepDecay("3"), "step_size must be a whole number"),
        (lambda: S.StepDecay(2.5), "step_size must be a whole number"),
        (lambda: S.WarmRestarts(10, 1.5), "T_mult must be a whole number of 1 or more, not 1.5"),
        (lambda: S.Exponential(True), "gamma must be a finite number of 0 or more, not True"),
        (lambda: S.MultiStep(30), "milestones must be a list of whole numbers, not 30"),
        (lambda: S.Lambda(0.5), "function must be a function, not 0.5"),
        (lambda: S.Lambda(lambda t: "a")(1), "must be a number, not 'a'"),
        (lambda: S.Cyclic(0.1, 1.0, scale_fn=3), "scale_fn must be a function"),
        (lambda: S.CosineAnnealing(5, repeat=1), "repeat must be True or False"),
        (lambda: S.Join(S.Constant(), []), "must be a list of schedules"),
        (lambda: S.Product([S.Constant(), 0.5]), "a schedule must be a Schedule or a function of the step, not 0.5"),
        (lambda: S.Shift(S.Constant, 3), "a schedule must be a Schedule"),
    ],
)
def test_values_of_another_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
