"""Tensors, data, training and checkpoints on the device "cuda", and what is said where there is none."""

from __future__ import annotations

import types

import cupy_standin
import numpy as np
import pytest
from device_tools import assert_on_gpu, assert_same

import minigrad
from minigrad import Tensor, cli, data, nn, training
from minigrad.data import DataLoader, Dataset
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu_module
from minigrad.random import manual_seed
from minigrad.training.nonfinite import explain_nonfinite

# --- tensors ---------------------------------------------------------------------------------------------------------


def test_tensors_are_made_on_the_device_that_is_asked_for(gpu):
    like = minigrad.zeros(2, 3, device="cuda", dtype=np.float64)
    for make in (
        lambda **o: minigrad.zeros(2, 3, **o),
        lambda **o: minigrad.ones(2, 3, **o),
        lambda **o: minigrad.full((2, 3), 1.5, **o),
        lambda **o: minigrad.arange(5, **o),
        lambda **o: minigrad.linspace(0, 1, 5, **o),
        lambda **o: minigrad.eye(3, **o),
        lambda **o: minigrad.rand(4, **o),
        lambda **o: minigrad.randn(4, **o),
        lambda **o: minigrad.randint(0, 9, (4,), **o),
        lambda **o: minigrad.tensor([[1, 2], [3, 4]], **o),
    ):
        manual_seed(0)
        found = make(device="cuda")
        manual_seed(0)
        assert_on_gpu(found)
        assert_same(found, make())
    for function in (minigrad.zeros_like, minigrad.ones_like, minigrad.rand_like, minigrad.randn_like):
        assert_on_gpu(function(like))
        assert function(like, device="cpu").device == "cpu"
    assert minigrad.tensor(like).device == "cuda"
    assert minigrad.tensor(like.data).device == "cuda"
    assert minigrad.tensor(like, device="cpu").device == "cpu"
    assert Tensor(like.data).data is like.data


def test_to_takes_devices_dtypes_and_tensors(gpu):
    x = Tensor([1.5, 2.5])
    assert x.to("cpu") is x
    assert x.to(np.float32) is x
    assert x.to(device="cpu", dtype="float32") is x
    y = x.to("cuda", np.float64)
    assert (y.device, y.dtype) == ("cuda", np.float64)
    assert y.to("cuda:0") is y
    assert (x.to(y).device, x.to(y).dtype) == ("cuda", np.float64)
    assert y.to(x).device == "cpu"
    assert y.cuda() is y
    assert y.cpu().tolist() == [1.5, 2.5]
    for call, text in (
        (lambda: x.to(), "to: needs a device, 'cpu' or 'cuda', or a dtype"),
        (lambda: x.to("cpu", device="cuda"), "to: two devices, cuda and cpu"),
        (lambda: nn.Linear(1, 1).to(np.float32, np.float64), "Linear.to: two dtypes"),
        (lambda: nn.Linear(1, 1).to(np.int64), "Linear.to: parameters are float32 or float64, not int64"),
        (lambda: x.to("cdua"), "unknown device 'cdua'; did you mean 'cuda'"),
        (lambda: x.to("cuda:1"), "minigrad computes on one GPU"),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            call()


def test_a_tensor_shows_where_it_is_and_gives_its_numbers(gpu):
    x = minigrad.tensor([1.0, 2.5], device="cuda")
    assert repr(x) == "tensor([1. , 2.5], device='cuda')"
    assert repr(nn.Parameter(x)).startswith("Parameter (weight, on cuda):\n[1. , 2.5]")
    assert x[1].item() == 2.5
    assert float(x.sum()) == 3.5
    assert f"{x.sum():.2f}" == "3.50"
    assert x.tolist() == [1.0, 2.5]
    assert [float(v) for v in x] == [1.0, 2.5]
    assert 2.5 in x
    assert bool(x[0] < x[1])
    assert [7, 8, 9][minigrad.tensor(1, device="cuda")] == 8
    for convert in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.interp(x, x, x)):
        with pytest.raises(TypeError, match=r"this tensor is on cuda; copy it to the CPU first, with \.cpu\(\)\.numpy"):
            convert()


def test_values_can_be_assigned_from_any_device(gpu):
    x = minigrad.zeros(3, device="cuda")
    x.data = np.array([1.0, 2.0, 3.0])
    assert x.tolist() == [1.0, 2.0, 3.0]
    x[1:] = Tensor([5.0, 6.0])
    x[0] = 4
    assert x.tolist() == [4.0, 5.0, 6.0]
    x[x > 4.5] = minigrad.tensor([7.0, 8.0], device="cuda")
    assert x.copy_(Tensor([9.0])).tolist() == [9.0] * 3
    y = Tensor([0.0, 0.0, 0.0])
    y.data = x
    y[0] = x[1] * 2
    assert y.tolist() == [18.0, 9.0, 9.0]
    x += 1
    x *= minigrad.tensor([1.0, 2.0, 3.0], device="cuda")
    assert x.tolist() == [10.0, 20.0, 30.0]
    assert x.dtype == np.float32
    assert minigrad.add(x, [1, 2, 3]).tolist() == [11.0, 22.0, 33.0]
    assert (np.float64(2) * x).dtype == np.float32


# --- data ------------------------------------------------------------------------------------------------------------


def numbered(rows):
    return Dataset(np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2), np.arange(rows), "numbered")


def test_a_dataset_moves_and_comes_back(gpu):
    host = numbered(6)
    moved = host.to("cuda")
    assert (moved.device, host.device) == ("cuda", "cpu")
    assert moved.to("cuda") is moved
    assert moved.classes == 6
    assert_same(moved.subset([4, 1]).features, host.features[[4, 1]])
    assert_same(moved.cpu().labels, host.labels)
    with pytest.raises(ValueError, match="features hold nan at row 1, column 0"):
        Dataset(minigrad.tensor([[0.0, 1.0], [np.nan, 2.0]], device="cuda").data, [0, 1])
    with pytest.raises(ValueError, match="features and labels are on different devices"):
        Dataset(moved.features, host.labels)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_loader_gives_the_same_batches_on_every_device(gpu, where, device):
    expected = list(DataLoader(numbered(10), 3, shuffle=True, seed=2))
    loader = DataLoader(numbered(10).to(where), 3, shuffle=True, seed=2, device=device)
    # Read at once, and again when the loop is over: nothing that follows may write into a batch.
    found = [(x, y, x.tolist()) for x, y in loader]
    for (x, y, values), (features, labels) in zip(found, expected, strict=True):
        assert (x.device, y.device) == (device, device)
        assert_same(x, features)
        assert_same(y, labels)
        assert values == features.tolist()
    assert DataLoader(numbered(4).to(where)).device == where


def test_a_loader_that_is_left_early_goes_on_where_it_was(gpu):
    loader = DataLoader(numbered(10), 3, seed=2, device="cuda")
    for _, _ in loader:
        if loader.state_dict()["batch"] == 2:
            break
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (0, 2)
    again = DataLoader(numbered(10), 3, device="cuda")
    again.load_state_dict(state)
    assert [y.tolist() for _, y in again] == [[6, 7, 8], [9]]


# --- training --------------------------------------------------------------------------------------------------------


def digits_model():
    manual_seed(4)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))


def trained(device, steps=30):
    """A model trained by hand, and the losses: the same arithmetic as SGD's, written with tensors."""
    moons = data.moons(samples=120)
    net = digits_model().to(device)
    loader = DataLoader(moons, 20, shuffle=True, seed=1, device=device)
    losses = []
    while len(losses) < steps:
        for x, y in loader:
            net.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            with minigrad.no_grad():
                for p in net.parameters():
                    p -= 0.3 * p.grad
            losses.append(loss.item())
    return net, losses, moons


def test_a_training_on_the_gpu_is_that_on_the_cpu(gpu):
    (net, found, moons), (host, expected, _) = trained("cuda"), trained("cpu")
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    assert found[-1] < 0.7 * found[0]
    for p, q in zip(net.parameters(), host.parameters(), strict=True):
        assert_on_gpu(p)
        np.testing.assert_allclose(devices.to_host(p.data), q.data, rtol=1e-3, atol=1e-3)
    metrics = {"accuracy": training.correct}
    results = [training.evaluate(m, moons, nn.functional.cross_entropy, metrics) for m in (net, host)]
    np.testing.assert_allclose(results[0]["loss"], results[1]["loss"], rtol=1e-3)
    assert results[0]["accuracy"] == pytest.approx(results[1]["accuracy"], abs=0.02)


def test_a_loss_that_is_not_finite_is_explained_on_the_gpu(gpu):
    net = digits_model().cuda()
    with minigrad.no_grad():
        net[4].weight[0, 0] = np.nan
    x, labels = minigrad.ones(3, 2, device="cuda"), minigrad.tensor([0, 1, 1], device="cuda")
    error = explain_nonfinite(net, nn.functional.cross_entropy, x, labels, float("nan"), step=1, epoch=1)
    assert error.layer == "4"
    assert "had become so" in str(error)


def test_weights_are_saved_as_host_arrays_and_load_on_any_device(gpu, tmp_path):
    net = digits_model().cuda()
    training.save_weights(tmp_path / "w.safetensors", net)
    arrays, _ = training.read_tensors(tmp_path / "w.safetensors")
    assert all(type(array) is np.ndarray for array in arrays.values())
    manual_seed(9)
    for device in ("cpu", "cuda"):
        other = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
        other.to(device)
        training.load_weights(tmp_path / "w.safetensors", other)
        for p, q in zip(net.parameters(), other.parameters(), strict=True):
            assert q.device == device
            assert_same(q, p)


def test_a_checkpoint_holds_host_arrays_alone(gpu, tmp_path):
    class Holder:
        def state_dict(self):
            state = {"exp_avg": minigrad.tensor([1.0, 2.0], device="cuda").data}
            return {"model": digits_model().cuda().state_dict(), "optimizer": {"state": state}}

    path = training.save_checkpoint(tmp_path / "c.safetensors", Holder())
    found = training.read_checkpoint(path)
    assert found["optimizer"]["state"]["exp_avg"].tolist() == [1.0, 2.0]
    assert_same(found["model"]["0.weight"], digits_model()[0].weight)


# --- what there is ---------------------------------------------------------------------------------------------------


@pytest.fixture
def no_gpu(monkeypatch):
    """As if nobody had asked for a GPU yet."""
    monkeypatch.setattr(devices, "_cupy", None)
    before = set(devices.DEVICE_ARRAYS)
    devices.DEVICE_ARRAYS.clear()
    yield monkeypatch
    devices.DEVICE_ARRAYS.clear()
    devices.DEVICE_ARRAYS.update(before)


def fails(name, *words):
    """A function that raises CUDA's error of that name."""

    def function(*args):
        raise cupy_standin.CUDARuntimeError(f"{name}: {' '.join(words)}")

    return function


CASES = {
    "no driver": ({"driverGetVersion": lambda: 0}, "no NVIDIA driver was found", "install the driver of the GPU"),
    "old driver": (
        {"driverGetVersion": lambda: 11040, "getDeviceCount": fails("cudaErrorInsufficientDriver")},
        "the NVIDIA driver is too old: it supports CUDA 11.4, but CuPy was built for 12.9",
        "update the driver, or install CuPy for an older CUDA",
    ),
    "no GPU": ({"getDeviceCount": lambda: 0}, "CUDA finds no GPU", "check the output of nvidia-smi"),
    "hidden GPU": (
        {"getDeviceCount": fails("cudaErrorNoDevice", "no CUDA-capable device is detected")},
        "CUDA finds no GPU",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    "broken GPU": ({"getDeviceProperties": fails("cudaErrorUnknown")}, "CUDA does not start: cudaErrorUnknown", "smi"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_with_cuda_is_said_with_the_remedy(no_gpu, capsys, name):
    change, problem, remedy = CASES[name]
    runtime = types.SimpleNamespace(**{**vars(cupy_standin.runtime), **change})
    fake = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime), ndarray=cupy_standin.ndarray)
    no_gpu.setattr(gpu_module, "import_cupy", lambda: fake)
    assert cli.main(["devices"]) == 0
    printed = capsys.readouterr().out
    assert f"cuda: not available: {problem}" in printed
    assert remedy in printed
    with pytest.raises(gpu_module.DeviceError, match="cuda is not available: ") as caught:
        minigrad.zeros(3, device="cuda")
    assert problem in str(caught.value)
    assert cli.main(["train", "--device", "cuda", "--no-output"]) == 2
    assert f"minigrad train: cuda is not available: {problem}" in capsys.readouterr().err
    assert not devices.DEVICE_ARRAYS


def test_without_cupy_the_extra_is_named(no_gpu, capsys):
    def missing():
        raise ModuleNotFoundError("No module named 'cupy'", name="cupy")

    no_gpu.setattr(gpu_module, "import_cupy", missing)
    with pytest.raises(
        gpu_module.DeviceError, match=r"CuPy is not installed; in a checkout of minigrad: pip install '\.\[cuda\]'"
    ):
        Tensor([1.0]).to("cuda")
    cli.main(["devices"])
    assert (
        "cuda: not available: CuPy is not installed\n  in a checkout of minigrad: pip install '.[cuda]'"
        in capsys.readouterr().out
    )

    def broken():
        raise ImportError("libcudart.so.12: cannot open shared object file")

    no_gpu.setattr(gpu_module, "import_cupy", broken)
    assert "cannot be imported (libcudart.so.12" in gpu_module.cuda_status().problem


def test_what_was_found_is_listed_and_missing_kernels_are_told(gpu, capsys, monkeypatch):
    if gpu is not cupy_standin:
        pytest.skip("another machine has other GPUs")
    monkeypatch.setattr(gpu_module, "import_cupy", lambda: cupy_standin)
    monkeypatch.setattr(gpu_module.importlib.util, "find_spec", lambda name: None)
    cli.main(["devices"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "cuda: Pretended GPU, which is used",
        "CUDA 13.1 by its driver, CuPy built for 12.9",
        "cuda: no training: numba-cuda, which compiles the update kernels, is not installed",
        "  in a checkout of minigrad: pip install '.[cuda]'",
    ]
    assert cli.main(["train", "--device", "cuda", "--no-output"]) == 2
    assert "cuda is not available: numba-cuda, which compiles" in capsys.readouterr().err
    monkeypatch.setattr(gpu_module.importlib.util, "find_spec", lambda name: object())
    cli.main(["devices"])
    assert len(capsys.readouterr().out.splitlines()) == 4

    def broken(name):
        raise AttributeError("module 'numba.cuda.types' has no attribute 'NPDatetime'")

    monkeypatch.setattr(gpu_module.importlib, "import_module", broken)
    with pytest.raises(gpu_module.DeviceError, match=r"numba-cuda, .*, cannot be imported \(module 'numba.cuda.types'"):
        devices.require_updates()
