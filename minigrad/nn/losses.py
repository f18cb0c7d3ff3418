"""Losses, as functions and as layers that apply them.

``reduction`` is ``"mean"``, ``"sum"`` or ``"none"`` everywhere. The weights of a layer are buffers: they move with it,
and are part of its state dict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..attributes import setting
from ..autograd.as_array import as_array
from ..autograd.tensor import Tensor
from ..checks import choice, named_arguments, number, whole
from ..devices.arrays import is_array, namespace
from ..ops import loss as primitives
from ..ops.elementwise import equal, logical_and, logical_not, masked
from ..ops.neural import log_softmax
from ..ops.shape import reshape
from ._applied import Applied
from ._inputs import check_input

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]

REDUCTIONS = ("mean", "sum", "none")

# --- functions ----------------------------------------------------------------------------------------------------


@named_arguments
def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """−Σ_c t_c log softmax(x)_c · weight_c, for scores (logits) ``x``.

    Args:
        x: scores of shape ``(C,)``, ``(N, C)`` or ``(N, C, …)``.
        target: class numbers, of that shape without C; or class probabilities t, of the same shape as ``x``.
        weight: a factor per class, of shape ``(C,)``. The mean over class numbers is the weighted mean.
        ignore_index: the class number of examples to leave out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: the fraction ε of each target that is spread over all classes: t (1−ε) + ε/C.

    Raises:
        ValueError: if the shapes do not fit, or there is nothing to average (an empty batch, or all labels ignored).
        IndexError: for a class number out of range.
        TypeError: for scores that are not floating.

    >>> nn.functional.cross_entropy(minigrad.tensor([[0.0, 0.0]]), minigrad.tensor([1]))
    tensor(0.6931472)
    """
    check_input("cross_entropy", x)
    if not 0.0 <= label_smoothing <= 1.0:
        number("cross_entropy", "label_smoothing", label_smoothing, low=0, high=1)
    target = _as_labels("cross_entropy", target)
    weight = _class_weight("cross_entropy", weight, x)
    if target.dtype.kind in "fc":
        _check_probabilities(x, target, ignore_index, reduction)
        if label_smoothing:
            target = target * (1.0 - label_smoothing) + label_smoothing / x.shape[_axis(x)]
        return _soft_cross_entropy(x, target, weight, reduction)
    if not label_smoothing:
        return primitives.cross_entropy(x, target, weight, ignore_index=ignore_index, reduction=reduction)
    choice("cross_entropy", "reduction", reduction, REDUCTIONS)
    if isinstance(weight, Tensor):
        raise TypeError("cross_entropy: no gradient with respect to input 'weight' with class numbers as targets")
    labels = target.data if isinstance(target, Tensor) else target
    x, target, count = primitives.smoothed_targets(
        "cross_entropy", x, labels, weight, ignore_index, reduction, label_smoothing
    )
    return _soft_cross_entropy(x, target, weight, reduction, count)


def _axis(x: Any) -> int:
    """The axis of the classes."""
    return min(len(x.shape), 2) - 1


def _soft_cross_entropy(x: Any, target: Any, weight: Any, reduction: str, count: Any = None) -> Any:
    """Cross entropy with class probabilities as targets; the mean divides by ``count``, or the number of examples."""
    axis = _axis(x)
    if weight is not None:
        target = target * reshape(weight, shape=(-1,) + (1,) * (len(x.shape) - 1 - axis))
    scores = log_softmax(x, axis=axis)
    impossible = equal(scores, -np.inf)
    if impossible.any():  # a class with target 0 adds nothing, but 0 times infinity would be NaN
        scores = masked(scores, logical_not(logical_and(impossible, equal(target, 0))))
    losses = -(scores * target).sum(axis=axis)
    if reduction == "none":
        return losses
    return losses.sum() / (losses.size if count is None else count) if reduction == "mean" else losses.sum()


def _check_probabilities(x: Any, target: Any, ignore_index: int, reduction: str) -> None:
    """Raise unless class probabilities fit the scores and the other arguments of `cross_entropy`."""
    choice("cross_entropy", "reduction", reduction, REDUCTIONS)
    if target.shape != x.shape or not x.shape:
        raise ValueError(
            f"cross_entropy: class probabilities of shape {target.shape} do not fit scores of shape {x.shape}; "
            "give the same shape, or class numbers as integers"
        )
    if ignore_index >= 0:
        raise ValueError("cross_entropy: ignore_index is for class numbers, not for class probabilities")
    if reduction == "mean" and not x.size:
        raise ValueError(f"cross_entropy: an empty batch (scores of shape {x.shape}) has no mean")


@named_arguments
def nll_loss(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """−weight_t · x_t for log-probabilities ``x`` and class numbers t; arguments as for `cross_entropy`.

    >>> nn.functional.nll_loss(minigrad.tensor([[-3.0, -0.5]]), minigrad.tensor([1]))
    tensor(0.5)
    """
    check_input("nll_loss", x)
    target = _as_labels("nll_loss", target)
    weight = _class_weight("nll_loss", weight, x)
    return primitives.nll_loss(x, target, weight, ignore_index=ignore_index, reduction=reduction)


@named_arguments
def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """−(pos_weight · t · log σ(x) + (1−t) · log(1−σ(x))) · weight, stable for any ``x``.

    Args:
        x: scores (logits) of any shape.
        target: probabilities t of the same shape.
        weight: a factor per element, broadcast to that shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: a factor of the positive term, broadcast to that shape.

    >>> nn.functional.binary_cross_entropy_with_logits(minigrad.tensor([0.0]), minigrad.tensor([1.0]))
    tensor(0.6931472)
    """
    check_input("binary_cross_entropy_with_logits", x)
    return primitives.binary_cross_entropy_with_logits(
        x,
        _as_operand("binary_cross_entropy_with_logits", target),
        _as_factor(weight, x),
        _as_factor(pos_weight, x),
        reduction=reduction,
    )


@named_arguments
def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """−(t · log x + (1−t) · log(1−x)) · weight for probabilities ``x``, each logarithm at least −100, as in PyTorch.

    Raises:
        ValueError: for ``x`` outside [0, 1]; use `binary_cross_entropy_with_logits` for logits.

    >>> nn.functional.binary_cross_entropy(minigrad.tensor([0.5]), minigrad.tensor([1.0]))
    tensor(0.6931472)
    """
    check_input("binary_cross_entropy", x)
    return primitives.binary_cross_entropy(
        x, _as_operand("binary_cross_entropy", target), _as_factor(weight, x), reduction=reduction
    )


@named_arguments
def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """(x − t)²; shapes must be equal.

    >>> nn.functional.mse_loss(minigrad.tensor([1.0, 3.0]), minigrad.tensor([1.0, 1.0]))
    tensor(2.)
    """
    return primitives.mse_loss(x, _as_operand("mse_loss", target), reduction=reduction)


@named_arguments
def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """|x − t|; shapes must be equal.

    >>> nn.functional.l1_loss(minigrad.tensor([1.0, 3.0]), minigrad.tensor([1.0, 1.0]))
    tensor(1.)
    """
    return primitives.l1_loss(x, _as_operand("l1_loss", target), reduction=reduction)


@named_arguments
def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """½ (x − t)² where |x − t| ≤ ``delta``, ``delta`` (|x − t| − ½ delta) elsewhere; shapes must be equal.

    >>> nn.functional.huber_loss(minigrad.tensor([1.0, 3.0]), minigrad.tensor([1.0, 1.0]))
    tensor(0.75)
    """
    return primitives.huber_loss(x, _as_operand("huber_loss", target), delta=delta, reduction=reduction)


@named_arguments
def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """½ (x − t)² / ``beta`` where |x − t| < ``beta``, |x − t| − ½ beta elsewhere; shapes must be equal.

    >>> nn.functional.smooth_l1_loss(minigrad.tensor([1.0, 3.0]), minigrad.tensor([1.0, 1.0]))
    tensor(0.75)
    """
    if not beta >= 0:
        number("smooth_l1_loss", "beta", beta, low=0, finite=False)
    return primitives.smooth_l1_loss(x, _as_operand("smooth_l1_loss", target), beta=beta, reduction=reduction)


def _as_operand(name: str, value: Any) -> Any:
    """Return tensors, arrays and None unchanged, and lists and numbers as arrays."""
    return value if value is None or isinstance(value, Tensor) or is_array(value) else as_array(value, op=name)


def _as_labels(name: str, value: Any) -> Any:
    """Like `_as_operand`, but an empty list holds class numbers, though NumPy makes it floating."""
    operand = _as_operand(name, value)
    return operand.astype(np.int64) if isinstance(value, list | tuple) and not operand.size else operand


def _as_factor(weight: Any, x: Any) -> Any:
    """Return a weight as an array of the scores' dtype, so that it cannot change the dtype of the loss."""
    if weight is None or (isinstance(weight, Tensor) and weight.requires_grad):
        return weight  # the primitive raises, since a weight has no gradient
    array = weight.data if isinstance(weight, Tensor) else weight
    return namespace(array if is_array(array) else x).asarray(array, x.dtype)


def _class_weight(name: str, weight: Any, x: Any) -> Any:
    """Like `_as_factor`; raise if the weight is not one number per class."""
    if weight is None:
        return None
    weight = _as_factor(weight, x)
    classes = x.shape[_axis(x)] if x.shape else 0
    if weight.shape != (classes,):
        raise ValueError(f"{name}: weight of shape {weight.shape} must be one number for each of {classes} classes")
    return weight


# --- layers; they take over the functions' docstrings -----------------------------------------------------------------


class _Loss(Applied):
    reduction: str = setting(choice, known=REDUCTIONS)

    def extra_repr(self) -> str:
        return ""


class CrossEntropyLoss(_Loss, function=cross_entropy):
    weight: Tensor | None
    ignore_index: int = setting(whole, least=None)
    label_smoothing: float = setting(number, low=0, high=1)


class NLLLoss(_Loss, function=nll_loss):
    weight: Tensor | None
    ignore_index: int = setting(whole, least=None)


class BCEWithLogitsLoss(_Loss, function=binary_cross_entropy_with_logits):
    weight: Tensor | None
    pos_weight: Tensor | None


class BCELoss(_Loss, function=binary_cross_entropy):
    weight: Tensor | None


class MSELoss(_Loss, function=mse_loss):
    pass


class L1Loss(_Loss, function=l1_loss):
    pass


class HuberLoss(_Loss, function=huber_loss):
    delta: float = setting(number, above=0)


class SmoothL1Loss(_Loss, function=smooth_l1_loss):
    beta: float = setting(number, low=0, finite=False)
