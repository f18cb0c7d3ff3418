"""Linear and Flatten."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from ..attributes import argument, fixed, setting
from ..autograd.as_array import DEFAULT_DTYPE
from ..autograd.tensor import Tensor
from ..devices.arrays import namespace_on
from ..ops.linalg import linear
from . import functional, init
from .checks import CONVERT, check_features, integer, parameter, size
from .module import Module
from .parameter import Parameter


class Linear(Module):
    """y = x Wᵀ + b.

    The weight has shape ``(out_features, in_features)``; input ``(*, in_features)`` becomes ``(*, out_features)``.
    Weight and bias start from U(−k, k), k = 1/√in_features, as in PyTorch.

    Args:
        in_features: the size of the input's last axis.
        out_features: the size of the output's last axis.
        bias: whether b is added.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or input whose last axis is not ``in_features``.
        TypeError: for integer input.

    >>> layer = nn.Linear(3, 2)
    >>> layer(minigrad.ones(5, 3)).shape
    (5, 2)
    """

    in_features: int = fixed(size)
    out_features: int = fixed(size)
    weight: Parameter
    bias: Parameter | None = setting(parameter)
    dtype, device = argument(CONVERT), argument(CONVERT)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        library = namespace_on(device)
        self.weight = Parameter(library.empty((out_features, in_features), dtype))
        self.bias = Parameter(library.empty(out_features, dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5.0))  # with this slope the bound is 1/√fan_in
        if self.bias is not None:
            bound = 1.0 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        """Apply the layer to ``(*, in_features)``."""
        try:
            fits = x.shape[-1] == self.in_features and x.dtype.kind == "f"
        except (AttributeError, IndexError):
            fits = False
        if not fits:
            check_features(f"Linear({self.in_features}, {self.out_features})", x, (self.in_features,))
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim``, both included, as one: ``(N, 8, 8)`` becomes ``(N, 64)``.

    >>> nn.Flatten()(minigrad.ones(5, 8, 8)).shape
    (5, 64)
    """

    start_dim: int = setting(integer)
    end_dim: int = setting(integer)

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        """Flatten ``x``."""
        return functional.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
