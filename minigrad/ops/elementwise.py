"""Element-wise primitives. Binary ones broadcast as NumPy does; the engine sums the gradients back.

A number whose sign or kink decides a gradient is treated as PyTorch does: ties of `maximum` and `minimum` share
evenly, `clip` passes the gradient at its bounds, ``abs`` has slope 0 at 0, and ``power`` is constant in an exponent
of 0.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .. import devices
from .primitive import Primitive, Traced, primitive

# The limits of the dtypes that gradients have: rules read them here, since they call nothing of NumPy's themselves.
LIMITS = {np.dtype(kind): np.finfo(kind) for kind in (np.float32, np.float64, np.complex128)}

# The integers as wide as a float.
_BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}

BROADCAST_HINT = "sizes must be equal or 1, counted from the last axis; reshape() or unsqueeze() one of them"

# --- arithmetic ------------------------------------------------------------------------------------------------------

add = primitive("add", np.add, "a b", (lambda g: g, lambda g: g), hint=BROADCAST_HINT, doc="a + b.")
subtract = primitive("subtract", np.subtract, "a b", (lambda g: g, lambda g: -g), hint=BROADCAST_HINT, doc="a - b.")
multiply = primitive(
    "multiply",
    np.multiply,
    "a b",
    (lambda g, b: g * b, lambda g, a: g * a),
    hint=BROADCAST_HINT,
    doc="a * b, element by element.",
)
divide = primitive(
    "divide",
    np.divide,
    "a b",
    (lambda g, b: g / b, lambda g, b, out: -g * out / b),
    to_float=True,
    hint=BROADCAST_HINT,
    doc="a / b; integers are divided as float32.",
)
negative = primitive("negative", np.negative, "x", (lambda g: -g,), doc="-x.")


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


floor_divide = primitive(
    "floor_divide",
    _floor_divide,
    "a b",
    hint=BROADCAST_HINT,
    doc="The whole number below a / b; without gradient. Integers are not divided by 0.",
)
remainder = primitive(
    "remainder",
    _remainder,
    "a b",
    (lambda g: g, lambda g, a, b: -g * floor_divide(a, b)),
    analytic=False,
    hint=BROADCAST_HINT,
    doc="a - b * floor(a / b): what is left of a, with the sign of b.",
)


def _power_base(g: Any, a: Any, b: Any) -> Any:
    if isinstance(b, int | float):
        return g * (b * power(a, b - 1)) if b else no_slope(g)
    # With an exponent of 0 the slope is 0, also where a ** -1 is infinite or NaN, but its own slope in b is 1 / a.
    defined = logical_or(not_equal(b, 0), greater_equal(abs(a), float(LIMITS[g.dtype].tiny)))
    return g * (masked(b, defined) * power(where(defined, a, 1.0), b - 1))


def _power_exponent(g: Any, a: Any, b: Any, out: Any) -> Any:
    flat = logical_and(equal(a, 0), greater_equal(b, 0))
    # Of the dtype of g, as a base that is not a tensor decides none.
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


power: Primitive = primitive(
    "power", _power, "a b", (_power_base, _power_exponent), hint=BROADCAST_HINT, doc="a to the power b."
)

# --- functions of one number -----------------------------------------------------------------------------------------

exp = primitive("exp", np.exp, "x", (lambda g, out: g * out,), to_float=True, doc="e to the power x.")
expm1 = primitive(
    "expm1", np.expm1, "x", (lambda g, x: g * exp(x),), to_float=True, doc="exp(x) - 1, exact for small x."
)
log = primitive("log", np.log, "x", (lambda g, x: g / x,), to_float=True, doc="The natural logarithm.")
log1p = primitive(
    "log1p", np.log1p, "x", (lambda g, x: g / (x + 1),), to_float=True, doc="log(1 + x), exact for small x."
)
sqrt = primitive("sqrt", np.sqrt, "x", (lambda g, out: g / (out * 2),), to_float=True, doc="The square root.")
sin: Primitive = primitive("sin", np.sin, "x", (lambda g, x: g * cos(x),), to_float=True, doc="The sine.")
cos: Primitive = primitive("cos", np.cos, "x", (lambda g, x: -g * sin(x),), to_float=True, doc="The cosine.")
tanh = primitive(
    "tanh", np.tanh, "x", (lambda g, out: g * (1 - out * out),), to_float=True, doc="The hyperbolic tangent."
)


def no_slope(g: Any) -> Any:
    """The gradient of a step: 0, whatever arrives. (A product with 0 would turn infinity into NaN.)"""
    return masked(g, less(g, g))


abs: Primitive = primitive(
    "abs", np.absolute, "x", (lambda g, x: g * sign(x),), analytic=False, doc="The absolute value; its slope at 0 is 0."
)

sign: Primitive = primitive("sign", np.sign, "x", (no_slope,), analytic=False, doc="-1, 0 or 1; its gradient is 0.")
floor: Primitive = primitive(
    "floor", np.floor, "x", (no_slope,), analytic=False, doc="The whole number below; its gradient is 0."
)
ceil = primitive("ceil", np.ceil, "x", (no_slope,), analytic=False, doc="The whole number above; its gradient is 0.")


def _round(x: Any) -> Any:
    return np.round(x) if x.dtype.kind != "b" else x.copy()  # NumPy makes float16 of bools


round = primitive(
    "round",
    _round,
    "x",
    (no_slope,),
    analytic=False,
    doc="The nearest whole number, halves to the even one; its gradient is 0.",
)

# --- choosing --------------------------------------------------------------------------------------------------------


def _masked(x: Any, mask: Any) -> Any:
    bits = _BITS.get(x.dtype)
    if bits is None or type(x) is not np.ndarray or x.shape != mask.shape or not x.shape:
        return np.where(mask, x, 0)
    # All ones (-1) or all zeros, and-ed with the bits of x: on a random mask this is 20 times as fast as np.where,
    # whose branches no processor can foretell, and as fast as a product, which would turn infinity into NaN.
    kept = np.negative(mask.view(np.int8)).astype(bits)
    kept &= x.view(bits)
    return kept.view(x.dtype)


masked: Primitive = primitive(
    "masked", _masked, "x mask", (lambda g, mask: masked(g, mask), None), doc="x where the mask is true, else 0."
)


# Half of two masks: both are true where a wins, one at a tie. Both inputs win over NaN, whose comparisons are false.
def _larger(g: Any, a: Any, b: Any) -> Any:
    return (masked(g, logical_not(less(a, b))) + masked(g, logical_not(less_equal(a, b)))) * 0.5


def _smaller(g: Any, a: Any, b: Any) -> Any:
    return (masked(g, logical_not(greater(a, b))) + masked(g, logical_not(greater_equal(a, b)))) * 0.5


_TIES = "ties share the gradient evenly, and both get it where one is NaN, as in PyTorch."
maximum = primitive(
    "maximum",
    np.maximum,
    "a b",
    (_larger, lambda g, a, b: _larger(g, b, a)),
    analytic=False,
    hint=BROADCAST_HINT,
    doc=f"The larger of a and b; {_TIES}",
)
minimum = primitive(
    "minimum",
    np.minimum,
    "a b",
    (_smaller, lambda g, a, b: _smaller(g, b, a)),
    analytic=False,
    hint=BROADCAST_HINT,
    doc=f"The smaller of a and b; {_TIES}",
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


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b)


where: Primitive = primitive(
    "where",
    _where,
    "condition a b",
    # Not a product with the mask: that would turn an infinity of the branch not taken into NaN.
    (None, lambda g, condition: where(condition, g, 0.0), lambda g, condition: where(condition, 0.0, g)),
    hint=BROADCAST_HINT,
    doc="a where the condition is true, else b.",
)

# --- comparisons and logic: results are bool, without gradients ----------------------------------------------------

equal: Primitive = primitive("equal", np.equal, "a b", hint=BROADCAST_HINT, doc="Whether a = b.")
not_equal: Primitive = primitive("not_equal", np.not_equal, "a b", hint=BROADCAST_HINT, doc="Whether a and b differ.")
greater: Primitive = primitive("greater", np.greater, "a b", hint=BROADCAST_HINT, doc="Whether a > b.")
greater_equal: Primitive = primitive(
    "greater_equal", np.greater_equal, "a b", hint=BROADCAST_HINT, doc="Whether a >= b."
)
less: Primitive = primitive("less", np.less, "a b", hint=BROADCAST_HINT, doc="Whether a < b.")
less_equal: Primitive = primitive("less_equal", np.less_equal, "a b", hint=BROADCAST_HINT, doc="Whether a <= b.")
logical_and: Primitive = primitive(
    "logical_and", np.logical_and, "a b", hint=BROADCAST_HINT, doc="Whether a and b are true."
)
logical_or: Primitive = primitive(
    "logical_or", np.logical_or, "a b", hint=BROADCAST_HINT, doc="Whether a or b is true."
)
logical_xor = primitive(
    "logical_xor", np.logical_xor, "a b", hint=BROADCAST_HINT, doc="Whether one of a and b is true."
)
logical_not: Primitive = primitive("logical_not", np.logical_not, "x", doc="Whether x is false.")
isnan = primitive("isnan", np.isnan, "x", doc="Where x is NaN.")
isinf = primitive("isinf", np.isinf, "x", doc="Where x is infinite.")
isfinite = primitive("isfinite", np.isfinite, "x", doc="Where x is neither NaN nor infinite.")


# --- copies ----------------------------------------------------------------------------------------------------------


def _clone(x: Any) -> Any:
    return x.copy()


def _astype(x: Any, *, dtype: Any) -> Any:
    return x.astype(dtype)


def _to_device(x: Any, *, device: str, source: str) -> Any:
    return devices.to_device(x, device) if device != source else x.copy()


clone = primitive("clone", _clone, "x", (lambda g: g,), doc="A copy.")
# The engine casts every gradient to the dtype of its input, so here nothing is left to do.
astype = primitive(
    "astype", _astype, "x", (lambda g: g,), doc="The elements as another type; the gradient is cast back."
)
to_device: Primitive = primitive(
    "to_device",
    _to_device,
    "x",
    (lambda g, *, device, source: to_device(g, device=source, source=device),),
    doc="A copy on another device; the gradient comes back.",
)
