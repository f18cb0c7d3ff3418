"""Linear, Flatten, Embedding and Dropout."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy.typing as npt

from ..attributes import argument, fixed, setting
from ..autograd.as_array import DEFAULT_DTYPE, as_array
from ..autograd.tensor import Tensor
from ..checks import number, whole
from ..devices.arrays import device_of, namespace_on
from ..ops.linalg import linear
from . import functional, init
from ._inputs import check_features, check_row
from .module import CONVERT, Module
from .parameter import Parameter, parameter_or_none

__all__ = ["Dropout", "Embedding", "Flatten", "Linear"]


class Linear(Module):
    """y = x Wᵀ + b.

    The weight has shape ``(out_features, in_features)``; input ``(*, in_features)`` becomes ``(*, out_features)``.
    Weight and bias start from U(−k, k), k = 1/√in_features, as in PyTorch.

    Args:
        in_features: the size of the input's last axis.
        out_features: the size of the output's last axis.
        bias: whether to add b.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or input whose last axis is not ``in_features``.
        TypeError: for integer input.

    >>> layer = nn.Linear(3, 2)
    >>> layer(minigrad.ones(5, 3)).shape
    (5, 2)
    """

    in_features: int = fixed(whole)
    out_features: int = fixed(whole)
    weight: Parameter
    bias: Parameter | None = setting(parameter_or_none)
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
        """Draw the initial weight and bias again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5.0))  # with this slope the bound is 1/√fan_in
        if self.bias is not None:
            bound = 1.0 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        try:  # the common case first, since this runs in every forward pass
            fits = x.shape[-1] == self.in_features and x.dtype.kind == "f"
        except (AttributeError, IndexError):
            fits = False
        if not fits:
            check_features(f"Linear({self.in_features}, {self.out_features})", x, (self.in_features,))
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim``, both included, as one: ``(N, 8, 8)`` becomes ``(N, 64)``.

    >>> nn.Flatten()(minigrad.ones(5, 8, 8)).shape
    (5, 64)
    """

    start_dim: int = setting(whole, least=None)
    end_dim: int = setting(whole, least=None)

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        return functional.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Embedding(Module):
    """Row ``i`` of the weight for every index ``i``: input ``(*)`` becomes ``(*, embedding_dim)``.

    The weight, ``(num_embeddings, embedding_dim)``, starts from N(0, 1), as in PyTorch.

    Args:
        num_embeddings: the number of rows; indices are in [0, num_embeddings).
        embedding_dim: the size of a row.
        padding_idx: a row that starts at 0 and gets no gradient; a negative number counts from the end.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or a ``padding_idx`` outside the table.
        TypeError: for an input that is not integer.
        IndexError: for an index outside the table.

    >>> layer = nn.Embedding(10, 3)
    >>> layer(minigrad.tensor([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    num_embeddings: int = fixed(whole)
    embedding_dim: int = fixed(whole)
    padding_idx: int | None = setting(lambda layer, name, row: check_row(layer, name, row, layer.num_embeddings))
    weight: Parameter
    dtype, device = argument(CONVERT), argument(CONVERT)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: npt.DTypeLike = DEFAULT_DTYPE,
        device: str | None = None,
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        library = namespace_on(device)
        self.weight = Parameter(library.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """Return an embedding whose weight is a copy of ``embeddings``, by default not trained."""
        rows = as_array(embeddings)
        if rows.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: needs a matrix, one row per embedding, not {rows.shape}")
        layer = cls(rows.shape[0], rows.shape[1], padding_idx, dtype=rows.dtype, device=device_of(rows))
        layer.weight.data = rows
        layer.weight.requires_grad = not freeze
        return layer

    def reset_parameters(self) -> None:
        """Draw the initial weight again."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            rows = self.weight.data.copy()
            rows[self.padding_idx] = 0.0
            self.weight.data = rows

    def forward(self, indices: Any) -> Tensor:
        return functional.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """Zeroes each element with probability ``p`` and scales the others by 1/(1−p), in training; else does nothing.

    Hinton et al. 2012, arXiv 1207.0580. The mask is drawn from `minigrad.random`'s generator. Input has any shape.

    Args:
        p: the probability of zeroing; 1 zeroes everything.

    Raises:
        ValueError: for ``p`` outside [0, 1].

    >>> layer = nn.Dropout(0.5)
    >>> sorted(set(layer(minigrad.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(minigrad.ones(3))
    tensor([1., 1., 1.])
    """

    p: float = setting(number, low=0, high=1)

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Any) -> Tensor:
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
