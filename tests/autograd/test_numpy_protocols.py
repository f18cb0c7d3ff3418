"""NumPy's functions and operators on tensors: recorded if there is an op of the same meaning, else refused by name."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

A = np.array([[0.5, 1.5], [2.5, 0.25]], np.float32)
DOUBLE = np.array([[1.0, 2.0], [0.5, 3.0]])


def leaf() -> mg.Tensor:
    return mg.tensor(A, requires_grad=True)


UNARY = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "negative", "positive", "absolute", "fabs")
UNARY += ("square", "sign", "floor", "ceil", "rint")
BINARY = ("add", "subtract", "multiply", "divide", "true_divide", "power", "maximum", "minimum", "remainder", "mod")


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_number_is_recorded(name: str) -> None:
    function, x = getattr(np, name), leaf()
    out = function(x)
    np.testing.assert_allclose(out.data, function(A), rtol=1e-6)
    (slope,) = mg.grad(out.sum(), x)
    if name not in ("sign", "floor", "ceil", "rint"):
        near, far = (function(A.astype(float) + step) for step in (-1e-6, 1e-6))
        np.testing.assert_allclose(slope.data, (far - near) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_numbers_is_recorded_on_either_side(name: str) -> None:
    function = getattr(np, name)
    for other in (2, 2.5, DOUBLE, A, mg.tensor(A), np.float64(2.5)):
        plain = other.data if isinstance(other, mg.Tensor) else other
        for swapped in (False, True):
            x = leaf()
            out = function(other, x) if swapped else function(x, other)
            assert out.requires_grad
            assert out.dtype == np.float32
            np.testing.assert_allclose(out.data, function(plain, A) if swapped else function(A, plain), rtol=1e-6)
            assert mg.grad(out.sum(), x)[0].dtype == np.float32


def test_operators_between_arrays_and_tensors_are_those_of_tensors() -> None:
    x = leaf()
    for left, right in ((DOUBLE + x, x + DOUBLE), (DOUBLE * x, x * DOUBLE), (DOUBLE - x, -(x - DOUBLE))):
        assert isinstance(left, mg.Tensor)
        assert left.dtype == np.float32
        np.testing.assert_array_equal(left.data, right.data)
    np.testing.assert_allclose((DOUBLE @ x).data, DOUBLE @ A, rtol=1e-6)
    np.testing.assert_allclose((DOUBLE**x).data, DOUBLE**A, rtol=1e-6)
    np.testing.assert_allclose((DOUBLE // x).data, DOUBLE // A)
    assert (x < DOUBLE).tolist() == (DOUBLE > A).tolist()
    assert (x == DOUBLE).tolist() == (DOUBLE == A).tolist()
    assert ((DOUBLE > 1) & (x > 1)).tolist() == ((DOUBLE > 1) & (A > 1)).tolist()
    assert (np.float64(2.5) * x).dtype == (np.float32(2) / x).dtype == np.float32
    assert np.isnan(x).tolist() == [[False] * 2] * 2
    assert np.invert(x > 1).tolist() == (A <= 1).tolist()
    with pytest.raises(TypeError, match="bool"):
        np.array([1, 2]) & (x > 1)


@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}, {"axis": [1]}])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "amax", "amin", "std", "var"])
def test_a_reduction_is_recorded_with_numpys_defaults(name: str, options: dict[str, Any]) -> None:
    function, x = getattr(np, name), leaf()
    out = function(x, **options)
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    np.testing.assert_allclose(out.data, function(A, **plain), rtol=1e-6)
    assert mg.grad(out.sum(), x)[0].data.any()


def test_reductions_take_numpys_arguments() -> None:
    x = leaf()
    np.testing.assert_allclose(np.std(x, axis=1, ddof=1).data, np.std(A, axis=1, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(np.sum(x, 0).data, A.sum(0))
    assert np.any(x > 2).item() is True
    assert np.all(x > 2, axis=0).tolist() == [False, False]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: np.arctan2(x, x), "arctan2"),
        (lambda x: np.cbrt(x), "cbrt"),
        (lambda x: np.logaddexp(A, x), "logaddexp"),
        (lambda x: np.divmod(x, 2), "divmod"),
        (lambda x: np.add.reduce(x), "add.reduce"),
        (lambda x: np.add.accumulate(x), "add.accumulate"),
        (lambda x: np.multiply.outer(x, A), "multiply.outer"),
        (lambda x: np.add.at(x, [0], 1.0), "add.at"),
        (lambda x: np.add(x, 1, where=A > 1), "add: where="),
        (lambda x: np.add(x, 1, dtype=np.float64), "add: dtype="),
        (lambda x: np.add(A, 1, out=x), "add"),
        (lambda x: np.sum(x, dtype=np.float64), "sum: dtype="),
        (lambda x: np.sum(x, initial=1.0), "sum: initial="),
        (lambda x: np.sum(A, out=x), "sum: out="),
        (lambda x: A.astype(int) << x, "left_shift"),
    ],
)
def test_what_has_no_op_is_refused_by_name_with_the_remedy(call: Callable[[Any], Any], name: str) -> None:
    for x in (leaf(), mg.tensor(A)):
        with pytest.raises(TypeError, match=rf"^np\.{name}") as caught:
            call(x)
        assert ".detach().numpy()" in str(caught.value) or "copy_()" in str(caught.value)


def test_an_array_changes_in_place_by_a_tensor_that_requires_no_gradient() -> None:
    array = A.copy()
    kept = array
    array -= mg.tensor(A)
    array += 2 * mg.tensor(A).double()
    assert array is kept
    np.testing.assert_allclose(array, 2 * A)
    assert array.dtype == np.float32
    for change in (lambda: array.__iadd__(leaf()), lambda: np.multiply(A, leaf() * 2, out=array)):
        with pytest.raises(
            RuntimeError, match=r"np\.\w+: cannot write a tensor that requires a gradient into an array"
        ):
            change()
    np.testing.assert_allclose(array, 2 * A)
    with mg.no_grad():
        array -= leaf()
    np.testing.assert_allclose(array, A)


def test_a_step_written_on_the_data_of_a_parameter() -> None:
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    w.data -= 0.1 * w.grad
    np.testing.assert_allclose(w.data, [0.8, 1.6], rtol=1e-6)
    assert w.requires_grad
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_other_functions_of_numpy_work_on_the_array_where_no_gradient_gets_lost() -> None:
    x = mg.tensor(A)
    assert np.concatenate([x, x]).shape == (4, 2)
    assert np.allclose(x, A)
    assert np.median(x) == 1.0
    assert np.shape(leaf()) == (2, 2)
    assert np.ndim(leaf()) == 2
    for lose in (lambda: np.concatenate([leaf(), leaf()]), lambda: np.median(leaf()), lambda: np.linalg.norm(leaf())):
        with pytest.raises(RuntimeError, match="requires a gradient"):
            lose()


# --- size ------------------------------------------------------------------------------------------------------------


def test_size_is_a_number_that_can_be_called() -> None:
    x = mg.zeros(2, 3)
    assert x.size == 6
    assert isinstance(x.size, int)
    assert x.size() == (2, 3)
    assert (x.size(0), x.size(1), x.size(-1)) == (2, 3, 3)
    assert mg.tensor(1.0).size() == ()
    with pytest.raises(IndexError, match=r"size: axis 2 is out of range for shape \(2, 3\)"):
        x.size(2)
    b, d = x.size()
    assert x.reshape(x.size(0), -1).size(1) == d
    assert b * d == x.size


def test_size_is_a_plain_number_to_everything_else() -> None:
    size = mg.zeros(2, 3).size
    assert json.dumps({"n": size}) == '{"n": 6}'
    assert f"{size} {size:03d} {size!r}" == "6 006 6"
    for copied in (pickle.loads(pickle.dumps(size)), copy.deepcopy(size), size + 0, size // 1):
        assert copied == 6
        assert type(copied) is int
    assert size / 4 == 1.5
    assert np.zeros(size).shape == mg.zeros(size).shape == (6,)
    assert list(range(10))[size] == np.arange(10)[size] == mg.arange(10)[size].item() == 6
    for out in (A * size, A / size, size - A, mg.tensor(A) * size, size / mg.tensor(A), mg.tensor(A) ** size):
        assert out.dtype == np.float32
    assert (mg.tensor([1, 2], dtype=np.int32) + size).dtype == np.int32


def test_numbers_of_a_subclass_decide_no_dtype() -> None:
    class Count(enum.IntEnum):
        THREE = 3

    class Rate(float):
        pass

    x = mg.tensor(A, requires_grad=True)
    for number in (Count.THREE, Rate(0.5)):
        assert (x * number).dtype == (number * x).dtype == mg.grad((x**number).sum(), x)[0].dtype == np.float32
