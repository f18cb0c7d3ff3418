"""Update kernels called by address from machine code: the same bits as `step`, and refusals with their reason."""

import ctypes

import numpy as np
import pytest
from optim_registry import VARIANTS
from optim_tools import assert_same_bits, leaves, set_gradients

from minigrad import clipping, optim
from minigrad.compiled.runtime import KERNELS, kernel_runner
from minigrad.kernels import native
from minigrad.kernels.cuda_layout import CudaLayout
from minigrad.kernels.layout import NotSerialError
from minigrad.kernels.native import NotNativeError, native_calls
from minigrad.kernels.threads import get_num_threads, set_num_threads

pytestmark = pytest.mark.sample(1)

EVERY_VARIANT = pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
BOTH_DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CLIPS = {
    "global": clipping.by_global_norm(1.0),
    "unit": clipping.by_norm(0.5, scope="unit"),
    "value": clipping.by_value(0.3),
    "adaptive": clipping.adaptive(0.1),
}
SHAPES = {"w": (7, 5), "b": (5,), "gain": (), "empty": (0,), "u": (3, 4, 2)}


def run_by_machine_code(layout):
    """Replace `Layout.run` for one layout."""
    calls = native_calls(layout)
    function, given = kernel_runner(calls)
    run_kernels = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(function)
    given[KERNELS.index("ends")] = 1

    def run():
        ended = run_kernels(given.ctypes.data)
        status = given[KERNELS.index("status")]
        assert ended == (status != 0)
        assert not status or any(call.returns for call in calls)
        return layout.plan.norms[status - 1] if status else None

    layout.run = run


def some_gradients(steps=4):
    rng = np.random.default_rng(3)
    return [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(steps)]


def problem(make, dtype, **options):
    rng = np.random.default_rng(2)
    dtypes = dtype if isinstance(dtype, dict) else dict.fromkeys(SHAPES, dtype)
    params = {}
    for name, shape in SHAPES.items():
        params |= leaves({name: rng.normal(size=shape)}, dtypes[name])
    names = list(params)
    groups = [
        {"params": [(name, params[name]) for name in names[:2]]},
        {"params": [(name, params[name]) for name in names[2:]], "lr": 0.003},
    ]
    return make(groups, **options), params


def assert_same_steps(make, dtype, **options):
    eager, native_one = problem(make, dtype, **options), problem(make, dtype, **options)
    for grads in some_gradients():
        for optimizer, params in (eager, native_one):
            set_gradients(params, grads)
            layout = optimizer._ready()
            if optimizer is native_one[0] and "run" not in vars(layout):
                run_by_machine_code(layout)
            optimizer.step()
        (one, ones_params), (other, others_params) = eager, native_one
        assert_same_bits(others_params, ones_params)
        assert_same_bits(other.state_dict(), one.state_dict())
        assert_same_bits(other._layout.numbers, one._layout.numbers)


@EVERY_VARIANT
@BOTH_DTYPES
def test_a_step_by_machine_code_has_the_bits_of_a_step(entry, variant, dtype):
    assert_same_steps(entry.make, dtype, **entry.variants[variant].options)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", ["Adam", "LAMB"])
@BOTH_DTYPES
def test_so_has_a_step_with_a_clip(name, clip, dtype):
    assert_same_steps(getattr(optim, name), dtype, lr=0.05, clip=CLIPS[clip])


def test_parameters_of_two_dtypes_take_two_calls():
    dtypes = dict.fromkeys(SHAPES, np.float32) | {"b": np.float64, "u": np.float64}
    assert_same_steps(optim.Adam, dtypes)
    optimizer, params = problem(optim.Adam, dtypes)
    set_gradients(params, some_gradients()[0])
    assert [call.returns for call in native_calls(optimizer._ready())] == [False, False]


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_norm_that_is_not_finite_stops_the_step_before_it_changes_anything(value):
    optimizer, params = problem(optim.Adam, np.float32, clip=clipping.by_global_norm(1.0, nonfinite="skip"))
    grads = some_gradients()[0]
    set_gradients(params, grads)
    run_by_machine_code(optimizer._ready())
    optimizer.step()
    before = optimizer.state_dict(), {name: p.data.copy() for name, p in params.items()}
    grads["b"][2] = value
    set_gradients(params, grads)
    optimizer.step()
    assert (optimizer.stepped, optimizer.skipped) == (False, 1)
    assert_same_bits((optimizer.state_dict()["state"], params), (before[0]["state"], before[1]))


# Refusals


def ready(make=optim.Adam, dtype=np.float32, **options):
    optimizer, params = problem(make, dtype, **options)
    set_gradients(params, some_gradients()[0])
    return optimizer._ready()


def test_a_norm_over_two_buffers_is_refused():
    dtypes = dict.fromkeys(SHAPES, np.float32) | {"b": np.float64}
    with pytest.raises(NotSerialError, match="a norm covers parameters of two dtypes"):
        native_calls(ready(dtype=dtypes, clip=clipping.by_global_norm(1.0)))


def test_work_for_several_threads_is_refused():
    params = leaves({"w": np.ones((1000, 1000))})
    optimizer = optim.Adam(list(params.items()))
    set_gradients(params, {"w": np.ones((1000, 1000))})
    before = get_num_threads()
    try:
        set_num_threads(2)
        with pytest.raises(NotSerialError, match="1,000,000 elements are updated by 2 threads"):
            native_calls(optimizer._ready())
        set_num_threads(1)
        assert len(native_calls(optimizer._ready())) == 1
    finally:
        set_num_threads(before)


def test_the_layout_of_a_gpu_is_refused():
    with pytest.raises(NotSerialError, match="run on the GPU"):
        native_calls(object.__new__(CudaLayout))


def test_functions_that_are_not_compiled_are_refused():
    layout = ready()
    layout._steps = [(lambda *arguments: None, layout._steps[0][1])]
    with pytest.raises(NotNativeError, match="NUMBA_DISABLE_JIT"):
        native_calls(layout)


def test_another_convention_is_refused(monkeypatch):
    layout = ready()
    monkeypatch.setattr(native, "_WORD", 32)
    with pytest.raises(NotNativeError, match="this Numba calls a compiled function as"):
        native_calls(layout)
    monkeypatch.setattr(native, "_FIELDS", ("data", "shape"))
    with pytest.raises(NotNativeError, match="this Numba passes an array as meminfo, parent, nitems"):
        native_calls(layout)
