"""What a tensor shows of its array, to NumPy and to Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import devices
from .arrays import Array
from .operators import Operators

if TYPE_CHECKING:
    from .tensor import Tensor


class ArrayLike(Operators):
    """The array's properties, and conversions to NumPy and to Python's numbers."""

    __slots__ = ()

    _data: Array
    _requires_grad: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, as NumPy names it."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def device(self) -> str:
        """Where the array lives: ``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self._data)

    def numel(self) -> int:
        """The number of elements, under PyTorch's name."""
        return self._data.size

    def numpy(self) -> Array:
        """The array, sharing memory. A tensor that requires a gradient must be detached first, one on a GPU copied.

        Raises:
            RuntimeError: if it requires a gradient.
            TypeError: if it lives on a GPU.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, which an array has not; use .detach().numpy() or .data, "
                "or for a list of tensors stack()"
            )
        if self.device != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; copy it to the CPU first, with .cpu().numpy()")
        return self._data

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._data.size != 1:
            raise ValueError(f"item: needs a tensor of one element, not of shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """The elements as (nested lists of) Python numbers."""
        return self._data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, not {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self._data.item())

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self._data == (value._data if isinstance(value, ArrayLike) else value)).any())
