"""Machine code for loops over arrays, written as LLVM's intermediate language with explicit vectors.

A `Function` is one LLVM function of addresses. Its methods write loads and stores of several elements at once, loops
whose bounds are known, and calls. LLVM's own loop vectorizer and unroller are not used: with loops of known length they
take minutes (see `minigrad.compiled.machine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from .layout import Layout, Sizes

I1, I8, I32, I64 = (ir.IntType(n) for n in (1, 8, 32, 64))
F32, F64, VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()
PTR = I8.as_pointer()
LANES = 16

Value = Any  # of llvmlite.ir, which has no types
# A loop: how often, and by how many bytes each address moves.
Dim = tuple[int, Sizes]


def element(dtype: np.dtype[Any]) -> Any:
    """The type of an element in a register."""
    if dtype == np.bool_:
        return I1
    return {"f4": F32, "f8": F64}.get(dtype.str[1:]) or ir.IntType(8 * dtype.itemsize)


def vector(kind: Any, width: int) -> Any:
    """A vector of elements; of one it is the element itself."""
    return kind if width == 1 else ir.VectorType(kind, width)


def k64(n: int) -> Value:
    """A 64-bit integer."""
    return ir.Constant(I64, int(n))


class Ref(NamedTuple):
    """Elements in memory: the address of the first, and where the others are."""

    pointer: Value
    shape: Sizes
    strides: Sizes
    dtype: np.dtype[Any]

    def broadcast(self, shape: Sizes) -> Ref:
        """The same elements, repeated to a shape."""
        extra = len(shape) - len(self.shape)
        strides = tuple(0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True))
        return self._replace(shape=shape, strides=(0,) * extra + strides)


def loops(shape: Sizes, refs: Sequence[Ref | Layout], lead: Ref | Layout) -> list[Dim]:
    """Loops over a shape, from the largest stride of ``lead`` to the smallest; axes are joined where all strides allow.

    There is at least one loop.
    """
    order = sorted((d for d in range(len(shape)) if shape[d] != 1), key=lambda d: -abs(lead.strides[d]))
    joined: list[Dim] = []
    for d in order:
        n, strides = shape[d], tuple(ref.strides[d] for ref in refs)
        if joined and all(outer == n * inner for outer, inner in zip(joined[-1][1], strides, strict=True)):
            joined[-1] = joined[-1][0] * n, strides
        else:
            joined.append((n, strides))
    return joined or [(1, tuple(ref.dtype.itemsize for ref in refs))]


class Function:
    """An LLVM function that is being written.

    Args:
        module: to which it is added.
        name: its name.
        kinds: the types of its arguments.
        returns: the type of its result.
        public: whether it can be found by its name in machine code.
    """

    def __init__(
        self, module: ir.Module, name: str, kinds: Sequence[Any], returns: Any = VOID, public: bool = False
    ) -> None:
        self.module = module
        self.function = ir.Function(module, ir.FunctionType(returns, kinds), name)
        if not public:
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")  # compile time grows with the number of different functions only
        self.args: Sequence[Value] = self.function.args
        self._entry = self.function.append_basic_block("entry")
        self.top = ir.IRBuilder(self._entry)  # what is done once, at the beginning
        start = self.function.append_basic_block("start")
        self.b = ir.IRBuilder(start)
        self._start = start

    def end(self, result: Value | None = None) -> ir.Function:
        """Return from the function, which is then complete."""
        if result is None:
            self.b.ret_void()
        else:
            self.b.ret(result)
        self.top.branch(self._start)
        return self.function

    def block(self, name: str) -> Any:
        """A new basic block."""
        return self.function.append_basic_block(name)

    # --- memory --------------------------------------------------------------------------------------------------

    def at(self, pointer: Value, offset: Value | None, kind: Any, extra: int = 0) -> Value:
        """A typed pointer, ``offset`` and ``extra`` bytes on."""
        if extra:
            pointer = self.b.gep(pointer, [k64(extra)], inbounds=True)
        if offset is not None:
            pointer = self.b.gep(pointer, [offset], inbounds=True)
        return self.b.bitcast(pointer, kind.as_pointer())

    def load(self, ref: Ref, offset: Value | None, stride: int, width: int = 1, extra: int = 0) -> Value:
        """``width`` elements that are ``stride`` bytes apart."""
        b, kind, size = self.b, element(ref.dtype), ref.dtype.itemsize
        stored = I8 if kind is I1 else kind
        if width > 1 and stride == size:
            value = b.load(self.at(ref.pointer, offset, vector(stored, width), extra), align=size)
        elif width == 1 or stride == 0:
            value = b.load(self.at(ref.pointer, offset, stored, extra), align=size)
        else:
            value = ir.Constant(vector(stored, width), ir.Undefined)
            for i in range(width):
                one = b.load(self.at(ref.pointer, offset, stored, extra + i * stride), align=size)
                value = b.insert_element(value, one, ir.Constant(I32, i))
        if kind is I1:
            value = b.icmp_unsigned("!=", value, ir.Constant(value.type, None if _is_vector(value) else 0))
        return self.splat(value, width) if width > 1 and not _is_vector(value) else value

    def store(self, value: Value, ref: Ref, offset: Value | None, stride: int, width: int = 1, extra: int = 0) -> None:
        """Write ``width`` elements, ``stride`` bytes apart."""
        b, size = self.b, ref.dtype.itemsize
        if ref.dtype == np.bool_:
            value = b.zext(value, vector(I8, width))
        if width == 1 or stride == size:
            b.store(value, self.at(ref.pointer, offset, value.type, extra), align=size)
            return
        for i in range(width):
            one = b.extract_element(value, ir.Constant(I32, i))
            b.store(one, self.at(ref.pointer, offset, one.type, extra + i * stride), align=size)

    def splat(self, value: Value, width: int) -> Value:
        """A vector of equal elements."""
        if width == 1:
            return value
        kind = ir.VectorType(value.type, width)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, width), [0] * width)
        return self.b.shuffle_vector(first, ir.Constant(kind, ir.Undefined), mask)

    def number(self, value: Any, dtype: np.dtype[Any], width: int = 1) -> Value:
        """A constant."""
        kind = element(dtype)
        plain = np.asarray(value, dtype).reshape(())[()]
        constant = float(plain) if kind in (F32, F64) else int(plain)
        return ir.Constant(vector(kind, width), constant if width == 1 else [constant] * width)

    # --- loops -----------------------------------------------------------------------------------------------------

    def loop(self, stop: int | Value, body: Callable[[Value], None], start: int | Value = 0) -> None:
        """Run ``body(i)`` for each i from ``start`` on, below ``stop``; numbers or values."""
        known = isinstance(start, int) and isinstance(stop, int)
        if known and stop - start <= 1:
            if stop > start:
                body(k64(start))
            return
        b = self.b
        first, limit = (k64(n) if isinstance(n, int) else n for n in (start, stop))
        head, done = self.block("loop"), self.block("done")
        before = b.block
        if known:
            b.branch(head)
        else:
            b.cbranch(b.icmp_signed("<", first, limit), head, done)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(first, before)
        body(i)
        after = b.add(i, k64(1), flags=("nuw", "nsw"))
        i.add_incoming(after, b.block)
        b.cbranch(b.icmp_signed("<", after, limit), head, done)
        b.position_at_end(done)

    def moved(self, offset: Value | None, i: Value, stride: int) -> Value | None:
        """An offset, ``i`` strides further on."""
        if stride == 0 or (isinstance(i, ir.Constant) and i.constant == 0):
            return offset
        step = self.b.mul(i, k64(stride), flags=("nsw",))
        return step if offset is None else self.b.add(offset, step, flags=("nsw",))

    def nest(self, dims: Sequence[Dim], offsets: Sequence[Value | None], body: Callable[[list[Any]], None]) -> None:
        """Loops within loops; ``body`` is given the offset of each address."""
        if not dims:
            body(list(offsets))
            return
        (n, strides), rest = dims[0], dims[1:]
        self.loop(
            n, lambda i: self.nest(rest, [self.moved(o, i, s) for o, s in zip(offsets, strides, strict=True)], body)
        )

    def rows(
        self,
        dim: Dim,
        offsets: Sequence[Value | None],
        body: Callable[[list[Any], list[int], int], None],
        lanes: int = LANES,
    ) -> None:
        """The innermost loop, by vectors: ``body(offsets, extras, width)``, where extras are further bytes."""
        n, strides = dim
        full, rest = divmod(n, lanes)

        def run(i: Value | None, start: int, width: int) -> None:
            there = list(offsets)
            if i is not None:
                there = [self.moved(o, i, s * lanes) for o, s in zip(offsets, strides, strict=True)]
            body(there, [s * start for s in strides], width)

        if full <= 2:
            for i in range(full):
                run(None, i * lanes, lanes)
        else:
            self.loop(full, lambda i: run(i, 0, lanes))
        start, width = full * lanes, lanes // 2
        while rest:
            if rest >= width:
                run(None, start, width)
                start, rest = start + width, rest - width
            width //= 2

    # --- calls -----------------------------------------------------------------------------------------------------

    def intrinsic(self, name: str, args: Sequence[Value]) -> Value:
        """One of LLVM's own functions, of arguments of one floating type."""
        kind = args[0].type
        lane = kind.element if _is_vector(args[0]) else kind
        count = f"v{kind.count}" if _is_vector(args[0]) else ""
        full = f"llvm.{name}.{count}{'f32' if lane == F32 else 'f64'}"
        function = self.module.globals.get(full)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(kind, [kind] * len(args)), full)
        return self.b.call(function, args)

    def scratch(self, kind: Any, values: Iterable[Value] = (), size: int = 1) -> Value:
        """Memory on the stack, with these values."""
        given = list(values)
        place = self.top.alloca(kind, max(size, len(given)))
        for i, value in enumerate(given):
            self.b.store(value, self.b.gep(place, [k64(i)]))
        return place

    def numpy_loop(
        self, loop: tuple[Value, Value], addresses: Sequence[Value], sizes: Sequence[Any], steps: Sequence[Any]
    ) -> None:
        """Call one of NumPy's inner loops (`minigrad.compiled.numpy_loops`): its address, and that of its data."""
        b, (function, data) = self.b, loop
        kind = ir.FunctionType(VOID, [PTR.as_pointer(), I64.as_pointer(), I64.as_pointer(), PTR])
        numbers = [[n if isinstance(n, ir.Value) else k64(n) for n in each] for each in (sizes, steps)]
        places = [self.scratch(PTR, addresses), *(self.scratch(I64, each) for each in numbers)]
        b.call(b.bitcast(function, kind.as_pointer()), [*places, data])


def _is_vector(value: Value) -> bool:
    return isinstance(value.type, ir.VectorType)
