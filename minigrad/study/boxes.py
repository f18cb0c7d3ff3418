"""From a recorded graph to the boxes of a drawing: operations or whole layers, parameters and inputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import RETAIN, Node, collect
from ..nn import Parameter
from ..tensor import Tensor, edge_of
from .places import LayerCall, places
from .ranges import Range, is_measurable, measure
from .trace import notes

KINDS = ("input", "parameter", "operation", "layer", "left out")


@dataclass(eq=False)
class Box:
    """One box of a drawing.

    Attributes:
        kind: one of `KINDS`.
        title: the name of the op, the class and path of a layer, the name of a parameter or of an input.
        note: a word more: settings of an op, the layer it is in.
        value, gradient: of what comes out of it, where they are known.
        parts: the parameters of a layer, with their names, values and gradients.
        inputs: the boxes that lead to it, once for each edge.
        operations: how many operations it stands for.
        source: the line that called it.
    """

    kind: str
    title: str
    note: str = ""
    value: Range | None = None
    gradient: Range | None = None
    parts: list[tuple[str, Range, Range | None]] = field(default_factory=list)
    inputs: list[Box] = field(default_factory=list)
    operations: int = 0
    source: str = ""


@dataclass(frozen=True)
class Picture:
    """All boxes, inputs before what they lead to; the last one is the tensor that was drawn.

    Attributes:
        boxes: what is drawn.
        left_out: how many operations are not.
        remarks: what is not shown, and what to do about it.
    """

    boxes: tuple[Box, ...]
    left_out: int
    remarks: tuple[str, ...]


def picture(tensor: Tensor, open: bool | Collection[str], depth: int | None, limit: int) -> Picture:
    """The boxes of the graph that ``tensor`` comes from; see `minigrad.study.draw_graph`."""
    if tensor._node is None:
        return Picture((_leaf(tensor),), 0, ("this tensor was not computed from one that requires a gradient",))
    nodes = collect([edge_of(tensor)])
    values = _saved_values(nodes)
    values[id(tensor._node)] = measure(tensor._data)
    units: dict[int, list[Node]] = {}
    calls: dict[int, LayerCall | None] = {}
    for node in nodes:
        call = _layer_of(node, open, depth)
        key = id(node) if call is None else id(call)
        units.setdefault(key, []).append(node)
        calls[key] = call
    boxes = _Boxes(values, bool(open) and open is not True)
    # From the tensor backwards, until there are enough; the nodes of a layer are recorded one after another.
    order = sorted(units, key=lambda key: units[key][-1].order, reverse=True)
    left_out = 0
    for key in order:
        if left_out or len(boxes.all) + 1 > limit:
            left_out += len(units[key])
        else:
            boxes.add(units[key], calls[key])
    return Picture(boxes.finished(left_out), left_out, _remarks(nodes, units, calls, open, boxes.all))


def _layer_of(node: Node, open: bool | Collection[str], depth: int | None) -> LayerCall | None:
    """The call of a layer that stands for the node: the outermost that contains no modules, or is at ``depth``."""
    place = places.get(node)
    if open is True or place is None:
        return None
    for level, call in enumerate(place.layers):
        if (not call.module._modules or level == depth) and not (open and call.path in open):
            return call
    return None


class _Boxes:
    """Makes boxes from the last to the first."""

    def __init__(self, values: dict[int, Range], layered: bool) -> None:
        self.all: list[Box] = []
        self._values = values
        self._of: dict[int, Box] = {}  # by node, leaf or array
        self._edges: list[tuple[int, Box]] = []

    def add(self, nodes: Sequence[Node], call: LayerCall | None) -> None:
        """The box of one operation, or of all those of a layer's call; and of the leaves that lead to it."""
        last = nodes[-1]
        box = _operation(last) if call is None else Box("layer", f"{call.kind} {call.path!r}" if call.path else call.kind)
        box.value, box.gradient = self._values.get(id(last)), _gradient(last)
        box.operations = len(nodes)
        place = places.get(last)
        if place is not None and place.source is not None:
            box.source = place.source.title
        inside = {id(node) for node in nodes}
        self._of.update((id(node), box) for node in nodes)
        self.all.append(box)
        for node in nodes:
            for position, edge in enumerate(node.edges):
                if edge is None:
                    self._constant(node, position, box)
                elif isinstance(edge, Node):
                    if id(edge) not in inside:
                        self._edges.append((id(edge), box))
                elif call is not None and isinstance(edge, Parameter) and edge._layer == call.path:
                    part = (edge.name.rpartition(".")[2], measure(edge._data), _measured(edge._grad))
                    if part not in box.parts:
                        box.parts.append(part)
                else:
                    self._lead(id(edge), _leaf(edge, _name(node, position)), box)

    def _constant(self, node: Node, position: int, box: Box) -> None:
        """An input without a gradient: a box, or for a number a word in the operation's."""
        note = notes.get(node)
        name = _name(node, position)
        if note is not None:
            found, key = note.constants.get(position, (None, 0))
            key = -1 - key  # no id is negative
        else:
            value = _saved_input(node, position)
            found, key = (measure(value), id(value)) if is_measurable(value) else (None, 0)
        if found is None:
            return
        if found.dtype == "number":
            if box.kind == "operation":
                box.note = ", ".join(filter(None, (f"{name} = {found.values or found.nonfinite}", box.note)))
            return
        self._lead(key, Box("input", name, value=found), box)

    def _lead(self, key: int, leaf: Box, box: Box) -> None:
        if key not in self._of:
            self._of[key] = leaf
            self.all.append(leaf)
        self._edges.append((key, box))

    def finished(self, left_out: int) -> tuple[Box, ...]:
        """The boxes from the first to the last, with their inputs; one more stands for what was left out."""
        rest = Box("left out", f"{left_out:,} more operations", "left out here", operations=left_out)
        for key, box in self._edges:
            source = self._of.get(key, rest)
            if box.kind == "operation" or source not in box.inputs:
                box.inputs.append(source)
        boxes = self.all[::-1]
        # A leaf goes in front of the first of its uses.
        return (rest, *boxes) if any(rest in box.inputs for box in boxes) else tuple(boxes)


def _operation(node: Node) -> Box:
    defaults = node.primitive.defaults
    settings = [
        f"{name}={value!r}"
        for name, value in node.settings.items()
        if (name not in defaults or defaults[name] is not value and defaults[name] != value) and _is_short(value)
    ]
    place = places.get(node)
    layer = place.layers[-1] if place is not None and place.layers else None
    if layer is not None and layer.path:
        settings.append(f"in {layer.kind} {layer.path!r}")
    return Box("operation", node.primitive.name, ", ".join(settings))


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float | str | tuple | slice | type(None) | np.dtype) and len(repr(value)) <= 24


def _leaf(tensor: Tensor, name: str = "tensor") -> Box:
    if isinstance(tensor, Parameter):
        return Box("parameter", tensor.name or name, value=measure(tensor._data), gradient=_measured(tensor._grad))
    return Box("input", name, value=measure(tensor._data), gradient=_measured(tensor._grad))


def _name(node: Node, position: int) -> str:
    primitive = node.primitive
    return f"{primitive.inputs[0]}[{position}]" if primitive.variadic else primitive.inputs[position]


def _measured(tensor: Tensor | None) -> Range | None:
    return None if tensor is None else measure(tensor._data)


def _gradient(node: Node) -> Range | None:
    """The gradient that a traced walk has seen, or that `retain_grad` has kept."""
    note = notes.get(node)
    if note is not None and note.gradient is not None:
        return note.gradient
    kept = node.tensor() if node._hooks and RETAIN in node._hooks else None
    return None if kept is None else _measured(kept._grad)


def _saved_input(node: Node, position: int) -> Any:
    """The value of an input, if the node has saved it."""
    if node.saved is None or position not in node.recipe.sources:
        return None
    return node.saved[node.recipe.sources.index(position)]


def _saved_values(nodes: Sequence[Node]) -> dict[int, Range]:
    """The values of nodes as far as they are known: noted by a trace, or saved by them or by what uses them."""
    arrays: dict[int, Any] = {}
    values: dict[int, Range] = {}
    for node in nodes:
        note = notes.get(node)
        if note is not None:
            values[id(node)] = note.value
        if node.saved is None:
            continue
        for source, value in zip(node.recipe.sources, node.saved, strict=True):
            if source == node.recipe.arity:
                arrays[id(node)] = value
            elif 0 <= source < node.recipe.arity and isinstance(node.edges[source], Node):
                arrays[id(node.edges[source])] = value
    return {**{key: measure(array) for key, array in arrays.items() if is_measurable(array)}, **values}


def _remarks(
    nodes: Sequence[Node],
    units: dict[int, list[Node]],
    calls: dict[int, LayerCall | None],
    open: bool | Collection[str],
    boxes: Sequence[Box],
) -> tuple[str, ...]:
    remarks = []
    if any(node.saved is None for node in nodes):
        remarks.append("what lies before was freed by backward(): call backward(retain_graph=True), then draw")
    untraced = sum(notes.get(node) is None for node in nodes)
    if untraced and open is not True:
        remarks.append("layers are not known: run the forward pass in 'with study.trace():' to see them")
    elif any(box.value is None for box in boxes):
        remarks.append("some values were not kept: run the forward pass in 'with study.trace():' to see them")
    return tuple(remarks)
