"""Scalars of several steps ahead: the rows equal those of single steps, and nothing changes until steps are taken."""

import numpy as np
import pytest
from optim_registry import VARIANTS, entry_named
from optim_tools import Chain, assert_same_bits, leaves, set_gradients

from minigrad.optim import apply_update, rule

EVERY_VARIANT = pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
STEPS = 7


def started(entry, variant):
    """An optimizer with two groups, after two steps of all parameters but the last, which has taken one."""
    params = leaves({"w": np.ones((2, 3)), "b": np.ones(3), "late": np.ones(2)})
    groups = [{"params": [("w", params["w"])]}, {"params": [("b", params["b"]), ("late", params["late"])], "lr": 0.01}]
    optimizer = entry.make(groups, **entry.variants[variant].options)
    grads = {name: np.full(p.shape, 0.5) for name, p in params.items()}
    for grad in (None, grads["late"]):
        set_gradients(params, {**grads, "late": grad})
        optimizer.step()
    return optimizer


def rows_of_steps(optimizer, rates):
    """The scalars of steps that are taken one by one."""
    rows = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        rows.append(optimizer._layout.scalars.copy())
    return np.array(rows)


@EVERY_VARIANT
def test_rows_ahead_equal_the_rows_of_single_steps(entry, variant):
    single, several = started(entry, variant), started(entry, variant)
    layout = several._ready()
    ages = [cohort.age for cohort in layout.cohorts]
    assert len(set(ages)) == 2
    rows = layout.scalar_rows(STEPS)
    assert [cohort.age for cohort in layout.cohorts] == ages
    assert_same_bits(rows, np.array([(single.step(), single._layout.scalars.copy())[1] for _ in range(STEPS)]))


@EVERY_VARIANT
def test_rows_follow_options_that_change_between_steps(entry, variant):
    rates = [0.05, 0.04, 0.03, 0.02, 0.05]
    single, several = started(entry, variant), started(entry, variant)
    rows = []
    for ahead, rate in enumerate(rates):
        for group in several.param_groups:
            group["lr"] = rate
        rows.append(several._ready().scalar_rows(1, ahead)[0])
    assert_same_bits(np.array(rows), rows_of_steps(single, rates))


@EVERY_VARIANT
@pytest.mark.parametrize("taken", [0, 3, STEPS])
def test_some_of_the_steps_ahead_may_be_taken(entry, variant, taken):
    # The kernels do not run here, but the scalars depend only on ages, options and carried numbers.
    single, several = started(entry, variant), started(entry, variant)
    several._ready().scalar_rows(STEPS)
    several._layout.advance(taken)
    for _ in range(taken):
        single.step()
    assert several._all_ages() == single._all_ages()
    assert several._all_carried() == single._all_carried()
    assert_same_bits(several._layout.scalar_rows(2), single._layout.scalar_rows(2))
    assert_same_bits(rows_of_steps(several, [0.03] * 4), rows_of_steps(single, [0.03] * 4))


def test_carried_numbers_of_old_steps_are_forgotten():
    optimizer = started(entry_named("NAdam"), "default")
    layout = optimizer._ready()
    for _ in range(3):
        layout.scalar_rows(100)
        layout.advance(100)
        for cohort in layout.cohorts:
            assert all(len(past) <= 3 for past in cohort._past.values())


def test_cohorts_with_the_same_options_and_ages_share_the_work():
    calls = []

    def count(step, lr):
        calls.append(step)
        return {"rate": lr * step}

    @rule(scalars=count)
    def scale(update, *, rate):
        update = rate * update
        return update

    params = leaves({"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)})
    optimizer = Chain(params, scale, apply_update, lr=0.1)
    rates = {"a": 0.1, "b": 0.1, "c": -0.1}
    optimizer.param_groups = [{"params": [pair], "lr": rates[pair[0]]} for pair in params.items()]
    set_gradients(params, {name: np.ones(2) for name in params})
    optimizer.step()
    calls.clear()
    rows = optimizer._layout.scalar_rows(3)
    assert sorted(calls) == [2, 2, 3, 3, 4, 4]
    assert rows[:, :, optimizer._layout.plan.columns["rate"]].tolist() == [
        [0.1 * step, 0.1 * step, -0.1 * step] for step in (2, 3, 4)
    ]


def test_a_step_that_does_not_give_a_scalar_keeps_the_one_before():
    def now_and_then(step, lr):
        return {"rate": lr * step} if step in (1, 4, 6) else {}

    @rule(scalars=now_and_then)
    def scale(update, *, rate):
        update = rate * update
        return update

    rows = []
    for ahead in (False, True):
        params = leaves({"a": np.ones(2)})
        optimizer = Chain(params, scale, apply_update, lr=0.5)
        set_gradients(params, {"a": np.ones(2)})
        optimizer.step()
        rows.append(optimizer._layout.scalar_rows(STEPS) if ahead else rows_of_steps(optimizer, [0.5] * STEPS))
    column = optimizer._layout.plan.columns["rate"]
    assert rows[0][:, 0, column].tolist() == [0.5, 0.5, 2.0, 2.0, 3.0, 3.0, 3.0]
    assert_same_bits(*rows)
