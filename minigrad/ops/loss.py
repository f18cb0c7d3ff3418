"""Losses. ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``, as in PyTorch.

An example or element of weight 0 (an ignored label, a class of weight 0) does not count: its loss and its gradients of
every order are 0, even if its scores are infinite or NaN. Since 0 times infinity is NaN, its scores and targets are
replaced by 0 before anything is computed from them.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..devices.arrays import DEVICE_ARRAYS, RECORDING, any_true, largest, namespace, peek, smallest
from ..devices.summation import add_up
from .activation import sigmoid, softplus
from .elementwise import clip, equal, log, masked, maximum, not_equal, sign, where
from .indexing import scatter
from .neural import softmax
from .primitive import primitive
from .shape import unsqueeze

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss",
    "mse_loss", "nll_loss", "one_hot", "smooth_l1_loss",
]  # fmt: skip

EQUAL_HINT = "reshape() one of them; a loss does not broadcast, as (n, 1) against (n,) would compare all with all"


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def _reduce(losses: Any, reduction: str) -> Any:
    _check_reduction(reduction)
    if reduction == "none":
        return losses
    total = add_up(losses)
    if reduction == "sum":
        return total
    if not losses.size:
        raise ValueError("the mean of an empty batch is undefined")
    return total / losses.size


def _share(g: Any, shape: tuple[int, ...], reduction: str) -> Any:
    """The gradient that arrives at each element's loss; a single number if it is the same for all."""
    return g / math.prod(shape) if reduction == "mean" else g


def _same_shape(x: Any, target: Any) -> None:
    if x.shape != target.shape:
        raise ValueError(f"shapes {x.shape} and {target.shape} differ")


# --- regression ------------------------------------------------------------------------------------------------------


def _mse(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    _same_shape(x, target)
    difference = x - target
    return _reduce(difference * difference, reduction)


def _mse_rule(g: Any, x: Any, target: Any, *, reduction: str) -> Any:
    return (_share(g, x.shape, reduction) * 2) * (x - target)


def _l1(x: Any, target: Any, *, reduction: str = "mean") -> Any:
    _same_shape(x, target)
    return _reduce(np.absolute(x - target), reduction)


def _l1_rule(g: Any, x: Any, target: Any, *, reduction: str) -> Any:
    return _share(g, x.shape, reduction) * sign(x - target)


def _huber(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    _same_shape(x, target)
    if delta <= 0:
        raise ValueError(f"delta must be positive, not {delta}")
    size = np.absolute(x - target)
    quadratic = np.minimum(size, delta)
    return _reduce(quadratic * (size - 0.5 * quadratic), reduction)


def _huber_rule(g: Any, x: Any, target: Any, *, delta: float, reduction: str) -> Any:
    return _share(g, x.shape, reduction) * clip(x - target, -delta, delta)


mse_loss = primitive(
    "mse_loss",
    _mse,
    "x target",
    (_mse_rule, lambda g, x, target, *, reduction: -_mse_rule(g, x, target, reduction=reduction)),
    to_float=True,
    hint=EQUAL_HINT,
    doc="The squared difference.",
)
l1_loss = primitive(
    "l1_loss",
    _l1,
    "x target",
    (_l1_rule, lambda g, x, target, *, reduction: -_l1_rule(g, x, target, reduction=reduction)),
    to_float=True,
    analytic=False,
    hint=EQUAL_HINT,
    doc="The absolute difference.",
)
huber_loss = primitive(
    "huber_loss",
    _huber,
    "x target",
    (
        _huber_rule,
        lambda g, x, target, *, delta, reduction: -_huber_rule(g, x, target, delta=delta, reduction=reduction),
    ),
    to_float=True,
    analytic=False,
    hint=EQUAL_HINT,
    doc="d²/2 for a difference d of size up to ``delta``, delta (|d| - delta/2) beyond (Huber 1964).",
)


def smooth_l1_loss(x: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Any:
    """`huber_loss` divided by its ``delta``, here named ``beta``; with ``beta`` 0 it is `l1_loss`."""
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    return huber_loss(x, target, delta=beta, reduction=reduction) / beta


# --- classification into two -----------------------------------------------------------------------------------------


def weighted(values: Any, factors: Any) -> Any:
    """``values * factors``, but 0 where a factor is 0, even for an infinite value."""
    return masked(values, not_equal(factors, 0)) * factors


def _counting(weight: Any, *values: Any) -> tuple[Any, ...]:
    """The values, with 0 where the weight is 0."""
    return values if weight is None else tuple(masked(value, not_equal(weight, 0)) for value in values)


def _bce_with_logits(
    x: Any, target: Any, weight: Any = None, pos_weight: Any = None, *, reduction: str = "mean"
) -> Any:
    _same_shape(x, target)
    x, target = _counting(weight, x, target)
    positive, negative = target if pos_weight is None else target * pos_weight, 1 - target
    size = np.absolute(x)
    # softplus(x) and softplus(-x) share this term; the rest of one is 0 and of the other |x|.
    losses = np.log1p(np.exp(-size))
    if pos_weight is not None:
        losses *= positive + negative
    # The same numbers, slower, unless a score is infinite; in a traced step a branch would cost more.
    product = weighted if type(size) in RECORDING or (size.size and largest(size) == np.inf) else np.multiply
    losses += product(np.maximum(x, 0), negative)
    losses -= product(np.minimum(x, 0), positive)
    return _reduce(losses if weight is None else losses * weight, reduction)


def _bce_share(g: Any, x: Any, weight: Any, reduction: str) -> Any:
    share = _share(g, x.shape, reduction)
    return share if weight is None else weighted(share, weight)


def _bce_x(g: Any, x: Any, target: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    x, target = _counting(weight, x, target)
    # Each term is exact where it is small; 1 - sigmoid(-x) would not be.
    positive = target if pos_weight is None else target * pos_weight
    return _bce_share(g, x, weight, reduction) * (sigmoid(x) * (1 - target) - sigmoid(-x) * positive)


def _bce_target(g: Any, x: Any, weight: Any, pos_weight: Any, *, reduction: str) -> Any:
    (x,) = _counting(weight, x)
    slope = -x if pos_weight is None else weighted(softplus(-x), pos_weight) - softplus(x)
    return _bce_share(g, x, weight, reduction) * slope


binary_cross_entropy_with_logits = primitive(
    "binary_cross_entropy_with_logits",
    _bce_with_logits,
    "x target weight pos_weight",
    (_bce_x, _bce_target, None, None),
    to_float=True,
    analytic=False,
    hint=EQUAL_HINT,
    doc="-(pos_weight * target * log(p) + (1 - target) * log(1 - p)) * weight with p = sigmoid(x), stable for any x.",
)


def _bce(x: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    _same_shape(x, target)
    x, target = _counting(weight, x, target)
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("x must be probabilities in [0, 1]; for scores use binary_cross_entropy_with_logits")
    with np.errstate(divide="ignore"):
        losses = (target - 1) * np.maximum(np.log1p(-x), -100) - target * np.maximum(np.log(x), -100)
    return _reduce(losses if weight is None else losses * weight, reduction)


def _probability_x(g: Any, x: Any, target: Any, weight: Any, *, reduction: str) -> Any:
    x, target = _counting(weight, x, target)
    return _bce_share(g, x, weight, reduction) * (x - target) / maximum(x * (1 - x), 1e-12)


def _probability_target(g: Any, x: Any, weight: Any, *, reduction: str) -> Any:
    (x,) = _counting(weight, x)
    least = math.exp(-100)
    return _bce_share(g, x, weight, reduction) * (log(maximum(1 - x, least)) - log(maximum(x, least)))


binary_cross_entropy = primitive(
    "binary_cross_entropy",
    _bce,
    "x target weight",
    (_probability_x, _probability_target, None),
    to_float=True,
    analytic=False,
    hint=EQUAL_HINT,
    doc="-(target * log(x) + (1 - target) * log(1 - x)) * weight for probabilities x. As in PyTorch a logarithm is at "
    "least -100, and the gradient's denominator x (1 - x) at least 1e-12.",
)

# --- classification into many ----------------------------------------------------------------------------------------


def _class_axis(x: Any) -> int:
    return 1 if len(x.shape) > 1 else 0


@functools.lru_cache(maxsize=8)
def _rows(n: int) -> Any:
    """The numbers of n examples; kept, as each loss and its gradient would make them again."""
    return np.arange(n)


def _pick(labels: Any) -> tuple[Any, ...]:
    """The key of the score at each label: classes are on axis 1, or on axis 0 of a single example."""
    library = namespace(labels)
    if labels.ndim == 1:  # the most frequent case, at half the time
        return _rows(len(labels)) if library is np else library.arange(len(labels)), labels
    grid = library.ogrid[tuple(slice(n) for n in labels.shape)]
    return (*grid[:1], labels, *grid[1:])


def _one_hot(labels: Any, *, shape: tuple[int, ...], dtype: Any) -> Any:
    out = namespace(labels).zeros(shape, dtype)
    out[_pick(labels)] = 1
    return out


one_hot = primitive(
    "one_hot",
    _one_hot,
    "labels",
    doc="1 at each label and 0 elsewhere, in the ``shape`` and ``dtype`` of the scores that the labels belong to.",
)


def _check_batch(name: str, x: Any, labels: Any, reduction: str) -> None:
    """Raise unless the labels are integers, one for each example, and there are some to average."""
    _check_reduction(reduction)
    if x.shape[:1] + x.shape[2:] != labels.shape if x.ndim > 1 else x.ndim != 1 or labels.ndim:
        raise ValueError(
            f"{name}: labels of shape {labels.shape} do not fit scores of shape {x.shape}; scores are (classes,), "
            "(batch, classes) or (batch, classes, ...), and labels the same without the classes"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be integers, not {labels.dtype}; convert them with .long()")
    if reduction == "mean" and not labels.size:
        raise ValueError(f"{name}: an empty batch (scores of shape {x.shape}) has no mean")


def _check_classes(name: str, x: Any, labels: Any, ignore_index: int) -> None:
    """Raise unless every label is a class or ``ignore_index``."""
    classes = x.shape[_class_axis(x)]
    outside = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if any_true(outside):
        wrong = peek(labels)[peek(outside)]
        raise IndexError(
            f"{name}: label {int(wrong.ravel()[0])} is out of range for {classes} classes "
            f"(labels are 0 to {classes - 1})"
        )


def _all_count(labels: Any, weight: Any, ignore_index: int) -> bool:
    """Whether this is the common case, at the cost of one reduction: no weights, no negative or ignored label."""
    return weight is None and ignore_index < 0 and bool(labels.size and smallest(labels) >= 0)


def _classes(labels: Any, ignore_index: int) -> Any:
    """The labels with a class in place of ``ignore_index``."""
    return where(equal(labels, ignore_index), 0, labels)


def _factors(name: str, x: Any, labels: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    """The factor of each example's loss in the result."""
    factors = (labels != ignore_index).astype(x.dtype)
    if weight is not None:
        factors *= weight[_classes(labels, ignore_index)]
    if reduction != "mean":
        return factors
    if (labels == ignore_index).all():
        raise ValueError(
            f"{name}: every label is ignore_index ({ignore_index}), so there is nothing to average; skip such a batch, "
            "or use reduction='sum'"
        )
    return factors / add_up(factors)


def _spread(factors: Any, x: Any) -> Any:
    """A factor per example with an axis for the classes."""
    return unsqueeze(factors, axis=_class_axis(x)) if factors.shape else factors


def _counted(x: Any, factors: Any) -> Any:
    """The scores, with 0 for examples whose factor is 0."""
    return x if isinstance(factors, float) else masked(x, _spread(not_equal(factors, 0), x))


def _nll_loss(
    x: Any, labels: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Any, Any]:
    """The loss; and each example's factor in it."""
    _check_batch("nll_loss", x, labels, reduction)
    _check_classes("nll_loss", x, labels, ignore_index)
    factors = _factors("nll_loss", x, labels, weight, ignore_index, reduction)
    losses = weighted(-x[_pick(_classes(labels, ignore_index))], factors)
    return _reduce(losses, "none" if reduction == "none" else "sum"), factors


def _nll_rule(g: Any, x_shape: tuple[int, ...], labels: Any, factors: Any, *, ignore_index: int) -> Any:
    axis = min(len(x_shape) - 1, 1)
    shares, classes = -weighted(g, factors), _classes(labels, ignore_index)
    return scatter(unsqueeze(shares, axis=axis), unsqueeze(classes, axis=axis), axis=axis, shape=x_shape)


nll_loss = primitive(
    "nll_loss",
    _nll_loss,
    "x labels weight",
    (_nll_rule, None, None),
    extras={"factors": None},
    doc="-weight[label] * x[label] for log-probabilities x; the mean divides by the sum of the weights. "
    "Examples labeled ``ignore_index`` do not count.",
)


def _cross_entropy(
    x: Any, labels: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Any, Any, Any]:
    """The loss; and the probabilities, and each example's factor in the loss."""
    _check_batch("cross_entropy", x, labels, reduction)
    factors: Any
    if common := _all_count(labels, weight, ignore_index):
        factors = 1 / labels.size if reduction == "mean" else 1.0
    else:
        _check_classes("cross_entropy", x, labels, ignore_index)
        factors = _factors("cross_entropy", x, labels, weight, ignore_index, reduction)
        x = _counted(x, factors)
    axis = _class_axis(x)
    shifted = x - largest(x.real, axis=axis, keepdims=True)
    probabilities = np.exp(shifted)
    total = add_up(probabilities, axis=axis, keepdims=True)
    probabilities /= total
    losses = np.log(total).reshape(labels.shape)
    if type(x) in DEVICE_ARRAYS:  # there a label that is too large would wrap around
        _check_classes("cross_entropy", x, labels, ignore_index)
    try:
        losses -= shifted[_pick(labels if common else _classes(labels, ignore_index))]
    except IndexError:
        _check_classes("cross_entropy", x, labels, ignore_index)  # which names the label
        raise
    if not common:
        losses *= factors
    return _reduce(losses, reduction if common or reduction == "none" else "sum"), probabilities, factors


def _probabilities(x: Any, factors: Any) -> Any:
    return softmax(_counted(x, factors), axis=_class_axis(x))


def _cross_entropy_rule(g: Any, labels: Any, probabilities: Any, factors: Any, *, ignore_index: int) -> Any:
    if isinstance(factors, float):  # no weights, and nothing ignored
        shares = g * factors
    else:
        shares, labels = weighted(g, factors), _classes(labels, ignore_index)
    target = one_hot(labels, shape=probabilities.shape, dtype=probabilities.dtype)
    return (probabilities - target) * _spread(shares, probabilities)


cross_entropy = primitive(
    "cross_entropy",
    _cross_entropy,
    "x labels weight",
    (_cross_entropy_rule, None, None),
    extras={"probabilities": _probabilities, "factors": None},
    to_float=True,
    doc="`nll_loss` of `log_softmax`, as one node: x are scores (logits), labels are class numbers.",
)


def smoothed_targets(
    name: str, x: Any, labels: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> tuple[Any, Any, Any]:
    """Smoothed class probabilities of class numbers: 1-ε at the label, and ε spread over all classes.

    Returns:
        The scores, with 0 for ignored examples; the probabilities, 0 for them; and the divisor of the mean.
    """
    _check_batch(name, x, labels, reduction)
    _check_classes(name, x, labels, ignore_index)
    if reduction == "mean":
        _factors(name, x, labels, None, ignore_index, reduction)  # raises where all are ignored
    counted = _factors(name, x, labels, None, ignore_index, "sum")
    count = add_up(_factors(name, x, labels, weight, ignore_index, "sum"))
    target = one_hot(_classes(labels, ignore_index), shape=x.shape, dtype=x.dtype)
    targets = (target * (1 - smoothing) + smoothing / x.shape[_class_axis(x)]) * _spread(counted, x)
    return _counted(x, counted), targets, count
