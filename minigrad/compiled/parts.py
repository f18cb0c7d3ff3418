"""The parts of a program: one loop, product or copy each, as a function of addresses.

Two parts that do the same to arrays of the same shapes and layouts are one function, which is called with other
addresses; so the machine code of a recurrent network that is unrolled over many steps has the size of one step
(`minigrad.compiled.program`). Nothing in it depends on the process, so that it can be kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from .elementwise import combine, compute
from .graph import Key, Layout, Sizes
from .reductions import reduce
from .vectors import F64, I8, I64, PTR, Dim, Function, Ref, Value, element, k64, loops


class Part(NamedTuple):
    """What a part does.

    Attributes:
        kind: a key of `KINDS`.
        spec: what the kind has to know, hashable.
        layouts: of the arrays whose addresses are the first words: first those that it writes.
        others: how many further words there are, such as addresses of functions.
    """

    kind: str
    spec: Any
    layouts: tuple[Layout, ...]
    others: int


class Step(NamedTuple):
    """One function of the elements in a loop; operands are numbers of arrays, earlier steps or constants."""

    name: str
    dtypes: tuple[Any, ...]
    out: Any
    operands: tuple[tuple[str, Any], ...]


def emit(module: ir.Module, name: str, part: Part) -> None:
    """Write the function of a part: of the address of its words; it returns 0."""
    f = Function(module, name, [I64.as_pointer()], I64, public=True)
    size = len(part.layouts)
    given = [f.b.load(f.b.gep(f.args[0], [k64(i)])) for i in range(size + part.others)]
    refs = [Ref(f.b.inttoptr(word, PTR), *layout) for word, layout in zip(given, part.layouts, strict=False)]
    KINDS[part.kind](f, part.spec, refs, *given[size:])
    f.end(k64(0))


# --- element by element ----------------------------------------------------------------------------------------------


def _map(f: Function, spec: Any, refs: list[Ref]) -> None:
    """Functions of the elements of arrays of one shape; spec is (shape, steps, the numbers of those to store)."""
    shape, steps, stored = spec
    refs = [ref.broadcast(shape) for ref in refs]
    *outer, inner = loops(shape, refs, refs[0])
    strides = inner[1]

    def body(offsets: list[Any]) -> None:
        def piece(there: list[Any], extras: list[int], width: int) -> None:
            loaded: dict[int, Value] = {}
            results: list[Value] = []

            def operand(kind: str, which: Any) -> Value:
                if kind == "step":
                    return results[which]
                if kind == "const":
                    dtype, content = which
                    return f.number(np.frombuffer(content, dtype)[0], dtype, width)
                if which not in loaded:
                    loaded[which] = f.load(refs[which], there[which], strides[which], width, extras[which])
                return loaded[which]

            for step in steps:
                args = [operand(*each) for each in step.operands]
                results.append(compute(f, step.name, step.dtypes, step.out, args, width))
            for i, number in enumerate(stored):
                f.store(results[number], refs[i], there[i], strides[i], width, extras[i])

        f.rows(inner, offsets, piece)

    f.nest(outer, [None] * len(refs), body)


def _loop(f: Function, spec: Any, refs: list[Ref], function: Value, data: Value) -> None:
    """One of NumPy's inner loops over arrays: out, then the inputs."""
    out, *inputs = (ref.broadcast(refs[0].shape) for ref in refs)
    order = [*inputs, out]
    *outer, (n, steps) = loops(out.shape, order, out)
    pointers = f.b.inttoptr(function, PTR), f.b.inttoptr(data, PTR)

    def body(offsets: list[Any]) -> None:
        addresses = [f.at(ref.pointer, offset, I8) for ref, offset in zip(order, offsets, strict=True)]
        f.numpy_loop(pointers, addresses, [n], steps)

    f.nest(outer, [None] * len(order), body)


def _random(f: Function, spec: Any, refs: list[Ref], draw: Value, state: Value) -> None:
    """Numbers of a bit generator's own ``next_double``, in its order."""
    (out,) = refs
    function = f.b.inttoptr(draw, ir.FunctionType(F64, [PTR]).as_pointer())
    pointer = f.b.inttoptr(state, PTR)
    size = int(np.prod(out.shape, dtype=np.int64))
    f.loop(size, lambda i: f.store(f.b.call(function, [pointer]), out, f.moved(None, i, 8), 8))


# --- copies ----------------------------------------------------------------------------------------------------------


def copy(f: Function, source: Ref, target: Ref) -> None:
    """Write a copy of elements."""
    source = source.broadcast(target.shape)
    *outer, inner = loops(target.shape, [target, source], target)

    def body(offsets: list[Any]) -> None:
        def piece(there: list[Any], extras: list[int], width: int) -> None:
            value = f.load(source, there[1], inner[1][1], width, extras[1])
            f.store(value, target, there[0], inner[1][0], width, extras[0])

        f.rows(inner, offsets, piece)

    f.nest(outer, [None, None], body)


def _copy(f: Function, spec: Any, refs: list[Ref]) -> None:
    copy(f, refs[1], refs[0])


def _join(f: Function, spec: Any, refs: list[Ref]) -> None:
    """Parts of an array, each from another: spec is their (offset, shape, strides)."""
    out, *parts = refs
    for part, (offset, shape, strides) in zip(parts, spec, strict=True):
        copy(f, part, Ref(f.b.gep(out.pointer, [k64(offset)]), shape, strides, out.dtype))


def _set(f: Function, spec: Any, refs: list[Ref]) -> None:
    """An array with a part from another: spec is (offset, shape, strides)."""
    out, whole, part = refs
    copy(f, whole, out)
    _join(f, (spec,), [out, part])


# --- products --------------------------------------------------------------------------------------------------------


def _matmul(f: Function, spec: Any, refs: list[Ref], function: Value, data: Value) -> None:
    """NumPy's own product of matrices, that is the library that it was built with."""
    out, a, b = refs
    size = out.dtype.itemsize
    shape, strides = list(out.shape), list(out.strides)
    if len(b.shape) == 1:
        b = b._replace(shape=(*b.shape, 1), strides=(*b.strides, size))
        shape.append(1)
        strides.append(size)
    if len(a.shape) == 1:
        a = a._replace(shape=(1, *a.shape), strides=(a.shape[0] * size, *a.strides))
        shape.insert(len(shape) - 1, 1)
        strides.insert(len(strides) - 1, size)
    out = out._replace(shape=tuple(shape), strides=tuple(strides))
    batch = out.shape[:-2]
    outer = [ref._replace(shape=ref.shape[:-2], strides=ref.strides[:-2]).broadcast(batch) for ref in (a, b, out)]
    dims: list[Dim] = [(n, tuple(ref.strides[d] for ref in outer)) for d, n in enumerate(batch)]
    sizes = [1, a.shape[-2], a.shape[-1], b.shape[-1]]
    steps = [0, 0, 0, *a.strides[-2:], *b.strides[-2:], *out.strides[-2:]]
    pointers = f.b.inttoptr(function, PTR), f.b.inttoptr(data, PTR)

    def body(offsets: list[Any]) -> None:
        addresses = [f.at(ref.pointer, offset, I8) for ref, offset in zip(outer, offsets, strict=True)]
        f.numpy_loop(pointers, addresses, sizes, steps)

    f.nest(dims, [None, None, None], body)


# --- indices ---------------------------------------------------------------------------------------------------------

# What is done with ``width`` elements: their place in the array that is indexed, and in the part that is selected;
# each place is (ref, offset, stride, width, further bytes).
_Act = Callable[[Any, Any], None]


def _indexed(f: Function, key: Key, whole: Ref, part: Ref, indices: Sequence[Ref], flag: Value, act: _Act) -> None:
    """Loops over what a key selects; ``flag`` notes an index that is out of range, for which element 0 is taken."""
    b = f.b
    before, after = key.split
    refs = [index.broadcast(key.shape) for index in indices]
    none: Sizes = (0,) * len(refs)
    dims: list[Dim] = []
    for axis, _, step, n in before:
        dims.append((n, (part.strides[len(dims)], step * whole.strides[axis], *none)))
    for d, n in enumerate(key.shape):
        dims.append((n, (part.strides[len(dims)], 0, *(ref.strides[d] for ref in refs))))
    rest: list[Dim] = []
    for axis, _, step, n in after:
        rest.append((n, (part.strides[len(dims) + len(rest)], step * whole.strides[axis])))
    start = sum(first * whole.strides[axis] for axis, first, _, _ in key.ranges)
    whole = whole._replace(pointer=b.gep(whole.pointer, [k64(start)]))
    failed = b.inttoptr(flag, I64.as_pointer())

    def at_index(offsets: list[Any]) -> None:
        there, place, *where = offsets
        for ref, offset, axis in zip(refs, where, key.axes, strict=True):
            index, n = f.load(ref, offset, 0), whole.shape[axis]
            index = b.select(b.icmp_signed("<", index, k64(0)), b.add(index, k64(n)), index)
            wrong = b.icmp_unsigned(">=", index, k64(n))
            b.store(b.select(wrong, k64(1), b.load(failed)), failed)
            index = b.select(wrong, k64(0), index)
            place = f.moved(place, index, whole.strides[axis])
        *outer, inner = _joined(rest) or [(1, (part.dtype.itemsize, whole.dtype.itemsize))]

        def last(pair: list[Any]) -> None:
            def piece(moved: list[Any], extras: list[int], width: int) -> None:
                act(
                    (whole, moved[1], inner[1][1], width, extras[1]),
                    (part, moved[0], inner[1][0], width, extras[0]),
                )

            f.rows(inner, pair, piece)

        f.nest(outer, [there, place], last)

    f.nest(dims, [None] * (2 + len(refs)), at_index)


def _joined(dims: Sequence[Dim]) -> list[Dim]:
    """Loops, with neighbors joined where all strides allow."""
    out: list[Dim] = []
    for n, strides in dims:
        if out and all(a == n * s for a, s in zip(out[-1][1], strides, strict=True)):
            out[-1] = out[-1][0] * n, strides
        elif n != 1:
            out.append((n, strides))
    return out


def _gather(f: Function, key: Key, refs: list[Ref], flag: Value) -> None:
    """The elements at a key: refs are the result, the array, the indices."""
    out, whole, *indices = refs

    def act(source: Any, target: Any) -> None:
        f.store(f.load(*source), *target)

    _indexed(f, key, whole, out, indices, flag, act)


def _scatter(f: Function, spec: Any, refs: list[Ref], flag: Value) -> None:
    """An array with others assigned or added at a key: refs are the result, the array, the values, the indices."""
    key, how = spec
    out, whole, values, *indices = refs
    copy(f, whole, out)

    def act(target: Any, source: Any) -> None:
        ref, offset, stride, width, extra = target
        if how == "add" and width > 1 and stride != ref.dtype.itemsize:  # elements may be the same one
            step = source[2]
            for i in range(width):
                act((ref, offset, stride, 1, extra + i * stride), (*source[:3], 1, source[4] + i * step))
            return
        value = f.load(*source)
        if how == "add":
            value = combine(f, "add", ref.dtype, f.load(*target), value)
        f.store(value, *target)

    _indexed(f, key, out, values.broadcast(key.result), indices, flag, act)


def _arg(f: Function, spec: Any, refs: list[Ref]) -> None:
    """Where the first largest or smallest element along an axis is, or the first NaN; spec is (name, axis)."""
    name, axis = spec
    out, source = refs
    if not source.shape:
        f.store(k64(0), out, None, 0)
        return
    b, dtype, n, step = f.b, source.dtype, source.shape[axis], source.strides[axis]
    rest = [d for d in range(len(source.shape)) if d != axis]
    dims: list[Dim] = [(source.shape[d], (source.strides[d], out.strides[i])) for i, d in enumerate(rest)]
    best, found = f.top.alloca(element(dtype)), f.top.alloca(I64)

    def row(offsets: list[Any]) -> None:
        b.store(f.load(source, offsets[0], 0), best)
        b.store(k64(0), found)

        def look(i: Value) -> None:
            x, old = f.load(source, f.moved(offsets[0], i, step), 0), b.load(best)
            better = compute(f, "greater" if name == "argmax" else "less", (dtype, dtype), dtype, (x, old), 1)
            if dtype.kind == "f":
                better = b.or_(better, b.and_(b.fcmp_unordered("uno", x, x), b.fcmp_ordered("ord", old, old)))
                better = b.and_(better, b.fcmp_ordered("ord", old, old))
            b.store(b.select(better, x, old), best)
            b.store(b.select(better, i, b.load(found)), found)

        f.loop(n, look, start=1)
        f.store(b.load(found), out, offsets[1], 0)

    f.nest(_joined(dims), [None, None], row)


KINDS: dict[str, Callable[..., Any]] = {
    "map": _map,
    "loop": _loop,
    "random": _random,
    "copy": _copy,
    "join": _join,
    "set": _set,
    "matmul": _matmul,
    "reduce": reduce,
    "arg": _arg,
    "gather": _gather,
    "scatter": _scatter,
}
