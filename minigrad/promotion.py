"""Before a primitive computes: its inputs complete and of one dtype, or an error that says what is wrong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

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
    promoted = list(arrays)
    for i, arg in enumerate(args):
        if i in joined and dtype is not None:
            if primitive.variadic or not isinstance(arg, int | float | complex) or isinstance(arg, np.generic):
                promoted[i] = np.asarray(arrays[i], dtype)
        elif isinstance(arg, list | tuple) or (arg is not None and primitive.is_discrete(i)):
            promoted[i] = np.asarray(arrays[i])
    return promoted


def is_floating(value: Any) -> bool:
    """Whether a number, an array or nested lists are of floating point."""
    return isinstance(value, float | np.floating) or (
        isinstance(value, np.ndarray | list | tuple) and np.asarray(value).dtype.kind == "f"
    )


def explained(primitive: Primitive, arrays: list[Any], settings: dict[str, Any], error: Exception) -> Exception:
    """The error of a forward function, with the op, its inputs and the remedy in front."""
    if isinstance(error, TypeError):
        try:
            primitive.check_call(arrays, settings)
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
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:60]
