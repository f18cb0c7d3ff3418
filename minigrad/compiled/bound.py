"""A program bound to memory: what runs a compiled step, and does around it what Python did in the traced one."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from .. import random
from ..autograd.graph import tick
from ..autograd.memory import UNSHARED
from ..autograd.tensor import Tensor
from ..autograd.tracing import changes
from ..kernels.layout import NotSerialError
from ..kernels.native import NotNativeError, native_calls
from .fusion import ALIGN, Plan
from .graph import Node
from .machine import machine_code
from .numpy_loops import loop
from .program import Program
from .runtime import CALL, KERNELS, caller, kernel_runner, words
from .trace import Trace, settings

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_EFFECT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


class GuardError(Exception):
    """A branch would be taken otherwise than in the trace; ``place`` is its line. The step has changed nothing."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


class Effect:
    """The kernels of one update: called by address, or through Python where that is not possible.

    Attributes:
        update: the update.
        layout: the layout that is bound.
        reason: why Python has to call the kernels; empty if it does not.
        words: of `minigrad.compiled.runtime.KERNELS`.
        function, argument: what the program calls: an address, and the word it is given.
    """

    def __init__(self, update: Any, repeated: bool) -> None:
        self.update, self._repeated = update, repeated
        self.layout: Any = None
        self.error: BaseException | None = None
        self._calls: Any = None
        self._callback = _EFFECT(self._run)

    def bind(self, layout: Any) -> None:
        """Call the kernels of this layout from now on."""
        self.layout, self.reason = layout, ""
        try:
            if self._repeated:
                raise NotSerialError("the optimizer steps more than once in a step")
            self._calls = layout.serial_calls()
            self._native = native_calls(layout)
            self.function, self.words = kernel_runner(self._native)
            policies = {norm.nonfinite for norm in layout.plan.norms}
            self.words[KERNELS.index("ends")] = "raise" in policies
            self.argument = self.words.ctypes.data
        except (NotNativeError, NotSerialError) as error:
            self.reason = str(error)
            self.function, self.argument = ctypes.cast(self._callback, ctypes.c_void_p).value or 0, 0

    def is_bound_to(self, layout: Any) -> bool:
        """Whether nothing has changed since `bind`."""
        if layout is not self.layout:
            return False
        if self.reason:
            return True
        try:
            return layout.serial_calls() is self._calls
        except NotSerialError:
            return False

    def begin(self) -> bool:
        """Prepare the update; whether the program calls what it did before."""
        if self.reason and self.layout is not None:
            return True
        layout = self.update.begin_update()
        if self.is_bound_to(layout):
            return True
        self.bind(layout)
        return False

    def end(self) -> None:
        """Account for the update."""
        if self.reason:
            return
        status = int(self.words[0])
        self.update.end_update(self.layout, self.layout.plan.norms[status - 1] if status else None)

    def _run(self, _: int) -> int:
        try:
            layout = self.update.begin_update()
            self.update.end_update(layout, layout.run())
        except BaseException as error:
            self.error = error
            return 1
        return 0


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
        table: the words that the program reads.
        effects: its updates.
        effects_reason: why kernels are called through Python, for each effect.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.plan = trace, Plan(trace)
        self.machine = machine_code(self.plan.key(), self._emit, ["body"])
        self._slots = {tuple(slot): number for number, slot in enumerate(self.machine.notes["slots"])}
        updates = [update for update, _ in trace.updates]
        self.effects = [Effect(u, sum(u is other for other in updates) > 1) for u in updates]
        for effect, (_, layout) in zip(self.effects, trace.updates, strict=True):
            effect.bind(layout)
        self._error: BaseException | None = None
        self._callback = _CALLBACK(self._call_python)
        self._live = set(self.plan.live)
        self._draws = sum(node.size for node in self.plan.live if node.op == "random")
        self.calls_generator = any(not node.inputs for node in self.plan.calls)
        self._seen = changes[0]
        self._workspace = np.empty(self.machine.notes["workspace"] + ALIGN, np.uint8)
        self.table = np.zeros(len(self._slots) + 1, np.int64)  # one more to write what no part reads
        self._bind()
        self._bind_effects()
        self._prepare()
        self.release()

    def _emit(self) -> tuple[Any, dict[str, Any]]:
        self.plan.arrange()
        program = Program(self.plan)
        return program.module, {"slots": program.slots, "workspace": self.plan.workspace}

    # --- memory ------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Fill the table of addresses."""
        bits = random.generator().bit_generator.ctypes
        callback = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        for key, slot in self._slots.items():
            match key:
                case ("workspace",):
                    self.table[slot] = -(-self._workspace.ctypes.data // ALIGN) * ALIGN
                case ("memory", number):
                    memory = self.trace.memories[number]
                    if memory.kind in ("data", "array"):
                        self.table[slot] = memory.array.ctypes.data
                case ("loop", name, letters):
                    self.table[slot] = loop(name, letters)[0]
                case ("data", name, letters):
                    self.table[slot] = loop(name, letters)[1]
                case ("draw",):
                    self.table[slot] = ctypes.cast(bits.next_double, ctypes.c_void_p).value or 0
                case ("generator",):
                    self.table[slot] = int(bits.state_address)
                case ("python",):
                    self.table[slot] = callback

    def _bind_effects(self) -> None:
        """Fill in what updates call."""
        for number, effect in enumerate(self.effects):
            self.table[self.slot("effect", number)] = effect.function
            self.table[self.slot("argument", number)] = effect.argument

    def slot(self, *key: Any) -> int:
        """The word of the table with this name, or one that is not read."""
        return self._slots.get(key, len(self._slots))

    def _prepare(self) -> None:
        """Collect what each call looks at."""
        trace = self.trace
        self.arguments = [memory for memory in trace.memories if memory.kind == "argument"]
        self.made = [(node.shape, node.dtype) for node in (*self.plan.results, *self.plan.own)]
        kinds = [("result", i) for i in range(len(self.plan.results))] + [("own", i) for i in range(len(self.plan.own))]
        self.made_slots = [self.slot(*kind) for kind in kinds]
        slots = [*(self.slot("memory", m.node.params) for m in self.arguments), *self.made_slots]
        pairs = [number for slot in slots for number in (0, slot)]
        values = {"body": self.machine.address("body"), "table": self.table.ctypes.data, "arrays": len(slots)}
        self._words = words(CALL, values, *pairs)
        self._fields: Any = memoryview(self._words)  # type: ignore[arg-type]  # NumPy's stubs lack the buffer protocol
        self._address = self._words.ctypes.data
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
                if module._forward_hooks or module._forward_pre_hooks or settings(module) != known:
                    return False
            self._seen = changes[0]
        for tensor, memory, required in self._tensors:
            if tensor._data is not memory.array or tensor._requires_grad is not required or tensor._hooks:
                return False
        for tensor, present in self._presence:
            grad = tensor._grad
            if (grad is not None) is not present or (present and grad._data is not tensor._place.window):
                return False
        for effect in self.effects:
            update = effect.update
            if getattr(update, "_pre_hooks", None) or getattr(update, "_post_hooks", None):
                return False
            if getattr(update, "_watches", None) or getattr(update, "_update_hooks", None):
                return False
        return True

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Run the step; the arrays that it returns.

        Raises:
            GuardError: if it would take another branch.
        """
        self.begin()
        made = [np.empty(shape, dtype) for shape, dtype in self.made]
        fields, at = self._fields, len(CALL)
        for array in (*arrays, *made):
            fields[at] = id(array)
            at += 2
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
            self.table[self.slot("memory", kept.memory.node.params)] = kept.memory.array.ctypes.data

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
        if self._draws:
            rewind(self._draws)
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


def _array(address: int, node: Node) -> Any:
    """The array of a node at an address."""
    low = sum(min(0, (n - 1) * s) for n, s in zip(node.shape, node.strides, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(node.shape, node.strides, strict=True)) + node.dtype.itemsize
    memory = (ctypes.c_char * (high - low)).from_address(address + low)
    return np.ndarray(node.shape, node.dtype, memory, -low, node.strides)


def rewind(draws: int) -> None:
    """Take uniform numbers back that were drawn from minigrad's generator."""
    bits: Any = random.generator().bit_generator
    kept = bits.state
    bits.advance(2**128 - draws)
    bits.state = {**bits.state, "has_uint32": kept["has_uint32"], "uinteger": kept["uinteger"]}
