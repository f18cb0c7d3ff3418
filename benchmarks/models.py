"""Parameters and optimizers that several groups time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import minigrad
from minigrad import nn, optim

from .peers import Arrays
from .timing import Contender

TENSORS = 6
LOOKAHEAD_STEPS = 5


def random_arrays(size: int, tensors: int = TENSORS) -> dict[str, npt.NDArray[np.float32]]:
    """Return a model of ``size`` parameters, as matrices of one row; the last one takes the remainder."""
    rng = np.random.default_rng(0)
    lengths = [size // tensors] * (tensors - 1)
    lengths.append(size - sum(lengths))
    return {f"p{i}": rng.standard_normal((1, length), dtype=np.float32) for i, length in enumerate(lengths)}


def optimizer(name: str, arrays: Arrays, options: dict[str, Any]) -> optim.Optimizer:
    """Return an optimizer over copies of the arrays, with gradients from `backward`."""
    parameters = [nn.Parameter(array.copy()) for array in arrays.values()]
    if name == "Lookahead":
        made: optim.Optimizer = optim.Lookahead(optim.Adam(parameters, **options), k=LOOKAHEAD_STEPS)
    else:
        made = getattr(optim, name)(parameters, **options)
    for parameter in parameters:
        (parameter * minigrad.Tensor(parameter.data.copy())).sum().backward()
    return made


def steps(made: optim.Optimizer) -> Contender:
    """Return the contender of its steps; for Lookahead, one call makes all steps from one sync to the next."""
    if not isinstance(made, optim.Lookahead):
        return Contender(made.step)

    def cycle() -> None:
        for _ in range(LOOKAHEAD_STEPS):
            made.step()

    return Contender(cycle, units=LOOKAHEAD_STEPS)
