"""Embedding: a table of vectors, looked up by number."""

from __future__ import annotations

from typing import Any, Self

import numpy.typing as npt

from ..attributes import argument, fixed, setting
from ..autograd.as_array import DEFAULT_DTYPE, as_array
from ..autograd.tensor import Tensor
from ..devices.arrays import device_of, namespace_on
from . import functional, init
from .checks import CONVERT, check_row, size
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """Row ``i`` of the weight for every index ``i``: input ``(*)`` becomes ``(*, embedding_dim)``.

    The weight, ``(num_embeddings, embedding_dim)``, starts from N(0, 1), as in PyTorch.

    Args:
        num_embeddings: the number of rows; indices are in [0, num_embeddings).
        embedding_dim: the size of a row.
        padding_idx: a row that starts at 0 and gets no gradient; a negative one counts from the end.
        dtype: float32 by default.
        device: ``"cpu"`` (by default) or ``"cuda"``.

    Raises:
        ValueError: for sizes that are not positive, or a ``padding_idx`` that is no row.
        TypeError: for an input that is not integer.
        IndexError: for an index that is no row.

    >>> layer = nn.Embedding(10, 3)
    >>> layer(minigrad.tensor([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    num_embeddings: int = fixed(size)
    embedding_dim: int = fixed(size)
    padding_idx: int | None = setting(lambda layer, _, row: check_row(type(layer).__name__, row, layer.num_embeddings))
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
        """An embedding whose weight is a copy of ``embeddings``, by default not trained."""
        rows = as_array(embeddings)
        if rows.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: needs a matrix, one row per embedding, not {rows.shape}")
        layer = cls(rows.shape[0], rows.shape[1], padding_idx, dtype=rows.dtype, device=device_of(rows))
        layer.weight.data = rows
        layer.weight.requires_grad = not freeze
        return layer

    def reset_parameters(self) -> None:
        """Draw the initial weight anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            rows = self.weight.data.copy()
            rows[self.padding_idx] = 0.0
            self.weight.data = rows

    def forward(self, indices: Any) -> Tensor:
        """Look up the rows."""
        return functional.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
