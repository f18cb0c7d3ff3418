"""Primitives of neural networks: softmax, normalization, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import random
from ..devices.arrays import device_of, largest, to_device
from ..devices.summation import Axis, add_up, axes_of
from .elementwise import LIMITS, exp, sqrt
from .primitive import Primitive, primitive
from .reduction import keep, mean, sum, summands

__all__ = [
    "dropout", "dropout_mask", "layer_norm", "log_softmax", "logsumexp", "rms_norm", "softmax", "standardize",
]  # fmt: skip

# --- softmax ---------------------------------------------------------------------------------------------------------


def _peak(x: Any, axis: Axis) -> Any:
    """The largest elements, so that exp(x - peak) cannot overflow; real, so that a complex step passes through."""
    return largest(x.real, axis=axis, keepdims=True) if x.size else 0


def _softmax(x: Any, *, axis: Axis = -1) -> Any:
    out = np.exp(x - _peak(x, axis))
    out /= add_up(out, axis=axis, keepdims=True)
    return out


def _softmax_rule(g: Any, out: Any, *, axis: Axis) -> Any:
    weighted = g * out
    return weighted - out * sum(weighted, axis=axis, keepdims=True)


def _log_softmax(x: Any, *, axis: Axis = -1) -> Any:
    if not x.size:
        return x.copy()
    out = x - _peak(x, axis)
    out -= np.log(add_up(np.exp(out), axis=axis, keepdims=True))
    return out


def _logsumexp(x: Any, *, axis: Axis = None, keepdims: bool = False) -> tuple[Any, Any]:
    """The output; and the softmax, its gradient. (exp(x - out) would have the rounding error of a large output.)"""
    peak = _peak(x, axis)
    shift = np.where(np.isfinite(peak), peak, 0) if x.size else peak  # of a row of -inf, inf - inf would be NaN
    out = np.exp(x - shift)
    total = add_up(out, axis=axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        out /= total
        logarithm = np.log(total) + shift
    return logarithm if keepdims else np.squeeze(logarithm, axes_of(x.ndim, axis)), out


softmax = primitive(
    "softmax",
    _softmax,
    "x",
    (_softmax_rule,),
    to_float=True,
    doc="exp(x) / sum(exp(x)) along ``axis``, without overflow. Masked elements (-inf) get 0, a row of them NaN.",
)
log_softmax = primitive(
    "log_softmax",
    _log_softmax,
    "x",
    (lambda g, out, *, axis: g - exp(out) * sum(g, axis=axis, keepdims=True),),
    to_float=True,
    doc="log(softmax(x)) along ``axis``, without underflow.",
)
logsumexp = primitive(
    "logsumexp",
    _logsumexp,
    "x",
    (lambda g, x_shape, slope, *, axis: keep(g, x_shape, axis) * slope,),
    extras={"slope": lambda x, *, axis: softmax(x, axis=axis)},
    to_float=True,
    doc="log(sum(exp(x))) without overflow; -inf for a row of -inf.",
)

# --- dropout ---------------------------------------------------------------------------------------------------------


def _dropout_mask(x: Any, *, p: float) -> Any:
    # Drawn on the CPU, so that a seed gives the same mask on every device.
    return to_device(random.generator().random(x.shape) >= p, device_of(x))


# Only the shape and device of x matter. As an input it makes the mask of a tensor a tensor, which observers see.
dropout_mask = primitive(
    "dropout_mask",
    _dropout_mask,
    "x",
    doc="A random mask in the shape of x, true with probability 1 - p, drawn from `minigrad.random`'s generator.",
)


def _dropout(x: Any, keep: Any, *, p: float) -> Any:
    return x * keep * _survivors(p)


def _survivors(p: float) -> float:
    return 1 / (1 - p) if p < 1 else 0.0


dropout = primitive(
    "dropout",
    _dropout,
    "x keep",
    (lambda g, keep, *, p: g * keep * _survivors(p), None),
    doc="x * keep / (1 - p): zero where the mask ``keep`` is false, and the rest scaled to the same expectation.",
)

# --- normalization ---------------------------------------------------------------------------------------------------


def _standardize(x: Any, *, axis: Axis, eps: float = 1e-5) -> Any:
    n = summands(x.shape, axis)
    out = x - add_up(x, axis=axis, keepdims=True) / n
    out *= 1 / np.sqrt(add_up(out * out, axis=axis, keepdims=True) / n + eps)
    return out


def _standardize_rule(g: Any, x: Any, *, axis: Axis, eps: float) -> Any:
    centered = x - mean(x, axis=axis, keepdims=True)
    scale = 1 / sqrt(mean(centered * centered, axis=axis, keepdims=True) + eps)
    out = centered * scale
    return scale * (g - mean(g, axis=axis, keepdims=True) - out * mean(g * out, axis=axis, keepdims=True))


standardize: Primitive = primitive(
    "standardize",
    _standardize,
    "x",
    (_standardize_rule,),
    to_float=True,
    doc="(x - mean) / sqrt(variance + eps) over ``axis``, with the variance that divides by the number of elements.",
)


def _trailing(ndim: int) -> Axis:
    return -1 if ndim == 1 else tuple(range(-ndim, 0))


def _affine(out: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        out *= weight
    if bias is not None:
        out += bias
    return out


def _layer_norm(x: Any, weight: Any = None, bias: Any = None, *, ndim: int = 1, eps: float = 1e-5) -> Any:
    return _affine(_standardize(x, axis=_trailing(ndim), eps=eps), weight, bias)


layer_norm = primitive(
    "layer_norm",
    _layer_norm,
    "x weight bias",
    (
        lambda g, x, weight, *, ndim, eps: _standardize_rule(
            g if weight is None else g * weight, x, axis=_trailing(ndim), eps=eps
        ),
        lambda g, x, *, ndim, eps: g * standardize(x, axis=_trailing(ndim), eps=eps),
        lambda g: g,
    ),
    to_float=True,
    doc="Standardize over the last ``ndim`` axes, then times ``weight`` plus ``bias``, each of which may be None "
    "(Ba, Kiros and Hinton 2016, arXiv:1607.06450).",
)


def _rms_norm(x: Any, weight: Any = None, *, ndim: int = 1, eps: float | None = None) -> Any:
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps  # also of the dtypes that only plain arrays have
    return _affine(x * _inverse_rms(x, _trailing(ndim), eps), weight, None)


def _inverse_rms(x: Any, axis: Axis, eps: float | None) -> Any:
    eps = float(LIMITS[x.dtype].eps) if eps is None else eps
    return 1 / sqrt(mean(x * x, axis=axis, keepdims=True) + eps)


def _rms_norm_rule(g: Any, x: Any, weight: Any, *, ndim: int, eps: float | None) -> Any:
    axis = _trailing(ndim)
    scale = _inverse_rms(x, axis, eps)
    g, out = g if weight is None else g * weight, x * scale
    return scale * (g - out * mean(g * out, axis=axis, keepdims=True))


rms_norm = primitive(
    "rms_norm",
    _rms_norm,
    "x weight",
    (_rms_norm_rule, lambda g, x, *, ndim, eps: g * (x * _inverse_rms(x, _trailing(ndim), eps))),
    to_float=True,
    doc="x / sqrt(mean(x²) + eps) over the last ``ndim`` axes, times ``weight`` or None; ``eps`` is by default the "
    "resolution of the dtype (Zhang and Sennrich 2019, arXiv:1910.07467).",
)
