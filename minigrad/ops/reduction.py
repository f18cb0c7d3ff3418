"""Reductions over any axes, and their inverse: summing a broadcast gradient back to its input's shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from .primitive import primitive
from .shape import expand, reshape

Axis = int | tuple[int, ...] | None


def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """``shape`` with the reduced axes kept at size 1."""
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    reduced = {a % len(shape) for a in axes}
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Give a reduced gradient (or output) back the reduced axes, at full size."""
    return expand(reshape(g, shape=_kept(shape, axis)), shape=shape)


def sum_to_shape(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``g`` over the axes along which an array of ``shape`` was broadcast to ``g.shape``."""
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1
    )
    return reshape(sum(g, axis=axes), shape=shape)


def _sum(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims)


sum = primitive("sum", _sum, "x", (lambda g, x_shape, *, axis: _spread(g, x_shape, axis),))
