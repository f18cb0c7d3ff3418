"""Whole ``optimizer.step()`` calls, Python included, beside PyTorch's fused and foreach ones.

python -m benchmarks.optimizer_step [--quick] [--busy] [--output FILE]

``--busy`` keeps one core occupied by another process, to show that no step waits for it.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import clipping, nn, optim

from .timing import interleaved, report

TENSORS = 6
SIZES = (300, 2_400, 10_000, 100_000, 1_000_000, 4_000_000, 30_000_000)
# Constructors here and there, with options that switch on what PERFORMANCE.md's table of bytes names.
ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "SGD, momentum": ("SGD", {"momentum": 0.9}),
    "Adagrad": ("Adagrad", {}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop, centered, momentum": ("RMSprop", {"centered": True, "momentum": 0.9}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {}),
    "RAdam": ("RAdam", {}),
    "LAMB": ("LAMB", {"weight_decay": 0.01}),
    "LARS": ("LARS", {"weight_decay": 0.01}),
    "NAdam": ("NAdam", {}),
    "Adamax": ("Adamax", {}),
    "Adadelta": ("Adadelta", {}),
    "Lion": ("Lion", {}),
    "AdaBelief": ("AdaBelief", {}),
}


def parameters(size: int, tensors: int = TENSORS) -> list[nn.Parameter]:
    """A model of ``size`` parameters in a few matrices."""
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.standard_normal((1, size // tensors), dtype=np.float32)) for _ in range(tensors)]


def stepper(name: str, size: int, tensors: int = TENSORS, **options: Any) -> tuple[optim.Optimizer, Callable[[], Any]]:
    """An optimizer over such a model, with the gradients that `backward` has put in place."""
    made = parameters(size, tensors)
    optimizer = getattr(optim, name)(made, **options)
    for parameter in made:
        (parameter * parameter.detach()).sum().backward()
    return optimizer, optimizer.step


def torch_stepper(name: str, size: int, **options: Any) -> Callable[[], Any]:
    """The same in PyTorch."""
    import torch

    made = [torch.randn(1, size // TENSORS, requires_grad=True) for _ in range(TENSORS)]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    step: Callable[[], Any] = getattr(torch.optim, name)(made, **options).step
    return step


def by_size(sizes: tuple[int, ...], seconds: float) -> list[dict[str, Any]]:
    """Adam, and Adam after clipping by global norm, against PyTorch's Adam at one thread and at all."""
    import torch

    rows = []
    for size in sizes:
        copied = np.empty(size, np.float32)
        source = np.ones(size, np.float32)
        torch_fused = torch_stepper("Adam", size, fused=True)
        functions = {
            "adam": stepper("Adam", size)[1],
            "clip": stepper("Adam", size, clip=clipping.by_global_norm(1.0))[1],
            "fused 1": _at_threads(torch_fused, 1),
            "fused all": _at_threads(torch_fused, torch.get_num_threads()),
            "copy": lambda copied=copied, source=source: np.copyto(copied, source),
        }
        if size <= 1_000_000:
            functions["foreach 1"] = _at_threads(torch_stepper("Adam", size, foreach=True), 1)
        times = interleaved(functions, seconds)
        fused = min(times["fused 1"], times["fused all"])
        rows.append(
            {
                "parameters": size,
                "Adam (µs)": times["adam"],
                "clip + Adam (µs)": times["clip"],
                "torch fused, 1 thread (µs)": times["fused 1"],
                "torch fused, all threads (µs)": times["fused all"],
                "torch foreach (µs)": times.get("foreach 1", ""),
                "times faster than fused": fused / times["adam"],
                "clip + Adam / Adam": times["clip"] / times["adam"],
                "Adam GB/s": 28 * size / times["adam"] / 1e3,
                "copy GB/s": 8 * size / times["copy"] / 1e3,
            }
        )
    return rows


def by_algorithm(size: int, seconds: float) -> list[dict[str, Any]]:
    """Every optimizer against what its bytes cost at Adam's bandwidth."""
    steppers = {name: stepper(kind, size, **options) for name, (kind, options) in ALGORITHMS.items()}
    times = interleaved({name: step for name, (_, step) in steppers.items()}, seconds)
    moved = {name: optimizer.plan().bytes_per_parameter() for name, (optimizer, _) in steppers.items()}
    bandwidth = moved["Adam"] / times["Adam"]
    return [
        {
            "optimizer": name,
            "bytes per parameter": moved[name],
            "µs": times[name],
            "of what its bytes cost at Adam's bandwidth": times[name] / (moved[name] / bandwidth),
        }
        for name in times
    ]


def by_tensors(size: int, seconds: float) -> list[dict[str, Any]]:
    """The same number of parameters in ever more tensors."""
    rows = []
    for tensors in (1, 10, 100, 1000):
        optimizer, _ = stepper("Adam", size, tensors)
        rows.append({"tensors": tensors, "µs": interleaved({"adam": optimizer.step}, seconds)["adam"]})
    return rows


def _at_threads(step: Callable[[], Any], threads: int) -> Callable[[], Any]:
    import torch

    def run() -> None:
        torch.set_num_threads(threads)
        step()

    return run


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    """Another process that never sleeps, if it is wanted."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    if wanted:
        process.start()
    try:
        yield
    finally:
        if wanted:
            process.kill()
            process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repetitions")
    parser.add_argument("--busy", action="store_true", help="with a second process that occupies a core")
    parser.add_argument("--output", help="a JSON file for the results")
    chosen = parser.parse_args()
    sizes, seconds = (SIZES[:5], 0.5) if chosen.quick else (SIZES, 2.0)
    command = "python -m benchmarks.optimizer_step" + " --quick" * chosen.quick + " --busy" * chosen.busy
    with busy_neighbour(chosen.busy):
        rows = by_size(sizes, seconds)
        report("Adam by size" + ", one core busy" * chosen.busy, command, rows, chosen.output)
        if not chosen.busy:
            suffix = (chosen.output or "").removesuffix(".json")
            for size in (100_000, sizes[-1]):
                title = f"Every optimizer at {size:,} parameters"
                output = f"{suffix}_{size}.json" if suffix else None
                report(title, command, by_algorithm(size, seconds / 2), output)
            report("Adam, 100,000 parameters by number of tensors", command, by_tensors(100_000, seconds / 2), None)


if __name__ == "__main__":
    main()
