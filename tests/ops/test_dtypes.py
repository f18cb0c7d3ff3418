"""One rule decides the dtype of a result, and the gradient rules of every op keep to it in every order."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_cases import CASES

import minigrad as mg
from minigrad import Tensor
from minigrad.autograd.observers import Observer, observing
from minigrad.nn import functional as F
from minigrad.ops import PRIMITIVES, Primitive

FEW = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
DIFFERENTIABLE = sorted(name for name, entry in PRIMITIVES.items() if entry.differentiable and name in CASES)

X = mg.tensor([[1.0, -2.0], [3.0, -4.0]])
WHOLE = mg.tensor([1, 2])
SMALL = mg.tensor([1, 2], dtype=np.int32)
MASK = mg.tensor([True, False])
DOUBLE = np.array([[0.1, 0.2], [0.3, 0.4]])


# --- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: mg.where(X > 0, 1.0, 0.0),
        lambda: mg.where(X > 0, 1, 0.5),
        lambda: mg.where(X > 0, 0.0, np.float64(1)),
        lambda: mg.where(X > 0, [1.0, 2.0], 0),
        lambda: mg.where(X > 0, DOUBLE, 0.0),
        lambda: mg.where(MASK, WHOLE, 0.5),
        lambda: MASK * 0.5,
        lambda: 0.5 - MASK,
        lambda: SMALL + 0.5,
        lambda: 2.0**WHOLE,
        lambda: WHOLE**0.5,
        lambda: mg.power(2.0, MASK),
        lambda: mg.maximum(0.5, MASK),
        lambda: WHOLE.clip(0.5, 1.5),
        lambda: WHOLE.masked_fill(MASK, 0.5),
        lambda: mg.stack([WHOLE[0], 2.5]),
        lambda: mg.stack([MASK[0], 2.5, True]),
        lambda: mg.concatenate([WHOLE, [0.5]]),
        lambda: mg.full((2,), 1.0),
        lambda: mg.full((2,), np.float64(1)),
        lambda: WHOLE * Fraction(1, 2),
        lambda: WHOLE // 0.5,
        lambda: F.mse_loss(WHOLE, [0.5, 0.5]),
    ],
)
def test_python_numbers_that_meet_integers_and_bools_give_float32(make) -> None:
    assert make().dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whatever_is_not_a_tensor_adopts_the_dtype_of_the_tensors(dtype: type) -> None:
    x = mg.tensor(DOUBLE, dtype=dtype, requires_grad=True)
    mask = np.array([[True, False], [False, True]])
    others = [2, 2.5, True, np.float32(2.5), np.float64(2.5), np.int64(2), Fraction(1, 2), [1, 2], [1.5, 2.5], range(2)]
    others += [DOUBLE, DOUBLE > 0.2, DOUBLE.astype(np.float32), DOUBLE.astype(np.int64)]
    for other in others:
        results = [x * other, other * x, other - x, x / other, other / x, x**other, other**x, mg.maximum(other, x)]
        results += [mg.where(mask, other, x), mg.where(mg.tensor(mask), x, other), x.clip(other)]
        results += [mg.stack([x[0, 0], other])] if not np.ndim(other) else []
        for out in results:
            assert out.dtype == dtype, f"{out!r} of {other!r}"
            first = mg.grad((out * out).sum(), x, create_graph=True)[0]
            assert first.dtype == dtype
            assert not first.requires_grad or mg.grad(first.sum(), x, allow_unused=True)[0].dtype == dtype
    assert x.masked_fill(mask, -np.inf).dtype == x.pad([(1, 1), (0, 0)], value=0.5).dtype == dtype
    assert mg.stack([x[0, 0], 2.5, 1]).dtype == mg.concatenate([[1.0, 2.0], x[0], DOUBLE[0]]).dtype == dtype
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy, F.cross_entropy):
        assert loss(x, DOUBLE).dtype == loss(x, DOUBLE.tolist()).dtype == dtype


def test_float64_arrays_mean_the_same_on_either_side_of_an_operator() -> None:
    for left, right in ((DOUBLE @ X, X.data.T @ mg.tensor(DOUBLE).float().T), (X @ DOUBLE, (DOUBLE.T @ X.T).T)):
        assert left.dtype == right.dtype == np.float32
    # A tensor made of the array is float64, and the error says how to make it float32.
    for product in (lambda: mg.tensor(DOUBLE) @ X, lambda: X @ mg.tensor(DOUBLE), lambda: X * mg.tensor(DOUBLE)):
        with pytest.raises(TypeError, match=r"float32 and float64 tensors do not mix; convert one .*dtype=np.float32"):
            product()


def test_integers_adopt_the_dtype_of_integer_tensors() -> None:
    for out in (
        SMALL + 1,
        SMALL * [1, 2],
        mg.stack([SMALL[0], 2]),
        mg.concatenate([SMALL, [3]]),
        mg.where(MASK, SMALL, 0),
    ):
        assert out.dtype == np.int32
    assert (SMALL + np.array([1, 2])).dtype == (MASK + 1).dtype == mg.where(MASK, 1, 0).dtype == np.int64
    assert mg.where(MASK, True, False).dtype == np.bool_
    with pytest.raises(OverflowError, match="300"):
        mg.tensor([1, 2], dtype=np.uint8) * [300, 1]


def test_lists_of_arrays_and_tensors_keep_their_dtype() -> None:
    # As in PyTorch; the numbers would lose half their digits, and `tensor` of one array is float64 too.
    double = mg.tensor(DOUBLE)
    for made in (mg.tensor([double[0], double[1]]), mg.tensor([double[0, 0], double[0, 1]]), mg.tensor([DOUBLE[0]])):
        assert made.dtype == np.float64
    assert mg.tensor([X[0], X[1]]).dtype == mg.tensor([0.5, np.float64(1)]).dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        lambda: mg.arange(129, dtype=np.int8),
        lambda: mg.linspace(0, 300, 3, dtype=np.uint8),
        lambda: mg.randint(0, 300, (5,), dtype=np.uint8),
        lambda: mg.randint(-1, 3, (5,), dtype=np.uint8),
        lambda: mg.full((2,), 300, dtype=np.uint8),
        lambda: mg.arange(-1, 3, dtype=np.uint8),
        lambda: mg.tensor([1, 2]).pad([(1, 1)], value=0.5),
        lambda: mg.tensor([True]).pad([(1, 1)], value=2),
    ],
)
def test_numbers_that_a_dtype_cannot_hold_are_refused(make) -> None:
    with pytest.raises((ValueError, OverflowError), match=r"int8|uint8|int64|bool"):
        make()


def test_numbers_at_the_ends_of_a_dtype_are_taken() -> None:
    assert mg.arange(128, dtype=np.int8)[-1].item() == 127
    assert mg.linspace(0, 255, 2, dtype=np.uint8).tolist() == [0, 255]
    assert mg.randint(0, 256, (4,), dtype=np.uint8).dtype == np.uint8
    assert mg.full((1,), np.int64(3)).dtype == np.int64
    assert mg.full((1,), np.bool_(True)).dtype == np.bool_


# --- the op table ----------------------------------------------------------------------------------------------------


class Dtypes(Observer):
    """Collects the floating dtypes of all results."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    def computed(self, primitive: Primitive, args: Any, arrays: Sequence[Any], settings: Any, result: Tensor) -> None:
        if result.dtype.kind == "f":
            self.found.setdefault(str(result.dtype), set()).add(primitive.name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
@FEW
def test_rules_keep_the_dtype_in_every_order(name: str, dtype: type, data: st.DataObject) -> None:
    f, arrays = CASES[name](data.draw)
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    inputs = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    wanted = [x for x in inputs if x.requires_grad]
    with observing(Dtypes()) as seen:
        total = f(*inputs)
        for _ in range(3):
            if not total.requires_grad:
                break
            found = mg.grad((total * total).sum(), wanted, create_graph=True, allow_unused=True)
            parts = [g.sum() for g in found if g is not None]
            assert all(g.dtype == dtype for g in found if g is not None)
            if not parts:
                break
            total = mg.stack(parts)
    assert set(seen.found) <= {np.dtype(dtype).name}, seen.found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("base", [2.0, 2, 1, 0, 0.0, np.float64(2)])
def test_powers_of_a_number_have_gradients_of_every_order(base: float, dtype: type) -> None:
    x = mg.tensor([0.0, 1.5], dtype=dtype, requires_grad=True)
    first = mg.grad((base**x).sum(), x, create_graph=True)[0]
    second = mg.grad(first.sum(), x)[0] if first.requires_grad else mg.zeros_like(x)
    assert first.dtype == second.dtype == dtype
    logarithm = np.log(base) if base else 0.0
    np.testing.assert_allclose(first.data, np.power(float(base), x.data) * logarithm, rtol=1e-6)
    np.testing.assert_allclose(second.data, np.power(float(base), x.data) * logarithm**2, rtol=1e-6)
