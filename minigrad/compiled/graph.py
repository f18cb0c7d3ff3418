"""The graph of a training step: values, each with what computes it and with the memory layout that NumPy gave it.

A `Node` is a value that depends only on its inputs. Shapes, dtypes and strides are NumPy's own answers, because the
step was carried out while it was traced. Nodes are listed in the order in which they were computed, and equal ones are
one node. Nothing here assumes a processor: the graph can be evaluated by NumPy (`minigrad.compiled.reference`) or
emitted for any target.

On a GPU (a design; it is not written yet): LLVM can emit PTX from the same `minigrad.compiled.parts`, with ``mul.rn``
and ``add.rn`` so that nothing is contracted, and CuPy or the driver loads it. For small models a step is one kernel of
one block: its records are walked by all threads, the inner loop of a part is divided among them, ``bar.sync`` separates
records, and the workspace is in shared memory (227 kB on an H100, 18 kB are used by an MLP 64-32-10); an epoch is one
launch, and a sweep has a block per run. NumPy's inner loops and its products have no counterpart there: ``exp`` and the
like need separate versions in a fixed order of operations, and small products tiles in registers. For large models
the parts are separate launches around cuBLAS (its own handle with a preset workspace), captured as a CUDA graph by the
driver API, because CuPy refuses to capture its calls of cuBLAS. The kernels of updates are `numba.cuda`'s, as today.

======== ==============================================================================================================
op       value, and ``params``
======== ==============================================================================================================
input    memory from outside; its number among the trace's inputs
after    the same memory once an effect (such as an optimizer's update) has changed it; the number of the effect
const    a constant array, in ``value``
view     other strides on the memory of its input; the offset in bytes
map      a function of each element, inputs broadcast; its name. The processor computes it as NumPy does
loop     a function of each element by NumPy's own inner loop; (name, type letters)
reduce   a sum, product, extreme or logical reduction; (name, axes, keepdims)
matmul   a matrix product, as ``np.matmul``
gather   ``x[key]`` with arrays of indices; a `Key`
scatter  its first input with the second assigned or added at a key; (`Key`, "set" or "add")
set      its first input with the second in place of a view of it; (offset, shape, strides)
join     its inputs side by side; for each of them (offset, shape, strides)
random   uniform numbers of float64 from minigrad's generator
python   a call of a NumPy function that has no other form here; the function
======== ==============================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .layout import Layout, Sizes, c_strides, is_dense, same_layout


class Node:
    """A value of the graph; the table above says what its ``op`` and ``params`` mean.

    Attributes:
        inputs: the nodes that it is computed from.
        shape, strides, dtype: of the array that NumPy would make.
        value: of a constant.
        number: its place in the order of computation.
        stage: how many effects come before it.
    """

    __slots__ = ("dtype", "inputs", "number", "op", "params", "shape", "stage", "strides", "value")

    def __init__(
        self, op: str, inputs: Sequence[Node], params: Any, shape: Sizes, strides: Sizes, dtype: Any, value: Any = None
    ) -> None:
        self.op, self.inputs, self.params, self.value = op, tuple(inputs), params, value
        self.shape, self.strides, self.dtype = tuple(shape), tuple(strides), np.dtype(dtype)
        self.number = self.stage = 0

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self.size * self.dtype.itemsize

    @property
    def base(self) -> Node:
        """The node that has the memory of a view, or the node itself."""
        return self.inputs[0] if self.op == "view" else self

    @property
    def is_outside(self) -> bool:
        """Whether its memory exists before the step runs."""
        return self.op in ("input", "after", "const")

    @property
    def uniform(self) -> Any:
        """The number that all elements of a constant are, or ``None``."""
        if self.op == "view":
            return self.inputs[0].uniform
        if self.op != "const" or not self.size:
            return None
        first = self.value.flat[0]
        raw = self.value.ravel(order="K")
        same = self.size == 1 or raw.tobytes() == first.tobytes() * self.size  # bits, as -0.0 == 0.0
        return first if same else None

    def __repr__(self) -> str:
        return f"<{self.number}: {self.op} of {[i.number for i in self.inputs]}, {self.dtype} {self.shape}>"


class Key(NamedTuple):
    """An index with arrays; all other axes are selected whole.

    Attributes:
        axes: the axes that index arrays select from, one each.
        shape: the common shape of the index arrays.
        first: the axis of the result at which that shape stands.
    """

    axes: Sizes
    shape: Sizes
    first: int

    def result(self, whole: Sizes) -> Sizes:
        """The shape of what is selected from an array."""
        others = [n for d, n in enumerate(whole) if d not in self.axes]
        return (*others[: self.first], *self.shape, *others[self.first :])


class Guard(NamedTuple):
    """A branch that Python took: the step is only the same while ``node`` is ``expected``; ``place`` is file:line."""

    node: Node
    expected: bool
    place: str


def is_constant(node: Node) -> bool:
    """Whether a value is the same whenever it is computed."""
    stack, seen = [node], {node}
    while stack:
        node = stack.pop()
        if node.op in ("input", "after", "random") or (node.op == "python" and not node.inputs):
            return False
        stack += [each for each in node.inputs if each not in seen]
        seen.update(node.inputs)
    return True


class Graph:
    """The values of a step.

    Attributes:
        nodes: in the order of computation.
        guards: the branches that Python took.
        effects: how many effects there have been so far.
        closed: whether the trace is over; arrays that it made can no longer be used then.
        merged: how often a value was found to be computed already.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.guards: list[Guard] = []
        self.effects = 0
        self.closed = False
        self.merged = 0
        self._known: dict[Any, Node] = {}

    def add(
        self, op: str, inputs: Sequence[Node], params: Any, like: Any, value: Any = None, unique: bool = False
    ) -> Node:
        """The node for a value with the shape, strides and dtype of ``like``; a known one unless ``unique``."""
        node = Node(op, inputs, params, like.shape, like.strides, like.dtype, value)
        assert node.is_outside or op == "view" or is_dense(node.shape, node.strides, node.dtype.itemsize), node
        if not unique:
            content = None if value is None else value.tobytes(order="A")
            key = (op, *map(id, inputs), params, node.shape, node.strides, node.dtype, content)
            found = self._known.setdefault(key, node)
            if found is not node:
                self.merged += 1
                return found
        node.number, node.stage = len(self.nodes), self.effects
        self.nodes.append(node)
        return node

    def const(self, value: Any) -> Node:
        """A constant; its values are copied."""
        value = np.array(value)
        return self.add("const", (), None, value, value)

    def map(self, name: str, inputs: Sequence[Node], like: Any) -> Node:
        """A function of each element; of constants, with the layout of a new array."""
        return self.add("map", inputs, name, like)

    def cast(self, node: Node, dtype: Any) -> Node:
        """The same elements in another dtype, laid out as ``astype`` does."""
        dtype = np.dtype(dtype)
        if node.dtype == dtype:
            return node
        if node.op == "const":
            return self.const(node.value.astype(dtype))
        ratio = tuple(s // node.dtype.itemsize * dtype.itemsize for s in node.strides)
        if node.op == "view" or not is_dense(node.shape, ratio, dtype.itemsize):
            ratio = c_strides(node.shape, dtype.itemsize)
        return self.map("cast", (node,), Layout(node.shape, ratio, dtype))

    def view(self, base: Node, offset: int, shape: Sizes, strides: Sizes) -> Node:
        """Other strides on the memory of ``base``, from a number of bytes on."""
        if offset == 0 and shape == base.shape and same_layout(shape, strides, base.strides):
            return base
        if base.op == "view":
            return self.view(base.inputs[0], offset + base.params, shape, strides)
        if base.op == "const" and math.prod(shape) == 1:
            memory = base.value.ravel(order="K")
            return self.const(np.array(np.ndarray(shape, base.dtype, memory, offset, strides), order="K"))
        return self.add("view", (base,), offset, Layout(shape, strides, base.dtype))

    def copy(self, node: Node, like: Any) -> Node:
        """The same elements in new memory, broadcast to the shape of ``like`` and laid out as it is."""
        computed = node.op not in ("view", "input", "after")
        if computed and node.shape == like.shape and same_layout(node.shape, node.strides, like.strides):
            return node
        return self.map("same", (node,), Layout(like.shape, like.strides, node.dtype))
