"""Values at kinks and jumps: an infinity that meets a branch not taken, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import ops
from minigrad.nn import functional as F


def leaf(values: Any, dtype: Any = np.float32) -> mg.Tensor:
    return mg.tensor(np.array(values, dtype), requires_grad=True)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "branch",
    [
        lambda x: x.relu(),
        lambda x: x.clip(0, 5),
        lambda x: F.relu6(x),
        lambda x: mg.maximum(x, 0),
        lambda x: -mg.minimum(-x, 0),
        lambda x: x.masked_fill(x < 0, 0),
    ],
)
def test_an_infinite_slope_behind_a_branch_not_taken_gives_zero(branch: Callable[..., Any], dtype: type) -> None:
    x = leaf([-1.0, 4.0], dtype)
    (g,) = mg.grad(branch(x).sqrt().sum(), x)
    np.testing.assert_array_equal(g.data, [0.0, 0.25])


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_infinite_slope_goes_to_the_largest_element_alone() -> None:
    x = leaf([[-1.0, 0.0], [1.0, 4.0]])
    (g,) = mg.grad(x.max(axis=1).sqrt().sum(), x)
    np.testing.assert_array_equal(g.data, [[0.0, np.inf], [0.0, 0.25]])


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_infinite_slope_at_an_exponent_of_zero_gives_zero() -> None:
    x = leaf([2.0])
    (g,) = mg.grad(((x**0) - 1).sqrt().sum(), x)
    assert g.item() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(), (5,), (4, 6)])
def test_masked_selects_in_every_layout(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 10).astype(dtype)
    mask = np.asarray(rng.random(shape) < 0.5)
    for a, m in ((x, mask), (x.T, mask.T), (x[..., ::-1] if shape else x, mask)):
        out = ops.masked(a, m)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, np.where(m, a, 0))
    row = np.broadcast_to(x, (2, *shape))
    both = np.broadcast_to(mask, (2, *shape))
    np.testing.assert_array_equal(ops.masked(row, both), np.where(both, row, 0))


@pytest.mark.parametrize("op", [mg.std, mg.norm])
def test_where_there_is_no_spread_the_gradients_gradient_is_zero_too(op: Callable[..., Any]) -> None:
    x = leaf(np.zeros(3))
    (g,) = mg.grad(op(x), x, create_graph=True)
    (gg,) = mg.grad((g * mg.tensor([1.0, 2.0, 4.0])).sum(), x)
    np.testing.assert_array_equal(gg.data, 0)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_elu_has_slope_alpha_at_zero_and_no_curvature(alpha: float) -> None:
    x = leaf([-1.0, 0.0, 1.0], np.float64)
    (g,) = mg.grad(F.elu(x, alpha).sum(), x, create_graph=True)
    (gg,) = mg.grad(g.sum(), x)
    np.testing.assert_allclose(g.data, [alpha * np.exp(-1), alpha, 1])
    np.testing.assert_allclose(gg.data, [alpha * np.exp(-1), 0, 0])


def test_gelu_with_tanh_keeps_its_slope_where_it_is_nearly_one() -> None:
    for dtype, digits in ((np.float32, 1e-7), (np.float64, 1e-15)):
        x = leaf([3.0, 5.0], dtype)
        (g,) = mg.grad(F.gelu(x, "tanh").sum(), x)
        z = np.sqrt(2 / np.pi) * (x.data.astype(np.float64) + 0.044715 * x.data.astype(np.float64) ** 3)
        inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x.data.astype(np.float64) ** 2)
        s, t = 1 / (1 + np.exp(-2 * z)), 1 / (1 + np.exp(2 * z))
        np.testing.assert_allclose(g.data, s * (1 + 2 * x.data * t * inner), rtol=2 * digits)


def test_the_gradient_of_gelu_uses_the_distribution_function_of_the_forward_pass(monkeypatch) -> None:
    out = F.gelu(leaf([-1.0, 2.0])).sum()
    monkeypatch.setattr(ops.erfc, "forward", None)
    out.backward()


@pytest.mark.parametrize("op", [mg.sign, mg.floor, mg.ceil, mg.round])
def test_steps_have_a_gradient_of_zero(op: Callable[..., Any]) -> None:
    x = leaf([-1.5, 0.3, 2.2])
    (g,) = mg.grad(op(x).sum(), x)
    np.testing.assert_array_equal(g.data, 0)


@pytest.mark.parametrize("loss", [F.l1_loss, lambda x, y: (x - y).abs().sum()])
def test_the_gradient_of_a_distance_can_be_differentiated(loss: Callable[..., Any]) -> None:
    x = leaf([1.0, 2.0])
    (g,) = mg.grad(loss(x, mg.tensor([0.0, 3.0])), x, create_graph=True)
    (gg,) = mg.grad((g * g).sum(), x)
    np.testing.assert_array_equal(gg.data, 0)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(2, 1), (3, 2)]),
        ("ij,jk->ik", [(2, 3), (1, 2)]),
        ("...i,...i->i", [(2, 3), (1, 3)]),
        ("...i,...i->i", [(2, 1), (2, 3)]),
        ("...i,...i->", [(4, 2, 3), (3,)]),
    ],
)
def test_einsum_broadcasts_axes_of_size_one(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape) for shape in shapes]
    mg.check_gradients(lambda *x: mg.einsum(subscripts, *x), operands)


def test_einsum_of_three_operands_works_in_pairs() -> None:
    # All at once would be 80^5 products, which takes minutes.
    a = mg.tensor(np.ones((80, 80), np.float32))
    assert mg.einsum("ij,jk,kl,lm->im", a, a, a, a)[0, 0].item() == 80**3


def test_rows_selected_twice_receive_both_gradients_in_any_layout() -> None:
    # The gradient that prod hands on along the first axis is not laid out in rows.
    x = np.random.default_rng(0).standard_normal((3, 4))
    mg.check_gradients(lambda x: x[np.array([0, 0, 2])].prod(axis=0), x)
    mg.check_gradients(lambda x: x.take([0, 0, 2], axis=0).transpose(0, 1).prod(axis=1), x)


def test_an_axis_may_be_a_numpy_integer() -> None:
    x = leaf([[1.0, 2.0], [3.0, 5.0]], np.float64)
    axis = np.int64(1)
    for op in (mg.sum, mg.mean, mg.var, mg.std, mg.max, mg.logsumexp, mg.prod, mg.norm, mg.softmax):
        np.testing.assert_array_equal(op(x, axis=axis).data, op(x, axis=1).data)
        (g,) = mg.grad((op(x, axis=axis) ** 2).sum(), x)
        (expected,) = mg.grad((op(x, axis=1) ** 2).sum(), x)
        np.testing.assert_array_equal(g.data, expected.data)
