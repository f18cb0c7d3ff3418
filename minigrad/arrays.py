"""What a tensor can hold: arrays of float32, float64, integers and bool."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import devices
from .ops.primitive import Traced

Array = npt.NDArray[Any]

DEFAULT_DTYPE = np.dtype(np.float32)
_SUPPORTED = "float32, float64, integers and bool"


def as_array(data: Any, dtype: npt.DTypeLike | None = None) -> Array:
    """``data`` as an array of a dtype that tensors can have; shared where it is one already."""
    data = _bare(data)
    if dtype is None and not isinstance(data, np.ndarray | np.generic) and not devices.is_device_array(data):
        data = _python_array(data)
        if data.dtype == np.float64:
            dtype = DEFAULT_DTYPE
    array: Array = devices.namespace(data).asarray(data, dtype=dtype)
    if array.dtype.kind not in "fiub" or array.dtype in (np.float16, np.longdouble):
        raise TypeError(f"tensor: cannot hold {array.dtype}; supported are {_SUPPORTED}")
    return array


def _python_array(data: Any) -> Array:
    try:
        return np.asarray(_plain(data))
    except ValueError as error:
        raise ValueError(f"tensor: nested lists of different lengths make no array ({error})") from None


def _plain(data: Any) -> Any:
    """Nested lists with the arrays of the tensors in them."""
    if isinstance(data, list | tuple) and any(isinstance(item, Traced | list | tuple) for item in data):
        return [_plain(item) for item in data]
    return _bare(data)


def _bare(value: Any) -> Any:
    """The array of a tensor, known by the attribute that every tensor has; anything else as it is."""
    return value._data if isinstance(value, Traced) and hasattr(value, "_data") else value
