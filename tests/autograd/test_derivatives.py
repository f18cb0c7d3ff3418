"""The derivatives of functions: against PyTorch's values, and against finite differences."""

from pathlib import Path

import numpy as np
import pytest
from derivative_cases import B, C, V, X, both, mixed

import minigrad
from minigrad import nn

with np.load(Path(__file__).parents[1] / "golden" / "derivatives.npz") as stored:
    GOLDEN = dict(stored)


def tensors(*arrays):
    return tuple(minigrad.tensor(array.copy()) for array in arrays)


def agree(found, *names):
    for each, name in zip(found, names, strict=True):
        np.testing.assert_allclose(each.detach().numpy(), GOLDEN[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_a_hessian_vector_product_is_pytorchs():
    value, products = minigrad.hvp(mixed, tensors(X, B), tensors(V, C))
    agree([value, *products], "hvp/value", "hvp/0", "hvp/1")


def test_a_hessian_vector_product_is_the_slope_of_the_gradient():
    slope = minigrad.value_and_grad(mixed)
    _, (product, _) = minigrad.hvp(mixed, tensors(X, B), tensors(V, 0 * C))
    h = 1e-5
    ahead, behind = (slope(*tensors(X + side * h * V, B))[1].numpy() for side in (1, -1))
    np.testing.assert_allclose(product.numpy(), (ahead - behind) / (2 * h), rtol=1e-8)


def test_a_hessian_is_pytorchs_block_by_block():
    (xx, xb), (bx, bb) = minigrad.hessian(mixed, tensors(X, B))
    agree([xx, xb, bx, bb], "hessian/00", "hessian/01", "hessian/10", "hessian/11")


def test_a_jacobian_is_pytorchs_also_where_an_output_does_not_depend_on_an_input():
    (xx, xb), (bx, bb) = minigrad.jacobian(both, tensors(X, B))
    agree([xx, xb, bx, bb], "jacobian/00", "jacobian/01", "jacobian/10", "jacobian/11")


def test_value_and_gradient_are_pytorchs():
    value, gradients = minigrad.value_and_grad(mixed, argnums=(0, 1))(*tensors(X, B))
    agree([value, *gradients], "value", "grad/0", "grad/1")


def test_an_auxiliary_result_is_returned_with_the_value():
    (value, seen), slope = minigrad.value_and_grad(lambda x: ((x**2).sum(), "seen"), has_aux=True)(*tensors(B))
    assert seen == "seen"
    assert value.item() == pytest.approx((B**2).sum())
    np.testing.assert_allclose(slope.numpy(), 2 * B)


@pytest.mark.parametrize("derivative", [minigrad.jacobian, minigrad.hessian])
def test_derivatives_of_derivatives_are_recorded_on_request(derivative):
    x = minigrad.tensor(B.copy(), requires_grad=True)
    order = 2 if derivative is minigrad.hessian else 1
    (slope,) = minigrad.grad(derivative(lambda x: (x**4).sum(), x, create_graph=True).sum(), x)
    np.testing.assert_allclose(slope.numpy(), {1: 12 * B**2, 2: 24 * B}[order])


def test_the_inputs_are_left_alone_also_inside_no_grad():
    x = nn.Parameter(B.copy())
    with minigrad.no_grad():
        _, product = minigrad.hvp(lambda x: (x**3).sum(), x, minigrad.tensor(C))
    np.testing.assert_allclose(product.numpy(), 6 * B * C)
    assert x.grad is None


def test_a_linear_function_has_a_hessian_of_0():
    _, product = minigrad.hvp(lambda x: (2 * x).sum(), *tensors(B, C))
    np.testing.assert_array_equal(product.numpy(), 0 * B)
    np.testing.assert_array_equal(minigrad.hessian(lambda x: (2 * x).sum(), *tensors(B)).numpy(), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: minigrad.hvp(lambda x: x * x, x, x), "must return a tensor with a single number, not shape"),
        (lambda x: minigrad.hvp(lambda x: (x * x).sum(), x), "v is needed"),
        (lambda x: minigrad.hvp(lambda x: (x * x).sum(), x, x[:2]), "v has the shapes"),
        (lambda x: minigrad.hessian(lambda x: 1.0, x), "must return a tensor with a single number, not float"),
    ],
)
def test_an_error_names_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call(*tensors(B))
