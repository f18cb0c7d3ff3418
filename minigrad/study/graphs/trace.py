"""trace: notes what the graph itself does not keep, for drawings of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...autograd import observers
from ...autograd.graph import Node
from ...autograd.modes import Block
from ...autograd.tensor import Tensor
from ...ops.primitive import Primitive
from .._calls import Finder, WeakMap, name_of, places
from .._ranges import Range, is_measurable, measure


class Input(NamedTuple):
    """An array or tensor without a gradient that went into a layer or an operation.

    Attributes:
        name: that of the argument of the model, of a variable, or of the argument of the operation.
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
names: WeakMap[str] = WeakMap()  # those of leaves that require a gradient, found as those of an `Input`
_numbers: WeakMap[int] = WeakMap()
_count = itertools.count()


class _Tracer(observers.Observer):
    def __init__(self, block: trace) -> None:
        self.block = block
        self._finder = Finder(self._inputs)
        self._walks = False
        # Inputs, those of layers by the name that the outermost has for them, and views of those.
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
                self._finder.here()  # which notes the arguments of the layers that are running
                whole = self._seen.get(args[0])
                if whole is not None:
                    self._seen[result] = whole
            return
        if not self._walks:
            places[node] = self._finder.here()
        constants = {}
        for position, (arg, array, edge) in enumerate(zip(args, arrays, node.edges, strict=True)):
            name = primitive.inputs[0 if primitive.variadic else position]
            name = f"{name}[{position}]" if primitive.variadic else name
            if edge is None and is_measurable(array):
                constants[position] = self._input(name, arg, array)
            elif isinstance(edge, Tensor) and names.get(edge) is None:
                names[edge] = name_of(arg) or name
        notes[node] = Note(measure(result._data), constants)

    def _inputs(self, arguments: Mapping[str, Any]) -> tuple[Input, ...]:
        """The arguments of a layer, also in tuples, that no gradient goes to: others have a place in the graph."""
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
        """What is known of an input, or of what it is a view of; a variable's name is better than one not ``given``."""
        if _is_plain(arg):
            return Input(name, _number(arg), measure(array))
        known = self._seen.get(arg) or self._seen.get(getattr(arg, "base", None))  # that of NumPy's views
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
    """Whether it is a number, or a list of them, which has no use elsewhere that it could be known by."""
    return isinstance(value, int | float | np.generic | list | tuple)


def _number(arg: Any) -> int:
    """One for each tensor and array, and a new one for everything plain."""
    number = None if _is_plain(arg) else _numbers.get(arg)
    if number is None:
        number = next(_count)
        if not _is_plain(arg):
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
