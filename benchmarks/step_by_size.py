"""Whole ``optimizer.step()`` calls of Adam, Python included, by the number of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import peers
from .effort import Effort
from .models import TENSORS, optimizer, random_arrays, steps
from .report import Table
from .timing import Contender, interleaved, ratio

TITLE = "Optimizer step by size"
ADAM_BYTES = 28  # read: parameter, gradient, two moments; written: parameter and moments


def measure(effort: Effort) -> list[Table]:
    """Return a row for each size with the fastest setting of each peer, and the times of every setting."""
    sizes = effort.of(
        (300, 2_400, 10_000, 100_000, 1_000_000, 4_000_000, 30_000_000),
        (300, 10_000, 100_000, 1_000_000),
        (60,),
    )
    rows, details = [], []
    for size in sizes:
        row, detail = one_size(size, effort.seconds)
        rows.append(row)
        details.append(detail)
    notes = (
        f"In {TENSORS} tensors, float32. The fastest of PyTorch's fused, foreach and for-loop implementations on one "
        f"thread and on all; optax in one jitted call with donated buffers, over tensors and flattened. GB/s: "
        f"{ADAM_BYTES} bytes per parameter. From some million parameters on, all wait for the memory alike."
    )
    return [
        Table("adam", "Adam, whole steps", rows, notes),
        Table("settings", "Every setting, µs", details, detail=True),
    ]


def one_size(size: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare at one size. Return the comparison and the times of all contenders."""
    arrays = random_arrays(size)
    source, target = np.ones(size, np.float32), np.empty(size, np.float32)
    contenders = {"minigrad": steps(optimizer("Adam", arrays, {}))}
    if peers.has("torch"):
        contenders |= peers.torch_steps("Adam", arrays, {})
    if peers.has("jax"):
        contenders |= peers.optax_steps(peers.jax_modules()[1].adam(1e-3), arrays)
    contenders["copy"] = Contender(lambda: np.copyto(target, source))
    times = interleaved(contenders, seconds)
    row = {
        "parameters": size,
        "minigrad (µs)": times["minigrad"].measure(),
        **peers.versus(times, "PyTorch"),
        **peers.versus(times, "optax"),
        "minigrad (GB/s)": ADAM_BYTES * size / times["minigrad"].median / 1e9,
        "longer than a copy of the parameters": ratio(times["minigrad"], times["copy"]),
    }
    return row, {"parameters": size} | {name: each.measure() for name, each in times.items()}
