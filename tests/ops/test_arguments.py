"""Calls that are wrong: names misspelled or PyTorch's, settings by position, inputs that are missing."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.data import DataLoader
from minigrad.nn import functional as F
from minigrad.ops import PRIMITIVES

X = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
A = X.data


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: X.sum(dim=1), "sum: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: X.mean(axis=1, keepdim=True), "mean: unknown argument 'keepdim'; did you mean 'keepdims'?"),
        (lambda: X.softmax(dim=1), "softmax: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: mg.sum(X, axs=1), "sum: unknown argument 'axs'; did you mean 'axis'?"),
        (lambda: mg.sum(A, axs=1), "sum: unknown argument 'axs'; did you mean 'axis'?"),
        (lambda: mg.sum(input=X), "sum: unknown argument 'input'; did you mean 'x'?"),
        (lambda: mg.sum(x=X), "sum: inputs go by position: sum(x)"),
        (lambda: mg.add(X, X, alpha=2), "add: unknown argument 'alpha'"),
        (lambda: mg.stack([X, X], dim=1), "stack: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: F.softmax(X, dim=-1), "softmax: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: F.cross_entropy(input=X, target=[0, 1]), "cross_entropy: unknown argument 'input'; did you mean 'x'?"),
        (lambda: nn.Softmax(dim=1), "Softmax: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: F.leaky_relu(X, 0.1, 0.2), "leaky_relu: 2 values are given by position for negative_slope"),
        (lambda: X.sum(1, True, 0.0), "sum: 3 values are given by position for axis, keepdims"),
        (lambda: F.softmax(X, 1, axis=1), "softmax: axis is given twice, by position and by name"),
        (lambda: X.sum(1, axis=1), "sum: axis is given twice, by position and by name"),
        (lambda: nn.LeakyReLU(0.1, 0.2), "LeakyReLU: too many positional arguments; it takes negative_slope"),
        (lambda: nn.ReLU(inplace=True), "ReLU: unknown argument 'inplace'; it takes none"),
        (lambda: nn.Linear(3, 4, bais=False), "Linear: unknown argument 'bais'; did you mean 'bias'?"),
        (lambda: DataLoader(X, batchsize=2), "DataLoader: unknown argument 'batchsize'; did you mean 'batch_size'?"),
        (
            lambda: mg.zeros(3, requires_gard=True),
            "zeros: unknown argument 'requires_gard'; did you",
        ),
        (lambda: mg.tensor(1, requires_gard=True), "tensor: unknown argument 'requires_gard'; did you mean"),
        (lambda: mg.grad(X, X, creat_graph=True), "grad: unknown argument 'creat_graph'; did you mean 'create_graph'?"),
        (lambda: X.backward(retain=True), "backward: unknown argument 'retain'; did you mean 'retain_graph'?"),
        (lambda: mg.split(X, 1, dim=0), "split: unknown argument 'dim'; did you mean 'axis'?"),
        (lambda: mg.clip(X, min=0), "clip: unknown argument 'min'; did you mean 'low'?"),
        (lambda: mg.clip(X, low=0), "clip: inputs go by position: clip(x, low, high)"),
        (lambda: mg.sum(X, 1), "sum: 2 positional arguments for 1 inputs (x); settings go by keyword: axis=1"),
        (lambda: mg.sum(A, 1), "sum: 2 positional arguments for 1 inputs (x); settings go by keyword: axis=1"),
        (lambda: mg.softmax(X, 1), "settings go by keyword: axis=1"),
        (lambda: mg.reshape(X, (4, 1)), "settings go by keyword: shape=(4, 1)"),
        (lambda: mg.transpose(X, 0, 1), "settings go by keyword: axis0=0, axis1=1"),
        (lambda: mg.concatenate([X, X], 1), "concatenate: takes its inputs one by one or as one sequence"),
        (lambda: mg.stack([X, X], 1), "settings go by keyword: axis=1"),
        (lambda: mg.where(X > 0), "where: 1 of its inputs (condition, a, b) given, of which 3 are required"),
        (lambda: mg.where(A > 0), "where: 1 of its inputs (condition, a, b) given, of which 3 are required"),
        (lambda: mg.equal(X), "equal: 1 of its inputs (a, b) given, of which 2 are required"),
        (lambda: mg.equal(A), "equal: 1 of its inputs (a, b) given, of which 2 are required"),
        (lambda: mg.tensor([1j]), "tensor: cannot hold complex128"),
    ],
)
def test_a_wrong_call_is_a_type_error_with_the_remedy(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        call()


@pytest.mark.parametrize(
    ("call", "text", "absent"),
    [
        (lambda: mg.stack([]), "stack: needs at least one input", "NumPy"),
        (lambda: mg.tensor([1, 2]) ** -1, "Make the base floating with .float()", "reshape"),
        (lambda: F.mse_loss(mg.zeros(0), mg.zeros(0)), "the mean of an empty batch is undefined", "reshape"),
        (lambda: X + mg.zeros(3), "reshape() or unsqueeze() one of them", "keyword"),
    ],
)
def test_a_wrong_value_is_a_value_error_with_its_own_remedy(call: Callable[[], Any], text: str, absent: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        call()
    assert absent not in str(caught.value)


def test_an_error_within_a_right_call_passes_through() -> None:
    with pytest.raises(TypeError, match="integers"):
        F.embedding(indices=X, weight=X)


def test_inputs_declared_optional_may_be_absent() -> None:
    assert mg.clip(X, 2.0).tolist() == [[2, 2], [3, 4]]
    assert F.linear(X, X).shape == (2, 2)


def test_tensors_in_nested_lists_make_a_tensor() -> None:
    one, two = mg.tensor(1.0), mg.tensor(2.0)
    assert mg.tensor([[one, two]] * 2).tolist() == [[1, 2], [1, 2]]
    assert (X * [one, two]).tolist() == [[1, 4], [3, 8]]


@pytest.mark.parametrize(
    ("subscripts", "operands", "text"),
    [
        ("...ik..., ...jk ->", (X, X), "'...' occurs twice"),
        ("......", (X,), "'...' occurs twice"),
        ("...i->...i...", (X,), "'...' occurs twice"),
        ("ij..", (X,), "cannot read"),
        ("i->j->i", (X,), "cannot read"),
        ("i-j", (X,), "cannot read"),
        ("i1->i", (X,), "cannot read"),
        ("ij->k", (X,), "k"),
        ("ij->ii", (X,), "i"),
        ("ij", (X, X), "name 1 operands, not 2"),
        ("ij,jk", (), "name 2 operands, not 0"),
        ("", (), "name 1 operands, not 0"),
        ("ijk", (X,), "do not fit an operand of shape (2, 2)"),
        ("ij,jk->ik", (X, mg.zeros(3, 2)), "(3, 2)"),
    ],
)
def test_malformed_subscripts_are_one_clear_error(subscripts: str, operands: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ValueError, match="einsum: ") as caught:
        mg.einsum(subscripts, *operands)
    assert text in str(caught.value)


def test_einsum_takes_subscripts_first_and_lists_as_operands() -> None:
    with pytest.raises(TypeError, match="einsum: the first argument is the subscripts"):
        mg.einsum(X, X)
    assert mg.einsum("ij,j->i", X, [1.0, 10.0]).tolist() == [21, 43]
    assert mg.einsum("ij,j->i", X, [1, 10]).dtype == np.float32


P = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
ROWS = [P[0], P[1] * 2]
CELLS = [P[0, 0], P[0, 1] * 2]


@pytest.mark.parametrize(
    ("lose", "op"),
    [
        (lambda: mg.tensor(ROWS), "tensor"),
        (lambda: mg.tensor(CELLS), "tensor"),
        (lambda: mg.tensor([CELLS, [1.0, 2.0]]), "tensor"),
        (lambda: mg.tensor([P, P]), "tensor"),
        (lambda: mg.tensor(CELLS, dtype=np.float64), "tensor"),
        (lambda: mg.Tensor(ROWS), "tensor"),
        (lambda: nn.Parameter(ROWS), "tensor"),
        (lambda: F.mse_loss(X, ROWS), "mse_loss"),
        (lambda: F.l1_loss(X[0], CELLS), "l1_loss"),
        (lambda: F.huber_loss(X, ROWS), "huber_loss"),
        (lambda: F.smooth_l1_loss(X, ROWS), "smooth_l1_loss"),
        (lambda: F.binary_cross_entropy_with_logits(X, ROWS), "binary_cross_entropy_with_logits"),
        (lambda: F.binary_cross_entropy(X / 9, ROWS), "binary_cross_entropy"),
        (lambda: F.cross_entropy(X, ROWS), "cross_entropy"),
        (lambda: F.cross_entropy(X, [0, 1], weight=CELLS), "numpy"),
        (lambda: F.nll_loss(X, [0, 1], weight=CELLS), "numpy"),
        (lambda: F.binary_cross_entropy_with_logits(X, A, pos_weight=CELLS), "numpy"),
        (lambda: nn.MSELoss()(X, ROWS), "mse_loss"),
        (lambda: nn.CrossEntropyLoss(weight=CELLS), "tensor"),
        (lambda: X + ROWS, "add"),
        (lambda: ROWS * X, "multiply"),
        (lambda: X @ CELLS, "matmul"),
        (lambda: X == CELLS, "equal"),
        (lambda: mg.where(X > 0, ROWS, 0.0), "where"),
        (lambda: mg.maximum(CELLS, X), "maximum"),
        (lambda: X.clip(CELLS), "clip"),
        (lambda: mg.stack([P[0], CELLS]), "stack"),
        (lambda: F.linear(X, ROWS), "linear"),
        (lambda: mg.einsum("i,i->", CELLS, X[0]), "numpy"),
        (lambda: mg.full((2,), P[0, 0]), "numpy"),
        (lambda: (P * 2).backward(ROWS), "tensor"),
        (lambda: mg.zeros(2, 2).copy_(ROWS), "numpy"),
        (lambda: mg.zeros(2, 2).__setitem__(0, CELLS), "numpy"),
        (lambda: np.array(CELLS), "numpy"),
        (lambda: np.array(ROWS), "numpy"),
        (lambda: mg.exp(CELLS), "numpy"),
        (lambda: mg.where(A > 0, ROWS, 0.0), "numpy"),
    ],
)
def test_a_list_of_recorded_tensors_never_loses_its_gradient_silently(lose: Callable[[], Any], op: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^{op}: .*(requires a gradient)") as caught:
        lose()
    assert "stack()" in str(caught.value)
    assert ".detach()" in str(caught.value)


def test_where_nothing_is_recorded_a_list_of_tensors_is_a_list_of_values() -> None:
    with mg.no_grad():
        assert mg.tensor(CELLS).tolist() == [1, 4]
        assert (X + ROWS).tolist() == [[2, 4], [9, 12]]
        assert F.mse_loss(X[0], CELLS).item() == 2


@pytest.mark.parametrize("join", [mg.stack, mg.concatenate])
@pytest.mark.parametrize(
    "given",
    [lambda: (row for row in ROWS), lambda: iter(ROWS), lambda: map(mg.negative, ROWS), lambda: deque(ROWS),
     lambda: dict(enumerate(ROWS)).values()],
)  # fmt: skip
def test_any_iterable_of_tensors_is_joined_and_recorded(join: Any, given: Callable[[], Any]) -> None:
    out = join(given())
    assert out.tolist() == join(list(given())).tolist()
    assert mg.grad(out.sum(), P, retain_graph=True)[0].data.any()
    assert join(given(), axis=-1).dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        lambda: mg.tensor(n for n in (1, 2)),
        lambda: mg.tensor({1, 2}),
        lambda: mg.tensor(map(float, (1, 2))),
        lambda: mg.tensor([1, None]),
        lambda: mg.tensor(np.array([1, 2], object)),
        lambda: X + (n for n in (1, 2)),
        lambda: mg.tensor([1, 2]) * iter([1, 2]),
        lambda: mg.where(X > 0, (n for n in (1, 2)), 0),
        lambda: mg.where(X > 0, object(), 0),
        lambda: mg.tensor([1, 2]) + np.array([1, 2], object),
        lambda: mg.exp(n for n in (1, 2)),
        lambda: mg.stack([X, object()]),
        lambda: mg.stack(object()),
        lambda: mg.stack("ab"),
        lambda: mg.stack({"a": X}),
        lambda: mg.concatenate(x for x in "ab"),
        lambda: X + "1",
        lambda: F.mse_loss(X, (row for row in A)),
        lambda: mg.einsum("i->", (x for x in ROWS)),
        lambda: X.take(iter([0])),
        lambda: X[(n for n in (0, 1))],
        lambda: F.embedding(iter([0]), X),
        lambda: mg.add(A, object()),
    ],
)
def test_arrays_of_objects_never_arise(make: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError, IndexError)) as caught:
        make()
    assert str(caught.value)


def test_a_hook_may_change_the_gradient_in_place_for_its_own_tensor_only() -> None:
    x, y = (mg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    a, b = x * 1, y * 1
    a.register_hook(lambda g: g.zero_())
    (a + b).sum().backward()
    assert x.grad.tolist() == [0, 0]
    assert y.grad.tolist() == [1, 1]


def test_signatures_show_inputs_and_settings() -> None:
    assert str(inspect.signature(mg.sum)) == "(x, /, *, axis=None, keepdims=False)"
    assert str(inspect.signature(mg.add)) == "(a, b, /)"
    assert str(inspect.signature(mg.stack)) == "(*values, axis=0)"
    assert str(inspect.signature(F.linear)) == "(x, weight, bias=None, /)"
    assert all(entry.__doc__ for entry in PRIMITIVES.values())
    assert "axis: " in str(inspect.signature(mg.Tensor.sum))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cubes_are_those_of_numpy(dtype: type) -> None:
    x = np.linspace(-3, 3, 101).astype(dtype)
    t = mg.tensor(x, requires_grad=True)
    out = t**3
    assert out.dtype == dtype
    np.testing.assert_allclose(out.data, x.astype(np.float64) ** 3, rtol=4 * np.finfo(dtype).eps)
    assert (mg.tensor([2, -3]) ** 3).tolist() == [8, -27]
    assert mg.power(np.array([2]), 3.0).dtype == np.float64
    mg.check_gradients(lambda t: t**3 + t**4, [x.astype(np.float64)])
