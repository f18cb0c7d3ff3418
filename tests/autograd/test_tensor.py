"""Tensors: how they are made, what can be written on them, and what they refuse."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from minigrad import Tensor, ops, random, tensor
from minigrad.autograd import creation
from minigrad.autograd.gradients import grad
from minigrad.autograd.modes import no_grad

A = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]], np.float32)
B = np.array([[2.0, 0.5, 1.0], [1.0, 3.0, 2.0]], np.float32)


def leaf(values, dtype=np.float32) -> Tensor:
    return tensor(values, dtype=dtype, requires_grad=True)


# --- dtypes ----------------------------------------------------------------------------------------------------------


def test_python_numbers_become_float32_int64_and_bool() -> None:
    assert tensor(1.5).dtype == np.float32
    assert tensor([1, 2]).dtype == np.int64
    assert tensor([True]).dtype == np.bool_
    assert tensor(np.zeros(2)).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_and_bare_arrays_adopt_the_tensors_dtype(dtype: type) -> None:
    x = Tensor(A.astype(dtype), requires_grad=True)
    for other in (2, 2.5, np.float64(2.5), np.float32(2.5), B.astype(np.float64), B.astype(np.float32), B.tolist()):
        for out in (x * other, other * x, x + other, other - x, x / other, other / x, ops.maximum(x, other)):
            assert out.dtype == dtype
            assert grad(out.sum(), x)[0].dtype == dtype


def test_tensors_of_two_float_dtypes_do_not_mix() -> None:
    with pytest.raises(TypeError, match=r"multiply: .*float32 and float64 tensors do not mix; convert one"):
        Tensor(A) * Tensor(B.astype(np.float64))
    with pytest.raises(TypeError, match=r"cross_entropy: .*float32 and float64"):
        ops.cross_entropy(Tensor(A), tensor([0, 1]), tensor([1.0, 1, 1], dtype=np.float64))


def test_integers_follow_floats_and_float_functions_make_float32_of_them() -> None:
    whole = tensor([1, 2, 3])
    assert (whole + 1).dtype == np.int64
    assert (whole * tensor([0.5])).dtype == np.float32
    assert (whole * tensor([0.5], dtype=np.float64)).dtype == np.float64
    assert (whole * 0.5).dtype == np.float32
    for op in (ops.exp, ops.log, ops.sqrt, ops.sigmoid, ops.softmax, ops.mean, ops.var, ops.gelu):
        assert op(whole).dtype == np.float32
    assert (whole / 2).dtype == np.float32
    assert (whole // 2).dtype == np.int64


def test_sums_of_bools_count_and_means_are_float32() -> None:
    mask = tensor([True, True, False])
    assert mask.sum().item() == 2
    assert mask.sum().dtype == np.int64
    assert mask.mean().dtype == np.float32
    assert mask.mean().item() == pytest.approx(2 / 3)


def test_conversions_go_there_and_gradients_come_back() -> None:
    x = leaf([1.5, 2.5])
    assert x.float() is x
    y = x.double() * 2
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2.0, 2.0]
    assert (x.int().dtype, x.long().dtype, x.bool().dtype) == (np.int32, np.int64, np.bool_)
    assert not x.long().requires_grad


def test_integer_tensors_have_no_gradients() -> None:
    with pytest.raises(TypeError, match=r"requires_grad: a tensor of int64 has no gradient; make it float32"):
        tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="bool has no gradient"):
        tensor([True]).requires_grad_()


def test_what_is_not_numeric_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        tensor(["a"])
    with pytest.raises(TypeError, match="float16"):
        Tensor(np.zeros(2, np.float16))
    with pytest.raises(ValueError, match="equal lengths"):
        tensor([[1.0], [1.0, 2.0]])


# --- operators -------------------------------------------------------------------------------------------------------

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: abs(a) ** b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "&": lambda a, b: (a > 0) & (b > 1),
    "|": lambda a, b: (a > 0) | (b > 1),
    "^": lambda a, b: (a > 0) ^ (b > 1),
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_are_numpys_with_tensors_arrays_and_numbers_on_either_side(symbol: str) -> None:
    f = OPERATORS[symbol]
    expected = f(A, B)
    for a, b in ((Tensor(A), Tensor(B)), (Tensor(A), B), (A, Tensor(B))):
        out = f(a, b)
        assert isinstance(out, Tensor)
        assert out.dtype == expected.dtype
        np.testing.assert_array_equal(out.data, expected)
    for a, b in ((Tensor(A), 2.0), (3.0, Tensor(B))):
        if not (symbol in "&|^" and isinstance(a, float)):
            np.testing.assert_array_equal(f(a, b).data, f(*(x.data if isinstance(x, Tensor) else x for x in (a, b))))


def test_an_array_times_a_tensor_is_one_recorded_op() -> None:
    x = leaf(B)
    out = A * x
    assert isinstance(out, Tensor)
    (g,) = grad(out.sum(), x)
    np.testing.assert_array_equal(g.data, A)
    assert isinstance(A @ x.T, Tensor)


def test_unary_operators() -> None:
    x = Tensor(A)
    np.testing.assert_array_equal((-x).data, -A)
    np.testing.assert_array_equal((+x).data, A)
    np.testing.assert_array_equal(abs(x).data, abs(A))
    np.testing.assert_array_equal((~(x > 0)).data, A <= 0)


def test_logic_is_for_bools_only() -> None:
    for wrong in (lambda: ~tensor([1, 2]), lambda: tensor([True]) & 1, lambda: tensor([1]) | tensor([True])):
        with pytest.raises(TypeError, match=r"needs a bool tensor.*compare first"):
            wrong()


def test_comparison_with_none_or_text_is_not_elementwise() -> None:
    x = tensor([1.0])
    assert (x == None) is False  # noqa: E711 - it is the comparison that is tested
    assert (x != "a") is True


def test_in_place_operators_change_the_array_itself() -> None:
    x = tensor([1.0, 2.0])
    held = x.data
    x += 1
    x *= 2
    x -= 1
    x /= 2
    assert held is x.data
    assert held.tolist() == [1.5, 2.5]


def test_every_augmented_assignment_is_in_place() -> None:
    for symbol, start, other, expected in (
        ("**", [2.0, 3.0], 2, [4.0, 9.0]),
        ("//", [5.0, -5.0], 2, [2.0, -3.0]),
        ("%", [5.0, -5.0], 3, [2.0, 1.0]),
        ("//", [5, -5], 2, [2, -3]),
        ("&", [True, False], True, [True, False]),
        ("|", [True, False], tensor([False, True]), [True, True]),
        ("^", [True, False], True, [False, True]),
    ):
        x = tensor(start)
        names = {"x": x, "other": other}
        exec(f"x {symbol}= other", names)
        assert names["x"] is x, symbol
        assert x.tolist() == expected, symbol
    p = tensor([2.0], requires_grad=True)
    held = p
    with pytest.raises(RuntimeError, match=r"total = total \*\* other"):
        p **= 2
    with no_grad():
        p **= 2
    assert p is held
    assert p.item() == 4


def test_an_integer_tensor_refuses_to_hold_fractions() -> None:
    i, b = tensor([1, 2, 3]), tensor([True, False])
    with pytest.raises(TypeError, match=r"\+=: the result is float32, which a tensor of int64 cannot hold"):
        i += 0.5
    with pytest.raises(TypeError, match="/="):
        i /= 2
    with pytest.raises(TypeError, match="cannot hold"):
        b += 1
    with pytest.raises(TypeError, match="needs a bool tensor"):
        i &= True
    assert i.tolist() == [1, 2, 3]
    assert b.tolist() == [True, False]
    i += 2
    assert i.tolist() == [3, 4, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_are_joined_with_tensors_adopt_their_dtype(dtype: type) -> None:
    x = tensor(1.0, dtype=dtype, requires_grad=True)
    out = ops.stack(x, 2.0, 3)
    assert out.dtype == dtype
    out.sum().backward()
    assert x.grad.item() == 1
    assert ops.stack(tensor(1), 2).dtype == np.int64
    assert ops.stack(tensor(1), 2.5).tolist() == [1.0, 2.5]


def test_an_operator_with_something_foreign_raises() -> None:
    with pytest.raises(TypeError, match="add: cannot be applied to"):
        tensor([1.0]) + object()
    with pytest.raises(TypeError):
        tensor([1.0]) + None


def test_truth_is_for_one_element() -> None:
    assert tensor([2.0])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tensor([1.0, 2.0]))
    assert (tensor([1.0, 2.0]) > 0).all()
    assert not (tensor([1.0, 2.0]) > 2).any()


# --- methods ---------------------------------------------------------------------------------------------------------


METHODS = [
    "exp", "expm1", "sin", "cos", "abs", "sign", "floor", "ceil", "round", "tanh", "sigmoid", "softplus",
    "relu", "leaky_relu", "elu", "gelu", "silu", "softmax", "log_softmax", "sum", "mean", "prod", "max", "min",
    "var", "std", "norm", "logsumexp", "argmax", "argmin", "isnan", "isinf", "isfinite", "clone",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    METHODS,
)
def test_methods_are_the_primitives_of_their_name(name: str) -> None:
    x = Tensor(A)
    np.testing.assert_array_equal(getattr(x, name)().data, getattr(ops, name)(A))


def test_methods_with_arguments() -> None:
    x, y = Tensor(np.abs(A)), Tensor(B)
    cases = [
        (x.log(), np.log(np.abs(A))),
        (x.log1p(), np.log1p(np.abs(A))),
        (x.sqrt(), np.sqrt(np.abs(A))),
        (x.pow(2), A**2),
        (x.maximum(y), np.maximum(np.abs(A), B)),
        (x.minimum(y), np.minimum(np.abs(A), B)),
        (Tensor(A).clip(-1, 2), np.clip(A, -1, 2)),
        (Tensor(A).clip(max=0), np.minimum(A, 0)),
        (x.masked_fill(x > 2, -1.0), np.where(np.abs(A) > 2, -1, np.abs(A))),
        (x.sum(axis=[0, 1]), np.abs(A).sum()),
        (x.max(axis=1, keepdims=True), np.abs(A).max(1, keepdims=True)),
        (x.cumsum(1), np.cumsum(np.abs(A), 1)),
        (x.matmul(y.T), np.abs(A) @ B.T),
        (x[0].dot(y[0]), np.abs(A[0]) @ B[0]),
        (x[0].outer(y[1]), np.outer(np.abs(A[0]), B[1])),
        (x.take([0, 2], axis=1), np.abs(A)[:, [0, 2]]),
        (x.gather(1, tensor([[0], [2]])), np.abs(A)[[0, 1], [0, 2]][:, None]),
        (x.pad([(0, 1), (1, 0)]), np.pad(np.abs(A), [(0, 1), (1, 0)])),
        (x.flip(0), np.abs(A)[::-1]),
        ((x > 2).any(axis=0), (np.abs(A) > 2).any(0)),
        ((x > 2).all(axis=0), (np.abs(A) > 2).all(0)),
        (x.var(correction=0), np.abs(A).var()),
        (x.std(axis=1), np.abs(A).std(1, ddof=1)),
    ]
    for out, expected in cases:
        np.testing.assert_allclose(out.data, expected, rtol=1e-6)


def test_shapes() -> None:
    x = Tensor(np.arange(24.0).reshape(2, 3, 4))
    assert x.reshape(4, -1).shape == x.view((4, 6)).shape == (4, 6)
    assert x.flatten().shape == (24,)
    assert x.flatten(1).shape == (2, 12)
    assert x.flatten(0, 1).shape == x.flatten(-3, -2).shape == (6, 4)
    assert tensor(1.0).flatten().shape == (1,)
    assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)
    assert x.transpose(0, 2).shape == (4, 3, 2)
    assert x.permute(1, 0, 2).shape == x.permute((1, 0, 2)).shape == (3, 2, 4)
    assert x[:, :1].expand(2, 5, -1).shape == (2, 5, 4)
    assert x.expand(7, -1, -1, -1).shape == (7, 2, 3, 4)
    assert x.unsqueeze(-1).shape == (2, 3, 4, 1)
    assert x.unsqueeze(0).squeeze().shape == x.unsqueeze(0).squeeze(0).shape == (2, 3, 4)
    assert [part.shape for part in x.split(3, axis=2)] == [(2, 3, 3), (2, 3, 1)]
    assert [part.shape for part in x.split([1, 2], axis=1)] == [(2, 1, 4), (2, 2, 4)]
    for wrong in (lambda: x.split([1, 1], axis=1), lambda: x.split(0), lambda: x.split(1, axis=3)):
        with pytest.raises(ValueError, match="split: "):
            wrong()
    with pytest.raises(ValueError, match=r"flatten: no axes from 2 to 1"):
        x.flatten(2, 1)


def test_joining_takes_tensors_one_by_one_or_as_one_sequence() -> None:
    x, y = Tensor(A), Tensor(B)
    for op in (ops.concatenate, ops.stack):
        for values in ([x, y], (x, y), [A, y]):
            np.testing.assert_array_equal(op(values, axis=1).data, op(x, y, axis=1).data)


def test_labels_and_indices_may_be_lists_and_numbers() -> None:
    x = Tensor(A)
    assert ops.cross_entropy(x, [2, 0]).item() == ops.cross_entropy(x, tensor([2, 0])).item()
    assert ops.cross_entropy(x[0], 2).item() == ops.cross_entropy(x[:1], tensor([2])).item()
    assert ops.embedding([1, 1], x).tolist() == [A[1].tolist()] * 2
    assert ops.take(x, 1, axis=0).tolist() == A[1].tolist()


def test_views_share_memory_and_clones_do_not() -> None:
    x = Tensor(A.copy())
    for view in (x.reshape(3, 2), x.T, x[0], x.unsqueeze(0), x.expand(2, 2, 3), x.flip(0), x.detach()):
        assert np.shares_memory(view.data, x.data)
    assert not np.shares_memory(x.clone().data, x.data)


def test_gradients_flow_through_clone() -> None:
    x = leaf([1.0, 2.0])
    (x.clone() * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


# --- indexing --------------------------------------------------------------------------------------------------------

INDICES = {
    "number": 1,
    "negative": -1,
    "slice": slice(0, 1),
    "step": (slice(None), slice(None, None, -2)),
    "none": (None, 0),
    "ellipsis": (..., 1),
    "tuple": (1, 2),
    "list": [0, 1, 1],
    "array": np.array([[0, 1], [1, 0]]),
    "pairs": (np.array([0, 1]), np.array([2, 2])),
    "mixed": (slice(None), np.array([2, 0])),
    "bool list": [True, False],
    "mask": A > 0,
    "row mask": np.array([False, True]),
    "numpy number": np.int64(1),
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_is_numpys_for_values_and_gradients(name: str) -> None:
    key = INDICES[name]
    x = leaf(A)
    out = x[key]
    np.testing.assert_array_equal(out.data, A[key])
    incoming = np.arange(1.0, out.size + 1, dtype=np.float32).reshape(out.shape)
    expected = np.zeros_like(A)
    np.add.at(expected, key, incoming)
    np.testing.assert_array_equal(grad(out, x, Tensor(incoming))[0].data, expected)
    if isinstance(key, np.ndarray):
        np.testing.assert_array_equal(x[Tensor(key)].data, A[key])


def test_indices_must_be_integers_or_bools_and_in_range() -> None:
    x = Tensor(A)
    with pytest.raises(TypeError, match=r"an index must be integer or bool, not float32; convert it with \.long\(\)"):
        x[tensor([0.0])]
    with pytest.raises(IndexError, match=r"getitem: .*float32 \(2, 3\)"):
        x[5]
    with pytest.raises(IndexError, match=r"take: .*out of bounds"):
        x.take([9], axis=0)
    with pytest.raises(IndexError, match="embedding: index -1 is out of range for a table of 2 rows"):
        ops.embedding(tensor([0, -1]), x)
    with pytest.raises(TypeError, match="embedding: indices must be integers"):
        ops.embedding(tensor([0.0]), x)


def test_assignment_takes_tensors_as_keys_and_values() -> None:
    x = Tensor(A.copy())
    x[x > 3] = 0.0
    x[tensor([0])] = tensor([7.0, 8.0, 9.0])
    assert x.tolist() == [[7.0, 8.0, 9.0], [0.0, 0.0, -6.0]]


def test_iteration_and_length() -> None:
    x = leaf(A)
    assert len(x) == 2
    rows = list(x)
    assert len(rows) == 2
    rows[1].sum().backward()
    assert x.grad.tolist() == [[0.0] * 3, [1.0] * 3]
    with pytest.raises(TypeError, match="without dimensions"):
        len(tensor(1.0))


# --- errors name the op, the shapes and the remedy -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Tensor(A) + Tensor(A.T), ["add:", "(2, 3)", "(3, 2)", "reshape() or unsqueeze()"]),
        (lambda: Tensor(A) @ Tensor(A), ["matmul:", "(2, 3)", "the last axis of the first must equal"]),
        (lambda: ops.linear(Tensor(A), Tensor(A.T)), ["linear:", "(2, 3)", "(3, 2)", "(out_features, in_features)"]),
        (lambda: ops.dot(Tensor(A), Tensor(A)), ["dot:", "two vectors", "matmul()"]),
        (lambda: Tensor(A).reshape(4, 2), ["reshape:", "(2, 3)", "shape=(4, 2)"]),
        (lambda: ops.concatenate(Tensor(A), Tensor(A.T)), ["concatenate:", "(2, 3)", "(3, 2)", "sizes must agree"]),
        (lambda: ops.stack(Tensor(A), Tensor(A.T)), ["stack:", "shapes must be equal"]),
        (lambda: Tensor(A).sum(axis=2), ["sum:", "(2, 3)", "axis=2"]),
        (lambda: Tensor(A).pad([(1, 1)]), ["pad:", "a pair (before, after)"]),
        (lambda: ops.einsum("ij,jk->ik", Tensor(A)), ["einsum:", "name 2 operands, not 1"]),
        (lambda: ops.einsum("ijk->i", Tensor(A)), ["einsum:", "'ijk'", "(2, 3)"]),
        (lambda: ops.einsum("ii->i", Tensor(A)), ["einsum:", "label 'i' has sizes [2, 3]"]),
        (lambda: Tensor(A).clip(), ["clip:", "needs a lower or an upper bound"]),
        (lambda: Tensor(A[:1]).var(axis=0), ["var:", "1 elements with correction=1", "pass correction=0"]),
        (lambda: Tensor(A[:0]).mean(), ["mean:", "empty"]),
        (lambda: ops.gelu(Tensor(A), approximate="fast"), ["gelu:", "'none' or 'tanh'", "'fast'"]),
        (lambda: ops.mse_loss(Tensor(A), Tensor(A[:1])), ["mse_loss:", "(2, 3)", "(1, 3)", "does not broadcast"]),
        (lambda: ops.mse_loss(Tensor(A), Tensor(A), reduction="avg"), ["mse_loss:", "'avg'"]),
        (lambda: ops.mse_loss(Tensor(A[:0]), Tensor(A[:0])), ["mse_loss:", "empty batch"]),
        (lambda: ops.huber_loss(Tensor(A), Tensor(A), delta=0.0), ["huber_loss:", "delta must be positive"]),
        (lambda: ops.cross_entropy(Tensor(A), tensor([0, 3])), ["cross_entropy:", "label 3", "3 classes"]),
        (lambda: ops.cross_entropy(Tensor(A), tensor([-1, 0])), ["cross_entropy:", "label -1", "3 classes"]),
        (lambda: ops.nll_loss(Tensor(A), tensor([0, 3])), ["nll_loss:", "label 3", "3 classes"]),
        (lambda: ops.cross_entropy(Tensor(A), tensor([0.0, 1.0])), ["cross_entropy:", "integers", ".long()"]),
        (lambda: ops.cross_entropy(Tensor(A), tensor([0, 1, 2])), ["cross_entropy:", "(3,)", "(2, 3)"]),
        (lambda: ops.cross_entropy(Tensor(A[:0]), tensor([], dtype=np.int64)), ["cross_entropy:", "empty batch"]),
        (lambda: Tensor(A).masked_fill(Tensor(A), 0), ["masked_fill:", "bool"]),
        (lambda: ops.sum(Tensor(A), 0), ["sum:", "2 positional arguments for 1 inputs (x)", "by keyword"]),
        (lambda: Tensor(A) * 1j, ["multiply:", "complex numbers are not supported"]),
        (lambda: Tensor(A).astype("float16"), ["astype:", "float16", "supported are"]),
        (lambda: ops.cross_entropy(Tensor(A), 1), ["cross_entropy:", "labels of shape ()", "(2, 3)"]),
    ],
)
def test_wrong_input_gives_one_clear_error(wrong, words: list[str]) -> None:
    with pytest.raises((ValueError, TypeError, IndexError)) as caught:
        wrong()
    text = str(caught.value)
    assert [word for word in words if word not in text] == [], text


def test_labels_out_of_range_are_an_index_error_and_ignored_ones_are_not() -> None:
    with pytest.raises(IndexError):
        ops.cross_entropy(Tensor(A), tensor([0, 3]))
    assert np.isfinite(ops.cross_entropy(Tensor(A), tensor([0, -100])).item())
    assert np.isfinite(ops.cross_entropy(Tensor(A), tensor([0, 9]), ignore_index=9).item())


# --- stability -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_neither_overflow_nor_warn(dtype: type) -> None:
    x = leaf([[1e4, -1e4, 0.0], [-np.inf, 1.0, 2.0]], dtype)
    wide = leaf([-1e4, -100.0, 0.0, 100.0, 1e4], dtype)
    outputs = [
        ops.softmax(x),
        ops.log_softmax(x)[:, 1:],
        ops.logsumexp(x, axis=1),
        ops.cross_entropy(x, tensor([1, 2])),
        ops.sigmoid(wide),
        ops.softplus(wide),
        ops.tanh(wide),
        ops.gelu(wide),
        ops.gelu(wide, approximate="tanh"),
        ops.silu(wide),
        ops.elu(wide),
        ops.binary_cross_entropy_with_logits(wide, tensor([1.0, 0, 0, 0, 1], dtype=dtype)),
    ]
    for out in outputs:
        assert np.isfinite(out.data).all()
        for g in grad(out.sum(), (x, wide), allow_unused=True):
            assert g is None or np.isfinite(g.data).all()
    assert ops.logsumexp(tensor([-np.inf, -np.inf])).item() == -np.inf


# --- creation and random numbers -------------------------------------------------------------------------------------


def test_tensors_of_given_shapes() -> None:
    assert creation.zeros(2, 3).tolist() == [[0.0] * 3] * 2
    assert creation.ones((2,), dtype=np.float64, requires_grad=True).requires_grad
    assert creation.full((2, 1), 7).dtype == np.int64
    assert creation.full(2, 0.5).tolist() == [0.5, 0.5]
    assert creation.full(1, True).dtype == np.bool_
    assert creation.arange(3).tolist() == [0, 1, 2]
    assert creation.arange(3).dtype == np.int64
    assert creation.arange(1, 2, 0.25).dtype == np.float32
    assert creation.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert creation.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    like = tensor(A, dtype=np.float64)
    for make in (creation.zeros_like, creation.ones_like, creation.rand_like, creation.randn_like):
        assert (make(like).shape, make(like).dtype) == (like.shape, np.float64)
        assert make(like, dtype=np.float32).dtype == np.float32
    assert creation.full_like(like, 3).dtype == np.float64


def test_default_dtype_of_creation_is_float32() -> None:
    for made in (creation.zeros(1), creation.ones(1), creation.eye(1), creation.rand(1), creation.randn(1),
                 creation.linspace(0, 1, 2)):  # fmt: skip
        assert made.dtype == np.float32


def test_sizes_are_whole_and_not_negative() -> None:
    with pytest.raises(TypeError, match=r"zeros: sizes must be integers, not 2\.0"):
        creation.zeros(2.0)
    with pytest.raises(ValueError, match="randn: sizes must not be negative"):
        creation.randn(-1)
    with pytest.raises(ValueError, match="randint: there are no integers"):
        creation.randint(3, 3, (2,))
    with pytest.raises(TypeError, match="rand: draws float32 or float64, not int64"):
        creation.rand(2, dtype=np.int64)


def test_the_seed_decides_the_numbers() -> None:
    random.manual_seed(3)
    first = [creation.randn(4).tolist(), creation.rand(2).tolist(), creation.randint(0, 9, (5,)).tolist()]
    random.manual_seed(3)
    assert [creation.randn(4).tolist(), creation.rand(2).tolist(), creation.randint(0, 9, (5,)).tolist()] == first
    random.manual_seed(4)
    assert creation.randn(4).tolist() != first[0]


def test_the_state_survives_json_and_belongs_to_whoever_took_it() -> None:
    random.manual_seed(3)
    creation.randn(3)
    state = random.get_state()
    text = json.dumps(state)
    expected = creation.randn(5).tolist()
    assert json.dumps(state) == text, "a state must not move on with the generator"
    random.set_state(json.loads(text))
    assert creation.randn(5).tolist() == expected


def test_a_wrong_state_or_seed_changes_nothing() -> None:
    random.manual_seed(3)
    before = random.get_state()
    for wrong in ({}, {"bit_generator": "MT19937"}, None):
        with pytest.raises(ValueError, match="set_state: not a state of PCG64"):
            random.set_state(wrong)
    for seed, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match=f"manual_seed: the seed must be a whole number of 0 or more, not {seed}"):
            random.manual_seed(seed)
    assert random.get_state() == before


def test_draws_follow_their_distributions() -> None:
    random.manual_seed(0)
    normal, uniform = creation.randn(20_000).data, creation.rand(20_000).data
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert set(creation.randint(2, 5, (500,)).tolist()) == {2, 3, 4}


# --- the rest of Tensor ----------------------------------------------------------------------------------------------


def test_text_of_a_tensor_says_where_it_comes_from() -> None:
    x = leaf([1.0, 2.0])
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], made by multiply)"
    assert repr(tensor([1.0], dtype=np.float64)) == "tensor([1.], dtype=float64)"
    assert f"{tensor(1.5):.2f}" == "1.50"


def test_a_deep_copy_is_independent() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad
    assert twin.grad.tolist() == x.grad.tolist()
    twin.data[0] = 9
    twin.grad.data[0] = 9
    assert x.tolist() == [1.0, 2.0]
    assert x.grad.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="only a leaf"):
        copy.deepcopy(x * 2)


def test_a_gradient_that_does_not_fit_is_refused() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"needs a gradient of that dtype and shape, not float32 \(3,\)"):
        x.grad = Tensor(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="must be a Tensor or None"):
        x.grad = np.zeros(2)
    assert x.grad is None


def test_numpy_shares_memory_and_asks_for_detach() -> None:
    x = tensor([1.0, 2.0])
    assert x.numpy() is x.data
    assert np.asarray(x) is x.data
    with pytest.raises(RuntimeError, match=r"use \.detach\(\)\.numpy\(\)"):
        leaf([1.0]).numpy()


def test_item_is_for_one_element() -> None:
    assert tensor([[2.5]]).item() == 2.5
    assert isinstance(tensor(2.5).item(), float)
    with pytest.raises(ValueError, match=r"one element, not of shape \(2,\)"):
        tensor([1.0, 2.0]).item()


@pytest.mark.parametrize(
    ("dtype", "value", "error"),
    [("int8", 300, OverflowError), ("uint8", -1, OverflowError), ("int64", np.nan, ValueError)],
)
def test_a_number_that_a_dtype_cannot_hold_is_never_assigned(dtype, value, error) -> None:
    t = Tensor(np.zeros(2, dtype))
    for change in (lambda: t.fill_(value), lambda: t.copy_(value), lambda: t.__setitem__(0, value)):
        with pytest.raises(error, match=rf"cannot assign to a tensor of {dtype} \(2,\)"):
            change()
    assert t.tolist() == [0, 0]


def test_arrays_of_another_byte_order_are_read_as_numbers() -> None:
    """As from IDX, FITS or MATLAB files."""
    for kind in (">f4", ">f8", ">i4"):
        t = Tensor(np.array([1, 2], kind))
        assert t.dtype.isnative
        assert t.tolist() == [1, 2]
    assert (tensor([1.0, 2.0]) * Tensor(np.ones(2, ">f4"))).tolist() == [1, 2]


def test_arrays_of_other_libraries_keep_their_dtype() -> None:
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.array([0.1, 0.2])

    assert Tensor(Foreign()).dtype == np.float64
    assert tensor(Foreign(), dtype=np.float32).dtype == np.float32
