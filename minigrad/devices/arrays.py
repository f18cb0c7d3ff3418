"""Arrays on devices: NumPy's on the CPU and CuPy's on a GPU, with one code that computes with both.

NumPy's functions dispatch arrays of CuPy to CuPy, through ``__array_ufunc__`` and ``__array_function__``, so a
primitive is written once, with NumPy. Calls without an array argument, such as creating one, go through `namespace`.
The functions that CuPy lacks, or computes differently, are in the last part of this file and nowhere else.

CuPy is imported when a GPU is first used.
"""

from __future__ import annotations

import threading
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
# The types of array that record what is computed with them, and the namespace that makes them: those of
# minigrad.compiled, once it is loaded.
RECORDING: dict[type, Any] = {}


class _Traced(threading.local):
    library: Any = None  # the namespace in `RECORDING` of a step that this thread traces


traced = _Traced()
_cupy: Any = None


# --- CuPy -----------------------------------------------------------------------------------------------------------


def library() -> Any:
    """CuPy.

    Raises:
        DeviceError: if no GPU can be used, with the reason and the remedy.
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
    """Use ``module``, CuPy or one that behaves like it, for arrays on the GPU."""
    global _cupy
    _cupy = module
    DEVICE_ARRAYS.clear()
    DEVICE_ARRAYS.add(module.ndarray)


def release_memory() -> None:
    """Free the GPU memory that no array uses anymore, which CuPy keeps in its pool."""
    if _cupy is not None:
        _cupy.get_default_memory_pool().free_all_blocks()


# --- the device of an array -----------------------------------------------------------------------------------------


def as_device(name: Any) -> str:
    """The name of an available device, ``"cpu"`` or ``"cuda"``; None means the CPU.

    Raises:
        ValueError: for another name.
        DeviceError: for ``"cuda"`` if no GPU can be used.
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
    """Parse the arguments of ``.to(...)``: a device and a dtype, each None if it is not to change.

    Args:
        op: the name of the method, for errors.
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
    """Whether ``value`` is a CuPy array, including one created before minigrad loaded CuPy."""
    kind = type(value)
    if not DEVICE_ARRAYS and kind.__module__.partition(".")[0] == "cupy" and kind.__name__ == "ndarray":
        library()
    return kind in DEVICE_ARRAYS


def is_array(value: Any) -> bool:
    """Whether ``value`` is a NumPy or CuPy array."""
    return isinstance(value, np.ndarray) or is_device_array(value) or type(value) in RECORDING


def device_of(array: Any) -> str:
    """The device of an array: ``"cpu"`` or ``"cuda"``."""
    return "cuda" if type(array) in DEVICE_ARRAYS else "cpu"


def namespace(value: Any) -> Any:
    """The library, NumPy or CuPy, of this array or of this tensor's array."""
    if type(value) is np.ndarray:
        return np
    kind = type(getattr(value, "_data", value))
    return _cupy if kind in DEVICE_ARRAYS else RECORDING.get(kind, np)


def namespace_on(device: Any) -> Any:
    """The library whose arrays are on a device; for the names and errors see `as_device`."""
    return np if device is None or as_device(device) == "cpu" else _cupy


def created(array: Any) -> Any:
    """An array, or a number, that was just created; in a traced step it becomes a part of the step."""
    return settled(array) if traced.library is None else traced.library.created(array)


def given(array: Any) -> Any:
    """An array that may be used elsewhere too; in a traced step it is read, and changed, whenever the step runs."""
    return array if traced.library is None else traced.library.asarray(array)


def refuse_mixed(op: str, values: Iterable[Any]) -> None:
    """Raise TypeError if arrays of more than one device are among the values."""
    found = {device_of(value) for value in values if is_array(value)}
    if len(found) > 1:
        raise TypeError(f"{op}: inputs on cpu and on cuda do not mix; move one with .to('cuda') or .cpu()")


# --- moving ----------------------------------------------------------------------------------------------------------


def to_host(array: Any) -> Array:
    """The array itself if it is on the CPU, otherwise a copy there."""
    if type(array) not in DEVICE_ARRAYS:
        return array if type(array) in RECORDING else np.asarray(array)
    with device_errors("copying from the GPU"):
        copy: Array = array.get()
    return copy


def to_device(array: Any, device: str) -> Any:
    """The array itself if it is on ``device``, a name from `as_device`; otherwise a copy there."""
    if device == "cpu":
        return to_host(array)
    if type(array) in DEVICE_ARRAYS:
        return array
    with device_errors("copying to the GPU"):
        return library().asarray(np.asarray(array))


def beside(value: Any, array: Any) -> Any:
    """``value`` as an array on the device of ``array``; if it has to move, in the dtype of ``array``."""
    if type(array) not in DEVICE_ARRAYS:
        return to_host(value)
    if type(value) in DEVICE_ARRAYS:
        return value
    return to_device(np.asarray(value).astype(array.dtype, copy=False), "cuda")


def own(array: Any) -> Any:
    """A copy, as an array (also of a NumPy scalar)."""
    kind = type(array)
    return (
        np.array(array) if kind is np.ndarray or (kind not in DEVICE_ARRAYS and kind not in RECORDING) else array.copy()
    )


def peek(array: Any) -> Any:
    """The values of an array for an error message, also of one that records what is computed with it."""
    return array.value if type(array) in RECORDING else array


def settled(value: Any) -> Any:
    """``value`` as an array: NumPy returns a scalar from a full reduction, CuPy an array."""
    kind = type(value)
    return value if kind is np.ndarray or kind in DEVICE_ARRAYS or kind in RECORDING else np.asarray(value)


# --- where CuPy differs ----------------------------------------------------------------------------------------
# CuPy's ufuncs reduce only sums and products (cupy/_core/_kernel.pyx, ufunc.reduce); its arrays have the methods.


def _reducer(ufunc: Any, name: str, method: str, doc: str) -> Any:
    """The function ``name``: ``ufunc.reduce`` for arrays of NumPy, the method of that name for arrays of CuPy."""
    reduce = ufunc.reduce

    def reducer(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        axis = axis if x.shape else axes_of(0, axis)
        if type(x) in DEVICE_ARRAYS:
            return getattr(x, method)(axis=axis, keepdims=keepdims)
        return reduce(x, axis=axis, keepdims=keepdims)

    reducer.__name__ = reducer.__qualname__ = name
    reducer.__doc__ = doc
    return reducer


largest = _reducer(np.maximum, "largest", "max", "The largest elements.")
smallest = _reducer(np.minimum, "smallest", "min", "The smallest elements.")
any_true = _reducer(np.logical_or, "any_true", "any", "Whether any element is true.")
all_true = _reducer(np.logical_and, "all_true", "all", "Whether all elements are true.")


def add_at(total: Any, positions: Any, values: Any) -> None:
    """Add each of ``values`` to ``total`` at its position (all flat); values of one position in a fixed order.

    On the CPU, float32 values are added in float64, unless there are few of them, absolutely or relative to ``total``.

    CuPy's own ``add.at`` adds in the order in which threads arrive, so its sums differ from run to run. Here values
    are sorted by position, and the values of one position are added in pairs, pairs of pairs and so on.
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
    within = places - starts[_cupy.cumsum(first) - 1]  # the number of each value among the values at its position
    step = 1
    while step <= int(within.max()):
        pairs = _cupy.flatnonzero((within[step:] % (2 * step)) == step)
        values[pairs] += values[pairs + step]
        step *= 2
    total[positions[starts]] += values[starts]


def refuse_outside(op: str, shape: tuple[int, ...], key: Any) -> None:
    """Raise IndexError for a key with an index outside ``shape``; on a GPU such an index would wrap around.

    NumPy does the check, on an array of that shape that needs no memory.
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
