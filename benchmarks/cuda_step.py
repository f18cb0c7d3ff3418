"""Updates on a GPU: their bandwidth beside that of a copy, and beside PyTorch's fused and foreach optimisers.

python -m benchmarks.cuda_step [--quick] [--output FILE]

Times are between events of the GPU, taken by turns in one process. What is not there is said and left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad import clipping, devices, gpu, optim, tensor

from .optimizer_step import ALGORITHMS, TENSORS
from .timing import report

SIZES = (2_400, 1_000_000, 10_000_000, 100_000_000)
ROUNDS = 30


def stepper(name: str, size: int, **options: Any) -> tuple[optim.Optimizer, Callable[[], Any]]:
    """An optimizer over a few matrices on the GPU, with gradients in place."""
    made = []
    for _ in range(TENSORS):
        p = tensor(np.ones((1, size // TENSORS), np.float32), device="cuda", requires_grad=True)
        made.append(p)
    optimizer = getattr(optim, name)(made, **options)
    for p in made:
        (p * p.detach()).sum().backward()
    return optimizer, optimizer.step


def torch_steppers(name: str, size: int, **options: Any) -> dict[str, Callable[[], Any]]:
    """PyTorch's fused and foreach optimizer of that name; what it has not is left out."""
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available() or not hasattr(torch.optim, name):
        return {}
    found: dict[str, Callable[[], Any]] = {}
    for kind in ("fused", "foreach"):
        made = [torch.randn(1, size // TENSORS, device="cuda", requires_grad=True) for _ in range(TENSORS)]
        for p in made:
            p.grad = torch.randn_like(p)
        try:
            found[kind] = getattr(torch.optim, name)(made, **options, **{kind: True}).step
            found[kind]()
        except (TypeError, RuntimeError):  # no such kind of this optimizer
            found.pop(kind, None)
    return found


def times(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median seconds of a call of each, by turns, between events in the default stream, which all of them use."""
    cupy = devices.library()
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for _ in range(3):
            function()
    for _ in range(rounds):
        for name, function in functions.items():
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            begin.record()
            function()
            end.record()
            end.synchronize()
            taken[name].append(cupy.cuda.get_elapsed_time(begin, end) / 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def row(label: str, name: str, options: Mapping[str, Any], size: int, clip: clipping.Clip | None, rounds: int) -> Any:
    """One update beside a copy of as many bytes as it moves, and PyTorch's."""
    cupy = devices.library()
    optimizer, step = stepper(name, size, **options, clip=clip)
    moved = optimizer.plan().bytes_per_parameter() * (size // TENSORS * TENSORS)
    source, target = cupy.ones(size, np.float32), cupy.empty(size, np.float32)
    peers = {} if clip is not None else torch_steppers(name, size, **options)
    found = times({"minigrad": step, "copy": lambda: cupy.copyto(target, source), **peers}, rounds)
    bandwidth, copied = moved / found["minigrad"], 2 * source.nbytes / found["copy"]
    launches = sum(len(launches) for launches in optimizer._layout._launches)  # type: ignore[union-attr]
    cells = {"update": label, "parameters": size, "launches": launches, "µs": found["minigrad"] * 1e6}
    cells |= {"GB/s": bandwidth / 1e9, "copy GB/s": copied / 1e9, "of the copy": bandwidth / copied}
    return cells | {f"times as fast as torch {kind}": found[kind] / found["minigrad"] for kind in peers}


def main() -> int:
    """Measure, or say why nothing can be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    parser.add_argument("--output", help="write JSON there")
    given = parser.parse_args()
    status = gpu.cuda_status()
    if problem := status.problem or gpu.update_problem():
        print(f"No GPU was found, so nothing was measured: {problem}; {status.remedy or gpu.INSTALL}", file=sys.stderr)
        return 1
    try:
        import torch

        if not torch.cuda.is_available():
            print("PyTorch is installed without CUDA; its optimizers are left out.", file=sys.stderr)
    except ImportError:
        print("PyTorch is not installed; its optimizers are left out.", file=sys.stderr)
    sizes, rounds = (SIZES[:2], 10) if given.quick else (SIZES, ROUNDS)
    rows = [row("Adam", "Adam", {}, size, None, rounds) for size in sizes]
    largest = sizes[-1]
    rows += [row(label, *how, largest, None, rounds) for label, how in ALGORITHMS.items() if label != "Adam"]
    rows.append(row("Adam, global norm", "Adam", {}, largest, clipping.by_global_norm(1.0), rounds))
    rows.append(row("Adam, adaptive", "Adam", {}, largest, clipping.adaptive(), rounds))
    title = f"Updates on {status.devices[0]}, float32"
    report(title, "python -m benchmarks.cuda_step", rows, given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
