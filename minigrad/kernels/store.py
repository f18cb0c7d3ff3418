"""ParameterStore: a model's parameters and gradients in flat buffers, with the ranges that norms are taken over."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..autograd.memory import Memory, placed, settle
from ..autograd.tensor import Tensor
from ..devices.arrays import device_of

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Entry:
    """One parameter's place in a buffer.

    Attributes:
        name: the parameter's name; names are unique in a store.
        ref: a weak reference to the tensor itself, so that a store kept for later does not keep a model alive.
        layer: the name of its layer; a parameter without one is its own layer.
        start, stop: its range of elements in the buffer.
        shape: the parameter's shape.
        units: how many units it has: the rows of a weight (the incoming weights of one output); a tensor of one
            dimension or none is one unit.
        ids: the number of its range at each scope, counted over the whole store; at scope unit, of its first unit.
    """

    name: str
    ref: Callable[[], Tensor | None]
    layer: str
    start: int
    stop: int
    shape: tuple[int, ...]
    units: int
    ids: dict[str, int]

    @property
    def parameter(self) -> Tensor:
        """The tensor itself, whose ``data`` is a view of the buffer."""
        parameter = self.ref()
        assert parameter is not None, f"the parameter {self.name!r} is gone"
        return parameter

    def __reduce__(self) -> tuple[Any, ...]:
        return Entry, (self.name, _gone, self.layer, self.start, self.stop, self.shape, self.units, self.ids)


def _gone() -> None:
    """The reference of an entry that was copied."""


class Buffer:
    """The part of one `Memory` that holds parameters of a store.

    Parameters that moved there together are contiguous in order of layer, then tensor, then unit; between others there
    may be gaps, with parameters that are not in the store.
    """

    def __init__(self, memory: Memory, entries: Iterable[Entry]) -> None:
        self.memory = memory
        placed = sorted(entries, key=lambda entry: (entry.start, entry.stop))
        first = placed[0].start
        self._range = slice(first, placed[-1].stop)
        self.entries = tuple(replace(e, start=e.start - first, stop=e.stop - first) for e in placed)
        self.data: Array = memory.data[self._range]
        self.dtype, self.device = self.data.dtype, device_of(self.data)

    @property
    def grad(self) -> Array:
        """The gradients; another array after the memory was renewed."""
        return self.memory.grad[self._range]

    @property
    def size(self) -> int:
        """The number of elements, gaps included."""
        return self.data.size


class ParameterStore:
    """Flat buffers on one device, and the table of ranges: units, tensors, layers.

    Parameters that are not in flat memory yet move into one buffer for each dtype, if possible
    (`minigrad.autograd.memory`).
    There the order is by layer in order of first appearance, then by tensor as given, so that a layer is one range
    also when param groups split its weight from its bias.

    Raises:
        TypeError: for something that is not a tensor, or not floating.
        ValueError: for no parameters, a tensor computed from others, one given twice, or parameters on two devices.
    """

    def __init__(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        named = list(parameters)
        _check(named)
        layers: dict[str, list[tuple[str, Tensor]]] = {}
        for name, parameter in named:
            layers.setdefault(_layer_of(name, parameter), []).append((name, parameter))
        settle(parameter for members in layers.values() for _, parameter in members)
        entries: dict[np.dtype[Any], dict[Memory, list[Entry]]] = {}
        tensor_id = unit_id = 0
        for layer_id, (layer, members) in enumerate(layers.items()):
            for name, parameter in members:
                place = placed(parameter)
                units = parameter.shape[0] if parameter.ndim >= 2 and parameter.size else 1
                ids = {"unit": unit_id, "tensor": tensor_id, "layer": layer_id, "global": 0}
                entry = Entry(
                    name,
                    weakref.ref(parameter),
                    layer,
                    place.start,
                    place.start + parameter._data.size,
                    place.shape,
                    units,
                    ids,
                )
                entries.setdefault(parameter.dtype, {}).setdefault(place.memory, []).append(entry)
                tensor_id += 1
                unit_id += units
        self.device = named[0][1].device
        self.layers = tuple(layers)
        self.counts = {"unit": unit_id, "tensor": tensor_id, "layer": len(layers), "global": 1}
        self.buffers = tuple(Buffer(memory, own) for each in entries.values() for memory, own in each.items())
        ordered = sorted((e for buffer in self.buffers for e in buffer.entries), key=lambda e: e.ids["tensor"])
        self.entries = {entry.name: entry for entry in ordered}

    @property
    def size(self) -> int:
        """The number of parameters, counted as elements."""
        return sum(entry.stop - entry.start for entry in self.entries.values())

    def __getstate__(self) -> dict[str, Any]:
        """A copy has only the table; a copied optimizer makes a store for its own parameters."""
        return {**vars(self), "buffers": ()}

    def __repr__(self) -> str:
        return f"<ParameterStore: {len(self.entries)} tensors in {len(self.layers)} layers, {self.size:,} parameters>"

    def range_names(self, scope: str) -> list[str]:
        """The names of the ranges at a scope, in the order of their numbers."""
        if scope == "global":
            return ["global"]
        if scope == "layer":
            return list(self.layers)
        names: list[str] = []
        for entry in self.entries.values():  # in the order of their numbers at both remaining scopes
            if scope == "unit" and entry.units > 1:
                names += [f"{entry.name}[{i}]" for i in range(entry.units)]
            else:
                names.append(entry.name)
        return names

    def check(self) -> None:
        """Raise TypeError if a parameter's dtype, shape or device is no longer the buffer's."""
        for buffer in self.buffers:
            for entry in buffer.entries:
                parameter = entry.parameter
                if parameter.dtype != buffer.dtype or parameter.shape != entry.shape:
                    raise TypeError(
                        f"parameter {entry.name!r} is now {parameter.dtype} {parameter.shape}, but was {buffer.dtype} "
                        f"{entry.shape} when the optimizer was made; convert a model before making its optimizer"
                    )
                if parameter.device != buffer.device:
                    raise TypeError(
                        f"parameter {entry.name!r} is now on {parameter.device}, but was on {buffer.device} when the "
                        "optimizer was made; move a model before making its optimizer"
                    )


def _layer_of(name: str, parameter: Tensor) -> str:
    """The layer's name. Two models in one store may use the same names; the second one's end in a mark."""
    base, at, number = name.partition("@")
    return (getattr(parameter, "layer", "") or base.rpartition(".")[0] or base) + at + number


def _check(named: Sequence[tuple[str, Tensor]]) -> None:
    if not named:
        raise ValueError("the list of parameters is empty")
    seen: dict[int, str] = {}
    names: set[str] = set()
    for name, parameter in named:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"parameter {name!r} is a {type(parameter).__name__}, not a tensor")
        if parameter.dtype.kind != "f":
            raise TypeError(f"parameter {name!r} is {parameter.dtype}; only float32 and float64 can be trained")
        if parameter._node is not None:
            raise ValueError(f"parameter {name!r} was computed from other tensors; only leaves can be trained")
        if id(parameter) in seen:
            raise ValueError(f"parameter {name!r} is given twice, first as {seen[id(parameter)]!r}")
        if name in names:
            raise ValueError(f"two parameters are named {name!r}; pass named_parameters() of the whole model")
        if parameter.device != named[0][1].device:
            raise ValueError(
                f"parameter {name!r} is on {parameter.device}, but {named[0][0]!r} on {named[0][1].device}; move the "
                "whole model to one device first, with .to()"
            )
        seen[id(parameter)] = name
        names.add(name)
