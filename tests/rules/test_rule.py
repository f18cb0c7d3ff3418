"""Rules: the compiled reading is the plain one to the last bit; names, state and chains."""

import math

import numpy as np
import pytest
from optim_plain import step_and_compare
from optim_tools import Chain, assert_same_bits, leaves, set_gradients, take_step

from minigrad import optim
from minigrad.kernels.plan import Plan
from minigrad.optim import RuleError, apply_update, exp, log, maximum, minimum, norm, rule, sign, sqrt

SPECIAL = [0.0, -0.0, 1.0, -1.5, 1e-40, -1e-45, 1e20, -3e38, math.inf, -math.inf, math.nan, 0.1, 7.0, 2.5]


def stepped(*elements, values=(1.0, -2.0, 3.0), grads=(0.5, 0.25), dtype=np.float32, **options):
    """The parameter after steps with constant gradients, each compared with the plain reading."""
    params = leaves({"w": np.array(values)}, dtype)
    optimizer = Chain(params, *elements, **options)
    for g in grads:
        set_gradients(params, {"w": np.full(len(values), g)})
        step_and_compare(optimizer, params)
    return params["w"].data


# Declaring rules


def test_a_rule_without_source_is_refused_with_the_remedy():
    scope = {"rule": rule}
    with pytest.raises(RuleError, match=r"rule 'own': .* which Python has not kept; write it in a file"):
        exec("@rule\ndef own(update):\n    update = -update\n    return update", scope)


def test_states_starts_and_scalars_are_checked_at_once():
    def own(update, m):
        return update, m

    def step(update, step):
        return update, step

    def param(update, param):
        return update, param

    for function, name in ((step, "step"), (param, "param")):
        with pytest.raises(RuleError, match="means something else"):
            rule(function, state=(name,))
    with pytest.raises(RuleError, match="not one name"):
        rule(own, state="m")
    with pytest.raises(RuleError, match="first argument is step"):
        rule(own, state=("m",), scalars={"a": 1})
    with pytest.raises(RuleError, match="a number or the name of an option"):
        rule(own, state=("m",), init={"m": len})
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


def test_a_norm_that_may_stop_the_step_comes_before_what_changes_state():
    stopping = norm("update", "global", name="u_norm", nonfinite="skip")
    with pytest.raises(ValueError, match="must come before 'accumulate'"):
        optim.chain(accumulate, stopping, divide, apply_update)
    assert len(optim.chain(stopping, divide, accumulate, apply_update)) == 4


# The compiled reading is the plain one


@rule(state=("root", "size", "direction", "larger", "smaller", "first", "last", "square"))
def functions(update, param, root, size, direction, larger, smaller, first, last, square):
    root = sqrt(update)
    size = abs(param)
    direction = sign(param)
    larger = maximum(update, param)
    smaller = minimum(param, 0.25)
    first = max(update, param)
    last = min(param, update)
    square = param**2
    param = maximum(param, 0.0) + minimum(0.1, update) / 3
    return param, root, size, direction, larger, smaller, first, last, square


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_functions_have_the_bits_of_plain_python_on_every_special_value(dtype):
    pairs = np.array([(a, b) for a in SPECIAL for b in SPECIAL]).T
    params = leaves({"w": pairs[0]}, dtype)
    optimizer = Chain(params, functions)
    set_gradients(params, {"w": pairs[1]})
    step_and_compare(optimizer, params)


@rule(state=("exponential", "logarithm", "power", "cube"))
def transcendental(update, param, exponential, logarithm, power, cube, *, alpha):
    exponential = exp(update)
    logarithm = log(abs(update))
    power = abs(update) ** alpha
    cube = param**3
    return param, exponential, logarithm, power, cube


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_exp_log_and_powers_are_those_of_numpy_within_two_ulps(dtype):
    """NumPy and the compiler have libraries of their own for these, so the last bits may differ."""
    x = np.array([*SPECIAL, *np.linspace(-4, 4, 41)], dtype)
    params = leaves({"w": x}, dtype)
    optimizer = Chain(params, transcendental, alpha=0.7)
    take_step(optimizer, params, {"w": x})
    with np.errstate(all="ignore"):
        expected = {
            "exponential": np.exp(x),
            "logarithm": np.log(np.abs(x)),
            "power": np.abs(x) ** dtype(0.7),
            "cube": x**3,
        }
    for slot, value in expected.items():
        found = optimizer.state["w"][slot]
        np.testing.assert_array_equal(np.isnan(found), np.isnan(value))
        np.testing.assert_allclose(
            found, value, rtol=2 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).smallest_subnormal
        )


@rule
def conditions(update, param, *, high, on):
    near = abs(param) < high and not update < 0
    off = on == 0 or param != param
    step = update if near else -update if param >= 2 else 0.125
    param = param - step if not off else param + 1 / 3
    return param


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("on", [0.0, 1.0])
def test_conditions_have_the_bits_of_plain_python(dtype, on):
    stepped(conditions, values=SPECIAL, grads=(0.3, -0.7, math.nan), dtype=dtype, high=2.2, on=on)


@rule
def uniform(update, param, param_norm, *, lr, beta):
    """What depends on options and norms alone is computed in float64 and rounded once."""
    ratio = 1 - beta**3 if param_norm > 1 else sqrt(2) / param_norm
    scale = minimum(ratio, lr) * (2**-1) / 3
    param = param - scale * update
    return param


def test_what_depends_on_options_alone_is_computed_in_float64_and_rounded_once():
    stepped(norm("param", "tensor"), uniform, lr=0.3, beta=0.9999)
    source = str(Chain(leaves({"w": np.ones(2)}), norm("param", "tensor"), uniform, lr=0.3, beta=0.9).plan())
    assert source.count("real(") == 1


HALF = 0.5
INFINITE = math.inf


def test_numbers_from_outside_are_constants_as_they_were_when_the_rule_was_declared():
    local = 2

    @rule
    def outside(update, param):
        param = param - minimum(HALF * local, INFINITE) * update
        return param

    stepped(outside)
    local = 7
    params = leaves({"w": np.ones(2)})
    found = take_step(Chain(params, outside), params, {"w": np.full(2, 0.25)})
    assert_same_bits(found["w"], np.full(2, 0.75, np.float32))


@rule(state=("count", "total"), init={"count": 3, "total": "start"})
def counted(update, count, total):
    count = count + 1
    total += update
    update = total / count
    return update, count, total


def test_state_begins_with_a_number_or_an_option():
    assert_same_bits(stepped(counted, apply_update, grads=(0.5,), start=1.5, lr=1.0), np.float32([0.5, -2.5, 2.5]))


@rule(scalars=lambda step, lr, decay: {"rate": lr / (1 + decay * step), "unused": step})
def decaying(update, *, rate):
    update = rate * update
    return update


@rule
def subtract(update, param):
    param = param - update
    return param


def test_scalars_depend_on_the_step_and_the_options():
    found = stepped(decaying, subtract, lr=1.0, decay=1.0)
    assert_same_bits(found, np.float32([1, -2, 3]) - np.float32(0.25) - np.float32(1 / 3) * np.float32(0.25))


# Names


@rule
def locals_like_options(update, param):
    lr = 2 * update
    eps = lr
    update = lr + eps
    return update


@rule
def uses_eps(update, *, eps):
    lr = 2 * eps
    update = lr * update
    return update


def test_locals_of_one_rule_do_not_meet_the_options_or_locals_of_another():
    """update·4, then by 2·eps = 0.25, then by lr = 0.5: a half in all."""
    found = stepped(locals_like_options, uses_eps, apply_update, eps=0.125, lr=0.5)
    assert_same_bits(found, np.float32([1, -2, 3]) - np.float32(0.375))


@rule(state=("i", "blocks"))
def named_like_the_kernel(update, param, i, blocks, *, row, start, stop, b, lanes, real, param_, grad_flat):
    np = update
    range = np * real
    abs_ = abs(range)
    math = sign(range) * abs_
    i = i + math * row * start
    blocks = blocks + stop * b * lanes * param_ * grad_flat
    param = param - i + 0 * blocks
    return param, i, blocks


def test_names_that_generated_code_uses_itself_are_free_to_rules():
    options = dict.fromkeys(("row", "start", "stop", "b", "lanes", "real", "param_", "grad_flat"), 1.0)
    assert_same_bits(stepped(named_like_the_kernel, **options), np.float32([1, -2, 3]) - np.float32(1.25))


@rule
def option_of_a_name(update, *, momentum):
    update = momentum * update
    return update


@rule(state=("momentum",))
def state_of_that_name(update, param, momentum):
    momentum = momentum + update
    param = param - momentum
    return param, momentum


def test_an_option_of_one_rule_may_be_called_like_the_state_of_another():
    class Beside(Chain):
        def chain(self):
            return [option_of_a_name, state_of_that_name]

    params = leaves({"w": np.ones(2)})
    optimizer = Beside(params, momentum=2.0)
    for _ in range(2):
        take_step(optimizer, params, {"w": np.full(2, 0.25)})
    assert_same_bits(params["w"].data, np.full(2, 1 - 0.5 - 1.0, np.float32))


@rule
def changes_without_returning(update, param, grad):
    update = 2 * update
    grad = 3 * grad
    param = param - update + 0 * grad
    return param


def test_what_a_rule_changes_and_does_not_return_stays_its_own():
    found = stepped(changes_without_returning, subtract, grads=(0.5,))
    assert_same_bits(found, np.float32([1 - 1.5, -3.5, 1.5]))


# Chains


def test_two_rules_cannot_keep_a_state_of_one_name():
    with pytest.raises(ValueError, match="'state_of_that_name' and 'state_of_that_name' both keep 'momentum'"):
        Plan([state_of_that_name, state_of_that_name])


def test_a_norm_must_stand_before_the_rule_that_reads_it():
    with pytest.raises(ValueError, match=r"'uniform' reads 'param_norm'.*add norm\('param', scope=...\)"):
        Plan([uniform])
    with pytest.raises(ValueError, match="'uniform' reads 'param_norm'"):
        Plan([uniform, norm("param", "tensor")])


def test_two_norms_cannot_have_one_name():
    with pytest.raises(ValueError, match="two norms are named 'param_norm'"):
        Plan([norm("param", "tensor"), norm("param", "layer"), uniform])


def test_a_chain_that_changes_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"no rule returns param.*apply_update"):
        Plan([decaying])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("weight", "tensor"), "param, grad"), (("param", "row"), "unit, tensor"), (("param", "unit", 0), "above 0")],
    ids=["quantity", "scope", "order"],
)
def test_a_norm_of_something_unknown_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        norm(*arguments)


def test_a_rule_can_be_called_and_shows_what_it_takes():
    assert apply_update(0.5, 1.0, lr=0.5) == 0.75
    assert repr(apply_update) == "<rule apply_update(update, param; lr)>"
    assert "param = param - lr * update" in apply_update.source
