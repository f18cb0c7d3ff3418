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
from .arrays import DATA, address
from .kernel_calls import kernel_caller
from .machine import machine_code
from .vectors import I1, I8, I64, PTR, VOID, Function, Value, k64

Words = np.ndarray[Any, np.dtype[np.int64]]

# Of one call: the records; how many array objects of NumPy's follow, by their addresses; and how many triples follow
# these, each the number of an object, where the address of its data goes, and a number of bytes to add.
CALL = ("records", "arrays", "uses")
# Of the kernels of an update: the status of the last run (the number of a norm that was not finite, or 0), whether that
# ends the step, and how many triples follow: how many words, the address of the kernel, and of its words.
KERNELS = ("status", "ends", "kernels")
# Of many steps: the records, the next step and the last, the address to count at, and how many copies of each
# kind follow. A gather copies rows of a dataset: (rows in the batch, bytes of a row, source, target, order). A feed
# copies what a step needs from a table with a row for each step, and a log what a step has returned to one:
# (bytes, source, target).
DRIVE = ("records", "step", "last", "gathers", "feeds", "logs", "ends")
# Of parts of several such stretches in turn: the next part, and how many triples follow: the address of a stretch's
# words, the first of its steps, and the one after the last.
PARTS = ("part", "parts")


def words(names: Sequence[str], values: dict[str, int], *rest: int) -> Words:
    """An array of words: the named ones, then others."""
    return np.array([*(values.get(name, 0) for name in names), *rest], np.int64)


@functools.cache
def caller() -> Any:
    """The function that runs a program once: of the address of `CALL` words; it returns the program's status.

    The status is 0; or a positive number if a branch that Python took when the step was traced would be taken otherwise
    now (1: an index is out of range, 2 + i: guard i), in which case nothing outside has changed and the step has to be
    made eagerly; or -(k + 1) if the kernels of effect k have ended the step.
    """
    return ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(functions()["call"])  # keeps the interpreter lock


@functools.cache
def driver() -> Any:
    """The function that runs a program for many steps: of the address of `DRIVE` words; it returns the last status.

    It ends early at the first step with another status than 0, or one in which an update's kernels were stopped;
    ``step`` is that step then. The interpreter lock is free meanwhile.
    """
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(functions()["drive"])


@functools.cache
def parts_driver() -> Any:
    """The function that runs parts of stretches: of the address of `PARTS` words; it returns the last status.

    It ends early where a stretch does; ``part`` is the number of that part then.
    """
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(functions()["parts"])


@functools.cache
def functions() -> dict[str, int]:
    """The addresses of the functions of this file."""

    def write() -> tuple[ir.Module, dict[str, Any]]:
        module = ir.Module("minigrad")
        for each in (
            _write_flagged,
            _write_guard,
            _write_effect,
            _write_python,
            _write_call,
            _write_drive,
            _write_parts,
        ):
            each(module)
        return module, {}

    return machine_code("runtime", write, ["flagged", "guard", "effect", "python", "call", "drive", "parts"]).addresses


def data_problem() -> str:
    """Why addresses cannot be read from array objects; empty if they can."""
    probe = np.empty(3)
    return "" if address(probe) == probe.ctypes.data else "this NumPy keeps the addresses of arrays elsewhere"


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


def _write_flagged(module: ir.Module) -> None:
    """Of the address of a flag, and the status if it is set; it is cleared."""
    f, word, _ = _function(module, "flagged")
    flag = f.b.inttoptr(word(0), I64.as_pointer())
    fine = f.b.icmp_signed("==", f.b.load(flag), k64(0))
    f.b.store(k64(0), flag)
    f.end(f.b.select(fine, k64(0), word(1)))


def _write_guard(module: ir.Module) -> None:
    """Of the address of a truth value, what it has to be, and the status if it is not."""
    f, word, _ = _function(module, "guard")
    value = f.b.zext(f.b.load(f.b.inttoptr(word(0), I8.as_pointer())), I64)
    f.end(f.b.select(f.b.icmp_signed("==", value, word(1)), k64(0), word(2)))


def _write_effect(module: ir.Module) -> None:
    """Of the address of a function, its argument, and the number of the effect."""
    f, word, _ = _function(module, "effect")
    function = f.b.inttoptr(word(0), ir.FunctionType(I64, [I64]).as_pointer())
    ended = f.b.icmp_signed("!=", f.b.call(function, [word(1)]), k64(0))
    f.end(f.b.select(ended, f.b.sub(k64(-1), word(2)), k64(0)))


def _write_python(module: ir.Module) -> None:
    """Of the address of a function, a flag, the number of the call, and the addresses of its arrays."""
    f, word, place = _function(module, "python")
    function = f.b.inttoptr(word(0), ir.FunctionType(I64, [I64, I64.as_pointer()]).as_pointer())
    failed = f.b.call(function, [word(2), place(3)])
    flag = f.b.inttoptr(word(1), I64.as_pointer())
    f.b.store(f.b.or_(f.b.load(flag), failed), flag)
    f.end(k64(0))


def _run(f: Function, records: Value) -> Value:
    """Call the records one after the other; the first status that is not 0."""
    b = f.b
    kind = ir.FunctionType(I64, [I64]).as_pointer()
    head, call, more, done = (f.block(name) for name in ("record", "call", "more", "done"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(I64)
    at.add_incoming(records, before)
    words = b.inttoptr(at, I64.as_pointer())
    function = b.load(words)
    b.cbranch(b.icmp_signed("==", function, k64(0)), done, call)
    b.position_at_end(call)
    status = b.call(b.inttoptr(function, kind), [b.add(at, k64(16))])
    b.cbranch(b.icmp_signed("==", status, k64(0)), more, done)
    b.position_at_end(more)
    size = b.load(b.gep(words, [k64(1)]))
    at.add_incoming(b.add(at, b.mul(size, k64(8))), b.block)
    b.branch(head)
    b.position_at_end(done)
    result = b.phi(I64)
    result.add_incoming(k64(0), head)
    result.add_incoming(status, call)
    return result


def _write_call(module: ir.Module) -> None:
    f, word, _ = _function(module, "call")
    b = f.b

    def fill(i: Value) -> None:
        at = b.add(b.mul(i, k64(3)), b.add(count, k64(len(CALL))))
        array = word(b.add(word(at), k64(len(CALL))))
        data = b.load(b.inttoptr(b.add(array, k64(DATA)), I64.as_pointer()))
        target = b.inttoptr(word(b.add(at, k64(1))), I64.as_pointer())
        b.store(b.add(data, word(b.add(at, k64(2)))), target)

    count = word(CALL.index("arrays"))
    f.loop(word(CALL.index("uses")), fill)
    f.end(_run(f, word(CALL.index("records"))))


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
    records = word(DRIVE.index("records"))
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
        b.store(_run(f, records), status)
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


def _write_parts(module: ir.Module) -> None:
    f, word, place = _function(module, "parts")
    b, drive = f.b, module.globals["drive"]
    status, leaving = f.scratch(I64, [k64(0)]), f.block("leaving")

    def part(i: Value) -> None:
        b.store(i, place(PARTS.index("part")))
        at = b.add(b.mul(i, k64(3)), k64(len(PARTS)))
        address, first, last = (word(b.add(at, k64(j))) for j in range(3))
        stretch = b.inttoptr(address, I64.as_pointer())
        step = b.gep(stretch, [k64(DRIVE.index("step"))])
        b.store(first, step)
        b.store(last, b.gep(stretch, [k64(DRIVE.index("last"))]))
        b.store(b.call(drive, [address]), status)
        complete = b.and_(b.icmp_signed("==", b.load(status), k64(0)), b.icmp_signed("==", b.load(step), last))
        more = f.block("more")
        b.cbranch(complete, more, leaving)
        b.position_at_end(more)

    f.loop(word(PARTS.index("parts")), part, start=word(PARTS.index("part")))
    b.store(word(PARTS.index("parts")), place(PARTS.index("part")))
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
