"""Clips against PyTorch, timm and optax, stored and live, and against loops over the ranges in NumPy."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from clipping_cases import (
    ORDERS_AND_SCOPES,
    RANDOM,
    clip_by_loop,
    grads_of,
    make_model,
    norm_of,
    random_arrays,
    ranges,
)
from golden import clipping as oracle

from minigrad import clipping, optim

# A sum of 300 terms in another order.
RTOL = 1e-13
RUNS = [pytest.param(case, model, id=f"{model}-{case.name}") for case, model in oracle.runs()]


@pytest.fixture(scope="module")
def stored():
    return oracle.load()


def clip_like(case: oracle.Case, model: str) -> tuple[np.ndarray, float]:
    """What minigrad makes of the case, with the norm that it returns."""
    grads = oracle.gradients(case, model)
    parameters = list(make_model(oracle.problem(model)[0], grads).parameters())
    norm = np.nan
    if case.by == "norm":
        norm = clipping.clip_grad_norm_(parameters, case.threshold, case.order).item()
    elif case.by == "global_norm":
        clipping.clip_grad_norm_(parameters, case.threshold)
    elif case.by == "value":
        clipping.clip_grad_value_(parameters, case.threshold)
    elif case.by == "unit":
        clipping.adaptive_clip_grad_(parameters, case.threshold, case.eps)
    elif case.by == "block_rms":
        for parameter in parameters:  # the root mean square is the norm over the root of the size
            clipping.clip_grad_norm_(parameter, case.threshold * np.sqrt(parameter.data.size), scope="tensor")
    return np.concatenate([np.ravel(grad) for grad in grads_of(parameters)]), norm


def assert_agrees(case: oracle.Case, model: str, grads: np.ndarray, norm: float) -> None:
    ours, our_norm = clip_like(case, model)
    np.testing.assert_allclose(ours, grads, rtol=RTOL, atol=0)
    np.testing.assert_allclose(our_norm, norm, rtol=RTOL)


def test_the_stored_gradients_are_those_of_the_script(stored):
    for model in oracle.MODELS:
        # A gradient is a product of matrices, whose last bit depends on the processor that BLAS chose its kernel for.
        np.testing.assert_allclose(stored[model], oracle.flat(oracle.problem(model)[1]), rtol=1e-13)
    assert set(stored) == {*oracle.MODELS, *(f"{model}/{case.name}" for case, model in oracle.runs())}


def test_the_stored_clips_both_act_and_leave_alone(stored):
    for by in ("norm", "value", "unit", "block_rms", "global_norm"):
        before_after = [
            (oracle.flat(oracle.gradients(case, model)), stored[f"{model}/{case.name}"][:-1])
            for case, model in oracle.runs()
            if case.by == by
        ]
        assert any((before != after).any() for before, after in before_after)
        assert any(((before == after) & (before != 0)).any() for before, after in before_after)


@pytest.mark.parametrize(("case", "model"), RUNS)
def test_gradients_and_norms_are_those_stored_from_the_library(case, model, stored):
    *grads, norm = stored[f"{model}/{case.name}"]
    assert_agrees(case, model, np.array(grads), norm)


@pytest.mark.parametrize(("case", "model"), RUNS)
def test_gradients_and_norms_are_those_of_the_library_run_now(case, model):
    pytest.importorskip("optax" if case.library == "optax" else "torch")
    if importlib.util.find_spec(case.library) is None:  # timm's package cannot be imported without its dependencies
        pytest.skip(f"{case.library} is not installed")
    grads, norm = oracle.clipped(case, model)
    assert_agrees(case, model, oracle.flat({name: grads[name] for name in oracle.MODELS[model]}), norm)


@pytest.mark.parametrize(("order", "scope"), ORDERS_AND_SCOPES)
def test_every_scope_and_order_is_the_loop_over_its_ranges(order, scope):
    grads = random_arrays(RANDOM, seed=1)
    max_norm = np.median([norm_of(grads, pieces, order) for pieces in ranges(RANDOM, scope).values()]) * 0.9
    model = make_model(random_arrays(RANDOM, seed=2), grads)
    norms = clipping.clip_grad_norm_(model.parameters(), max_norm, order, scope=scope)
    expected = [norm_of(grads, pieces, order) for pieces in ranges(RANDOM, scope).values()]
    np.testing.assert_allclose(np.ravel(norms.data), expected, rtol=RTOL)
    clipped = clip_by_loop(grads, scope, max_norm, order)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.data, clipped[name], rtol=RTOL, atol=0)
    assert any((clipped[name] != grads[name]).any() for name in RANDOM)


@pytest.mark.parametrize("scope", ["unit", "global"])
def test_the_element_of_a_chain_is_the_loop_too(scope):
    params, grads = random_arrays(RANDOM, seed=2), random_arrays(RANDOM, seed=1)
    model = make_model(params, grads)
    optim.SGD(model.parameters(), lr=1.0, clip=clipping.by_norm(0.5, scope)).step()
    clipped = clip_by_loop(grads, scope, 0.5)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.data, params[name] - clipped[name], rtol=RTOL, atol=1e-15)


def test_per_tensor_clipping_is_that_of_keras():
    """Keras' clipnorm is TensorFlow's clip_by_norm of each tensor: g · c / max(‖g‖, c)."""
    grads = random_arrays(RANDOM, seed=3, scale=1e8)  # where the 1e-6 added to the norm is beyond the last digit
    model = make_model(random_arrays(RANDOM, seed=2), grads)
    clipping.clip_grad_norm_(model.parameters(), 2e8, scope="tensor")
    factors = {name: 2e8 / max(np.linalg.norm(grad), 2e8) for name, grad in grads.items()}
    assert min(factors.values()) < 1.0 == max(factors.values())
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.data, grads[name] * factors[name], rtol=RTOL)


def test_adaptive_clipping_is_the_papers_formula_row_by_row():
    params, grads = random_arrays(RANDOM, seed=2), random_arrays(RANDOM, seed=1)
    params["1.weight"][0] = 0.0  # a unit at 0 may move by eps
    grads["1.weight"][1] = 1e-9  # a unit whose gradient is next to nothing
    model = make_model(params, grads)
    clipping.adaptive_clip_grad_(model.parameters(), 0.3, eps=0.05)
    acted = 0
    for name, parameter in model.named_parameters():
        rows = range(len(params[name])) if params[name].ndim >= 2 else [...]
        for row in rows:
            theta, g = params[name][row], grads[name][row]
            limit = 0.3 * max(np.linalg.norm(theta), 0.05)
            factor = limit / max(np.linalg.norm(g), 1e-6) if np.linalg.norm(g) > limit else 1.0
            acted += factor != 1.0
            np.testing.assert_allclose(parameter.grad.data[row], factor * g, rtol=RTOL, atol=0)
    assert 0 < acted < sum(len(ranges({name: shape}, "unit")) for name, shape in RANDOM.items())


def test_adaptive_clipping_scales_with_parameter_and_gradient_together():
    params, grads = random_arrays(RANDOM, seed=2), random_arrays(RANDOM, seed=1)
    once, larger = make_model(params, grads), make_model(*({n: 8 * a for n, a in x.items()} for x in (params, grads)))
    for model, eps in ((once, 1e-3), (larger, 8e-3)):  # 8 is a power of two, so nothing is rounded otherwise
        clipping.adaptive_clip_grad_(model.parameters(), 0.05, eps)
    for a, b, raw in zip(grads_of(once), grads_of(larger), grads.values(), strict=True):
        np.testing.assert_array_equal(8 * a, b)
        assert raw.size == 0 or (a != raw).any()
