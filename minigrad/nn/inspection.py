"""Running a model only to look at it: `restoring` leaves no trace in it, and `summary` lists its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..autograd.creation import zeros
from ..autograd.modes import no_grad
from ..autograd.tensor import Tensor
from ..devices.arrays import is_array, to_host
from .module import Module
from .summary import Row, Shape, Summary

__all__ = ["summary"]


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


def summary(model: Module, example: Any = None) -> Summary:
    """Summarize ``model``: a row for every module that owns parameters or contains no others.

    Before training, the standard deviations describe the initial weights.

    Args:
        model: any module.
        example: an input, as a Tensor or array, or its shape as a tuple (then zeros of the model's dtype, on its
            device). With it the model runs once, in evaluation mode and without recording, to find the output shapes;
            its modes, buffers and hooks are restored.

    Raises:
        TypeError: for an example that is neither.
    """
    shapes = {} if example is None else _output_shapes(model, _as_input(model, example))
    rows = []
    counted: set[int] = set()
    for name, module in model.named_modules():
        if module._modules and not module._parameters:
            continue
        own = [p for p in module._parameters.values() if id(p) not in counted]
        counted.update(map(id, own))
        weights = [to_host(p.data).ravel() for p in module._parameters.values() if p.role == "weight" and p.size]
        std = float(np.std(np.concatenate(weights), dtype=np.float64)) if weights else None
        rows.append(Row(name, type(module).__name__, shapes.get(id(module), ()), sum(p.size for p in own), std))
    parameters = list(model.parameters())
    return Summary(tuple(rows), sum(p.size for p in parameters), sum(p.size for p in parameters if p.requires_grad))


def _as_input(model: Module, example: Any) -> Any:
    if isinstance(example, Tensor) or is_array(example):
        return example
    if not isinstance(example, tuple) or not all(isinstance(n, int) for n in example):
        raise TypeError(
            f"summary: the example must be a Tensor, an array, or a shape such as (1, 64), not {example!r:.60}"
        )
    first = next((p for p in model.parameters() if p.dtype.kind == "f"), None)
    return zeros(example) if first is None else zeros(example, dtype=first.dtype, device=first.device)


def _output_shapes(model: Module, example: Any) -> dict[int, tuple[Shape, ...]]:
    """The shapes that each module returns for an example, by the module's id."""
    shapes: dict[int, tuple[Shape, ...]] = {}

    def note(module: Module, args: tuple[Any, ...], output: Any) -> None:
        shapes[id(module)] = tuple(_shapes(output))

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with restoring(model), no_grad():
            model.eval()
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _shapes(output: Any) -> Iterator[Shape]:
    if isinstance(output, Tensor) or is_array(output):
        yield output.shape
    elif isinstance(output, tuple | list):
        for item in output:
            yield from _shapes(item)
    elif isinstance(output, dict):
        for item in output.values():
            yield from _shapes(item)
