"""Arrays that compute with NumPy and record what they compute: a third kind of array beside NumPy's and CuPy's.

A `TracedArray` has a value, which NumPy computes, so shapes, dtypes, layouts and views are NumPy's own; and it has the
node of that value in the `Graph` of the trace. Primitives and their gradient rules run on these arrays unchanged, since
they reach arrays only by operators, NumPy's functions and `minigrad.devices`.

Changes in place become new values: an array that owns memory knows the node of its present values, and a view
remembers its base, which it follows. The docstring of `minigrad.compiled` follows one product from here on.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..ops.primitive import Traced
from .graph import Graph, Guard, Node, is_constant
from .layout import is_dense, same_layout

DATA = object.__basicsize__  # where an array object of NumPy's has the address of its data
_ATTRIBUTES = frozenset(["shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes", "flags"])
_METHODS = frozenset([
    "squeeze", "swapaxes", "ravel", "sum", "prod", "max", "min", "any", "all", "mean", "std", "var", "argmax", "argmin",
    "clip", "cumsum", "cumprod", "diagonal", "dot", "repeat", "round", "take", "trace",
])  # fmt: skip
_PACKAGE = str(Path(__file__).parent.parent)


class UntraceableError(RuntimeError):
    """A step does something that only works while it is carried out by Python; the text says where, and the remedy."""


class _Active(threading.local):
    """The trace of this thread.

    Attributes:
        graph: its graph, or None.
        arrays: all traced arrays that were made.
        adopt: finds the traced array for an array from outside.
    """

    graph: Graph | None = None
    arrays: list[weakref.ref[TracedArray]]
    adopt: Callable[[Any], TracedArray]


active = _Active()


@contextlib.contextmanager
def tracing(graph: Graph, adopt: Callable[[Any], TracedArray]) -> Iterator[None]:
    """A block in which what this thread computes with traced arrays is recorded in ``graph``."""
    active.graph, active.arrays, active.adopt = graph, [], adopt
    try:
        yield
    finally:
        active.graph = None
        del active.adopt
        graph.closed = True


def caller() -> str:
    """The user's line that led here, as file:line, or "?" if it is not found."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) and "numpy" not in Path(name).parts:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def address(array: Any) -> int:
    """Where the first element of an array is; a quarter of the time of ``array.ctypes.data``."""
    return ctypes.c_void_p.from_address(id(array) + DATA).value or 0


def array_at(where: int, like: Any) -> Any:
    """The array in memory at an address, with the shape, strides and dtype of ``like``."""
    ends = [(n - 1) * s for n, s in zip(like.shape, like.strides, strict=True)]
    low, high = sum(end for end in ends if end < 0), sum(end for end in ends if end > 0) + like.dtype.itemsize
    memory = (ctypes.c_char * (high - low)).from_address(where + low)
    return np.ndarray(like.shape, like.dtype, memory, -low, like.strides)


class TracedArray(NDArrayOperatorsMixin):
    """An array of a step that is being traced.

    Attributes:
        value: the array that NumPy computed.
        graph: the graph of the trace.
    """

    __slots__ = ("__weakref__", "_base", "_node", "_seen", "_version", "_where", "graph", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Any, node: Node, base: TracedArray | None = None, where: Any = None) -> None:
        assert active.graph is not None
        if value.dtype.char in "eFDgG" or value.dtype.kind not in "fiub" or not value.dtype.isnative:
            raise UntraceableError(f"{caller()}: {value.dtype} cannot be part of a compiled step")
        self.value, self.graph = value, active.graph
        self._node, self._base, self._where = node, base, where
        self._version, self._seen = 0, 0 if base is None else base._version
        active.arrays.append(weakref.ref(self))

    # --- nodes, views and changes in place -------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The node of the present values."""
        if self.graph.closed:
            raise UntraceableError(
                f"an array of shape {self.shape} was computed in a compiled step, and is used after the trace of the "
                "step has ended; return it from the step instead of keeping it"
            )
        base = self._base
        if base is not None and self._seen != base._version:
            self._node, self._seen = self.graph.view(base.node, *self._where), base._version
        return self._node

    def become(self, node: Node) -> None:
        """Have the values of ``node`` from now on; `value` has them already."""
        graph, base = self.graph, self._base
        node = graph.cast(node, self.dtype)
        if base is None:
            if node.shape != self.shape or not same_layout(self.shape, node.strides, self.strides):
                node = graph.copy(node, self.value)
            self._node = node
            self._version += 1
            return
        offset, shape, strides = self._where
        whole = base.value
        covers = offset == 0 and self.value.size == whole.size and is_dense(shape, strides, whole.itemsize)
        if covers and node.shape == shape and same_layout(shape, node.strides, strides):
            base._node = graph.view(node, 0, whole.shape, whole.strides)
        else:
            base._node = graph.add("set", (base.node, node), (offset, shape, strides), whole)
        base._version += 1

    def viewed(self, value: Any) -> TracedArray:
        """A view of this array, of which ``value`` is the array."""
        base = self if self._base is None else self._base
        where = (address(value) - address(base.value), value.shape, value.strides)
        return TracedArray(value, self.graph.view(base.node, *where), base, where)

    # --- what arrays have --------------------------------------------------------------------------------------------

    base = property(lambda self: self._base)
    real = property(lambda self: self)
    T = property(lambda self: np.transpose(self))

    def __getattr__(self, name: str) -> Any:
        """Give what NumPy's arrays have: attributes of the value, and NumPy's functions as methods."""
        if name in _ATTRIBUTES:
            return getattr(self.value, name)
        if name in _METHODS:
            return functools.partial(getattr(np, name), self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.value)))

    def __repr__(self) -> str:
        return f"<traced {self.dtype} {self.shape}>"

    def __bool__(self) -> bool:
        truth, node = bool(self.value), self.node
        if not is_constant(node):
            self.graph.guards.append(Guard(self.graph.cast(node, np.bool_), truth, caller()))
        return truth

    def _known(self, what: str) -> Any:
        """The value, if it is the same in every step."""
        return self.value if is_constant(self.node) else self.refuse(what)

    def refuse(self, what: str) -> NoReturn:
        """Raise UntraceableError for something that needs the numbers."""
        raise UntraceableError(
            f"{caller()}: {what} needs the numbers in a traced array of shape {self.shape}, which change from step to "
            "step; return the tensor from the compiled step and convert it outside, or compute with tensors"
        )

    def item(self, *args: Any) -> Any:
        return self._known(".item()").item(*args)

    def tolist(self) -> Any:
        return self._known(".tolist()").tolist()

    def __float__(self) -> float:
        return float(self._known("float()"))

    def __int__(self) -> int:
        return int(self._known("int()"))

    def __index__(self) -> int:
        return int(self._known("an index"))

    def __array__(self, *args: Any, **options: Any) -> Any:
        return np.array(self._known("a conversion to a NumPy array"), *args, **options)

    # --- methods -----------------------------------------------------------------------------------------------------

    def copy(self, order: Any = "C") -> TracedArray:
        value = self.value.copy(order)
        return TracedArray(value, self.graph.copy(self.node, value))

    def astype(self, dtype: Any, copy: bool = True) -> TracedArray:
        if np.dtype(dtype) == self.dtype and not copy:
            return self
        value = self.value.astype(dtype)
        return TracedArray(value, self.graph.copy(self.graph.cast(self.node, dtype), value))

    def view(self, dtype: Any = None) -> TracedArray:
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self.viewed(self.value.view())
        self.refuse("reading the bits as another type")

    def reshape(self, *shape: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def flatten(self) -> Any:
        return self.copy().reshape(-1)

    def fill(self, value: Any) -> None:
        self[...] = value

    def __pow__(self, other: Any) -> Any:
        # The shortcuts of ndarray.__pow__ for Python's numbers.
        short = {2: np.square, 0.5: np.sqrt, 1: np.positive, -1: np.reciprocal}
        plain = isinstance(other, int | float) and not isinstance(other, bool)
        if plain and other in short and (self.dtype.kind == "f" or (other == 2 and isinstance(other, int))):
            return short[other](self)
        return np.power(self, other)

    # --- indexing and NumPy's protocols --------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        return handlers["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        handlers["setitem"](self, key, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if any(isinstance(x, Traced) for x in inputs):  # a tensor, which records what it meets
            return NotImplemented
        return handlers["ufunc"](ufunc, method, inputs, out, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return handlers["function"](function, args, options)


# What `minigrad.compiled.functions` makes of indexing and of NumPy's protocols, by name.
handlers: dict[str, Callable[..., Any]] = {}


def plain(value: Any) -> Any:
    """A value with NumPy's arrays in place of traced ones."""
    if isinstance(value, TracedArray):
        return value.value
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    return value


def traced(value: Any, node: Node) -> TracedArray:
    """The traced array of a computed value, which may be one of NumPy's scalars."""
    return TracedArray(np.asarray(value), node)
