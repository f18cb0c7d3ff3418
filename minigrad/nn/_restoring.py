"""One context manager for everything that runs a model only to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .. import random
from ..devices.arrays import to_host
from .module import Module


@contextmanager
def restoring(model: Module) -> Iterator[None]:
    """A ``with`` block that may run ``model`` and leaves no trace.

    At its end, the model's modes and buffers, and the state of `minigrad.random`, are restored.
    """
    modules = list(model.modules())
    modes = [module.training for module in modules]
    buffers = [(vars(module), name, vars(module)[name]) for module in modules for name in module._buffers]
    values = [None if buffer is None else buffer.data.copy() for _, _, buffer in buffers]
    generator = random.get_state()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            # Only where it differs: the attribute of a user's module may do more than store a flag.
            if module.training != mode:
                module.training = mode
        for (owner, name, buffer), value in zip(buffers, values, strict=True):
            owner[name] = buffer
            # Assigning counts as a change, and a graph that waits for its backward pass may have saved this buffer.
            if value is not None and not np.array_equal(to_host(buffer.data), to_host(value), equal_nan=True):
                buffer.data = value
        if random.get_state() != generator:
            random.set_state(generator)
