"""From a recorded graph to the boxes of a drawing: operations or whole layers, parameters and inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...autograd.graph import RETAIN, Node, collect
from ...autograd.tensor import Tensor, edge_of
from ...checks import unknown
from ...nn import Parameter
from ...text import plural
from ..places import LayerCall, places
from ..ranges import Range, is_measurable, measure
from .trace import Input, names, notes

_NO_LAYERS = "draw_graph: open: no layers are known; run the forward pass in 'with study.trace():'"
KINDS = ("input", "parameter", "operation", "layer", "left out")


@dataclass(eq=False)
class Box:
    """One box of a drawing.

    Attributes:
        kind: one of `KINDS`.
        title: the name of the op, the class and path of a layer, the name of a parameter or of an input.
        note: a word more: settings of an op, the layer it is in.
        shape: dtype and shape of what comes out of it.
        value, gradient: of what comes out of it, where they are known.
        parts: the parameters of a layer, with their names, values and gradients.
        inputs: the boxes that lead to it, once for each edge.
        operations: how many operations it stands for.
        source: the line that called it.
        drawn: whether what comes out of it is what was to be drawn.
    """

    kind: str
    title: str
    note: str = ""
    shape: str = ""
    value: Range | None = None
    gradient: Range | None = None
    parts: list[tuple[str, Range, Range | None]] = field(default_factory=list)
    inputs: list[Box] = field(default_factory=list)
    operations: int = 0
    source: str = ""
    drawn: bool = False


@dataclass(frozen=True)
class Picture:
    """All boxes, inputs before what they lead to; the last one is a tensor that was to be drawn.

    Attributes:
        boxes: what is drawn.
        left_out: how many operations are not.
        remarks: what is not shown, and what to do about it.
    """

    boxes: tuple[Box, ...]
    left_out: int
    remarks: tuple[str, ...]


def picture(tensors: Sequence[Tensor], open: bool | Collection[str], depth: int | None, limit: int) -> Picture:
    """The boxes of the graph that tensors come from; see `minigrad.study.draw_graph`."""
    computed = {id(tensor._node): tensor for tensor in tensors if tensor._node is not None}
    if not computed:
        remark = "this tensor was not computed from one that requires a gradient"
        return Picture(tuple(_leaf(tensor, drawn=True) for tensor in tensors), 0, (remark,))
    nodes = collect([edge_of(tensor) for tensor in computed.values()])
    if not isinstance(open, bool):
        _check_names(nodes, open)
    values = _saved_values(nodes)
    values |= {number: tensor._data for number, tensor in computed.items()}
    units: dict[int, list[Node]] = {}
    calls: dict[int, LayerCall | None] = {}
    unit_of: dict[int, int] = {}
    for node in nodes:
        call = _layer_of(node, open, depth)
        key = unit_of[id(node)] = id(node) if call is None else id(call)
        units.setdefault(key, []).append(node)
        calls[key] = call
    leaving = {
        id(edge)
        for node in nodes
        for edge in node.edges
        if unit_of.get(id(edge), unit_of[id(node)]) != unit_of[id(node)]
    }
    boxes = _Boxes(values, computed, leaving, _wholes(nodes), _repeated(units, calls))
    # From the tensors backwards, until there are enough; the nodes of a layer are recorded one after another.
    order = sorted(units, key=lambda key: units[key][-1].order, reverse=True)
    left_out = 0
    for key in order:
        if left_out or len(boxes.all) + 1 > limit:
            left_out += len(units[key])
        else:
            boxes.add(units[key], calls[key])
    return Picture(boxes.finished(left_out), left_out, _remarks(nodes, boxes.all, open, len(tensors) - len(computed)))


def _check_names(nodes: Sequence[Node], open: Collection[str]) -> None:
    """Raise ValueError for the path of a layer that is not in the graph."""
    found = (place.layers for node in nodes if (place := places.get(node)) is not None)
    known = list(dict.fromkeys(call.path for layers in found for call in layers))
    named = [path for path in known if path]
    for name in open:
        if name not in known:
            raise ValueError(f"draw_graph: open: {unknown('layer', name, named)}" if known else _NO_LAYERS)


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

    def __init__(
        self,
        values: dict[int, Any],
        drawn: Collection[int],
        leaving: Collection[int],
        wholes: dict[int, Any],
        repeated: dict[int, str],
    ) -> None:
        """What is known of nodes by their ids, of an array the one that it is a part of, and of calls their number."""
        self.all: list[Box] = []
        self._values, self._drawn, self._leaving, self._wholes = values, drawn, leaving, wholes
        self._repeated = repeated
        self._of: dict[int, Box] = {}  # by node, leaf or array
        self._edges: list[tuple[int, Box]] = []

    def add(self, nodes: Sequence[Node], call: LayerCall | None) -> None:
        """The box of one operation, or of all those of a layer's call; and of the leaves that lead to it."""
        outputs = [node for node in nodes if id(node) in self._drawn or id(node) in self._leaving]
        last = outputs[0]
        if call is None:
            box = _operation(last)
        else:
            box = Box("layer", f"{call.kind} {call.path!r}" if call.path else call.kind)
            box.note = self._repeated.get(id(call), "")
            if len(outputs) > 1:
                others = ", ".join(_shape(node) for node in outputs[1:4]) + ", ..." * (len(outputs) > 4)
                box.note = ", ".join(filter(None, (box.note, f"the first of {len(outputs)} outputs; then {others}")))
        box.drawn = any(id(node) in self._drawn for node in outputs)
        note, value = notes.get(last), self._values.get(id(last))
        box.value = note.value if note is not None else measure(value) if is_measurable(value) else None
        box.gradient, box.operations = _gradient(last), len(nodes)
        box.shape = _shape(last)
        place = places.get(last)
        if place is not None and place.source is not None:
            box.source = place.source.title
        for given in call.inputs if call is not None else ():
            self._input(given, box)
        inside = {id(node) for node in nodes}
        self._of.update((id(node), box) for node in nodes)
        self.all.append(box)
        own = {} if call is None else {id(p): name for name, p in call.module._parameters.items()}
        under = {} if call is None else {id(p): p for p in call.module.parameters() if id(p) not in own}
        parts: dict[int, Parameter] = {}
        inner: dict[int, Parameter] = {}
        for node in nodes:
            for position, edge in enumerate(node.edges):
                if edge is None:
                    self._constant(node, position, box)
                elif isinstance(edge, Node):
                    if id(edge) not in inside:
                        self._edges.append((id(edge), box))
                elif id(edge) in own:
                    parts[id(edge)] = edge
                elif id(edge) in under:
                    inner[id(edge)] = edge
                else:
                    self._lead(id(edge), _leaf(edge, names.get(edge) or _name(node, position)), box)
        box.parts = [(_part(own[key], p, call), measure(p._data), _measured(p._grad)) for key, p in parts.items()]
        if inner:
            numbers = sum(p.size for p in inner.values())
            box.note = ", ".join(filter(None, (box.note, f"{len(inner)} parameters, {numbers:,} numbers")))

    def _constant(self, node: Node, position: int, box: Box) -> None:
        """An input without a gradient: a box, or for a number a word in the operation's."""
        note = notes.get(node)
        if note is not None and box.kind == "layer":  # which has the arguments of its call
            return
        if note is not None:
            found = note.constants.get(position)
        else:
            value = _saved_input(node, position)
            value = self._wholes.get(id(value), value)
            found = Input(_name(node, position), id(value), measure(value)) if is_measurable(value) else None
        if found is None or (box.kind == "layer" and found.value.dtype == "bool"):  # as the mask of dropout
            return
        if found.value.dtype != "number":
            self._input(found, box)
        elif box.kind == "operation":
            number = found.value.nonfinite or format(found.value.low, "g")
            box.note = ", ".join(filter(None, (f"{found.name} = {number}", box.note)))

    def _input(self, given: Input, box: Box) -> None:
        # No id is negative.
        self._lead(-1 - given.number, Box("input", given.name, shape=given.value.kind, value=given.value), box)

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
            if (box.kind == "operation" and source is not rest) or source not in box.inputs:
                box.inputs.append(source)
        # A leaf goes in front of the first of its uses.
        ordered: dict[Box, None] = {}
        for box in reversed(self.all):
            if box.operations:
                ordered.update(dict.fromkeys(source for source in box.inputs if source not in ordered))
                ordered[box] = None
        return tuple(ordered)


def _repeated(units: Mapping[int, Sequence[Node]], calls: Mapping[int, LayerCall | None]) -> dict[int, str]:
    """For each call of a module that is called several times, which it is; all have the same weights."""
    found: dict[int, list[int]] = {}
    for key in sorted(units, key=lambda key: units[key][-1].order):
        call = calls[key]
        if call is not None:
            found.setdefault(id(call.module), []).append(id(call))
    several = (same for same in found.values() if len(same) > 1)
    return {call: f"call {n} of {len(same)}, one module" for same in several for n, call in enumerate(same, 1)}


def _part(name: str, parameter: Parameter, call: LayerCall | None) -> str:
    """What a parameter is called in the box of its layer; in full where another layer has it too."""
    shared = call is not None and parameter._layer not in (None, call.path)
    return f"{name} = {parameter.name}" if shared else name


def _shape(node: Node) -> str:
    return f"{node.dtype} {node.shape}" if node.shape else str(node.dtype)


def _operation(node: Node) -> Box:
    defaults = node.primitive.defaults
    settings = [
        f"{name}={value!r}"
        for name, value in node.settings.items()
        if (name not in defaults or defaults[name] != value) and _is_short(value)
    ]
    place = places.get(node)
    layer = place.layers[-1] if place is not None and place.layers else None
    if layer is not None and layer.path:
        settings.append(f"in {layer.title}")
    return Box("operation", node.primitive.name, ", ".join(settings))


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float | str | tuple | slice | type(None) | np.dtype) and len(repr(value)) <= 24


def _leaf(tensor: Tensor, name: str = "tensor", drawn: bool = False) -> Box:
    value = measure(tensor._data)
    kind, title = ("parameter", tensor.name or name) if isinstance(tensor, Parameter) else ("input", name)
    return Box(kind, title, shape=value.kind, value=value, gradient=_measured(tensor._grad), drawn=drawn)


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


def _saved_values(nodes: Sequence[Node]) -> dict[int, Any]:
    """The values of nodes, by id, as far as they were saved, by them or by what uses them."""
    values: dict[int, Any] = {}
    for node in nodes:
        for source, value in zip(node.recipe.sources if node.saved is not None else (), node.saved or (), strict=True):
            if source == node.recipe.arity:
                values[id(node)] = value
            elif 0 <= source < node.recipe.arity:
                values[id(node.edges[source])] = value
    return values


def _wholes(nodes: Sequence[Node]) -> dict[int, Any]:
    """By the id of a saved input the array that it and others are parts of, such as the sequence that steps are of."""
    parts: dict[int, dict[int, Any]] = {}
    for node in nodes:
        for position, edge in enumerate(node.edges):
            value = _saved_input(node, position) if edge is None else None
            if is_measurable(whole := getattr(value, "base", None)):
                parts.setdefault(id(whole), {})[id(value)] = whole
    return {key: whole for same in parts.values() if len(same) > 1 for key, whole in same.items()}


def _remarks(nodes: Sequence[Node], boxes: Sequence[Box], open: bool | Collection[str], others: int) -> tuple[str, ...]:
    remarks = []
    if others:
        remarks.append(f"{plural(others, 'more output')} not computed from what requires a gradient")
    if any(node.saved is None for node in nodes):
        remarks.append("what lies before was freed by backward(): call backward(retain_graph=True), then draw")
    hidden = [box for box in boxes if box.value is None or (box.kind == "parameter" and open is not True)]
    if hidden and any(notes.get(node) is None for node in nodes):
        remarks.append("layers, names, and values that the graph does not keep, show after 'with study.trace():'")
    return tuple(remarks)
