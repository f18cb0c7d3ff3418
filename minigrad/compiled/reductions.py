"""Sums, products, extremes and logical reductions in machine code, in NumPy's own order.

NumPy adds floats that are neighbors in memory, or the innermost axis, in pairs: 8 running sums over blocks of at most
128 elements, and halves of longer rows recursively (numpy/_core/src/umath/loops_utils.h.src). Along other axes it adds
row after row. The cases in which its order depends on the size of its buffers are left to Python
(`minigrad.compiled.functions`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from .elementwise import combine
from .graph import reduction_order
from .vectors import I8, I32, I64, PTR, Dim, Function, Ref, Value, element, k64, vector

_PAIRS, _BLOCK = 8, 128
# The number that a reduction begins with, but for extremes, which begin with the first element. Thus -0.0 sums to 0.0.
_IDENTITY = {"add": 0, "multiply": 1, "logical_or": 0, "logical_and": 1}


def reduce(f: Function, spec: Any, refs: list[Ref], *loop: Value) -> None:
    """Write a reduction of ``refs[1]`` into ``refs[0]``; spec is (name, axes, keepdims).

    For extremes of floats ``loop`` is NumPy's inner loop, whose order decides about the sign of zero.
    """
    name, axes, keepdims = spec
    out, source = refs
    strides, place = [], 0
    for d in range(len(source.shape)):  # the strides of the result along the axes of the source, 0 where reduced
        strides.append(0 if d in axes else out.strides[place])
        place += d not in axes or keepdims
    target = Ref(out.pointer, source.shape, tuple(strides), out.dtype)
    dims = _dims(source, target, axes)
    if dims[-1][1]:
        _inner(f, name, dims, source, target, loop)
    else:
        _outer(f, name, dims, source, target)


def _dims(source: Ref, target: Ref, axes: tuple[int, ...]) -> list[tuple[Dim, bool]]:
    """Loops over the source in NumPy's order, and whether each is reduced."""
    dims: list[tuple[Dim, bool]] = []
    for d in reduction_order(source.shape, source.strides):
        n, strides, reduced = source.shape[d], (source.strides[d], target.strides[d]), d in axes
        if dims and dims[-1][1] == reduced and all(a == n * s for a, s in zip(dims[-1][0][1], strides, strict=True)):
            dims[-1] = (dims[-1][0][0] * n, strides), reduced
        else:
            dims.append(((n, strides), reduced))
    return dims or [((1, (source.dtype.itemsize, 0)), True)]


def _inner(
    f: Function, name: str, dims: list[tuple[Dim, bool]], source: Ref, target: Ref, loop: tuple[Value, ...]
) -> None:
    """Reduce rows whose elements are nearest to each other."""
    n, (stride, _) = dims[-1][0]
    several = any(reduced for _, reduced in dims[:-1])
    dtype = source.dtype
    first = _IDENTITY.get(name)

    def row(offsets: list[Any]) -> None:
        if loop:
            value = _fold(f, name, source, offsets[0], n, stride, None)
            f.store(value, target, offsets[1], 0)
            with f.b.if_then(f.b.fcmp_unordered("ueq", value, f.number(0, dtype)), likely=False):  # also of NaN
                f.store(f.load(source, offsets[0], 0), target, offsets[1], 0)
                out, rest = f.at(target.pointer, offsets[1], I8), f.at(source.pointer, offsets[0], I8, stride)
                f.numpy_loop(
                    (f.b.inttoptr(loop[0], PTR), f.b.inttoptr(loop[1], PTR)), [out, rest, out], [n - 1], [0, stride, 0]
                )
            return
        start = f.load(target, offsets[1], 0) if several else None if first is None else f.number(first, dtype)
        if name == "add" and dtype.kind == "f":
            function = _pairwise(f, dtype, stride == dtype.itemsize)
            total = f.b.call(function, [f.at(source.pointer, offsets[0], I8), k64(n), k64(stride)])
            total = f.b.fadd(start, total)
        else:
            total = _fold(f, name, source, offsets[0], n, stride, start)
        f.store(total, target, offsets[1], 0)

    outer = [dim for dim, _ in dims[:-1]]
    if several:
        _begin(f, name, outer, source, target)
    f.nest(outer, [None, None], row)


def _begin(f: Function, name: str, outer: list[Dim], source: Ref, target: Ref) -> None:
    """Write what a reduction over several axes begins with: its identity, or the first element of each row."""
    first = _IDENTITY.get(name)
    kept = [dim for dim in outer if dim[1][1]]

    def begin(offsets: list[Any]) -> None:
        value = f.load(source, offsets[0], 0) if first is None else f.number(first, source.dtype)
        f.store(value, target, offsets[1], 0)

    f.nest(kept, [None, None], begin)


def _outer(f: Function, name: str, dims: list[tuple[Dim, bool]], source: Ref, target: Ref) -> None:
    """Reduce row after row, with many results side by side."""
    inner = dims[-1][0]
    kept = [dim for dim, reduced in dims[:-1] if not reduced]
    reduced = [dim for dim, reduced in dims[:-1] if reduced]
    first = _IDENTITY.get(name)
    dtype, strides = source.dtype, inner[1]

    def columns(offsets: list[Any]) -> None:
        def piece(there: list[Any], extras: list[int], width: int) -> None:
            total = f.top.alloca(vector(element(dtype), width))

            def value(offset: Any) -> Value:
                return f.load(source, offset, strides[0], width, extras[0])

            def add(offset: Any) -> None:
                f.b.store(combine(f, name, dtype, f.b.load(total), value(offset)), total)

            f.b.store(value(there[0]) if first is None else f.number(first, dtype, width), total)
            f.nest(reduced, [there[0], None], lambda moved: add(moved[0]))
            f.store(f.b.load(total), target, there[1], strides[1], width, extras[1])

        f.rows(inner, offsets, piece, 32)

    f.nest(kept, [None, None], columns)


def _fold(f: Function, name: str, source: Ref, offset: Any, n: int, stride: int, start: Value | None) -> Value:
    """A reduction of a row, after ``start``: in order if that matters, else in 8 lanes, and then these."""
    dtype, b = source.dtype, f.b
    ordered = name == "multiply" and dtype.kind == "f"
    width = 8 if n >= 8 and stride == dtype.itemsize and not ordered else 1
    place = f.top.alloca(vector(element(dtype), width))
    begun = start is not None and width == 1
    b.store(start if begun else f.load(source, offset, stride, width), place)

    def add(i: Value) -> None:
        there = f.moved(offset, i, width * stride)
        b.store(combine(f, name, dtype, b.load(place), f.load(source, there, stride, width)), place)

    f.loop(n // width, add, start=0 if begun else 1)
    value = b.load(place)
    if width == 1:
        return value
    parts = [b.extract_element(value, ir.Constant(I32, j)) for j in range(width)]
    parts += [f.load(source, offset, stride, 1, i * stride) for i in range(n // width * width, n)]
    if start is not None:
        parts.append(start)
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [combine(f, name, dtype, x, y) for x, y in pairs] + parts[len(parts) // 2 * 2 :]
    return parts[0]


def _pairwise(f: Function, dtype: np.dtype[Any], contiguous: bool) -> Any:
    """NumPy's pairwise sum as a function of an address, a number of elements and their distance in bytes."""
    name = f"pairwise_{dtype.name}_{'neighbors' if contiguous else 'apart'}"
    known = f.module.globals.get(name)
    if known is not None:
        return known
    kind, size = element(dtype), dtype.itemsize
    g = Function(f.module, name, [PTR, I64, I64], kind)
    b, (start, n, stride) = g.b, g.args
    step = k64(size) if contiguous else stride
    wide = ir.VectorType(kind, _PAIRS)
    total, lanes, done = g.top.alloca(kind), g.top.alloca(wide), g.top.alloca(I64)

    def item(i: Value) -> Value:
        return b.load(g.at(start, b.mul(i, step), kind), align=size)

    def eight(i: Value) -> Value:
        if contiguous:
            return b.load(g.at(start, b.mul(i, step), wide), align=size)
        value = ir.Constant(wide, ir.Undefined)
        for j in range(_PAIRS):
            value = b.insert_element(value, item(b.add(i, k64(j))), ir.Constant(I32, j))
        return value

    few, more, block, halves, rest = (g.block(each) for each in ("few", "more", "block", "halves", "rest"))
    b.cbranch(b.icmp_signed("<", n, k64(_PAIRS)), few, more)
    b.position_at_end(few)
    b.store(ir.Constant(kind, -0.0), total)
    b.store(k64(0), done)
    b.branch(rest)
    b.position_at_end(more)
    b.cbranch(b.icmp_signed("<=", n, k64(_BLOCK)), block, halves)
    b.position_at_end(block)
    b.store(eight(k64(0)), lanes)
    whole = b.sub(n, b.and_(n, k64(_PAIRS - 1)))
    b.store(whole, done)
    g.loop(
        b.sdiv(whole, k64(_PAIRS)),
        lambda i: b.store(b.fadd(b.load(lanes), eight(b.mul(i, k64(_PAIRS)))), lanes),
        start=k64(1),
    )
    r = [b.extract_element(b.load(lanes), ir.Constant(I32, j)) for j in range(_PAIRS)]
    while len(r) > 1:  # ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
        r = [b.fadd(x, y) for x, y in zip(r[::2], r[1::2], strict=True)]
    b.store(r[0], total)
    b.branch(rest)
    b.position_at_end(halves)
    half = b.sdiv(n, k64(2))
    half = b.sub(half, b.srem(half, k64(_PAIRS)))
    left = b.call(g.function, [start, half, stride])
    right = b.call(g.function, [b.gep(start, [b.mul(half, step)]), b.sub(n, half), stride])
    b.ret(b.fadd(left, right))
    b.position_at_end(rest)
    g.loop(n, lambda i: b.store(b.fadd(b.load(total), item(i)), total), start=b.load(done))
    return g.end(b.load(total))
