"""NaN and infinite gradients under each policy: all of a step happens, or nothing of it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from clipping_cases import SCOPES, clip_by_loop, grads_of, make_model, random_arrays, set_grads, snapshot

from minigrad import Tensor, clipping, nn, optim
from minigrad.kernels import layout, threads

SHAPES = {"0.weight": (3, 4), "0.bias": (3,), "1.weight": (2, 3), "1.scale": ()}
BAD = [math.nan, math.inf, -math.inf]


def good(step):
    return random_arrays(SHAPES, seed=20 + step)


def bad(value):
    grads = random_arrays(SHAPES, seed=30)
    grads["0.weight"][1, 2] = value
    return grads


def adam(model, clip):
    return optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1, clip=clip)


def lamb(model, clip):
    return optim.LAMB(model.parameters(), lr=0.1, clip=clip)


def ahead(model, clip):
    return optim.Lookahead(optim.SGD(model.parameters(), lr=0.1, momentum=0.7, clip=clip), k=2)


def everything(model, optimizer):
    """What a failed step must leave as it was: parameters, gradients, state, ages, counters and options."""
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"] = {
        name: {slot: np.asarray(value).tobytes() for slot, value in slots.items()}
        for name, slots in saved["state"].items()
    }
    options = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    return snapshot(model), [grad.tobytes() for grad in grads_of(model)], saved, options


def stopped_and_control(make, clip, attempt):
    """A run of three good steps with a bad one, given to `attempt`, in between; and the run without the bad one."""
    results = []
    for disturbed in (True, False):
        model = make_model(random_arrays(SHAPES, seed=2), good(0), np.float32)
        optimizer = make(model, clip)
        for step in range(3):
            if disturbed and step in (0, 1):  # also as the first step of all, and between the syncs of Lookahead
                attempt(model, optimizer)
            set_grads(model, good(step))
            optimizer.step()
            assert optimizer.stepped
        results.append(everything(model, optimizer))
    return results


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("scope", SCOPES)
def test_raising_names_the_parameter_and_leaves_everything_as_it_was(scope, value):
    def attempt(model, optimizer):
        set_grads(model, bad(value))
        before = everything(model, optimizer)
        with pytest.raises(FloatingPointError, match=r"NaN or infinite in '0.weight'; nothing was changed"):
            optimizer.step()
        assert everything(model, optimizer) == before
        assert not optimizer.stepped
        assert optimizer.skipped == 0

    disturbed, control = stopped_and_control(adam, clipping.by_norm(0.5, scope), attempt)
    assert disturbed == control


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("scope", SCOPES)
def test_skipping_counts_the_step_and_leaves_everything_as_it_was(scope, value):
    skipped = []

    def attempt(model, optimizer):
        set_grads(model, bad(value))
        before = everything(model, optimizer)
        assert optimizer.step(lambda: "the loss") == "the loss"
        assert everything(model, optimizer) == before
        assert not optimizer.stepped
        skipped.append(optimizer.skipped)

    disturbed, control = stopped_and_control(adam, clipping.by_norm(0.5, scope, nonfinite="skip"), attempt)
    assert disturbed == control
    assert skipped == [1, 2]


@pytest.mark.parametrize("make", [lamb, ahead])
@pytest.mark.parametrize("clip", [clipping.by_global_norm, clipping.adaptive], ids=["global", "adaptive"])
@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_norms_of_the_optimizer_and_slow_weights_are_not_touched_either(make, clip, policy):
    def attempt(model, optimizer):
        set_grads(model, bad(math.inf))
        before = everything(model, optimizer)
        if policy == "raise":
            with pytest.raises(FloatingPointError):
                optimizer.step()
        else:
            optimizer.step()
        assert not optimizer.stepped
        assert everything(model, optimizer) == before

    disturbed, control = stopped_and_control(make, clip(0.5, nonfinite=policy), attempt)
    assert disturbed == control


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, np.inf])
@pytest.mark.parametrize("value", BAD)
def test_every_order_of_norm_sees_it(order, value):
    model = make_model(random_arrays(SHAPES, seed=2), bad(value))
    with pytest.raises(FloatingPointError):
        clipping.clip_grad_norm_(model.parameters(), 1.0, order)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("scope", SCOPES)
def test_propagating_computes_on_and_only_in_the_range_that_is_not_finite(scope, value):
    params = random_arrays(SHAPES, seed=2)
    model = make_model(params, bad(value))
    optimizer = optim.SGD(model.parameters(), lr=1.0, clip=clipping.by_norm(0.5, scope, nonfinite="propagate"))
    optimizer.step()
    assert (optimizer.stepped, optimizer.skipped) == (True, 0)
    with np.errstate(invalid="ignore"):
        clipped = clip_by_loop(bad(value), scope, 0.5)
    by_hand = make_model(params, bad(value))
    clipping.clip_grad_norm_(by_hand.parameters(), 0.5, error_if_nonfinite=False, scope=scope)
    for (name, stepped), changed in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(stepped.data, params[name] - clipped[name], rtol=1e-13)
        np.testing.assert_allclose(changed.grad.data, clipped[name], rtol=1e-13)
    finite = [np.isfinite(p.data).all() for p in model.parameters()]
    assert finite[0] is np.False_
    assert all(finite[1:]) == (scope in ("unit", "tensor") or math.isinf(value))


@pytest.mark.parametrize("value", BAD)
def test_propagating_does_what_pytorch_does(value):
    torch = pytest.importorskip("torch")
    model = make_model(random_arrays(SHAPES, seed=2), bad(value))
    norm = clipping.clip_grad_norm_(model.parameters(), 0.5, error_if_nonfinite=False)
    theirs = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in SHAPES.values()]
    for tensor, grad in zip(theirs, bad(value).values(), strict=True):
        tensor.grad = torch.tensor(grad)
    np.testing.assert_array_equal(norm.item(), torch.nn.utils.clip_grad_norm_(theirs, 0.5).item())
    for a, b in zip(grads_of(model), theirs, strict=True):
        np.testing.assert_array_equal(a, b.grad.numpy())


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("clip", [clipping.clip_grad_norm_, clipping.adaptive_clip_grad_])
def test_the_functions_raise_before_any_gradient_has_changed(clip, value, owned):
    model = make_model(random_arrays(SHAPES, seed=2), bad(value))
    holder = optim.SGD(model.parameters(), lr=0.1) if owned else None
    held = [p.grad for p in model.parameters()]
    before, params = grads_of(model), snapshot(model)
    with pytest.raises(FloatingPointError, match=r"'0.weight'" if owned else "NaN or infinite in"):
        clip(model.parameters(), 0.01)
    assert all(p.grad is grad for p, grad in zip(model.parameters(), held, strict=True))
    assert [g.tobytes() for g in grads_of(model)] == [g.tobytes() for g in before]
    assert snapshot(model) == params
    del holder


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_bad_gradient_of_one_dtype_stops_the_parameters_of_the_other(policy):
    single, double = nn.Parameter(np.ones(3, np.float32)), nn.Parameter(np.ones(3))
    optimizer = optim.SGD([single, double], lr=0.1, clip=clipping.by_norm(1.0, "tensor", nonfinite=policy))
    for first, second in ((math.nan, 1.0), (1.0, math.nan)):
        single.grad, double.grad = Tensor(np.full(3, first, np.float32)), Tensor(np.full(3, second))
        if policy == "raise":
            with pytest.raises(FloatingPointError):
                optimizer.step()
        else:
            optimizer.step()
        assert (single.data == 1).all()
        assert (double.data == 1).all()


@pytest.mark.parametrize("number", [1, 4])
def test_threads_stop_as_well(number, monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    monkeypatch.setattr(layout, "PARALLEL_FROM", 1)
    before = threads.get_num_threads()
    threads.set_num_threads(number)
    try:
        model = make_model({"weight": np.ones((4, 50_000))}, {"weight": np.ones((4, 50_000))}, np.float32)
        model.weight.grad.data[3, -1] = np.nan
        optimizer = optim.SGD(model.parameters(), lr=0.1, clip=clipping.by_norm(1.0, "unit"))
        with pytest.raises(FloatingPointError):
            optimizer.step()
        assert (model.weight.data == 1).all()
    finally:
        threads.set_num_threads(before)


def test_value_clipping_bounds_infinity_and_keeps_nan():
    p = nn.Parameter(np.zeros(4, np.float32))
    p.grad = Tensor(np.array([math.inf, -math.inf, math.nan, 0.5], np.float32))
    clipping.clip_grad_value_(p, 1.0)
    np.testing.assert_array_equal(p.grad.data, np.float32([1, -1, math.nan, 0.5]))


def test_clamping_first_lets_an_infinite_gradient_through_a_norm_that_raises():
    p = nn.Parameter(np.zeros(2))
    optimizer = optim.SGD([p], lr=1.0, clip=[clipping.by_value(3.0), clipping.by_global_norm(1.0)])
    p.grad = Tensor(np.array([math.inf, -math.inf]))
    optimizer.step()
    np.testing.assert_allclose(p.data, [-np.sqrt(0.5), np.sqrt(0.5)], rtol=1e-6)
    p.grad = Tensor(np.array([math.nan, 1.0]))
    before = p.data.copy()
    with pytest.raises(FloatingPointError):
        optimizer.step()
    np.testing.assert_array_equal(p.data, before)


def test_a_norm_beyond_float64_is_an_error_of_its_own():
    p = nn.Parameter(np.zeros(2))
    p.grad = Tensor(np.full(2, 1e200))
    with pytest.raises(FloatingPointError, match="too large for float64"):
        clipping.clip_grad_norm_(p, 1.0)
    clipping.clip_grad_norm_(p, 1.0, math.inf)
    np.testing.assert_allclose(p.grad.data, [1.0, 1.0])


def test_hooks_before_a_step_that_raises_run_and_those_after_it_do_not():
    model = make_model(random_arrays(SHAPES, seed=2), bad(math.nan))
    optimizer, calls = adam(model, clipping.by_global_norm(1.0)), []
    optimizer.register_step_pre_hook(lambda _: calls.append("before"))
    optimizer.register_step_post_hook(lambda _: calls.append("after"))
    with pytest.raises(FloatingPointError):
        optimizer.step()
    assert calls == ["before"]
