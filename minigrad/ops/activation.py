"""Activation functions, with the slopes that PyTorch gives at kinks: 0 for `relu` at 0 and `relu6` at 0 and 6.

At NaN, `relu`, `relu6` and `elu` have slope 1, and `leaky_relu` its ``negative_slope``, as in PyTorch: their masks
are written so that a comparison with NaN, which is false, lets the gradient through.

Rules choose their branches with `masked`, which is several times faster than `where` for numbers of random sign.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import exp, logical_not, masked
from .primitive import Primitive, primitive

__all__ = ["elu", "erfc", "gelu", "leaky_relu", "relu", "relu6", "sigmoid", "silu", "softplus"]


def _sigmoid(x: Any) -> Any:
    # exp may overflow to infinity, and 1 / inf is the right answer there.
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


_LARGEST = {np.dtype(kind): float(np.finfo(kind).max) for kind in (np.float32, np.float64, np.complex128)}


def _sigmoid_and_rest(x: Any) -> tuple[Any, Any]:
    """The output, and 1 - output without cancellation (or 0 if exp overflows: their product is 0 either way)."""
    with np.errstate(over="ignore"):
        e = np.exp(-x)
    out = 1 / (1 + e)
    rest = np.minimum(e, _LARGEST.get(e.dtype, math.inf))
    rest *= out
    return out, rest


sigmoid: Primitive = primitive(
    "sigmoid",
    _sigmoid_and_rest,
    "x",
    (lambda g, out, rest: g * (out * rest),),
    extras={"rest": lambda x: sigmoid(-x)},
    to_float=True,
    doc="1 / (1 + exp(-x)).",
)


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, 0)


softplus = primitive(
    "softplus",
    _softplus,
    "x",
    (lambda g, x: g * sigmoid(x),),
    to_float=True,
    analytic=False,
    doc="log(1 + exp(x)), exact for every x (PyTorch returns x itself beyond 20).",
)


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _relu6(x: Any) -> Any:
    return np.minimum(np.maximum(x, 0), 6)


relu = primitive(
    "relu", _relu, "x", (lambda g, out: masked(g, out != 0),), analytic=False, doc="max(x, 0); the gradient at 0 is 0."
)
relu6 = primitive(
    "relu6",
    _relu6,
    "x",
    (lambda g, out: masked(g, (out != 0) & (out != 6)),),
    analytic=False,
    doc="min(max(x, 0), 6); the gradient at 0 and 6 is 0, as in PyTorch.",
)


def _leaky_relu(x: Any, *, negative_slope: float = 0.01) -> Any:
    return np.maximum(x, 0) + np.minimum(x, 0) * negative_slope


leaky_relu = primitive(
    "leaky_relu",
    _leaky_relu,
    "x",
    (lambda g, x, *, negative_slope: masked(g, x > 0) + masked(g * negative_slope, logical_not(x > 0)),),
    to_float=True,
    analytic=False,
    doc="x where positive, else negative_slope * x.",
)


def _elu(x: Any, *, alpha: float = 1.0) -> Any:
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0)) * alpha


def _elu_rule(g: Any, x: Any, *, alpha: float) -> Any:
    # Not out + alpha, which cancels. The inner mask makes the second derivative at 0 equal to 0, as in PyTorch.
    return masked(g, logical_not(x <= 0)) + masked(g * (exp(masked(x, x < 0)) * alpha), x <= 0)


elu = primitive(
    "elu",
    _elu,
    "x",
    (_elu_rule,),
    to_float=True,
    analytic=False,
    doc="x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2015, arXiv:1511.07289).",
)


def _silu(x: Any) -> Any:
    return x * _sigmoid(x)


def _silu_rule(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


silu = primitive("silu", _silu, "x", (_silu_rule,), to_float=True, doc="x * sigmoid(x), also called swish.")

# log(erfc(z) * exp(z * z) / t) is a polynomial of u = 2 t - 1 with t = 2 / (2 + z), to 4e-16 for all z >= 0:
# a Chebyshev interpolation in 60 digits, converted to powers of u.
_ERFC = (
    -0.6717940840566923, 0.672643223977656, 0.04734330684190443, -0.046895610231083025, -0.009872689366389959,
    0.008824938553738764, 0.001758933557799016, -0.002345812444802156, -0.00014624686337800336,
    0.0006736782697069831, -9.37350311709817e-05, -0.00017429984933155644, 7.14010141275703e-05,
    3.173310599377061e-05, -3.0187884551394243e-05, 1.699233231227702e-07, 8.562623420121286e-06,
    -3.007645434410669e-06, -1.27231190486887e-06, 1.3267813608518889e-06, -1.6849800720653297e-07,
    -3.168341367694147e-07, 1.5334345920908177e-07, 3.972203547273795e-08, -3.9171820510271855e-08,
    -1.5867042924138042e-09, 4.06088214696972e-09,
)  # fmt: skip


def _erfc(x: Any) -> Any:
    sign = np.copysign(x.real.dtype.type(1), x.real)
    z = x * sign
    t = 2 / (2 + z)
    u = 2 * t - 1
    exponent = np.full_like(u, _ERFC[-1])
    for coefficient in _ERFC[-2::-1]:
        exponent *= u
        exponent += coefficient
    tail = t * np.exp(exponent - z * z)
    # The tail, or 2 minus the tail: exact, and several times as fast as np.where for numbers of random sign.
    return tail * sign + (1 - sign)


erfc = primitive(
    "erfc",
    _erfc,
    "x",
    (lambda g, x: g * (-2 / math.sqrt(math.pi)) * exp(-x * x),),
    to_float=True,
    doc="The complementary error function 2/sqrt(pi) times the integral of exp(-t²) from x to infinity.",
)

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715


def _gelu(x: Any, *, approximate: str = "none") -> tuple[Any, Any]:
    """The output; and for the exact form the normal distribution function of x, which the gradient needs too."""
    if approximate == "none":
        normal = _normal(x, approximate=approximate)
        return x * normal, normal
    if approximate == "tanh":
        # (1 + tanh(z)) / 2 is sigmoid(2 z), and 1 minus that is sigmoid(-2 z), without cancellation for large z.
        return x * _sigmoid(2 * _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)), None
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")


def _normal(x: Any, *, approximate: str) -> Any:
    return 0.5 * erfc(x * -math.sqrt(0.5)) if approximate == "none" else None


def _gelu_rule(g: Any, x: Any, normal: Any, *, approximate: str) -> Any:
    if approximate == "none":
        return g * (normal + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)))
    z = 2 * _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)
    return g * sigmoid(z) * (1 + x * sigmoid(-z) * (2 * _GELU_SCALE * (1 + 3 * _GELU_CUBIC * x * x)))


gelu: Primitive = primitive(
    "gelu",
    _gelu,
    "x",
    (_gelu_rule,),
    extras={"normal": _normal},
    to_float=True,
    doc="x times the normal distribution function of x; approximate='tanh' is the form with tanh "
    "(Hendrycks and Gimpel 2016, arXiv:1606.08415).",
)
