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


# --- tails: gradients that a subtraction from 1 would cancel to 0 -----------------------------------------------------

POINTS = np.array([-80.0, -30.0, -20.0, -15.0, -5.0, -0.5, 0.5, 5.0, 15.0, 20.0, 30.0])


def sigma(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def slope_of(f: Callable[..., Any], x: Any) -> np.ndarray:
    x = leaf(x)
    return mg.grad(f(x).sum(), x)[0].data


@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (mg.sigmoid, sigma, lambda x: sigma(x) * sigma(-x)),
        (lambda x: F.softplus(x, threshold=100.0), lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0), sigma),
        (lambda x: -F.softplus(-x, threshold=100.0), lambda x: -np.log1p(np.exp(-x)), lambda x: sigma(-x)),
        (F.elu, lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.exp(np.minimum(x, 0))),
        (
            lambda x: F.elu(x, 2.0),
            lambda x: np.where(x > 0, x, 2 * np.expm1(x)),
            lambda x: np.where(x > 0, 1, 2 * np.exp(x)),
        ),
        (F.silu, lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * sigma(-x))),
        (mg.expm1, np.expm1, np.exp),
    ],
)
def test_values_and_slopes_in_the_tails_are_accurate_in_float32(
    f: Callable[..., Any], value: Callable[..., Any], slope: Callable[..., Any]
) -> None:
    np.testing.assert_allclose(f(leaf(POINTS)).data, value(POINTS), rtol=3e-6)
    np.testing.assert_allclose(slope_of(f, POINTS), slope(POINTS), rtol=3e-6)


def test_gelu_with_tanh_does_not_cancel_in_its_left_tail() -> None:
    x = np.array([-3.0, -5.0])
    z = 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(F.gelu(leaf(x), "tanh").data, x * sigma(z), rtol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_saturates_without_nan_or_warning(dtype: type) -> None:
    x = leaf([-np.inf, -1000.0, 0.0, 1000.0, np.inf], dtype)
    (g,) = mg.grad(mg.sigmoid(x).sum(), x)
    np.testing.assert_array_equal(mg.sigmoid(x).data, [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(g.data, [0, 0, 0.25, 0, 0])


def bce(x: Any, t: Any, **options: Any) -> Any:
    return F.binary_cross_entropy_with_logits(x, mg.tensor(np.array(t, np.float32)), reduction="none", **options)


def test_bce_with_logits_does_not_cancel_for_confident_scores() -> None:
    # At -15 and -17 PyTorch gives 3.06e-7 and the gradient 4.14e-8.
    x, t = leaf([-17.0, -15.0, 17.0, -17.0, 17.0, 0.5]), [0.0, 0.0, 1.0, 1.0, 0.0, 0.25]
    wide, labels = x.data.astype(np.float64), np.array(t)
    for options, factor in [({}, 1.0), ({"pos_weight": mg.tensor(3.0)}, 3.0)]:
        expected = (1 - labels) * np.logaddexp(0, wide) + factor * labels * np.logaddexp(0, -wide)
        np.testing.assert_allclose(bce(x, t, **options).data, expected, rtol=1e-6)
        slopes = (1 - labels) * sigma(wide) - factor * labels * sigma(-wide)
        np.testing.assert_allclose(slope_of(lambda x, o=options: bce(x, t, **o), x.data), slopes, rtol=2e-6)
    mg.check_gradients(
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=mg.tensor(np.float64(3.0))),
        [np.linspace(-3, 3, 5), np.linspace(0.1, 0.9, 5)],
    )


@pytest.mark.parametrize("options", [{}, {"pos_weight": mg.tensor(2.0)}])
def test_bce_at_infinite_logits_is_0_where_they_are_right_and_infinite_where_wrong(options: Any) -> None:
    factor = 2.0 if options else 1.0
    x = [np.inf, -np.inf, -np.inf, np.inf]
    np.testing.assert_array_equal(bce(leaf(x), [1.0, 0.0, 1.0, 0.0], **options).data, [0, 0, np.inf, np.inf])
    np.testing.assert_array_equal(slope_of(lambda x: bce(x, [1.0, 0.0, 1.0, 0.0], **options), x), [0, 0, -factor, 1])
    assert np.isnan(bce(leaf([np.nan]), [1.0], **options).item())


# --- large and small numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6, 1e9])
def test_the_gradient_of_logsumexp_is_the_softmax_at_any_size(size: float) -> None:
    x = np.array([[0.0, 1.0, 2.0], [2.0, 2.0, 2.0]], np.float32) * np.float32(64) + np.float32(size)
    for axis in (1, 0, None, (0, 1)):
        g = slope_of(lambda x, axis=axis: x.logsumexp(axis=axis), x)
        wide = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
        np.testing.assert_allclose(g, wide / wide.sum(axis, keepdims=True), rtol=1e-6, atol=1e-30)


def test_the_sum_of_no_exponentials_is_0() -> None:
    assert mg.zeros(2, 0).logsumexp(axis=1).tolist() == [-np.inf, -np.inf]
    assert mg.zeros(2, 0).softmax(axis=1).shape == (2, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("values", "std", "slope"),
    [
        # The first is PyTorch's; the others are the first scaled.
        ([1e20, -1e20, 1.0], 1e20, [0.5, -0.5, 0.0]),
        ([1e-30, -1e-30, 0.0], 1e-30, [0.5, -0.5, 0.0]),
        ([3e38, 3e38, 3e38, 3e38], 0.0, None),
    ],
)
def test_a_standard_deviation_neither_overflows_nor_underflows(values: Any, std: float, slope: Any) -> None:
    np.testing.assert_allclose(leaf(values).std().data, std, rtol=1e-6)
    if slope:
        np.testing.assert_allclose(slope_of(lambda x: x.std(), values), slope, rtol=1e-6, atol=1e-7)
    both = leaf([values, [1.0, 2.0, 4.0, 0.0][: len(values)]]).std(axis=1, keepdims=True)
    np.testing.assert_allclose(both.data[:, 0], [std, np.std([1, 2, 4, 0][: len(values)], ddof=1)], rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-18, 1e18, 1e25, 5e37])
def test_a_norm_neither_overflows_nor_underflows(scale: float) -> None:
    x = np.array([3, -4, 0], np.float32) * np.float32(scale)
    length = np.sqrt((x.astype(np.float64) ** 2).sum())
    np.testing.assert_allclose(leaf(x).norm().data, length, rtol=1e-6 if scale > 1e-40 else 0.1)
    np.testing.assert_allclose(slope_of(lambda x: x.norm(), x), x / length, rtol=1e-6 if scale > 1e-40 else 0.1)
    assert np.isnan(leaf([np.nan, 1e30]).norm().item())
    assert leaf([np.inf, 1e30]).norm().item() == np.inf
    assert leaf([0.0, 0.0]).norm().item() == 0


@pytest.mark.parametrize(
    ("values", "slope"),
    [
        ([0.5, np.inf], [np.inf, 0.5]),
        ([np.inf, 2.0, 3.0], [6.0, np.inf, np.inf]),
        ([0.0, np.inf, 2.0], [np.inf, 0.0, np.nan]),
        ([np.nan, 2.0], [2.0, np.nan]),
        ([np.nan], [1.0]),
    ],
)
def test_the_gradient_of_a_product_is_that_of_the_others(values: Any, slope: Any) -> None:
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(slope_of(lambda x: x.prod(), values), slope)


def test_plain_arrays_of_integers_have_norms_and_sigmoids() -> None:
    assert mg.norm(np.array([3, 4])) == 5
    np.testing.assert_allclose(mg.sigmoid(np.array([0, 1], np.int8)), sigma(np.array([0.0, 1.0])), rtol=1e-3)


# --- NaN, as PyTorch (torch.amax, torch.maximum, torch.relu, ...) -----------------------------------------------------

NAN = np.nan


@pytest.mark.parametrize("op", [mg.max, mg.min])
def test_a_row_with_nan_has_nan_as_the_gradient_of_its_extremes(op: Callable[..., Any]) -> None:
    x = [[NAN, 1.0, 2.0], [2.0, 2.0, 2.0]]
    g = slope_of(lambda x: op(x, axis=1), x)
    np.testing.assert_array_equal(g, [[NAN] * 3, [np.float32(1) / 3] * 3])
    np.testing.assert_array_equal(slope_of(op, x), NAN)


@pytest.mark.parametrize("op", [mg.maximum, mg.minimum])
def test_both_get_the_gradient_where_one_is_nan(op: Callable[..., Any]) -> None:
    a, b = leaf([NAN, 1.0, 2.0, np.inf]), leaf([1.0, NAN, 2.0, np.inf])
    for g in mg.grad(op(a, b).sum(), [a, b]):
        np.testing.assert_array_equal(g.data, [1, 1, 0.5, 0.5])


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (F.relu, 1.0),
        (F.relu6, 1.0),
        (lambda x: F.leaky_relu(x, 0.25), 0.25),
        (F.elu, 1.0),
        (lambda x: x.clip(0, 1), 0.0),
    ],
)
def test_activations_pass_the_gradient_at_nan_as_pytorch_does(f: Callable[..., Any], slope: float) -> None:
    assert slope_of(f, [NAN])[0] == slope
    assert np.isnan(f(leaf([NAN])).item())


# --- powers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixed_second_derivatives_of_a_power_agree_also_at_an_exponent_of_0(dtype: type) -> None:
    a, b = leaf([2.0, 4.0, 0.5], dtype), leaf([0.0, 0.0, 3.0], dtype)
    da, db = mg.grad((a**b).sum(), [a, b], create_graph=True)
    np.testing.assert_array_equal(da.data[:2], 0)
    expected = a.data ** (b.data - 1) * (1 + b.data * np.log(a.data))
    np.testing.assert_allclose(mg.grad(da.sum(), b, retain_graph=True)[0].data, expected, rtol=1e-6)
    np.testing.assert_allclose(mg.grad(db.sum(), a)[0].data, expected, rtol=1e-6)


def test_the_slope_of_a_power_at_an_exponent_of_0_is_0_for_any_base() -> None:
    a, b = leaf([0.0, NAN, np.inf, -2.0, 1e-40]), mg.tensor([0.0] * 5)
    np.testing.assert_array_equal(mg.grad((a**b).sum(), a)[0].data, 0)
