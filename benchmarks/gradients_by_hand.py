"""Steps of Adam with assigned gradients, and clips over two optimizers, compared with the usual ways."""

from __future__ import annotations

from typing import Any

import minigrad
from minigrad import clipping, nn, optim

from .effort import Effort
from .models import optimizer, random_arrays, steps
from .report import Table
from .timing import Contender, interleaved, ratio

TITLE = "Gradients by hand"
MAX_NORM = 1.0


def measure(effort: Effort) -> list[Table]:
    """Return a row for each size."""
    sizes = effort.of((300, 10_000, 100_000, 1_000_000, 4_000_000), (300, 10_000, 100_000, 1_000_000), (60,))
    notes = (
        "`p.grad = g` for each of 6 parameters, then `optimizer.step()`, compared with only the step and gradients "
        "from `backward`. A tensor that does not share its memory is adopted into the optimizer's buffer; one that "
        "shares it with another array is copied in every step. The joint clip is one `clip_grad_norm_` over the "
        "parameters of two optimizers, compared with one over as many parameters of a single optimizer."
    )
    return [Table("by_hand", "Assigned gradients and joint clips", [one_size(s, effort.seconds) for s in sizes], notes)]


def one_size(size: int, seconds: float) -> dict[str, Any]:
    """Compare at one size."""
    arrays = random_arrays(size)
    kept = [array.copy() for array in arrays.values()]
    times = interleaved(
        {
            "backward": steps(optimizer("Adam", arrays, {})),
            "assigned": _assigning(optimizer("Adam", arrays, {}), [minigrad.tensor(array) for array in kept]),
            "shared": _assigning(optimizer("Adam", arrays, {}), [minigrad.Tensor(array) for array in kept]),
            "one": _clipping(arrays, 1),
            "two": _clipping(arrays, 2),
        },
        seconds,
    )
    return {
        "parameters": size,
        "step (µs)": times["backward"].measure(),
        "assign and step, times that": ratio(times["assigned"], times["backward"]),
        "the same with shared arrays": ratio(times["shared"], times["backward"]),
        "clip (µs)": times["one"].measure(),
        "joint clip, times that": ratio(times["two"], times["one"]),
    }


def _assigning(made: optim.Optimizer, gradients: list[minigrad.Tensor]) -> Contender:
    parameters = made.param_groups[0]["params"]

    def call() -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        made.step()

    return Contender(call)


def _clipping(arrays: dict[str, Any], count: int) -> Contender:
    parameters = [nn.Parameter(array.copy()) for array in arrays.values()]
    owners = [optim.SGD(parameters[i::count]) for i in range(count)]
    for parameter in parameters:
        (parameter * minigrad.Tensor(parameter.data.copy())).sum().backward()

    def call() -> None:
        assert owners  # which hold the memory of the parameters
        clipping.clip_grad_norm_(parameters, MAX_NORM)

    return Contender(call)
