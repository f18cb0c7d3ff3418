"""Reductions over any axes, and summing a broadcast gradient back to its input's shape.

``axis`` is a number, a tuple of numbers, or None for all axes; ``keepdims`` keeps the reduced axes at size 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..devices.arrays import all_true, any_true, largest, smallest
from ..devices.summation import Axis, add_up, axes_of, cumulate
from .elementwise import astype, equal, greater, isnan, less, logical_not, masked, not_equal, where
from .primitive import Primitive, primitive
from .shape import concatenate, expand, flip, permute, reshape, stack

__all__ = ["all", "any", "argmax", "argmin", "cumsum", "max", "mean", "min", "norm", "prod", "std", "sum", "var"]

# NumPy's types do not allow for a keepdims that is only known when running.
_multiply_up: Any = np.multiply.reduce


def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """``shape`` with the reduced axes kept at size 1."""
    reduced = axes_of(len(shape), axis)
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def keep(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Insert the reduced axes into a reduced gradient or output, at size 1."""
    return g if not g.shape else reshape(g, shape=_kept(shape, axis))


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """Insert the reduced axes into a reduced gradient, at full size."""
    return expand(keep(g, shape, axis), shape=shape)


def summands(shape: tuple[int, ...], axis: Axis) -> int:
    """The number of elements that are reduced to each result."""
    return math.prod(shape) if axis is None else math.prod(shape[a] for a in axes_of(len(shape), axis))


def _signed(x: Any) -> Any:
    """Unsigned integers as int64, the dtype of sums of integers (NumPy would sum them as uint64), as in PyTorch."""
    return x.astype(np.int64) if x.dtype.kind == "u" else x


# --- sums and means --------------------------------------------------------------------------------------------------


def _sum(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    if not hasattr(x, "dtype"):  # lists, as NumPy takes them
        x = np.asarray(x)
    return add_up(_signed(x) if x.dtype.kind == "u" else x, axis=axis, keepdims=keepdims)


sum = primitive(
    "sum", _sum, "x", (lambda g, x_shape, *, axis: _spread(g, x_shape, axis),), doc="The sum over ``axis``."
)


def sum_to_shape(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum ``g`` over the axes along which an array of ``shape`` was broadcast to ``g.shape``."""
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    summed = sum(g, axis=axes)
    return summed if summed.shape == shape else reshape(summed, shape=shape)


def _mean(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    total = add_up(x, axis=axis, keepdims=keepdims)
    count = summands(x.shape, axis)
    if not count:
        raise ValueError("mean: the tensor is empty")
    return total / count


mean: Primitive = primitive(
    "mean",
    _mean,
    "x",
    (lambda g, x_shape, *, axis: _spread(g / summands(x_shape, axis), x_shape, axis),),
    to_float=True,
    doc="The arithmetic mean over ``axis``.",
)


def _centered(x: Any, axis: Axis) -> Any:
    return x - _mean(x, axis=axis, keepdims=True)


def _degrees(name: str, shape: tuple[int, ...], axis: Axis, correction: float) -> float:
    degrees = summands(shape, axis) - correction
    if degrees <= 0:
        raise ValueError(
            f"{name}: {summands(shape, axis)} elements with correction={correction} leave no degree of freedom; "
            "reduce over more elements, or pass correction=0"
        )
    return degrees


def _var(x: Any, *, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Any:
    degrees = _degrees("var", x.shape, axis, correction)
    centered = _centered(x, axis)
    return add_up(centered * centered, axis=axis, keepdims=keepdims) / degrees


def _var_rule(g: Any, x: Any, *, axis: Axis, correction: float) -> Any:
    factor = 2 / (summands(x.shape, axis) - correction)
    return keep(g, x.shape, axis) * ((x - mean(x, axis=axis, keepdims=True)) * factor)


_CORRECTION = "The divisor is the number of elements minus ``correction``: 1 by default, as in PyTorch (NumPy's is 0)."
var = primitive("var", _var, "x", (_var_rule,), to_float=True, doc=f"The variance over ``axis``. {_CORRECTION}")


# Roots above these come from squares that lost no digits by underflow.
_SAFE = {
    np.dtype(kind): float(np.sqrt(np.finfo(kind).tiny / np.finfo(kind).eps))
    for kind in (np.float32, np.float64, np.complex128)
}


def _scaled(root: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """``root(x)``, the root of a sum of squares, also if the squares overflow or underflow.

    Then each slice is divided by a power of two near its largest element, and the result multiplied by it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        out = root(x)
    if ((out.real > _SAFE.get(out.dtype, 0)) & (out.real < math.inf)).all() or not x.size:
        return out
    most = largest(abs(x), axis=axis, keepdims=True)
    usable = (most > 0) & (most < math.inf)
    scale = np.where(usable, np.exp2(np.floor(np.log2(np.where(usable, most, 1)))), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        out = root(x / scale)
    return out * (scale if keepdims else scale.reshape(out.shape))


def _unit(x: Any, out: Any) -> tuple[Any, Any]:
    """``x / out`` and where ``out`` is not 0. Elsewhere x is 0 too, and so are the gradient and its gradient."""
    return x / where(equal(out, 0), 1.0, out), not_equal(out, 0)


def _std(x: Any, *, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Any:
    degrees = _degrees("std", x.shape, axis, correction)

    def root(x: Any) -> Any:
        centered = _centered(x, axis)
        return np.sqrt(add_up(centered * centered, axis=axis, keepdims=keepdims) / degrees)

    return _scaled(root, x, axis, keepdims)


def _std_rule(g: Any, x: Any, out: Any, *, axis: Axis, correction: float) -> Any:
    unit, spread = _unit(x - mean(x, axis=axis, keepdims=True), keep(out, x.shape, axis))
    return masked(keep(g, x.shape, axis) / (summands(x.shape, axis) - correction), spread) * unit


std = primitive(
    "std",
    _std,
    "x",
    (_std_rule,),
    to_float=True,
    doc=f"The standard deviation over ``axis``; where it is 0, so is its gradient. {_CORRECTION}",
)


def _norm(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _scaled(lambda x: np.sqrt(add_up(x * x, axis=axis, keepdims=keepdims)), x, axis, keepdims)


def _norm_rule(g: Any, x: Any, out: Any, *, axis: Axis) -> Any:
    unit, positive = _unit(x, keep(out, x.shape, axis))
    return masked(keep(g, x.shape, axis), positive) * unit


norm = primitive(
    "norm",
    _norm,
    "x",
    (_norm_rule,),
    to_float=True,
    doc="The Euclidean norm over ``axis``, the root of the sum of squares; where it is 0, so is its gradient.",
)

# --- extremes --------------------------------------------------------------------------------------------------------


def _max(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return largest(x, axis=axis, keepdims=keepdims)


def _min(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return smallest(x, axis=axis, keepdims=keepdims)


def _shares(g: Any, x: Any, out: Any, ties: Any, axis: Axis) -> Any:
    # As a float, since a division by integers would be one in float64.
    count = astype(sum(ties, axis=axis, keepdims=True), dtype=g.dtype)
    out, g = keep(out, x.shape, axis), keep(g, x.shape, axis)
    return masked(expand(where(isnan(out), out, g / count), shape=x.shape), ties)


# Of a row with NaN, all elements are ties: the comparisons are false there.
def _max_rule(g: Any, x: Any, out: Any, *, axis: Axis) -> Any:
    return _shares(g, x, out, logical_not(less(x, keep(out, x.shape, axis))), axis)


def _min_rule(g: Any, x: Any, out: Any, *, axis: Axis) -> Any:
    return _shares(g, x, out, logical_not(greater(x, keep(out, x.shape, axis))), axis)


_TIES = "The gradient is shared evenly among ties, and NaN where the result is NaN (``torch.amax``)."
max = primitive("max", _max, "x", (_max_rule,), analytic=False, doc=f"The largest element over ``axis``. {_TIES}")
min = primitive("min", _min, "x", (_min_rule,), analytic=False, doc=f"The smallest element over ``axis``. {_TIES}")


def _argmax(x: Any, *, axis: int | None = None, keepdims: bool = False) -> Any:
    return np.argmax(x, axis, keepdims=keepdims)


def _argmin(x: Any, *, axis: int | None = None, keepdims: bool = False) -> Any:
    return np.argmin(x, axis, keepdims=keepdims)


argmax = primitive(
    "argmax",
    _argmax,
    "x",
    doc="The index of the largest element along ``axis``, the first of equals; of all by default.",
)
argmin = primitive(
    "argmin",
    _argmin,
    "x",
    doc="The index of the smallest element along ``axis``, the first of equals; of all by default.",
)


def _any(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return any_true(x, axis=axis, keepdims=keepdims)


def _all(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return all_true(x, axis=axis, keepdims=keepdims)


any = primitive("any", _any, "x", doc="Whether any element over ``axis`` is true.")
all = primitive("all", _all, "x", doc="Whether all elements over ``axis`` are true.")

# --- others ----------------------------------------------------------------------------------------------------------


def _cumsum(x: Any, *, axis: int) -> Any:
    return cumulate(_signed(x), axis=axis)


cumsum: Primitive = primitive(
    "cumsum",
    _cumsum,
    "x",
    (lambda g, *, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis),),
    doc="The running sum along ``axis``.",
)


def _prod(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    return _multiply_up(_signed(x), axis=axis if x.shape else axes_of(0, axis), keepdims=keepdims)


def _products_of_others(x: Any) -> Any:
    """For each element along the last axis the product of all others, exact also where some are 0.

    Neighbors are multiplied in pairs up to the top of a binary tree; on the way down, an element's others are its
    neighbor times the others of the pair. No division, and n elements take 3n products.
    """
    n = x.shape[-1]
    if n == 1:
        return x**0
    if n % 2:
        x = concatenate(x, x[..., :1] ** 0, axis=-1)
    left, right = x[..., 0::2], x[..., 1::2]
    outside = _products_of_others(left * right)
    pairs = stack(outside * right, outside * left, axis=-1)
    return reshape(pairs, shape=x.shape)[..., :n]


def _prod_rule(g: Any, x: Any, *, axis: Axis) -> Any:
    if not math.prod(x.shape):
        return x
    shape, reduced = x.shape, axes_of(len(x.shape), axis)
    order = tuple(i for i in range(len(shape)) if i not in reduced) + reduced
    rows = permute(x, axes=order)
    others = reshape(
        _products_of_others(reshape(rows, shape=(*(shape[i] for i in order[: -len(reduced) or None]), -1))),
        shape=rows.shape,
    )
    back = tuple(order.index(i) for i in range(len(shape)))
    return keep(g, shape, axis) * permute(others, axes=back)


prod = primitive(
    "prod",
    _prod,
    "x",
    (_prod_rule,),
    doc="The product over ``axis``; its gradient is exact also at zeros and infinities.",
)
