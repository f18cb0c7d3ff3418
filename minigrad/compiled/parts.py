"""The parts of a program: one loop or product each, as a function of addresses.

Two parts that do the same to arrays of the same shapes and layouts are one function, which is called with other
addresses; so the machine code of a recurrent network that is unrolled over many steps has the size of one step
(`minigrad.compiled.program`). Nothing in it depends on the process, so that it can be kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .code import Function, Value, element, k64, module, number
from .elementwise import compute
from .layout import Dim, Layout, Sizes, joined, loops


class Part(NamedTuple):
    """What a part does: a key of `KINDS`, what that has to know (hashable), and how many words it is given."""

    kind: str
    spec: Any
    words: int


class Step(NamedTuple):
    """One function of the elements in a loop; operands are numbers of arrays, earlier steps or constants."""

    name: str
    dtypes: tuple[Any, ...]
    out: Any
    operands: tuple[tuple[str, Any], ...]


def written(names: Sequence[str], parts: Sequence[Part]) -> str:
    """The text of the functions of parts, under these names."""
    functions = [Function(name) for name in names]
    for f, part in zip(functions, parts, strict=True):
        KINDS[part.kind](f, part.spec, [f.word(i, "ptr") for i in range(part.words)])
    return module(functions)


def _map(f: Function, spec: tuple[tuple[Layout, ...], tuple[Step, ...], Sizes], pointers: list[Value]) -> None:
    """Functions of the elements of arrays: the layouts of those that are written and of those that are read, the
    functions, and the numbers of those whose results are written."""
    layouts, steps, kept = spec
    layouts = tuple(layout.broadcast(layouts[0].shape) for layout in layouts)
    *outer, inner = loops(layouts, layouts[0])
    strides = inner[1]

    def piece(there: list[Value], width: int) -> None:
        loaded: dict[int, Value] = {}
        results: list[Value] = []

        def operand(kind: str, which: Any) -> Value:
            if kind == "step":
                return results[which]
            if kind == "const":
                dtype, content = which
                return number(np.frombuffer(content, dtype)[0], dtype, width)
            if which not in loaded:
                loaded[which] = f.load(there[which], layouts[which].dtype, strides[which], width)
            return loaded[which]

        for step in steps:
            args = [operand(*each) for each in step.operands]
            results.append(compute(f, step.name, step.dtypes, step.out, args, width))
        for i, which in enumerate(kept):
            f.store(results[which], there[i], layouts[i].dtype, strides[i], width)

    f.nest(outer, pointers, lambda there: f.rows(inner, there, piece))


def _columns(f: Function, spec: tuple[str, Any, Any, Sequence[Dim]], pointers: list[Value]) -> None:
    """Reduce row after row, with many results side by side: a function, the bytes of the number to begin with (or
    None for the first row), the dtype, and the loops of `reduction_loops`. The result comes before its source."""
    name, first, dtype, dims = spec
    *outer, inner = dims
    kept = [dim for dim in outer if dim[1][0]]
    reduced = [dim for dim in outer if not dim[1][0]]

    def piece(there: list[Value], width: int) -> None:
        out, source = there
        to, step = inner[1]

        def row(at: list[Value], total: Value) -> list[Value]:
            value = f.load(at[1], dtype, step, width)
            return [compute(f, name, (dtype, dtype), dtype, (total, value), width)]

        if first is None:
            begin = f.load(source, dtype, step, width)
        else:
            begin = number(np.frombuffer(first, dtype)[0], dtype, width)
        (total,) = f.nest(reduced, there, row, [begin])
        f.store(total, out, dtype, to, width)

    f.nest(kept, pointers, lambda there: f.rows(inner, there, piece, 32))


def _rows(f: Function, spec: tuple[str, Any, Sequence[Dim]], pointers: list[Value]) -> None:
    """Reduce rows in NumPy's order: a function, the dtype, and the loops of `reduction_loops`, of which the last is a
    row. The words are the addresses of the result and its source, and of NumPy's inner loop and its data."""
    name, dtype, (*outer, (n, (_, step))) = spec
    lanes = 8 if n >= 8 else 1

    def combined(x: Value, y: Value, width: int = 1) -> Value:
        return compute(f, name, (dtype, dtype), dtype, (x, y), width)

    def row(there: list[Value]) -> None:
        out, at = there

        def further(i: Value, total: Value) -> list[Value]:
            return [combined(total, f.load(f.moved(at, i, lanes * step), dtype, step, lanes), lanes)]

        (total,) = f.loop(n // lanes, further, [f.load(at, dtype, step, lanes)], start=1)
        parts = [total]
        if lanes > 1:
            parts = [f.op(element(dtype), f"extractelement {total}, i32 {i}") for i in range(lanes)]
        while len(parts) > 1:  # ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
            parts = [combined(x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        (total,) = parts
        for i in range(n // lanes * lanes, n):
            total = combined(total, f.load(f.moved(at, k64(i), step), dtype))
        if name == "add":
            total = combined(number(0, dtype), total)  # so that -0.0 sums to 0.0
        f.store(total, out, dtype)
        if name != "add" and dtype.kind == "f":  # of zeros of both signs, and of NaNs, NumPy's order decides which

            def again() -> None:
                f.store(f.load(at, dtype), out, dtype)
                f.numpy_loop([out, f.moved(at, k64(1), step), out], pointers[2:], [n - 1], [0, step, 0])

            f.when(f.op("i1", f"fcmp ueq {total}, {number(0, dtype).name}"), again)

    f.nest(outer, pointers[:2], row)


def _numpy(f: Function, spec: tuple[Sequence[Dim], Sizes, Sizes], pointers: list[Value]) -> None:
    """One of NumPy's inner loops, called again and again in outer loops.

    Spec has these, then the numbers that the inner loop is given: lengths and strides. The words are the addresses of
    its arrays, then its own and that of its data.
    """
    dims, lengths, strides = spec
    f.nest(dims, pointers[:-2], lambda there: f.numpy_loop(there, pointers[-2:], lengths, strides))


def _random(f: Function, size: int, pointers: list[Value]) -> None:
    """Numbers of a bit generator's own ``next_double``, in its order: where to, that function and its argument."""
    out, function, state = pointers

    def draw(i: Value) -> None:
        f.put(f.op("double", f"call double {function.name}({state})"), i, out)

    f.loop(size, draw)


def _indexed(f: Function, spec: tuple[str, Any, Layout, Layout, Any], pointers: list[Value]) -> None:
    """Look up, set or add elements at a key (`minigrad.compiled.graph.Key`).

    Spec is ``"get"``, ``"set"`` or ``"add"``, the key, the layouts of the array that is indexed and of the elements,
    and those of the index arrays. The words are their addresses, and that of a flag for an index out of range.
    """
    how, key, whole, part, indices = spec
    dtype = whole.dtype
    *arrays, flag = pointers
    others = [d for d in range(len(whole.shape)) if d not in key.axes]
    dims: list[Dim] = [(whole.shape[d], (0, whole.strides[d], *(0 for _ in indices))) for d in others]
    places = [index.broadcast(key.shape).strides for index in indices]
    dims[key.first : key.first] = [(n, (0, 0, *(s[d] for s in places))) for d, n in enumerate(key.shape)]
    dims = [(n, (to, *strides[1:])) for (n, strides), to in zip(dims, part.strides, strict=True)]
    count = key.first + len(key.shape)
    *outer, inner = joined((n, strides[:2]) for n, strides in dims[count:]) or [(1, (dtype.itemsize,) * 2)]

    def at(there: list[Value]) -> None:
        part, place, *numbers = there
        for pointer, layout, axis in zip(numbers, indices, key.axes, strict=True):
            n, index = k64(whole.shape[axis]), f.load(pointer, layout.dtype)
            index = f.select(f.compare("slt", index, k64(0)), f.binary("add", index, n), index)
            wrong = f.compare("uge", index, n)
            f.put(f.select(wrong, k64(1), f.word(0, at=flag)), 0, flag)
            place = f.moved(place, f.select(wrong, k64(0), index), whole.strides[axis])
        f.nest(outer, [part, place], lambda pair: f.rows(inner, pair, piece))

    def piece(there: list[Value], width: int) -> None:
        near, far = there
        if how == "get":
            f.store(f.load(far, dtype, inner[1][1], width), near, dtype, inner[1][0], width)
            return
        value = f.load(near, dtype, inner[1][0], width)
        if how == "add":
            old = f.load(far, dtype, inner[1][1], width)
            value = compute(f, "add", (dtype, dtype), dtype, (old, value), width)
        f.store(value, far, dtype, inner[1][1], width)

    f.nest(dims[:count], arrays, at)


KINDS: dict[str, Callable[..., Any]] = {
    "map": _map,
    "columns": _columns,
    "rows": _rows,
    "numpy": _numpy,
    "random": _random,
    "indexed": _indexed,
}
