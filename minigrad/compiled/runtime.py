"""Machine code around a program: one call of it, many steps in one call, and the kernels of updates.

Each function takes the address of an array of words, whose first words are named in this file.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.native import NativeCall
from .arrays import DATA, address
from .code import Function, Value, k64, module
from .machine import machine_code

Words = np.ndarray[Any, np.dtype[np.int64]]

# Of one call: the records; how many array objects of NumPy's follow, by their addresses; and how many triples follow
# these, each the number of an object, where the address of its data goes, and a number of bytes to add.
CALL = ("records", "arrays", "uses")
# Of the kernels of an update: the status of the last run (the number of a norm that was not finite, or 0), and whether
# that ends the step; then a record for each kernel.
KERNELS = ("status", "ends")
FAILED = -1  # the status of an error inside a kernel, which has only one: no memory
# The codes with which Numba's functions return without an error: with a result, and with ``None``.
_RETURNED = (0, -2)
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

    def write() -> str:
        written = [Function(name) for name in names]
        for writer, f in zip(_WRITERS, written, strict=True):
            writer(f)
        return module(written)

    names = [writer.__name__.lstrip("_") for writer in _WRITERS]
    return machine_code("runtime", write, names).addresses


def data_problem() -> str:
    """Why addresses cannot be read from array objects; empty if they can."""
    probe = np.empty(3)
    return "" if address(probe) == probe.ctypes.data else "this NumPy keeps the addresses of arrays elsewhere"


def kernel_runner(calls: Sequence[NativeCall]) -> tuple[int, Words]:
    """The address of a function that runs kernels in order, and its `KERNELS` words.

    The function returns a number other than 0 if the step must end.
    """
    sizes = sorted({len(call.words) for call in calls})
    names = [f"kernel{size}" for size in sizes]
    machine = machine_code(f"kernels {sizes}", lambda: module([*map(_kernel, sizes)]), names)
    records: list[int] = []
    for call in calls:
        size = len(call.words)
        records += [machine.addresses[f"kernel{size}"], 3 + size, call.address, *call.words.tolist()]
    return functions()["kernels"], words(KERNELS, {}, *records, 0)


# --- writing ---------------------------------------------------------------------------------------------------------


def _run(f: Function) -> None:
    """Of records, which are called one after the other up to the first status that is not 0, which is returned."""
    f.do("br label %head\nhead:")
    record = f.op("ptr", "phi ptr [%words, %start], [%further, %next]")
    function = f.word(0, "ptr", record)
    f.do(f"br {f.op('i1', f'icmp eq {function}, null')}, label %done, label %call\ncall:")
    f.leave(f.call(function, f.place(2, record)))
    f.do(f"br label %next\nnext:\n%further = getelementptr i64, {record}, {f.word(1, at=record)}")
    f.do("br label %head\ndone:")


def _flagged(f: Function) -> None:
    """Of the address of a flag, and the status if it is set; it is cleared."""
    flag = f.word(0, "ptr")
    value = f.word(0, at=flag)
    f.put(k64(0), 0, flag)
    f.leave(f.word(1), f.compare("ne", value, k64(0)))


def _guard(f: Function) -> None:
    """Of the address of a truth value, what it has to be, and the status if it is not."""
    value = f.op("i64", f"zext {f.word(0, 'i8', f.word(0, 'ptr'))} to i64")
    f.leave(f.word(2), f.compare("ne", value, f.word(1)))


def _effect(f: Function) -> None:
    """Of the address of a function, its argument, and the number of the effect."""
    ended = f.call(f.word(0, "ptr"), f.word(1))
    f.leave(f.binary("sub", k64(-1), f.word(2)), f.compare("ne", ended, k64(0)))


def _python(f: Function) -> None:
    """Of the address of a function, a flag, the number of the call, and the addresses of its arrays."""
    failed, flag = f.call(f.word(0, "ptr"), f.word(2), f.place(3)), f.word(1, "ptr")
    f.put(f.binary("or", f.word(0, at=flag), failed), 0, flag)


def _call(f: Function) -> None:
    """Of `CALL` words."""
    records, arrays, uses = f.word(0, "ptr"), f.word(1), f.word(2)
    objects = f.place(len(CALL))
    triples = f.place(arrays, objects)

    def fill(i: Value) -> None:
        triple = f.moved(triples, i, 24)
        array = f.word(f.word(0, at=triple), "ptr", objects)
        data = f.op("ptr", f"load ptr, {f.moved(array, k64(DATA), 1)}")
        f.put(f.moved(data, f.word(2, at=triple), 1), 0, f.word(1, "ptr", triple))

    f.loop(uses, fill)
    f.leave(f.call("@run", records))


def _kernels(f: Function) -> None:
    """Of `KERNELS` words."""
    status = f.call("@run", f.place(len(KERNELS)))
    f.put(status, 0)
    f.leave(f.word(1), f.compare("ne", status, k64(0)))


def _drive(f: Function) -> None:
    """Of `DRIVE` words."""
    records, first, last = f.word(0, "ptr"), f.word(1), f.word(2)
    counts = [f.word(i) for i in range(3, len(DRIVE))]
    starts = [f.place(len(DRIVE))]
    for count, size in zip(counts, (5, 3, 3), strict=False):
        starts.append(f.moved(starts[-1], count, 8 * size))

    def step(s: Value) -> None:
        def gather(i: Value) -> None:
            item = f.moved(starts[0], i, 40)
            rows, size = f.word(0, at=item), f.word(1, at=item)
            source, target, order = (f.word(j, "ptr", item) for j in (2, 3, 4))
            numbers = f.place(f.binary("mul", s, rows), order)

            def row(r: Value) -> None:
                there = f.binary("mul", f.word(r, at=numbers), size)
                f.copy(f.moved(target, f.binary("mul", r, size), 1), f.moved(source, there, 1), size)

            f.loop(rows, row)

        def move(section: int, i: Value) -> None:
            """Copy a row of a table to where the step reads it, or the other way."""
            item = f.moved(starts[section], i, 24)
            size, source, target = f.word(0, at=item), f.word(1, "ptr", item), f.word(2, "ptr", item)
            row = f.moved((source, target)[section - 1], f.binary("mul", s, size), 1)
            f.copy(*((target, row) if section == 1 else (row, source)), size)

        def look(i: Value) -> None:
            f.leave(k64(0), f.compare("ne", f.word(0, at=f.word(i, "ptr", starts[3])), k64(0)))

        f.put(s, DRIVE.index("step"))
        f.loop(counts[0], gather)
        f.loop(counts[1], lambda i: move(1, i))
        f.leave(f.call("@run", records))
        f.loop(counts[2], lambda i: move(2, i))
        f.loop(counts[3], look)

    f.loop(last, step, start=first)
    f.put(last, DRIVE.index("step"))


def _parts(f: Function) -> None:
    """Of `PARTS` words."""

    def part(i: Value) -> None:
        f.put(i, PARTS.index("part"))
        triple = f.moved(f.place(len(PARTS)), i, 24)
        stretch, first, last = f.word(0, "ptr", triple), f.word(1, at=triple), f.word(2, at=triple)
        f.put(first, DRIVE.index("step"), stretch)
        f.put(last, DRIVE.index("last"), stretch)
        f.leave(f.call("@drive", stretch))
        f.leave(k64(0), f.compare("ne", f.word(DRIVE.index("step"), at=stretch), last))

    count = f.word(PARTS.index("parts"))
    f.loop(count, part, start=f.word(PARTS.index("part")))
    f.put(count, PARTS.index("part"))


def _kernel(words: int) -> Function:
    """Of the address of a kernel of Numba's (`minigrad.kernels.native`), and this many words, which it is given.

    Pointers are passed as integers, which are passed alike on all platforms that Numba knows. The status is 0, the
    number (from 1) of the norm that stopped the step, or `FAILED` for an error in the kernel.
    """
    f = Function(f"kernel{words}")
    result, error = f.room(1), f.room(1)
    for place in (result, error):
        f.put(k64(0), 0, place)
    given = ", ".join(str(f.word(1 + i)) for i in range(words))
    code = f.op("i32", f"call i32 {f.word(0, 'ptr').name}({result}, {error}, {given})")
    fine = f.binary("or", *(f.compare("eq", code, Value("i32", str(known))) for known in _RETURNED))
    f.leave(f.select(fine, f.word(0, at=result), k64(FAILED)))
    return f


_WRITERS = [_run, _flagged, _guard, _effect, _python, _call, _kernels, _drive, _parts]
