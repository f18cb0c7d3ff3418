"""trace: notes what the graph itself does not keep, for drawings of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ... import observers
from ...graph import Node
from ...modes import Block
from ...ops.primitive import Primitive
from ...tensor import Tensor
from ..places import Finder, WeakMap, places
from ..ranges import Range, is_measurable, measure


@dataclass
class Note:
    """What was seen of a node: its value, its gradient if a walk has passed, and its inputs that have no gradient.

    ``constants`` has for each such input, by position, its range and a number that tells tensors apart.
    """

    value: Range
    constants: dict[int, tuple[Range, int]]
    gradient: Range | None = None


notes: WeakMap[Note] = WeakMap()
_numbers: WeakMap[int] = WeakMap()
_count = itertools.count()


class _Tracer(observers.Observer):
    def __init__(self, block: trace) -> None:
        self.block = block
        self._finder = Finder()
        self._walks = False

    def computed(self, primitive: Primitive, args: Sequence[Any], arrays: Sequence[Any], result: Tensor) -> None:
        node = result._node
        if node is None:
            return
        if not self._walks:
            places[node] = self._finder.here()
        constants = {}
        for position, (arg, array, edge) in enumerate(zip(args, arrays, node.edges, strict=True)):
            if edge is None and is_measurable(array):
                constants[position] = (measure(array), _number(arg))
        notes[node] = Note(measure(result._data), constants)

    def walking(self, seeds: Sequence[Any]) -> None:
        self._walks = True

    def differentiating(self, node: Node, g: Any) -> None:
        note = notes.get(node)
        if note is not None:
            note.gradient = measure(g._data if isinstance(g, Tensor) else g)

    def walked(self) -> None:
        self._walks = False


def _number(arg: Any) -> int:
    if isinstance(arg, int | float):
        return next(_count)
    number = _numbers.get(arg)
    if number is None:
        number = _numbers[arg] = next(_count)
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
