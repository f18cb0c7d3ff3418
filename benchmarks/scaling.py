"""The cost of a step by number of parameters, and by number of tensors for the same parameters."""

from __future__ import annotations

from typing import Any

from . import peers
from .effort import Effort
from .models import optimizer, random_arrays, steps
from .report import Table
from .timing import interleaved

TITLE = "Cost against size and number of tensors"


def measure(effort: Effort) -> list[Table]:
    """Return time per parameter by size, and the time of 100,000 parameters in more and more tensors."""
    sizes = effort.of((1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000), (1_000_000, 10_000_000), (60, 120))
    tensors = effort.of((1, 10, 100, 1000), (1, 10, 100), (1, 3))
    total = effort.of(100_000, 100_000, 60)
    by_size = [_by_size(size, effort.seconds) for size in sizes]
    by_tensors = [_by_tensors(total, count, effort.seconds) for count in tensors]
    return [
        Table("size", "Adam: time per parameter", by_size, "Only minigrad: a hundred million parameters are 1.6 GB."),
        Table(
            "tensors",
            f"Adam: {total:,} parameters by number of tensors",
            by_tensors,
            "The fastest setting of each peer, as in the other tables.",
        ),
    ]


def _by_size(size: int, seconds: float) -> dict[str, Any]:
    made = optimizer("Adam", random_arrays(size), {})
    time = interleaved({"minigrad": steps(made)}, seconds)["minigrad"]
    return {"parameters": made.store.size, "ns per parameter": time.measure(1e9 / made.store.size)}


def _by_tensors(size: int, tensors: int, seconds: float) -> dict[str, Any]:
    arrays = random_arrays(size, tensors)
    contenders = {"minigrad": steps(optimizer("Adam", arrays, {}))}
    if peers.has("torch"):
        contenders |= peers.torch_steps("Adam", arrays, {})
    if peers.has("jax"):
        contenders |= peers.optax_steps(peers.jax_modules()[1].adam(1e-3), arrays)
    times = interleaved(contenders, seconds)
    return {
        "tensors": tensors,
        "minigrad (µs)": times["minigrad"].measure(),
        **peers.versus(times, "PyTorch"),
        **peers.versus(times, "optax"),
    }
