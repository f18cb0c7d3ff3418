"""trace: note values, gradients and names that the graph itself does not keep, for drawings of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...anomalies.calls import Finder, WeakMap, name_of, places
from ...anomalies.ranges import Range, is_measurable, measure
from ...autograd import observers
from ...autograd.graph import Node
from ...autograd.modes import Block
from ...autograd.tensor import Tensor
from ...ops.primitive import Primitive


class Input(NamedTuple):
    """An array or tensor without a gradient that went into a layer or an operation.

    Attributes:
        name: the name of the model's argument, of a variable, or of the operation's argument.
        number: identifies the tensor; a view of a tensor has the same number.
        value: its range.
    """

    name: str
    number: int
    value: Range


@dataclass
class Note:
    """A node's value, its gradient after a backward pass, and its inputs without a gradient by position."""

    value: Range
    constants: dict[int, Input]
    gradient: Range | None = None


notes: WeakMap[Note] = WeakMap()
names: WeakMap[str] = WeakMap()  # of leaves that require a gradient, found like the name of an `Input`
_numbers: WeakMap[int] = WeakMap()
_count = itertools.count()


class _Tracer(observers.Observer):
    def __init__(self, block: trace) -> None:
        self.block = block
        self._finder = Finder(self._inputs)
        self._walks = False
        # Inputs and their views; the input of a layer has the name that the outermost layer gives it.
        self._seen: WeakMap[Input] = WeakMap()

    def computed(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        arrays: Sequence[Any],
        settings: Mapping[str, Any],
        result: Tensor,
    ) -> None:
        node = result._node
        if node is None:
            if primitive.view:
                self._finder.here()  # it calls `_inputs` for the layers that are running
                whole = self._seen.get(args[0])
                if whole is not None:
                    self._seen[result] = whole
            return
        if not self._walks:
            places[node] = self._finder.here()
        constants = {}
        for position, (arg, array, edge) in enumerate(zip(args, arrays, node.edges, strict=True)):
            name = primitive.input_name(position)
            if edge is None and is_measurable(array):
                constants[position] = self._input(name, arg, array)
            elif isinstance(edge, Tensor) and names.get(edge) is None:
                names[edge] = name_of(arg) or name
        notes[node] = Note(measure(result._data), constants)

    def _inputs(self, arguments: Mapping[str, Any]) -> tuple[Input, ...]:
        """The arguments of a layer, also in tuples, without a gradient: the others are in the graph."""
        found: list[Input] = []
        for name, given in arguments.items():
            several = isinstance(given, tuple | list)
            for i, each in enumerate(given if several else [given]):
                own = f"{name}[{i}]" if several else name
                array = each._data if isinstance(each, Tensor) else each
                if _is_plain(each) or not is_measurable(array):
                    continue
                if not getattr(each, "requires_grad", False):
                    found.append(self._input(own, each, array, given=True))
                elif names.get(each) is None:
                    names[each] = own
        return tuple(found)

    def _input(self, name: str, arg: Any, array: Any, given: bool = False) -> Input:
        """An input, or the one that it is a view of; the name of a variable replaces a name that is not ``given``."""
        if _is_plain(arg):
            return Input(name, _number(arg), measure(array))
        known = self._seen.get(arg) or self._seen.get(getattr(arg, "base", None))  # NumPy's views have a base
        if known is None:
            known = self._seen[arg] = Input(name if given else name_of(arg) or name, _number(arg), measure(array))
        return known

    def walking(self, seeds: Sequence[Any]) -> None:
        self._walks = True

    def differentiating(self, node: Node, g: Any) -> None:
        note = notes.get(node)
        if note is not None:
            note.gradient = measure(g._data if isinstance(g, Tensor) else g)

    def walked(self) -> None:
        self._walks = False


def _is_plain(value: Any) -> bool:
    """Whether it is a number or a list of numbers, which cannot be recognized when it is used again."""
    return isinstance(value, int | float | np.generic | list | tuple)


def _number(arg: Any) -> int:
    """A number for each tensor and array, and a new one for each plain value."""
    number = None if _is_plain(arg) else _numbers.get(arg)
    if number is None:
        number = next(_count)
        if not _is_plain(arg):
            _numbers[arg] = number
    return number


class trace(Block):  # noqa: N801 - used as no_grad is
    """Note the layer, the value and the gradient of every operation in this thread, for `draw_graph`.

    A graph keeps only what its gradient rules need. For operations in this block, or in a function decorated with it,
    a few more numbers each are kept as long as the graph lives.

    >>> with trace():  # doctest: +SKIP
    ...     loss = nn.functional.mse_loss(model(x), y)
    ...     loss.backward(retain_graph=True)
    >>> draw_graph(loss, "graph.svg")  # doctest: +SKIP
    """

    def __enter__(self) -> None:
        observers.enter(_Tracer(self))

    def __exit__(self, *error: object) -> None:
        own = [each for each in observers.watching() if isinstance(each, _Tracer) and each.block is self]
        if own:
            observers.leave(own[-1])
