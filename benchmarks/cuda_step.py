"""Updates on a GPU: their bandwidth compared with a copy and with PyTorch's fused and foreach optimizers.

python -m benchmarks.cuda_step [--quick] [--output FILE]

Times are between events of the GPU, interleaved in one process. In its turn each contender makes many calls without
waiting, so that Python counts only when the GPU waits for it, as in training. This is a separate script, not a group of
``python -m benchmarks``, because most machines have no GPU; it then prints that and exits.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import clipping, optim, tensor
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu
from minigrad.files import write_atomically

from .machine import machine, versions
from .models import TENSORS
from .report import markdown, plain
from .step_by_algorithm import ALGORITHMS
from .timing import Times, ratio

SIZES = (2_400, 1_000_000, 10_000_000, 100_000_000)
CLIPS = {"Adam, global norm": clipping.by_global_norm(1.0), "Adam, adaptive": clipping.adaptive()}
WIDTH = 1024  # of the matrices, whose rows are the units of adaptive clipping
ROUNDS = 30
TURN = 20e-3  # seconds of calls in a turn, so long that the launch of the first call does not matter
Calls = dict[str, Callable[[], Any]]


def ours(name: str, size: int, options: Mapping[str, Any]) -> optim.Optimizer:
    """Return an optimizer over a few matrices on the GPU, with gradients from `backward`."""
    rows = max(1, size // TENSORS // WIDTH)
    values = np.ones((rows, size // TENSORS // rows), np.float32)
    made = [tensor(values, device="cuda", requires_grad=True) for _ in range(TENSORS)]
    optimizer: optim.Optimizer = getattr(optim, name)(made, **options)
    for parameter in made:
        (parameter * parameter.detach()).sum().backward()
    return optimizer


def torchs(name: str | None, size: int, options: Mapping[str, Any]) -> Calls:
    """Return the steps of PyTorch's optimizer in each implementation for this GPU; none without PyTorch."""
    if name is None or torch_problem():
        return {}
    import torch

    found: Calls = {}
    for kind in ("fused", "foreach"):
        made = [torch.randn(1, size // TENSORS, device="cuda", requires_grad=True) for _ in range(TENSORS)]
        for parameter in made:
            parameter.grad = torch.randn_like(parameter)
        try:
            step = getattr(torch.optim, name)(made, **options, **{kind: True}).step
            step()
        except (TypeError, RuntimeError):
            continue
        found[f"PyTorch {kind}"] = step
    return found


def torch_problem() -> str:
    """Return why PyTorch is not compared; empty if it is."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    return "" if torch.cuda.is_available() else "PyTorch is installed without CUDA"


def seconds(call: Callable[[], Any], count: int) -> float:
    """Return the seconds per call of ``count`` calls, between events in the default stream, where all of them run."""
    cuda = devices.library().cuda
    begin, end = cuda.Event(), cuda.Event()
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(begin, end)) / 1000 / count


def timed(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Times]:
    """Return the seconds of one call of each contender in every round."""
    taken: dict[str, list[list[float]]] = {name: [] for name in calls}
    counts = {}
    for name, call in calls.items():
        for _ in range(3):
            call()
        counts[name] = max(1, round(TURN / seconds(call, 1)))
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append([seconds(call, counts[name])])
    return {name: Times(each) for name, each in taken.items()}


def row(label: str, size: int, rounds: int, name: str, options: Mapping[str, Any], torch: str | None) -> dict[str, Any]:
    """Compare one update with a copy within the GPU, in bytes moved per second, and with PyTorch's."""
    cupy = devices.library()
    optimizer = ours(name, size, options)
    source, target = cupy.ones(size, np.float32), cupy.empty(size, np.float32)
    calls: Calls = {"minigrad": optimizer.step, "copy": lambda: cupy.copyto(target, source)}
    times = timed(calls | torchs(torch, size, options), rounds)
    moved, copied = optimizer.plan().bytes_per_parameter() * optimizer.store.size, 2 * source.nbytes
    cells = {
        "update": label,
        "parameters": size,
        "launches": optimizer._layout.launches,  # type: ignore[union-attr]  # it has stepped
        "µs": times["minigrad"].measure(),
        "GB/s": moved / times["minigrad"].median / 1e9,
        "of the copy": ratio(times["copy"], times["minigrad"], moved / copied),
    }
    peers = {f"times faster than {name}": ratio(times[name], times["minigrad"]) for name in times if "PyTorch" in name}
    return cells | peers


def rows(sizes: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """Measure Adam at every size, and everything at the largest."""
    found = [row("Adam", size, rounds, "Adam", {}, "Adam") for size in sizes]
    for label, algorithm in ALGORITHMS.items():
        if algorithm.ours not in ("Adam", "Lookahead"):
            found.append(row(label, sizes[-1], rounds, algorithm.ours, algorithm.options, algorithm.torch))
    return found + [row(label, sizes[-1], rounds, "Adam", {"clip": clip}, None) for label, clip in CLIPS.items()]


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda_step", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes and few rounds")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write JSON there")
    given = parser.parse_args(arguments)
    status = gpu.cuda_status()
    if problem := status.problem or gpu.update_problem():
        print(f"no GPU was found, so nothing was measured: {problem}; {status.remedy or gpu.INSTALL}", file=sys.stderr)
        return 1
    if missing := torch_problem():
        print(f"{missing}, so it is skipped", file=sys.stderr)
    measured = rows(*((SIZES[:2], 10) if given.quick else (SIZES, ROUNDS)))
    print(f"Updates on {status.devices[0]}, float32\n\n{markdown(measured)}")
    if given.output:
        found = {"gpu": status.devices[0], "driver": status.driver, "machine": machine(), "versions": versions()}
        found["versions"] |= {"cupy": devices.library().__version__, "numba-cuda": version("numba-cuda")}
        found["date"] = datetime.date.today().isoformat()
        found["rows"] = [{column: plain(value) for column, value in each.items()} for each in measured]
        write_atomically(given.output, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
