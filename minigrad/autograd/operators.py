"""What can be written between and in front of tensors: Python's operators, each one a primitive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from .methods import Methods, bool_only, plain_index

if TYPE_CHECKING:
    from .tensor import Tensor


class Operators(Methods):
    """Operators of `minigrad.Tensor`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return ops.clone(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return ops.logical_not(bool_only("~", self))

    def __and__(self, other: Any) -> Tensor:
        return ops.logical_and(bool_only("&", self), bool_only("&", other))

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        return ops.logical_or(bool_only("|", self), bool_only("|", other))

    __ror__ = __or__

    def __xor__(self, other: Any) -> Tensor:
        return ops.logical_xor(bool_only("^", self), bool_only("^", other))

    __rxor__ = __xor__

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # element by element, as in NumPy
        return NotImplemented if other is None or isinstance(other, str) else ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]  # element by element, as in NumPy
        return NotImplemented if other is None or isinstance(other, str) else ops.not_equal(self, other)

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return ops.getitem(self, key=plain_index(key))

    # Augmented assignment changes the array itself, unless the tensor is the result of a recorded operation. The
    # method it uses is Tensor's, hence Any.

    def __iadd__(self: Any, other: Any) -> Tensor:
        return self._change("+=", ops.add, other)

    def __isub__(self: Any, other: Any) -> Tensor:
        return self._change("-=", ops.subtract, other)

    def __imul__(self: Any, other: Any) -> Tensor:
        return self._change("*=", ops.multiply, other)

    def __itruediv__(self: Any, other: Any) -> Tensor:
        return self._change("/=", ops.divide, other)

    def __ifloordiv__(self: Any, other: Any) -> Tensor:
        return self._change("//=", ops.floor_divide, other)

    def __imod__(self: Any, other: Any) -> Tensor:
        return self._change("%=", ops.remainder, other)

    def __ipow__(self: Any, other: Any) -> Tensor:
        return self._change("**=", ops.power, other)

    def __iand__(self: Any, other: Any) -> Any:
        return bool_only("&=", self)._change("&=", ops.logical_and, bool_only("&=", other))

    def __ior__(self: Any, other: Any) -> Any:
        return bool_only("|=", self)._change("|=", ops.logical_or, bool_only("|=", other))

    def __ixor__(self: Any, other: Any) -> Any:
        return bool_only("^=", self)._change("^=", ops.logical_xor, bool_only("^=", other))
