"""A plan as one machine-code function: parts that are called one after the other with addresses from a table.

``body(table)`` computes a whole step and returns 0; or a positive number if a branch that Python took when the step was
traced would be taken otherwise now (1: an index is out of range, 2 + i: guard i), in which case nothing outside has
changed and the step has to be made eagerly; or -(k + 1) if the kernels of effect k have stopped the step.

Nothing in the code depends on the process: addresses are read from the table, so that machine code can be kept on disk,
and one program can run on other memory, also on several threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .fusion import ALIGN, Plan
from .graph import Layout, Node, c_strides
from .parts import Part, Step, emit
from .vectors import I8, I64, PTR, Function, Value, k64

# The first word of the table: the workspace.
WORKSPACE = ["workspace"]


class Program:
    """The code of a plan, being written.

    Attributes:
        module: LLVM's.
        slots: what each word of the table is: lists of names and numbers.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.module = ir.Module("minigrad")
        self.slots: list[list[Any]] = [WORKSPACE]
        self._known: dict[Any, int] = {("workspace",): 0}
        self._parts: dict[Part, Any] = {}
        self._constants: dict[Any, Any] = {}
        self._f = Function(self.module, "body", [I64.as_pointer()], I64, public=True)
        self._words: dict[int, Value] = {}
        self._write()

    # --- the table ---------------------------------------------------------------------------------------------------

    def _word(self, *key: Any) -> Value:
        """A word of the table, read once at the beginning."""
        if key not in self._known:
            self._known[key] = len(self.slots)
            self.slots.append(list(key))
        slot = self._known[key]
        if slot not in self._words:
            top, table = self._f.top, self._f.args[0]
            self._words[slot] = top.load(top.gep(table, [k64(slot)], inbounds=True))
        return self._words[slot]

    def _pointer(self, *key: Any) -> Value:
        return self._f.b.inttoptr(self._word(*key), PTR)

    def _constant(self, value: Any) -> Value:
        """The address of a constant array."""
        content = value.tobytes(order="A"), value.dtype, value.strides
        if content not in self._constants:
            raw = bytearray(value.ravel(order="K").tobytes())
            kind = ir.ArrayType(I8, len(raw))
            variable = ir.GlobalVariable(self.module, kind, f"constant{len(self._constants)}")
            variable.linkage, variable.global_constant, variable.align = "internal", True, ALIGN
            variable.initializer = ir.Constant(kind, raw)
            self._constants[content] = variable
        return self._f.b.bitcast(self._constants[content], PTR)

    def _address(self, node: Node) -> Value:
        """Where a value is."""
        if node.op == "view":
            base = self._address(node.inputs[0])
            return self._f.b.gep(base, [k64(node.params)]) if node.params else base
        if node.op == "input":
            return self._pointer("memory", node.params)
        if node.op == "after":
            return self._address(node.inputs[0])
        if node.op == "const":
            one = node.uniform
            return self._constant(node.value if one is None else np.asarray(one, node.dtype).reshape(1))
        if node in self.plan.direct:
            return self._pointer("memory", self.plan.direct[node].node.params)
        return self._f.b.gep(self._pointer("workspace"), [k64(self.plan.stored[node])])

    # --- the body ------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        plan, f, b = self.plan, self._f, self._f.b
        for stage, groups in enumerate(plan.groups):
            failed: Value = k64(0)
            for group in groups:
                failed = b.or_(failed, self._group(group))
            if stage == 0:
                failed = self._guards(failed)
            self._leave_if(b.icmp_signed("!=", failed, k64(0)), failed)
            for write in plan.writes[stage]:
                if plan.direct.get(write.node) is not write.memory:
                    memory = write.memory
                    target = Layout(memory.node.shape, memory.node.strides, memory.node.dtype)
                    self._copy(write.node, self._pointer("memory", memory.node.params), target)
            if stage < plan.stages - 1:
                self._effect(stage)
        for kind, nodes in (("result", plan.results), ("own", plan.own)):
            for i, node in enumerate(nodes):
                self._copy(node, self._pointer(kind, i), _dense(node))
        f.end(k64(0))

    def _leave_if(self, condition: Value, code: Value) -> None:
        f, b = self._f, self._f.b
        leave, stay = f.block("leave"), f.block("stay")
        b.cbranch(condition, leave, stay)
        b.position_at_end(leave)
        b.ret(code)
        b.position_at_end(stay)

    def _guards(self, failed: Value) -> Value:
        b = self._f.b
        for number, guard in enumerate(self.plan.trace.graph.guards, 2):
            value = b.load(self._address(guard.node))
            wrong = b.icmp_unsigned("==" if guard.expected else "!=", value, ir.Constant(I8, 0))
            first = b.and_(wrong, b.icmp_signed("==", failed, k64(0)))
            failed = b.select(first, k64(number), failed)
        return failed

    def _effect(self, number: int) -> None:
        """Let the kernels of an effect run: a function of one word."""
        b = self._f.b
        kind = ir.FunctionType(I64, [I64]).as_pointer()
        stopped = b.call(b.inttoptr(self._word("effect", number), kind), [self._word("argument", number)])
        self._leave_if(b.icmp_signed("!=", stopped, k64(0)), k64(-number - 1))

    def _copy(self, node: Node, target: Value, layout: Layout) -> None:
        part = Part("copy", None, (layout, _layout(node)))
        self._call(part, [target, self._address(node)])

    def _call(self, part: Part, addresses: Sequence[Value]) -> Value:
        """Call the function of a part, which is written once."""
        if part not in self._parts:
            self._parts[part] = emit(self.module, f"part{len(self._parts)}_{part.kind}", part)
        words = [self._word(*word) for word in part.words]
        return self._f.b.call(self._parts[part], [*addresses, *words])

    # --- groups --------------------------------------------------------------------------------------------------

    def _group(self, group: Sequence[Node]) -> Value:
        head = group[0]
        if head.op == "map":
            return self._maps(group)
        if head.op == "python":
            return self._python(head)
        plain = head.op in ("reduce", "arg", "matmul")
        layouts = tuple(_layout(node, plain) for node in (head, *head.inputs))
        words: tuple[Any, ...] = ()
        spec = head.params
        if head.op == "loop":
            name, letters = spec
            spec, words = None, (("loop", name, letters), ("data", name, letters))
        elif head.op == "matmul":
            letters = head.dtype.char * 3
            words = ("loop", "matmul", letters), ("data", "matmul", letters)
        elif head.op == "random":
            words = ("draw",), ("generator",)
        addresses = [self._place(node, plain) for node in (head, *head.inputs)]
        return self._call(Part(head.op, spec, layouts, words), addresses)

    def _place(self, node: Node, plain: bool) -> Value:
        return self._constant(node.value) if plain and node.op == "const" else self._address(node)

    def _maps(self, group: Sequence[Node]) -> Value:
        """A loop: the values that others read, then what it reads."""
        number = {node: i for i, node in enumerate(group)}
        stored = [node for node in group if node in self.plan.stored or node in self.plan.direct]
        if not stored:
            return k64(0)
        arrays = list(stored)
        steps = []
        for node in group:
            operands: list[tuple[str, Any]] = []
            for i in node.inputs:
                one = i.uniform
                if i in number:
                    operands.append(("step", number[i]))
                elif one is not None:
                    operands.append(("const", (i.dtype, np.asarray(one, i.dtype).tobytes())))
                else:
                    if i not in arrays[len(stored) :]:
                        arrays.append(i)
                    operands.append(("array", len(stored) + arrays[len(stored) :].index(i)))
            steps.append(Step(node.params, tuple(i.dtype for i in node.inputs), node.dtype, tuple(operands)))
        spec = group[0].shape, tuple(steps), tuple(number[node] for node in stored)
        part = Part("map", spec, tuple(map(_layout, arrays)))
        return self._call(part, [self._address(node) for node in arrays])

    def _python(self, node: Node) -> Value:
        """Call back into Python: a function of the call's number and the addresses of inputs and result."""
        f, b = self._f, self._f.b
        kind = ir.FunctionType(I64, [I64, PTR.as_pointer()]).as_pointer()
        addresses = f.scratch(PTR, [self._place(i, True) for i in (*node.inputs, node)])
        number = self.plan.calls.index(node)
        return b.call(b.inttoptr(self._word("python"), kind), [k64(number), addresses])


def _layout(node: Node, plain: bool = False) -> Layout:
    """Where the elements of a value are; a constant of equal elements is one element, unless ``plain``."""
    strides = node.strides
    if node.uniform is not None and not plain:
        strides = (0,) * len(strides)
    return Layout(node.shape, strides, node.dtype)


def _dense(node: Node) -> Layout:
    return Layout(node.shape, c_strides(node.shape, node.dtype.itemsize), node.dtype)
