"""Sums of many numbers without the rounding errors of adding row after row.

NumPy sums pairwise only along the axis whose elements are contiguous in memory. Along any other axis it adds row after
row, and the error grows with the number of rows: to 1 % for a million rows of float32.

The order of summation here, along each such axis of more than `ROWS` rows: while more than `FEW` rows are left, the n
rows are cut into p consecutive parts of n // p rows, and the parts are added to each other, row by row, in order; p is
the largest divisor of n that is not above `FEW`, or min(16, √n) if that is below 4, and then the n % p rows that are
left over are added to the first rows of the result. The last rows take one call of NumPy's ``reduce``. If several axes
have more than `ROWS` summands together, they are summed one after the other, from the largest stride to the smallest,
and each is cut if it has more than `FEW` rows. Everything else is one call of ``reduce``: up to `ROWS` summands, and
those that are neighbors in memory.

Products have no such order: every multiplication adds its own relative error, whatever comes first.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_tuple

Axis = int | tuple[int, ...] | None

# Up to this number of summands NumPy's order is as good, and its one call faster.
ROWS = 128
FEW = 32

# NumPy's type stubs require a literal keepdims.
_add: Any = np.add.reduce


def axes_of(ndim: int, axis: Axis) -> tuple[int, ...]:
    """Normalize ``axis`` to a tuple of non-negative axes. A 0-d array has one, 0 or -1, and nothing to reduce.

    Raises:
        AxisError, ValueError: for another axis of a 0-d array. NumPy checks the axes of other arrays.
    """
    if axis is None:
        return tuple(range(ndim))
    if not ndim:
        normalize_axis_tuple(axis, 1)
        return ()
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple | list) else (axis,)))


def add_up(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over ``axis``, in the order described above."""
    shape = x.shape
    if type(axis) is int and -len(shape) <= axis < len(shape):  # most sums
        if shape[axis] <= ROWS or _neighbors(x, axis):
            return _add(x, axis=axis, keepdims=keepdims)
        return _along(x, axis % len(shape), keepdims)
    if x.size > ROWS and (not x.flags.forc if axis is None else _many(x, axis) and not _neighbors(x, axis)):
        return _in_parts(x, axis, keepdims)
    try:
        return _add(x, axis=axis, keepdims=keepdims)
    except AxisError:
        return _add(x, axis=axis if shape else axes_of(0, axis), keepdims=keepdims)


def cumulate(x: Any, *, axis: int) -> Any:
    """The running sum along ``axis``: within blocks of `FEW` rows, to which the sum of all earlier blocks is added."""
    if not x.shape:
        return np.cumsum(x.reshape(1), axis).reshape(())
    if not _many(x, axis):
        return np.cumsum(x, axis)
    x = np.swapaxes(x, 0, axis)
    whole = len(x) - len(x) % FEW
    blocks = np.cumsum(x[:whole].reshape(-1, FEW, *x.shape[1:]), 1)
    earlier = cumulate(blocks[:, -1], axis=0)
    blocks[1:] += earlier[:-1, None]
    rest = np.cumsum(x[whole:], 0) + earlier[-1:]
    return np.swapaxes(np.concatenate([blocks.reshape(whole, *x.shape[1:]), rest]), 0, axis)


def _many(x: Any, axis: Any) -> bool:
    """Whether each result has more than `ROWS` summands; no for axes that NumPy is about to refuse."""
    try:
        return (math.prod(x.shape[a] for a in axis) if isinstance(axis, tuple) else x.shape[axis]) > ROWS
    except (IndexError, TypeError):
        return False


def _neighbors(x: Any, axis: Any) -> bool:
    """Whether the summands of each result are neighbors in memory; NumPy's innermost loop adds them in pairs."""
    if isinstance(axis, tuple):
        return bool(x.flags.c_contiguous and min(a % x.ndim for a in axis) == x.ndim - len(axis))
    step = abs(x.strides[axis])
    return step > 0 and step == min(map(abs, x.strides))


def _in_parts(x: Any, axis: Any, keepdims: bool) -> Any:
    """Sum over one axis after the other."""
    if axis is not None and not isinstance(axis, tuple):
        return _along(x, axis % x.ndim, keepdims)
    axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes)
    for a in sorted(axes, key=lambda a: -abs(x.strides[a])):
        x = _along(x, a, True)
    return x.reshape(kept)


@functools.lru_cache
def _parts(n: int) -> int:
    exact = max(p for p in range(1, FEW + 1) if n % p == 0)
    return exact if exact >= 4 else min(16, math.isqrt(n))


def _along(x: Any, axis: int, keepdims: bool) -> Any:
    n = x.shape[axis]
    if n > FEW and not _neighbors(x, axis):
        before, after, every = x.shape[:axis], x.shape[axis + 1 :], (slice(None),) * axis
        while n > FEW:
            parts = _parts(n)
            size = n // parts
            whole = parts * size
            total = _add(x[(*every, slice(whole))].reshape(*before, parts, size, *after), axis=axis)
            if whole < n:
                total[(*every, slice(n - whole))] += x[(*every, slice(whole, n))]
            x, n = total, size
    return _add(x, axis=axis, keepdims=keepdims)
