"""Before a primitive computes: its inputs complete and of one dtype, or an error that says what is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from . import devices
from .arrays import DEFAULT_DTYPE
from .ops.primitive import Primitive, Traced


def completed(primitive: Primitive, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, with ``None`` for optional ones that are absent."""
    if primitive.variadic:
        return args
    if not primitive.required <= len(args) <= primitive.arity:
        primitive.check_call(args, {})
    return args + (None,) * (primitive.arity - len(args))


def promote(primitive: Primitive, args: tuple[Any, ...], arrays: list[Any]) -> list[Any]:
    """Bring mixed inputs to one dtype: that of the floating tensors; numbers and bare arrays adopt it."""
    joined = [
        i for i, arg in enumerate(args) if arg is not None and (is_floating(arrays[i]) or not primitive.is_discrete(i))
    ]
    dtypes = {arrays[i].dtype for i in joined if isinstance(args[i], Traced) and arrays[i].dtype.kind in "fc"}
    if np.dtype(np.complex128) in dtypes:  # only in the complex step of check_gradients
        dtypes.discard(np.dtype(np.float64))
    if len(dtypes) > 1:
        raise TypeError(
            f"{' and '.join(sorted(map(str, dtypes)))} tensors do not mix; convert one with .astype(), .float() "
            "or .double()"
        )
    dtype = dtypes.pop() if dtypes else None
    if (dtype is None or dtype.kind != "c") and any(np.iscomplexobj(arrays[i]) for i in joined):
        raise TypeError("complex numbers are not supported")
    if dtype is None and (primitive.to_float or any(is_floating(arrays[i]) for i in joined)):
        dtype = DEFAULT_DTYPE
    library = devices.namespace(next(arg for arg in args if isinstance(arg, Traced)))
    promoted = list(arrays)
    for i, arg in enumerate(args):
        if i in joined and dtype is not None:
            if primitive.variadic or not isinstance(arg, int | float | complex) or isinstance(arg, np.generic):
                promoted[i] = _as(arrays[i], dtype, library)
        elif isinstance(arg, list | tuple) or (arg is not None and primitive.is_discrete(i)):
            promoted[i] = _as(arrays[i], None, library)
    return promoted


def _as(value: Any, dtype: Any, library: Any) -> Any:
    """An array where it is; lists and numbers on the device of the tensors that they meet."""
    return (devices.namespace(value) if devices.is_array(value) else library).asarray(value, dtype)


def is_floating(value: Any) -> bool:
    """Whether a number, an array or nested lists are of floating point."""
    if isinstance(value, list | tuple):
        value = np.asarray(value)
    return isinstance(value, float) or (hasattr(value, "dtype") and value.dtype.kind == "f")


def explained(primitive: Primitive, arrays: list[Any], settings: dict[str, Any], error: Exception) -> Exception:
    """The error of a forward function, with the op, its inputs and the remedy in front."""
    if isinstance(error, TypeError):
        try:
            primitive.check_call(arrays, settings)
            devices.refuse_mixed(primitive.name, arrays)
        except TypeError as clearer:
            return clearer
    text = str(error)
    about_shapes = re.search("shape|size|dimension|broadcast", text)
    if not text.startswith(primitive.name + ":"):
        described = ", ".join(_describe(a) for a in arrays)
        with_settings = "".join(f", {k}={v!r}" for k, v in settings.items())
        text = f"{primitive.name}: cannot be applied to {described}{with_settings}: {text}"
    if primitive.hint and about_shapes and not isinstance(error, TypeError):
        text = f"{text}; {primitive.hint}"
    for kind in (IndexError, TypeError, ValueError):
        if isinstance(error, kind):
            return kind(text)
    return error


def _describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if devices.is_array(value) else repr(value)[:60]
