"""Every primitive on the device "cuda": the values and gradients of the CPU, from one text."""

from __future__ import annotations

import inspect

import cupy_standin
import numpy as np
import pytest
from device_tools import assert_on_gpu, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES

import minigrad
from minigrad import Tensor, nn, ops
from minigrad.autograd.gradients import grad
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu_module
from minigrad.gradcheck import check_gradients
from minigrad.ops import PRIMITIVES

FEW = settings(max_examples=6, deadline=None, derandomize=True)
DIFFERENTIABLE = sorted(name for name in CASES if PRIMITIVES[name].differentiable)


def both(arrays, dtype):
    """The same inputs on the CPU and on the GPU."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    host = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    return host, [minigrad.tensor(x.data, device="cuda", requires_grad=x.requires_grad) for x in host]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@FEW
def test_values_and_gradients_are_those_of_the_cpu(gpu, name, dtype, data):
    f, arrays = CASES[name](data.draw)
    if name == "to_device":
        return  # which says itself where it goes
    host, device = both(arrays, dtype)
    expected, found = f(*host), f(*device)
    assert_on_gpu(found)
    assert_same(found, expected, name)
    if not expected.requires_grad:
        assert not found.requires_grad
        return
    incoming = np.random.default_rng(0).standard_normal(expected.shape).astype(dtype)
    wanted = [x for x in host if x.requires_grad]
    expected_gradients = grad(expected, wanted, Tensor(incoming))
    gradients = grad(found, [x for x in device if x.requires_grad], minigrad.tensor(incoming, device="cuda"))
    for g, e in zip(gradients, expected_gradients, strict=True):
        assert_on_gpu(g)
        assert_same(g, e, name)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
@settings(FEW, max_examples=3)
def test_gradients_of_gradients_are_those_of_the_cpu(gpu, name, data):
    f, arrays = CASES[name](data.draw)
    if name == "to_device":
        return
    results = []
    for tensors in both(arrays, np.float64):
        out = f(*tensors)
        wanted = [x for x in tensors if x.requires_grad]
        first = grad(out, wanted, out.detach() + 1, create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in first if g is not None)
        second = grad(total, wanted, allow_unused=True) if total.requires_grad else []
        results.append([*first, *second])
    for expected, found in zip(*results, strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            assert_on_gpu(found)
            assert_same(found, expected, name)


def test_a_gradient_comes_back_through_a_move(gpu):
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x.cuda() * 2).cpu()
    assert y.device == "cpu"
    (y * Tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [2.0, 20.0, 200.0]


def test_what_is_selected_twice_receives_both_gradients_in_one_order(gpu):
    # As a sum of 1e8, 1 and -1e8 in float32, which depends on the order.
    rows = minigrad.tensor([3, 0, 3, 3, 0, 1, 3, 3], device="cuda")
    values = np.array([1e8, 1.0, 1.0, -1e8, 2.0, 3.0, 1.0, 5.0], np.float32)[:, None]
    table = minigrad.zeros(4, 1, device="cuda", requires_grad=True)
    found = set()
    for _ in range(3):
        table.grad = None
        nn.functional.embedding(rows, table).backward(minigrad.tensor(values, device="cuda"))
        found.add(devices.to_host(table.grad.data).tobytes())
    assert len(found) == 1
    exact = np.zeros((4, 1))
    np.add.at(exact, devices.to_host(rows.data), values.astype(np.float64))
    # Only the position with the large ones is rounded.
    assert devices.to_host(table.grad.data)[:3].tolist() == exact[:3].tolist()


@given(st.lists(st.integers(0, 5), max_size=40))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_adding_at_positions_is_the_sum_at_each(gpu, positions):
    positions = np.array(positions, np.int64)
    values = np.arange(1.0, positions.size + 1)
    total = devices.to_device(np.full(6, 0.5), "cuda")
    devices.add_at(total, devices.to_device(positions, "cuda"), devices.to_device(values, "cuda"))
    expected = np.full(6, 0.5)
    np.add.at(expected, positions, values)
    assert_same(total, expected)


def test_gradients_on_the_gpu_can_be_checked_there(gpu):
    seen = []

    def f(x, w):
        seen.append((x.device, w.device))
        return (x @ w).tanh(), w.relu()

    x, w = np.random.default_rng(0).standard_normal((2, 3, 3))
    assert check_gradients(f, [minigrad.tensor(x, device="cuda"), minigrad.tensor(w, device="cuda")])
    assert set(seen) == {("cuda", "cuda")}


# --- errors ----------------------------------------------------------------------------------------------------------

MIXED = {
    "add": lambda x, y: x + y,
    "in place": lambda x, y: x.__iadd__(y),
    "comparison": lambda x, y: x < y,
    "a number on the CPU": lambda x, y: x < Tensor(1.0),
    "matmul": lambda x, y: x @ y.T,
    "linear": lambda x, y: ops.linear(x, y),
    "concatenate": lambda x, y: ops.concatenate(x, y),
    "stack": lambda x, y: ops.stack(y, x),
    "where": lambda x, y: ops.where(x > 0, x, y),
    "where, its condition": lambda x, y: ops.where(y > 0, x, x),
    "masked_fill": lambda x, y: x.masked_fill(y > 0, 1.0),
    "einsum": lambda x, y: ops.einsum("ij,ij->i", x, y),
    "maximum": lambda x, y: x.maximum(y),
    "take": lambda x, y: x.take(Tensor([0, 1]), axis=0),
    "gather": lambda x, y: x.gather(1, Tensor([[0], [1]])),
    "embedding": lambda x, y: nn.functional.embedding(Tensor([0, 1]), x),
    "cross_entropy": lambda x, y: nn.functional.cross_entropy(x, Tensor([0, 1])),
    "mse_loss": lambda x, y: nn.functional.mse_loss(x, y),
    "an array of NumPy's": lambda x, y: x * y.data,
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("order", ["cuda first", "cpu first"])
def test_tensors_of_two_devices_in_one_op_are_refused_in_words(gpu, name, order):
    values = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
    x, y = minigrad.tensor(values, device="cuda"), Tensor(values.copy())
    if order == "cpu first" and name in ("add", "matmul", "linear", "where", "mse_loss", "in place", "stack"):
        x, y = y, x
    with pytest.raises(TypeError, match=r"inputs on cpu and on cuda do not mix; move one with \.to\('cuda'\) or"):
        MIXED[name](x, y)
    for tensor in (x, y):
        assert_same(tensor, values)


@pytest.mark.parametrize(
    "select",
    [
        lambda x: x[Tensor([0, 5])],
        lambda x: x[minigrad.tensor([0, -3], device="cuda")],
        lambda x: x[[0, 2]],
        lambda x: x[:, np.array([4])],
        lambda x: x.take(minigrad.tensor([7], device="cuda")),
        lambda x: x.gather(1, minigrad.tensor([[0], [2]], device="cuda")),
        lambda x: nn.functional.embedding(minigrad.tensor([0, 2], device="cuda"), x),
        lambda x: nn.functional.cross_entropy(x, minigrad.tensor([0, 2], device="cuda")),
        lambda x: x.__setitem__(minigrad.tensor([2], device="cuda"), 1.0),
    ],
)
def test_an_index_that_is_out_of_range_does_not_wrap_around(gpu, select):
    with pytest.raises(IndexError, match=r"out of (bounds|range)"):
        select(minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (cupy_standin.OutOfMemoryError("Out of memory allocating 4,096 bytes"), "memory"),
        (cupy_standin.CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered"), "lost"),
        (cupy_standin.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient"), "driver"),
        (cupy_standin.CUDARuntimeError("cudaErrorUnknown: unknown error"), "lost"),
        (cupy_standin.CUDARuntimeError("cudaErrorNotSupported: operation not supported"), "failed"),
    ],
)
def test_what_goes_wrong_on_the_gpu_is_one_error_and_changes_nothing(gpu, monkeypatch, error, reason):
    if gpu is not cupy_standin:
        pytest.skip("the stand-in can be broken at will")
    x = minigrad.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    host = Tensor([3.0, 4.0], requires_grad=True)
    y = (host.cuda() * x.exp()).sum()

    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(cupy_standin.ndarray, "__array_ufunc__", broken)
    with pytest.raises(gpu_module.DeviceError, match=r"^add: the (GPU|NVIDIA driver) ") as caught:
        x + x
    assert caught.value.reason == reason
    assert caught.value.__cause__ is error
    monkeypatch.setattr(cupy_standin.ndarray, "__mul__", broken)
    with pytest.raises(gpu_module.DeviceError, match=r"^the gradient rule of"):
        y.backward()
    assert x.grad is None
    assert host.grad is None
    assert host.tolist() == [3.0, 4.0]
    monkeypatch.setattr(cupy_standin.ndarray, "get", broken)
    with pytest.raises(gpu_module.DeviceError, match=r"^copying from the GPU: "):
        x.cpu()


def test_errors_of_others_are_left_as_they_are():
    class NumbaError(Exception):
        __module__ = "numba.core.errors"

    for error in (NumbaError(), RuntimeError("out of memory"), TypeError()):
        assert gpu_module.device_error(error, "add") is None
        assert gpu_module.translated(error, "add") is error


# --- the stand-in itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cupy_standin.FUNCTIONS)
def test_functions_of_the_stand_in_have_the_arguments_of_cupys(name):
    cupy = pytest.importorskip("cupy")
    own, theirs = (inspect.signature(f).parameters for f in (cupy_standin.FUNCTIONS[name], getattr(cupy, name)))
    assert [(p.name, p.kind, p.default) for p in list(own.values())[1:]] == [
        (p.name, p.kind, p.default) for p in list(theirs.values())[1:]
    ]


def test_the_stand_in_refuses_what_cupy_refuses():
    x, y = cupy_standin.asarray([1.0, 2.0]), np.array([1.0, 2.0])
    for wrong in (
        lambda: np.asarray(x),
        lambda: x + y,
        lambda: y + x,
        lambda: np.add(y, x),
        lambda: np.add(y, 1.0, out=x),
        lambda: np.concatenate([x, y]),
        lambda: np.where(x > 1, x, y),
        lambda: np.interp(x, x, x),
        lambda: np.add(x, x, where=True),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(NotImplementedError):
        np.maximum.reduce(x)
    assert x[np.array([3])].tolist() == [2.0]
