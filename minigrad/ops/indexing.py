"""Primitives that select elements, and their adjoints, which add gradients up at the selected places."""

from __future__ import annotations

import math
from types import EllipsisType
from typing import Any

import numpy as np

from ..devices.arrays import DEVICE_ARRAYS, add_at, is_array, namespace, peek, refuse_outside
from ..devices.summation import axes_of
from .elementwise import masked
from .primitive import Primitive, primitive

__all__ = ["assign", "embedding", "gather", "getitem", "place", "put", "scatter", "take"]

Key = Any


def _getitem(x: Any, *, key: Key) -> Any:
    if type(x) in DEVICE_ARRAYS:
        refuse_outside("getitem", x.shape, key)
    return x[key]


def _selects_once(key: Key) -> bool:
    """Whether a key can select no element twice: slices and numbers, or a single mask."""
    items = key if isinstance(key, tuple) else (key,)
    if all(item is None or isinstance(item, int | np.integer | slice | EllipsisType) for item in items):
        return True
    return len(items) == 1 and getattr(items[0], "dtype", None) == np.bool_


def _place(g: Any, *, key: Key, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape``, with ``g`` added at ``key``; an element that is selected twice receives both gradients."""
    # Not zeros_like, which copies the memory layout of g: reshape(-1) of another layout than C is a copy.
    library = namespace(g)
    out = library.zeros(shape, g.dtype)
    if _selects_once(key):
        out[key] = g
    else:
        # By flat positions, since np.add.at is fast only in one dimension.
        positions = library.arange(out.size).reshape(shape)[key]
        add_at(out.reshape(-1), positions.reshape(-1), g.reshape(-1))
    return out


def _add_at(total: Any, g: Any, *, key: Key) -> bool:
    if not is_array(total) or not _selects_once(key):
        return False
    total[key] += g
    return True


getitem: Primitive = primitive(
    "getitem",
    _getitem,
    "x",
    (lambda g, x_shape, *, key: place(g, key=key, shape=x_shape),),
    view=True,
    add_at=_add_at,
    doc="Basic and advanced indexing, ``x[key]``.",
)
place: Primitive = primitive("place", _place, "g", (lambda g, *, key: getitem(g, key=key),), doc=_place.__doc__)


def _assign(x: Any, value: Any, *, key: Key = ...) -> Any:
    x[key] = value
    return x


assign = primitive(
    "assign",
    _assign,
    "x value",
    view=True,
    in_place=True,
    doc="x itself, with ``value`` written into it at ``key``; the only primitive that changes an input.",
)


def _take(x: Any, indices: Any, *, axis: int | None = None) -> Any:
    indices = as_indices(indices)
    if type(x) in DEVICE_ARRAYS:
        refuse_outside("take", (x.size if axis is None else x.shape[axis],), indices)
    return np.take(x, indices, axis)


def as_indices(indices: Any) -> Any:
    """Indices as an array of integers, also for an empty list, which NumPy converts to floats."""
    array = namespace(indices).asarray(indices)
    return array if array.size or is_array(indices) else array.astype(np.intp)


def _put(g: Any, indices: Any, *, axis: int | None, shape: tuple[int, ...]) -> Any:
    indices = as_indices(indices)
    if axis is None or not shape:
        return _place(g, key=(indices,), shape=(math.prod(shape),)).reshape(shape)
    return _place(g, key=(slice(None),) * (axis % len(shape)) + (indices,), shape=shape)


take: Primitive = primitive(
    "take",
    _take,
    "x indices",
    (lambda g, x_shape, indices, *, axis: put(g, indices, axis=axis, shape=x_shape), None),
    doc="The slices of ``x`` at ``indices`` along ``axis``, or elements of the flattened ``x`` if it is None.",
)
put: Primitive = primitive(
    "put",
    _put,
    "g indices",
    (lambda g, indices, *, axis: take(g, indices, axis=axis), None),
    doc="Zeros of ``shape``, with the slices of ``g`` added at ``indices`` along ``axis``: the gradient of `take`.",
)


def _along(indices: Any, axis: int) -> tuple[Any, ...]:
    """The key that looks up ``indices`` along ``axis`` and keeps the position on all other axes."""
    if not indices.ndim:
        return ()
    axis %= indices.ndim
    ones = (1,) * indices.ndim
    positions = [
        namespace(indices).arange(n).reshape(*ones[:i], n, *ones[i + 1 :]) for i, n in enumerate(indices.shape)
    ]
    return (*positions[:axis], indices, *positions[axis + 1 :])


def _gather(x: Any, indices: Any, *, axis: int) -> Any:
    if x.ndim != indices.ndim or any(
        n < m for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True)) if i != axis % x.ndim
    ):
        raise ValueError("indices must have the same number of axes and, except on the one looked up, be no larger")
    if not x.shape:
        axes_of(0, axis)
        return _gather(x.reshape(1), indices.reshape(1), axis=0).reshape(())
    if type(x) in DEVICE_ARRAYS:
        refuse_outside("gather", (x.shape[axis],), indices)
    return x[_along(indices, axis)]


def _scatter(g: Any, indices: Any, *, axis: int, shape: tuple[int, ...]) -> Any:
    return _place(g, key=_along(indices, axis), shape=shape)


gather: Primitive = primitive(
    "gather",
    _gather,
    "x indices",
    (lambda g, x_shape, indices, *, axis: scatter(g, indices, axis=axis, shape=x_shape), None),
    doc="out[i, j, ...] = x[indices[i, j, ...], j, ...] for axis 0, and so on (``torch.gather``).",
)


scatter: Primitive = primitive(
    "scatter",
    _scatter,
    "g indices",
    (lambda g, indices, *, axis: gather(g, indices, axis=axis), None),
    doc="Zeros of ``shape``, with g[i, j] added at [indices[i, j], j] for axis 0, and so on: the gradient of `gather`.",
)


def _embedding(indices: Any, weight: Any, *, padding_idx: int | None = None) -> Any:
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype}")
    if indices.size and (indices.min() < 0 or indices.max() >= len(weight)):
        shown = peek(indices)
        wrong = int(shown[(shown < 0) | (shown >= len(weight))].ravel()[0])
        raise IndexError(f"embedding: index {wrong} is out of range for a table of {len(weight)} rows")
    return weight[indices]


def _embedding_rule(g: Any, indices: Any, weight_shape: tuple[int, ...], *, padding_idx: int | None) -> Any:
    if padding_idx is not None:
        g = masked(g, (indices != padding_idx % weight_shape[0])[..., None])
    return put(g, indices, axis=0, shape=weight_shape)


embedding = primitive(
    "embedding",
    _embedding,
    "indices weight",
    (None, _embedding_rule),
    doc="The rows of ``weight`` at ``indices``; the row ``padding_idx`` receives no gradient.",
)
