"""Primitives that rearrange elements; their gradients are rearranged back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import named_arguments
from ..devices.summation import axes_of
from .indexing import getitem
from .primitive import Primitive, primitive

__all__ = [
    "concatenate", "expand", "flip", "pad", "permute", "reshape", "split", "squeeze", "stack", "transpose",
    "unsqueeze",
]  # fmt: skip

# --- views -----------------------------------------------------------------------------------------------------------


def _reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    return np.reshape(x, shape)


def _expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(x, shape)


def _transpose(x: Any, *, axis0: int = -2, axis1: int = -1) -> Any:
    if not x.shape and axes_of(0, axis0) == axes_of(0, axis1) == ():
        return x
    return np.swapaxes(x, axis0, axis1)


def _permute(x: Any, *, axes: Sequence[int]) -> Any:
    return np.transpose(x, axes)


def _squeeze(x: Any, *, axis: int | tuple[int, ...] | None = None) -> Any:
    return np.squeeze(x, axis if x.shape else axes_of(0, axis))


def _unsqueeze(x: Any, *, axis: int | tuple[int, ...]) -> Any:
    return np.expand_dims(x, axis)


def _flip(x: Any, *, axis: int | tuple[int, ...] | None = None) -> Any:
    return np.flip(x, axis if x.shape else axes_of(0, axis))


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    ndim = len(axes)
    order = [a % ndim for a in axes]
    return tuple(order.index(i) for i in range(ndim))


reshape: Primitive = primitive(
    "reshape",
    _reshape,
    "x",
    (lambda g, x_shape: reshape(g, shape=x_shape),),
    view=True,
    doc="The same elements in another shape; one size may be -1.",
)
# The engine sums the gradient back, as for every broadcast input.
expand: Primitive = primitive(
    "expand", _expand, "x", (lambda g: g,), view=True, doc="x broadcast to ``shape``, without copying."
)
transpose: Primitive = primitive(
    "transpose",
    _transpose,
    "x",
    (lambda g, *, axis0, axis1: transpose(g, axis0=axis0, axis1=axis1),),
    view=True,
    doc="Two axes exchanged, by default the last two.",
)
permute: Primitive = primitive(
    "permute",
    _permute,
    "x",
    (lambda g, *, axes: permute(g, axes=_inverse(axes)),),
    view=True,
    doc="The axes in the order ``axes``.",
)
squeeze = primitive(
    "squeeze",
    _squeeze,
    "x",
    (lambda g, x_shape: reshape(g, shape=x_shape),),
    view=True,
    doc="Without the axes of size 1 in ``axis``, or without all of them.",
)
unsqueeze = primitive(
    "unsqueeze",
    _unsqueeze,
    "x",
    (lambda g, x_shape: reshape(g, shape=x_shape),),
    view=True,
    doc="With new axes of size 1 at the positions in ``axis``.",
)
flip: Primitive = primitive(
    "flip",
    _flip,
    "x",
    (lambda g, *, axis: flip(g, axis=axis),),
    view=True,
    doc="The elements along ``axis`` in reverse order.",
)

# --- joining and padding -------------------------------------------------------------------------------------------


def _concatenate(*values: Any, axis: int = 0) -> Any:
    return np.concatenate(values, axis)


def _concatenate_rule(index: int, g: Any, shapes: Sequence[tuple[int, ...]], *, axis: int) -> Any:
    axis %= len(shapes[0])
    start = sum(shape[axis] for shape in shapes[:index])
    return getitem(g, key=(slice(None),) * axis + (slice(start, start + shapes[index][axis]),))


def _stack(*values: Any, axis: int = 0) -> Any:
    return np.stack(values, axis)


def _stack_rule(index: int, g: Any, *, axis: int) -> Any:
    return getitem(g, key=(slice(None),) * (axis % len(g.shape)) + (index,))


def _pad(x: Any, *, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    if len(widths) != x.ndim or any(w < 0 for pair in widths for w in pair):
        raise ValueError("widths must have a pair (before, after) of sizes for each axis")
    if x.dtype.kind in "iub" and x.dtype.type(value) != value:
        raise ValueError(f"{x.dtype} cannot hold value={value}; convert with .float() first")
    out = np.full_like(
        x, value, shape=tuple(before + n + after for n, (before, after) in zip(x.shape, widths, strict=True))
    )
    out[_inside(x.shape, widths)] = x
    return out


def _inside(shape: tuple[int, ...], widths: Sequence[tuple[int, int]]) -> tuple[slice, ...]:
    """The key of the original inside its padding."""
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths, strict=True))


concatenate = primitive(
    "concatenate",
    _concatenate,
    "values",
    (_concatenate_rule,),
    variadic=True,
    hint="sizes must agree on every axis but the one that is joined",
    doc="Join along an existing axis.",
)
stack = primitive(
    "stack", _stack, "values", (_stack_rule,), variadic=True, hint="shapes must be equal", doc="Join along a new axis."
)
pad = primitive(
    "pad",
    _pad,
    "x",
    (lambda g, x_shape, *, widths: getitem(g, key=_inside(x_shape, widths)),),
    doc="Surround with ``value``; ``widths`` has a pair (before, after) for each axis.",
)


@named_arguments
def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Cut along ``axis`` into parts of the given sizes, or of one size (the last part may be smaller).

    Raises:
        ValueError: if the sizes do not add up to the length of the axis.
    """
    if not -len(x.shape) <= axis < len(x.shape):
        raise ValueError(f"split: axis {axis} is out of range for shape {x.shape}")
    axis %= len(x.shape)
    total = x.shape[axis]
    if isinstance(sizes, int):
        if sizes <= 0:
            raise ValueError(f"split: the size of a part must be positive, not {sizes}")
        # An empty axis has one empty part.
        sizes = [min(sizes, total - start) for start in range(0, max(total, 1), sizes)]
    if sum(sizes) != total or any(size < 0 for size in sizes):
        raise ValueError(f"split: sizes {tuple(sizes)} do not add up to {total}, the size of axis {axis}")
    parts, start = [], 0
    for size in sizes:
        parts.append(getitem(x, key=(slice(None),) * axis + (slice(start, start + size),)))
        start += size
    return tuple(parts)
