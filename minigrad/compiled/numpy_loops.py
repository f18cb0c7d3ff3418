"""NumPy's own inner loops, called by address: what they compute has NumPy's bits by construction.

Every ufunc is a C struct with a table of loops, one for each combination of dtypes. Its first fields are public
(``PyUFuncObject`` in ``numpy/ufuncobject.h``), and so is the signature of a loop:
``void loop(char **arrays, intp const *lengths, intp const *strides, void *data)``.

``arrays`` holds the addresses of inputs and outputs, ``strides`` their strides in bytes. ``lengths`` is the number of
elements; for ``matmul`` it is the number of products, then the three dimensions of one, and ``strides`` ends with the
two strides of each matrix. A loop needs no GIL, and uses no other memory; it may change the addresses in ``arrays``.
The layout of the arrays, also of the output, may decide in which order ``matmul`` adds, and so its last bits.

A NumPy whose structs or loops differ is detected by `problem` before a loop is called.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np


class _UFunc(ctypes.Structure):
    """The public struct of a ufunc, as far as it is read."""

    _fields_ = (
        ("head", ctypes.c_char * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.c_void_p),  # ntypes addresses of loops
        ("data", ctypes.c_void_p),  # ntypes addresses of what a loop gets as its last argument
        ("ntypes", ctypes.c_int),
    )


# Their numbers of inputs, outputs and loops differ, so that a struct with other fields is noticed.
_COUNTED = ("add", "exp", "frexp", "divmod", "matmul", "isnan")
_LIBRARY = 1 << 27  # bytes; tables and loops are parts of NumPy's library, thus at most that far from each other
_LOOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@functools.cache
def loop(name: str, letters: str) -> tuple[int, int]:
    """Return the address of a loop of ``np.<name>``, and of its data (0 if it has none).

    Args:
        name: the name of the ufunc.
        letters: the dtypes of its inputs, then of its outputs, such as ``"fff"``; see ``np.dtype.char``.

    Raises:
        LookupError: if that ufunc or loop does not exist, or the loops of this NumPy cannot be used.
    """
    if problem():
        raise LookupError(problem())
    return _find(name, letters)


@functools.cache
def problem() -> str:
    """Return why the loops of this NumPy cannot be used; an empty string if they can."""
    try:
        return _wrong_layout() or _wrong_bits()
    except LookupError as error:
        return str(error)


def _find(name: str, letters: str) -> tuple[int, int]:
    ufunc = getattr(np, name, None)
    if not isinstance(ufunc, np.ufunc):
        raise LookupError(f"NumPy has no ufunc {name!r}")
    struct = _UFunc.from_address(id(ufunc))
    for index, text in enumerate(ufunc.types):
        if text.replace("->", "") == letters and (function := _address(struct.functions, index)):
            return function, _address(struct.data, index)
    raise LookupError(f"np.{name} has no loop for the dtypes {letters!r}")


def _address(table: int | None, index: int) -> int:
    """Read one entry of a table of addresses."""
    return ctypes.c_void_p.from_address(table + index * ctypes.sizeof(ctypes.c_void_p)).value or 0 if table else 0


def _wrong_layout() -> str:
    """Compare some structs with what Python knows of their ufuncs. Only plausible addresses are read."""
    if sys.implementation.name != "cpython" or np.ufunc.__basicsize__ < ctypes.sizeof(_UFunc):
        return "the ufuncs of this NumPy are not the structs of its public header"
    structs = {name: _UFunc.from_address(id(getattr(np, name))) for name in _COUNTED}
    for name, struct in structs.items():
        ufunc = getattr(np, name)
        counts = (struct.nin, struct.nout, struct.nargs, struct.ntypes)
        if counts != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
            return f"the struct of np.{name} in this NumPy has other fields than its public header"
    if not _in_one_library([struct.functions or 0 for struct in structs.values()]):
        return "the ufuncs of this NumPy have no tables of loops"
    loops = [_address(struct.functions, i) for struct in structs.values() for i in range(struct.ntypes)]
    return "" if _in_one_library([found for found in loops if found]) else "this NumPy has no loops at fixed addresses"


def _in_one_library(addresses: Sequence[int]) -> bool:
    return bool(addresses) and min(addresses) >= 4096 and max(addresses) - min(addresses) < _LIBRARY


def _wrong_bits() -> str:
    """Compare some loops with their ufuncs, on strided arrays of both dtypes."""
    for dtype, letter in ((np.float32, "f"), (np.float64, "d")):
        left, right = np.linspace(0.1, 3, 38, dtype=dtype).reshape(2, 19)[:, ::2]
        a, b = np.linspace(-1, 1, 48, dtype=dtype).reshape(2, 4, 6)
        for name in ("exp", "tanh", "add", "power", "logaddexp", "matmul"):
            ufunc = getattr(np, name)
            inputs = [a.T, b] if name == "matmul" else [left, right][: ufunc.nin]
            # Two outputs of one layout, which may decide how a product is summed.
            out, expected = (
                np.zeros((2, 6, 8), dtype)[..., :6] if name == "matmul" else np.zeros((2, 10, 3), dtype)[..., 1]
            )
            call(name, letter * ufunc.nargs, [*inputs, out])
            if out.tobytes() != ufunc(*inputs, out=expected).tobytes():
                return f"the loop of np.{name} for {np.dtype(dtype)} differs from np.{name} in this NumPy"
    return ""


def call(name: str, letters: str, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Call a loop on vectors of one length, the outputs last, or the loop of ``matmul`` on matrices.

    Raises:
        LookupError: if that loop does not exist.
    """
    function, data = _find(name, letters)
    lengths, strides = [arrays[0].size], [array.strides[0] for array in arrays]
    if name == "matmul":
        lengths = [1, *arrays[0].shape, arrays[1].shape[1]]
        strides = [0, 0, 0, *(stride for array in arrays for stride in array.strides)]
    words = [np.array(each, np.intp) for each in ([array.ctypes.data for array in arrays], lengths, strides)]
    _LOOP(function)(*(each.ctypes.data for each in words), data or None)
