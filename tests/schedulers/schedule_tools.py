"""Small optimizers, and what a scheduler does to them."""

import copy
import json

import numpy as np

from minigrad import nn, optim


def parameter(size=3):
    return nn.Parameter(np.ones(size))


def sgd(*rates, **options):
    groups = [{"params": [parameter()], "lr": rate} for rate in rates or (0.1,)]
    return optim.SGD(groups, **{"momentum": 0.9, **options})


def options_of(optimizer):
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def follow(optimizer, scheduler, steps, option="lr"):
    values = []
    for _ in range(steps):
        values.append([group[option] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return np.array(values)


def assert_same_curve(values, expected, what, beside, rtol=1e-12, atol=1e-16):
    """Equal at every step (the first axis); a failure names the first step at which it is not."""
    values, expected = np.asarray(values), np.asarray(expected)
    assert values.shape == expected.shape, f"{what}: {values.shape} values here, {expected.shape} {beside}"
    wrong = ~np.isclose(values, expected, rtol=rtol, atol=atol)
    if wrong.any():
        step, *rest = (int(i) for i in np.argwhere(wrong)[0])
        where = f"step {step}" + (f", column {rest[0]}" if rest else "")
        around = slice(max(step - 2, 0), step + 3)
        here, there = float(values[step, *rest]), float(expected[step, *rest])
        raise AssertionError(
            f"{what} differs at {wrong.sum()} of {wrong.size} values, first at {where}: {here!r} here, {there!r} "
            f"{beside}\n  from step {around.start} on, here: {values[around]}\n  {beside}: {expected[around]}"
        )


def everything(scheduler):
    optimizer = scheduler.optimizer
    own = {k: v for k, v in vars(scheduler).items() if k not in ("optimizer", "schedules", "_options", "_restarts")}
    state = json.dumps(optimizer.state_dict(), default=np.ndarray.tolist)
    return copy.deepcopy((own, options_of(optimizer), state, repr(scheduler)))
