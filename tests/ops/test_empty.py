"""Empty inputs: empty lists as indices, no rows, no classes. Results and errors are PyTorch's unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
NONE = np.zeros((0, 4))
LABELS = np.zeros(0, np.int64)

X = mg.tensor(A, requires_grad=True)
E = mg.tensor(NONE, requires_grad=True)


def total_gradient(out: mg.Tensor, x: mg.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of the sum, and of the sum of its square."""
    (first,) = mg.grad(out.sum(), x, create_graph=True)
    second = mg.grad((first * first).sum(), x, allow_unused=True)[0] if first.requires_grad else None
    return first.data, np.zeros(x.shape) if second is None else second.data


@pytest.mark.parametrize(
    ("select", "shape"),
    [
        (lambda x: x[[]], (0, 3)),
        (lambda x: x[:, []], (2, 0)),
        (lambda x: x[[], :], (0, 3)),
        (lambda x: x[..., []], (2, 0)),
        (lambda x: x[[], []], (0,)),
        (lambda x: x[[[]]], (1, 0, 3)),
        (lambda x: x[0, []], (0,)),
        (lambda x: x[np.array([], int)], (0, 3)),
        (lambda x: x[np.zeros(2, bool)], (0, 3)),
        (lambda x: x[x > 9], (0,)),
        (lambda x: x[2:], (0, 3)),
        (lambda x: x.take([]), (0,)),
        (lambda x: x.take([], axis=0), (0, 3)),
        (lambda x: x.take([[], []], axis=1), (2, 2, 0)),
        (lambda x: mg.take(x, np.zeros((0, 2), int), axis=-1), (2, 0, 2)),
        (lambda x: x.gather(1, [[], []]), (2, 0)),
        (lambda x: x.gather(0, np.zeros((0, 3), int)), (0, 3)),
        (lambda x: F.embedding([], x), (0, 3)),
        (lambda x: F.embedding([[], []], x), (2, 0, 3)),
        (lambda x: F.embedding([], x, padding_idx=0), (0, 3)),
        (lambda x: F.embedding(mg.tensor(LABELS), x), (0, 3)),
    ],
)
def test_nothing_selected_is_an_empty_result_with_gradients_of_0(select: Callable[[Any], Any], shape: Any) -> None:
    out = select(X)
    assert out.shape == shape
    assert out.dtype == X.dtype
    first, second = total_gradient(out, X)
    assert first.shape == second.shape == X.shape
    assert not first.any()
    assert not second.any()


def test_nothing_is_selected_from_nothing_and_from_arrays() -> None:
    assert E[[]].shape == E.take([], axis=0).shape == (0, 4)
    assert E.take([]).shape == (0,)
    assert mg.take(A, []).shape == (0,)
    assert nn.Embedding(3, 2)([]).shape == (0, 2)
    assert mg.tensor(A).gather(1, [[], []]).shape == (2, 0)


def test_an_assignment_to_nothing_changes_nothing() -> None:
    x = mg.tensor(A)
    x[[]] = 5.0
    x[:, []] = 5.0
    assert x.tolist() == A.tolist()


def test_indices_that_are_not_integers_are_refused_also_where_there_are_none() -> None:
    for key in (np.array([]), mg.tensor([])):
        with pytest.raises(TypeError, match="must be integer or bool"):
            X[key]
    with pytest.raises(IndexError, match="take"):
        E.take([0], axis=0)


ROWS = {
    "softmax": (lambda x: F.softmax(x), (0, 4)),
    "softmax over the rows": (lambda x: F.softmax(x, 0), (0, 4)),
    "softmax of no classes": (lambda x: F.softmax(x.T), (4, 0)),
    "log_softmax over the rows": (lambda x: F.log_softmax(x, 0), (0, 4)),
    "logsumexp over the classes": (lambda x: x.logsumexp(axis=1), (0,)),
    "linear": (nn.Linear(4, 2).to(np.float64), (0, 2)),
    "MLP": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(np.float64), (0, 2)),
    "layer_norm": (nn.LayerNorm(4).to(np.float64), (0, 4)),
    "rms_norm": (nn.RMSNorm(4).to(np.float64), (0, 4)),
    "batch_norm": (nn.BatchNorm1d(4).to(np.float64).eval(), (0, 4)),
    "dropout": (lambda x: F.dropout(x, 0.5), (0, 4)),
    "flatten": (lambda x: F.flatten(x.reshape(0, 2, 2), 1), (0, 4)),
    "concatenate": (lambda x: mg.concatenate([x, x]), (0, 4)),
    "stack": (lambda x: mg.stack([x, x]), (2, 0, 4)),
    "rows of each": (lambda x: mg.concatenate([x, mg.ones(1, 4, dtype=np.float64)]), (1, 4)),
    "mean over the classes": (lambda x: x.mean(axis=1), (0,)),
    "max over the classes": (lambda x: x.max(axis=1), (0,)),
    "product of matrices": (lambda x: x.T @ x, (4, 4)),
    "einsum": (lambda x: mg.einsum("ij,ik->jk", x, x), (4, 4)),
    "RNN": (lambda x: nn.RNN(4, 2, dtype=np.float64)(x.reshape(3, 0, 4))[0], (3, 0, 2)),
    "GRU": (lambda x: nn.GRU(4, 2, dtype=np.float64)(x.reshape(3, 0, 4))[0], (3, 0, 2)),
    "LSTM": (lambda x: nn.LSTM(4, 2, dtype=np.float64)(x.reshape(3, 0, 4))[0], (3, 0, 2)),
    "LSTM, batch first": (
        lambda x: nn.LSTM(4, 2, batch_first=True, dtype=np.float64)(x.reshape(0, 3, 4))[0],
        (0, 3, 2),
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ROWS)
def test_a_batch_of_no_rows_passes_through(name: str) -> None:
    f, shape = ROWS[name]
    out = f(E)
    assert out.shape == shape
    assert out.dtype == np.float64
    first, second = total_gradient(out, E)
    assert first.shape == second.shape == E.shape


def test_reductions_of_nothing_have_the_value_of_their_identity_or_an_error_that_names_them() -> None:
    assert E.sum().item() == 0
    assert E.prod(axis=0).tolist() == [1] * 4
    assert E.logsumexp(axis=0).tolist() == [-np.inf] * 4
    assert (E.any().item(), E.all().item()) == (False, True)
    for name in ("max", "min", "argmax", "argmin", "mean", "std", "var"):
        with pytest.raises(ValueError, match=f"{name}:"):
            getattr(E, name)()
        with pytest.raises(ValueError, match=f"{name}:"):
            getattr(E, name)(axis=0)


def test_parts_of_nothing() -> None:
    assert [part.shape for part in E.split(2)] == [(0, 4)]
    assert [part.shape for part in E.split([0, 0])] == [(0, 4), (0, 4)]
    assert [part.shape for part in X.split(2)] == [(2, 3)]


def test_a_sequence_without_steps_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"GRU\(4, 2\): got empty input"):
        nn.GRU(4, 2)(mg.zeros(0, 3, 4))
