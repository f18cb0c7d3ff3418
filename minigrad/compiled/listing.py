"""A compiled step as text: its loops and products in order, with the names of parameters."""

from __future__ import annotations

from collections.abc import Sequence

from .bound import Bound
from .graph import Node

_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "greater": ">", "greater_equal": ">=", "less": "<",
    "less_equal": "<=", "equal": "==", "not_equal": "!=", "logical_and": "and", "logical_or": "or",
}  # fmt: skip


class _Listing:
    def __init__(self, bound: Bound) -> None:
        self.bound, self.plan, self.trace = bound, bound.plan, bound.trace
        self.readers: dict[Node, int] = {}
        for node in self.plan.live:
            for i in node.inputs:
                self.readers[i] = self.readers.get(i, 0) + 1
        self.numbers = {node: i for i, node in enumerate(n for n in self.plan.live if not n.is_outside)}

    def name(self, node: Node) -> str:
        """How a value is named where it is read."""
        if node.op == "after":
            return f"{self.name(node.inputs[0])} (updated)"
        if node.op == "input":
            return self.trace.memories[node.params].name
        if node.base.op == "const":
            one = node.uniform
            return f"constant {_shape(node)}" if one is None else f"{one:.6g}" if node.dtype.kind == "f" else str(one)
        if node.op == "view":
            base = node.inputs[0]
            if node.shape == base.shape[::-1] and node.strides == base.strides[::-1]:
                return f"{self.name(base)}.T"
            return f"{self.name(base)} as {_shape(node)}"
        return f"t{self.numbers[node]}"

    def formula(self, node: Node, inside: Sequence[Node]) -> str:
        """An element-wise function, with what only it reads written out."""
        args = []
        for i in node.inputs:
            alone = i in inside and self.readers[i] == 1 and i not in self.plan.stored and i not in self.plan.direct
            text = self.formula(i, inside) if alone else self.name(i)
            args.append(f"({text})" if alone and i.params in _SIGNS else text)
        if node.params in _SIGNS:
            return f"{args[0]} {_SIGNS[node.params]} {args[1]}"
        if node.params == "negative":
            return f"-{args[0]}"
        shown = {"same": "", "cast": str(node.dtype)}.get(node.params, node.params)
        return f"{shown}({', '.join(args)})" if shown else args[0]

    def lines(self) -> list[str]:
        """The parts in order."""
        lines, number = [], 0
        for stage, groups in enumerate(self.plan.groups):
            for group in groups:
                number += 1
                lines += self.part(number, group)
            for write in self.plan.writes[stage]:
                if self.plan.direct.get(write.node) is not write.memory:
                    lines.append(f"     {write.memory.name} = {self.name(write.node)}")
            if stage < self.plan.stages - 1:
                effect = self.bound.effects[stage]
                how = f"through Python: {effect.reason}" if effect.reason else "its kernels, by address"
                lines.append(f"     step of {type(effect.update).__name__.lstrip('_')} ({how})")
        for guard in self.trace.graph.guards:
            lines.append(f"     only while {self.name(guard.node)} is {guard.expected}, else eagerly ({guard.place})")
        return lines

    def part(self, number: int, group: Sequence[Node]) -> list[str]:
        """The lines of one part."""
        head = group[0]
        kept = [node for node in group if node in self.plan.stored or node in self.plan.direct]
        if head.op == "map":
            shown = [node for node in group if node in kept or self.readers.get(node, 0) > 1]
            lines = [f"{number:3d}  for each of {_shape(head)}:"]
            for node in shown:
                place = self.place(node) if node in kept else "  (in a register)"
                lines.append(f"         t{self.numbers[node]} = {self.formula(node, group)}{place}")
            return lines
        args = ", ".join(map(self.name, head.inputs))
        what = {"loop": "", "reduce": "", "python": ""}.get(head.op, head.op)
        if head.op == "loop":
            what = head.params[0]
        elif head.op == "reduce":
            what = f"{head.params[0]} over axis {', '.join(map(str, head.params[1]))}"
        elif head.op == "python":
            what = f"Python's {getattr(head.params, '__name__', 'function')}"
        return [f"{number:3d}  t{self.numbers[head]} = {what}({args})  {_shape(head)}{self.place(head)}"]

    def place(self, node: Node) -> str:
        """Where a value is computed, if not in the workspace."""
        memory = self.plan.direct.get(node)
        return "" if memory is None else f"  -> {memory.name}"


def _shape(node: Node) -> str:
    return "x".join(map(str, node.shape)) or "one number"


def listing(bound: Bound, reason: str) -> str:
    """The text of `minigrad.compiled.step.CompiledStep.plan`."""
    written = _Listing(bound)
    lines = written.lines()
    plan, machine = bound.plan, bound.machine
    python = len(plan.calls)
    lines += [
        "",
        f"{len(plan.live)} values ({plan.trace.graph.merged} found twice), workspace of {plan.workspace:,} bytes "
        f"(all values: {plan.all_values:,}), machine code of {machine.size:,} bytes"
        + (" from the cache" if machine.cached else ""),
        "everything is native" if not python else f"{python} calls of Python",
    ]
    if plan.problem or reason:
        lines.append(f"the last call was made eagerly: {plan.problem or reason}")
    return "\n".join(lines)
