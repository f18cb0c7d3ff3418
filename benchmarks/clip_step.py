"""Clipping by global norm and a step of Adam, compared with Adam without clipping and with the peers."""

from __future__ import annotations

from typing import Any

from minigrad import clipping

from . import peers
from .effort import Effort
from .models import optimizer, random_arrays, steps
from .report import Table
from .timing import interleaved, ratio

TITLE = "Clip and step"
MAX_NORM = 1.0


def measure(effort: Effort) -> list[Table]:
    """Return a row for each size."""
    sizes = effort.of(
        (300, 10_000, 100_000, 1_000_000, 4_000_000, 30_000_000), (300, 10_000, 100_000, 1_000_000), (60,)
    )
    notes = (
        "minigrad: the clip is part of the chain. PyTorch: `clip_grad_norm_`, then the step, which also changes the "
        "gradients. optax: `chain(clip_by_global_norm, adam)` in one jitted call, over tensors and flattened. The clip "
        "adds one read of the gradients for their norm, summed in float64, with half as many elements per vector "
        "instruction as Adam's float32."
    )
    return [Table("clip", "Clip by global norm, then Adam", [one_size(s, effort.seconds) for s in sizes], notes)]


def one_size(size: int, seconds: float) -> dict[str, Any]:
    """Compare at one size."""
    arrays = random_arrays(size)
    contenders = {
        "minigrad": steps(optimizer("Adam", arrays, {"clip": clipping.by_global_norm(MAX_NORM)})),
        "Adam": steps(optimizer("Adam", arrays, {})),
    }
    if peers.has("torch"):
        contenders |= peers.torch_steps("Adam", arrays, {}, clip=MAX_NORM)
    if peers.has("jax"):
        optax = peers.jax_modules()[1]
        transform = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adam(1e-3))
        contenders |= peers.optax_steps(transform, arrays)
    times = interleaved(contenders, seconds)
    return {
        "parameters": size,
        "minigrad (µs)": times["minigrad"].measure(),
        "times Adam alone": ratio(times["minigrad"], times["Adam"]),
        **peers.versus(times, "PyTorch"),
        **peers.versus(times, "optax"),
    }
