"""What can be written on a tensor: its operators and methods, each one a primitive applied to ``self``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ops import elementwise, reduction, shape
from .ops.primitive import Traced

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


class Operators(Traced):
    """Operators and methods of `minigrad.Tensor`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return elementwise.add(self, other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Tensor:
        return elementwise.multiply(self, other)

    __rmul__ = __mul__

    def __neg__(self) -> Tensor:
        return elementwise.negative(self)

    def __truediv__(self, other: Any) -> Tensor:
        return elementwise.divide(self, other)

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return elementwise.exp(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Sum over ``axis`` (all of them by default)."""
        return reduction.sum(self, axis=axis, keepdims=keepdims)

    def reshape(self, *sizes: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return shape.reshape(self, shape=sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes)

    def __getitem__(self, key: Any) -> Tensor:
        raise NotImplementedError
