"""From a recorded graph to the boxes of a drawing: operations or whole layers, parameters and inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...anomalies.calls import LayerCall, places
from ...anomalies.ranges import Range, is_measurable, measure, number
from ...autograd.graph import RETAIN, Node, collect
from ...autograd.tensor import Tensor, edge_of
from ...checks import unknown
from ...nn import Parameter
from ...text import plural
from .trace import Input, names, notes

_NO_LAYERS = "draw_graph: open: no layers are known; run the forward pass in 'with study.trace():'"


@dataclass(eq=False)
class Box:
    """One box of a drawing.

    Attributes:
        kind: ``"input"``, ``"parameter"``, ``"operation"``, ``"layer"`` or ``"left out"``.
        title: the name of the op, the class and path of a layer, or the name of a parameter or input.
        note: a detail: the settings of an op, the layer that it is in.
        shape: dtype and shape of its output.
        value, gradient: of its output, if they are known.
        parts: the parameters of a layer, with their names, values and gradients.
        inputs: the boxes that lead to it, once for each edge.
        operations: the number of operations that it represents.
        source: the line that called it.
        drawn: whether its output is one of the tensors to draw.
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

    def remark(self, text: str) -> None:
        """Add to the note."""
        self.note = ", ".join(filter(None, (self.note, text)))


@dataclass(frozen=True)
class Picture:
    """All boxes, inputs before the boxes that they lead to; the last one is a tensor to draw.

    Attributes:
        boxes: the boxes.
        left_out: the number of operations that are not drawn.
        remarks: what is not shown, and how to show it.
    """

    boxes: tuple[Box, ...]
    left_out: int
    remarks: tuple[str, ...]


def picture(tensors: Sequence[Tensor], open: bool | Collection[str], depth: int | None, limit: int) -> Picture:
    """The boxes of the graph that computed the tensors; see `minigrad.study.draw_graph`."""
    computed = [tensor for tensor in tensors if tensor._node is not None]
    if not computed:
        remark = "this tensor was not computed from one that requires a gradient"
        return Picture(tuple(_leaf(tensor, drawn=True) for tensor in tensors), 0, (remark,))
    builder = _Builder(computed, open, depth)
    left_out = builder.build(limit)
    return Picture(builder.ordered(left_out), left_out, builder.remarks(open, len(tensors) - len(computed)))


class _Builder:
    """Makes boxes, from the tensors backwards to their inputs.

    A unit is one operation, or all operations of one call of a layer that is drawn as one box.
    """

    def __init__(self, tensors: Sequence[Tensor], open: bool | Collection[str], depth: int | None) -> None:
        self._boxes: list[Box] = []
        self._box_of: dict[int, Box] = {}  # by the id of a node or leaf, or the negative number of an input
        self._edges: list[tuple[int, Box]] = []
        self._nodes = nodes = collect([edge_of(tensor) for tensor in tensors])
        if not isinstance(open, bool):
            _check_names(nodes, open)
        self._drawn = {id(tensor._node) for tensor in tensors}
        self._values = _saved_values(nodes) | {id(tensor._node): tensor._data for tensor in tensors}
        self._wholes = _wholes(nodes)
        self._units: dict[int, tuple[LayerCall | None, list[Node]]] = {}
        unit_of: dict[int, int] = {}
        for node in nodes:
            call = _layer_of(node, open, depth)
            unit = unit_of[id(node)] = id(node if call is None else call)
            self._units.setdefault(unit, (call, []))[1].append(node)
        edges = [(node, edge) for node in nodes for edge in node.edges]
        self._leaving = {id(edge) for node, edge in edges if unit_of.get(id(edge)) not in (None, unit_of[id(node)])}

    def build(self, limit: int) -> int:
        """Make at most about ``limit`` boxes; returns the number of operations that are left out."""
        # The nodes of a layer are recorded one after another.
        order = sorted(self._units.values(), key=lambda unit: unit[1][-1].order, reverse=True)
        repeated = _repeated([call for call, _ in reversed(order) if call is not None])
        left_out = 0
        for call, nodes in order:
            if left_out or len(self._boxes) + 1 > limit:
                left_out += len(nodes)
            else:
                self._add(nodes, call, repeated.get(id(call), ""))
        return left_out

    def _add(self, nodes: Sequence[Node], call: LayerCall | None, remark: str) -> None:
        """Add the box of a unit, and the boxes of its leaf inputs."""
        outputs = [node for node in nodes if id(node) in self._drawn or id(node) in self._leaving]
        first = outputs[0]
        if call is None:
            box = _operation(first)
        else:
            box = Box("layer", f"{call.kind} {call.path!r}" if call.path else call.kind, remark)
            if len(outputs) > 1:
                others = ", ".join(map(_shape, outputs[1:4])) + ", ..." * (len(outputs) > 4)
                box.remark(f"the first of {len(outputs)} outputs; then {others}")
            for given in call.inputs:
                self._input(given, box)
        note, value, place = notes.get(first), self._values.get(id(first)), places.get(first)
        box.value = note.value if note is not None else measure(value) if is_measurable(value) else None
        box.gradient, box.shape, box.operations = _gradient(first), _shape(first), len(nodes)
        box.source = place.source.title if place is not None and place.source is not None else ""
        box.drawn = any(id(node) in self._drawn for node in outputs)
        self._box_of.update((id(node), box) for node in nodes)
        self._boxes.append(box)
        self._connect(nodes, call, box)

    def _connect(self, nodes: Sequence[Node], call: LayerCall | None, box: Box) -> None:
        """Note where the edges of a unit come from, and the parameters of its layer."""
        inside = {id(node) for node in nodes}
        own = {} if call is None else {id(p): name for name, p in call.module._parameters.items()}
        below = set() if call is None else {id(p) for p in call.module.parameters()}
        parts: dict[int, Any] = {}
        inner: dict[int, Any] = {}
        for node in nodes:
            for position, edge in enumerate(node.edges):
                if edge is None:
                    self._constant(node, position, box)
                elif id(edge) in own:
                    parts[id(edge)] = edge
                elif id(edge) in below:
                    inner[id(edge)] = edge
                elif not isinstance(edge, Node):
                    self._lead(id(edge), _leaf(edge, names.get(edge) or node.primitive.input_name(position)), box)
                elif id(edge) not in inside:
                    self._edges.append((id(edge), box))
        for key, parameter in parts.items():
            # In full if the parameter belongs to another layer as well.
            shared = call is not None and parameter._layer not in (None, call.path)
            title = f"{own[key]} = {parameter.name}" if shared else own[key]
            box.parts.append((title, measure(parameter._data), _measured(parameter._grad)))
        if inner:
            box.remark(f"{len(inner)} parameters, {sum(p.size for p in inner.values()):,} numbers")

    def _constant(self, node: Node, position: int, box: Box) -> None:
        """An input without a gradient: a box, or for a number a remark on the operation."""
        note = notes.get(node)
        if note is None:
            value = _saved_input(node, position)
            value = self._wholes.get(id(value), value)
            name = node.primitive.input_name(position)
            found = Input(name, id(value), measure(value)) if is_measurable(value) else None
        elif box.kind == "layer":  # its call has noted its inputs
            return
        else:
            found = note.constants.get(position)
        if found is None or (box.kind == "layer" and found.value.dtype == "bool"):  # such as the mask of dropout
            return
        if found.value.dtype != "number":
            self._input(found, box)
        elif box.kind == "operation":
            text = f"{found.name} = {found.value.nonfinite or format(found.value.low, 'g')}"
            box.note = ", ".join(filter(None, (text, box.note)))

    def _input(self, given: Input, box: Box) -> None:
        # Negative, unlike any id.
        self._lead(-1 - given.number, Box("input", given.name, shape=given.value.kind, value=given.value), box)

    def _lead(self, key: int, leaf: Box, box: Box) -> None:
        if key not in self._box_of:
            self._box_of[key] = leaf
            self._boxes.append(leaf)
        self._edges.append((key, box))

    def ordered(self, left_out: int) -> tuple[Box, ...]:
        """The connected boxes from first to last, with one more for the omitted operations."""
        rest = Box("left out", f"{left_out:,} more operations", "left out here", operations=left_out)
        for key, box in self._edges:
            source = self._box_of.get(key, rest)
            if (box.kind == "operation" and source is not rest) or source not in box.inputs:
                box.inputs.append(source)
        # A leaf comes before the first box that uses it.
        ordered: dict[Box, None] = {}
        for box in reversed(self._boxes):
            if box.operations:
                ordered |= dict.fromkeys([*box.inputs, box])
        return tuple(ordered)

    def remarks(self, open: bool | Collection[str], others: int) -> tuple[str, ...]:
        """The parts that the drawing does not show, and how to show them."""
        found = []
        if others:
            found.append(f"{plural(others, 'more output')} not computed from a tensor that requires a gradient")
        if any(node.saved is None for node in self._nodes):
            found.append("earlier values were freed by backward(): call backward(retain_graph=True), then draw")
        hidden = any(box.value is None or (box.kind == "parameter" and open is not True) for box in self._boxes)
        if hidden and any(notes.get(node) is None for node in self._nodes):
            found.append("layers, names, and values that the graph does not keep, show after 'with study.trace():'")
        return tuple(found)


# --- layers ----------------------------------------------------------------------------------------------------------


def _check_names(nodes: Sequence[Node], open: Collection[str]) -> None:
    """Raise ValueError for the path of a layer that is not in the graph."""
    found = (place.layers for node in nodes if (place := places.get(node)) is not None)
    known = list(dict.fromkeys(call.path for layers in found for call in layers))
    for name in open:
        if name not in known:
            raise ValueError(
                f"draw_graph: open: {unknown('layer', name, filter(None, known))}" if known else _NO_LAYERS
            )


def _layer_of(node: Node, open: bool | Collection[str], depth: int | None) -> LayerCall | None:
    """The call of a layer whose box has the node: the outermost that contains no modules, or is at ``depth``."""
    place = places.get(node)
    if open is True or place is None:
        return None
    for level, call in enumerate(place.layers):
        if (not call.module._modules or level == depth) and not (open and call.path in open):
            return call
    return None


def _repeated(calls: Sequence[LayerCall]) -> dict[int, str]:
    """A remark on each call of a module that is called several times: all of them have the same weights."""
    found: dict[int, list[int]] = {}
    for call in calls:
        found.setdefault(id(call.module), []).append(id(call))
    several = (same for same in found.values() if len(same) > 1)
    return {call: f"call {n} of {len(same)}, one module" for same in several for n, call in enumerate(same, 1)}


# --- single nodes and leaves -----------------------------------------------------------------------------------------


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


def _shape(node: Node) -> str:
    return f"{node.dtype} {node.shape}" if node.shape else str(node.dtype)


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
    """The values of nodes, by id, that were saved by the nodes themselves or by those that use them."""
    values: dict[int, Any] = {}
    for node in nodes:
        for source, value in zip(node.recipe.sources if node.saved is not None else (), node.saved or (), strict=True):
            if source == node.recipe.arity:
                values[id(node)] = value
            elif 0 <= source < node.recipe.arity:
                values[id(node.edges[source])] = value
    return values


def _wholes(nodes: Sequence[Node]) -> Mapping[int, Any]:
    """For saved inputs that are parts of one array, such as the steps of a sequence, that array, by the id of each."""
    parts: dict[int, dict[int, Any]] = {}
    for node in nodes:
        for position, edge in enumerate(node.edges):
            value = _saved_input(node, position) if edge is None else None
            if is_measurable(whole := getattr(value, "base", None)):
                parts.setdefault(id(whole), {})[id(value)] = whole
    return {key: whole for same in parts.values() if len(same) > 1 for key, whole in same.items()}


# --- ranges as text --------------------------------------------------------------------------------------------------


def ranges(box: Box) -> Iterator[tuple[str, Range | None, Range | None]]:
    """The value and gradient of a box, with an empty name, and of each parameter in it."""
    yield "", box.value, box.gradient
    yield from box.parts


def in_short(name: str, values: Range) -> str:
    """The number or the range, after its name."""
    return f"{name} " + ", ".join(filter(None, (values.values, values.nonfinite)))


def figures(name: str, values: Range | None, spread: bool = True) -> str:
    """The number, or range, mean and standard deviation, after its name."""
    if values is None:
        return ""
    more = f"(mean {number(values.mean)}, std {number(values.std)})" if spread and values.low < values.high else ""
    return ", ".join(filter(None, (f"{name} {values.values} {more}".rstrip(), values.nonfinite)))
