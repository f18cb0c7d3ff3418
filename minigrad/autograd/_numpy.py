"""NumPy's functions on tensors: the ops that ``np.exp(t)``, ``array * t`` and ``np.sum(t)`` call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..ops.primitive import Traced
from .modes import is_grad_enabled


def bool_only(op: str, value: Any) -> Any:
    """``value`` if it is bool. Numbers are refused, since operating on their bits is probably not meant."""
    kind = getattr(value, "dtype", type(value).__name__)
    if kind not in (np.bool_, "bool"):
        raise TypeError(f"{op}: needs a bool tensor, not {kind}; compare first, as in (x > 0)")
    return value


def array_of(value: Any) -> Any:
    """The array of a tensor; another value unchanged."""
    tensor: Any = value
    return tensor._data if isinstance(value, Traced) else value


# The op of each of NumPy's universal functions: the one of its name, or one that means the same.
_UFUNCS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): entry for name, entry in ops.PRIMITIVES.items() if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.positive: ops.clone,
    np.fabs: ops.abs,
    np.rint: ops.round,
    np.square: lambda x: ops.multiply(x, x),
    np.invert: lambda x: ops.logical_not(bool_only("invert", x)),
    np.bitwise_and: lambda a, b: ops.logical_and(bool_only("&", a), bool_only("&", b)),
    np.bitwise_or: lambda a, b: ops.logical_or(bool_only("|", a), bool_only("|", b)),
    np.bitwise_xor: lambda a, b: ops.logical_xor(bool_only("^", a), bool_only("^", b)),
}
_REDUCTIONS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): ops.PRIMITIVES[name]
    for name in ("sum", "prod", "mean", "max", "min", "any", "all", "std", "var")
} | {np.amax: ops.max, np.amin: ops.min}
_INSTEAD = "take its array with .detach().numpy(), of which nothing is recorded"


class Size(int):
    """A number of elements. Called, as ``t.size()`` or ``t.size(0)``, it gives the shape or one size, as in PyTorch.

    To NumPy, JSON and arithmetic it is an integer.
    """

    shape: tuple[int, ...]

    def __call__(self, axis: int | None = None) -> Any:
        """The shape, or the size along ``axis``."""
        if axis is None:
            return self.shape
        if not -len(self.shape) <= axis < len(self.shape):
            raise IndexError(f"size: axis {axis} is out of range for shape {self.shape}")
        return self.shape[axis]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        # Only an int adopts the dtype of the array that it meets; one of a subclass makes float64 of float32.
        return getattr(ufunc, method)(*(int(x) if isinstance(x, Size) else x for x in inputs), **options)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


def apply_ufunc(ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """Apply the op of the same meaning, recorded as usual: ``np.exp(t)`` is ``t.exp()``, and so for ``array * t``.

    ``array -= t`` writes into the array, unless that would lose a gradient.

    Raises:
        TypeError: for a function that has no op, and for options such as ``where``.
        RuntimeError: for writing a tensor that requires a gradient into an array.
    """
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if method != "__call__" or ufunc not in _UFUNCS:
        raise TypeError(f"{name}: minigrad has no operation of this meaning for a tensor; {_INSTEAD}")
    if "out" not in options:
        _refuse_options(name, options)
        return _UFUNCS[ufunc](*inputs)
    if any(isinstance(out, Traced) for out in options["out"]):
        raise TypeError(f"{name}: cannot write into a tensor by out=; assign the result, or use copy_()")
    if is_grad_enabled() and any(isinstance(x, Traced) and getattr(x, "requires_grad", False) for x in inputs):
        raise RuntimeError(
            f"{name}: cannot write a tensor that requires a gradient into an array, which would lose it; compute a "
            "tensor, as in array = array + tensor, or use .detach() or no_grad()"
        )
    return ufunc(*map(array_of, inputs), **options)


def apply_function(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Record NumPy's reductions, such as ``np.sum(t)``; other functions work on the array."""
    if function not in _REDUCTIONS:
        return function._implementation(*args, **options)
    name = f"np.{function.__name__}"
    given = inspect.signature(function).bind(*args, **options).arguments
    x, axis = given.pop("a"), given.pop("axis", None)
    settings = {"axis": tuple(axis) if isinstance(axis, list) else axis, "keepdims": given.pop("keepdims", False)}
    if function in (np.std, np.var):
        settings["correction"] = given.pop("ddof", 0)  # in NumPy 0 by default
    _refuse_options(name, given)
    return _REDUCTIONS[function](x, **settings)


def _refuse_options(name: str, options: dict[str, Any]) -> None:
    """Raise TypeError for options of NumPy's functions that tensors do not support."""
    for option, value in options.items():
        if value is not None:
            raise TypeError(f"{name}: {option}= is not supported for a tensor; {_INSTEAD}")
