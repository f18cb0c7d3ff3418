"""Functions of an element in machine code, each bit-equal to NumPy's ufunc of the same name.

What is missing here is NumPy's own loop, called by address (`minigrad.compiled.numpy_loops`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .code import Function, Value, element, number, vector

DType = np.dtype[Any]

# The instruction for floats, and the one for integers and truth values.
_INSTRUCTIONS = {
    "add": ("fadd", "add"), "subtract": ("fsub", "sub"), "multiply": ("fmul", "mul"), "divide": ("fdiv", ""),
    "bitwise_and": ("", "and"), "bitwise_or": ("", "or"), "bitwise_xor": ("", "xor"),
}  # fmt: skip
_TRUTH = {
    "add": "or", "multiply": "and", "maximum": "or", "minimum": "and",
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor",
}  # fmt: skip
_COMPARE = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"}
# LLVM's functions of floats.
_INTRINSICS = {"absolute": "fabs"} | {name: name for name in ("sqrt", "floor", "ceil", "rint", "trunc", "copysign")}
_COMPOSED = ("negative", "square", "reciprocal", "sign", "isnan", "isinf", "isfinite")


def is_native(name: str, dtype: DType) -> bool:
    """Whether a ufunc of arguments of a dtype is written here."""
    if name in _COMPARE or name.startswith("logical_") or name in ("maximum", "minimum"):
        return True
    if dtype.kind == "f":
        return bool(_INSTRUCTIONS.get(name, ("",))[0]) or name in _INTRINSICS or name in _COMPOSED
    return (dtype == np.bool_ and name in _TRUTH) or bool(_INSTRUCTIONS.get(name, ("", ""))[1])


def compute(f: Function, name: str, dtypes: Sequence[DType], out: DType, args: Sequence[Value], width: int) -> Value:
    """Write a function of vectors of ``width`` elements.

    Args:
        f: where to write it.
        name: ``same``, ``cast``, ``where``, or a ufunc that is native.
        dtypes: of the arguments.
        out: the dtype of the result.
        args: the arguments.
        width: how many elements they have.
    """
    x, dtype = args[0], dtypes[0]
    match name:
        case "same":
            return x
        case "cast":
            return _cast(f, x, dtype, out, width)
        case "where":
            return f.select(x, args[1], args[2])
        case "logical_not":
            return _compare(f, "eq", dtype, x, number(0, dtype, width))
        case _ if name.startswith("logical_"):
            args = [_cast(f, arg, given, np.dtype(np.bool_), width) for arg, given in zip(args, dtypes, strict=True)]
            dtype = np.dtype(np.bool_)
    if name in _COMPARE:
        return _compare(f, _COMPARE[name], dtype, x, args[1])
    if dtype == np.bool_ and name in _TRUTH:
        return f.binary(_TRUTH[name], *args)
    if name in _INSTRUCTIONS:
        return f.binary(_INSTRUCTIONS[name][dtype.kind != "f"], *args)
    if name in _INTRINSICS:
        return f.intrinsic(_INTRINSICS[name], args, dtype, width)
    return _composed(f, name, dtype, args, width)


def _composed(f: Function, name: str, dtype: DType, args: Sequence[Value], width: int) -> Value:
    """A function that takes several instructions."""
    x = args[0]
    zero = number(0, dtype, width)
    match name:
        case "negative":
            return f.op(x.kind, f"fneg {x}")
        case "square":
            return f.binary("fmul", x, x)
        case "reciprocal":
            return f.binary("fdiv", number(1, dtype, width), x)
        case "maximum" | "minimum":  # the first if it is NaN or better, else the second
            better = _compare(f, "gt" if name == "maximum" else "lt", dtype, x, args[1])
            chosen = f.select(better, x, args[1])
            return f.select(_is_nan(f, x), x, chosen) if dtype.kind == "f" else chosen
        case "sign":  # of NaN, NaN
            result = f.select(_compare(f, "eq", dtype, x, zero), zero, x)
            for than, one in (("lt", -1), ("gt", 1)):
                result = f.select(_compare(f, than, dtype, x, zero), number(one, dtype, width), result)
            return result
        case "isnan":
            return _is_nan(f, x)
    sign = "eq" if name == "isinf" else "lt"
    return _compare(f, sign, dtype, f.intrinsic("fabs", [x], dtype, width), number(np.inf, dtype, width))


def _truths(x: Value) -> str:
    """The type of as many truth values as there are elements."""
    return f"{x.kind.rpartition(' x ')[0]} x i1>" if x.kind.startswith("<") else "i1"


def _is_nan(f: Function, x: Value) -> Value:
    return f.op(_truths(x), f"fcmp uno {x}, {x.name}")


def _compare(f: Function, sign: str, dtype: DType, x: Value, y: Value) -> Value:
    if dtype.kind == "f":
        return f.op(_truths(x), f"fcmp {'u' if sign == 'ne' else 'o'}{sign} {x}, {y.name}")
    prefix = "" if sign in ("eq", "ne") else "s" if dtype.kind == "i" else "u"
    return f.op(_truths(x), f"icmp {prefix}{sign} {x}, {y.name}")


def _cast(f: Function, x: Value, source: DType, target: DType, width: int) -> Value:
    if source == target:
        return x
    if target == np.bool_:
        return _compare(f, "ne", source, x, number(0, source, width))
    signed, wider = source.kind == "i", target.itemsize > source.itemsize
    if source.kind == "f":
        instruction = (
            ("fpext" if wider else "fptrunc") if target.kind == "f" else "fptosi" if target.kind == "i" else "fptoui"
        )
    elif target.kind == "f":
        instruction = "sitofp" if signed else "uitofp"
    elif wider or source == np.bool_:
        instruction = "sext" if signed else "zext"
    elif target.itemsize == source.itemsize:
        return x
    else:
        instruction = "trunc"
    kind = vector(element(target), width)
    return f.op(kind, f"{instruction} {x} to {kind}")
