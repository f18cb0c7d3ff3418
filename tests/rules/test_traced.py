"""Rules without source, as at a plain prompt: what running them on symbols must not get wrong or let pass."""

import random

import numpy as np
import pytest
from optim_tools import Chain, leaves, set_gradients

from minigrad import optim
from minigrad.optim import RuleError, apply_update, norm, rule


def typed(body, **names):
    """A rule typed where Python keeps no source."""
    scope = {"rule": rule, **names}
    exec(body, scope)
    return rule(scope["r"])


def test_names_of_its_own_do_not_meet_those_of_the_rule():
    traced = typed("def r(update, *, t0, t1):\n  x = update * 2.0 + 1.0\n  update = x * t1 + t0\n  return update")
    params = leaves({"w": np.zeros(1)}, np.float64)
    optimizer = Chain(params, traced, apply_update, lr=1.0, t0=7.0, t1=0.3)
    set_gradients(params, {"w": np.ones(1)})
    optimizer.step()
    assert params["w"].data == pytest.approx([-7.9])


def test_numpys_functions_mean_the_rules_own_or_are_refused():
    traced = typed("def r(update):\n  update = np.maximum(np.abs(update), .5)\n  return update", np=np)
    assert "maximum(" in traced.source
    with pytest.raises(RuleError, match="clip"):
        typed("def r(update):\n  update = np.clip(update, -1, 1)\n  return update", np=np)


def test_what_would_be_frozen_or_never_end_is_refused():
    with pytest.raises(RuleError, match="'random' cannot be used in a rule"):
        typed("def r(update):\n  update = update * random.random()\n  return update", random=random)
    with pytest.raises(RuleError, match="a rule has no loops"):
        typed("def r(update):\n  while update > 1:\n    update = update * 0.5\n  return update")


def test_what_a_state_a_norm_and_a_start_must_be_is_said_at_once():
    body = "def r(update, {0}):\n  return update, {0}"
    for name in ("step", "param"):
        scope = {}
        exec(body.format(name), scope)
        with pytest.raises(RuleError, match="means something else"):
            rule(scope["r"], state=(name,))
    scope = {}
    exec(body.format("m"), scope)
    with pytest.raises(RuleError, match="not one name"):
        rule(scope["r"], state="m")
    with pytest.raises(RuleError, match="first argument is step"):
        rule(scope["r"], state=("m",), scalars={"a": 1})
    with pytest.raises(RuleError, match="a number or the name of an option"):
        rule(scope["r"], state=("m",), init={"m": len})
    with pytest.raises(ValueError, match="must end with _norm"):
        norm("update", "global", name="size")


@rule(state=("m",))
def accumulate(update, m):
    m = m + update
    return update, m


@rule
def divide(update, u_norm):
    update = update / u_norm
    return update


def test_a_norm_that_may_stop_the_step_stands_before_what_changes_state():
    stopping = norm("update", "global", name="u_norm", nonfinite="skip")
    with pytest.raises(ValueError, match="must stand before 'accumulate'"):
        optim.chain(accumulate, stopping, divide, apply_update)
    assert len(optim.chain(stopping, divide, accumulate, apply_update)) == 4
