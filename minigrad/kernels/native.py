"""Native calls: the compiled CPU kernels of a layout by address, for machine code that calls them without Python.

Numba compiles a function ``f(a, n)`` to a native one with the signature ``int32 f(int64 *result, void **error,
words...)``. An array takes seven words and more: the owner of its memory and a Python object (both null for borrowed
memory), the number of elements, the bytes of one, the address, then shape and strides; an integer takes one. This is
how Numba's own functions call each other (`numba.core.callconv`, `numba.core.datamodel.models.ArrayModel`), not a
public interface, so it is compared with what this Numba would do before any call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from .layout import Call, Layout

_FIELDS = ("meminfo", "parent", "nitems", "itemsize", "data", "shape", "strides")
# The size of a machine word, of pointers and of integers; minigrad's kernels take no other integers.
_WORD = 64


class NotNativeError(Exception):
    """A kernel cannot be called by address; the text gives the reason."""


@dataclass(frozen=True, eq=False)
class NativeCall:
    """One call of a kernel's native function.

    Attributes:
        address: of the function.
        words: its arguments after ``result`` and ``error``: int64, one machine word each. Valid while ``arguments``
            are alive, and not followed if gradients move to other memory.
        returns: whether the result is a status: 0, or the number (from 1) of the norm that stopped the step.
        function: the compiled function, kept alive with its machine code.
        arguments: the arrays and integers that the words describe, kept alive.
    """

    address: int
    words: npt.NDArray[np.int64]
    returns: bool
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def native_calls(layout: Layout) -> list[NativeCall]:
    """The calls that are one step of a layout, in order, with the same effect as `Layout.run`.

    Raises:
        NotSerialError: if a step is more than one call per buffer (`Layout.serial_calls`).
        NotNativeError: if Numba's compiler is turned off, or this version calls functions in another way.
    """
    return [_native_call(call) for call in layout.serial_calls()]


def _native_call(call: Call) -> NativeCall:
    function, arguments = call
    compiled = list(getattr(function, "overloads", {}).values())
    if len(compiled) != 1:
        raise NotNativeError("the update kernels are not compiled, because NUMBA_DISABLE_JIT is set")
    (result,) = compiled
    _check_convention(result)
    described = result.fndesc
    return NativeCall(
        address=result.library.get_pointer_to_function(described.llvm_func_name),
        words=np.array([word for argument in arguments for word in _words(argument)], np.int64),
        returns=described.restype == types.int64,
        function=function,
        arguments=arguments,
    )


def _words(argument: Any) -> Iterable[int]:
    if isinstance(argument, np.ndarray):
        return 0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides
    return (argument,)


def _check_convention(result: Any) -> None:
    """Raise NotNativeError if Numba would not call this compiled function as the module's docstring describes."""
    described, context = result.fndesc, result.target_context
    expected = "pointer pointer"
    for kind in described.argtypes:
        if isinstance(kind, types.Array):
            names = context.data_model_manager[kind]._fields
            if tuple(names) != _FIELDS:
                raise NotNativeError(f"this Numba passes an array as {', '.join(names)}")
            expected += " pointer pointer word word pointer" + kind.ndim * " word word"
        else:
            expected += " word"
    signature = context.call_conv.get_function_type(described.restype, described.argtypes)
    found = " ".join(map(_kind, signature.args))
    if (_kind(signature.return_type), found) != ("i32", expected) or described.restype not in (types.none, types.int64):
        raise NotNativeError(f"this Numba calls a compiled function as {signature}")


def _kind(kind: ir.Type) -> str:
    if isinstance(kind, ir.PointerType):
        return "pointer"
    return "word" if kind == ir.IntType(_WORD) else str(kind)
