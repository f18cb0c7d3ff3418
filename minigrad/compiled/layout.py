"""Where the elements of arrays are in memory: strides, and the loops that go through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Sizes = tuple[int, ...]
# A loop: how often, and by how many bytes each of some addresses moves.
Dim = tuple[int, Sizes]


class Layout(NamedTuple):
    """The attributes of an array that decide where its elements are."""

    shape: Sizes
    strides: Sizes
    dtype: np.dtype[Any]

    def broadcast(self, shape: Sizes) -> Layout:
        """The same elements, repeated to a shape."""
        strides = tuple(0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True))
        return Layout(shape, (0,) * (len(shape) - len(strides)) + strides, self.dtype)


def layout_of(like: Any) -> Layout:
    """The layout of an array, or of a node."""
    return Layout(like.shape, like.strides, like.dtype)


def c_strides(shape: Iterable[int], itemsize: int) -> Sizes:
    """The strides of an array in C order."""
    strides, step = [], itemsize
    for n in reversed(tuple(shape)):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def same_layout(shape: Sizes, a: Sizes, b: Sizes) -> bool:
    """Whether two sets of strides lead to the same elements."""
    return all(n == 1 or x == y for n, x, y in zip(shape, a, b, strict=True))


def is_dense(shape: Sizes, strides: Sizes, itemsize: int) -> bool:
    """Whether the elements fill their memory without gaps, in any order of the axes."""
    if 0 in shape:
        return True
    step = itemsize
    for stride, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if stride != step:
            return False
        step *= n
    return True


def joined(dims: Iterable[Dim]) -> list[Dim]:
    """Loops, the outermost first, with neighbors joined where all strides allow."""
    found: list[Dim] = []
    for n, strides in dims:
        if found and all(outer == n * inner for outer, inner in zip(found[-1][1], strides, strict=True)):
            found[-1] = found[-1][0] * n, strides
        elif n != 1:
            found.append((n, strides))
    return found


def loops(layouts: Sequence[Layout], lead: Layout) -> list[Dim]:
    """At least one loop over arrays of the shape of ``lead``, from its largest stride to its smallest."""
    order = sorted(range(len(lead.shape)), key=lambda d: -abs(lead.strides[d]))
    dims = joined((lead.shape[d], tuple(layout.strides[d] for layout in layouts)) for d in order)
    return dims or [(1, tuple(layout.dtype.itemsize for layout in layouts))]


def reduction_loops(source: Layout, result: Sizes, axes: Sizes, keepdims: bool) -> list[Dim]:
    """The loops in which NumPy reduces, with the strides of the result (0 where it is reduced) and of the source.

    The axes are sorted by the strides of the source, but for broadcast axes, which stay where they are
    (``npyiter_sort_axes`` in numpy/_core/src/multiarray/nditer_constr.c).

    Args:
        source: what is reduced.
        result: the strides of the result.
        axes: which are reduced.
        keepdims: whether the result has them too.
    """
    strides, shape = source.strides, source.shape
    kept = iter(s for d, s in enumerate(result) if not (keepdims and d in axes))
    target = [0 if d in axes else next(kept) for d in range(len(shape))]
    inner: list[int] = []  # from the innermost
    for d in (d for d in reversed(range(len(shape))) if shape[d] != 1):
        place = len(inner)
        for i in reversed(range(place if strides[d] else 0)):
            if abs(strides[inner[i]]) > abs(strides[d]):
                place = i
            elif strides[inner[i]]:
                break
        inner.insert(place, d)
    return joined((shape[d], (target[d], strides[d])) for d in reversed(inner)) or [(1, (0, source.dtype.itemsize))]
