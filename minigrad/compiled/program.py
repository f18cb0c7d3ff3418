"""A plan as a list of records: which part is called, and with which addresses.

A record is a few words: the address of a function, the number of words, and the words that the function is given, which
are addresses of arrays and numbers. `minigrad.compiled.runtime` calls one record's function after the other. So only
the parts are machine code: a part that many records call, as each time step of an unrolled recurrent network does, is
compiled once. Addresses are filled in by `minigrad.compiled.bound`, and can be those of other memory each time.

The order is: the parts of a stage; in the first stage, as early as possible, the guards, after which the step can no
longer be given up; what the stage writes to memory outside, and its results; and the effect that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .arrays import address
from .fusion import Plan, can_fail
from .graph import Layout, Node, c_strides
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
                    self._copy(write.node, Place(("memory", memory.params)), memory.strides)
            for kind, nodes in (("result", plan.results), ("own", plan.own)):
                for i, node in enumerate(nodes):
                    if node.stage == stage:  # before the effect, so that they are known if it ends the step
                        self._copy(node, Place((kind, i)), c_strides(node.shape, node.dtype.itemsize))
            if stage < plan.stages - 1:
                words = Place(("effect", stage)), Place(("argument", stage)), number(stage)
                self.records.append(Record("effect", words))

    # --- places --------------------------------------------------------------------------------------------------

    def _place(self, node: Node, whole: bool = False) -> Place:
        """Where a value is; a constant of equal elements is one element, unless ``whole``."""
        match node.op:
            case "view":
                base = self._place(node.inputs[0], whole=True)
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
    def _layout(node: Node, whole: bool = False) -> Layout:
        equal = node.uniform is not None and not whole
        return Layout(node.shape, (0,) * len(node.strides) if equal else node.strides, node.dtype)

    # --- records -------------------------------------------------------------------------------------------------

    def _add(self, kind: str, spec: Any, nodes: list[Node], *words: Place, whole: bool = False) -> None:
        """A part of these arrays, the written ones first, and further words."""
        part = Part(kind, spec, tuple(self._layout(node, whole) for node in nodes), len(words))
        self.records.append(Record(part, (*(self._place(node, whole) for node in nodes), *words)))

    def _copy(self, node: Node, target: Place, strides: tuple[int, ...]) -> None:
        part = Part("copy", None, (Layout(node.shape, strides, node.dtype), self._layout(node)), 0)
        self.records.append(Record(part, (target, self._place(node))))

    def _guards(self) -> None:
        for i, guard in enumerate(self.plan.trace.graph.guards, 2):
            words = self._place(guard.node), number(guard.expected), number(i)
            self.records.append(Record("guard", words))

    def _group(self, group: list[Node]) -> None:
        head = group[0]
        nodes = [head, *head.inputs]
        match head.op:
            case "map":
                self._maps(group)
            case "loop":
                self._add("loop", None, nodes, *self._numpy(*head.params))
            case "matmul":
                self._add("matmul", None, nodes, *self._numpy("matmul", head.dtype.char * 3), whole=True)
            case "reduce" | "arg":
                extreme = head.dtype.kind == "f" and head.params[0] in ("maximum", "minimum")
                words = self._numpy(head.params[0], head.dtype.char * 3) if extreme else ()
                self._add(head.op, head.params, nodes, *words, whole=True)
            case "gather" | "scatter":
                self._add(head.op, head.params, nodes, FLAG)
            case "random":
                self._add("random", None, nodes, Place(("draw",)), Place(("generator",)))
            case "python":
                there = [self._place(node, whole=True) for node in (*head.inputs, head)]
                call = number(self.plan.calls.index(head))
                self.records.append(Record("python", (Place(("python",)), FLAG, call, *there)))
            case _:
                self._add(head.op, head.params, nodes)

    @staticmethod
    def _numpy(name: str, letters: str) -> tuple[Place, Place]:
        """One of NumPy's loops, and its data."""
        return Place(("loop", name, letters)), Place(("data", name, letters))

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
        spec = group[0].shape, tuple(steps), tuple(order[node] for node in stored)
        self._add("map", spec, [*stored, *read])


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
