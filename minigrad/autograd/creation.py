"""Functions that create tensors: of float32 unless a ``dtype`` is given; `arange` of integers gives int64.

``device`` is ``"cpu"`` or ``"cuda"``; the ``..._like`` functions use the device of their argument by default.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..checks import named_arguments
from ..random import generator
from .as_array import DEFAULT_DTYPE
from .tensor import Tensor

DType = npt.DTypeLike | None
Device = str | None


def _shape(op: str, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    shape = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    for n in shape:
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise TypeError(f"{op}: sizes must be integers, not {n!r}; other arguments go by keyword")
        if n < 0:
            raise ValueError(f"{op}: sizes must not be negative, as in {shape}")
    return shape


def _made(op: str, values: Any, dtype: DType, device: Device, requires_grad: bool) -> Tensor:
    """A tensor from an array created on the CPU, so that the numbers are the same on every device.

    Raises:
        ValueError: if a number is outside the range of an integer dtype, in which it would wrap around.
    """
    array = devices.created(values)
    kind = np.dtype(DEFAULT_DTYPE if dtype is None else dtype)
    if array.size and array.dtype != kind:
        _check_range(op, kind, array.min(), array.max())
    array = array.astype(kind, copy=False)
    return Tensor(devices.to_device(array, devices.as_device(device)), requires_grad=requires_grad)


def _check_range(op: str, kind: np.dtype[Any], low: Any, high: Any) -> None:
    """Raise unless numbers from ``low`` to ``high`` fit an integer dtype, in which they would wrap around."""
    if kind.kind in "iu" and not np.iinfo(kind).min <= low <= high <= np.iinfo(kind).max:
        raise ValueError(f"{op}: numbers from {low} to {high} do not fit {kind}; choose a wider dtype")


@named_arguments
def zeros(*sizes: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    array = devices.namespace_on(device).zeros(_shape("zeros", sizes), dtype or DEFAULT_DTYPE)
    return Tensor(devices.created(array), requires_grad=requires_grad)


@named_arguments
def ones(*sizes: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    array = devices.namespace_on(device).ones(_shape("ones", sizes), dtype or DEFAULT_DTYPE)
    return Tensor(devices.created(array), requires_grad=requires_grad)


@named_arguments
def full(
    shape: Any, value: float, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with ``value``; by default float32, int64 or bool, according to the value."""
    sizes = _shape("full", shape if isinstance(shape, tuple) else (shape,))
    if dtype is None:
        kind = np.asarray(value).dtype.kind
        dtype = np.bool_ if kind == "b" else np.int64 if kind in "iu" else DEFAULT_DTYPE
    return Tensor(devices.created(devices.namespace_on(device).full(sizes, value, dtype)), requires_grad=requires_grad)


@named_arguments
def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType = None,
    device: Device = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from ``start`` (0 if only ``stop`` is given) up to but excluding ``stop``, in steps of ``step``."""
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        whole = all(isinstance(n, int | np.integer) for n in (start, stop, step))
        dtype = np.int64 if whole else DEFAULT_DTYPE
    return _made("arange", np.arange(start, stop, step), dtype, device, requires_grad)


@named_arguments
def linspace(
    start: float, stop: float, steps: int, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """``steps`` evenly spaced numbers from ``start`` to ``stop`` inclusive."""
    return _made("linspace", np.linspace(start, stop, steps), dtype, device, requires_grad)


@named_arguments
def eye(
    n: int, m: int | None = None, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """The identity matrix with ``n`` rows and ``m`` (by default ``n``) columns."""
    array = devices.namespace_on(device).eye(n, m, dtype=dtype or DEFAULT_DTYPE)
    return Tensor(devices.created(array), requires_grad=requires_grad)


@named_arguments
def rand(*sizes: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Random numbers, uniform in [0, 1)."""
    return _draw("rand", generator().random, sizes, dtype, device, requires_grad)


@named_arguments
def randn(*sizes: Any, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Random numbers, normally distributed with mean 0 and standard deviation 1."""
    return _draw("randn", generator().standard_normal, sizes, dtype, device, requires_grad)


def _draw(op: str, draw: Any, sizes: tuple[Any, ...], dtype: DType, device: Device, requires_grad: bool) -> Tensor:
    kind = np.dtype(dtype or DEFAULT_DTYPE)
    if kind not in (np.float32, np.float64):
        raise TypeError(f"{op}: draws float32 or float64, not {kind}")
    return _made(op, draw(_shape(op, sizes), kind), kind, device, requires_grad)


@named_arguments
def randint(low: int, high: int, shape: Any, *, dtype: DType = None, device: Device = None) -> Tensor:
    """Random integers from ``low`` up to but excluding ``high``; int64 by default."""
    sizes = _shape("randint", shape if isinstance(shape, tuple) else (shape,))
    if low >= high:
        raise ValueError(f"randint: there are no integers from {low} up to but excluding {high}")
    kind = np.dtype(dtype or np.int64)
    _check_range("randint", kind, low, high - 1)  # whatever is drawn
    return _made("randint", generator().integers(low, high, sizes, dtype=np.int64), kind, device, False)


@named_arguments
def zeros_like(like: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of ``like``."""
    return zeros(*like.shape, dtype=dtype or like.dtype, device=device or like.device, requires_grad=requires_grad)


@named_arguments
def ones_like(like: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of ``like``."""
    return ones(*like.shape, dtype=dtype or like.dtype, device=device or like.device, requires_grad=requires_grad)


@named_arguments
def full_like(
    like: Tensor, value: float, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with ``value``, of the shape and dtype of ``like``."""
    return full(like.shape, value, dtype=dtype or like.dtype, device=device or like.device, requires_grad=requires_grad)


@named_arguments
def rand_like(like: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """`rand` in the shape and dtype of ``like``."""
    return rand(*like.shape, dtype=dtype or like.dtype, device=device or like.device, requires_grad=requires_grad)


@named_arguments
def randn_like(like: Tensor, *, dtype: DType = None, device: Device = None, requires_grad: bool = False) -> Tensor:
    """`randn` in the shape and dtype of ``like``."""
    return randn(*like.shape, dtype=dtype or like.dtype, device=device or like.device, requires_grad=requires_grad)
