"""A program bound to memory: what runs a compiled step, and does around it what Python did in the traced one."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np
from llvmlite import ir

from .. import random
from ..autograd.graph import tick
from ..autograd.memory import UNSHARED
from ..autograd.tensor import Tensor
from ..autograd.tracing import changes
from .arrays import address
from .effects import Effect
from .fusion import ALIGN, Plan
from .graph import Node
from .machine import machine_code
from .numpy_loops import loop
from .parts import Part, emit
from .program import LATE, Code, Program
from .runtime import CALL, caller, functions, words
from .trace import Trace, has_hooks, is_watched, settings

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class GuardError(Exception):
    """A branch would be taken otherwise than in the trace; ``place`` is its line. The step has changed nothing."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class _Kept:
    """The gradient of a tensor that an optimizer has, in the memory that `minigrad.autograd.memory` gives it."""

    __slots__ = ("grad", "memory", "place", "tensor")

    def __init__(self, tensor: Tensor, memory: Any) -> None:
        assert tensor._place is not None
        self.tensor, self.place, self.memory, self.grad = tensor, tensor._place, memory, tensor._grad

    def is_shared(self) -> bool:
        """Whether somebody has kept the gradient or its array, or it has moved."""
        there = self.tensor._grad is self.grad
        return (
            getrefcount(self.grad) > UNSHARED + there
            or self.place.window is not self.memory.array
            or getrefcount(self.place.window) > UNSHARED + 2
        )


class Bound:
    """A traced step as machine code, on the memory that it was traced with.

    Attributes:
        trace, plan: of the step.
        machine: the code.
        code: the records, with the addresses of that memory.
        effects: its updates.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.plan = trace, Plan(trace)
        self.plan.arrange()
        program = Program(self.plan)
        parts = list(dict.fromkeys(record.function for record in program.records if isinstance(record.function, Part)))
        names = [f"part{i}" for i in range(len(parts))]
        self.machine = machine_code(_key(parts), lambda: (_written(parts, names), {}), names)
        addresses: dict[Any, int] = {**functions()}
        addresses |= {part: self.machine.address(name) for part, name in zip(parts, names, strict=True)}
        self.code = Code(program, addresses)
        updates = [update for update, _ in trace.updates]
        self.effects = [Effect(u, sum(u is other for other in updates) > 1) for u in updates]
        for effect, (_, layout) in zip(self.effects, trace.updates, strict=True):
            effect.bind(layout)
        self._error: BaseException | None = None
        self._callback = _CALLBACK(self._call_python)
        self._live = set(self.plan.live)
        self._draws = sum(node.size for node in self.plan.live if node.op == "random" and not self.plan.stage[node])
        self.calls_generator = any(not node.inputs for node in self.plan.calls)
        self._seen = changes[0]
        self._workspace = np.empty(self.plan.workspace + ALIGN, np.uint8)
        self._flag = np.zeros(1, np.int64)
        self._constants = [np.ascontiguousarray(np.ravel(array, order="K")) for array in program.constants]
        self._bind()
        self._bind_effects()
        self._prepare()
        self.release()

    # --- memory ------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Fill in the addresses that stay the same."""
        code = self.code
        self.draw_from(random.generator())
        for key in code.places:
            match key:
                case ("workspace",):
                    code.set(key, -(-address(self._workspace) // ALIGN) * ALIGN)
                case ("flag",):
                    code.set(key, address(self._flag))
                case ("constant", number):
                    code.set(key, address(self._constants[number]))
                case ("memory", number):
                    memory = self.trace.memories[number]
                    if memory.kind in ("data", "array"):
                        code.set(key, address(memory.array))
                case ("loop", name, letters):
                    code.set(key, loop(name, letters)[0])
                case ("data", name, letters):
                    code.set(key, loop(name, letters)[1])
                case ("python",):
                    code.set(key, ctypes.cast(self._callback, ctypes.c_void_p).value or 0)

    def draw_from(self, generator: np.random.Generator) -> None:
        """Draw random numbers from this generator from now on; by default it is minigrad's."""
        self._bits: Any = generator.bit_generator
        found = self._bits.ctypes
        self.code.set(("draw",), ctypes.cast(found.next_double, ctypes.c_void_p).value or 0)
        self.code.set(("generator",), int(found.state_address))

    def _bind_effects(self) -> None:
        """Fill in what updates call."""
        for number, effect in enumerate(self.effects):
            self.code.set(("effect", number), effect.function)
            self.code.set(("argument", number), effect.argument)

    def _prepare(self) -> None:
        """Collect what each call looks at."""
        trace = self.trace
        self.arguments = [memory for memory in trace.memories if memory.kind == "argument"]
        self.made = [(node.shape, node.dtype) for node in (*self.plan.results, *self.plan.own)]
        results, own = len(self.plan.results), len(self.plan.own)
        self.varying = [("memory", memory.node.params) for memory in self.arguments]
        self.varying += [("result", i) for i in range(results)] + [("own", i) for i in range(own)]
        triples: list[int] = []
        self._objects = []  # for each array that a call is given or makes, where the address of its object goes
        for key in self.varying:
            start = len(CALL) + len(triples)
            uses = self.code.uses(key)
            self._objects.append(range(start, start + 3 * len(uses), 3))
            triples += [number for place, offset in uses for number in (0, place, offset)]
        values = {"records": self.code.address, "arrays": len(triples) // 3}
        self._words = words(CALL, values, *triples)
        self._fields: Any = memoryview(self._words)  # type: ignore[arg-type]  # NumPy's stubs lack the buffer protocol
        self._address = address(self._words)
        self._once = caller()
        self._tensors: list[Any] = [(a.tensor, a.data, a.required) for a in trace.adopted.values()]
        self._changed = [(t, t._requires_grad) for t, _, required in self._tensors if t._requires_grad is not required]
        owned = {id(tensor) for tensor, _, _ in trace.gradients}
        self._presence: list[Any] = []
        for a in trace.adopted.values():
            read = a.gradient is not None and a.gradient.node in self._live
            if a.required and (read or not a.cleared):
                self._presence.append((a.tensor, a.present))
        self._forgotten = [a.tensor for a in trace.adopted.values() if a.cleared and id(a.tensor) not in owned]
        self._absent = [t for t, _, _ in trace.gradients if (t, False) in self._presence]
        self._kept: list[_Kept] = []
        self._own: list[Tensor] = []
        for tensor, memory, _ in trace.gradients:
            if isinstance(memory, Node):
                self._own.append(tensor)
            else:
                self._kept.append(_Kept(tensor, memory))
        self._versions = [w.memory.tensor._version for w in trace.writes if w.memory.kind == "data"]
        self._before, self._after = self._actions()
        self.has_calls = bool(self._after) or not all(isinstance(each, Effect) for each in self._before)

    def _actions(self) -> tuple[list[Any], list[Any]]:
        """What Python does before the program runs, and after it: updates by their effect, and functions."""
        actions = [(self.effects[effect] if effect is not None else call) for call, effect in self.trace.actions]
        last = max((i for i, each in enumerate(actions) if isinstance(each, Effect)), default=-1)
        return actions[: last + 1], actions[last + 1 :]

    # --- one call ----------------------------------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether modules, parameters and gradients are as they were when the step was traced."""
        if self._seen != changes[0]:
            for module, known in self.trace.modules.values():
                if has_hooks(module) or settings(module) != known:
                    return False
            self._seen = changes[0]
        for tensor, memory, required in self._tensors:
            if tensor._data is not memory.array or tensor._requires_grad is not required or tensor._hooks:
                return False
        for tensor, present in self._presence:
            grad, place = tensor._grad, tensor._place
            if (grad is not None) is not present or (present and place and grad._data is not place.window):
                return False
        return not any(is_watched(effect.update) for effect in self.effects)

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Run the step; the arrays that it returns.

        Raises:
            GuardError: if it would take another branch.
        """
        self.begin()
        made = [np.empty(shape, dtype) for shape, dtype in self.made]
        fields = self._fields
        for array, places in zip((*arrays, *made), self._objects, strict=True):
            for slot in places:
                fields[slot] = id(array)
        state = random.get_state() if self.calls_generator and self.trace.graph.guards else None
        status = self._once(self._address)
        if status:
            place = self.given_up(status)
            if state is not None:
                random.set_state(state)
            raise GuardError(place)
        self.settle(made[len(self.plan.results) :])
        for effect in self.effects:
            effect.end()
        for each in self._after:
            each()
        return made[: len(self.plan.results)]

    def begin(self) -> None:
        """Give gradients their places, and prepare updates."""
        for kept in self._kept:
            if kept.is_shared():
                self._renew()
                break
        for kept in self._kept:
            kept.tensor._grad = kept.grad
        for each in self._before:
            if not isinstance(each, Effect):
                each()
            elif not each.begin():
                self._bind_effects()

    def _renew(self) -> None:
        """Find the memory of gradients again; it is new where somebody has kept a gradient that is not added to."""
        self.release()
        adding = {id(tensor) for tensor, present in self._presence if present}
        for kept in self._kept:
            if id(kept.tensor) not in adding:
                kept.tensor._grad = None
                if getrefcount(kept.place.window) > UNSHARED:
                    kept.place.memory.renew()
        for kept in self._kept:
            kept.memory.array = kept.place.window
            kept.grad = kept.tensor._grad if id(kept.tensor) in adding else Tensor._make(kept.place.window)
            self.code.set(("memory", kept.memory.node.params), address(kept.memory.array))

    def release(self) -> None:
        """Refer to no gradient, so that Python can use their memory again."""
        for kept in self._kept:
            kept.grad = kept.memory.array = None

    def given_up(self, status: int) -> str:
        """Undo what a step that was given up has done; the line of the branch that it would have taken.

        Raises:
            Exception: the error of an update that has failed.
        """
        self.release()
        for tensor in self._absent:
            tensor._grad = None
        if status < 0:
            effect = self.effects[-status - 1]
            if effect.error is not None:
                failure, effect.error = effect.error, None
                raise failure
            effect.end()  # raises
        if status == LATE:
            raise IndexError("compile: an index is out of range after an update; parameters have changed already")
        if self._draws:
            _rewind(self._bits, self._draws)
        error, self._error = self._error, None
        if error is not None:
            return f"an error in a call of Python: {error}"
        return "an index" if status == 1 else self.trace.graph.guards[status - 2].place

    def settle(self, own: Sequence[Any]) -> None:
        """Account for a step that has run, except for its updates; ``own`` are gradients outside of a store."""
        for tensor, array in zip(self._own, own, strict=True):
            tensor._grad = Tensor._make(array)
        for tensor in self._forgotten:
            tensor._grad = None
        for tensor, required in self._changed:
            tensor._requires_grad = required
        if self._versions:
            now = tick()
            for version in self._versions:
                version[0] = now

    def _call_python(self, number: int, addresses: int) -> int:
        """A call of Python from the program."""
        try:
            node = self.plan.calls[number]
            pointers = (ctypes.c_void_p * (len(node.inputs) + 1)).from_address(addresses)
            arrays = [_array(p or 0, n) for p, n in zip(pointers, (*node.inputs, node), strict=True)]
            with np.errstate(all="ignore"):
                arrays[-1][...] = node.params(*arrays[:-1])
        except BaseException as error:
            self._error = error
            return 1
        return 0


def _key(parts: Sequence[Part]) -> str:
    """What decides the machine code of some parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _written(parts: Sequence[Part], names: Sequence[str]) -> ir.Module:
    module = ir.Module("minigrad")
    for part, name in zip(parts, names, strict=True):
        emit(module, name, part)
    return module


def _array(address: int, node: Node) -> Any:
    """The array of a node at an address."""
    low = sum(min(0, (n - 1) * s) for n, s in zip(node.shape, node.strides, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(node.shape, node.strides, strict=True)) + node.dtype.itemsize
    memory = (ctypes.c_char * (high - low)).from_address(address + low)
    return np.ndarray(node.shape, node.dtype, memory, -low, node.strides)


def _rewind(bits: Any, draws: int) -> None:
    """Take uniform numbers back that were drawn from a generator."""
    kept = bits.state
    bits.advance(2**128 - draws)
    bits.state = {**bits.state, "has_uint32": kept["has_uint32"], "uinteger": kept["uinteger"]}
