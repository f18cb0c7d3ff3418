"""Type promotion: bring the inputs of a primitive to one dtype, and explain its errors.

One rule decides the dtype: **tensors decide, and everything else adopts it.** In full:

- Tensors of float32 give float32, and tensors of float64 give float64; the two do not mix, so that nothing becomes
  slower or less exact unnoticed. Integer and bool tensors that meet floating ones adopt their dtype.
- Python's numbers, lists of them, NumPy's numbers and NumPy arrays never decide between float32 and float64, on
  either side of an operator: they adopt the dtype of the floating tensors. So do the targets and weights of losses.
- Where no tensor is floating, a floating number or array, or an operation such as ``exp`` or ``/``, gives float32,
  the default: ``where(x > 0, 1.0, 0.0)`` and ``mask * 0.5`` are float32.
- Integers and bools follow NumPy; Python's integers, and lists of them, adopt the dtype of the tensors.

A tensor *created* from NumPy data, as in ``tensor(array)``, has the dtype of the data, which is float64 for most NumPy
functions: pass ``dtype=np.float32``, or convert with ``.float()``.
"""

from __future__ import annotations

import re
from numbers import Number
from typing import Any

import numpy as np

from .. import devices
from ..ops.primitive import Primitive, Traced
from .as_array import DEFAULT_DTYPE, SUPPORTED, nested

# Python's number types and the corresponding NumPy kinds.
_KINDS = {float: "f", int: "i", bool: "b", complex: "c"}


def completed(primitive: Primitive, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, with ``None`` for optional ones that are absent."""
    if primitive.variadic:
        return args
    if not primitive.required <= len(args) <= primitive.arity:
        primitive.check_call(args, {})
    return args + (None,) * (primitive.arity - len(args))


def promote(primitive: Primitive, args: tuple[Any, ...], arrays: list[Any]) -> list[Any]:
    """Bring mixed inputs to one dtype, by the rule at the top of this file.

    Raises:
        TypeError: for tensors of two floating dtypes, complex numbers, and values other than numbers, arrays and lists.
        RuntimeError: for a list with a tensor that requires a gradient.
    """
    if primitive.in_place:
        return arrays
    library = devices.namespace(next(arg for arg in args if isinstance(arg, Traced)))
    values, kinds, lists = _read(primitive, arrays)
    joined = [i for i, kind in enumerate(kinds) if kind and (kind == "f" or not primitive.is_discrete(i))]
    dtype = _floating(primitive, args, values, [kinds[i] for i in joined], joined)
    if dtype is None and (lists or primitive.variadic) and joined:  # integers: lists adopt the dtype of arrays too
        dtype = np.result_type(*(_weak(values[i], kinds[i], i in lists) for i in joined))
    # Python numbers are passed on, because NumPy lets them adopt the dtype of the arrays, if there are any.
    kept = [] if primitive.variadic else [i for i in joined if type(values[i]) in _KINDS]
    if len(kept) == len(joined):
        kept = []
    for i, (given, value) in enumerate(zip(arrays, values, strict=True)):
        if value is None or i in kept:
            continue
        is_array = devices.is_array(given)
        home = devices.namespace(given) if is_array else library  # lists and numbers move to the device of the tensors
        if i not in joined:
            values[i] = home.asarray(value)
        elif i in lists:
            values[i] = home.asarray(given, dtype)  # from its numbers, as NumPy refuses those that are too large
        elif not is_array or (dtype is not None and dtype.kind in "fc"):
            values[i] = home.asarray(value, dtype)
    return values


def _read(primitive: Primitive, arrays: list[Any]) -> tuple[list[Any], list[str], list[int]]:
    """The inputs as arrays, Python's numbers and None; the kind of each, and which are lists of Python's numbers."""
    values, kinds, lists = list(arrays), [], []
    for i, value in enumerate(arrays):
        if isinstance(value, np.generic) or devices.is_array(value):
            kind = value.dtype.kind
            if kind not in "fiubc":
                raise TypeError(f"cannot compute with {value.dtype}; supported are {SUPPORTED}")
        elif value is None:
            kind = ""
        elif type(value) in _KINDS:
            kind = _KINDS[type(value)]
        elif isinstance(value, Number):  # a fraction; or one of a subclass, which to NumPy would decide the dtype
            values[i] = int(value) if isinstance(value, int) else float(value)  # type: ignore[arg-type]
            kind = _KINDS[type(values[i])]
        else:
            values[i], found = nested(primitive.name, value)
            kind = values[i].dtype.kind
            if not found and not hasattr(value, "dtype"):
                if primitive.is_discrete(i) and not values[i].size:
                    kind, values[i] = "i", values[i].astype(np.intp)
                else:
                    lists.append(i)
        kinds.append(kind)
    return values, kinds, lists


def _floating(
    primitive: Primitive, args: tuple[Any, ...], values: list[Any], kinds: list[str], joined: list[int]
) -> Any:
    """The floating dtype to compute in, or None for integers and bools; ``kinds`` has the kinds of ``joined``."""
    dtypes = {values[i].dtype for i, k in zip(joined, kinds, strict=True) if k in "fc" and isinstance(args[i], Traced)}
    if np.dtype(np.complex128) in dtypes:  # only in the complex step of check_gradients
        dtypes.discard(np.dtype(np.float64))
    if len(dtypes) > 1:
        raise TypeError(
            f"{' and '.join(sorted(map(str, dtypes)))} tensors do not mix; convert one with .astype(), .float() "
            "or .double() (a tensor of a NumPy array is float64 unless made with dtype=np.float32)"
        )
    dtype = dtypes.pop() if dtypes else None
    if "c" in kinds and (dtype is None or dtype.kind != "c"):
        raise TypeError("complex numbers are not supported")
    if dtype is None and (primitive.to_float or "f" in kinds):
        return DEFAULT_DTYPE
    return dtype


def _weak(value: Any, kind: str, is_list: bool) -> Any:
    """The argument for `numpy.result_type`: a dtype, or 0 for Python integers, which any dtype can hold."""
    if type(value) in _KINDS or (is_list and kind in "bi"):
        return kind == "i" and 0
    return value.dtype


def explained(primitive: Primitive, arrays: list[Any], settings: dict[str, Any], error: Exception) -> Exception:
    """The error of a forward function, extended by the op, its inputs and the remedy."""
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
