"""NumPy's functions on traced arrays: each computes with NumPy, and adds to the graph what it has computed.

A function without a form in the graph is called back as Python when the step runs: right, if slow (`python`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..devices.arrays import RECORDING
from .arrays import TracedArray, UntraceableError, active, caller, handlers, plain, traced
from .elementwise import is_native
from .graph import Graph, Key, Node, is_constant
from .layout import Layout, c_strides, is_dense, layout_of, reduction_loops
from .structure import build, flatten

_REDUCTIONS = frozenset(["add", "multiply", "maximum", "minimum", "logical_or", "logical_and"])


def graph() -> Graph:
    """The graph of the trace in this thread."""
    assert active.graph is not None
    return active.graph


def node_of(x: Any, dtype: Any = None) -> Node:
    """The node of an operand, as ``dtype``."""
    if isinstance(x, TracedArray):
        if x.graph is not active.graph:
            x.node  # noqa: B018 - raises
        node = x.node
    elif isinstance(x, np.ndarray) and x.ndim:
        node = active.adopt(x).node
    else:
        number = isinstance(x, int | float) and not isinstance(x, np.generic)
        node = graph().const(np.asarray(x, dtype if number else None))
    return node if dtype is None else graph().cast(node, dtype)


# --- ufuncs ----------------------------------------------------------------------------------------------------------


def ufunc(function: Any, method: str, inputs: Sequence[Any], out: Any, options: dict[str, Any]) -> Any:
    """A ufunc or one of its methods."""
    name = function.__name__
    target = out[0] if out else None
    if target is not None and not isinstance(target, TracedArray):
        raise UntraceableError(
            f"{caller()}: np.{name} writes a traced value into an array that is not part of the compiled step; return "
            "the value from the step"
        )
    if method == "at":
        return _at(name, *inputs)
    if method not in ("__call__", "reduce"):
        return _into(target, python(getattr(function, method), inputs, options))
    result = (_call if method == "__call__" else _reduce)(function, name, inputs, options)
    return _into(target, result)


def _into(target: TracedArray | None, result: Any) -> Any:
    if target is None:
        return result
    target.value[...] = result.value
    target.become(result.node)
    return target


def _call(function: Any, name: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    if any(value is not None for key, value in options.items() if key != "casting") or function.nout != 1:
        return python(function, inputs, options)
    value = np.asarray(function(*map(plain, inputs), **options))
    if name == "matmul":
        return _matmul(inputs, value)
    kinds = [x.dtype if hasattr(x, "dtype") else np.dtype(bool) if type(x) is bool else type(x) for x in inputs]
    dtypes = function.resolve_dtypes((*kinds, None), casting="unsafe")
    nodes = [node_of(x, dtype) for x, dtype in zip(inputs, dtypes, strict=False)]
    return traced(value, _map(name, nodes, dtypes, value))


def _matmul(inputs: Sequence[Any], value: Any) -> TracedArray:
    """A product; a vector is a matrix of one row or column, as NumPy's inner loop is given it."""
    nodes = a, b = [node_of(x, value.dtype) for x in inputs]
    if a.base is b.base and not np.may_share_memory(*map(plain, inputs)):
        # The library has another way for a matrix and its own transpose, which it finds by the address.
        apart = graph().add("map", (b.base,), "same", b.base, unique=True)
        nodes[1] = apart if b is b.base else graph().view(apart, b.params, b.shape, b.strides)
    whole, size = value, value.itemsize
    if len(b.shape) == 1:
        nodes[1], whole = graph().view(nodes[1], 0, (*b.shape, 1), (*b.strides, size)), whole[..., None]
    if len(a.shape) == 1:
        strides = (size * a.size, *a.strides)
        nodes[0], whole = graph().view(nodes[0], 0, (1, *a.shape), strides), whole[..., None, :]
    layout = Layout(whole.shape, tuple(s or size for s in whole.strides), value.dtype)
    product = graph().add("matmul", nodes, None, layout)
    return traced(value, graph().view(product, 0, value.shape, value.strides))


def _map(name: str, nodes: list[Node], dtypes: Sequence[Any], value: Any) -> Node:
    """The node of an element-wise function."""
    if all(node.op == "const" and node.size == 1 for node in nodes):
        return graph().const(value)
    if name == "positive":
        return graph().copy(nodes[0], value)
    if name == "multiply" and value.dtype.kind == "f":
        for factor, one in (nodes, nodes[::-1]):
            if one.uniform == 1 and factor.shape == value.shape:  # exact
                return graph().copy(factor, value)
    name = "divide" if name == "true_divide" else name
    if is_native(name, nodes[0].dtype):
        return graph().map(name, nodes, Layout(value.shape, value.strides, dtypes[-1]))
    letters = "".join(np.dtype(dtype).char for dtype in dtypes)
    return graph().add("loop", nodes, (name, letters), value)


def _reduce(function: Any, name: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    x = inputs[0]
    options = dict(options)
    axis = options.pop("axis", inputs[1] if len(inputs) > 1 else 0)
    keepdims = bool(options.pop("keepdims", False))

    def reduced(a: Any) -> Any:
        return function.reduce(a, axis=axis, keepdims=keepdims, **options)

    if any(value is not None for value in options.values()) or name not in _REDUCTIONS:
        return python(reduced, (x,), {})
    value = np.asarray(reduced(x.value))
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(sorted(a % max(x.ndim, 1) for a in given))
    source = node_of(x, np.bool_ if name.startswith("logical") else value.dtype)
    reduces = [not to for _, (to, _) in reduction_loops(layout_of(source), value.strides, axes, keepdims)]
    # Only NumPy knows the order in which it reduces floats here, as that depends on the size of its buffers.
    unknown = reduces[-1] and (sum(reduces) > 1 if name in ("maximum", "minimum") else reduces[-2:] == [True, True])
    if not x.size or (value.dtype.kind == "f" and unknown):
        return python(reduced, (x,), {})
    return traced(value, graph().add("reduce", (source,), (name, axes, keepdims), value))


# --- calls of Python -------------------------------------------------------------------------------------------------


def python(function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    """A function that is called when the step runs, with arrays that hold the values then; but a view is a view."""
    name = getattr(function, "__name__", str(function))
    if options.get("out") is not None:
        raise UntraceableError(f"{caller()}: {name} with out= cannot be part of a compiled step; leave out= away")
    leaves: list[Any] = []
    rest = flatten((tuple(args), options), leaves)

    def call(values: Iterable[Any]) -> Any:
        positional, named = build(rest, iter(values))
        return function(*positional, **named)

    value = call(map(plain, leaves))
    inputs = [leaf for leaf in leaves if isinstance(leaf, TracedArray)]
    if isinstance(value, np.ndarray) and inputs and _is_view(value, inputs[0].value):
        return inputs[0].viewed(value)
    if not isinstance(value, np.ndarray | np.generic):
        if isinstance(value, type | np.dtype | None):
            return value
        if isinstance(value, str):
            inputs[0].refuse("a text, or printing,")
        raise UntraceableError(
            f"{caller()}: {name} of a traced array gives a {type(value).__name__}; only functions that return one "
            "array can be part of a compiled step"
        )

    known = [None if isinstance(leaf, TracedArray) else leaf for leaf in leaves]  # traced arrays must not be kept

    def run(*arrays: Any) -> Any:
        given = iter(arrays)
        return call(next(given) if leaf is None else leaf for leaf in known)

    run.__name__ = name
    value = np.array(value)
    return traced(value, graph().add("python", [array.node for array in inputs], run, value, unique=True))


def _is_view(value: Any, whole: Any) -> bool:
    return value.dtype == whole.dtype and (np.shares_memory(value, whole) or (not value.size and value.base is whole))


# --- indexing --------------------------------------------------------------------------------------------------------


def _is_basic(key: Any) -> bool:
    """Whether a key selects a view."""
    items = key if isinstance(key, tuple) else (key,)
    return all(
        item is None or item is Ellipsis or (isinstance(item, slice | int | np.integer) and not isinstance(item, bool))
        for item in items
    )


def _of_view(key: Any) -> Any:
    """The key with an ellipsis, so that it gives a view of a single element too."""
    items = key if isinstance(key, tuple) else (key,)
    return items if any(item is Ellipsis for item in items) else (*items, Ellipsis)


def getitem(x: TracedArray, key: Any, order: Any = "K") -> Any:
    """``x[key]``; ``order`` is the layout of what is looked up at arrays."""
    if _is_basic(key):
        view = x.viewed(x.value[_of_view(key)])
        return view if isinstance(x.value[key], np.ndarray) else view.copy()  # NumPy makes a scalar
    value = np.asarray(x.value[plain(key)], order=order)
    found = _looked_up(x, key)
    if found is None:
        return python(lambda a, k: a[k], (x, key), {})
    part, spec, indices = found
    return traced(value, graph().add("gather", (part.node, *indices), spec, value))


def setitem(x: TracedArray, key: Any, new: Any) -> None:
    """``x[key] = new``."""
    if not _is_basic(key):
        _scatter(x, key, new, "set")
        return
    whole = key is Ellipsis or key == ()
    target = x if whole else x.viewed(x.value[_of_view(key)])
    node = node_of(new, x.dtype)
    target.value[...] = plain(new)
    if node.shape != target.shape:
        like = target.value
        if not (whole and is_dense(like.shape, like.strides, like.itemsize)):
            like = Layout(target.shape, c_strides(target.shape, x.itemsize), x.dtype)
        node = graph().map("same", (node,), like)
    target.become(node)


def _at(name: str, x: Any, key: Any, new: Any) -> None:
    if name != "add" or not isinstance(x, TracedArray):
        raise UntraceableError(f"{caller()}: np.{name}.at cannot be part of a compiled step; use minigrad's indexing")
    _scatter(x, key, new, "add")


def _scatter(x: TracedArray, key: Any, new: Any, how: str) -> None:
    def scattered(whole: Any, new: Any, key: Any) -> Any:
        if how == "set":
            whole[key] = new
        else:
            np.add.at(whole, key, new)
        return whole

    found = _looked_up(x, key)
    if found is None:
        _into(x, python(lambda whole, *rest: scattered(whole.copy(), *rest), (x, new, key), {}))
        return
    part, spec, indices = found
    source = node_of(new, x.dtype)
    scattered(x.value, plain(new), plain(key))
    dense = Layout(part.shape, c_strides(part.shape, x.itemsize), x.dtype)
    part.become(graph().add("scatter", (part.node, source, *indices), (spec, how), dense))


def _looked_up(x: TracedArray, key: Any) -> tuple[TracedArray, Key, list[Node]] | None:
    """An index with arrays: its slices as a view, then the `Key` in that view, and the nodes of the arrays.

    It is None if an axis is inserted beside arrays.
    """
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        if isinstance(item, TracedArray) and item.dtype == np.bool_ and is_constant(item.node):
            item = item.value
        elif isinstance(item, TracedArray) and item.dtype == np.bool_:
            raise UntraceableError(
                f"{caller()}: a mask as an index gives a result whose size depends on the values, so the step cannot "
                "be compiled; use where(mask, x, 0), or multiply by the mask"
            )
        known = isinstance(item, np.ndarray) and item.dtype == np.bool_ and item.ndim
        items += item.nonzero() if known else [np.asarray(item)] if isinstance(item, list) else [item]
    if any(item is None for item in items):
        return None
    for place, item in enumerate(items):
        if item is Ellipsis:
            items[place : place + 1] = [slice(None)] * (x.ndim - len(items) + 1)
            break
    axes = [axis for axis, item in enumerate(items) if not isinstance(item, slice)]
    indices = [
        node_of(i if isinstance(i, TracedArray) else np.asarray(i), np.int64) for i in map(items.__getitem__, axes)
    ]
    slices = tuple(item if isinstance(item, slice) else slice(None) for item in items)
    adjacent = axes == list(range(axes[0], axes[-1] + 1))
    shape = np.broadcast_shapes(*(index.shape for index in indices))
    part = x if all(each == slice(None) for each in slices) else x.viewed(x.value[slices])
    return part, Key(tuple(axes), shape, axes[0] if adjacent else 0), indices


# --- NumPy's functions -----------------------------------------------------------------------------------------------


def _reshape(x: Any, shape: Any, **options: Any) -> Any:
    """A view, of a copy where that has to be."""
    if options:
        return python(np.reshape, (x, shape), options)
    whole = x if np.shares_memory(np.reshape(x.value, shape), x.value) or not x.size else x.copy()
    return whole.viewed(np.reshape(whole.value, shape))


def _where(condition: Any, a: Any, b: Any) -> Any:
    value = np.where(plain(condition), plain(a), plain(b))
    nodes = [node_of(condition, np.bool_), node_of(a, value.dtype), node_of(b, value.dtype)]
    return traced(value, graph().map("where", nodes, value))


def _concatenate(values: Sequence[Any], axis: int = 0) -> Any:
    value = np.concatenate([plain(x) for x in values], axis)
    axis %= value.ndim
    places, start = [], 0
    for x in values:
        places.append((start * value.strides[axis], np.shape(plain(x)), value.strides))
        start += np.shape(plain(x))[axis]
    return traced(value, graph().add("join", [node_of(x, value.dtype) for x in values], tuple(places), value))


def _full_like(x: Any, fill: Any, dtype: Any = None, shape: Any = None) -> Any:
    value = np.full_like(plain(x), plain(fill), dtype=dtype, shape=shape)
    if isinstance(fill, TracedArray):
        return traced(value, graph().map("same", (node_of(fill, value.dtype),), value))
    return traced(value, graph().const(value))


def _take(x: Any, indices: Any, axis: int | None = None) -> Any:
    key = indices if isinstance(indices, TracedArray) else np.asarray(indices)
    x = x if isinstance(x, TracedArray) else active.adopt(x)
    if axis is None:
        return x.reshape(-1)[key]
    return getitem(x, (slice(None),) * (axis % x.ndim) + (key,), "C")


def _arg(function: Any, best: Any) -> Callable[..., Any]:
    """``argmax`` or ``argmin``: the first place of the best, or of a NaN."""

    def handler(x: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Any:
        if not isinstance(x, TracedArray) or not x.ndim or not x.size or out is not None or (axis is None and keepdims):
            return python(function, (x, axis, out), {"keepdims": keepdims})
        x, axis = (x.reshape(-1), 0) if axis is None else (x, axis % x.ndim)
        n = x.shape[axis]
        places = np.arange(n).reshape(-1, *(1,) * (x.ndim - 1 - axis))
        found = (x == best.reduce(x, axis=axis, keepdims=True)) | (x != x)
        return np.where(found, places, n).min(axis=axis, keepdims=keepdims)

    return handler


def _reduction(function: Any) -> Callable[..., Any]:
    return lambda x, axis=None, **options: function.reduce(x, axis=axis, **options)


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return x.sum(axis, keepdims=keepdims) / math.prod(x.shape[a] for a in axes)


def _count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return x.astype(np.bool_).astype(np.int64).sum(axis=axis, keepdims=keepdims)


def _copyto(target: Any, source: Any) -> None:
    target[...] = source


def _round(x: Any, decimals: int = 0) -> Any:
    return np.rint(x) if x.dtype.kind == "f" and not decimals else python(np.round, (x, decimals), {})


def _property(function: Any) -> Callable[..., Any]:
    return lambda x, *args: function(plain(x), *args)


# Every other function is called as Python when the step runs, unless it gives a view.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.concatenate: _concatenate,
    np.stack: lambda values, axis=0: _concatenate([np.expand_dims(x, axis) for x in values], axis),
    np.full_like: _full_like,
    np.zeros_like: lambda x, dtype=None, shape=None: _full_like(x, 0, dtype, shape),
    np.ones_like: lambda x, dtype=None, shape=None: _full_like(x, 1, dtype, shape),
    np.reshape: _reshape,
    np.ravel: lambda x: x.reshape(-1),
    np.round: _round,
    np.mean: _mean,
    np.argmax: _arg(np.argmax, np.maximum),
    np.argmin: _arg(np.argmin, np.minimum),
    np.count_nonzero: _count_nonzero,
    np.take: _take,
    np.copyto: _copyto,
    np.copy: lambda x, order="K": x.copy(order),
}
for _function, _ufunc in (
    (np.sum, np.add), (np.prod, np.multiply), (np.max, np.maximum), (np.min, np.minimum),
    (np.any, np.logical_or), (np.all, np.logical_and),
):  # fmt: skip
    FUNCTIONS[_function] = _reduction(_ufunc)
FUNCTIONS |= {each: _property(each) for each in (np.shape, np.ndim, np.size, np.iscomplexobj)}


# --- what makes arrays -----------------------------------------------------------------------------------------------


def _constant(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    own = is_dense(value.shape, value.strides, value.itemsize)
    return TracedArray(value, graph().const(value)) if own else active.adopt(value)


class _Grid:
    def __getitem__(self, key: Any) -> Any:
        grids = np.ogrid[key]
        return tuple(map(_constant, grids)) if isinstance(grids, tuple) else _constant(grids)


class Library:
    """NumPy for a step that is traced: the arrays that it makes are part of the step."""

    ogrid = _Grid()

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def made(*args: Any, **options: Any) -> Any:
            given = any(isinstance(x, TracedArray) for x in args)
            return function(*args, **options) if given else _constant(function(*args, **options))

        return made

    @staticmethod
    def created(x: Any) -> Any:
        """An array, or a number, that the step has just made."""
        return x if isinstance(x, TracedArray) else _constant(np.asarray(x))

    @staticmethod
    def asarray(x: Any, dtype: Any = None) -> Any:
        """An array as it is, or as a part of the step."""
        if isinstance(x, np.ndarray) and x.ndim:
            x = active.adopt(x)
        if isinstance(x, TracedArray):
            return x if dtype is None else x.astype(dtype, copy=False)
        return _constant(np.asarray(x, dtype))

    array = asarray


library = Library()


class Generator:
    """minigrad's generator of random numbers, for a step that is traced."""

    def __init__(self, real: np.random.Generator) -> None:
        self._real = real

    def random(self, size: Any = (), dtype: Any = np.float64) -> Any:
        """Uniform numbers, which the compiled step draws itself."""
        if np.dtype(dtype) != np.float64:
            return self._drawn("random", size, dtype)
        value = np.asarray(self._real.random(size))
        return TracedArray(value, graph().add("random", (), None, value, unique=True))

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._drawn, name)

    def _drawn(self, name: str, *args: Any, **options: Any) -> Any:
        return python(getattr(self._real, name), args, options)


def function(function: Any, args: Any, options: dict[str, Any]) -> Any:
    """One of NumPy's functions."""
    handler = FUNCTIONS.get(function)
    return python(function, args, options) if handler is None else handler(*args, **options)


handlers.update(getitem=getitem, setitem=setitem, ufunc=ufunc, function=function)
RECORDING[TracedArray] = library
