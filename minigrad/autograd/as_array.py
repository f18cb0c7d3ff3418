"""Conversion of data to the arrays that a tensor can hold: float32, float64, integers and bool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..ops.primitive import Traced
from .modes import is_grad_enabled

Array = npt.NDArray[Any]

DEFAULT_DTYPE = np.dtype(np.float32)
SUPPORTED = "float32, float64, integers and bool"
_NESTED = (Traced, list, tuple, np.ndarray)  # items of a list that need a closer look


def as_array(data: Any, dtype: npt.DTypeLike | None = None, op: str = "tensor") -> Array:
    """``data`` as an array of a dtype that tensors can have; an array of such a dtype is not copied.

    Python floats become float32; arrays and tensors in a list keep their dtype. Errors name ``op``.
    """
    if isinstance(data, Traced) and hasattr(data, "_data"):
        data = data._data
    if not isinstance(data, np.generic) and not devices.is_array(data):
        if hasattr(data, "__array__"):  # an array of another library
            data = np.asarray(data)
        try:
            data, found = nested(op, data, dtype)
            data = devices.created(data)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{op}: {error}") from None
        if dtype is None and data.dtype == np.float64 and np.dtype(np.float64) not in found:
            dtype = DEFAULT_DTYPE
    array: Array = devices.given(devices.namespace(data).asarray(data, dtype=dtype))
    if not array.dtype.isnative:  # as from files of another byte order, which no kernel reads
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind not in "fiub" or array.dtype in (np.float16, np.longdouble):
        raise TypeError(f"{op}: cannot hold {array.dtype}; supported are {SUPPORTED}")
    return array


def nested(op: str, data: Any, dtype: npt.DTypeLike | None = None) -> tuple[Array, set[np.dtype[Any]]]:
    """Convert nested lists of numbers, arrays and tensors to one array; also return the dtypes found in them.

    Raises:
        TypeError: for data that NumPy would store as objects, such as a generator.
        RuntimeError: for a tensor that requires a gradient, because its array would lose it.
    """
    found: set[np.dtype[Any]] = set()
    plain = _plain(op, data, found)
    try:
        array = np.asarray(plain, dtype)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError(f"nested lists must have equal lengths ({error})") from None
    if array.dtype == object and isinstance(data, Iterable) and not isinstance(data, list | tuple | dict):
        raise TypeError(f"cannot read a {type(data).__name__}; convert it to a list first, as in list(...)")
    if array.dtype.kind not in "fiubc":
        raise TypeError(f"cannot hold {array.dtype}; supported are {SUPPORTED}")
    return array, found


def _plain(op: str, data: Any, found: set[np.dtype[Any]]) -> Any:
    """Nested lists with arrays in place of tensors; ``found`` receives the dtypes."""
    if isinstance(data, list | tuple) and any(isinstance(item, _NESTED) for item in data):
        return [_plain(op, item, found) for item in data]
    if isinstance(data, Traced) and hasattr(data, "_data"):
        if getattr(data, "requires_grad", False) and is_grad_enabled():
            raise RuntimeError(
                f"{op}: a list with a tensor that requires a gradient becomes an array without one; join the tensors "
                "with stack(), which is recorded, or give their values, with .detach()"
            )
        data = data._data
    if isinstance(data, np.ndarray):
        found.add(data.dtype)
    return data
