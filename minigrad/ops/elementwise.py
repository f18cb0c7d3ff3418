"""Element-wise primitives. Binary ones broadcast as NumPy does; the engine sums the gradients back.

Where a sign or a kink decides a gradient, it is PyTorch's: ties of `maximum` and `minimum` share evenly, `clip` passes
the gradient at its bounds, ``abs`` has slope 0 at 0, and ``power`` is constant in an exponent of 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices
from ..devices.arrays import RECORDING
from .primitive import Primitive, Rule, Traced, primitive

__all__ = [
    "abs", "add", "astype", "ceil", "clip", "clone", "cos", "divide", "equal", "exp", "expm1", "floor", "floor_divide",
    "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "negative", "not_equal", "power",
    "remainder", "round", "sign", "sin", "sqrt", "subtract", "tanh", "where",
]  # fmt: skip

# The limits of the dtypes that gradients have: rules read them here, since they call nothing of NumPy's themselves.
LIMITS = {np.dtype(kind): np.finfo(kind) for kind in (np.float32, np.float64, np.complex128)}

# The integers as wide as a float.
_BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}

BROADCAST_HINT = "sizes must be equal or 1, counted from the last axis; reshape() or unsqueeze() one of them"


def _unary(name: str, forward: Callable[..., Any], doc: str, rule: Rule | None = None, **options: Any) -> Primitive:
    return primitive(name, forward, "x", () if rule is None else (rule,), doc=doc, **options)


def _binary(name: str, forward: Callable[..., Any], doc: str, *rules: Rule, **options: Any) -> Primitive:
    return primitive(name, forward, "a b", rules, doc=doc, hint=BROADCAST_HINT, **options)


# --- arithmetic ------------------------------------------------------------------------------------------------------

add = _binary("add", np.add, "a + b.", lambda g: g, lambda g: g)
subtract = _binary("subtract", np.subtract, "a - b.", lambda g: g, lambda g: -g)
multiply = _binary("multiply", np.multiply, "a * b, element by element.", lambda g, b: g * b, lambda g, a: g * a)
divide = _binary(
    "divide",
    np.divide,
    "a / b; integers are divided as float32.",
    lambda g, b: g / b,
    lambda g, b, out: -g * out / b,
    to_float=True,
)
negative = _unary("negative", np.negative, "-x.", lambda g: -g)


def _refuse_zero(op: str, a: Any, b: Any) -> None:
    """Raise ZeroDivisionError for integers and a divisor of 0, where NumPy warns and gives 0."""
    whole = all(isinstance(x, int) or getattr(x, "dtype", np.dtype(float)).kind in "iub" for x in (a, b))
    if whole and (not b if isinstance(b, int) else not devices.all_true(b)):
        raise ZeroDivisionError(f"{op}: an integer divided by 0; replace the zeros with where(), or use .float()")


def _floor_divide(a: Any, b: Any) -> Any:
    _refuse_zero("floor_divide", a, b)
    return np.floor_divide(a, b)


def _remainder(a: Any, b: Any) -> Any:
    _refuse_zero("remainder", a, b)
    return np.remainder(a, b)


floor_divide = _binary(
    "floor_divide",
    _floor_divide,
    "The largest whole number that is at most a / b; without gradient. Integers are not divided by 0.",
)
remainder = _binary(
    "remainder",
    _remainder,
    "a - b * floor(a / b): the rest of a after division by b, with the sign of b.",
    lambda g: g,
    lambda g, a, b: -g * floor_divide(a, b),
    analytic=False,
)


def _power_base(g: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):
        return g * (b * power(a, b - 1)) if b else no_slope(g)
    # With an exponent of 0 the slope is 0, also where a ** -1 is infinite or NaN; but the derivative of the slope with
    # respect to b is 1 / a.
    defined = logical_or(not_equal(b, 0), greater_equal(abs(a), float(LIMITS[g.dtype].tiny)))
    return g * (masked(b, defined) * power(where(defined, a, 1.0), b - 1))


def _power_exponent(g: Any, a: Any, b: Any, out: Any) -> Any:
    flat = logical_and(equal(a, 0), greater_equal(b, 0))
    # In the dtype of g, since a base that is a number or an array must not decide the dtype.
    one = no_slope(g) + 1 if isinstance(g, Traced) else g.dtype.type(1)
    return where(flat, 0.0, g * out * log(where(flat, one, a)))


def _power(a: Any, b: Any) -> Any:
    # Arrays know fast ways to square and to take a root, but np.power takes 50 times as long for a cube.
    if isinstance(b, int | float) and b == 3 and getattr(a, "dtype", None) in _BITS:
        return a * a * a
    try:
        return operator.pow(a, b)
    except ValueError as error:
        if getattr(a, "dtype", np.dtype(int)).kind not in "iu":
            raise
        raise ValueError(f"{error} Make the base floating with .float()") from None


power = _binary("power", _power, "a to the power b.", _power_base, _power_exponent)

# --- functions of one number -----------------------------------------------------------------------------------------

exp = _unary("exp", np.exp, "e to the power x.", lambda g, out: g * out, to_float=True)
expm1 = _unary("expm1", np.expm1, "exp(x) - 1, exact for small x.", lambda g, x: g * exp(x), to_float=True)
log = _unary("log", np.log, "The natural logarithm.", lambda g, x: g / x, to_float=True)
log1p = _unary("log1p", np.log1p, "log(1 + x), exact for small x.", lambda g, x: g / (x + 1), to_float=True)
sqrt = _unary("sqrt", np.sqrt, "The square root.", lambda g, out: g / (out * 2), to_float=True)
sin = _unary("sin", np.sin, "The sine.", lambda g, x: g * cos(x), to_float=True)
cos: Primitive = _unary("cos", np.cos, "The cosine.", lambda g, x: -g * sin(x), to_float=True)
tanh = _unary("tanh", np.tanh, "The hyperbolic tangent.", lambda g, out: g * (1 - out * out), to_float=True)


def no_slope(g: Any) -> Any:
    """The gradient of a step: 0, whatever arrives. (A product with 0 would turn infinity into NaN.)"""
    return masked(g, less(g, g))


def _round(x: Any) -> Any:
    return np.round(x) if x.dtype.kind != "b" else x.copy()  # NumPy makes float16 of bools


abs = _unary("abs", np.absolute, "The absolute value; its slope at 0 is 0.", lambda g, x: g * sign(x), analytic=False)
sign: Primitive = _unary("sign", np.sign, "-1, 0 or 1; its gradient is 0.", no_slope, analytic=False)
floor = _unary("floor", np.floor, "The next whole number below; its gradient is 0.", no_slope, analytic=False)
ceil = _unary("ceil", np.ceil, "The next whole number above; its gradient is 0.", no_slope, analytic=False)
round = _unary(
    "round", _round, "The nearest whole number, halves to the even one; its gradient is 0.", no_slope, analytic=False
)

# --- comparisons and logic: results are bool, without gradients ----------------------------------------------------

equal = _binary("equal", np.equal, "Whether a = b.")
not_equal = _binary("not_equal", np.not_equal, "Whether a and b differ.")
greater = _binary("greater", np.greater, "Whether a > b.")
greater_equal = _binary("greater_equal", np.greater_equal, "Whether a >= b.")
less = _binary("less", np.less, "Whether a < b.")
less_equal = _binary("less_equal", np.less_equal, "Whether a <= b.")
logical_and = _binary("logical_and", np.logical_and, "Whether a and b are true.")
logical_or = _binary("logical_or", np.logical_or, "Whether a or b is true.")
logical_xor = _binary("logical_xor", np.logical_xor, "Whether exactly one of a and b is true.")
logical_not = _unary("logical_not", np.logical_not, "Whether x is false.")
isnan = _unary("isnan", np.isnan, "Where x is NaN.")
isinf = _unary("isinf", np.isinf, "Where x is infinite.")
isfinite = _unary("isfinite", np.isfinite, "Where x is neither NaN nor infinite.")

# --- choosing --------------------------------------------------------------------------------------------------------


def _masked(x: Any, mask: Any) -> Any:
    bits = _BITS.get(x.dtype)
    plain, traced = type(x) is type(mask) is np.ndarray, type(mask) in RECORDING
    if bits is None or not (plain or traced) or x.shape != mask.shape or not x.shape:
        return np.where(mask, x, 0)
    if traced:  # the layout decides in which order later sums add
        out = np.zeros_like(mask, dtype=x.dtype)
        out[...] = np.where(mask, x, 0)
        return out
    # A mask of bits, all ones (-1) or all zeros. On a random mask this is 20 times as fast as np.where, whose branches
    # no processor can predict, and as fast as a product, which would turn infinity into NaN.
    kept = np.negative(mask.view(np.int8)).astype(bits)
    kept &= x.view(bits)
    return kept.view(x.dtype)


masked: Primitive = primitive(
    "masked", _masked, "x mask", (lambda g, mask: masked(g, mask), None), doc="x where the mask is true, else 0."
)
where: Primitive = primitive(
    "where",
    lambda condition, a, b: np.where(condition, a, b),
    "condition a b",
    # Not a product with the mask: that would turn an infinity of the branch not taken into NaN.
    (None, lambda g, condition: where(condition, g, 0.0), lambda g, condition: where(condition, 0.0, g)),
    hint=BROADCAST_HINT,
    doc="a where the condition is true, else b.",
)


# Half of two masks: both are true where a wins, one at a tie. Both inputs win over NaN, whose comparisons are false.
def _larger(g: Any, a: Any, b: Any) -> Any:
    return (masked(g, logical_not(less(a, b))) + masked(g, logical_not(less_equal(a, b)))) * 0.5


def _smaller(g: Any, a: Any, b: Any) -> Any:
    return (masked(g, logical_not(greater(a, b))) + masked(g, logical_not(greater_equal(a, b)))) * 0.5


_TIES = "ties share the gradient evenly, and both get it where one is NaN, as in PyTorch."
maximum = _binary(
    "maximum",
    np.maximum,
    f"The larger of a and b; {_TIES}",
    _larger,
    lambda g, a, b: _larger(g, b, a),
    analytic=False,
)
minimum = _binary(
    "minimum",
    np.minimum,
    f"The smaller of a and b; {_TIES}",
    _smaller,
    lambda g, a, b: _smaller(g, b, a),
    analytic=False,
)


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    if low is None and high is None:
        raise ValueError("needs a lower or an upper bound")
    bounded = x if low is None else np.maximum(x, low)
    return bounded if high is None else np.minimum(bounded, high)


def _clip_x(g: Any, x: Any, low: Any, high: Any) -> Any:
    if low is not None:
        g = masked(g, greater_equal(x, low))
    return g if high is None else masked(g, less_equal(x, high))


def _clip_min(g: Any, x: Any, low: Any, high: Any) -> Any:
    below = less(x, low)
    return masked(g, below if high is None else logical_and(below, less(low, high)))


def _clip_max(g: Any, x: Any, low: Any, high: Any) -> Any:
    above = greater(x, high)
    return masked(g, above if low is None else logical_or(above, greater(low, high)))


clip = primitive(
    "clip",
    _clip,
    "x low high",
    (_clip_x, _clip_min, _clip_max),
    analytic=False,
    hint=BROADCAST_HINT,
    doc="x limited to the range from low to high, each of which may be None; at a bound the gradient passes.",
)

# --- copies ----------------------------------------------------------------------------------------------------------


def _clone(x: Any) -> Any:
    return x.copy()


def _astype(x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def _to_device(x: Any, *, device: str, source: str) -> Any:
    return devices.to_device(x, device) if device != source else x.copy()


clone = _unary("clone", _clone, "A copy, through which gradients flow.", lambda g: g)
# The rule has nothing to do, since the engine casts every gradient to the dtype of its input.
astype = _unary("astype", _astype, "The elements as another type; the gradient is cast back.", lambda g: g)
to_device: Primitive = _unary(
    "to_device",
    _to_device,
    "A copy on another device; the gradient comes back.",
    lambda g, *, device, source: to_device(g, device=source, source=device),
)
