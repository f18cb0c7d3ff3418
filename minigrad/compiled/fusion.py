"""What is computed together, and where values are stored.

Functions of elements over one shape and layout become one loop, as far as they do not wait for a result from outside of
it. Values that only their own loop reads stay in registers; the others share one workspace, in which memory is used
again once its value has been read for the last time. A gradient is computed directly in the memory of its parameter's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .graph import Guard, Node
from .layout import c_strides, same_layout
from .trace import Memory, Trace

# Bytes between values in the workspace: a cache line.
ALIGN = 64
# How many loops back a function looks for one that it can join.
_REACH = 32


class Plan:
    """The order of a step's work and the places of its values.

    Attributes:
        trace: the trace.
        live: the nodes that the step needs, in order.
        groups: what is computed together, in order: functions of elements, or a single other node; by stage.
        stored: the offset in the workspace of each value that has one.
        direct: the values that are computed in the memory of a gradient.
        workspace: bytes.
        decided: the first stage's group after which the step can no longer be given up.
        draws: how many random numbers are drawn until then.
        all_values: the bytes of all values, if each had its own memory.
        problem: why the step cannot be compiled; usually empty.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.problem = trace, ""
        graph = trace.graph
        self.stages = graph.effects + 1
        self.writes = [[w for w in trace.writes if w.stage == stage] for stage in range(self.stages)]
        self.results = [result.node for result in trace.results if result.node is not None]
        self.own = [node for _, node, _ in trace.gradients if isinstance(node, Node)]
        self._ends = [*self.results, *self.own, *(write.node for write in trace.writes)]
        roots = [*self._ends, *(guard.node for guard in graph.guards)]
        roots += [node for node in graph.nodes if node.op == "random" or (node.op == "python" and not node.inputs)]
        needed = _ancestors(roots)
        self.live = [node for node in graph.nodes if node in needed]
        self.calls = [node for node in self.live if node.op == "python"]
        self.stage = {node: node.stage for node in self.live}
        self._hoist(graph.guards)

    def _hoist(self, guards: Sequence[Guard]) -> None:
        """Compute the conditions of branches before the first effect, as after it the step cannot be given up."""
        for guard in guards:
            for node in _ancestors([guard.node]):
                late = node.op == "after" or (node.stage and node.op == "random")
                outside = node.op == "input" and self.trace.memories[node.params].kind != "argument"
                if late or (node.stage and outside):
                    self.problem = f"{guard.place}: a branch depends on a value that is computed after an update"
                self.stage[node] = 0

    # --- groups ------------------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        """Form the groups and give values their places."""
        self.groups: list[list[list[Node]]] = []
        computed = [node for node in self.live if not node.is_outside and node.op != "view"]
        for stage in range(self.stages):
            groups = self._grouped([node for node in computed if self.stage[node] == stage])
            self.groups.append([sorted(group, key=lambda node: node.number) for group in groups if group])
        self._computed_in = {
            node: stage for stage, groups in enumerate(self.groups) for group in groups for node in group
        }
        self._place()

    def _grouped(self, nodes: Sequence[Node]) -> list[list[Node]]:
        groups: list[list[Node]] = []
        where: dict[Node, int] = {}
        for node in nodes:
            earliest = 0
            for i in node.inputs:
                g = where.get(i.base)
                if g is not None:
                    together = node.op == "map" and i.op == "map" and i.shape == node.shape and _fits(groups[g], node)
                    earliest = max(earliest, g if together else g + 1)
            found = None
            if node.op == "map":
                back = range(len(groups) - 1, max(earliest, len(groups) - _REACH) - 1, -1)
                found = next((g for g in back if _fits(groups[g], node)), None)
            if found is None:
                found = len(groups)
                groups.append([])
            groups[found].append(node)
            where[node] = found
        self._sink(nodes, groups, where)
        return groups

    def _sink(self, nodes: Sequence[Node], groups: list[list[Node]], where: dict[Node, int]) -> None:
        """Move a function to the only loop that reads it, rather than through memory."""
        readers: dict[Node, list[Node]] = {}
        pinned = {node.base for node in self._ends} | {guard.node.base for guard in self.trace.graph.guards}
        for node in self.live:
            for i in node.inputs:
                readers.setdefault(i, []).append(node)
                if node.op == "view" or self.stage[node] != self.stage.get(i):
                    pinned.add(i)
        for node in reversed(nodes):
            if node.op != "map" or node in pinned:
                continue
            there = {where.get(reader, -1) for reader in readers.get(node, ())}
            if len(there) != 1:
                continue
            (g,) = there
            if (
                g >= 0
                and g != where[node]
                and all(r.shape == node.shape for r in readers[node])
                and _fits(groups[g], node)
            ):
                groups[where[node]].remove(node)
                groups[g].append(node)
                where[node] = g

    # --- memory ------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        order = [group for groups in self.groups for group in groups]
        time = {node: t for t, group in enumerate(order) for node in group}
        ends = [sum(len(groups) for groups in self.groups[: stage + 1]) for stage in range(self.stages)]
        last: dict[Node, int] = {}
        needed: set[Node] = set()

        def read(node: Node, when: int) -> None:
            base = node.base
            if not base.is_outside:
                needed.add(base)
                last[base] = max(last.get(base, 0), when)

        for t, group in enumerate(order):
            for node in group:
                if node.op != "map":
                    needed.add(node)
                last[node] = max(last.get(node, 0), t)
                for i in node.inputs:
                    if i.op == "view" or node.op != "map" or time.get(i) != t:
                        read(i, t)
        for guard in self.trace.graph.guards:
            read(guard.node, ends[0])
        for write in self.trace.writes:
            read(write.node, ends[write.stage])
        for node in (*self.results, *self.own):
            read(node, len(order) + 1)
        self.decided = max((t for t, group in enumerate(self.groups[0]) if can_fail(group)), default=-1)
        for guard in self.trace.graph.guards:
            self.decided = max(self.decided, time.get(guard.node.base, -1))
        drawn = [n for n in self.live if n.op == "random" and time[n] <= self.decided and not self.stage[n]]
        self.draws = sum(node.size for node in drawn)
        self.direct: dict[Node, Memory] = {}
        self._choose_direct(last, ends, time)
        self.stored: dict[Node, int] = {}
        self.all_values = 0
        space = _Space()
        dying: dict[int, list[Node]] = {}
        for t, group in enumerate(order):
            for node in group:
                if node in needed and node not in self.direct:
                    self.all_values += node.nbytes
                    self.stored[node] = space.take(node.nbytes)
                    dying.setdefault(last[node], []).append(node)
            for node in dying.get(t, ()):
                space.give(self.stored[node], node.nbytes)
        self.workspace = space.size

    def _choose_direct(self, last: dict[Node, int], ends: Sequence[int], time: dict[Node, int]) -> None:
        """Find the gradients that can be computed where they are kept."""
        live = set(self.live)
        for write in self.trace.writes:
            node, memory = write.node, write.memory
            plain = c_strides(node.shape, node.dtype.itemsize)
            if (
                memory.kind == "gradient"
                and memory.node not in live  # the old one is not read
                and self._computed_in.get(node) == write.stage
                and self.decided < time[node]  # before, the old one must stay, as the step may be given up
                and last[node] <= ends[write.stage]
                and node not in self.direct
                and same_layout(node.shape, node.strides, plain)
            ):
                self.direct[node] = memory


def can_fail(group: Sequence[Node]) -> bool:
    """Whether a group looks up indices that the step computes or is given, or calls Python."""
    head = group[0]
    given = {"gather": head.inputs[1:], "scatter": head.inputs[2:]}.get(head.op, ())
    return head.op == "python" or any(index.base.op != "const" for index in given)


def _ancestors(nodes: Iterable[Node]) -> set[Node]:
    """The nodes and everything that they depend on."""
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.inputs)
    return found


def _fits(group: Sequence[Node], node: Node) -> bool:
    """Whether a function can be computed in the loop of a group: of the same shape and order in memory."""
    if not group:
        return False
    first = group[0]
    if first.op != "map" or first.shape != node.shape:
        return False
    a, b = first.dtype.itemsize, node.dtype.itemsize
    return all(n == 1 or s * b == t * a for n, s, t in zip(node.shape, first.strides, node.strides, strict=True))


class _Space:
    """Memory that is given out in pieces and taken back."""

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # offset and size, in order

    def take(self, nbytes: int) -> int:
        """The offset of a piece: the smallest free one that is large enough."""
        size = _rounded(nbytes)
        fitting = min((piece for piece in self._free if piece[1] >= size), key=lambda piece: piece[1], default=None)
        if fitting is None:
            self.size += size
            return self.size - size
        self._free.remove(fitting)
        if fitting[1] > size:
            self._free.append((fitting[0] + size, fitting[1] - size))
        return fitting[0]

    def give(self, offset: int, nbytes: int) -> None:
        """Take a piece back."""
        self._free.append((offset, _rounded(nbytes)))
        joined: list[tuple[int, int]] = []
        for start, size in sorted(self._free):
            if joined and sum(joined[-1]) == start:
                joined[-1] = joined[-1][0], joined[-1][1] + size
            else:
                joined.append((start, size))
        self._free = joined


def _rounded(nbytes: int) -> int:
    return -(-max(nbytes, 1) // ALIGN) * ALIGN
