"""Deep graphs: time per operation of a long chain, forward and backward, and the memory that it holds."""

from __future__ import annotations

from typing import Any

from . import peers
from .effort import Effort
from .processes import run
from .report import Table
from .timing import Measure

TITLE = "Graph depth"

_TIMES = """
import gc, json, time
{make}
def chain(depth, collect):
    gc.collect()
    (gc.enable if collect else gc.disable)()
    x = leaf()
    start = time.perf_counter()
    for _ in range(depth):
        x = x * 1.0000001
    x = x.sum()
    there = time.perf_counter()
    x.backward()
    return there - start, time.perf_counter() - there
chain(1000, True)
print(json.dumps({{str(collect): [chain({depth}, collect) for _ in range({rounds})] for collect in (True, False)}}))
"""
_LEAVES = {
    "minigrad": "import minigrad\ndef leaf(): return minigrad.tensor([1.0, 2.0], requires_grad=True)",
    "PyTorch": "import torch\ndef leaf(): return torch.tensor([1.0, 2.0], requires_grad=True)",
}
_MEMORY = """
import gc, json, tracemalloc
import minigrad
def chain(depth):
    gc.collect()
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    tracemalloc.start()
    for _ in range(depth):
        x = x * 1.0000001
    x = x.sum()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    x.backward()
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {{"held": held / depth, "peak": peak / depth, "left": left / depth}}
chain(10)
print(json.dumps(chain({depth})))
"""


def measure(effort: Effort) -> list[Table]:
    """Return time per operation by depth, and memory per operation."""
    depths = effort.of((1_000, 10_000, 100_000, 300_000), (1_000, 100_000), (10, 100))
    rounds = effort.of(5, 1, 1)
    times = [
        {"operations": depth} | _times(depth, max(rounds, effort.of(20_000, 10_000, 0) // depth)) for depth in depths
    ]
    memory = [
        {"operations": depth} | run(_MEMORY.format(depth=depth)) for depth in effort.of(depths, depths[:2], depths)
    ]
    return [
        Table(
            "time",
            "Chained multiplications: µs per operation",
            times,
            "Each in a fresh process. Linear time is the same time per operation at every depth. With Python's cyclic "
            "garbage collector at work, which looks through the nodes again and again while they become more, and "
            "without it (`gc.disable()`). JAX does not take part: it would trace the chain into one program.",
        ),
        Table(
            "memory",
            "Chained multiplications: bytes per operation",
            memory,
            "As tracemalloc counts them. Held: after the forward pass. Peak: the most during the backward pass. Left: "
            "after it, while the last tensor is still there.",
        ),
    ]


def _times(depth: int, rounds: int) -> dict[str, Any]:
    """Time forward and backward, ours and PyTorch's."""
    found: dict[str, Any] = {}
    for name in ("minigrad", *(["PyTorch"] if peers.has("torch") else [])):
        measured = run(_TIMES.format(make=_LEAVES[name], depth=depth, rounds=rounds))
        for collect, setting in (("True", ""), ("False", ", no gc")):
            for number, part in enumerate(("forward", "backward")):
                seconds = [pair[number] for pair in measured[collect]]
                found[f"{name}, {part}{setting} (µs)"] = Measure.of(seconds, 1e6 / depth)
    return found
