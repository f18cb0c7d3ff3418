"""What a rule may call: functions on scalars, which keep the precision of what they are given."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np


def sqrt(x: Any) -> Any:
    """Square root of a scalar, in its own precision."""
    return math.sqrt(x) if isinstance(x, float | int) and not isinstance(x, np.generic) else np.sqrt(x)


def exp(x: Any) -> Any:
    """e to the power of a scalar, in its own precision."""
    return math.exp(x) if isinstance(x, float | int) and not isinstance(x, np.generic) else np.exp(x)


def log(x: Any) -> Any:
    """Natural logarithm of a scalar, in its own precision."""
    return math.log(x) if isinstance(x, float | int) and not isinstance(x, np.generic) else np.log(x)


def sign(x: Any) -> Any:
    """1 for a positive scalar, -1 for a negative one, otherwise the scalar itself (0 or NaN)."""
    return type(x)(1) if x > 0 else type(x)(-1) if x < 0 else x


def maximum(a: Any, b: Any) -> Any:
    """The larger of two scalars; NaN if either is."""
    return _in_precision_of(a, b, a if a > b or a != a else b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two scalars; NaN if either is."""
    return _in_precision_of(a, b, a if a < b or a != a else b)


def _in_precision_of(a: Any, b: Any, value: Any) -> Any:
    """The value as a NumPy scalar if ``a`` or ``b`` is one, so that what follows is not computed in float64."""
    kind = type(a) if isinstance(a, np.generic) else type(b)
    return kind(value) if issubclass(kind, np.generic) else value


# What a rule may call, under the name that kernels know it by.
FUNCTIONS: dict[Any, str] = {
    **dict.fromkeys((sqrt, math.sqrt, np.sqrt), "sqrt"),
    **dict.fromkeys((exp, math.exp, np.exp), "exp"),
    **dict.fromkeys((log, math.log, np.log), "log"),
    **dict.fromkeys((sign, np.sign), "sign"),
    **dict.fromkeys((builtins.abs, np.abs, math.fabs), "abs"),
    **dict.fromkeys((maximum, np.maximum), "maximum"),
    **dict.fromkeys((minimum, np.minimum), "minimum"),
    # Python's own keep the first of two where neither is larger, also beside NaN.
    builtins.max: "max",
    builtins.min: "min",
}
MATH: dict[str, Any] = {
    "sqrt": sqrt,
    "exp": exp,
    "log": log,
    "sign": sign,
    "abs": builtins.abs,
    "maximum": maximum,
    "minimum": minimum,
}


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a if condition else b``, element by element for arrays."""
    return np.where(condition, a, b) if isinstance(condition, np.ndarray) else a if condition else b


def root(x: Any) -> Any:
    """x to the power of a half, which is a root but for 0 and infinity with a minus."""
    return where(x == -np.inf, np.full_like(x, np.inf)[()], np.abs(np.sqrt(x)))


def _sign(x: Any) -> Any:
    one = np.ones_like(x)[()]
    return where(x > 0, one, where(x < 0, -one, x))


# The same functions for arrays too, where those that choose do so element by element.
ON_ARRAYS: dict[str, Callable[..., Any]] = {
    **{name: MATH[name] for name in ("sqrt", "exp", "log", "abs")},
    "sign": _sign,
    "maximum": lambda a, b: where((a > b) | (a != a), a, b),
    "minimum": lambda a, b: where((a < b) | (a != a), a, b),
    "max": lambda a, b: where(b > a, b, a),
    "min": lambda a, b: where(b < a, b, a),
}
