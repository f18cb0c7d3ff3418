"""trace: notes what the graph itself does not keep, for drawings of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ... import observers
from ...graph import Node
from ...modes import Block
from ...ops.primitive import Primitive
from ...tensor import Tensor
from ..places import Finder, WeakMap, places
from ..ranges import Range, is_measurable, measure


class Input(NamedTuple):
    """An array or tensor without a gradient that went into a layer or an operation.

    Attributes:
        name: that of the argument.
        number: tells tensors apart; a view of a tensor has its number.
        value: its range.
    """

    name: str
    number: int
    value: Range


@dataclass
class Note:
    """What was seen of a node: its value, its gradient if a walk has passed, and its inputs without one by position."""

    value: Range
    constants: dict[int, Input]
    gradient: Range | None = None


notes: WeakMap[Note] = WeakMap()
_numbers: WeakMap[int] = WeakMap()
_count = itertools.count()


class _Tracer(observers.Observer):
    def __init__(self, block: trace) -> None:
        self.block = block
        self._finder = Finder(self._inputs)
        self._walks = False
        # Arguments without a gradient, by the name that the outermost layer has for them, and views of those.
        self._seen: WeakMap[Input] = WeakMap()

    def computed(self, primitive: Primitive, args: Sequence[Any], arrays: Sequence[Any], result: Tensor) -> None:
        node = result._node
        if node is None:
            if primitive.view:
                self._finder.here()  # which notes the arguments of the layers that are running
                whole = self._seen.get(args[0])
                if whole is not None:
                    self._seen[result] = whole
            return
        if not self._walks:
            places[node] = self._finder.here()
        constants = {}
        for position, (arg, array, edge) in enumerate(zip(args, arrays, node.edges, strict=True)):
            if edge is None and is_measurable(array):
                name = primitive.inputs[0 if primitive.variadic else position]
                constants[position] = self._input(f"{name}[{position}]" if primitive.variadic else name, arg, array)
        notes[node] = Note(measure(result._data), constants)

    def _inputs(self, arguments: Mapping[str, Any]) -> tuple[Input, ...]:
        """The arguments of a layer, also in tuples, that no gradient goes to: others have a place in the graph."""
        found: list[Input] = []
        for name, given in arguments.items():
            several = isinstance(given, tuple | list)
            for i, each in enumerate(given if several else [given]):
                array = each._data if isinstance(each, Tensor) else each
                if _is_number(each) or not is_measurable(array) or getattr(each, "requires_grad", False):
                    continue
                found.append(self._input(f"{name}[{i}]" if several else name, each, array))
                self._seen[each] = found[-1]
        return tuple(found)

    def _input(self, name: str, arg: Any, array: Any) -> Input:
        """What is known of an input, or of the tensor that it is a view of."""
        known = None if _is_number(arg) else self._seen.get(arg)
        return Input(name, _number(arg), measure(array)) if known is None else known

    def walking(self, seeds: Sequence[Any]) -> None:
        self._walks = True

    def differentiating(self, node: Node, g: Any) -> None:
        note = notes.get(node)
        if note is not None:
            note.gradient = measure(g._data if isinstance(g, Tensor) else g)

    def walked(self) -> None:
        self._walks = False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic)


def _number(arg: Any) -> int:
    """One for each tensor and array, and a new one for every number."""
    number = None if _is_number(arg) else _numbers.get(arg)
    if number is None:
        number = next(_count)
        if not _is_number(arg):
            _numbers[arg] = number
    return number


class trace(Block):  # noqa: N801 - used as no_grad is
    """Note the layer, the value and the gradient of every operation in this thread, for `draw_graph`.

    A graph keeps no more than its gradient rules need. What is recorded in this block, or in a function decorated with
    it, is remembered as long as the graph lives, in a few numbers per operation.

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
