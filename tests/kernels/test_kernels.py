"""Plans and compiled kernels: passes and bytes, packed instructions, the same bits for any number of threads, norms."""

import hashlib
import math
import os
import pickle
import platform
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from optim_plain import hypers_of
from optim_registry import REGISTRY, VARIANTS, entry_named
from optim_tools import Chain, assert_same_bits, bits, leaves, set_gradients, take_step, values

import minigrad
from minigrad import clipping, optim
from minigrad.kernels import cache, layout, norms, threads
from minigrad.kernels.blocks import BLOCK
from minigrad.kernels.cpu import Kernel
from minigrad.kernels.plan import Plan
from minigrad.optim import apply_update, norm, rule

EVERY_VARIANT = pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
SIZES = {"a": (3, 40_000), "b": (1001,), "c": (), "d": (65_537,), "e": (0,)}


def built(name, variant="default", params=None, **changed):
    entry = entry_named(name)
    params = leaves({"w": np.ones((2, 3))}) if params is None else params
    return entry.make(list(params.items()), **{**entry.variants[variant].options, **changed})


# Plans


@EVERY_VARIANT
def test_a_plan_moves_the_bytes_that_must_move(entry, variant):
    plan = built(entry.name, variant).plan()
    assert plan.bytes_per_parameter() == entry.variants[variant].bytes
    assert plan.bytes_per_parameter(8) == 2 * entry.variants[variant].bytes
    assert f"in all: {entry.variants[variant].bytes} bytes per float32 parameter" in str(plan)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("SGD", {}, 12),
        ("SGD", {"momentum": 0.9}, 20),
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, 20),
        ("Adagrad", {"weight_decay": 0.1}, 20),
        ("RMSprop", {}, 20),
        ("RMSprop", {"centered": True, "momentum": 0.9}, 36),
        ("Adam", {"weight_decay": 0.1}, 28),
        ("AdamW", {}, 28),
        ("Adam", {"clip": clipping.by_global_norm(1.0)}, 32),
        ("LARS", {"weight_decay": 0.1}, 28),
        ("LAMB", {"weight_decay": 0.1}, 40),
    ],
    ids=str,
)
def test_the_table_of_bytes(name, options, expected):
    """Decay, momentum and the schedule cost no pass of their own; a clip costs the reading of its norm."""
    optimizer = getattr(optim, name)([leaves({"w": np.ones(2)})["w"]], **options)
    assert optimizer.plan().bytes_per_parameter() == expected


def test_a_plan_shows_passes_norms_arrays_and_source():
    params = {**leaves({"w": np.ones((2, 3))}), **leaves({"v": np.ones(2)}, np.float64)}
    text = str(built("LAMB", params=params).plan())
    assert text.startswith(
        "pass 1: 28 bytes per float32 parameter\n"
        "  rules   scale_by_adam, add_decayed_weights\n"
        "  reads   grad, exp_avg, exp_avg_sq, param\n"
        "  writes  update, exp_avg, exp_avg_sq\n"
        "  norm    param_norm: order 2 of param per tensor\n"
        "  norm    update_norm: order 2 of update per tensor\n"
        "pass 2: 12 bytes per float32 parameter\n"
        "  rules   scale_by_trust_ratio, apply_update\n"
        "  reads   update, param\n"
        "  writes  param\n"
        "in all: 40 bytes per float32 parameter\n"
    )
    assert "real = np.float32" in text
    assert "real = np.float64" in text
    assert text.count("def pass_2(") == 2


def test_the_source_that_is_shown_is_the_source_that_runs():
    optimizer = built("Adam")
    assert optimizer.plan().sources == [kernel.source for kernel in optimizer.prepare().kernels]


# Packed instructions


def instructions(function) -> set[str]:
    return set(re.findall(r"\bv?((?:sqrt|mul|div)[ps][sd])\b", "".join(function.inspect_asm().values())))


def assert_vectorized(function) -> None:
    """Whatever arithmetic there is, also for the last few elements, is there in packed form, four or more at a time."""
    found = instructions(function)
    assert "mulps" in found or "mulpd" in found
    for operation in ("sqrt", "mul", "div"):
        assert f"{operation}ss" not in found or f"{operation}ps" in found, f"{operation} is not vectorized"


x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 instructions")


@pytest.fixture
def in_memory(monkeypatch):
    """Kernels that are compiled here and now: what comes from the cache cannot be inspected."""
    monkeypatch.setenv("MINIGRAD_CACHE_DIR", "")
    monkeypatch.setattr(cache, "_loaded", {})


@pytest.mark.slow
@x86
@pytest.mark.parametrize(
    ("name", "variant"),
    [*((entry.name, "default") for entry in REGISTRY), ("Adam", "amsgrad"), ("RMSprop", "centered")],
)
def test_the_loops_of_every_optimizer_are_vectorized(name, variant, in_memory):
    optimizer = built(name, variant)
    plan = getattr(optimizer, "base", optimizer).prepare().plan
    for function in Kernel(plan, np.dtype(np.float32)).passes:
        assert_vectorized(function)


@x86
def test_a_loop_that_is_not_vectorized_is_told_from_one_that_is():
    @numba.njit("void(float32[::1], float32[::1])", error_model="python")
    def divides_with_a_check_for_zero(x, y):
        for i in range(x.shape[0]):
            x[i] = x[i] * x[i] / y[i]

    with pytest.raises(AssertionError):
        assert_vectorized(divides_with_a_check_for_zero)


# Threads


@pytest.fixture
def any_size_threaded(monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 0)
    monkeypatch.setattr(layout, "PARALLEL_FROM", 0)
    # On a busy machine the caller would otherwise work without the other threads for a while.
    monkeypatch.setattr(threads, "_ALONE", 0.0)
    monkeypatch.setattr(threads, "_alone_until", 0.0)
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def trained(name, variant, sizes=SIZES, steps=3, dtype=np.float32):
    rng = np.random.default_rng(7)
    params = leaves({key: rng.normal(size=shape) for key, shape in sizes.items()}, dtype)
    optimizer = built(name, variant, params)
    for _ in range(steps):
        take_step(optimizer, params, {key: rng.normal(size=shape) for key, shape in sizes.items()})
    return values(params), optimizer.state_dict()["state"]


@EVERY_VARIANT
def test_one_two_and_four_threads_give_the_bits_of_the_serial_step(entry, variant, any_size_threaded):
    found = []
    for number in (1, 2, 4):
        threads.set_num_threads(number)
        found.append(bits(trained(entry.name, variant)))
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize("name", ["Adam", "LAMB"])
def test_two_dtypes_and_a_norm_over_both_give_the_same_bits_threaded(name, any_size_threaded):
    everything = {"exclude_from_adaptation": lambda name, p: False} if name == "LAMB" else {}
    found = []
    for number in (1, 2, 4):
        threads.set_num_threads(number)
        rng = np.random.default_rng(3)
        params = {
            **leaves({"0.weight": rng.normal(size=(2, BLOCK))}),
            **leaves({"0.bias": rng.normal(size=50_000)}, np.float64),
        }
        optimizer = built(name, "default", params, **everything)
        take_step(optimizer, params, {key: rng.normal(size=p.shape) for key, p in params.items()})
        found.append(bits(values(params)))
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_threads_that_share_whole_tensors_give_the_bits_of_the_serial_step(name, dtype, any_size_threaded, monkeypatch):
    sizes = {f"{i}.weight": (3 + i % 2, BLOCK // 3) for i in range(7)}
    shared = []
    run_spans = layout.Layout._run_spans
    monkeypatch.setattr(layout.Layout, "_run_spans", lambda *a: (shared.append(a[1:]), run_spans(*a))[1])
    found = []
    for number in (1, 2, 4):
        threads.set_num_threads(number)
        found.append(bits(trained(name, "default", sizes, dtype=dtype)))
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert len(shared) > 6


def test_one_tensor_far_larger_than_the_others_is_shared_by_the_threads(any_size_threaded, monkeypatch):
    monkeypatch.setattr(layout.Layout, "_run_spans", lambda *a: pytest.fail("one thread would do nearly all"))
    sizes = {"0.weight": (20, BLOCK), "1.weight": (2, BLOCK)}
    threads.set_num_threads(1)
    serial = bits(trained("LAMB", "default", sizes))
    threads.set_num_threads(2)
    assert bits(trained("LAMB", "default", sizes)) == serial


def test_a_model_above_the_real_threshold_has_the_same_bits_threaded():
    before = threads.get_num_threads()
    sizes = {"w": (threads.PARALLEL_FROM // 5 + 1001,)}  # SGD with momentum moves 5 values per parameter
    try:
        threads.set_num_threads(1)
        serial = digest(trained("SGD", "momentum", sizes, steps=2))
        threads.set_num_threads(4)
        assert digest(trained("SGD", "momentum", sizes, steps=2)) == serial
    finally:
        threads.set_num_threads(before)


def test_every_block_is_done_once_whatever_the_number_of_threads(any_size_threaded):
    for number in (1, 2, 4, 7):
        threads.set_num_threads(number)
        for blocks in (0, 1, 2, 5, 64, 1000):
            done = np.zeros(blocks, int)

            def work(first, last, done=done):
                done[first:last] += 1

            threads.run_blocks(work, blocks, 10**9)
            assert np.all(done == 1)


def test_an_error_in_a_thread_arrives_where_the_step_was_called(any_size_threaded):
    threads.set_num_threads(2)

    def fails(first, last):
        raise ZeroDivisionError("in a block")

    with pytest.raises(ZeroDivisionError, match="in a block"):
        threads.run_blocks(fails, 64, 10**9)


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None])
def test_a_number_of_threads_that_is_none_is_refused(number):
    before = minigrad.get_num_threads()
    with pytest.raises(ValueError if isinstance(number, int) else TypeError, match="whole number of 1 or more"):
        minigrad.set_num_threads(number)
    assert minigrad.get_num_threads() == before


def digest(result) -> str:
    return hashlib.sha256(pickle.dumps(bits(result))).hexdigest()


def test_a_run_in_a_new_process_with_other_threads_has_the_same_bits():
    names = [(entry.name, "default") for entry in REGISTRY]
    here = [digest(trained(name, variant)) for name, variant in names]
    script = (
        "import test_kernels as t, sys\n"
        "t.threads.PARALLEL_FROM = t.layout.PARALLEL_FROM = 0\n"
        "t.threads.set_num_threads(3)\n"
        "print(*[t.digest(t.trained(e.name, 'default')) for e in t.REGISTRY])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == here


# Norms


def norm_found(order, arrays, scope="tensor", of="grad", dtype=np.float32):
    params = leaves(arrays, dtype)
    taken = norm(of, scope, order)
    optimizer = Chain(params, taken, apply_update, lr=0.0)
    set_gradients(params, arrays)
    optimizer.step()
    return optimizer._layout.norm_values(taken)


@pytest.mark.parametrize("order", [1, 2, 3, 0.5, math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("scope", ["unit", "tensor", "layer", "global"])
def test_norms_of_every_order_over_every_scope(order, scope, dtype):
    rng = np.random.default_rng(1)
    arrays = {"0.weight": rng.normal(size=(3, 200)), "0.bias": rng.normal(size=3), "1.weight": rng.normal(size=(2, 5))}
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    ranges = {
        "unit": [*arrays["0.weight"], arrays["0.bias"], *arrays["1.weight"]],
        "tensor": list(arrays.values()),
        "layer": [np.concatenate([arrays["0.weight"].ravel(), arrays["0.bias"]]), arrays["1.weight"]],
        "global": [np.concatenate([array.ravel() for array in arrays.values()])],
    }[scope]
    absolute = [np.abs(part.astype(np.float64)).ravel() for part in ranges]
    expected = [part.max() if order == math.inf else np.sum(part**order) ** (1 / order) for part in absolute]
    np.testing.assert_allclose(norm_found(order, arrays, scope, dtype=dtype), expected, rtol=1e-14)


def test_a_norm_of_float32_neither_overflows_nor_underflows():
    assert norm_found(2, {"w": np.full(2, 1e20)})[0] == pytest.approx(math.sqrt(2) * float(np.float32(1e20)), rel=1e-15)
    assert norm_found(2, {"w": np.full(2, 1e-30)})[0] == pytest.approx(
        math.sqrt(2) * float(np.float32(1e-30)), rel=1e-15
    )
    assert norm_found(1, {"w": np.full(2, 3e38)})[0] == pytest.approx(2 * float(np.float32(3e38)), rel=1e-15)


@pytest.mark.parametrize("order", [1, 2, 3, math.inf])
@pytest.mark.parametrize("place", [0, 1000, BLOCK, 2 * BLOCK])
def test_a_norm_with_nan_or_infinity_anywhere_is_nan_or_infinite(order, place):
    x = np.ones(2 * BLOCK + 1, np.float32)
    x[place] = math.inf
    assert norm_found(order, {"w": x})[0] == math.inf
    x[place] = math.nan
    assert math.isnan(norm_found(order, {"w": x})[0])


@pytest.mark.parametrize("size", [0, 1, 31, 127, 128, 129, 1001, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 300])
def test_a_norm_is_added_up_in_the_order_that_is_written_down(size):
    """Blocks of 32768 in order; in each, the lanes as the plain Python of the accumulator has them."""
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    plain = {"np": np}
    exec("\n".join(norms.cpu_functions([2.0])), plain)
    total = 0.0
    for start in range(0, size, BLOCK):
        total += float(plain["accumulate_2"](x[start : start + BLOCK], np.empty(norms.LANES)))
    (found,) = norm_found(2, {"w": x})
    assert found == math.sqrt(total)
    np.testing.assert_allclose(found, math.sqrt(math.fsum(x.astype(np.float64) ** 2)), rtol=1e-14)


def test_the_norm_of_a_tensor_does_not_depend_on_what_lies_beside_it():
    x = np.random.default_rng(0).normal(size=1001)
    alone = norm_found(2, {"0.w": x})[0]
    for before in (1, 77, 40_000):
        assert norm_found(2, {"0.a": np.ones(before), "0.w": x, "0.z": np.ones(5)})[1] == alone


def test_parameters_left_out_of_a_norm_do_not_count():
    class Some(Chain):
        def parameter_options(self, group, entry):
            return {"counted": float(entry.name != "0.bias")}

    taken = norm("grad", "layer", where="counted")
    params = leaves({"0.weight": np.ones((2, 2)), "0.bias": np.ones(2)})
    optimizer = Some(params, taken, apply_update, lr=0.0)
    take_step(optimizer, params, {"0.weight": np.full((2, 2), 2.0), "0.bias": np.full(2, 100.0)})
    assert optimizer._layout.norm_values(taken)[0] == 4.0


@rule
def shrink(update, *, factor):
    update = factor * update
    return update


@rule
def divide(update, update_norm):
    update = update / update_norm
    return update


def test_a_norm_is_of_the_update_as_it_stands_at_its_place():
    params = leaves({"w": np.zeros(4)})
    first, second = norm("update", "tensor", name="first_norm"), norm("update", "tensor")
    optimizer = Chain(params, first, shrink, second, divide, apply_update, factor=0.25, lr=1.0)
    after = take_step(optimizer, params, {"w": np.full(4, 4.0)})
    assert optimizer._layout.norm_values(first)[0] == 8.0
    assert optimizer._layout.norm_values(second)[0] == 2.0
    assert_same_bits(after["w"], np.full(4, -0.5, np.float32))
    assert Plan([first, shrink, second, divide, apply_update]).bytes_per_parameter() == 4 + 8 + 12


# What the last step used


@EVERY_VARIANT
def test_the_scalars_of_the_last_step_are_those_of_each_parameter(entry, variant):
    params = leaves({"w": np.ones((2, 3)), "b": np.ones(3), "idle": np.ones(2)})
    optimizer = built(entry.name, variant, params)
    base = getattr(optimizer, "base", optimizer)
    for _ in range(3):
        set_gradients(params, {"w": np.full((2, 3), 0.5), "b": np.full(3, 0.25), "idle": None})
        optimizer.step()
    for name in ("w", "b"):
        used = base._layout.scalars_of(base.store.entries[name])
        known = hypers_of(base, name, base._layout.plan.rules, 3)
        assert used == {option: known[option] for option in used}
    with pytest.raises(KeyError, match="idle"):
        base._layout.scalars_of(base.store.entries["idle"])


def test_the_norms_of_the_last_step_are_those_of_the_ranges_of_a_parameter():
    params = leaves({"w": np.ones((2, 3)), "b": np.ones(3)})
    gradients = {"w": np.arange(6.0).reshape(2, 3), "b": np.array([0.0, 3.0, 4.0])}
    clips = [clipping.by_global_norm(1e9), clipping.adaptive()]
    optimizer = optim.SGD(list(params.items()), lr=0.1, clip=clips)
    set_gradients(params, gradients)
    optimizer.step()
    found = optimizer._layout.norms_of(optimizer.store.entries["w"], unit=1)
    whole = math.sqrt(sum((g * g).sum() for g in gradients.values()))
    assert found == pytest.approx(
        {"clip_norm": whole, "clip_unit_norm": math.sqrt(9 + 16 + 25), "clip_param_norm": math.sqrt(3)}, rel=1e-6
    )
