"""What happens between steps: parameters that others move, and gradients that nobody clears."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd.tensor import Tensor
from ...devices.arrays import to_host
from ...nn import Module
from ...optim import Optimizer

# The cosine from which one gradient holds the other: a sum of many, and the same sum with one more.
ALIKE = 0.9


class LeftOut:
    """The parameters of a model that have a gradient, that an optimizer does not hold, and that nobody else moves."""

    def __init__(self, model: Module, optimizer: Optimizer) -> None:
        held = {id(entry.parameter) for entry in optimizer.store.entries.values()}
        self._others = [
            (name, parameter._version, parameter._version[0])
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in held
        ]

    def names(self) -> list[str]:
        """Those that are as they were."""
        return [name for name, version, before in self._others if version[0] == before]


class Gradient:
    """The gradient that a step has used, to see whether the next one begins with it."""

    def __init__(self, optimizer: Optimizer) -> None:
        parameters = (entry.parameter for entry in optimizer.store.entries.values())
        self._parameter = next((p for p in parameters if p._grad is not None), None)
        self._kept: Tensor | None = None if self._parameter is None else self._parameter._grad
        self._values = _flat(self._kept)

    def was_kept(self) -> bool:
        """Whether the gradient that is there now has been added to it."""
        if self._parameter is None or self._kept is None or self._parameter._grad is not self._kept:
            return False
        now = _flat(self._kept)
        sizes = float(np.linalg.norm(now)) * float(np.linalg.norm(self._values))
        return 0 < sizes < np.inf and float(now @ self._values) > ALIKE * sizes


def _flat(gradient: Tensor | None) -> Any:
    return np.zeros(0) if gradient is None else to_host(gradient._data).astype(np.float64).ravel()
