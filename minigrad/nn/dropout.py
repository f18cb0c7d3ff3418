"""Dropout."""

from __future__ import annotations

from typing import Any

from ..attributes import setting
from ..autograd.tensor import Tensor
from . import functional
from .checks import probability
from .module import Module


class Dropout(Module):
    """In training, zero each element with probability ``p`` and scale the others by 1/(1−p); otherwise nothing.

    Hinton et al. 2012, arXiv 1207.0580. The mask is drawn from `minigrad.random`'s generator.

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

    p: float = setting(probability)

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """Apply dropout to any shape."""
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
