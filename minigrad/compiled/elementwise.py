"""Functions of an element in machine code, each bit-equal to NumPy's ufunc of the same name.

The names are `minigrad.compiled.functions.NATIVE`, and ``same``, ``cast`` and ``where``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .vectors import Function, Value, element, vector

DType = np.dtype[Any]

_COMPARE = {"equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_LOGIC = {"logical_and": "and_", "logical_or": "or_", "logical_xor": "xor"}
_BITS = {"bitwise_and": "and_", "bitwise_or": "or_", "bitwise_xor": "xor"}
_BOOL = np.dtype(np.bool_)


def compute(f: Function, name: str, dtypes: Sequence[DType], out: DType, args: Sequence[Value], width: int) -> Value:
    """Write a function of vectors of ``width`` elements.

    Args:
        f: where to write it.
        name: the function.
        dtypes: of the arguments.
        out: the dtype of the result.
        args: the arguments.
        width: how many elements they have.
    """
    b, x, first = f.b, args[0], dtypes[0]
    if name == "same":
        return x
    if name == "cast":
        return _cast(f, x, first, out, width)
    if name == "where":
        return b.select(x, args[1], args[2])
    if name in _COMPARE:
        return _compare(f, name, first, x, args[1])
    if name in _LOGIC or name == "logical_not":
        truth = [_cast(f, arg, dtype, _BOOL, width) for arg, dtype in zip(args, dtypes, strict=True)]
        if name == "logical_not":
            return b.xor(truth[0], f.number(True, _BOOL, width))
        return getattr(b, _LOGIC[name])(*truth)
    if name in _BITS:
        return getattr(b, _BITS[name])(*args)
    if name == "invert":
        return b.xor(x, f.number(True, _BOOL, width)) if first == _BOOL else b.not_(x)
    if first.kind == "f":
        return _floating(f, name, first, args, width)
    return _whole(f, name, first, args, width)


def _compare(f: Function, name: str, dtype: DType, x: Value, y: Value) -> Value:
    b, sign = f.b, _COMPARE[name]
    if dtype.kind == "f":
        return (b.fcmp_unordered if name == "not_equal" else b.fcmp_ordered)(sign, x, y)
    return (b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned)(sign, x, y)


def _floating(f: Function, name: str, dtype: DType, args: Sequence[Value], width: int) -> Value:
    b, x = f.b, args[0]
    y = args[-1]
    zero, one = (f.number(n, dtype, width) for n in (0, 1))
    match name:
        case "add":
            return b.fadd(x, y)
        case "subtract":
            return b.fsub(x, y)
        case "multiply":
            return b.fmul(x, y)
        case "divide":
            return b.fdiv(x, y)
        case "negative":
            return b.fneg(x)
        case "conjugate":
            return x
        case "square":
            return b.fmul(x, x)
        case "reciprocal":
            return b.fdiv(one, x)
        case "sqrt" | "floor" | "ceil" | "rint" | "trunc" | "copysign":
            return f.intrinsic(name, args)
        case "absolute" | "fabs":
            return f.intrinsic("fabs", args)
        case "maximum" | "minimum":  # the first if either is NaN and it is, else the second
            better = b.fcmp_ordered(">" if name == "maximum" else "<", x, y)
            return b.select(b.fcmp_unordered("uno", x, x), x, b.select(better, x, y))
        case "sign":  # of NaN, NaN
            kept = b.select(b.fcmp_ordered("==", x, zero), zero, x)
            below = b.select(b.fcmp_ordered("<", x, zero), f.number(-1, dtype, width), kept)
            return b.select(b.fcmp_ordered(">", x, zero), one, below)
        case "isnan":
            return b.fcmp_unordered("uno", x, x)
        case "isinf" | "isfinite":
            sign = "==" if name == "isinf" else "<"
            return b.fcmp_ordered(sign, f.intrinsic("fabs", args), f.number(math.inf, dtype, width))
    raise NotImplementedError(f"{name} of {dtype}")


def _whole(f: Function, name: str, dtype: DType, args: Sequence[Value], width: int) -> Value:
    """Functions of integers, which wrap around, and of truth values."""
    b, x, y = f.b, args[0], args[-1]
    if dtype == _BOOL and name in ("add", "maximum", "multiply", "minimum"):
        return b.or_(x, y) if name in ("add", "maximum") else b.and_(x, y)
    zero = f.number(0, dtype, width)
    compare = b.icmp_signed if dtype.kind == "i" else b.icmp_unsigned
    match name:
        case "add":
            return b.add(x, y)
        case "subtract":
            return b.sub(x, y)
        case "multiply":
            return b.mul(x, y)
        case "square":
            return b.mul(x, x)
        case "negative":
            return b.sub(zero, x)
        case "conjugate":
            return x
        case "absolute":
            return b.select(compare("<", x, zero), b.sub(zero, x), x)
        case "maximum" | "minimum":
            return b.select(compare(">" if name == "maximum" else "<", x, y), x, y)
        case "sign":
            below = b.select(compare("<", x, zero), f.number(-1, np.dtype(f"i{dtype.itemsize}"), width), zero)
            return b.select(compare(">", x, zero), f.number(1, dtype, width), below)
    raise NotImplementedError(f"{name} of {dtype}")


def _cast(f: Function, x: Value, source: DType, target: DType, width: int) -> Value:
    b, kind = f.b, vector(element(target), width)
    if source == target:
        return x
    if target == _BOOL:
        different = b.fcmp_unordered if source.kind == "f" else b.icmp_unsigned
        return different("!=", x, f.number(0, source, width))
    if source.kind == "f":
        if target.kind == "f":
            return (b.fpext if target.itemsize > source.itemsize else b.fptrunc)(x, kind)
        return b.fptosi(x, kind) if target.kind == "i" else b.fptoui(x, kind)
    if target.kind == "f":
        return b.sitofp(x, kind) if source.kind == "i" else b.uitofp(x, kind)
    if target.itemsize > source.itemsize or source == _BOOL:
        return b.sext(x, kind) if source.kind == "i" else b.zext(x, kind)
    return x if target.itemsize == source.itemsize else b.trunc(x, kind)


def combine(f: Function, name: str, dtype: DType, x: Value, y: Value) -> Value:
    """One step of a reduction."""
    width = x.type.count if isinstance(x.type, ir.VectorType) else 1
    return compute(f, name, (dtype, dtype), dtype, (x, y), width)
