"""Sums of many float32 numbers along any axis, and everything that is made of them, against sums in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, ops
from minigrad.devices import arrays as devices
from minigrad.devices import summation
from minigrad.nn import functional as F

ROWS = 60_000
TENTHS = np.full((ROWS, 10), 0.1, np.float32)
TENTH = float(np.float32(0.1))


def relative_error(found: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(found, np.float64) / expected - 1)))


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "rows": x,
        "columns": np.asfortranarray(x),
        "transposed": x.T,
        "reversed": x[::-1],
        "every second": np.repeat(x, 2, axis=-1)[..., ::2],
        "broadcast": np.broadcast_to(x[:1], x.shape),
    }


@pytest.mark.parametrize("shape", [(200_003, 3), (3, 200_003), (500, 4, 501), (130, 129, 131), (4097,), (1, 999, 1)])
def test_sums_over_any_axes_in_any_layout_are_as_accurate_as_sums_in_pairs(shape: tuple[int, ...]) -> None:
    values = {"random": np.random.default_rng(0).random(shape, dtype=np.float32), "constant": np.full(shape, 0.1, "f4")}
    for (kind, x), keepdims in itertools.product(values.items(), (False, True)):
        for layout, array in layouts(x).items():
            for count in range(1, array.ndim + 1):
                for axes in (None, *itertools.combinations(range(array.ndim), count)):
                    out = ops.sum(array, axis=axes, keepdims=keepdims)
                    expected = array.sum(axes, np.float64, keepdims=keepdims)
                    assert out.shape == expected.shape
                    assert out.dtype == np.float32
                    assert relative_error(out, expected) < 1e-6, (kind, layout, axes)


def test_a_short_sum_and_one_along_memory_is_numpys_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    for shape, axis in [((128, 64), 0), ((8, 4, 16), (0, 2)), ((9, 5000), 1), ((9, 5000), -1), ((70, 70), None)]:
        x = rng.standard_normal(shape, dtype=np.float32)
        np.testing.assert_array_equal(ops.sum(x, axis=axis), np.add.reduce(x, axis=axis))


@pytest.mark.parametrize("n", [200, 1000, 1437, 4001])
def test_the_order_of_a_long_sum_is_the_documented_one(n: int) -> None:
    x = np.random.default_rng(0).standard_normal((n, 3), dtype=np.float32)
    rows = x
    while n > summation.FEW:
        parts = max(p for p in range(1, summation.FEW + 1) if n % p == 0)
        if parts < 4:
            parts = min(16, int(np.sqrt(n)))
        size = n // parts
        total = rows[:size].copy()
        for part in range(1, parts):
            total += rows[part * size : (part + 1) * size]
        total[: n - parts * size] += rows[parts * size :]
        rows, n = total, size
    expected = rows[0].copy()
    for row in rows[1:]:
        expected += row
    np.testing.assert_array_equal(ops.sum(x, axis=0), expected)


def test_sums_of_float64_integers_and_bools_keep_their_dtypes() -> None:
    x = np.arange(3000).reshape(1000, 3)
    for kind, result in [("f8", "f8"), ("i8", "i8"), ("i4", "i8"), ("u2", "i8"), ("?", "i8")]:
        out = ops.sum(mg.tensor(x.astype(kind)), axis=0)
        assert out.dtype == np.dtype(result)
        np.testing.assert_array_equal(out.data, x.astype(kind).sum(0))
    assert mg.zeros(0, 500).sum(axis=1).shape == (0,)
    assert mg.zeros(500, 0).sum(axis=0).shape == (0,)


@pytest.mark.parametrize("axis", [5, -3, (0, 5), (0, 0), (0, -2)])
def test_a_wrong_axis_of_a_long_sum_is_refused_by_name(axis: Any) -> None:
    with pytest.raises((IndexError, ValueError), match=r"^sum: .*(out of bounds|duplicate|repeated)"):
        mg.ones(500, 300).sum(axis=axis)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x: x.sum(axis=0), ROWS * TENTH),
        (lambda x: x.mean(axis=0), TENTH),
        (lambda x: x.norm(axis=0), np.sqrt(ROWS) * TENTH),
        (lambda x: x.logsumexp(axis=0), np.log(ROWS) + TENTH),
        (lambda x: x.softmax(axis=0), 1 / ROWS),
        (lambda x: x.log_softmax(axis=0), -np.log(ROWS)),
        (lambda x: x.cumsum(axis=0), np.arange(1, ROWS + 1)[:, None] * TENTH),
        (lambda x: x.cumsum(axis=0).transpose(0, 1).sum(axis=1), ROWS * (ROWS + 1) / 2 * TENTH),
        (lambda x: mg.einsum("ij->j", x), ROWS * TENTH),
        (lambda x: mg.einsum("ij,ij->j", x, x), ROWS * TENTH**2),
        (lambda x: mg.einsum("ij,ik->jk", x, x), ROWS * TENTH**2),
        (lambda x: mg.einsum("ij,ik,il->", x, x[:, :2], x[:, :3]), 60 * ROWS * TENTH**3),
        (lambda x: F.nll_loss(x.transpose(0, 1), mg.tensor(np.zeros(10, int))), -TENTH),
        (lambda x: F.cross_entropy(x.transpose(0, 1), mg.tensor(np.zeros(10, int))), np.log(ROWS)),
    ],
)
def test_whatever_sums_over_a_leading_axis_is_accurate(compute: Callable[..., Any], expected: Any) -> None:
    assert relative_error(compute(mg.tensor(TENTHS)).data, expected) < 3e-6


def test_var_and_std_over_a_leading_axis_are_accurate() -> None:
    x = np.random.default_rng(0).random((ROWS, 3), dtype=np.float32) + 1
    wide = x.astype(np.float64)
    assert relative_error(mg.tensor(x).var(axis=0).data, wide.var(0, ddof=1)) < 1e-6
    assert relative_error(mg.tensor(x).std(axis=0).data, wide.std(0, ddof=1)) < 1e-6
    out = ops.standardize(x, axis=0)
    np.testing.assert_allclose(out, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5), atol=2e-6)


def gradient_of(f: Callable[..., Any], *shape: int) -> Any:
    x = mg.ones(*shape, requires_grad=True)
    return mg.grad(f(x), x, mg.tensor(TENTHS))[0].data


@pytest.mark.parametrize(
    ("f", "shape"),
    [
        (lambda b: mg.zeros(ROWS, 10) + b, (10,)),
        (lambda b: mg.ones(ROWS, 10) * b, (1, 10)),
        (lambda b: F.linear(mg.zeros(ROWS, 4), mg.zeros(10, 4), b), (10,)),
        (lambda b: F.layer_norm(mg.zeros(ROWS, 10), (10,), None, b), (10,)),
        (lambda b: F.batch_norm(mg.zeros(ROWS, 10), None, None, None, b, training=True), (10,)),
        (lambda b: b.expand(ROWS, 10), (10,)),
        (lambda b: b[np.zeros(ROWS, int)], (1, 10)),
        (lambda b: F.embedding(np.zeros(ROWS, int), b), (1, 10)),
    ],
)
def test_gradients_of_what_is_shared_by_many_rows_are_accurate(f: Callable[..., Any], shape: tuple[int, ...]) -> None:
    assert relative_error(gradient_of(f, *shape), ROWS * TENTH) < 1e-6


@pytest.mark.parametrize(
    "shapes", [((ROWS,), (ROWS,)), ((1, ROWS), (ROWS, 3)), ((2, 3, ROWS), (ROWS,)), ((ROWS,), (2, ROWS, 3))]
)
def test_products_with_one_long_row_or_column_are_accurate(shapes: Any) -> None:
    a, b = (mg.full(shape, 0.1) for shape in shapes)
    out = a @ b
    assert out.shape == np.matmul(a.data, b.data).shape
    assert relative_error(out.data, ROWS * TENTH**2) < 3e-6
    with pytest.raises(ValueError, match=r"^matmul: .*the sizes do not fit"):
        mg.ones(2000) @ mg.ones(2128)
    rng = np.random.default_rng(0)
    mg.check_gradients(lambda a, b: a @ b, [rng.standard_normal(1030), rng.standard_normal((1030, 2))], order=1)


def test_the_weight_of_a_single_output_gets_an_accurate_gradient() -> None:
    weight = mg.ones(1, 10, requires_grad=True)
    F.linear(mg.tensor(TENTHS), weight).sum().backward()
    assert relative_error(weight.grad.data, ROWS * TENTH) < 3e-6
    assert relative_error(gradient_of(lambda w: F.linear(mg.ones(ROWS, 1), w), 10, 1), ROWS * TENTH) < 3e-6


def test_running_statistics_of_a_large_batch_are_accurate() -> None:
    norm = nn.BatchNorm1d(10, momentum=1.0)
    norm(mg.tensor(TENTHS))
    assert relative_error(norm.running_mean.data, TENTH) < 1e-6
    assert norm.running_var.data.max() < 1e-12


def test_long_sums_on_the_gpu_are_those_of_the_cpu(gpu: Any) -> None:
    rng = np.random.default_rng(0)
    for shape, axis in [((1000, 3), 0), ((300, 4, 200), (0, 2)), ((2, 1003), 1), ((500, 6), None)]:
        x = rng.random(shape, dtype=np.float32)
        moved = mg.tensor(x, device="cuda")
        for op in (ops.sum, ops.mean, ops.norm):
            found, expected = op(moved, axis=axis), op(x.astype(np.float64), axis=axis)
            np.testing.assert_allclose(devices.to_host(found.data), expected, rtol=1e-5)
        np.testing.assert_allclose(devices.to_host(moved.cumsum(0).data), x.cumsum(0, np.float64), rtol=1e-6)
    a, b = (rng.random((1001, n), dtype=np.float32) for n in (2, 3))
    found = mg.einsum("ij,ik->jk", mg.tensor(a, device="cuda"), mg.tensor(b, device="cuda"))
    np.testing.assert_allclose(devices.to_host(found.data), a.T.astype(np.float64) @ b, rtol=1e-6)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,ij->j", [(301, 2), (301, 2)]),
        ("ij,ik->jk", [(300, 2), (300, 3)]),
        ("ij->j", [(300, 2)]),
        ("ij,jk->ik", [(2, 1), (300, 2)]),
        ("i,ij,j", [(20,), (20, 30), (30,)]),
        ("ij,kl->", [(20, 3), (2, 7)]),
    ],
)
def test_long_einsums_have_the_right_values_and_gradients(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    operands = [rng.standard_normal(shape) for shape in shapes]
    out = mg.einsum(subscripts, *map(mg.tensor, operands))
    np.testing.assert_allclose(out.data, np.einsum(subscripts, *operands), rtol=1e-12, atol=1e-12)
    mg.check_gradients(lambda *x: mg.einsum(subscripts, *x), operands)
    with pytest.raises(ValueError, match=r"^einsum: "):
        mg.einsum("ij,ij->j", mg.ones(300, 2), mg.ones(301, 2))


def test_long_running_sums_have_the_right_gradients() -> None:
    x = np.random.default_rng(0).uniform(0.9, 1.1, (150, 2))
    mg.check_gradients(lambda x: (x.transpose(0, 1).cumsum(1), x.cumsum(0)), x)


def test_a_linear_layer_sums_many_features_as_accurately_as_a_product() -> None:
    n = 300_000
    x = mg.full((1, n), 0.1, requires_grad=True)
    weight = mg.full((1, n), 0.7)
    np.testing.assert_allclose(nn.functional.linear(x, weight).item(), 0.07 * n, rtol=1e-6)
    one, tall = mg.Tensor([[0.0]], requires_grad=True), mg.full((n, 1), 0.7)
    nn.functional.linear(one, tall).sum().backward()
    np.testing.assert_allclose(one.grad.item(), 0.7 * n, rtol=1e-6)
