"""Devices: arrays are NumPy's on the CPU and CuPy's on a GPU, and one text computes with both.

NumPy's functions hand arrays of CuPy over to CuPy, by ``__array_ufunc__`` and ``__array_function__``, so a primitive
is written once, with NumPy. What no argument can hand over, such as making an array, goes through `namespace`; what
CuPy lacks, or does otherwise, is in the last part of this file and nowhere else.

CuPy is imported when a GPU is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import unknown
from . import cuda as gpu
from .cuda import INSTALL, DeviceError, cuda_status, device_errors, update_problem
from .summation import ROWS, Axis, axes_of

Array = npt.NDArray[Any]

NAMES = ("cpu", "cuda")

# The types of array that live on a GPU: CuPy's, once it is loaded.
DEVICE_ARRAYS: set[type] = set()
_cupy: Any = None


# --- CuPy -----------------------------------------------------------------------------------------------------------


def library() -> Any:
    """CuPy.

    Raises:
        DeviceError: if there is no GPU to use; it says why and what to do.
    """
    if _cupy is None:
        status = cuda_status()
        if not status.usable:
            reason = "driver" if "driver" in status.problem else "unavailable"
            raise DeviceError(f"cuda is not available: {status.problem}; {status.remedy}", reason)
        load(gpu.import_cupy())
    return _cupy


def require_updates() -> None:
    """Raise DeviceError unless a model can be trained on the GPU: arrays can live there, and optimizers step there."""
    library()
    if problem := update_problem():
        raise DeviceError(f"cuda is not available: {problem}; {INSTALL}", "unavailable")


def load(module: Any) -> None:
    """Take a library of arrays, CuPy or one that behaves as it does, for that of the GPU."""
    global _cupy
    _cupy = module
    DEVICE_ARRAYS.clear()
    DEVICE_ARRAYS.add(module.ndarray)


def release_memory() -> None:
    """Give back the memory of the GPU that no array has any more; CuPy keeps it, and nobody else could have it."""
    if _cupy is not None:
        _cupy.get_default_memory_pool().free_all_blocks()


# --- where an array lives --------------------------------------------------------------------------------------------


def as_device(name: Any) -> str:
    """The name of a device that is there: ``"cpu"`` or ``"cuda"``; None is the CPU.

    Raises:
        ValueError: for another name.
        DeviceError: for a GPU where there is none to use.
    """
    if name is None:
        return "cpu"
    plain = {"cuda:0": "cuda"}.get(name, name) if isinstance(name, str) else name
    if plain not in NAMES:
        if isinstance(name, str) and name.startswith("cuda:"):
            raise ValueError(f"device {name!r}: minigrad computes on one GPU, 'cuda'; CUDA_VISIBLE_DEVICES chooses it")
        raise ValueError(unknown("device", str(name), NAMES))
    if plain == "cuda":
        library()
    return str(plain)


def target(op: str, to: Iterable[Any], device: Any, dtype: Any) -> tuple[str | None, np.dtype[Any] | None]:
    """What ``.to(...)`` is asked for: a device and a dtype, each None if it is to stay.

    Args:
        op: what an error calls the method.
        to: its positional arguments: a device, a dtype, or a tensor that has both.
        device, dtype: its keywords.
    """
    wanted: dict[str, Any] = {"device": device, "dtype": dtype}
    for one in to:
        if hasattr(one, "_data"):
            found = {"device": one.device, "dtype": one.dtype}
        elif isinstance(one, str) and not _is_dtype(one):
            found = {"device": one}
        else:
            found = {"dtype": one}
        for name, value in found.items():
            if wanted[name] is not None:
                raise TypeError(f"{op}: two {name}s, {wanted[name]} and {value}; give one")
            wanted[name] = value
    if wanted["device"] is None and wanted["dtype"] is None:
        raise TypeError(f"{op}: needs a device, 'cpu' or 'cuda', or a dtype")
    kind = None if wanted["dtype"] is None else np.dtype(wanted["dtype"])
    return (None if wanted["device"] is None else as_device(wanted["device"])), kind


def _is_dtype(name: str) -> bool:
    try:
        np.dtype(name)
    except TypeError:
        return False
    return True


def is_device_array(value: Any) -> bool:
    """Whether it is an array of CuPy's, also one that was made before minigrad loaded CuPy."""
    kind = type(value)
    if not DEVICE_ARRAYS and kind.__module__.partition(".")[0] == "cupy" and kind.__name__ == "ndarray":
        library()
    return kind in DEVICE_ARRAYS


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy's or CuPy's."""
    return isinstance(value, np.ndarray) or is_device_array(value)


def device_of(array: Any) -> str:
    """Where an array lives: ``"cpu"`` or ``"cuda"``."""
    return "cuda" if type(array) in DEVICE_ARRAYS else "cpu"


def namespace(value: Any) -> Any:
    """NumPy or CuPy, whichever has made this array, or the array of this tensor."""
    if type(value) is np.ndarray:
        return np
    return _cupy if type(getattr(value, "_data", value)) in DEVICE_ARRAYS else np


def namespace_on(device: Any) -> Any:
    """The library whose arrays live on a device; for the names and errors see `as_device`."""
    return np if device is None or as_device(device) == "cpu" else _cupy


def refuse_mixed(op: str, values: Iterable[Any]) -> None:
    """Raise TypeError if arrays of more than one device are among the values."""
    found = {device_of(value) for value in values if is_array(value)}
    if len(found) > 1:
        raise TypeError(f"{op}: inputs on cpu and on cuda do not mix; move one with .to('cuda') or .cpu()")


# --- moving ----------------------------------------------------------------------------------------------------------


def to_host(array: Any) -> Array:
    """The array itself on the CPU, or a copy of it from a GPU."""
    if type(array) not in DEVICE_ARRAYS:
        return np.asarray(array)
    with device_errors("copying from the GPU"):
        copy: Array = array.get()
    return copy


def to_device(array: Any, device: str) -> Any:
    """The array itself if it lives on ``device``, which `as_device` has checked; otherwise a copy there."""
    if device == "cpu":
        return to_host(array)
    if type(array) in DEVICE_ARRAYS:
        return array
    with device_errors("copying to the GPU"):
        return library().asarray(np.asarray(array))


def beside(value: Any, array: Any) -> Any:
    """``value`` as an array that can be copied into ``array``: on its device, and for another device of its dtype."""
    if type(array) not in DEVICE_ARRAYS:
        return to_host(value)
    if type(value) in DEVICE_ARRAYS:
        return value
    return to_device(np.asarray(value).astype(array.dtype, copy=False), "cuda")


def own(array: Any) -> Any:
    """A copy, as an array; of NumPy's numbers too."""
    return array.copy() if type(array) in DEVICE_ARRAYS else np.array(array)


def settled(value: Any) -> Any:
    """The number that a reduction to nothing of NumPy's returns, as an array; arrays as they are."""
    return value if type(value) in DEVICE_ARRAYS else np.asarray(value)


# --- what CuPy does otherwise ----------------------------------------------------------------------------------------
# CuPy's ufuncs reduce sums and products alone (cupy/_core/_kernel.pyx, ufunc.reduce); its arrays have the methods.


def largest(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest elements."""
    axis = axis if x.shape else axes_of(0, axis)
    if type(x) in DEVICE_ARRAYS:
        return x.max(axis=axis, keepdims=keepdims)
    return _largest(x, axis=axis, keepdims=keepdims)


def smallest(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest elements."""
    axis = axis if x.shape else axes_of(0, axis)
    if type(x) in DEVICE_ARRAYS:
        return x.min(axis=axis, keepdims=keepdims)
    return _smallest(x, axis=axis, keepdims=keepdims)


def any_true(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any element is true."""
    axis = axis if x.shape else axes_of(0, axis)
    if type(x) in DEVICE_ARRAYS:
        return x.any(axis=axis, keepdims=keepdims)
    return _or_up(x, axis=axis, keepdims=keepdims)


def all_true(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all elements are true."""
    axis = axis if x.shape else axes_of(0, axis)
    if type(x) in DEVICE_ARRAYS:
        return x.all(axis=axis, keepdims=keepdims)
    return _and_up(x, axis=axis, keepdims=keepdims)


# NumPy's types do not allow for a keepdims that is only known when running.
_largest: Any = np.maximum.reduce
_smallest: Any = np.minimum.reduce
_or_up: Any = np.logical_or.reduce
_and_up: Any = np.logical_and.reduce


def add_at(total: Any, positions: Any, values: Any) -> None:
    """Add each of ``values`` to ``total``, all flat, at its position; what has one position is added in a fixed order.

    On the CPU, float32 values are added in float64, unless they are few, in number or beside ``total``.

    CuPy's own ``add.at`` adds in the order in which threads happen to arrive, so its sums differ from run to run.
    Here values are sorted by position, and the values of one position added in pairs, pairs of pairs and so on.
    """
    if type(total) not in DEVICE_ARRAYS:
        if total.dtype == np.float32 and ROWS < values.size > total.size // 8:
            total += np.bincount(positions, values, total.size)
        else:
            np.add.at(total, positions, values)
        return
    if not values.size:
        return
    order = _cupy.argsort(positions)  # stable, see the documentation of cupy.sort
    positions, values = positions[order], values[order]
    first = _cupy.concatenate([_cupy.ones(1, np.bool_), positions[1:] != positions[:-1]])
    starts = _cupy.flatnonzero(first)
    places = _cupy.arange(values.size)
    within = places - starts[_cupy.cumsum(first) - 1]  # the number of each value among those of its position
    step = 1
    while step <= int(within.max()):
        pairs = _cupy.flatnonzero((within[step:] % (2 * step)) == step)
        values[pairs] += values[pairs + step]
        step *= 2
    total[positions[starts]] += values[starts]


def refuse_outside(op: str, shape: tuple[int, ...], key: Any) -> None:
    """Raise IndexError for a key with an index outside of ``shape``; on a GPU such an index would wrap around.

    NumPy checks it, on an array of that shape that takes no memory.
    """
    items = key if isinstance(key, tuple) else (key,)
    if any(type(item) in DEVICE_ARRAYS for item in items):
        key = tuple(to_host(item) if type(item) in DEVICE_ARRAYS else item for item in items)
    elif not any(isinstance(item, np.ndarray | list) for item in items):
        return
    try:
        np.broadcast_to(np.int8(0), shape)[key]
    except IndexError as error:
        raise IndexError(f"{op}: {error}") from None
