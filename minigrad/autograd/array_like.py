"""What a tensor shows of its array, to NumPy and to Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import devices, ops
from .as_array import Array
from .methods import bool_only
from .modes import is_grad_enabled
from .operators import Operators

if TYPE_CHECKING:
    from .tensor import Tensor

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
    np.sum: ops.sum,
    np.prod: ops.prod,
    np.mean: ops.mean,
    np.max: ops.max,
    np.min: ops.min,
    np.amax: ops.max,
    np.amin: ops.min,
    np.any: ops.any,
    np.all: ops.all,
    np.std: ops.std,
    np.var: ops.var,
}
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


class ArrayLike(Operators):
    """The array's properties, and conversions to NumPy and to Python's numbers."""

    __slots__ = ()

    _data: Array
    _requires_grad: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, as NumPy names it."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> Size:
        """The number of elements, as in NumPy; ``size()`` and ``size(axis)`` are the shape and one size of it."""
        size = Size(self._data.size)
        size.shape = self._data.shape
        return size

    @property
    def device(self) -> str:
        """Where the array lives: ``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self._data)

    def numel(self) -> int:
        """The number of elements, under PyTorch's name."""
        return self._data.size

    def numpy(self) -> Array:
        """The array, sharing memory. A tensor that requires a gradient must be detached first, one on a GPU copied.

        Raises:
            RuntimeError: if it requires a gradient.
            TypeError: if it lives on a GPU.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, which an array has not; use .detach().numpy() or .data, "
                "or for a list of tensors stack()"
            )
        if self.device != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; copy it to the CPU first, with .cpu().numpy()")
        return self._data

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply the op of the same meaning, recorded as usual: ``np.exp(t)`` is ``t.exp()``, and so for ``array * t``.

        ``array -= t`` writes into the array, unless that would lose a gradient.

        Raises:
            TypeError: for a function of which there is no op, and for options such as ``where``.
            RuntimeError: for writing a tensor that requires a gradient into an array.
        """
        name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if method != "__call__" or ufunc not in _UFUNCS:
            raise TypeError(f"{name}: minigrad has no operation of this meaning for a tensor; {_INSTEAD}")
        if "out" not in options:
            _refuse_options(name, options)
            return _UFUNCS[ufunc](*inputs)
        if any(isinstance(out, ArrayLike) for out in options["out"]):
            raise TypeError(f"{name}: cannot write into a tensor by out=; assign the result, or use copy_()")
        if is_grad_enabled() and any(isinstance(x, ArrayLike) and x._requires_grad for x in inputs):
            raise RuntimeError(
                f"{name}: cannot write a tensor that requires a gradient into an array, which would lose it; compute a "
                "tensor, as in array = array + tensor, or use .detach() or no_grad()"
            )
        return ufunc(*(x._data if isinstance(x, ArrayLike) else x for x in inputs), **options)

    def __array_function__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
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

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._data.size != 1:
            raise ValueError(f"item: needs a tensor of one element, not of shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """The elements as (nested lists of) Python numbers."""
        return self._data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, not {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self._data.item())

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self._data == (value._data if isinstance(value, ArrayLike) else value)).any())


def _refuse_options(name: str, options: dict[str, Any]) -> None:
    """Raise TypeError for what NumPy's functions can do and those of tensors cannot."""
    for option, value in options.items():
        if value is not None:
            raise TypeError(f"{name}: {option}= is not supported for a tensor; {_INSTEAD}")
