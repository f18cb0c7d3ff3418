"""Explained updates: every optimizer's terms reproduce what the compiled step has stored, and their parts add up."""

import copy
import json
import math

import numpy as np
import pytest
from optim_cases import problem
from optim_registry import VARIANTS
from optim_tools import Chain, assert_same_bits, leaves, loss_of, network, set_gradients, take_step, values

from minigrad import clipping, nn, optim, schedulers
from minigrad.optim import exp, log, rule
from minigrad.optim.explanation import ulps


def corners(shape):
    """The first, the last, and a middle index of a shape."""
    if not shape or 0 in shape:
        return [] if shape else [()]
    return [tuple(0 for _ in shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_the_terms_reproduce_the_stored_change_and_state_to_the_last_bit_and_the_parts_add_up(entry, variant, dtype):
    arrays, steps = problem()
    params = leaves(arrays, dtype)
    optimizer = entry.make(list(params.items()), **entry.variants[variant].options)
    optimizer.watch()
    for t, grads in enumerate(steps[:7]):
        before = values(params)
        take_step(optimizer, params, grads)
        for name, parameter in params.items():
            for index in corners(parameter.shape):
                e = optimizer.explain(name, index)
                if grads[name] is None:
                    assert e.outcome == "no gradient"
                    continue
                assert e.outcome == "updated"
                assert e.exact, str(e)
                assert e.checks[0].name == "param"
                assert {check.name for check in e.checks} == {"param", *entry.variants[variant].slots}
                assert e.after == parameter.data[index]
                assert e.before == before[name][index]
                assert e.change == float(parameter.data[index]) - float(before[name][index])
                assert math.fsum(e.parts.values()) == pytest.approx(e.change, rel=1e-13, abs=1e-300)
                size = sum(map(abs, e.parts.values())) + abs(e.before)
                assert abs(e.parts["rounding"]) <= 20 * np.finfo(dtype).eps * size, (t, str(e))


# Against calculations by hand, in float64


def weight(make, value=0.5, grads=(), shape=(1,), **options):
    """The explanations of weight 0 of ``w``, one per gradient."""
    params = leaves({"w": np.full(shape, value)}, np.float64)
    optimizer = make(list(params.items()), **options)
    optimizer.watch()
    found = []
    for g in grads:
        take_step(optimizer, params, {"w": np.broadcast_to(g, shape)})
        found.append(optimizer.explain("w", (0,) * len(shape)))
    return found


def close(value):
    return pytest.approx(value, rel=1e-13, abs=1e-300)


def test_sgd_with_momentum_dampening_and_decay_by_hand():
    first, second = weight(optim.SGD, 0.5, (0.2, -0.4), lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01)
    b = 0.2 + 0.01 * 0.5
    assert first["momentum_buffer"].value == close(b)
    assert first["momentum_buffer"].before == 0
    theta = 0.5 - 0.1 * b
    decayed = -0.4 + 0.01 * theta
    assert second["param"].value == close(theta)
    assert second["grad"].value == -0.4
    assert second["update"].value == close(decayed)
    assert second["taken"].value == close(0.7)
    assert second["momentum_buffer"].before == close(b)
    assert second["momentum_buffer"].value == close(0.9 * b + 0.7 * decayed)
    assert second.last("param").value == close(theta - 0.1 * (0.9 * b + 0.7 * decayed))
    assert second.parts["gradient"] == close(-0.1 * 0.7 * -0.4)
    assert second.parts["decay"] == close(-0.1 * 0.7 * 0.01 * theta)
    assert second.parts["earlier steps"] == close(-0.1 * 0.9 * b)
    assert abs(second.parts["rounding"]) < 1e-16


def test_adam_by_hand():
    first, second = weight(optim.Adam, 0.5, (0.2, -0.4), lr=0.1, betas=(0.8, 0.9), eps=1e-3)
    m, v = 0.2 * 0.8 * 0.2 + 0.2 * -0.4, 0.1 * 0.9 * 0.04 + 0.1 * 0.16
    assert (second["exp_avg"].value, second["exp_avg_sq"].value) == (close(m), close(v))
    assert (second["debias1"].value, second["debias2"].value) == (close(1 / (1 - 0.64)), close(1 / (1 - 0.81)))
    below = math.sqrt(v / (1 - 0.81)) + 1e-3
    assert second.last("update").value == close(m / (1 - 0.64) / below)
    assert second.change == pytest.approx(-0.1 * m / (1 - 0.64) / below, rel=1e-13)
    assert second.parts["gradient"] == close(-0.1 * 0.2 * -0.4 / (1 - 0.64) / below)
    assert second.parts["earlier steps"] == close(-0.1 * 0.2 * 0.8 * 0.2 / (1 - 0.64) / below)
    assert first.parts["earlier steps"] == 0


def test_decoupled_decay_is_the_part_that_it_took_whatever_the_gradient():
    (first,) = weight(optim.AdamW, 0.5, (0.2,), lr=0.1, weight_decay=0.3)
    assert first.parts["decay"] == close(-0.1 * 0.3 * 0.5)
    assert first.parts["gradient"] == pytest.approx(-0.1, rel=1e-6)


def test_radam_says_rho_the_branch_and_the_rectification_at_steps_4_to_7():
    beta2 = 0.999
    rho_inf = 2 / (1 - beta2) - 1
    m, found = 0.0, weight(optim.RAdam, 0.5, [0.2] * 7, lr=0.1)
    for t in range(1, 8):
        e, m = found[t - 1], 0.9 * m + (1 - 0.9) * 0.2
        if t < 4:
            continue
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        assert e["rho"].value == pytest.approx(rho, rel=1e-12)
        assert e["threshold"].value == 5
        assert e["momentum"].value == close(m / (1 - 0.9**t))
        assert e["rectified"].value == float(rho > 5) == float(t >= 6)
        assert ("rectified > 0: yes" if t >= 6 else "rectified > 0: no") in e.named("update")[0].note
        if t < 6:
            assert e["rectification"].value == 0
            assert e.last("update").value == close(m / (1 - 0.9**t))
        else:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            assert e["rectification"].value == pytest.approx(r * math.sqrt(1 - beta2**t), rel=1e-12)
            v = 0.04 * (1 - beta2**t)
            expected = r * math.sqrt(1 - beta2**t) * m / (1 - 0.9**t) / (math.sqrt(v) + 1e-8)
            assert e.last("update").value == pytest.approx(expected, rel=1e-11)


def test_lamb_has_the_two_norms_the_ratio_and_the_decay_that_the_ratio_scales():
    (e,) = weight(optim.LAMB, 0.5, (0.2,), (2, 3), lr=0.1, weight_decay=0.01, eps=0.1)
    u = 0.2 / (0.2 + 0.1) + 0.01 * 0.5
    size = math.sqrt(6)
    assert e["param_norm"].value == close(0.5 * size)
    assert e["update_norm"].value == pytest.approx(u * size, rel=1e-13)
    ratio = 0.5 / u
    assert e["trust_ratio"].value == pytest.approx(ratio, rel=1e-13)
    assert "adapted > 0 and param_norm > 0 and update_norm > 0: yes" in e["trust_ratio"].note
    assert e.change == pytest.approx(-0.1 * ratio * u, rel=1e-13)
    assert e.parts["decay"] == pytest.approx(-0.1 * ratio * 0.01 * 0.5, rel=1e-12)
    assert e.parts["gradient"] == pytest.approx(-0.1 * ratio * 0.2 / 0.3, rel=1e-12)


def test_lars_has_the_local_rate_and_leaves_out_what_is_excluded():
    options = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.01, "trust_coefficient": 0.02, "eps": 0.1}
    (e,) = weight(optim.LARS, 0.5, (0.2,), (2, 2), **options)
    ratio = 0.02 * 1.0 / (0.4 + 0.01 * 1.0 + 0.1)
    assert (e["grad_norm"].value, e["param_norm"].value) == (close(0.4), close(1.0))
    assert e["size"].value == close(0.4 + 0.01 + 0.1)
    assert e["trust_ratio"].value == close(ratio)
    assert e["momentum_buffer"].value == close(0.3 * ratio * (0.2 + 0.01 * 0.5))
    (bias,) = weight(optim.LARS, 0.5, (0.2,), (2,), **options)
    assert bias["trust_ratio"].value == 1
    assert bias["adapted"].value == bias["weight_decay"].value == bias.parts["decay"] == 0
    assert "set for this parameter" in bias["adapted"].note


def test_adaptive_clipping_has_the_norms_of_the_weights_own_unit():
    params = leaves({"w": [[3.0, 4.0], [0.3, 0.4]], "b": [1.0]}, np.float64)
    optimizer = optim.SGD(list(params.items()), lr=0.1, clip=clipping.adaptive(0.1, exclude="b"))
    optimizer.watch()
    take_step(optimizer, params, {"w": [[0.3, 0.4], [0.3, 0.4]], "b": [7.0]})
    short, long = optimizer.explain("w", (0, 1)), optimizer.explain("w", (1, 1))
    assert (short["clip_unit_norm"].value, short["clip_param_norm"].value) == (close(0.5), close(5.0))
    assert (long["clip_unit_norm"].value, long["clip_param_norm"].value) == (close(0.5), close(0.5))
    assert (short["limit"].value, long["limit"].value) == (close(0.5), close(0.05))
    assert (short["factor"].value, long["factor"].value) == (1.0, close(0.1))
    assert short["update"].note.endswith("unchanged")
    assert long["update"].note.endswith("clipped")
    assert long.change == close(-0.1 * 0.04)
    assert optimizer.explain("b", 0)["clipped"].value == 0
    assert "unit w[1]" in long["clip_unit_norm"].note


def test_a_clip_a_schedule_and_lookahead_by_hand():
    params = leaves({"w": [0.5, 0.5]}, np.float64)
    fast = optim.SGD(list(params.items()), lr=0.1, momentum=0.9, clip=clipping.by_global_norm(0.1))
    optimizer = optim.Lookahead(fast, k=2, alpha=0.25, momentum="pullback")
    scheduler = schedulers.ExponentialLR(optimizer, 0.5)
    optimizer.watch("w")
    take_step(optimizer, params, {"w": [3.0, 4.0]})
    scheduler.step()
    factor = 0.1 / (5 + 1e-6)
    first = optimizer.explain("w", 1)
    assert (first["clip_norm"].value, first["max_norm"].value, first["factor"].value) == (5, 0.1, close(factor))
    assert "Lookahead: update 1 of 2; its rules follow in 1" in first.notes
    assert "look_ahead" not in {term.rule for term in first.terms}
    take_step(optimizer, params, {"w": [3.0, 4.0]})
    second = optimizer.explain("w", 1)
    u = 4 * factor
    theta1 = 0.5 - 0.1 * u
    theta2 = theta1 - 0.05 * (0.9 * u + u)
    assert second["lr"].value == close(0.05)
    assert "ExponentialLR at its step 1" in second["lr"].note
    assert "gamma=0.5" in second["lr"].note
    assert first["lr"].note.startswith("ExponentialLR at its step 0")
    assert second["slow"].before == 0.5
    assert second["slow"].value == close(0.5 + 0.25 * (theta2 - 0.5))
    assert second.after == second["slow"].value == params["w"].data[1]
    assert second["slow_momentum"].value == close(0.25 * 1.9 * u)
    assert second.parts["slow weights"] == pytest.approx(0.5 + 0.25 * (theta2 - 0.5) - theta2, rel=1e-12)
    assert second.parts["gradient"] == close(-0.05 * u)
    assert second.exact
    assert {check.name for check in second.checks} == {"param", "momentum_buffer", "slow", "slow_momentum"}


def test_two_clips_of_a_kind_are_each_under_their_own_names():
    params = leaves({"w": [3.0, 4.0]})
    clips = [clipping.by_global_norm(1.0), clipping.by_global_norm(0.5)]
    optimizer = optim.SGD(list(params.items()), lr=0.1, clip=clips)
    optimizer.watch()
    take_step(optimizer, params, {"w": [3.0, 4.0]})
    e = optimizer.explain("w", 0)
    assert e.exact
    assert (e["max_norm"].value, e["max_norm2"].value) == (1.0, 0.5)
    assert (e["clip_norm"].value, e["clip2_norm"].value) == (5.0, pytest.approx(1.0, rel=1e-6))
    sources = [term.source for term in e.named("factor")]
    assert "max_norm /" in sources[0]
    assert "max_norm2 / (clip2_norm" in sources[1]
    assert e.change == pytest.approx(-0.1 * 0.5 * 3 / 5, rel=1e-5)


@rule(state=("level",))
def soften(update, param, level, *, sharpness):
    level = exp(-abs(update)) + 0.5 * level
    param = param * log(1 + level) ** sharpness
    return param, level


def test_what_is_not_linear_is_neither_gradient_nor_rounding_and_library_functions_differ_by_few_ulps():
    params = leaves({"w": np.linspace(0.1, 3, 50)})
    optimizer = Chain(params, soften, sharpness=0.7)
    optimizer.watch()
    for g in (0.3, -1.7, 2.5):
        take_step(optimizer, params, {"w": np.linspace(g, 2 * g, 50)})
        for i in range(50):
            e = optimizer.explain("w", i)
            assert all(check.ulps <= 4 for check in e.checks), str(e)
            assert math.fsum(e.parts.values()) == pytest.approx(e.change, rel=1e-13)


@rule
def grow(update, param, *, lr):
    param = param * (1 - lr * update)
    return param


@rule
def square(update, param):
    param = param - 0.1 * update**2
    return param


def test_products_of_parameter_and_gradient_are_divided_and_squares_are_called_other():
    for element, parts in (
        (grow, {"gradient": -0.06, "decay": 0}),
        (square, {"gradient": 0, "decay": 0, "other": -0.009}),
    ):
        params = leaves({"w": [2.0]}, np.float64)
        optimizer = Chain(params, element, lr=0.1)
        optimizer.watch()
        take_step(optimizer, params, {"w": [0.3]})
        found = optimizer.explain("w", 0).parts
        assert {name: value for name, value in found.items() if name != "rounding"} == pytest.approx(parts, abs=1e-15)


# Watching


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, lr=0.1), lambda p: optim.Lookahead(optim.LAMB(p, lr=0.1), 2)])
def test_watching_and_explaining_change_no_bit_of_the_training(make):
    def trained(watched):
        model = network()
        optimizer = make(model.parameters())
        if watched:
            optimizer.watch()
        for seed in range(5):
            optimizer.zero_grad()
            loss_of(model, seed).backward()
            if watched:
                optimizer.explain("0.weight", (0, 0), coming=True)
            optimizer.step()
            if watched:
                optimizer.explain("0.weight", (0, 0))
        return {name: t.data for name, t in model.state_dict().items()}, optimizer.state_dict()

    assert_same_bits(trained(True), trained(False))


def stepped(optimizer, params, value=0.5):
    return take_step(optimizer, params, {name: np.full(p.shape, value) for name, p in params.items()})


def two(make=optim.SGD, **options):
    params = leaves({"a.weight": np.ones((2, 3)), "a.bias": np.ones(2)})
    return make(list(params.items()), lr=0.1, **options), params


def test_without_a_watch_it_says_what_to_type():
    optimizer, params = two()
    stepped(optimizer, params)
    with pytest.raises(
        RuntimeError, match=r"optimizer\.watch\(\) before the step.*optimizer\.explain\('a\.weight', \(1, 2\)\)"
    ):
        optimizer.explain("a.weight", (1, 2))
    optimizer.watch("a.weight")
    with pytest.raises(RuntimeError, match=r"no step has been taken since 'a.weight' was watched"):
        optimizer.explain("a.weight", (1, 2))
    stepped(optimizer, params)
    with pytest.raises(RuntimeError, match=r"explain\('a\.bias', 0\)"):
        optimizer.explain("a.bias", 0)
    assert optimizer.explain("a.weight", (1, 2)).exact


def test_unknown_names_and_wrong_indices_are_refused_with_the_nearest_name_and_the_shape():
    optimizer, params = two()
    with pytest.raises(ValueError, match=r"unknown parameter 'a.wieght'; did you mean 'a.weight'"):
        optimizer.watch("a.wieght")
    optimizer.watch()
    stepped(optimizer, params)
    with pytest.raises(ValueError, match=r"did you mean 'a.weight'"):
        optimizer.explain("a.wight", (0, 0))
    with pytest.raises(IndexError, match=r"3 is out of range for axis 1 of 'a\.weight', whose shape is \(2, 3\)"):
        optimizer.explain("a.weight", (0, 3))
    with pytest.raises(IndexError, match="its index has 2 numbers, not 1"):
        optimizer.explain("a.weight", 1)
    with pytest.raises(TypeError, match="whole numbers"):
        optimizer.explain("a.weight", (0.5, 1))
    with pytest.raises(TypeError, match="whole numbers, not True"):
        optimizer.explain("a.bias", True)
    with pytest.raises(TypeError, match=r"needs the name of a parameter, such as 'a\.weight'"):
        optimizer.explain(params["a.weight"], (0, 0))
    assert optimizer.explain("a.weight", (-1, -1)).index == (1, 2)
    assert optimizer.explain("a.weight", [0, 2]).index == optimizer.explain("a.weight", np.array([0, 2])).index
    assert optimizer.explain("a.bias", np.int64(1)).index == (1,)


def test_the_last_watched_step_stays_explained_when_the_watch_has_ended_and_the_weights_have_moved_on():
    optimizer, params = two(optim.Adam)
    with optimizer.watch():
        after = stepped(optimizer, params)
    optimizer.zero_grad(set_to_none=False)
    stepped(optimizer, params, -0.5)
    e = optimizer.explain("a.weight", (0, 0))
    assert e.after == after["a.weight"][0, 0] != params["a.weight"].data[0, 0]
    assert e["grad"].value == 0.5
    assert e.exact
    assert e.notes == ("1 more step has been taken since, unwatched",)
    assert optimizer._pre_hooks == optimizer._post_hooks == {}


def test_what_hooks_do_to_gradients_and_parameters_is_told_from_what_the_update_does():
    optimizer, params = two()
    optimizer.watch()

    def halve(optimizer):
        params["a.bias"].grad = params["a.bias"].grad * 0.5

    def shift(optimizer):
        params["a.bias"].data += 7

    optimizer.register_step_pre_hook(halve)
    optimizer.register_step_post_hook(shift)
    stepped(optimizer, params)
    e = optimizer.explain("a.bias", 0)
    assert e["grad"].value == 0.25
    assert e.change == pytest.approx(-0.025)
    assert e.exact


def test_the_next_step_is_explained_without_a_watch_and_without_being_made():
    optimizer, params = two(optim.Adam, clip=clipping.by_global_norm(0.1))
    scheduler = schedulers.StepLR(optimizer, 1, 0.5)
    stepped(optimizer, params)
    scheduler.step()
    before = copy.deepcopy(optimizer.state_dict()), values(params)
    coming = optimizer.explain("a.weight", (1, 1), coming=True)
    assert_same_bits((optimizer.state_dict(), values(params)), before)
    assert (coming.step, coming["lr"].value) == (2, 0.05)
    assert "StepLR at its step 1" in coming["lr"].note
    optimizer.watch()
    optimizer.step()
    made = optimizer.explain("a.weight", (1, 1))
    assert (made.terms, made.checks, made.parts) == (coming.terms, coming.checks, coming.parts)


# Steps that did less


def test_a_parameter_without_a_gradient_was_left_out():
    optimizer, params = two(optim.Adam)
    optimizer.watch()
    take_step(optimizer, params, {"a.weight": np.ones((2, 3)), "a.bias": None})
    e = optimizer.explain("a.bias", 0)
    assert (e.outcome, e.change, e.parts, e.checks) == ("no gradient", 0.0, {}, ())
    assert "had no gradient" in str(e)
    assert (e.step, e.title) == (0, "Adam, no update of a.bias[0] after 0 steps (float32, param group 0)")
    assert optimizer.explain("a.weight", (0, 0)).step == 1
    stepped(optimizer, params)
    assert optimizer.explain("a.bias", 0).step == 1
    assert optimizer.explain("a.weight", (0, 0)).step == 2


def test_a_skipped_step_and_one_that_a_clip_stopped_say_which_norm_was_not_finite():
    for policy, outcome in (("skip", "skipped"), ("raise", "stopped")):
        optimizer, params = two(clip=clipping.by_global_norm(1.0, nonfinite=policy))
        optimizer.watch()
        stepped(optimizer, params)
        bad = {"a.weight": np.full((2, 3), np.nan), "a.bias": np.ones(2)}
        if policy == "raise":
            with pytest.raises(FloatingPointError):
                take_step(optimizer, params, bad)
        else:
            take_step(optimizer, params, bad)
        e = optimizer.explain("a.bias", 0)
        assert e.outcome == outcome
        assert e.change == 0
        assert math.isnan(e["clip_norm"].value)
        assert f"the step was {outcome}: clip_norm is not finite; no parameter or state was changed" in e.notes
        assert json.loads(json.dumps(e.to_dict(), allow_nan=False))["terms"][2]["value"] == "nan"


def test_a_non_finite_gradient_that_was_let_through_is_explained_as_it_came_out():
    optimizer, params = two(optim.Adam)
    optimizer.watch()
    take_step(optimizer, params, {"a.weight": np.full((2, 3), np.inf), "a.bias": np.full(2, np.nan)})
    for name, index in (("a.weight", (0, 0)), ("a.bias", 0)):
        e = optimizer.explain(name, index)
        assert e.exact
        assert math.isnan(e.after)
        json.dumps(e.to_dict(), allow_nan=False)


# Where options came from


def test_an_option_is_constant_scheduled_or_set_by_hand_and_says_so_group_by_group():
    params = leaves({"a": [1.0], "b": [1.0]})
    groups = [{"params": [("a", params["a"])]}, {"params": [("b", params["b"])], "lr": 0.5, "maximize": True}]
    optimizer = optim.SGD(groups, lr=0.1, weight_decay=0.1)
    optimizer.watch()

    def note(name, option):
        stepped(optimizer, params)
        return optimizer.explain(name, 0)[option].note

    assert note("a", "lr") == "constant"
    assert note("b", "lr") == "constant"
    scheduler = schedulers.LinearLR(optimizer, 0.5, 1.0, 4)
    decay = schedulers.Scheduler(optimizer, schedulers.Linear(1.0, 0.0, 10), option="weight_decay")
    stepped(optimizer, params)
    scheduler.step()
    assert note("a", "lr").startswith("LinearLR at its step 1: Linear(")
    assert note("a", "lr").endswith("from 0.1")
    assert note("b", "lr").endswith("from 0.5")
    assert note("b", "weight_decay").startswith("Scheduler at its step 0: Linear(")
    optimizer.param_groups[1]["lr"] = 0.7
    assert note("b", "lr") == "set by hand, after a scheduler"
    assert note("a", "lr").startswith("LinearLR")
    e = optimizer.explain("b", 0)
    assert (e.group, e["lr"].value) == (1, 0.7)
    assert e.named("update")[0].source == "update = -update if maximize > 0 else update"
    assert e.change > 0
    assert decay.last_epoch == 0


def test_a_reduction_on_a_plateau_is_an_origin_too():
    optimizer, params = two()
    scheduler = schedulers.ReduceLROnPlateau(optimizer, patience=0)
    for metric in (1.0, 2.0):
        scheduler.step(metric)
    optimizer.watch()
    stepped(optimizer, params)
    assert optimizer.explain("a.bias", 0)["lr"].note == "ReduceLROnPlateau after 2 metrics, the best 1.0"


def test_of_two_schedulers_of_one_option_the_one_that_set_it_is_named():
    optimizer, params = two()
    parts = [schedulers.LinearLR(optimizer), schedulers.ExponentialLR(optimizer, 0.8)]
    scheduler = schedulers.SequentialLR(optimizer, parts, [2])
    optimizer.watch()
    for _ in range(4):
        stepped(optimizer, params)
        scheduler.step()
    assert optimizer.explain("a.bias", 0)["lr"].note.startswith("SequentialLR at its step 3")


# What it looks like


def test_the_text_has_every_term_with_the_rules_own_line_and_fits_a_page():
    optimizer, params = two(optim.RAdam, weight_decay=0.1, clip=clipping.by_global_norm(0.5))
    optimizer.watch()
    stepped(optimizer, params)
    e = optimizer.explain("a.weight", (1, 2))
    text = str(e)
    assert text.startswith("RAdam, step 1 of a.weight[1, 2] (float32, param group 0)\n")
    assert "exp_avg = beta1 * exp_avg + (1 - beta1) * update" in text
    assert "2-norm of the update over everything" in text
    assert max(map(len, text.splitlines())) <= 118
    for term in e.terms:
        assert term.name in text
        assert e.shown(term.value, term.exact) in text
    assert [heading for heading, _ in e.sections()] == [
        "",
        "clip_by_norm",
        "decay_either_way",
        "scale_by_radam",
        "apply_update",
    ]
    source = optim.adam.scale_by_radam
    (line,) = {t.line for t in e.terms if t.rule == "scale_by_radam" and t.name == "exp_avg"}
    with open(source.function.__code__.co_filename) as file:
        assert file.read().splitlines()[line - 1].strip() == e["exp_avg"].source


def test_the_text_is_as_narrow_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    optimizer, params = two(optim.RAdam, weight_decay=0.1, clip=clipping.by_global_norm(0.5))
    optimizer.watch()
    stepped(optimizer, params)
    lines = str(optimizer.explain("a.weight", (1, 2))).splitlines()
    assert 60 < max(map(len, lines)) <= 80


def test_names_are_escaped_in_html_and_missing_terms_are_named():
    params = leaves({"<script>w": [1.0]})
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    optimizer.watch()
    stepped(optimizer, params)
    e = optimizer.explain("<script>w", 0)
    assert "<script>" not in e._repr_html_()
    assert "&lt;script&gt;w" in e._repr_html_()
    with pytest.raises(KeyError, match="unknown term 'parma'; did you mean 'param'"):
        e["parma"]


def test_the_dictionary_has_every_number_exactly():
    optimizer, params = two(optim.Adam)
    optimizer.watch()
    stepped(optimizer, params)
    e = optimizer.explain("a.weight", (0, 1))
    read = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert read["after"] == params["a.weight"].data[0, 1]
    assert [term["value"] for term in read["terms"]] == [term.value for term in e.terms]
    assert math.fsum(read["parts"].values()) == pytest.approx(read["change"], rel=1e-13)
    assert (read["parameter"], read["index"], read["exact"]) == ("a.weight", [0, 1], True)


def test_a_wrong_plain_reading_would_be_seen(monkeypatch):
    optimizer, params = two()
    optimizer.watch()
    stepped(optimizer, params, 0.3)
    record = optimizer._watches[0].record
    record.scalars["a.bias"]["lr"] = 0.1
    record.before["a.bias"]["grad"][0] = np.nextafter(np.float32(0.3), np.float32(1)) * np.float32(1.0001)
    e = optimizer.explain("a.bias", 0)
    assert not e.exact
    assert e.checks[0].ulps == ulps(e.checks[0].plain, e.checks[0].stored, np.dtype(np.float32)) > 0
    assert f"{e.checks[0].ulps} ulp from" in str(e)


@pytest.mark.parametrize(
    ("a", "b", "steps"),
    [(1.0, 1.0, 0), (1.0, 1.0 + 2**-23, 1), (-1e-45, 1e-45, 2), (0.0, -0.0, 1), (math.nan, math.nan, 0)],
)
def test_units_in_the_last_place_are_counted(a, b, steps):
    assert ulps(a, b, np.dtype(np.float32)) == ulps(b, a, np.dtype(np.float32)) == steps


def test_a_model_is_explained_by_its_parameters_names():
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.watch("weight")
    set_gradients(dict(model.named_parameters()), {"weight": np.ones((2, 3)), "bias": np.ones(2)})
    optimizer.step()
    assert optimizer.explain("weight", (1, 0)).change == pytest.approx(-0.1, rel=1e-6)
