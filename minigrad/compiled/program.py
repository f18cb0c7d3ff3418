"""A plan as a list of records: which part is called, and with which addresses.

A record is a few words: the address of a function, the number of words, and the words that the function is given, which
are addresses of arrays and numbers. `minigrad.compiled.runtime` calls one record's function after the other. So only
the parts are machine code: a part that many records call, as each time step of an unrolled recurrent network does, is
compiled once. Addresses are filled in by `minigrad.compiled.bound`, and can be those of other memory each time.

The order is: the parts of a stage; in the first stage, as early as possible, the guards, after which the step can no
longer be given up; what the stage writes to memory outside, and its results; and the effect that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .arrays import address
from .elementwise import is_native
from .fusion import Plan, can_fail
from .graph import Key, Node
from .layout import Layout, Sizes, c_strides, joined, layout_of, loops, reduction_loops
from .parts import Part, Step


class Place(NamedTuple):
    """An address: of what ``key`` names, and a number of bytes on.

    The keys are ("workspace",), ("memory", number), ("result", number), ("own", number), ("constant", number),
    ("flag",), ("loop", name, letters), ("data", name, letters), ("draw",), ("generator",), ("python",),
    ("effect", number), ("argument", number); and ("number",), which is the number itself.
    """

    key: tuple[Any, ...]
    offset: int = 0


class Record(NamedTuple):
    """A function, which is a part or the name of one in `minigrad.compiled.runtime`, and its words."""

    function: Part | str
    words: tuple[Place, ...]


# Where parts note that an index is out of range, or a call of Python failed.
FLAG = Place(("flag",))


# What a reduction begins with, but for extremes, which begin with the first element. Thus -0.0 sums to 0.0.
_FIRST = {"add": 0, "multiply": 1, "logical_or": 0, "logical_and": 1}

# The longest row that NumPy adds without cutting it into halves.
_ROW = 128
# The status of a program that finds an index out of range when it can no longer be given up.
LATE = -(1 << 40)


def number(value: int) -> Place:
    """A word that is a number."""
    return Place(("number",), value)


class Program:
    """The records of a plan.

    Attributes:
        records: in order.
        constants: the arrays that places with a "constant" refer to.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.records: list[Record] = []
        self.constants: list[Any] = []
        self._known: dict[Node, int] = {}
        for stage, groups in enumerate(plan.groups):
            last = len(groups) - 1 if stage else plan.decided
            for i in range(-1, len(groups)):
                if i >= 0:
                    self._group(groups[i])
                if i == last and any(map(can_fail, groups)):
                    self.records.append(Record("flagged", (FLAG, number(LATE if stage else 1))))
                if i == last and not stage:
                    self._guards()
            for write in plan.writes[stage]:
                memory = write.memory.node
                if plan.direct.get(write.node) is not write.memory:
                    self._copy(write.node, Place(("memory", memory.params)), memory.shape, memory.strides)
            for kind, nodes in (("result", plan.results), ("own", plan.own)):
                for i, node in enumerate(nodes):
                    if node.stage == stage:  # before the effect, so that they are known if it ends the step
                        self._copy(node, Place((kind, i)), node.shape, c_strides(node.shape, node.dtype.itemsize))
            if stage < plan.stages - 1:
                words = Place(("effect", stage)), Place(("argument", stage)), number(stage)
                self.records.append(Record("effect", words))

    # --- places --------------------------------------------------------------------------------------------------

    def _place(self, node: Node) -> Place:
        """Where a value is."""
        match node.op:
            case "view":
                base = self._place(node.inputs[0])
                return base._replace(offset=base.offset + node.params)
            case "after":
                return self._place(node.inputs[0])
            case "input":
                return Place(("memory", node.params))
            case "const":
                if node not in self._known:
                    self._known[node] = len(self.constants)
                    self.constants.append(node.value)
                return Place(("constant", self._known[node]))
        if node in self.plan.direct:
            return Place(("memory", self.plan.direct[node].node.params))
        return Place(("workspace",), self.plan.stored[node])

    @staticmethod
    def _layout(node: Node) -> Layout:
        strides = node.strides if node.uniform is None else (0,) * len(node.strides)
        return Layout(node.shape, strides, node.dtype)

    # --- records -------------------------------------------------------------------------------------------------

    def _add(self, kind: str, spec: Any, *words: Place) -> None:
        self.records.append(Record(Part(kind, spec, len(words)), words))

    def _copy(self, node: Node, target: Place, shape: Sizes, strides: Sizes) -> None:
        """Copy a value, broadcast to a shape."""
        self._copy_to(self._layout(node), self._place(node), Layout(shape, strides, node.dtype), target)

    def _copy_to(self, source: Layout, place: Place, layout: Layout, target: Place) -> None:
        step = Step("same", (source.dtype,), source.dtype, (("array", 1),))
        self._add("map", ((layout, source), (step,), (0,)), target, place)

    @staticmethod
    def _loop(name: str, letters: str) -> tuple[Place, Place]:
        """One of NumPy's inner loops, and its data."""
        return Place(("loop", name, letters)), Place(("data", name, letters))

    def _guards(self) -> None:
        for i, guard in enumerate(self.plan.trace.graph.guards, 2):
            words = self._place(guard.node), number(guard.expected), number(i)
            self.records.append(Record("guard", words))

    def _group(self, group: list[Node]) -> None:
        node, place = group[0], self._place
        if node.op == "map":
            self._maps(group)
            return
        out = place(node)
        match node.op:
            case "loop":
                layouts = [self._layout(i).broadcast(node.shape) for i in node.inputs]
                *dims, (n, strides) = loops([*layouts, layout_of(node)], layout_of(node))
                self._add(
                    "numpy", (tuple(dims), (n,), strides), *map(place, node.inputs), out, *self._loop(*node.params)
                )
            case "matmul":
                self._matmul(node)
            case "reduce":
                self._reduce(node)
            case "gather":
                self._indexed("get", node.params, node, node.inputs[0], node.inputs[1:])
            case "scatter":
                key, how = node.params
                whole, part, *indices = node.inputs
                self._copy(whole, out, node.shape, node.strides)
                self._indexed(how, key, part, node, indices)
            case "join" | "set":
                parts, places = node.inputs, node.params
                if node.op == "set":
                    self._copy(parts[0], out, node.shape, node.strides)
                    parts, places = parts[1:], (places,)
                for part, (offset, shape, strides) in zip(parts, places, strict=True):
                    self._copy(part, out._replace(offset=out.offset + offset), shape, strides)
            case "random":
                self._add("random", node.size, out, Place(("draw",)), Place(("generator",)))
            case "python":
                arrays = [place(i) for i in (*node.inputs, node)]
                call = number(self.plan.calls.index(node))
                self.records.append(Record("python", (Place(("python",)), FLAG, call, *arrays)))

    def _matmul(self, node: Node) -> None:
        """NumPy's own product of matrices, that is the library that it was built with."""
        batch = node.shape[:-2]
        sides = (*node.inputs, node)
        outer = [Layout(i.shape[:-2], i.strides[:-2], i.dtype).broadcast(batch).strides for i in sides]
        dims = joined((n, tuple(strides[d] for strides in outer)) for d, n in enumerate(batch))
        sizes = 1, *node.inputs[0].shape[-2:], node.shape[-1]
        strides = 0, 0, 0, *(s for i in sides for s in i.strides[-2:])
        loop = self._loop("matmul", node.dtype.char * 3)
        self._add("numpy", (tuple(dims), sizes, strides), *map(self._place, sides), *loop)

    def _reduce(self, node: Node) -> None:
        """A reduction: natively if its order is known, else by NumPy's inner loop."""
        name, axes, keepdims = node.params
        (source,), dtype, layout = node.inputs, node.dtype, layout_of(node)
        out, place = self._place(node), self._place(source)
        dims = reduction_loops(layout_of(source), node.strides, axes, keepdims)
        n, (to, step) = dims[-1]
        loop = self._loop(name, dtype.char * 3)
        first = np.asarray(_FIRST[name], dtype).tobytes() if name in _FIRST else None
        if to and is_native(name, dtype):
            self._add("columns", (name, first, dtype, tuple(dims)), out, place)
        elif name in ("add", "maximum", "minimum") and n <= _ROW and all(kept for _, (kept, _) in dims[:-1]):
            self._add("rows", (name, dtype, tuple(dims)), out, place, *loop)
        else:
            if first is None:
                begin = tuple(0 if d in axes else s for d, s in enumerate(source.strides) if keepdims or d not in axes)
                self._copy_to(Layout(node.shape, begin, dtype), place, layout, out)
                if dtype.kind == "f":  # there is one row each, and its order decides about the sign of zero
                    n, place = n - 1, place._replace(offset=place.offset + step)
            else:
                constant = Step("same", (dtype,), dtype, (("const", (dtype, first)),))
                self._add("map", ((layout,), (constant,), (0,)), out)
            outer = tuple((count, (t, s, t)) for count, (t, s) in dims[:-1])
            self._add("numpy", (outer, (n,), (to, step, to)), out, place, out, *loop)

    def _indexed(self, how: str, key: Key, part: Node, whole: Node, indices: Sequence[Node]) -> None:
        layouts = self._layout(whole), self._layout(part).broadcast(key.result(whole.shape))
        places = [self._place(node) for node in (part, whole, *indices)]
        self._add("indexed", (how, key, *layouts, tuple(map(self._layout, indices))), *places, FLAG)

    def _maps(self, group: list[Node]) -> None:
        """A loop: the values that others read, then what it reads."""
        order = {node: i for i, node in enumerate(group)}
        stored = [node for node in group if node in self.plan.stored or node in self.plan.direct]
        if not stored:
            return
        read: dict[Node, int] = {}
        steps = []
        for node in group:
            operands: list[tuple[str, Any]] = []
            for i in node.inputs:
                one = i.uniform
                if i in order:
                    operands.append(("step", order[i]))
                elif one is not None:
                    operands.append(("const", (i.dtype, np.asarray(one, i.dtype).tobytes())))
                else:
                    operands.append(("array", len(stored) + read.setdefault(i, len(read))))
            steps.append(Step(node.params, tuple(i.dtype for i in node.inputs), node.dtype, tuple(operands)))
        layouts = [*map(layout_of, stored), *map(self._layout, read)]
        spec = tuple(layouts), tuple(steps), tuple(order[node] for node in stored)
        self._add("map", spec, *map(self._place, (*stored, *read)))


class Code:
    """Records as words, with the addresses of memory.

    Attributes:
        places: for each key of a `Place`, where its words are and the offset that each adds.
        address: of the first record.
    """

    def __init__(self, program: Program, functions: Mapping[Part | str, int]) -> None:
        values: list[int] = []
        found: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
        for record in program.records:
            values += [functions[record.function], 2 + len(record.words)]
            for key, offset in record.words:
                if key != ("number",):
                    found.setdefault(key, []).append((len(values), offset))
                values.append(offset)
        self.words = np.array([*values, 0], np.int64)
        self.address = address(self.words)
        self.places = {key: tuple(np.array(uses, np.int64).T) for key, uses in found.items()}

    def set(self, key: tuple[Any, ...], where: int) -> None:
        """Fill in an address."""
        if key in self.places:
            places, offsets = self.places[key]
            self.words[places] = offsets + where

    def uses(self, key: tuple[Any, ...]) -> list[tuple[int, int]]:
        """The addresses of the words of a key, each with its offset."""
        places, offsets = self.places.get(key, ((), ()))
        return [(self.address + 8 * int(place), int(offset)) for place, offset in zip(places, offsets, strict=True)]
