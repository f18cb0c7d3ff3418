"""Parameter: a leaf tensor that knows its name, its layer and its role."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..autograd.tensor import Tensor
from ..checks import choice

__all__ = ["Parameter"]

ROLES = ("weight", "bias", "gain")


class Parameter(Tensor):
    """A tensor that a module learns.

    A parameter gets its name when it is set on a `Module`, and a longer one when that module becomes part of
    another, so its name is always the one from the top of the model: ``"2.weight"``, in the layer ``"2"``.
    Operations on a parameter return a plain `Tensor`.

    Args:
        data: numbers, an array or a tensor. A writable array of the right dtype is shared, not copied.
        requires_grad: whether the parameter is trained.
        role: ``"weight"``, ``"bias"`` or ``"gain"`` (the scale of a normalization layer). By default ``"bias"`` if
            the attribute it is set to begins with ``bias``, and ``"weight"`` otherwise.

    Raises:
        TypeError: for integer data with ``requires_grad=True``.
        ValueError: for an unknown role.
    """

    __slots__ = ("_layer", "_name", "_role")

    def __init__(self, data: Any, requires_grad: bool = True, role: str | None = None) -> None:
        if role is not None:
            choice("Parameter", "role", role, ROLES)
        super().__init__(data, requires_grad=requires_grad)
        if not getattr(self._data.flags, "writeable", True):
            self._data = devices.own(self._data)
            self._version = [0]
        self._name = ""
        self._layer = ""
        self._role = role

    @property
    def name(self) -> str:
        """The full name, such as ``"2.weight"``; empty before the parameter is part of a module."""
        return self._name

    @property
    def layer(self) -> str:
        """The path of the module that owns the parameter, such as ``"2"``; empty at the top of the model."""
        return self._layer

    @property
    def role(self) -> str:
        """``"weight"``, ``"bias"`` or ``"gain"``."""
        return self._role or "weight"

    def _label(self, layer: str, attribute: str) -> None:
        """Set the name of a parameter that is ``attribute`` of the module at path ``layer``."""
        self._name = join(layer, attribute)
        self._layer = layer
        if self._role is None and attribute:
            self._role = "bias" if attribute.startswith("bias") else "weight"

    def _rebind(self, array: npt.NDArray[Any]) -> None:
        """Replace the parameter's array by one of another dtype or on another device, and convert its gradient.

        Everything else that changes a parameter copies values into the existing array. The parameter leaves the
        `ParameterStore` that it was in.
        """
        if array.shape != self.shape:
            raise ValueError(f"{self._name or 'Parameter'}: cannot become {array.shape}, it is {self.shape}")
        gradient = None if self._grad is None else _like(self._grad._data, array)
        self._data = array
        self._place = None
        self._grad = None if gradient is None else Tensor(gradient)
        self._version = [0]  # graphs and views may hold the earlier array, which has not changed

    def __repr__(self) -> str:
        title = f"Parameter {self._name}" if self._name else "Parameter"
        frozen = "" if self.requires_grad else ", frozen"
        where = "" if self.device == "cpu" else f", on {self.device}"
        return f"{title} ({self.role}{frozen}{where}):\n{np.array2string(devices.to_host(self._data), separator=', ')}"


def _like(values: Any, array: Any) -> Any:
    """A copy of ``values`` with the dtype and on the device of ``array``."""
    return devices.to_device(values.astype(array.dtype), devices.device_of(array))


def join(path: str, name: str) -> str:
    """Return the full name: ``join("2", "weight")`` is ``"2.weight"``, and ``join("", "weight")`` is ``"weight"``."""
    return f"{path}.{name}" if path else name


def parameter_or_none(layer: Any, name: str, value: Any) -> Parameter | None:
    """Check an attribute of a layer that is a parameter, or ``None`` if the layer has none there."""
    if not isinstance(value, Parameter | None):
        raise TypeError(
            f"{type(layer).__name__}.{name} must be a Parameter or None, not {type(value).__name__}; whether there is "
            f"one is decided when the layer is made, with {name}=True"
        )
    return value
