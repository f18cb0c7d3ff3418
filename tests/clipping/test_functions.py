"""clip_grad_norm_, clip_grad_value_ and adaptive_clip_grad_: what they take, what they change, what they refuse."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from clipping_cases import RANDOM, clip_by_loop, grads_of, make_model, random_arrays, set_grads, snapshot

from minigrad import Tensor, clipping, nn, optim
from minigrad.nn import functional as F

FUNCTIONS = {
    "norm": lambda parameters, threshold: clipping.clip_grad_norm_(parameters, threshold),
    "value": lambda parameters, threshold: clipping.clip_grad_value_(parameters, threshold),
    "adaptive": lambda parameters, threshold: clipping.adaptive_clip_grad_(parameters, threshold),
}
NOT_ABOVE_ZERO = [-1.0, 0.0, -0.0, math.nan, -math.inf, True, None, "1", np.True_]


@pytest.fixture(params=FUNCTIONS)
def clip(request):
    return FUNCTIONS[request.param]


def a_model(dtype=np.float64, seed=1):
    return make_model(random_arrays(RANDOM, seed=2), random_arrays(RANDOM, seed), dtype)


def parameter(value, grad, dtype=np.float32):
    made = nn.Parameter(np.array(value, dtype))
    made.grad = Tensor(np.array(grad, dtype))
    return made


# What is clipped


def test_a_norm_too_large_for_float32_clips_to_the_threshold():
    p = parameter([0, 0], [1e20, 1e20])
    norm = clipping.clip_grad_norm_(p, 1.0)
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm.item(), np.sqrt(2) * float(np.float32(1e20)), rtol=1e-14)
    np.testing.assert_allclose(p.grad.data, [np.sqrt(0.5)] * 2, rtol=2e-7)
    assert p.grad.dtype == np.float32


def test_the_largest_float32_gradients_clip_to_the_threshold():
    p = parameter(np.zeros(1000), np.full(1000, 3e38))
    clipping.clip_grad_norm_(p, 100.0)
    np.testing.assert_allclose(np.linalg.norm(p.grad.data.astype(np.float64)), 100.0, rtol=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5, np.inf])
def test_gradients_of_zero_have_norm_zero_and_stay_zero(order):
    p = parameter([1, 2], [0, -0.0])
    assert clipping.clip_grad_norm_(p, 1e-9, order).item() == 0.0
    assert p.grad.data.tobytes() == np.array([0, -0.0], np.float32).tobytes()


def test_adaptive_clipping_leaves_gradients_of_zero_and_moves_parameters_of_zero():
    still, moved = parameter([1.0], [0.0]), parameter([0.0], [5.0])
    clipping.adaptive_clip_grad_([still, moved], 0.01, eps=1e-3)
    assert still.grad.data.tolist() == [0.0]
    np.testing.assert_allclose(moved.grad.data, [1e-5], rtol=1e-6)


def test_an_infinite_threshold_never_clips(clip):
    model = a_model()
    before = grads_of(model)
    clip(model.parameters(), math.inf)
    for a, b in zip(grads_of(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_at_or_below_the_threshold_keep_their_bits(clip):
    model = a_model(np.float32)
    before = grads_of(model)
    clip(model.parameters(), 1e6)
    assert [g.tobytes() for g in grads_of(model)] == [g.tobytes() for g in before]


def test_value_clipping_clamps_between_two_bounds_in_a_chain():
    p = parameter(np.zeros(4), [-5, -0.1, 0.1, 5])
    optim.SGD([p], lr=1.0, clip=clipping.by_value(-0.5, 2.0)).step()
    np.testing.assert_array_equal(-p.data, np.float32([-0.5, -0.1, 0.1, 2.0]))


def test_parameters_of_both_dtypes_share_one_norm():
    single, double = parameter([0.0], [3.0]), parameter([0.0], [4.0], np.float64)
    assert clipping.clip_grad_norm_([single, double], 1.0).item() == 5.0
    np.testing.assert_allclose([single.grad.item(), double.grad.item()], [0.6, 0.8], rtol=1e-6)
    assert (single.grad.dtype, double.grad.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("clip_twice", [False, True])
def test_clipping_again_changes_at_most_what_the_small_constant_leaves(clip_twice):
    model = a_model()
    for _ in range(1 + clip_twice):
        norm = clipping.clip_grad_norm_(model.parameters(), 0.5)
    assert norm.item() == pytest.approx(0.5, rel=1e-5) if clip_twice else norm.item() > 1.0


# How parameters are given


def test_no_parameters_and_parameters_without_gradients_have_norm_zero(clip):
    bare = nn.Parameter(np.ones(2))
    assert clip([], 1.0) is None or clip([], 1.0).item() == 0.0
    result = clip([bare], 1.0)
    assert result is None or (result.item() == 0.0 and result.dtype == np.float64)
    assert bare.grad is None
    assert clipping.clip_grad_norm_(iter(()), 1.0, scope="unit").shape == (0,)


def test_parameters_without_gradients_are_passed_over():
    grads = random_arrays(RANDOM, seed=1)
    kept = {name: grad for name, grad in grads.items() if name != "0.bias"}
    model = make_model(random_arrays(RANDOM, seed=2), {**grads, "0.bias": None})
    norms = clipping.clip_grad_norm_(model.parameters(), 0.5, scope="tensor")
    assert norms.shape == (len(kept),)
    clipped = clip_by_loop(kept, "tensor", 0.5)
    for name, p in model.named_parameters():
        if name in kept:
            np.testing.assert_allclose(p.grad.data, clipped[name], rtol=1e-13)
        else:
            assert p.grad is None


def test_one_tensor_a_generator_and_a_list_are_clipped_alike(clip):
    value, grad = {"weight": np.full((3, 2), 0.1)}, {"weight": np.full((3, 2), 7.0)}
    results = []
    for give in (lambda m: m.weight, lambda m: (p for p in [m.weight]), lambda m: [m.weight], lambda m: m.parameters()):
        model = make_model(value, grad)
        clip(give(model), 0.3)
        results.append(model.weight.grad.data)
    assert (results[0] < 7.0).all()
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_a_parameter_given_twice_is_clipped_once():
    for owned in (False, True):
        p = parameter([0, 0], [3, 4])
        holder = optim.SGD([p], lr=0.1) if owned else None
        assert clipping.clip_grad_norm_([p, p], 1.0).item() == 5.0
        np.testing.assert_allclose(p.grad.data, [0.6, 0.8], rtol=1e-6)
        del holder


def test_some_parameters_of_an_optimizer_are_clipped_and_the_others_left():
    model, rest = a_model(), a_model()
    holder = optim.SGD(model.parameters(), lr=0.1)
    names = ["0.weight", "1.scale"]
    chosen = [p for name, p in model.named_parameters() if name in names]
    norms = clipping.clip_grad_norm_(chosen, 0.1, scope="tensor")
    grads = random_arrays(RANDOM, seed=1)
    np.testing.assert_allclose(norms.data, [np.linalg.norm(grads[name]) for name in names], rtol=1e-13)
    clipped = clip_by_loop({name: grads[name] for name in names}, "tensor", 0.1)
    for (name, p), other in zip(model.named_parameters(), rest.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, clipped.get(name, other.grad.data), rtol=1e-13)
    del holder


def test_parameters_of_two_optimizers_share_one_norm_and_both_step_afterwards():
    grads = random_arrays(RANDOM, seed=1)
    model, params = a_model(), random_arrays(RANDOM, seed=2)
    named = list(model.named_parameters())
    parts = [optim.SGD(named[:3], lr=1.0), optim.SGD(named[3:], lr=1.0, momentum=0.5)]
    for turn in range(3):
        set_grads(model, grads)
        norm = clipping.clip_grad_norm_(model.parameters(), 0.5)
        np.testing.assert_allclose(norm.item(), np.linalg.norm(np.concatenate([g.ravel() for g in grads.values()])))
        clipped = clip_by_loop(grads, "global", 0.5)
        for part in parts:
            part.step()
        for i, (name, p) in enumerate(named):
            speed = 1.0 if i < 3 else 2 - 0.5**turn
            params[name] = params[name] - speed * clipped[name]
            np.testing.assert_allclose(p.data, params[name], rtol=1e-12, atol=1e-14)


def test_a_model_that_no_optimizer_holds_learns_on_after_clipping():
    layer = nn.Linear(3, 2)
    for _ in range(3):
        for p in layer.parameters():
            p.grad = None
        F.mse_loss(layer(np.ones((4, 3), np.float32)), np.full((4, 2), 9, np.float32)).backward()
        before = grads_of(layer)
        norm = clipping.clip_grad_norm_(layer.parameters(), 0.5).item()
        for a, b in zip(grads_of(layer), before, strict=True):
            np.testing.assert_allclose(a, b * (0.5 / norm), rtol=1e-5)
        layer.weight.data -= layer.weight.grad.data
        gc.collect()  # the buffers of the last call may go


def test_two_models_with_the_same_names_are_clipped_together():
    first, second = a_model(), a_model(seed=4)
    together = [*first.parameters(), *second.parameters()]
    total = np.sqrt(sum(np.sum(g**2) for g in grads_of(together)))
    np.testing.assert_allclose(clipping.clip_grad_norm_(together, 0.1).item(), total, rtol=1e-13)
    np.testing.assert_allclose(np.sqrt(sum(np.sum(g**2) for g in grads_of(together))), 0.1, rtol=1e-6)


# What is changed


@pytest.mark.parametrize("owned", [False, True])
def test_a_gradient_set_by_hand_is_changed_itself(clip, owned):
    p = nn.Parameter(np.ones((2, 2)))
    holder = optim.SGD([p], lr=0.1) if owned else None
    array = np.full((2, 2), 50.0)
    mine = Tensor(array)
    p.grad = mine
    clip(p, 0.5)
    assert p.grad is mine
    assert (array < 50.0).all()
    del holder


def test_parameters_are_not_changed(clip):
    model = a_model()
    before = snapshot(model)
    clip(model.parameters(), 0.01)
    assert snapshot(model) == before


def test_a_change_of_a_gradient_that_a_graph_needs_is_noticed():
    p = nn.Parameter(np.array([3.0, 4.0]))
    p.grad = Tensor(np.array([3.0, 4.0]), requires_grad=True)
    squared = (p.grad * p.grad).sum()
    clipping.clip_grad_norm_(p, 1.0)
    with pytest.raises(RuntimeError, match="in place"):
        squared.backward()


def test_clipping_accumulated_gradients_then_accumulating_goes_on_from_the_clipped_ones():
    p = nn.Parameter(np.array([3.0, 4.0]))
    (p * np.array([30.0, 40.0])).sum().backward()
    clipping.clip_grad_norm_(p, 5.0)
    (p * np.array([1.0, 1.0])).sum().backward()
    np.testing.assert_allclose(p.grad.data, [4.0, 5.0], rtol=1e-6)


# What is refused


@pytest.mark.parametrize("threshold", NOT_ABOVE_ZERO)
def test_a_threshold_that_is_not_above_zero_is_refused_and_nothing_changed(clip, threshold):
    model = a_model()
    before = grads_of(model)
    for parameters in (model.parameters(), []):
        with pytest.raises(ValueError, match="must be a number above 0, not"):
            clip(parameters, threshold)
    for a, b in zip(grads_of(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threshold", [np.float32(0.5), np.int64(1), 1])
def test_a_number_of_numpy_is_a_threshold_too(clip, threshold):
    models = a_model(), a_model()
    for model, number in zip(models, (threshold, float(threshold)), strict=True):
        clip(model.parameters(), number)
    for ours, expected in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_array_equal(ours.grad.data, expected.grad.data)


@pytest.mark.parametrize("order", [0, -2, math.nan, "inf", True])
def test_an_order_that_is_no_number_above_zero_is_refused(order):
    with pytest.raises(ValueError, match="order must be a number above 0"):
        clipping.clip_grad_norm_(a_model().parameters(), 1.0, order)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.5), (math.nan, 1.0), (0.0, math.nan), (False, True), (-1.0, "1")])
def test_bounds_that_are_no_range_are_refused(low, high):
    with pytest.raises(ValueError, match="clipping: "):
        clipping.by_value(low, high)


@pytest.mark.parametrize("eps", [0.0, -1e-3, math.nan, True])
def test_an_eps_that_is_not_above_zero_is_refused(eps):
    with pytest.raises(ValueError, match="eps must be a number above 0"):
        clipping.adaptive_clip_grad_(a_model().parameters(), 0.1, eps)


def test_adaptive_clipping_by_another_norm_is_refused():
    with pytest.raises(ValueError, match="2-norm"):
        clipping.adaptive_clip_grad_(a_model().parameters(), 0.1, norm_type=1.0)


def test_unknown_scopes_and_policies_are_refused():
    with pytest.raises(ValueError, match="norm: unknown scope 'row'; known are unit, tensor, layer, global"):
        clipping.clip_grad_norm_(a_model().parameters(), 1.0, scope="row")
    with pytest.raises(ValueError, match="unknown nonfinite 'ignore'; known are raise, skip, propagate"):
        clipping.by_norm(1.0, "unit", nonfinite="ignore")


def test_what_is_no_tensor_is_refused(clip):
    with pytest.raises(TypeError, match="needs tensors, such as model"):
        clip([np.ones(2)], 1.0)


def test_a_tensor_computed_from_others_is_refused():
    p = nn.Parameter(np.ones(2))
    doubled = p * 2
    doubled.retain_grad()
    doubled.sum().backward()
    with pytest.raises(ValueError, match="computed from other tensors"):
        clipping.clip_grad_norm_(doubled, 1.0)


@pytest.mark.parametrize(
    "used", [lambda m: m.parameters(), lambda m: map(abs, m.parameters()), lambda m: iter([*m.parameters()])]
)
def test_an_exhausted_iterator_of_parameters_is_refused(clip, used):
    """An optimizer, or an earlier call, has used it up; its gradients would stay unclipped, with a norm of 0."""
    model = a_model()
    parameters = used(model)
    list(parameters)
    before = grads_of(model)
    with pytest.raises(ValueError, match=r"the iterator that was given has no items.*list\(model\.parameters\(\)\)"):
        clip(parameters, 1.0)
    with pytest.raises(ValueError, match="no items"):
        clip((p for p in parameters if p.grad is not None), 1.0)
    for a, b in zip(grads_of(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_instead_of_its_parameters_is_refused(clip):
    for wrong, named in ((nn.Sequential(a_model()), "not the model itself"), (["w"], "not str"), ("w", "not str")):
        with pytest.raises(TypeError, match=named):
            clip(wrong, 1.0)


@pytest.mark.parametrize("order", [3, 10, 40, 500])
@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 1e37), (np.float32, 1e-30), (np.float64, 1e300)])
def test_a_norm_of_a_high_order_neither_overflows_nor_vanishes(order, dtype, large):
    """The powers themselves do: 1e31 to the 10th, or 1e-33."""
    grads = [np.array([3, -4], dtype) * dtype(large), np.array([1, 0, 2], dtype) * dtype(large)]
    expected = 4.0 * np.sum((np.array([3, 4, 1, 0, 2]) / 4) ** float(order)) ** (1 / order) * float(dtype(large))
    model = [parameter(np.zeros(len(g)), g, dtype) for g in grads]
    found = clipping.clip_grad_norm_(model, expected / 2, order)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-6)
    if large > 1:  # the 1e-6 in the factor hides others
        for p, g in zip(model, grads, strict=True):
            np.testing.assert_allclose(p.grad.data, g / 2, rtol=1e-6)
