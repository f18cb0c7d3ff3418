"""Machine code for loops over arrays, written as the text of LLVM's intermediate language, with explicit vectors.

A `Function` is one LLVM function of the address of some words. Its methods write loads and stores of several elements
at once, loops whose bounds are known, and calls. LLVM's own loop vectorizer and unroller are not used: with loops of
known length they take minutes (see `minigrad.compiled.machine`).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .layout import Dim

LANES = 16


class Value(NamedTuple):
    """A value in a register, or a constant: its type and its name, as LLVM writes them."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


# The address of the words that a function is given.
WORDS = Value("ptr", "%words")


def k64(n: int) -> Value:
    """A 64-bit integer."""
    return Value("i64", str(int(n)))


def vector(kind: str, width: int) -> str:
    """The type of a vector of elements; of one it is the element itself."""
    return kind if width == 1 else f"<{width} x {kind}>"


def element(dtype: np.dtype[Any]) -> str:
    """The type of an element in a register."""
    if dtype.kind == "f":
        return "float" if dtype.itemsize == 4 else "double"
    return "i1" if dtype == np.bool_ else f"i{8 * dtype.itemsize}"


def stored(dtype: np.dtype[Any]) -> str:
    """The type of an element in memory."""
    return "i8" if dtype == np.bool_ else element(dtype)


def number(value: Any, dtype: np.dtype[Any], width: int = 1) -> Value:
    """A constant of equal elements."""
    if dtype.kind == "f":  # LLVM writes both kinds of floats with the bits of a double
        text = f"0x{struct.pack('>d', float(np.asarray(value, dtype))).hex()}"
    else:
        text = str(int(np.asarray(value, dtype)))
    kind = element(dtype)
    return Value(vector(kind, width), text if width == 1 else f"<{', '.join([f'{kind} {text}'] * width)}>")


class Function:
    """A function ``i64 name(ptr words)`` that is being written.

    Attributes:
        declared: the declarations of LLVM's functions that it calls.
        constants: the definitions of constants in memory that it reads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.declared: set[str] = set()
        self.constants: list[str] = []
        self._top: list[str] = []  # what is done once, at the beginning
        self._lines: list[str] = []
        self._numbers = itertools.count()

    def text(self) -> str:
        """The function, which returns 0."""
        lines = ["entry:", *self._top, "br label %start", "start:", *self._lines, "ret i64 0"]
        return "\n".join([f"define i64 @{self._name}(ptr %words) {{", *lines, "}"])

    def do(self, text: str) -> None:
        """Write an instruction without a result."""
        self._lines.append(text)

    def op(self, kind: str, text: str) -> Value:
        """Write an instruction whose result is of this type."""
        name = f"%v{next(self._numbers)}"
        self._lines.append(f"{name} = {text}")
        return Value(kind, name)

    def binary(self, instruction: str, x: Value, y: Value) -> Value:
        """Write an instruction of two operands of one type, with a result of this type."""
        return self.op(x.kind, f"{instruction} {x}, {y.name}")

    def compare(self, sign: str, x: Value, y: Value) -> Value:
        """Compare integers."""
        return self.op("i1", f"icmp {sign} {x}, {y.name}")

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        """Choose one of two values."""
        return self.op(x.kind, f"select {condition}, {x}, {y}")

    # --- memory ------------------------------------------------------------------------------------------------------

    def place(self, i: int | Value, at: Value = WORDS) -> Value:
        """The address of one of some words, which are the function's own if no other address is given."""
        return self.moved(at, k64(i) if isinstance(i, int) else i, 8)

    def word(self, i: int | Value, kind: str = "i64", at: Value = WORDS) -> Value:
        """One of some words."""
        return self.op(kind, f"load {kind}, {self.place(i, at)}")

    def put(self, value: Value, i: int | Value, at: Value = WORDS) -> None:
        """Write one of some words."""
        self.do(f"store {value}, {self.place(i, at)}")

    def moved(self, pointer: Value, i: Value, stride: int) -> Value:
        """A pointer, ``i`` times ``stride`` bytes further on."""
        if stride == 0 or i.name == "0":
            return pointer
        if not i.name.startswith("%"):
            step = k64(int(i.name) * stride)
        else:
            step = i if stride == 1 else self.op("i64", f"mul nsw {i}, {stride}")
        return self.op("ptr", f"getelementptr inbounds i8, {pointer}, {step}")

    def load(self, pointer: Value, dtype: np.dtype[Any], stride: int = 0, width: int = 1) -> Value:
        """``width`` elements that are ``stride`` bytes apart."""
        kind, size = stored(dtype), dtype.itemsize
        if width == 1 or stride == size:
            wide = vector(kind, width)
            value = self.op(wide, f"load {wide}, {pointer}, align {size}")
        elif stride == 0:
            wide, one = vector(kind, width), self.op(kind, f"load {kind}, {pointer}, align {size}")
            first = self.op(wide, f"insertelement {wide} undef, {one}, i32 0")
            value = self.op(wide, f"shufflevector {first}, {wide} undef, <{width} x i32> zeroinitializer")
        else:
            value = Value(vector(kind, width), "undef")
            for i in range(width):
                one = self.op(kind, f"load {kind}, {self.moved(pointer, k64(i), stride)}, align {size}")
                value = self.op(value.kind, f"insertelement {value}, {one}, i32 {i}")
        return self.op(vector("i1", width), f"icmp ne {value}, zeroinitializer") if dtype == np.bool_ else value

    def store(self, value: Value, pointer: Value, dtype: np.dtype[Any], stride: int = 0, width: int = 1) -> None:
        """Write ``width`` elements, ``stride`` bytes apart."""
        kind, size = stored(dtype), dtype.itemsize
        if dtype == np.bool_:
            value = self.op(vector("i8", width), f"zext {value} to {vector('i8', width)}")
        if width == 1 or stride == size:
            self.do(f"store {value}, {pointer}, align {size}")
            return
        for i in range(width):
            one = self.op(kind, f"extractelement {value}, i32 {i}")
            self.do(f"store {one}, {self.moved(pointer, k64(i), stride)}, align {size}")

    def constant(self, words: Sequence[int]) -> Value:
        """The address of some words that stay the same."""
        name = f"@{self._name}_{len(self.constants)}"
        items = ", ".join(f"i64 {word}" for word in words)
        self.constants.append(f"{name} = private constant [{len(words)} x i64] [{items}]")
        return Value("ptr", name)

    def room(self, words: int) -> Value:
        """The address of memory on the stack for some words."""
        name = f"%v{next(self._numbers)}"
        self._top.append(f"{name} = alloca [{words} x i64]")
        return Value("ptr", name)

    # --- loops -------------------------------------------------------------------------------------------------------

    def loop(
        self,
        stop: int | Value,
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
        start: int | Value = 0,
    ) -> list[Value]:
        """Run ``body(i, *carried)`` for each i from ``start`` on, below ``stop``; it returns what it is given next.

        Nothing can be carried if it is not known that the body runs.
        """
        known = isinstance(start, int) and isinstance(stop, int)
        first, limit = (k64(i) if isinstance(i, int) else i for i in (start, stop))
        if known and int(limit.name) - int(first.name) <= 1:
            return list((body(first, *carried) or ()) if first != limit else carried)
        number = next(self._numbers)
        before, head, latch, done = (f"{label}{number}" for label in ("before", "loop", "next", "done"))
        self._lines += [f"br label %{before}", f"{before}:"]
        if known:
            self.do(f"br label %{head}")
        else:
            self.do(f"br {self.compare('slt', first, limit)}, label %{head}, label %{done}")
        self.do(f"{head}:")
        i = self.op("i64", f"phi i64 [{first.name}, %{before}], [%i{number}, %{latch}]")
        place = len(self._lines)  # of the phis, which can be written once it is known what the body returns
        given = [self.op(value.kind, "") for value in carried]
        results = list(body(i, *given) or ())
        for j, (phi, begin, then) in enumerate(zip(given, carried, results, strict=True)):
            text = f"phi {phi.kind} [{begin.name}, %{before}], [{then.name}, %{latch}]"
            self._lines[place + j] = f"{phi.name} = {text}"
        self._lines += [f"br label %{latch}", f"{latch}:", f"%i{number} = add nuw nsw {i}, 1"]
        more = self.compare("slt", Value("i64", f"%i{number}"), limit)
        self._lines += [f"br {more}, label %{head}, label %{done}", f"{done}:"]
        return results

    def nest(
        self,
        dims: Sequence[Dim],
        pointers: Sequence[Value],
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """Loops within loops, the outermost first; ``body(pointers, *carried)``."""
        if not dims:
            return list(body(list(pointers), *carried) or ())
        (n, strides), rest = dims[0], dims[1:]

        def inside(i: Value, *carried: Value) -> Sequence[Value]:
            there = [self.moved(pointer, i, stride) for pointer, stride in zip(pointers, strides, strict=True)]
            return self.nest(rest, there, body, carried)

        return self.loop(n, inside, carried)

    def rows(
        self, dim: Dim, pointers: Sequence[Value], body: Callable[[list[Value], int], None], lanes: int = LANES
    ) -> None:
        """The innermost loop, by vectors: ``body(pointers, width)``."""
        n, strides = dim

        def run(first: int, count: int, width: int) -> None:
            """``count`` vectors, from element ``first`` on."""
            begin = [self.moved(pointer, k64(first), s) for pointer, s in zip(pointers, strides, strict=True)]
            steps = tuple(s * width for s in strides)
            self.nest([(count, steps)], begin, lambda there: body(there, width))

        full, width = n // lanes, lanes // 2
        first = full * lanes
        if full > 2:
            run(0, full, lanes)
        else:
            for i in range(full):
                run(i * lanes, 1, lanes)
        while first < n:  # the rest, by ever smaller vectors
            if n - first >= width:
                run(first, 1, width)
                first += width
            width //= 2

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """Run ``body()`` only if a condition is true."""
        number = next(self._numbers)
        self._lines += [f"br {condition}, label %then{number}, label %after{number}", f"then{number}:"]
        body()
        self._lines += [f"br label %after{number}", f"after{number}:"]

    def leave(self, status: Value, condition: Value | None = None) -> None:
        """Return a status if a condition is true; if none is given, if the status is not 0."""
        number = next(self._numbers)
        condition = condition or self.compare("ne", status, k64(0))
        self._lines += [f"br {condition}, label %leave{number}, label %stay{number}", f"leave{number}:"]
        self._lines += [f"ret {status}", f"stay{number}:"]

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, function: Value | str, *args: Value) -> Value:
        """Call a function that returns a status: its address or name."""
        name = function if isinstance(function, str) else function.name
        return self.op("i64", f"call i64 {name}({', '.join(map(str, args))})")

    def copy(self, target: Value, source: Value, size: Value) -> None:
        """Copy some bytes."""
        self.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.do(f"call void @llvm.memcpy.p0.p0.i64({target}, {source}, {size}, i1 0)")

    def intrinsic(self, name: str, args: Sequence[Value], dtype: np.dtype[Any], width: int) -> Value:
        """One of LLVM's own functions, of arguments of one floating type."""
        kind = args[0].kind
        full = f"@llvm.{name}.{f'v{width}' if width > 1 else ''}f{8 * dtype.itemsize}"
        self.declared.add(f"declare {kind} {full}({', '.join([kind] * len(args))})")
        return self.op(kind, f"call {kind} {full}({', '.join(map(str, args))})")

    def numpy_loop(
        self, pointers: Sequence[Value], loop: Sequence[Value], lengths: Sequence[int], strides: Sequence[int]
    ) -> None:
        """Call one of NumPy's inner loops (`minigrad.compiled.numpy_loops`): its address, and that of its data."""
        function, data = loop
        addresses = self.room(len(pointers))
        for i, pointer in enumerate(pointers):
            self.put(pointer, i, addresses)
        constants = [self.constant(words) for words in (lengths, strides)]
        self.do(f"call void {function.name}({', '.join(map(str, (addresses, *constants, data)))})")


def module(functions: Sequence[Function]) -> str:
    """The text of some functions."""
    declared = set[str]().union(*(f.declared for f in functions))
    return "\n".join([*sorted(declared), *(text for f in functions for text in (*f.constants, f.text()))])
