"""The functions that a rule may call, on numbers and on arrays."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np


def sqrt(x: Any) -> Any:
    """Square root, in the precision of ``x``."""
    return math.sqrt(x) if _is_plain(x) else np.sqrt(x)


def exp(x: Any) -> Any:
    """e to the power of ``x``, in its precision."""
    return math.exp(x) if _is_plain(x) else np.exp(x)


def log(x: Any) -> Any:
    """Natural logarithm, in the precision of ``x``."""
    return math.log(x) if _is_plain(x) else np.log(x)


def sign(x: Any) -> Any:
    """1 for a positive number, -1 for a negative one, otherwise the number itself (0 or NaN)."""
    one = type(x)(1) if _is_plain(x) else np.ones_like(x)[()]
    return where(x > 0, one, where(x < 0, -one, x))


def maximum(a: Any, b: Any) -> Any:
    """The larger of two numbers; NaN if either is."""
    return where((a > b) | (a != a), a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two numbers; NaN if either is."""
    return where((a < b) | (a != a), a, b)


def _is_plain(x: Any) -> bool:
    return isinstance(x, float | int) and not isinstance(x, np.generic)


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b``, element by element for arrays."""
    return np.where(condition, a, b) if isinstance(condition, np.ndarray) else a if condition else b


def root(x: Any) -> Any:
    """x to the power of 0.5, which differs from the square root at -0 and at -inf."""
    return where(x == -np.inf, np.full_like(x, np.inf)[()], np.abs(np.sqrt(x)))


# Each function by the name that rules and kernels know it by.
BY_NAME: dict[str, Callable[..., Any]] = {
    "abs": builtins.abs,
    "exp": exp,
    "log": log,
    "maximum": maximum,
    "minimum": minimum,
    "sign": sign,
    "sqrt": sqrt,
    # Python's own keep the first of two if neither is larger, also next to NaN.
    "max": lambda a, b: where(b > a, b, a),
    "min": lambda a, b: where(b < a, b, a),
}
# The name for each function that a rule may call.
NAMES: dict[Any, str] = {
    **dict.fromkeys((sqrt, math.sqrt, np.sqrt), "sqrt"),
    **dict.fromkeys((exp, math.exp, np.exp), "exp"),
    **dict.fromkeys((log, math.log, np.log), "log"),
    **dict.fromkeys((sign, np.sign), "sign"),
    **dict.fromkeys((builtins.abs, np.abs, math.fabs), "abs"),
    **dict.fromkeys((maximum, np.maximum), "maximum"),
    **dict.fromkeys((minimum, np.minimum), "minimum"),
    builtins.max: "max",
    builtins.min: "min",
}
