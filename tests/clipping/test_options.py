"""Clips as options of an optimizer: thresholds per group, changed in mid-run, saved, excluded, refused, planned."""

from __future__ import annotations

import math

import numpy as np
import pytest
from clipping_cases import RANDOM, clip_by_loop, make_model, random_arrays, set_grads, snapshot

from minigrad import clipping, nn, optim
from minigrad.clipping.clip import clip_by_norm

GRADS = random_arrays(RANDOM, seed=1)


def a_model(dtype=np.float64):
    return make_model(random_arrays(RANDOM, seed=2), GRADS, dtype)


def updates(model):
    """How far each parameter is from its start."""
    start = random_arrays(RANDOM, seed=2)
    return {name: start[name] - p.data for name, p in model.named_parameters()}


def assert_updates(model, expected):
    for name, update in updates(model).items():
        np.testing.assert_allclose(update, expected[name], rtol=1e-12, atol=1e-15)


# The plan


def test_clipping_by_global_norm_costs_adam_one_more_read_of_the_gradient():
    plain, clipped = (optim.Adam(a_model().parameters(), clip=c).plan() for c in (None, clipping.by_global_norm(1.0)))
    assert plain.bytes_per_parameter() == 28
    assert clipped.bytes_per_parameter() == 32
    assert "rules   clip_by_norm, scale_by_adam, apply_update" in str(clipped)
    assert "norm    clip_norm: order 2 of grad per global" in str(clipped)
    assert "in all: 32 bytes per float32 parameter" in str(clipped)


def test_clipping_by_value_costs_nothing():
    plan = optim.Adam(a_model().parameters(), clip=clipping.by_value(1.0)).plan()
    assert plan.bytes_per_parameter() == 28
    assert len(plan.plan.passes) == 1


# Thresholds


def test_groups_have_thresholds_of_their_own():
    model = a_model()
    named = list(model.named_parameters())
    groups = [{"params": named[:2]}, {"params": named[2:], "max_norm": 0.3}]
    optimizer = optim.SGD(groups, lr=1.0, clip=clipping.by_norm(0.1, "tensor"))
    assert [group["max_norm"] for group in optimizer.param_groups] == [0.1, 0.3]
    optimizer.step()
    low, high = (clip_by_loop(GRADS, "tensor", bound) for bound in (0.1, 0.3))
    assert_updates(model, {name: (low if i < 2 else high)[name] for i, name in enumerate(RANDOM)})


def test_a_group_without_its_own_threshold_and_one_that_never_clips():
    model = a_model()
    named = list(model.named_parameters())
    optimizer = optim.SGD(named[:2], lr=1.0, clip=clipping.by_global_norm(0.1))
    optimizer.add_param_group({"params": named[2:], "max_norm": math.inf})
    optimizer.step()
    clipped = clip_by_loop(GRADS, "global", 0.1)  # the norm is over both groups
    assert_updates(model, {name: (clipped if i < 2 else GRADS)[name] for i, name in enumerate(RANDOM)})


@pytest.mark.parametrize(
    ("clip", "changes", "expected"),
    [
        (clipping.by_global_norm(0.1), {"max_norm": 0.4}, lambda: clip_by_loop(GRADS, "global", 0.4)),
        (clipping.by_value(0.1), {"clip_low": -0.3}, lambda: {n: np.clip(g, -0.3, 0.1) for n, g in GRADS.items()}),
        (clipping.by_value(0.1), {"clip_high": math.inf}, lambda: {n: np.maximum(g, -0.1) for n, g in GRADS.items()}),
    ],
    ids=["norm", "low", "high"],
)
def test_a_threshold_changed_between_steps_holds_from_the_next_step_on(clip, changes, expected):
    model = a_model()
    optimizer = optim.SGD(model.parameters(), lr=1.0, clip=clip)
    optimizer.step()
    first = updates(model)
    for name, value in changes.items():
        optimizer.param_groups[0][name] = value
    optimizer.step()
    assert_updates(model, {name: first[name] + clipped for name, clipped in expected().items()})


def test_adaptive_thresholds_are_options_too():
    by_option, from_start = a_model(), a_model()
    optimizer = optim.SGD(by_option.parameters(), lr=1.0, clip=clipping.adaptive(0.3))
    optimizer.param_groups[0].update({"clip_factor": 0.02, "clip_eps": 0.5})
    optimizer.step()
    optim.SGD(from_start.parameters(), lr=1.0, clip=clipping.adaptive(0.02, 0.5)).step()
    assert snapshot(by_option) == snapshot(from_start)


def test_the_second_clip_of_a_kind_has_numbered_options():
    clips = [clipping.by_norm(3.0, "tensor"), clipping.by_value(2.0), clipping.adaptive(), clipping.by_global_norm(1.0)]
    group = optim.SGD(a_model().parameters(), lr=1.0, clip=clips).param_groups[0]
    assert (group["max_norm"], group["max_norm2"]) == (3.0, 1.0)
    assert (group["clip_low"], group["clip_high"], group["clip_factor"]) == (-2.0, 2.0, 0.01)


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, True, None, "1"])
@pytest.mark.parametrize("option", ["max_norm", "max_norm2", "clip_factor", "clip_eps"])
def test_a_group_refuses_a_threshold_that_is_not_above_zero(option, value):
    clips = [clipping.by_norm(3.0, "tensor"), clipping.adaptive(), clipping.by_global_norm(1.0)]
    model = a_model()
    with pytest.raises(ValueError, match=f"SGD: {option} must be a number above 0"):
        optim.SGD([{"params": model.parameters(), option: value}], lr=1.0, clip=clips)
    optimizer = optim.SGD(model.parameters(), lr=1.0, clip=clips)
    before = optimizer.param_groups[0][option]
    with pytest.raises(ValueError, match="must be a number above 0"):
        optimizer.param_groups[0][option] = value
    assert optimizer.param_groups[0][option] == before


@pytest.mark.parametrize("value", [math.nan, False, None])
def test_a_group_refuses_a_bound_that_is_no_number(value):
    optimizer = optim.SGD(a_model().parameters(), lr=1.0, clip=clipping.by_value(1.0))
    with pytest.raises(ValueError, match="SGD: clip_low must be a number"):
        optimizer.param_groups[0]["clip_low"] = value


def test_a_threshold_without_its_clip_is_an_unknown_option():
    with pytest.raises(TypeError, match="unknown option 'max_norm'"):
        optim.SGD([{"params": a_model().parameters(), "max_norm": 1.0}], lr=1.0)


# The argument clip


@pytest.mark.parametrize(
    "wrong", [1.0, "global", clipping.by_global_norm, clip_by_norm, [1.0], [clipping.by_value(1.0), None]]
)
@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB"])
def test_a_wrong_clip_is_refused_with_an_example_of_a_right_one(name, wrong):
    with pytest.raises(
        TypeError, match=rf"{name}: clip must come from minigrad.clipping, such as by_global_norm\(1.0\)"
    ):
        getattr(optim, name)(a_model().parameters(), lr=0.1, clip=wrong)


def test_no_clips_in_a_list_are_no_clips():
    with_none, without = a_model(), a_model()
    optim.SGD(with_none.parameters(), lr=1.0, clip=[]).step()
    optim.SGD(without.parameters(), lr=1.0).step()
    assert snapshot(with_none) == snapshot(without)


def test_one_clip_serves_two_optimizers():
    clip, models = clipping.by_norm(0.1, "layer"), [a_model(), a_model()]
    optimizers = [optim.SGD(model.parameters(), lr=1.0, clip=clip) for model in models]
    optimizers[0].param_groups[0]["max_norm"] = 0.5
    for optimizer in optimizers:
        optimizer.step()
    assert_updates(models[0], clip_by_loop(GRADS, "layer", 0.5))
    assert_updates(models[1], clip_by_loop(GRADS, "layer", 0.1))


def test_gradients_are_left_as_they_are():
    model = a_model()
    held = [p.grad for p in model.parameters()]
    clips = [clipping.by_value(0.1), clipping.adaptive(), clipping.by_global_norm(0.1)]
    optim.Adam(model.parameters(), clip=clips).step()
    for p, mine, grad in zip(model.parameters(), held, GRADS.values(), strict=True):
        np.testing.assert_array_equal(p.grad.data, grad)
        np.testing.assert_array_equal(mine.data, grad)


# What adaptive clipping leaves alone


def unclipped(exclude):
    """The parameters whose step was the raw gradient, under a limit that every other one is beyond."""
    model = a_model()
    optim.SGD(model.parameters(), lr=1.0, clip=clipping.adaptive(1e-6, exclude=exclude)).step()
    in_place = a_model()
    clipping.adaptive_clip_grad_(in_place.parameters(), 1e-6, exclude=exclude)
    left = [n for n, p in in_place.named_parameters() if p.grad.data.size and (p.grad.data == GRADS[n]).all()]
    # Atol because the step is worked out as a difference of parameters.
    stepped = [n for n, u in updates(model).items() if u.size and np.allclose(u, GRADS[n], rtol=1e-9, atol=1e-12)]
    assert left == stepped
    return left


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (None, []),
        ([], []),
        (["2.weight"], ["2.weight"]),
        ("0.bias", ["0.bias"]),
        (["0"], ["0.weight", "0.bias"]),
        (("0.weight", "2"), ["0.weight", "2.weight"]),
        (lambda name, parameter: parameter.ndim < 2, ["0.bias", "1.scale"]),
        (lambda name, parameter: name.endswith("weight"), ["0.weight", "1.weight", "2.weight"]),
    ],
    ids=["none", "empty", "name", "text", "layer", "both", "by dimension", "by name"],
)
def test_adaptive_clipping_leaves_alone_what_is_excluded(exclude, expected):
    assert unclipped(exclude) == expected


def test_a_function_that_excludes_is_asked_at_every_call():
    model, frozen = a_model(), set(RANDOM)

    def is_frozen(name, parameter):
        return name in frozen

    holder = optim.SGD(model.parameters(), lr=1.0)
    for left in (set(RANDOM), {"0.weight"}):
        frozen &= left
        set_grads(model, GRADS)
        clipping.adaptive_clip_grad_(model.parameters(), 1e-6, exclude=is_frozen)
        changed = {n for n, p in model.named_parameters() if (p.grad.data != GRADS[n]).any()}
        assert changed == {n for n in RANDOM if n not in frozen and GRADS[n].size}
    del holder


def test_a_module_of_several_layers_is_excluded_by_its_name():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)))
    for p in model.parameters():
        p.grad = p.detach() * 0 + 1
    clipping.adaptive_clip_grad_(model.parameters(), exclude=["1"])
    for name, p in model.named_parameters():
        assert (p.grad.data == 1).all() == name.startswith("1.")


@pytest.mark.parametrize("exclude", ["head", ["2.weight", "2.wieght"], ["2.weigh"], ["2."]])
def test_an_excluded_name_that_no_parameter_has_is_refused(exclude):
    model = a_model()
    before = snapshot(model)
    with pytest.raises(ValueError, match="clipping: exclude: unknown parameter or layer"):
        optim.SGD(model.parameters(), lr=1.0, clip=clipping.adaptive(exclude=exclude))
    with pytest.raises(ValueError, match="clipping: exclude: unknown parameter or layer"):
        clipping.adaptive_clip_grad_(model.parameters(), exclude=exclude)
    assert snapshot(model) == before


def test_an_excluded_parameter_may_have_no_gradient_yet():
    model = a_model()
    set_grads(model, {**GRADS, "2.weight": None})
    clipping.adaptive_clip_grad_(model.parameters(), 0.01, exclude=["2.weight"])
    assert (dict(model.named_parameters())["0.bias"].grad.data != GRADS["0.bias"]).any()


@pytest.mark.parametrize("exclude", [3, [3], [None]])
def test_what_is_neither_names_nor_a_function_excludes_nothing_and_is_refused(exclude):
    with pytest.raises(TypeError, match="clipping: exclude needs names"):
        clipping.adaptive(exclude=exclude)


# State


def test_a_run_resumed_from_a_state_dict_goes_on_with_the_same_thresholds_and_bits():
    def optimizer_of(model, max_norm):
        clips = [clipping.by_norm(max_norm, "layer"), clipping.adaptive(0.05, exclude=["2"])]
        return optim.AdamW(model.parameters(), lr=0.1, clip=clips)

    def go_on(model, optimizer, steps):
        for step in steps:
            set_grads(model, random_arrays(RANDOM, seed=40 + step))
            optimizer.step()

    model = a_model(np.float32)
    optimizer = optimizer_of(model, 0.3)
    go_on(model, optimizer, range(3))
    optimizer.param_groups[0]["max_norm"] = 0.2
    saved, weights = optimizer.state_dict(), model.state_dict()
    assert saved["param_groups"][0]["max_norm"] == 0.2
    go_on(model, optimizer, range(3, 6))

    resumed = a_model(np.float32)
    resumed.load_state_dict(weights)
    other = optimizer_of(resumed, 7.0)
    other.load_state_dict(saved)
    assert other.param_groups[0]["max_norm"] == 0.2
    go_on(resumed, other, range(3, 6))
    assert snapshot(resumed) == snapshot(model)


def test_a_state_dict_with_a_clip_is_refused_by_an_optimizer_without_one():
    clipped = optim.SGD(a_model().parameters(), lr=0.1, clip=clipping.by_global_norm(1.0))
    plain = optim.SGD(a_model().parameters(), lr=0.2)
    with pytest.raises((TypeError, ValueError), match="clips"):
        plain.load_state_dict(clipped.state_dict())
    assert plain.param_groups[0]["lr"] == 0.2
    with pytest.raises((TypeError, ValueError), match="clips"):
        clipped.load_state_dict(plain.state_dict())
    assert clipped.param_groups[0]["lr"] == 0.1
