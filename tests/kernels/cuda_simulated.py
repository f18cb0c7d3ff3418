"""What `test_cuda_simulator.py` runs in a process of its own: every update as a CUDA kernel, in Numba's simulator.

The arrays are NumPy's; only the kernels and what launches them are those of a GPU. The simulator runs each thread of
the GPU as a thread of Python, so blocks of threads and chunks are made small: a small tensor then has several chunks,
whole tiles and a rest, as a large one has on a GPU.
"""

import json
import os
import re
import sys
import types

import cupy_standin
import numpy as np
import pytest
from numba.cuda.simulator import kernelapi
from optim_plain import assert_same_numbers, step_and_compare
from optim_registry import ELEMENT_WISE, VARIANTS, entry_named
from optim_tools import Chain, bits, leaves, network, set_gradients, values

from benchmarks import cuda_step
from minigrad import clipping, optim, tensor
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu
from minigrad.kernels import cuda, cuda_layout, program
from minigrad.optim import apply_update, norm, rule
from minigrad.rules import exp, log, maximum, minimum, sign, sqrt

assert os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", "set NUMBA_ENABLE_CUDASIM=1 before Numba is imported"

sys.setswitchinterval(1e-5)  # threads that wait for each other change places often
cuda.THREADS, cuda.UNIT_THREADS, cuda.COMBINE_THREADS = 4, 2, 4
cuda_layout.CHUNK, cuda_layout.MOST_BLOCKS = 24, 3


def shared_array(self, shape, dtype):
    """Numba's own looks whether an array is there, then makes one: two threads may do so at once, and get two."""
    caller = sys._getframe(1)
    return self._allocations.setdefault((caller.f_code.co_filename, caller.f_lineno), np.empty(shape, dtype))


kernelapi.FakeCUDAShared.array = shared_array

SHAPES = {"a.weight": (2, 13), "a.bias": (3,), "b.weight": (41,), "c": (), "e": (0,)}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
load_source = cuda.load_source


def precise(source):
    """The namespace of generated source, in which functions keep float32, as on a GPU; Python's own make it float64."""
    namespace = load_source(source)
    functions = {name: getattr(np, name) for name in ("sqrt", "exp", "log", "isfinite")}
    # Where warnings are counted: made by the first one, it would change the namespace under threads that look into it.
    namespace.setdefault("__warningregistry__", {})
    namespace["math"] = types.SimpleNamespace(**functions, pow=np.power)
    return namespace


@pytest.fixture(autouse=True)
def on_cuda(monkeypatch):
    """Programs are for the simulated GPU; `on_cpu` inside a test is for the other side of a comparison."""
    monkeypatch.setattr(cuda, "load_source", precise)
    monkeypatch.setattr(program, "backend_of", lambda array: program.backend("cuda"))
    with np.errstate(all="ignore"):
        yield


def arrays(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def both(monkeypatch, make, dtype, steps=3, shapes=SHAPES, grads=None):
    """The same steps on the CPU and in the simulator: pairs of (optimizer, parameters)."""
    made = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(program, "backend_of", lambda array, device=device: program.backend(device))
        params = leaves(arrays(0, shapes), dtype)
        optimizer = make(params)
        for step in range(steps):
            set_gradients(params, arrays(step + 1, shapes) if grads is None else grads(step))
            optimizer.step()
        made.append((optimizer, params))
    return made


def assert_close(made, exact):
    """Parameters and state agree: to the last bit, or to a few units in the last place where norms were summed."""
    (cpu, expected), (gpu, actual) = made
    assert type(getattr(gpu, "base", gpu)._layout) is cuda_layout.CudaLayout
    for name, parameter in expected.items():
        slots = {slot: (cpu.state[name][slot], gpu.state[name][slot]) for slot in cpu.state[name] if slot != "step"}
        for one, other in [(parameter.data, actual[name].data), *slots.values()]:
            if exact:
                assert_same_numbers(other, one)
            else:
                np.testing.assert_allclose(other, one, rtol=2e-12 if one.dtype == np.float64 else 3e-7, atol=1e-12)
        assert cpu.state[name]["step"] == gpu.state[name]["step"]


# The optimizers


@DTYPES
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_an_update_is_that_of_the_cpu(monkeypatch, entry, variant, dtype):
    options = entry.variants[variant].options
    made = both(monkeypatch, lambda params: entry.make(list(params.items()), **options), dtype)
    assert_close(made, exact=entry in ELEMENT_WISE)


@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_an_update_is_that_of_the_plain_rule(entry, variant):
    params = leaves(arrays(0), np.float32)
    optimizer = entry.make(list(params.items()), **entry.variants[variant].options)
    for step in range(3):
        set_gradients(params, arrays(step + 1))
        step_and_compare(optimizer, params)


@rule(state=("kept",))
def every_function(update, param, kept, *, rate, order):
    kept = maximum(exp(-abs(update)), log(1.0 + kept * kept)) + sign(param) * minimum(kept, rate)
    update = max(sqrt(abs(update)), 0.1) ** order - min(update, param) * abs(kept) ** 2
    return update, kept


@DTYPES
def test_every_function_of_a_rule(monkeypatch, dtype):
    def make(params):
        return Chain(params, every_function, apply_update, lr=0.1, rate=0.3, order=1.7)

    made = both(monkeypatch, make, dtype)
    (_, expected), (_, actual) = made
    for name in expected:
        tolerance = {"rtol": 1e-12, "atol": 1e-13} if dtype is np.float64 else {"rtol": 2e-6, "atol": 1e-6}
        np.testing.assert_allclose(actual[name].data, expected[name].data, **tolerance)


def test_a_parameter_without_a_gradient_is_left_alone(monkeypatch):
    def grads(step):
        return {name: None if (name == "b.weight") == (step == 1) else g for name, g in arrays(step + 1).items()}

    make = lambda params: optim.Adam(list(params.items()), lr=0.05)
    assert_close(both(monkeypatch, make, np.float32, grads=grads), exact=True)


# Norms and clips


CLIPS = {
    "global": clipping.by_global_norm(1.0),
    "sum of absolute values": clipping.by_norm(2.0, "tensor", 1),
    "largest": clipping.by_norm(0.7, "layer", np.inf),
    "cubes": clipping.by_norm(0.9, "tensor", 3),
    "units": clipping.by_norm(0.5, "unit"),
    "value": clipping.by_value(-0.3, 0.4),
    "adaptive": clipping.adaptive(0.3, exclude=["b"]),
    "units and more": [clipping.by_norm(0.5, "unit"), clipping.by_norm(0.2, "global", np.inf)],
}


@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_and_its_report(monkeypatch, clip):
    shapes = {name: SHAPES[name] for name in ("a.weight", "b.weight", "c")}
    make = lambda params: optim.SGD(list(params.items()), lr=0.5, clip=CLIPS[clip])
    made = both(monkeypatch, make, np.float64, steps=1, shapes=shapes)
    assert_close(made, exact=False)
    for one, other in zip(*(optimizer.clip_reports() for optimizer, _ in made), strict=True):
        assert (one.clip, one.ranges) == (other.clip, other.ranges)
        assert one.acted.any()
        for attribute in ("norm_before", "norm_after", "factor", "acted"):
            np.testing.assert_allclose(getattr(other, attribute), getattr(one, attribute), rtol=1e-12)


def test_a_norm_over_two_dtypes_and_two_groups(monkeypatch):
    def make(params):
        params["b.weight"].data = params["b.weight"].data.astype(np.float64)
        groups = [{"params": [(n, p)], "max_norm": 0.5 + 0.1 * i} for i, (n, p) in enumerate(params.items())]
        return optim.SGD(groups, lr=0.5, clip=clipping.by_norm(1.0, "layer"))

    shapes = {"l.weight": (2, 9), "b.weight": (30,), "l.bias": (2,)}
    made = both(monkeypatch, make, np.float32, steps=1, shapes=shapes)
    assert_close(made, exact=False)
    one, other = (optimizer.clip_reports()[0] for optimizer, _ in made)
    np.testing.assert_allclose(other.norm_after, one.norm_after, rtol=1e-12)


def test_a_norm_has_the_same_bits_for_any_number_of_blocks_and_beside_any_other(monkeypatch):
    found = set()
    for blocks, clip in ((1, "global"), (7, "global"), (3, "units and more")):
        monkeypatch.setattr(cuda_layout, "MOST_BLOCKS", blocks)
        params = leaves({"b": arrays(3)["b.weight"]}, np.float32)
        clips = [clipping.by_norm(9.0, "unit", nonfinite="propagate"), clipping.by_norm(1.0, "tensor")]
        optimizer = optim.SGD(list(params.items()), lr=0.5, clip=clips if clip != "global" else clips[1])
        set_gradients(params, {"b": arrays(4)["b.weight"] * 1e-3})
        optimizer.step()
        layout = optimizer._layout
        found.add(layout.norm_values(layout.plan.norms[-1]).tobytes())
    assert len(found) == 1


def test_clipping_in_place(monkeypatch):
    total = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(program, "backend_of", lambda array, device=device: program.backend(device))
        params = leaves(arrays(0), np.float32)
        set_gradients(params, arrays(1))
        norm_before = clipping.clip_grad_norm_(params.values(), 1.0).item()
        total[device] = norm_before, [p.grad.numpy() for p in params.values()]
    assert total["cuda"][0] == pytest.approx(total["cpu"][0], rel=1e-14)
    for one, other in zip(total["cpu"][1], total["cuda"][1], strict=True):
        np.testing.assert_allclose(other, one, rtol=3e-7)


@pytest.mark.parametrize("policy", ["raise", "skip", "propagate"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_norm_that_is_not_finite(policy, value):
    params = leaves({"w": np.ones((2, 9)), "v": np.ones(3)}, np.float32)
    optimizer = optim.Adam(list(params.items()), clip=clipping.by_norm(1.0, "tensor", nonfinite=policy))
    good = {"w": np.ones((2, 9)), "v": np.full(3, 0.1)}
    for step in range(3):
        set_gradients(params, good | ({"v": np.array([0.1, value, 0.1])} if step == 1 else {}))
        before = bits([optimizer.state_dict()["state"], values(params)])
        if step != 1 or policy == "propagate":
            optimizer.step()
            assert optimizer.stepped
        elif policy == "raise":
            with pytest.raises(FloatingPointError, match=r"NaN or infinite in 'v'; nothing was changed"):
                optimizer.step()
        else:
            optimizer.step()
        if step == 1 and policy != "propagate":
            assert not optimizer.stepped
            assert bits([optimizer.state_dict()["state"], values(params)]) == before
    assert optimizer.skipped == (policy == "skip")
    assert np.isnan(params["v"].data).any() == (policy == "propagate")
    assert np.isfinite(params["w"].data).all()


# A model on the GPU


@pytest.fixture
def pretended(monkeypatch):
    """The device "cuda" with the stand-in for CuPy; the simulator gets at the memory of its arrays."""
    before = devices._cupy, set(devices.DEVICE_ARRAYS)
    devices.load(cupy_standin)
    monkeypatch.setattr(cuda_layout, "_shared", lambda array: getattr(array, "_host", array))
    monkeypatch.setattr(program, "backend_of", lambda array: program.backend(devices.device_of(array)))
    yield
    devices._cupy = before[0]
    devices.DEVICE_ARRAYS.clear()
    devices.DEVICE_ARRAYS.update(before[1])


def trained(device, make, steps=2):
    model = network().to(device)
    optimizer = make(model.named_parameters())
    for step in range(steps):
        optimizer.zero_grad()
        x = np.random.default_rng(step).normal(size=(6, 4)).astype(np.float32)
        (model(tensor(x, device=device)) ** 2).sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.Lookahead(optim.Adam(params, lr=0.01, clip=clipping.by_global_norm(0.5)), k=2),
        lambda params: optim.LAMB(params, lr=0.01, clip=[clipping.by_value(0.2), clipping.by_norm(0.4, "layer")]),
    ],
    ids=["Lookahead, Adam, clip", "LAMB, clips"],
)
def test_training_a_model_on_the_device(pretended, make):
    (expected, one), (model, other) = trained("cpu", make), trained("cuda", make)
    assert {parameter.device for parameter in model.parameters()} == {"cuda"}
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.cpu().data, dict(expected.named_parameters())[name].data, rtol=1e-5)
    for a, b in zip(one.clip_reports(), other.clip_reports(), strict=True):
        np.testing.assert_allclose(b.norm_after, a.norm_after, rtol=1e-5)
    # A state dict goes from device to device.
    again = make(network().to("cuda").named_parameters())
    again.load_state_dict(one.state_dict())
    one.load_state_dict(other.state_dict())
    assert bits(one.state_dict()["param_groups"]) == bits(again.state_dict()["param_groups"])
    assert "CUDA update kernels" in str(other.plan())


def test_the_benchmark_measures_what_it_says(pretended, monkeypatch, tmp_path):
    clock = iter(range(10**6))
    event = types.SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    fake = types.SimpleNamespace(Event=lambda: event, get_elapsed_time=lambda begin, end: float(next(clock) + 20))
    for name, value in {
        "cuda": fake,
        "ones": lambda size, dtype: cupy_standin.ndarray(np.ones(size, dtype)),
        "empty": lambda size, dtype: cupy_standin.ndarray(np.ones(size, dtype)),
        "copyto": lambda target, source: None,
    }.items():
        monkeypatch.setattr(cupy_standin, name, value, raising=False)
    monkeypatch.setattr(cuda_step.gpu, "cuda_status", lambda: gpu.CudaStatus(("pretended",), "13.0", "13.0"))
    monkeypatch.setattr(cuda_step.gpu, "update_problem", lambda: "")
    monkeypatch.setattr(cuda_step, "version", {"numba-cuda": "0.0"}.get)
    monkeypatch.setattr(cuda_step, "SIZES", (60, 120))
    monkeypatch.setattr(cuda_step, "ALGORITHMS", {name: cuda_step.ALGORITHMS[name] for name in ("SGD", "LAMB")})
    assert cuda_step.main(["--quick", "--output", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    launches = {row["update"]: row["launches"] for row in found["rows"]}
    assert launches == {"Adam": 1, "SGD": 1, "LAMB": 3, "Adam, global norm": 3, "Adam, adaptive": 3}
    assert all(row["of the copy"]["median"] > 0 and row["GB/s"] > 0 for row in found["rows"])
    assert found["versions"] | {"cupy": cupy_standin.__version__, "numba-cuda": "0.0"} == found["versions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])


def test_the_benchmark_keeps_the_gpu_busy_through_a_turn(monkeypatch):
    made, done = [], []
    event = types.SimpleNamespace(record=lambda: None, synchronize=lambda: done.append(len(made)))
    # A call takes 4 ms of the GPU, 50 ms where it is the first that the host hands over.
    elapsed = lambda begin, end: 46.0 * (len(done) > 1) + 4.0 * (done[-1] - (done[-2] if len(done) > 1 else 3))
    library = types.SimpleNamespace(cuda=types.SimpleNamespace(Event=lambda: event, get_elapsed_time=elapsed))
    monkeypatch.setattr(cuda_step.devices, "library", lambda: library)
    times = cuda_step.timed({"step": lambda: made.append(0)}, 2)
    assert np.diff(done).tolist() == [5, 5]  # 20 ms in a turn
    assert [value for burst in times["step"].bursts for value in burst] == pytest.approx([66e-3 / 5] * 2)


# Launches


def test_a_step_of_many_tensors_is_one_launch():
    params = leaves({f"p{i}": np.ones(2) for i in range(40)}, np.float32)
    optimizer = optim.AdamW(list(params.items()), lr=0.1)
    set_gradients(params, {name: np.ones(2) for name in params})
    optimizer.step()
    assert optimizer._layout.launches == 1
    assert optimizer._layout._launches[0][0].blocks == min(-(-80 // cuda_layout.CHUNK), cuda_layout.MOST_BLOCKS)


def test_scalars_are_copied_when_they_change_and_what_was_sent_stays_as_it_is(monkeypatch):
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    set_gradients(params, {"w": np.ones(3)})
    optimizer.step()
    sent, send = [], cuda_layout._send
    monkeypatch.setattr(cuda_layout, "_send", lambda host, *rest: (sent.append((host, host.copy())), send(host, *rest)))
    optimizer.step()
    assert sent == []
    for lr in (0.2, 0.3, 0.4):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    assert len(sent) == 3
    np.testing.assert_allclose(params["w"].data, -0.1, rtol=1e-5)
    # A GPU may read them later: then they must hold the same, in memory that nobody else was given.
    for host, values_then in sent:
        np.testing.assert_array_equal(host, values_then)
        assert any(host is kept for kept in optimizer._layout._sent)


def test_scalars_that_were_sent_are_kept_until_the_gpu_has_surely_read_them(monkeypatch):
    under_way, lost, send = [], [], cuda_layout._send
    monkeypatch.setattr(cuda_layout, "MOST_SENT", 3)
    monkeypatch.setattr(cuda_layout.cuda, "synchronize", under_way.clear)
    monkeypatch.setattr(cuda_layout, "_send", lambda host, *rest: (under_way.append(host), send(host, *rest)))
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.Adam(list(params.items()), lr=0.1)
    for _ in range(20):
        set_gradients(params, {"w": np.ones(3)})
        optimizer.step()
        kept = optimizer._layout._sent
        assert len(kept) <= 3
        lost += [host for host in under_way if not any(host is one for one in kept)]
    assert under_way
    assert lost == []


def test_scalars_that_could_not_be_sent_are_sent_by_the_next_step(monkeypatch):
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.SGD(list(params.items()), lr=0.5)

    def step():
        set_gradients(params, {"w": np.ones(3)})
        optimizer.step()

    step()
    optimizer.param_groups[0]["lr"] = 0.25

    def fail(*arguments):
        raise raised("CudaAPIError", "[2] CUDA_ERROR_OUT_OF_MEMORY")

    with monkeypatch.context() as broken:
        broken.setattr(cuda_layout, "_send", fail)
        with pytest.raises(gpu.DeviceError):
            step()
    step()
    np.testing.assert_array_equal(params["w"].data, 0.25)


@pytest.mark.parametrize("kept", [True, False])
def test_memory_that_cupy_keeps_is_used_for_tables(monkeypatch, kept):
    """Arrays that are gone leave their memory with CuPy, so Numba may find none though there is some."""
    full, to_device = [True], cuda_layout.cuda.to_device

    def placed(*arguments):
        if full[0]:
            raise raised("CudaAPIError", "[2] CUDA_ERROR_OUT_OF_MEMORY")
        return to_device(*arguments)

    pool = types.SimpleNamespace(free_all_blocks=lambda: full.insert(0, not kept))
    monkeypatch.setattr(devices, "_cupy", types.SimpleNamespace(get_default_memory_pool=lambda: pool))
    monkeypatch.setattr(cuda_layout.cuda, "to_device", placed)
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    set_gradients(params, {"w": np.ones(3)})
    if kept:
        optimizer.step()
        np.testing.assert_allclose(params["w"].data, 0.9)
    else:
        with pytest.raises(gpu.DeviceError, match=r"^tables of an optimizer: the GPU ran out of memory"):
            optimizer.step()
        np.testing.assert_array_equal(params["w"].data, 1.0)


class Compiled:
    """A kernel that is compiled, as on a GPU: in the simulator none is."""

    def __init__(self, kernel, problem=None):
        self.kernel, self.problem, self.py_func, self.bound = kernel, problem, kernel, 0

    def typeof_pyval(self, value):
        return type(value)

    def compile(self, types):
        if self.problem:
            raise self.problem
        return self

    def bind(self):
        self.bound += 1

    def __getitem__(self, configuration):
        return self.kernel[configuration]


def compiled(monkeypatch, problem_of):
    """Kernels that are compiled; the list of them, in the order of their launches."""
    made, launch = [], cuda_layout.Launch.__init__

    def init(self, kernel, *rest):
        made.append(Compiled(kernel, problem_of(len(made))))
        launch(self, made[-1], *rest)

    monkeypatch.setattr(cuda_layout.Launch, "__init__", init)
    return made


def test_every_kernel_is_on_the_gpu_before_the_first_one_changes_anything(monkeypatch):
    made = compiled(monkeypatch, lambda number: raised("NvvmError", "no", "numba.cuda.x") if number == 1 else None)
    params = leaves({"w": np.ones((2, 9))}, np.float32)
    optimizer = optim.LAMB(list(params.items()))
    optimizer.prepare()  # the kernels' source, which has cuda.jit in it
    monkeypatch.setattr(cuda_layout.cuda, "jit", lambda kernel: Compiled(kernel, raised("E", "libnvvm", "numba.cuda")))
    set_gradients(params, {"w": np.ones((2, 9))})
    before = bits([optimizer.state_dict(), values(params)])
    with pytest.raises(gpu.DeviceError, match=r"^kernels of an optimizer: some of NVIDIA's compilers"):
        optimizer.step()
    assert sorted(kernel.bound for kernel in made) == [0, 1, 1]
    assert bits([optimizer.state_dict(), values(params)]) == before


def test_a_kernel_that_cannot_be_kept_on_the_disk_is_compiled_in_memory(monkeypatch):
    made = compiled(monkeypatch, lambda number: OSError(28, "No space left on device"))
    in_memory = []
    params = leaves({"w": np.ones((2, 9))}, np.float32)
    optimizer = optim.LAMB(list(params.items()))
    optimizer.prepare()
    monkeypatch.setattr(cuda_layout.cuda, "jit", lambda kernel: (in_memory.append(Compiled(kernel)), in_memory[-1])[1])
    set_gradients(params, {"w": np.ones((2, 9))})
    optimizer.step()
    assert optimizer.stepped
    assert [kernel.bound for kernel in in_memory] == [1] * len(made) == [1] * 3


def test_tables_are_there_before_any_stream_reads_them(monkeypatch):
    order, run = [], cuda_layout.CudaLayout._stream
    monkeypatch.setattr(cuda_layout.cuda, "synchronize", lambda: order.append("synchronize"))
    monkeypatch.setattr(cuda_layout.CudaLayout, "_stream", lambda self: (order.append("stream"), run(self))[1])
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    set_gradients(params, {"w": np.ones(3)})
    optimizer.step()
    optimizer.step()
    assert order == ["synchronize", "stream", "stream"]


def test_what_an_argument_of_a_launch_is_is_found_out_once(monkeypatch):
    looks, kind = [], cuda_layout.cuda.In
    look = kind.to_device
    monkeypatch.setattr(kind, "to_device", lambda self, *rest: (looks.append(self), look(self, *rest))[1])
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.Adam(list(params.items()), clip=clipping.by_global_norm(1.0))
    for _ in range(2):
        set_gradients(params, {"w": np.ones(3)})
        optimizer.step()
    launches = [launch for of_pass in optimizer._layout._launches for launch in of_pass]
    resident = [one for launch in launches for one in launch.arguments if isinstance(one, kind)]
    assert looks == resident != []


def raised(kind, text, module="numba.cuda.cudadrv.driver"):
    """An error as a library under the kernels raises it; launches go through cuda.core."""
    return type(kind, (Exception,), {"__module__": module})(text)


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (raised("CudaAPIError", "[700] CUDA_ERROR_ILLEGAL_ADDRESS"), "lost", "start a new process"),
        (raised("CudaAPIError", "[2] CUDA_ERROR_OUT_OF_MEMORY"), "memory", "use smaller batches"),
        (raised("CUDAError", "CUDA_ERROR_UNKNOWN: an unknown error", "cuda.core"), "lost", "start"),
        (raised("CUDAError", "CUDA_ERROR_LAUNCH_TIMEOUT: took too long", "cuda.core"), "lost", "start"),
        (raised("CUDARuntimeError", "cudaErrorMisalignedAddress: misaligned", "cupy_backends.x"), "lost", "start"),
        (raised("CUDAError", "CUDA_ERROR_INVALID_IMAGE: not valid", "cuda.core"), "driver", "driver is"),
        (raised("LinkerError", "[222] CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), "driver", "driver is too old"),
        (raised("NvvmSupportError", "libNVVM cannot be found"), "compiler", r"pip install '\.\[cuda\]'"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_step_that_cannot_be_launched_is_one_clear_error_and_leaves_ages_and_counters(
    monkeypatch, error, reason, advice
):
    params = leaves({"w": np.ones(3)}, np.float32)
    optimizer = optim.Adam(list(params.items()))
    set_gradients(params, {"w": np.ones(3)})
    optimizer.step()

    def fail(self, stream):
        raise error

    before = bits([optimizer.state_dict(), optimizer.steps])
    with monkeypatch.context() as broken:
        broken.setattr(cuda_layout.Launch, "configure", fail)
        with pytest.raises(gpu.DeviceError, match=f"^optimizer step: .*{advice}") as caught:
            optimizer.step()
    assert caught.value.reason == reason
    assert bits([optimizer.state_dict(), optimizer.steps]) == before
    assert not optimizer.stepped
    optimizer.step()
    assert optimizer.state["w"]["step"] == 2


def test_names_that_a_kernel_uses_can_be_names_of_a_rule(monkeypatch):
    @rule(state=("blocks", "old"))
    def awkward(update, param, blocks, old, total_norm, *, i, constants, new_1, stopped, end):
        tile = i * update + constants
        thread = tile * new_1
        blocks = blocks + thread * stopped
        old = old + end
        update = update + blocks + old + total_norm
        return update, blocks, old

    options = {"i": 0.5, "constants": 0.25, "new_1": 2.0, "stopped": 0.125, "end": 0.5}

    def make(params):
        return Chain(params, norm("grad", "tensor", name="total_norm"), awkward, apply_update, lr=0.1, **options)

    assert_close(both(monkeypatch, make, np.float64, steps=2, shapes={"w": (5, 5)}), exact=False)


def test_names_of_the_functions_of_norms_can_be_names_of_options(monkeypatch):
    @rule
    def awkward(update, param, *, add_2, fold_sum, add_inf, fold_inf, add_1, add_p):
        update = (update * add_2 + param * fold_sum) * add_inf + (param * fold_inf + add_1) * add_p
        return update

    @rule
    def shrink(update, sum_norm, max_norm):
        update = update / (1.0 + sum_norm + max_norm)
        return update

    options = dict.fromkeys(("add_2", "fold_sum", "add_inf", "fold_inf", "add_1", "add_p"), 0.5)
    norms = norm("update", "tensor", name="sum_norm"), norm("update", "tensor", np.inf, name="max_norm")

    def make(params):
        return Chain(params, awkward, *norms, shrink, apply_update, lr=0.1, **options)

    assert_close(both(monkeypatch, make, np.float64, steps=2, shapes={"w": (5, 5)}), exact=False)


def test_lookahead_goes_on_in_the_same_kernels():
    entry = entry_named("Lookahead")
    params = leaves(arrays(0), np.float64)
    optimizer = entry.make(list(params.items()), k=2, momentum="reset", lr=0.1)
    for step in range(4):
        set_gradients(params, arrays(step + 1))
        step_and_compare(optimizer, params)
    assert isinstance(optimizer.periodic[0]._layout, cuda_layout.CudaLayout)


@DTYPES
def test_a_chain_that_only_keeps_state_runs_in_kernels_of_its_own(monkeypatch, dtype):
    @rule(state=("average",))
    def average_weights(param, average, *, decay):
        average = decay * average + (1 - decay) * param
        return average

    def make(params):
        optimizer = optim.SGD(params.items(), lr=0.1)
        optimizer.every(2, [average_weights], name="average", state={"average": "param"}, decay=0.75)
        return optimizer

    made = both(monkeypatch, make, dtype, steps=5)
    assert_close(made, exact=True)
    assert isinstance(made[1][0].periodic[0]._layout, cuda_layout.CudaLayout)
