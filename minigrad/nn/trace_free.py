"""Running a model only to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .. import random
from ..devices.arrays import to_host
from .module import Module


@contextmanager
def leaving_no_trace(model: Module) -> Iterator[None]:
    """A block after which the model's modes and buffers, and the random numbers, are what they were before."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    buffers = [(vars(module), name, vars(module)[name]) for module in modules for name in module._buffers]
    values = [None if buffer is None else buffer.data.copy() for _, _, buffer in buffers]
    generator = random.get_state()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            if module.training != mode:
                module.training = mode
        for (owner, name, buffer), value in zip(buffers, values, strict=True):
            owner[name] = buffer
            # A value that was not changed is not assigned: a graph that waits for its backward pass may have saved it.
            if value is not None and not np.array_equal(to_host(buffer.data), to_host(value), equal_nan=True):
                buffer.data = value
        if random.get_state() != generator:
            random.set_state(generator)
