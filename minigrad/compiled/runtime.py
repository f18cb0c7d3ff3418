"""Machine code around a program: one call of it, many steps in one call, and the kernels of updates.

Each function takes the address of an array of words, whose first words are named in this file.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ..kernels.native import NativeCall
from .kernel_calls import kernel_caller
from .machine import machine_code
from .vectors import I1, I64, PTR, VOID, Function, Value, k64

Words = np.ndarray[Any, np.dtype[np.int64]]

# Of one call: the body, its table, and how many pairs follow, each the address of an array object of NumPy's and the
# slot in the table for its data.
CALL = ("body", "table", "arrays")
# Of the kernels of an update: the status of the last run (the number of a norm that was not finite, or 0), whether that
# ends the step, and how many triples follow: how many words, the address of the kernel, and of its words.
KERNELS = ("status", "ends", "kernels")
# Of many steps: the body, its table, the next step and the last, the address to count at, and how many copies of each
# kind follow. A gather copies rows of a dataset: (rows in the batch, bytes of a row, source, target, order). A feed
# copies what a step needs from a table with a row for each step, and a log what a step has returned to one:
# (bytes, source, target).
DRIVE = ("body", "table", "step", "last", "gathers", "feeds", "logs", "ends")
_DATA = object.__basicsize__  # where an array object of NumPy's has the address of its data


def words(names: Sequence[str], values: dict[str, int], *rest: int) -> Words:
    """An array of words: the named ones, then others."""
    return np.array([*(values.get(name, 0) for name in names), *rest], np.int64)


def caller() -> Any:
    """The function that runs a program once: of the address of `CALL` words; it returns the program's status."""
    return _functions()[0]


def driver() -> Any:
    """The function that runs a program for many steps: of the address of `DRIVE` words; it returns the last status.

    It ends early at the first step with another status than 0, or one in which an update's kernels were stopped;
    ``step`` is that step then. The interpreter lock is free meanwhile.
    """
    return _functions()[1]


@functools.cache
def _functions() -> Any:
    def write() -> tuple[ir.Module, dict[str, Any]]:
        module = ir.Module("minigrad")
        _write_call(module)
        _write_drive(module)
        return module, {}

    machine = machine_code("runtime", write, ["call", "drive"])
    once = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.address("call"))  # keeps the interpreter lock
    return once, ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(machine.address("drive"))


def data_problem() -> str:
    """Why addresses cannot be read from array objects; empty if they can."""
    probe = np.empty(3)
    found = ctypes.c_void_p.from_address(id(probe) + _DATA).value
    return "" if found == probe.ctypes.data else "this NumPy keeps the addresses of arrays elsewhere"


def kernel_runner(calls: Sequence[NativeCall]) -> tuple[int, Words]:
    """The address of a function that runs kernels in order, and its `KERNELS` words.

    The function returns a number other than 0 if the step must end.
    """
    sizes = sorted({len(call.words) for call in calls})
    machine = machine_code(f"kernels {sizes}", lambda: (_write_kernels(sizes), {}), ["kernels"])
    triples = [number for c in calls for number in (len(c.words), c.address, c.words.ctypes.data)]
    return machine.address("kernels"), words(KERNELS, {"kernels": len(calls)}, *triples)


# --- writing ---------------------------------------------------------------------------------------------------------


def _function(module: ir.Module, name: str) -> tuple[Function, Any, Any]:
    """A function of the address of words; a way to read one, and the address of one."""
    f = Function(module, name, [I64], I64, public=True)
    base = f.b.inttoptr(f.args[0], I64.as_pointer())

    def place(i: Any) -> Value:
        return f.b.gep(base, [i if isinstance(i, ir.Value) else k64(i)])

    return f, lambda i: f.b.load(place(i)), place


def _body(f: Function, address: Value, argument: Value) -> Value:
    """Call a program."""
    return f.b.call(f.b.inttoptr(address, ir.FunctionType(I64, [I64]).as_pointer()), [argument])


def _write_call(module: ir.Module) -> None:
    f, word, _ = _function(module, "call")
    b, table = f.b, word(CALL.index("table"))
    slots = b.inttoptr(table, I64.as_pointer())

    def fill(i: Value) -> None:
        at = b.add(b.mul(i, k64(2)), k64(len(CALL)))
        data = b.inttoptr(b.add(word(at), k64(_DATA)), I64.as_pointer())
        b.store(b.load(data), b.gep(slots, [word(b.add(at, k64(1)))]))

    f.loop(word(CALL.index("arrays")), fill)
    f.end(_body(f, word(CALL.index("body")), table))


def _copier(f: Function) -> Any:
    kind = ir.FunctionType(VOID, [PTR, PTR, I64, I1])
    name = "llvm.memcpy.p0.p0.i64"
    known = f.module.globals.get(name) or ir.Function(f.module, kind, name)
    return lambda to, source, size: f.b.call(
        known, [f.b.inttoptr(to, PTR), f.b.inttoptr(source, PTR), size, ir.Constant(I1, 0)]
    )


def _write_drive(module: ir.Module) -> None:
    f, word, place = _function(module, "drive")
    b, copy = f.b, _copier(f)
    counts = [word(DRIVE.index(name)) for name in ("gathers", "feeds", "logs", "ends")]
    starts: list[Value] = [k64(len(DRIVE))]
    for count, size in zip(counts, (5, 3, 3, 1), strict=True):
        starts.append(b.add(starts[-1], b.mul(count, k64(size))))
    body, table = word(DRIVE.index("body")), word(DRIVE.index("table"))
    step_place = place(DRIVE.index("step"))
    status = f.top.alloca(I64)
    f.top.store(k64(0), status)

    def fields(start: Value, i: Value, size: int) -> list[Value]:
        at = b.add(start, b.mul(i, k64(size)))
        return [word(b.add(at, k64(j))) for j in range(size)]

    def step(s: Value) -> None:
        b.store(s, step_place)

        def gather(i: Value) -> None:
            rows, size, source, target, order = fields(starts[0], i, 5)
            numbers = b.inttoptr(order, I64.as_pointer())
            first = b.mul(s, rows)

            def row(r: Value) -> None:
                number = b.load(b.gep(numbers, [b.add(first, r)]))
                copy(b.add(target, b.mul(r, size)), b.add(source, b.mul(number, size)), size)

            f.loop(rows, row)

        def feed(i: Value) -> None:
            size, source, target = fields(starts[1], i, 3)
            copy(target, b.add(source, b.mul(s, size)), size)

        def log(i: Value) -> None:
            size, source, target = fields(starts[2], i, 3)
            copy(b.add(target, b.mul(s, size)), source, size)

        f.loop(counts[0], gather)
        f.loop(counts[1], feed)
        b.store(_body(f, body, table), status)
        leave_if(b.icmp_signed("!=", b.load(status), k64(0)))
        f.loop(counts[2], log)
        f.loop(counts[3], look)

    def look(i: Value) -> None:
        (address,) = fields(starts[3], i, 1)
        stopped = b.load(b.inttoptr(address, I64.as_pointer()))
        leave_if(b.icmp_signed("!=", stopped, k64(0)))

    leaving = f.block("leaving")

    def leave_if(condition: Value) -> None:
        stay = f.block("stay")
        b.cbranch(condition, leaving, stay)
        b.position_at_end(stay)

    f.loop(word(DRIVE.index("last")), step, start=word(DRIVE.index("step")))
    b.store(word(DRIVE.index("last")), step_place)
    b.branch(leaving)
    b.position_at_end(leaving)
    f.end(b.load(status))


def _write_kernels(sizes: Sequence[int]) -> ir.Module:
    module = ir.Module("minigrad")
    callers = [kernel_caller(module, size) for size in sizes]
    f, word, place = _function(module, "kernels")
    b = f.b
    done = f.block("done")

    def kernel(i: Value) -> None:
        at = b.add(b.mul(i, k64(3)), k64(len(KERNELS)))
        size, address, given = (word(b.add(at, k64(j))) for j in range(3))
        status = f.scratch(I64)
        for length, function in zip(sizes, callers, strict=True):
            match, after = f.block("match"), f.block("after")
            b.cbranch(b.icmp_signed("==", size, k64(length)), match, after)
            b.position_at_end(match)
            b.store(b.call(function, [address, b.inttoptr(given, I64.as_pointer())]), status)
            b.branch(after)
            b.position_at_end(after)
        b.store(b.load(status), place(KERNELS.index("status")))
        go = f.block("go")
        b.cbranch(b.icmp_signed("!=", b.load(status), k64(0)), done, go)
        b.position_at_end(go)

    b.store(k64(0), place(KERNELS.index("status")))
    f.loop(word(KERNELS.index("kernels")), kernel)
    b.branch(done)
    b.position_at_end(done)
    stopped = b.icmp_signed("!=", word(KERNELS.index("status")), k64(0))
    ends = b.icmp_signed("!=", word(KERNELS.index("ends")), k64(0))
    f.end(b.zext(b.and_(stopped, ends), I64))
    return module
