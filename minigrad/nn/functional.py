"""The functions that layers apply, for tensors and for plain arrays, for which they return arrays.

A layer adds attributes, parameters and a mode to one of them. Losses are defined in `minigrad.nn.losses`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import devices
from ..autograd.tensor import Tensor
from ..checks import by_position, named_arguments, number
from ..ops import activation, indexing, neural, shape
from ..ops.activation import relu, relu6, sigmoid, silu
from ..ops.elementwise import tanh, where
from ..ops.linalg import linear
from ..ops.primitive import Primitive
from ..ops.reduction import mean, var
from ._inputs import check_batch, check_features, check_input, check_row
from .losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)

__all__ = [
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "flatten",
    "gelu",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "relu",
    "relu6",
    "rms_norm",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]


# --- activations: `relu`, `relu6`, `sigmoid`, `silu` and `tanh` are the primitives themselves -------------------------


def _positional(op: Primitive) -> Callable[..., Any]:
    """Return a function that applies ``op`` to ``x`` and takes its settings by position too, as in PyTorch."""
    first = op.settings[0]

    def function(x: Any, *args: Any, **settings: Any) -> Any:
        if len(args) == 1 and not settings:  # so layers call it: the shortest way
            settings[first] = args[0]
        elif args:
            settings |= by_position(op.name, args, op.settings, settings)
        return op(x, **settings)

    parameters = inspect.signature(op.forward).parameters.values()
    signature = inspect.Signature([p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters], return_annotation=Any)
    function.__signature__ = signature  # type: ignore[attr-defined]  # functions may have one
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = op.__doc__
    return named_arguments(function)


leaky_relu = _positional(activation.leaky_relu)
elu = _positional(activation.elu)
gelu = _positional(activation.gelu)
softmax = _positional(neural.softmax)
log_softmax = _positional(neural.log_softmax)


@named_arguments
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(β x)) / β, and x itself where β x is above ``threshold``, as in PyTorch.

    >>> nn.functional.softplus(minigrad.tensor([0.0, 2.0]))
    tensor([0.6931472, 2.126928 ])
    """
    if not 0 < beta < math.inf:
        number("softplus", "beta", beta, above=0)
    scaled = x if beta == 1.0 else x * beta
    out = activation.softplus(scaled)
    return where(scaled > threshold, x, out if beta == 1.0 else out / beta)


# --- reshaping, dropout, embedding -----------------------------------------------------------------------------------


@named_arguments
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from ``start_dim`` to ``end_dim``, both included, as one.

    Raises:
        ValueError: for an axis that is out of range, or a start after the end.

    >>> nn.functional.flatten(minigrad.ones(2, 3, 4), start_dim=1).shape
    (2, 12)
    """
    ndim = max(len(x.shape), 1)
    for name, axis in (("start_dim", start_dim), ("end_dim", end_dim)):
        if not -ndim <= axis < ndim:
            raise ValueError(f"flatten: {name} {axis} is out of range for input of shape {x.shape}")
    start, end = start_dim % ndim, end_dim % ndim
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} is after end_dim {end_dim} in shape {x.shape}")
    size = math.prod(x.shape[start : end + 1])
    return shape.reshape(x, shape=(*x.shape[:start], size, *x.shape[end + 1 :]))


@named_arguments
def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Zero each element with probability ``p`` and scale the others by 1/(1−p); x itself if not ``training``.

    Raises:
        ValueError: for ``p`` outside [0, 1].

    >>> nn.functional.dropout(minigrad.ones(3), p=0.5, training=False)
    tensor([1., 1., 1.])
    """
    if not isinstance(p, float) or not 0 <= p <= 1:
        number("dropout", "p", p, low=0, high=1)
    if not training or p == 0:
        return x
    check_input("dropout", x)
    return neural.dropout(x, neural.dropout_mask(x, p=float(p)), p=float(p))


@named_arguments
def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of ``weight`` at integer ``indices``; the row ``padding_idx`` gets no gradient.

    Raises:
        TypeError: for indices that are not integers.
        IndexError: for an index outside the table.

    >>> nn.functional.embedding([2, 0], minigrad.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    tensor([[5., 6.],
            [1., 2.]])
    """
    if not isinstance(indices, Tensor) and not devices.is_array(indices):
        indices = devices.to_device(indexing.as_indices(indices), _device(weight))
    return indexing.embedding(
        indices, weight, padding_idx=check_row("embedding", "padding_idx", padding_idx, weight.shape[0])
    )


# --- normalization ---------------------------------------------------------------------------------------------------


@named_arguments
def layer_norm(x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """(x − mean) / √(var + eps) · weight + bias over the last axes, of sizes ``normalized_shape``.

    >>> nn.functional.layer_norm(minigrad.tensor([[1.0, 3.0]]), (2,))
    tensor([[-0.999995,  0.999995]])
    """
    check_features("layer_norm", x, tuple(normalized_shape))
    return neural.layer_norm(x, weight, bias, ndim=len(normalized_shape), eps=eps)


@named_arguments
def rms_norm(x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """x / √(mean(x²) + eps) · weight over the last axes; ``eps`` is by default the machine epsilon of the dtype.

    >>> nn.functional.rms_norm(minigrad.tensor([[1.0, 7.0]]), (2,))
    tensor([[0.2, 1.4]])
    """
    check_features("rms_norm", x, tuple(normalized_shape))
    return neural.rms_norm(x, weight, ndim=len(normalized_shape), eps=eps)


@named_arguments
def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x − mean) / √(var + eps) · weight + bias per feature: axis 1 of ``(N, C)`` or ``(N, C, L)``.

    In ``training`` the mean and variance are the batch's, and the running ones, if given, are updated in place:
    running ← (1 − momentum) · running + momentum · batch, with the unbiased variance.

    Raises:
        ValueError: in training for a batch of one value per feature; otherwise, if there are no running statistics.

    >>> nn.functional.batch_norm(minigrad.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-0.999995],
            [ 0.999995]])
    """
    check_input("batch_norm", x)
    axes = (0, *range(2, len(x.shape)))
    column = (1, -1) + (1,) * (len(x.shape) - 2)
    if training:
        check_batch("batch_norm", x.shape)
        out = neural.standardize(x, axis=axes, eps=eps)
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: outside of training it needs running_mean and running_var")
    else:
        inverse = 1.0 / np.sqrt(running_var.data + running_var.dtype.type(eps))
        out = (x - running_mean.data.reshape(column)) * inverse.reshape(column)
    if weight is not None:
        out = out * shape.reshape(weight, shape=column)
    if bias is not None:
        out = out + shape.reshape(bias, shape=column)
    if training and running_mean is not None and running_var is not None:
        values = (x.data if isinstance(x, Tensor) else x).real  # a gradient check steps into the complex plane
        for running, batch in ((running_mean, mean(values, axis=axes)), (running_var, var(values, axis=axes))):
            # A layer that averages computes the weights from its count, as arrays; they have the statistics' dtype too.
            kept, new = (w.astype(running.dtype) if hasattr(w, "astype") else w for w in (1 - momentum, momentum))
            running.data = kept * running.data + new * batch
    return out


def _device(x: Any) -> str:
    return devices.device_of(x.data if isinstance(x, Tensor) else x)
