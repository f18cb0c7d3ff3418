"""LayerNorm, RMSNorm and BatchNorm1d."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..attributes import argument, fixed, setting
from ..autograd.as_array import DEFAULT_DTYPE
from ..autograd.tensor import Tensor
from ..checks import flag, number, optional, whole
from ..devices.arrays import namespace_on
from . import functional, init
from ._inputs import check_batch, check_features, check_input
from .module import CONVERT, Module
from .parameter import Parameter, parameter_or_none

__all__ = ["BatchNorm1d", "LayerNorm", "RMSNorm"]


def _sizes(layer: Any, name: str, value: int | Iterable[int]) -> tuple[int, ...]:
    """One positive integer or several, as a tuple."""
    if not isinstance(value, Iterable):
        return (whole(layer, name, value),)
    shape = tuple(whole(layer, f"{name}[{i}]", size) for i, size in enumerate(value))
    if not shape:
        raise ValueError(f"{type(layer).__name__}: {name} must name at least one axis")
    return shape


class LayerNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias, over the last axes of each example: Ba et al., arXiv 1607.06450.

    Args:
        normalized_shape: the sizes of the last axes, over which mean and (biased) variance are taken.
        eps: added to the variance.
        elementwise_affine: whether there are a weight (a gain, from 1) and a bias (from 0).
        bias: whether there is a bias too.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or input whose last axes differ from ``normalized_shape``.

    >>> nn.LayerNorm(2)(minigrad.tensor([[1.0, 3.0], [0.0, 10.0]]))
    tensor([[-0.999995  ,  0.999995  ],
            [-0.99999976,  0.99999976]], made by layer_norm)
    """

    normalized_shape: Any = fixed(_sizes)
    eps: float = setting(number, above=0)
    elementwise_affine: bool = fixed(flag)
    weight: Parameter | None = setting(parameter_or_none)
    bias: Parameter | None = setting(parameter_or_none)
    dtype, device = argument(CONVERT), argument(CONVERT)

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.normalized_shape = normalized_shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        library = namespace_on(device)
        self.weight = Parameter(library.ones(self.normalized_shape, dtype), role="gain") if elementwise_affine else None
        self.bias = Parameter(library.zeros(self.normalized_shape, dtype)) if elementwise_affine and bias else None

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        _reset(self.weight, self.bias)

    def forward(self, x: Any) -> Tensor:
        check_features(f"LayerNorm({self.normalized_shape})", x, self.normalized_shape)
        return functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """x / √(mean(x²) + eps) · weight, over the last axes of each example: Zhang and Sennrich, arXiv 1910.07467.

    Args:
        normalized_shape: the sizes of the last axes, over which the mean square is taken.
        eps: added to the mean square; by default the machine epsilon of the input's dtype.
        elementwise_affine: whether there is a weight (a gain, from 1).
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or input whose last axes differ from ``normalized_shape``.

    >>> nn.RMSNorm(2)(minigrad.tensor([[1.0, 7.0]]))
    tensor([[0.2, 1.4]], made by rms_norm)
    """

    normalized_shape: Any = fixed(_sizes)
    eps: float | None = setting(optional(number), above=0)
    elementwise_affine: bool = fixed(flag)
    weight: Parameter | None = setting(parameter_or_none)
    dtype, device = argument(CONVERT), argument(CONVERT)

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.normalized_shape = normalized_shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        library = namespace_on(device)
        self.weight = Parameter(library.ones(self.normalized_shape, dtype), role="gain") if elementwise_affine else None

    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        _reset(self.weight, None)

    def forward(self, x: Any) -> Tensor:
        check_features(f"RMSNorm({self.normalized_shape})", x, self.normalized_shape)
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


def _tracked(layer: Any, name: str, value: Any) -> bool:
    """A flag that needs running statistics to be true."""
    value = flag(layer, name, value)
    if value and vars(layer).get("running_mean", value) is None:
        raise ValueError(
            f"{type(layer).__name__}: {name} cannot be switched on, since the layer was made without running "
            "statistics; make a new one"
        )
    return value


class BatchNorm1d(Module):
    """(x − mean) / √(var + eps) · weight + bias, per feature over the batch: Ioffe and Szegedy, arXiv 1502.03167.

    Input is ``(N, C)`` or ``(N, C, L)``. In training the statistics are the batch's (with the biased
    variance), and they update the running ones: running ← (1 − momentum) · running + momentum · batch, with the
    unbiased variance. In evaluation the running ones are used.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the weight of the newest batch; ``None`` makes the running statistics plain averages.
        affine: whether there are a weight (a gain, from 1) and a bias (from 0).
        track_running_stats: whether there are running statistics; without them, evaluation uses the batch's, too. If
            this is switched off later, they no longer change, and evaluation still uses them.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Buffers: ``running_mean``, ``running_var``, and ``num_batches_tracked`` (int64).

    Raises:
        ValueError: for another shape, or in training for a batch of one value per feature, which has no variance.

    >>> nn.BatchNorm1d(1)(minigrad.tensor([[1.0], [3.0]]))
    tensor([[-0.999995],
            [ 0.999995]], made by add)
    """

    num_features: int = fixed(whole)
    eps: float = setting(number, above=0)
    momentum: float | None = setting(optional(number), low=0, high=1)
    affine: bool = fixed(flag)
    track_running_stats: bool = setting(_tracked)
    weight: Parameter | None = setting(parameter_or_none)
    bias: Parameter | None = setting(parameter_or_none)
    dtype, device = argument(CONVERT), argument(CONVERT)
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        library = namespace_on(device)
        self.weight = Parameter(library.ones(num_features, dtype), role="gain") if affine else None
        self.bias = Parameter(library.zeros(num_features, dtype)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", Tensor(library.zeros(num_features, dtype)) if tracked else None)
        self.register_buffer("running_var", Tensor(library.ones(num_features, dtype)) if tracked else None)
        self.register_buffer("num_batches_tracked", Tensor(library.zeros((), np.int64)) if tracked else None)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1.0)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Reset the running statistics, the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        _reset(self.weight, self.bias)

    def forward(self, x: Any) -> Tensor:
        layer = f"BatchNorm1d({self.num_features})"
        check_input(layer, x)
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ValueError(
                f"{layer}: got input of shape {x.shape}; it needs (N, C) or (N, C, L) with C = {self.num_features}"
            )
        use_batch = self.training or self.running_mean is None
        if use_batch:
            check_batch(layer, x.shape)
        momentum: Any = self.momentum
        if momentum is None and self.num_batches_tracked is not None:
            momentum = 1.0 / (self.num_batches_tracked.data + 1)
        follows = self.training and self.track_running_stats
        running = (None, None) if use_batch and not follows else (self.running_mean, self.running_var)
        out = functional.batch_norm(
            x, *running, self.weight, self.bias, use_batch, 0.0 if momentum is None else momentum, self.eps
        )
        if follows and self.num_batches_tracked is not None:
            self.num_batches_tracked.data = self.num_batches_tracked.data + 1
        return out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


def _reset(gain: Parameter | None, bias: Parameter | None) -> None:
    if gain is not None:
        init.ones_(gain)
    if bias is not None:
        init.zeros_(bias)
