"""The code of every CUDA kernel for compute capability 8.0 and 9.0, compiled where there is no GPU.

Needs the packages of the extra ``cuda-check``: numba-cuda with NVIDIA's compilers, and neither a driver nor a GPU.
"""

import importlib.util
import os
import re

import numpy as np
import pytest
from optim_registry import VARIANTS
from optim_tools import Chain, leaves

from minigrad import clipping, optim
from minigrad.kernels import cuda as kernels
from minigrad.kernels.cuda import COMBINE_ARGUMENTS, Kernel, argument_types, pass_arguments, threads_of, unroll_of
from minigrad.kernels.plan import Plan
from minigrad.optim import apply_update, rule
from minigrad.rules import exp, log, sign

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="needs pip install '.[cuda-check]'"),
    pytest.mark.skipif(bool(os.environ.get("NUMBA_ENABLE_CUDASIM")), reason="the simulator compiles nothing"),
]
CAPABILITIES = [(8, 0), (9, 0)]
# What the sums of a norm may do in float64 with each element; the rules themselves are in the parameter's dtype.
SUMMING = {"cvt.f64.f32", "fma.rn.f64", "add.f64", "add.rn.f64", "mul.f64", "mul.rn.f64", "abs.f64", "mov.f64"}
COMPARING = ("setp", "selp")


@rule
def of_every_function(update, param, *, rate, order):
    update = exp(-abs(update)) + log(1.0 + param * param) * sign(param) + max(min(update, rate), 0.0) ** order
    return update


def chains():
    """Every variant of every optimizer, every kind of clip, and a rule with every function."""
    one = lambda: list(leaves({"w": np.ones((2, 3))}).items())
    for entry, variant in VARIANTS:
        optimizer = entry.make(one(), **entry.variants[variant].options)
        yield f"{entry.name} {variant}", Plan(getattr(optimizer, "base", optimizer)._elements())
        if hasattr(optimizer, "base"):
            yield "slow step", optimizer.periodic[0].plan(optimizer.prepare().plan.state)
    clips = {
        "global": [clipping.by_global_norm(1.0)],
        "orders": [clipping.by_norm(1.0, "tensor", order) for order in (1, 3, np.inf)],
        "units": [clipping.adaptive(), clipping.by_norm(1.0, "layer")],
        "value": [clipping.by_value(1.0)],
    }
    for name, clip in clips.items():
        yield f"clip {name}", Plan(optim.LAMB(one(), clip=clip)._elements())
    every = Chain(dict(one()), of_every_function, apply_update, lr=0.1, rate=0.5, order=1.5)
    yield "functions", Plan(every._elements())


CHAINS = dict(chains())


def ptx(function, arguments, dtype, capability):
    from numba import cuda

    signature = f"void({', '.join(argument_types(arguments, dtype))})"
    return cuda.compile_ptx(function.py_func, signature, cc=capability)[0]


def inner_loops(text):
    """The lines of every loop that has no loop inside."""
    lines = [line.strip() for line in text.splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.startswith("$L") and line.endswith(":")}
    jumps = [(labels[m[1]], i) for i, line in enumerate(lines) if (m := re.search(r"bra(?:\.uni)?\s+(\$L\w+);", line))]
    ends = {start: end for start, end in sorted(jumps) if start <= end}  # a loop may jump back from several places
    loops = list(ends.items())
    inner = [(s, e) for s, e in loops if not any(s <= t and f <= e and (t, f) != (s, e) for t, f in loops)]
    # A branch inside may be laid out behind the loop and jump back: such pieces overlap.
    merged: list[tuple[int, int]] = []
    for start, end in sorted(inner):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return [lines[start:end] for start, end in merged]


def element_loops(text, dtype):
    kind = "f32" if dtype == np.float32 else "f64"
    return [loop for loop in inner_loops(text) if any(f"ld.global.{kind}" in line for line in loop)]


def check_pass(text, dtype, threads, reads, norms, powers=False):
    """Raise AssertionError unless the pass is as fast as memory allows, as far as its code tells."""
    assert ".local" not in text, "local memory"
    assert not re.search(r"\b(div|rem)\.[su]64", text), "a division of whole numbers, which is a hundred instructions"
    loops = element_loops(text, dtype)
    assert loops, "no loop over elements"
    for loop in loops:
        found = {line.split()[0] for line in loop if ".f64" in line}
        if dtype == np.float32 and not powers:
            extra = {op for op in found if not (norms and (op in SUMMING or op.startswith(COMPARING)))}
            assert not extra, f"float64 in a loop over float32 elements: {sorted(extra)}"
    tiles = [loop for loop in loops if any("bar.sync" in line for line in loop)]
    assert tiles, "no loop over whole tiles"
    (tile,) = tiles
    # The compiler may have put several tiles in one round of the loop.
    order = "".join("r" if "ld.global" in line else "b" if "bar.sync" in line else "" for line in tile)
    assert re.fullmatch(f"(r{{{reads}}}b)+", order), f"reads that wait for other work: {order}"
    # Thread t of a block is at element t of what the block reads, so a warp reads one piece of memory: then the
    # places of one thread are whole numbers of blocks apart.
    stride = threads * np.dtype(dtype).itemsize
    for line in tile:
        if "global" in line:
            offset = int(re.search(r"\[%rd\d+(?:\+(-?\d+))?\]", line)[1] or 0)
            assert offset % stride == 0, f"neighbors are not read together: {line}"
    scale = np.dtype(dtype).itemsize.bit_length() - 1
    assert re.search(rf"shl\.b64\s+%rd\d+, %rd\d+, {scale};", text), "elements are not side by side"


def check(plan, dtype, capability):
    kernel = Kernel(plan, np.dtype(dtype))
    for p, function in zip(plan.passes, kernel.passes, strict=True):
        text = ptx(function, pass_arguments(plan, p), dtype, capability)
        powers = any(norm.order not in (1.0, 2.0, np.inf) for norm in p.norms)
        reads = unroll_of(p) * len(set(kernels._read(p)))
        if reads:  # a rule that sets a constant reads nothing
            assert 8 <= reads <= 24, "too few bytes under way, or more than there are registers for"
            check_pass(text, dtype, threads_of(plan, p), reads, bool(p.norms), powers)
    if kernel.combine is not None:
        assert ".local" not in ptx(kernel.combine, COMBINE_ARGUMENTS, dtype, capability)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda pair: f"sm_{pair[0]}{pair[1]}")
@pytest.mark.parametrize("name", CHAINS)
def test_no_float64_no_local_memory_and_coalesced_reads_under_way_together(name, capability):
    check(CHAINS[name], np.float32, capability)


@pytest.mark.parametrize("name", ["Adam default", "clip global"])
def test_models_of_float64(name):
    check(CHAINS[name], np.float64, (9, 0))


@pytest.mark.parametrize("name", ["Adam amsgrad", "RMSprop centered", "AdaBelief default", "clip global"])
def test_roots_quotients_and_the_smallest_numbers_are_rounded_as_on_the_cpu(name):
    plan, found = CHAINS[name], set()
    for p, function in zip(plan.passes, Kernel(plan, np.dtype(np.float32)).passes, strict=True):
        text = ptx(function, pass_arguments(plan, p), np.float32, (9, 0))
        found |= set(re.findall(r"\b(?:sqrt|div|rcp|rsqrt|add|sub|mul|fma|mad)\.[.a-z0-9]*f32\b", text))
    assert {"sqrt.rn.f32", "div.rn.f32"} <= found
    assert not [op for op in found if re.search(r"approx|full|ftz", op)]


def machine_code(text, capability):
    """What the assembler says of each kernel: registers, stack and spills."""
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", reason="needs pip install '.[cuda-check]'")
    code = text.encode()
    handle = nvjitlink.create(3, [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose", "-Xptxas=-v"])
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    return log.decode()


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda pair: f"sm_{pair[0]}{pair[1]}")
@pytest.mark.parametrize("name", ["SGD nesterov", "Adam amsgrad", "RMSprop centered", "NAdam decay", "clip global"])
def test_the_assembler_spills_no_register(name, capability):
    plan = CHAINS[name]
    for p, function in zip(plan.passes, Kernel(plan, np.dtype(np.float32)).passes, strict=True):
        said = machine_code(ptx(function, pass_arguments(plan, p), np.float32, capability), capability)
        assert re.search(r"\b0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads", said), said
        registers = int(re.search(r"Used (\d+) registers", said)[1])
        assert registers <= 65536 // (2 * threads_of(plan, p)), "fewer than two blocks would run at a time"


# The checks can fail


def altered(monkeypatch, name, *replacements):
    """A kernel of which something is made worse."""
    plan = CHAINS[name]
    source = kernels.kernel_source(plan, np.dtype(np.float32))
    for old, new in replacements:
        assert old in source
        source = source.replace(old, new)
    monkeypatch.setattr(kernels, "kernel_source", lambda plan, dtype: source)
    return plan


@pytest.mark.parametrize(
    ("replacements", "complaint"),
    [
        ([("(8, real)", "(8, np.float64)")], "float64 in a loop over float32 elements"),
        ([("            cuda.syncthreads()", "            pass")], "no loop over whole tiles"),
        ([("    b = cuda.blockIdx.x\n    while b < blocks.shape[0]:",
           "    for b in range(cuda.blockIdx.x, blocks.shape[0], cuda.gridDim.x):")], "a division of whole numbers"),
        ([("unsigned(start + thread)", "unsigned(start + 2 * thread)"), ("unsigned(256)", "unsigned(1)")],
         "neighbors are not read together"),
        ([("    update, exp_avg, exp_avg_sq, param = old\n", "    stack = cuda.local.array(64, np.float32)\n"
           "    for j in range(64):\n        stack[j] = old[0] * j\n    update, exp_avg, exp_avg_sq, param = old\n"
           "    update = stack[int(param) % 64]\n")], "local memory"),
    ],
    ids=["float64", "reads in turn", "divided", "strided", "local memory"],
)  # fmt: skip
def test_a_worse_kernel_is_found_out(monkeypatch, replacements, complaint):
    plan = altered(monkeypatch, "Adam default", *replacements)
    with pytest.raises(AssertionError, match=complaint):
        check(plan, np.float32, (9, 0))
