"""ParameterStore: a model's parameters and gradients in flat buffers, where every norm is over a range."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .devices import namespace_on
from .tensor import Tensor

Array = npt.NDArray[Any]
SCOPES = ("unit", "tensor", "layer", "global")


@dataclass(frozen=True, eq=False)
class Entry:
    """One parameter's place in a buffer.

    Attributes:
        name: the parameter's name; names are unique in a store.
        parameter: the tensor itself, whose ``data`` and ``grad`` are views of the buffer.
        layer: the name of its layer; parameters without one are a layer of their own.
        start, stop: its range of elements in the buffer.
        units: how many units it has: the rows of a weight (the incoming weights of one output); a tensor of one
            dimension or none is one unit.
        ids: the number of its range at each scope, counted over the whole store; at scope unit that of its first.
    """

    name: str
    parameter: Tensor
    layer: str
    start: int
    stop: int
    units: int
    ids: dict[str, int]


class Buffer:
    """The parameters of one dtype, contiguous in order of layer, then tensor, then unit, with their gradients."""

    def __init__(self, dtype: np.dtype[Any], device: str, entries: Sequence[Entry]) -> None:
        size = entries[-1].stop
        self.dtype, self.device = dtype, device
        self.entries = tuple(entries)
        library = namespace_on(device)
        self.data: Array = library.empty(size, dtype)
        self.grad: Array = library.zeros(size, dtype)
        # Each parameter with the place of its gradient; a gradient that is this very array needs no gathering.
        self.bound = [(e.parameter, self.grad[e.start : e.stop].reshape(e.parameter.shape)) for e in entries]
        for entry, (_, view) in zip(entries, self.bound, strict=True):
            self.adopt(entry, view)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    def adopt(self, entry: Entry, view: Array) -> None:
        """Make the parameter's data and gradient views of this buffer, keeping their values."""
        data = self.data[entry.start : entry.stop].reshape(entry.parameter.shape)
        entry.parameter._bind(data, view)

    def gather(self) -> list[Entry]:
        """Bring the gradients of this step into the buffer.

        Returns:
            The entries whose parameter has no gradient.

        Raises:
            TypeError: if a parameter's dtype, shape or device is no longer the buffer's.
        """
        missing = []
        for entry, (parameter, view) in zip(self.entries, self.bound, strict=True):
            if parameter.dtype != self.dtype or parameter.shape != view.shape:
                raise TypeError(
                    f"parameter {entry.name!r} is now {parameter.dtype} {parameter.shape}, but was {self.dtype} "
                    f"{view.shape} when the optimizer was made; convert a model before making its optimizer"
                )
            if parameter.device != self.device:
                raise TypeError(
                    f"parameter {entry.name!r} is now on {parameter.device}, but was on {self.device} when the "
                    "optimizer was made; move a model before making its optimizer"
                )
        for entry, (parameter, view) in zip(self.entries, self.bound, strict=True):
            if parameter._grad_view is not view:
                # Another optimizer, or a conversion and back, has moved it.
                self.adopt(entry, view)
            grad = parameter._grad
            if grad is None:
                missing.append(entry)
            elif grad._data is not view:
                # Set by hand, or recorded with create_graph=True.
                view[...] = grad._data
        return missing


class ParameterStore:
    """Flat buffers on one device, one per dtype, and the table of ranges: units, tensors, layers.

    The order is by layer in order of first appearance, then by tensor as given, so that a layer is one range also
    when param groups split its weight from its bias.

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
        by_dtype: dict[np.dtype[Any], list[Entry]] = {}
        tensor_id = unit_id = 0
        for layer_id, (layer, members) in enumerate(layers.items()):
            for name, parameter in members:
                entries = by_dtype.setdefault(parameter.dtype, [])
                start = entries[-1].stop if entries else 0
                units = parameter.shape[0] if parameter.ndim >= 2 and parameter.size else 1
                ids = {"unit": unit_id, "tensor": tensor_id, "layer": layer_id, "global": 0}
                entries.append(Entry(name, parameter, layer, start, start + parameter.size, units, ids))
                tensor_id += 1
                unit_id += units
        self.device = named[0][1].device
        self.layers = tuple(layers)
        self.counts = {"unit": unit_id, "tensor": tensor_id, "layer": len(layers), "global": 1}
        self.buffers = tuple(Buffer(dtype, self.device, entries) for dtype, entries in by_dtype.items())
        self.entries = {entry.name: entry for buffer in self.buffers for entry in buffer.entries}
        # For each kind of clip_grad_ call on these gradients, the entries of the last one and its tables.
        self.clip_layouts: dict[Any, tuple[list[Entry], Any]] = {}
        for buffer in self.buffers:
            for _, view in buffer.bound:
                _stores[id(view)] = self

    @property
    def size(self) -> int:
        """The number of parameters, counted as elements."""
        return sum(buffer.size for buffer in self.buffers)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is a store over the copied parameters, which move into it."""
        return ParameterStore, ([(entry.name, entry.parameter) for entry in self.entries.values()],)

    def __repr__(self) -> str:
        return f"<ParameterStore: {len(self.entries)} tensors in {len(self.layers)} layers, {self.size:,} parameters>"


# Stores by the identity of the gradient views that they own and keep alive.
_stores: weakref.WeakValueDictionary[int, ParameterStore] = weakref.WeakValueDictionary()


def store_of(parameters: Sequence[Tensor]) -> ParameterStore:
    """The store that holds all of the parameters; they move into a new one where there is none."""
    stores = {_stores.get(id(parameter._grad_view)) for parameter in parameters}
    store = stores.pop()
    if stores or store is None:
        names = [getattr(parameter, "name", "") for parameter in parameters]
        unique = names if len({*names} - {""}) == len(names) else [f"param{i}" for i in range(len(names))]
        store = ParameterStore(zip(unique, parameters, strict=True))
    return store


def _layer_of(name: str, parameter: Tensor) -> str:
    """The layer's name. Two models in one store may use the same names; the second's are marked as its own."""
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
