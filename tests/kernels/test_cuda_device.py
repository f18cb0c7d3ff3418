"""Optimizers, clips and training on a GPU, compared with the CPU; all are skipped where there is none.

The same kernels run in `test_cuda_simulator.py` and are compiled in `test_cuda_ptx.py` without one. A GPU fuses
multiplications with additions, so that float32 agrees to a few units in the last place and not to the last bit.
"""

import numpy as np
import pytest
from optim_registry import VARIANTS
from optim_tools import leaves, network

from minigrad import Tensor, clipping, nn, optim, tensor
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu
from minigrad.kernels.cuda_layout import CudaLayout
from minigrad.kernels.plan import Plan

pytestmark = pytest.mark.gpu
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# A matrix of several chunks, sizes beside those of a block, a scalar, nothing.
SHAPES = {"a.weight": (37, 501), "a.bias": (37,), "b.weight": (65_537,), "c": (), "e": (0,), "d.weight": (1001, 3)}


@pytest.fixture(autouse=True, scope="module")
def needs_a_gpu():
    problem = gpu.cuda_status().problem or gpu.update_problem()
    if problem:
        pytest.skip(f"no GPU: {problem}")


def arrays(seed, dtype, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: (scale * rng.normal(size=shape)).astype(dtype) for name, shape in SHAPES.items()}


def run(device, make, dtype, steps=4, missing=()):
    """Parameters, state and reports after some steps, as arrays on the CPU."""
    params = {name: p.to(device).detach().requires_grad_() for name, p in leaves(arrays(0, dtype), dtype).items()}
    optimizer = make(list(params.items()))
    for step in range(steps):
        for name, gradient in arrays(step + 1, dtype).items():
            absent = (name, step) in missing
            params[name].grad = None if absent else Tensor(devices.to_device(gradient, device))
        optimizer.step()
    found = {name: devices.to_host(p.data) for name, p in params.items()}
    for name, slots in optimizer.state.items():
        found |= {f"{name} {slot}": devices.to_host(x) for slot, x in slots.items() if slot != "step"}
    return found, optimizer


def assert_close(found, expected, dtype):
    relative, absolute = (1e-12, 1e-13) if dtype == np.float64 else (2e-6, 5e-7)
    for name, array in expected.items():
        # A few units in the last place of the largest numbers involved: a difference may cancel what both have.
        largest = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(found[name], array, err_msg=name, rtol=relative, atol=absolute * largest)


@DTYPES
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_every_optimizer_updates_as_on_the_cpu_and_to_the_same_bits_every_time(entry, variant, dtype):
    def make(params):
        return entry.make(params, **entry.variants[variant].options)

    missing = {("a.bias", 1), ("b.weight", 2)}
    found, optimizer = run("cuda", make, dtype, missing=missing)
    assert isinstance(getattr(optimizer, "base", optimizer)._layout, CudaLayout)
    assert_close(found, run("cpu", make, dtype, missing=missing)[0], dtype)
    again = run("cuda", make, dtype, missing=missing)[0]
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in again.items()}


CLIPS = {
    "global": lambda: clipping.by_global_norm(1.0),
    "1": lambda: clipping.by_norm(2.0, "tensor", 1),
    "inf": lambda: clipping.by_norm(0.7, "layer", np.inf),
    "3": lambda: clipping.by_norm(0.9, "tensor", 3),
    "unit": lambda: clipping.by_norm(0.5, "unit"),
    "value": lambda: clipping.by_value(-0.3, 0.4),
    "adaptive": lambda: clipping.adaptive(0.3, exclude=["b"]),
    "two": lambda: [clipping.by_norm(0.5, "unit"), clipping.by_global_norm(0.2)],
}


@DTYPES
@pytest.mark.parametrize("clip", CLIPS)
def test_every_clip_and_its_report(clip, dtype):
    def make(params):
        return optim.Adam(params, lr=0.01, eps=1e-2, clip=CLIPS[clip]())

    found, on_gpu = run("cuda", make, dtype, steps=2)
    expected, on_cpu = run("cpu", make, dtype, steps=2)
    assert_close(found, expected, dtype)
    for one, other in zip(on_cpu.clip_reports(), on_gpu.clip_reports(), strict=True):
        np.testing.assert_allclose(other.norm_before, one.norm_before, rtol=1e-12 if dtype == np.float64 else 1e-6)
        np.testing.assert_array_equal(other.acted, one.acted)


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(policy, value):
    params = {"w": tensor(np.ones((300, 400), np.float32), device="cuda", requires_grad=True)}
    optimizer = optim.Adam(params.items(), clip=clipping.by_global_norm(1.0, nonfinite=policy))
    bad = np.ones((300, 400), np.float32)
    bad[299, 399] = value
    params["w"].grad = Tensor(devices.to_device(bad, "cuda"))
    if policy == "raise":
        with pytest.raises(FloatingPointError, match="NaN or infinite in 'w'"):
            optimizer.step()
    else:
        optimizer.step()
    assert not optimizer.stepped
    assert optimizer.state["w"]["step"] == 0
    assert (devices.to_host(params["w"].data) == 1).all()
    params["w"].grad = Tensor(devices.to_device(np.ones_like(bad), "cuda"))
    optimizer.step()
    assert optimizer.stepped


def test_clipping_in_place():
    norms = {}
    for device in ("cpu", "cuda"):
        p = tensor(np.arange(12.0, dtype=np.float32).reshape(3, 4), device=device, requires_grad=True)
        (p * p).sum().backward()
        norms[device] = clipping.clip_grad_norm_([p], 1.0).item(), devices.to_host(p.grad.data)
    assert norms["cuda"][0] == pytest.approx(norms["cpu"][0], rel=1e-12)
    np.testing.assert_allclose(norms["cuda"][1], norms["cpu"][1], rtol=1e-6)


def training(device, optimizer_of, steps=20):
    model = network().to(device)
    optimizer = optimizer_of(model.named_parameters())
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 3, 64)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(tensor(x, device=device)), tensor(y, device=device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, optimizer


@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB", "RAdam"])
def test_training_goes_as_on_the_cpu_and_is_repeatable(name):
    def optimizer_of(params):
        return getattr(optim, name)(params, lr=0.05, clip=clipping.by_global_norm(1.0))

    losses, optimizer = training("cuda", optimizer_of)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, training("cpu", optimizer_of)[0], rtol=1e-4)
    assert training("cuda", optimizer_of)[0] == losses
    state = optimizer.state_dict()
    other = training("cuda", optimizer_of, steps=1)[1]
    other.load_state_dict(state)
    assert other.state_dict()["param_groups"] == state["param_groups"]


def test_a_step_of_a_toy_model_is_one_launch():
    _, optimizer = training("cuda", lambda params: optim.AdamW(params, lr=0.01), steps=1)
    assert optimizer._layout.launches == 1


def test_a_step_follows_the_stream_of_the_arrays():
    cupy = devices.library()
    stream = cupy.cuda.Stream(non_blocking=True)
    p = tensor(np.zeros(1 << 20, np.float32), device="cuda", requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    cupy.cuda.Device().synchronize()  # a stream that is not blocking does not wait for the copies made until here
    with stream:
        for _ in range(10):
            p.grad = Tensor(cupy.ones(1 << 20, np.float32))
            optimizer.step()
        stream.synchronize()
    assert (devices.to_host(p.data) == -10).all()


def test_more_memory_than_there_is_is_one_clear_error_and_the_host_goes_on():
    p = tensor(np.ones(8, np.float32), device="cuda", requires_grad=True)
    optimizer = optim.Adam([("p", p)])
    p.grad = Tensor(devices.to_device(np.ones(8, np.float32), "cuda"))
    optimizer.step()
    before = devices.to_host(p.data)
    row = tensor(np.ones((1, 1 << 20), np.float32), device="cuda")
    with pytest.raises(gpu.DeviceError, match="ran out of memory"):
        row.reshape(1 << 20, 1) * row  # four terabytes
    np.testing.assert_array_equal(devices.to_host(p.data), before)
    optimizer.step()
    assert optimizer.state["p"]["step"] == 2


def test_elements_beyond_the_reach_of_32_bits_are_updated():
    cupy = devices.library()
    size = 2**31 + 5000
    if cupy.cuda.runtime.memGetInfo()[0] < 6 * 4 * size:
        pytest.skip("needs 52 GB of the GPU's memory")
    p = Tensor(cupy.zeros(size, np.float32), requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, clip=clipping.by_norm(1e9, "tensor"))
    p.grad = Tensor(cupy.ones(size, np.float32))
    optimizer.step()
    assert float(p.data.min()) == float(p.data.max()) == -1
    assert optimizer.clip_reports()[0].norm_before.item() == pytest.approx(size**0.5, rel=1e-14)
    del p, optimizer
    devices.release_memory()


def test_the_plan_is_that_of_the_device():
    p = tensor(np.ones(8, np.float32), device="cuda", requires_grad=True)
    optimizer = optim.Adam([p])
    assert "from numba import cuda" in str(optimizer.plan())
    assert optimizer.plan().sources == [kernel.source for kernel in optimizer.prepare().kernels]
    assert optimizer.plan().plan.elements == Plan(optimizer._elements()).elements
