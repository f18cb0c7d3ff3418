"""A program bound to memory: what runs a compiled step, and does around it what Python did in the traced one."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from sys import getrefcount
from typing import Any, NoReturn

import numpy as np

from .. import random
from ..autograd.graph import tick
from ..autograd.memory import UNSHARED
from ..autograd.tensor import Tensor
from ..autograd.tracing import changes
from .arrays import address, array_at
from .effects import Effect
from .fusion import ALIGN, Plan
from .graph import Node
from .machine import machine_code
from .numpy_loops import loop
from .parts import Part, written
from .program import LATE, Code, Program
from .runtime import CALL, caller, functions, words
from .trace import Trace, has_hooks, is_watched, settings

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class GuardError(Exception):
    """A branch would be taken otherwise than in the trace; ``place`` is its line. The step has changed nothing."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place}: another branch than in the trace")


class _Kept:
    """The gradient of a tensor that an optimizer has, in the memory that `minigrad.autograd.memory` gives it.

    Attributes:
        tensor, place, memory: of the gradient.
        grad: the gradient that the tensor is given.
        adding: whether the step adds to a gradient that it had before.
    """

    __slots__ = ("adding", "grad", "memory", "place", "tensor")

    def __init__(self, tensor: Tensor, memory: Any, adding: bool) -> None:
        assert tensor._place is not None
        self.tensor, self.place, self.memory, self.adding = tensor, tensor._place, memory, adding
        self.grad: Any = None


class Bound:
    """A traced step as machine code, on the memory that it was traced with.

    Attributes:
        trace, plan: of the step.
        machine: the code.
        code: the records, with the addresses of that memory.
        effects: its updates.
        filled: the driver whose arguments and results are in the code; ``None`` after other calls.
    """

    filled: Any = None

    def __init__(self, trace: Trace) -> None:
        self.trace, self.plan = trace, Plan(trace)
        self.plan.arrange()
        program = Program(self.plan)
        parts = list(dict.fromkeys(record.function for record in program.records if isinstance(record.function, Part)))
        names = [f"part{i}" for i in range(len(parts))]
        self.machine = machine_code(_key(parts), lambda: written(names, parts), names)
        addresses: dict[Any, int] = {**functions()}
        addresses |= {part: self.machine.addresses[name] for part, name in zip(parts, names, strict=True)}
        self.code = Code(program, addresses)
        self.effects, self._after = self._effects()
        self.has_calls = bool(self._after) or any(effect.calls for effect in self.effects)
        self._error: BaseException | None = None
        self._callback = _CALLBACK(self._call_python)
        self._live = set(self.plan.live)
        self.calls_generator = any(not node.inputs for node in self.plan.calls)
        self._seen = -1  # settings may have changed since the trace
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
        triples = [
            number
            for i, key in enumerate(self.varying)
            for place, offset in self.code.uses(key)
            for number in (i, place, offset)
        ]
        arrays = [0] * len(self.varying)
        values = {"records": self.code.address, "arrays": len(arrays), "uses": len(triples) // 3}
        self._words = words(CALL, values, *arrays, *triples)
        self._fields: Any = memoryview(self._words)  # type: ignore[arg-type]  # NumPy's stubs lack the buffer protocol
        self._address = address(self._words)
        self._once = caller()
        adopted = trace.adopted.values()
        self._tensors = [(a.tensor, a.data) for a in adopted]
        updates = [(effect.update, effect.parameters) for effect in self.effects]
        self._parameters = [(update, given) for update, given in updates if hasattr(update, "_bound")]
        self._changed = [(a.tensor, a.required_after) for a in adopted if a.required is not a.required_after]
        owned = {id(tensor) for tensor, _, _ in trace.gradients}
        there = owned.union(*(ran.present for ran in trace.updates))  # at the end, or in an update
        self._presence: list[Any] = []
        self._kept: list[_Kept] = []
        self._elsewhere: list[tuple[Tensor, Node]] = []  # gradients that are added to, of tensors without a place
        for a in trace.adopted.values():
            read = a.gradient is not None and (
                a.gradient.node in self._live
                or (a.tensor._place is None and ("memory", a.gradient.node.params) in self.code.places)
            )
            needed = read or not a.cleared
            if needed and (a.required or a.present):
                self._presence.append((a.tensor, a.present))
            if a.gradient is None:
                continue
            if a.tensor._place is not None:
                if id(a.tensor) in there or ("memory", a.gradient.node.params) in self.code.places:
                    self._kept.append(_Kept(a.tensor, a.gradient, a.present and needed))
            elif a.present and read:
                self._elsewhere.append((a.tensor, a.gradient.node))
        kept = {id(kept.tensor) for kept in self._kept}
        self._cleared = [a.tensor for a in trace.adopted.values() if a.cleared and id(a.tensor) not in kept]
        gone = [*self._cleared, *(kept.tensor for kept in self._kept)]
        self._forgotten = list({id(tensor): tensor for tensor in gone if id(tensor) not in owned}.values())
        self._own = [tensor for tensor, memory, _ in trace.gradients if isinstance(memory, Node)]
        self._hold(owned)
        self._adding = [kept for kept in self._kept if kept.adding]
        self._replaced: list[tuple[Tensor, Any]] = []
        self._count = len(self.plan.results)
        self._versions = [w.memory.tensor._version for w in trace.writes if w.memory.kind == "data"]
        kinds = self._returned, self._own, self._forgotten, self._changed, self._versions, self._adding
        self._settles = any(kinds)

    def _effects(self) -> tuple[list[Effect], list[Any]]:
        """The updates, and the functions that Python calls after them."""
        updates, live = self.trace.updates, self.plan.live
        effects: list[Effect] = []
        calls: list[Any] = []
        python = ""
        for action, number in self.trace.actions:
            if number is None:
                calls.append(action)
                continue
            ran = updates[number]
            if calls:
                python = "Python calls functions before it"
            reason = python
            if sum(ran.update is each.update or ran.layout is each.layout for each in updates) > 1:
                reason = "it runs more than once in a step"
            elif getattr(ran.update, "periodic", ()) and any(node.stage > number for node in live):
                reason = "a chain that runs after every k-th update comes before other work"
            effects.append(Effect(ran, reason, calls))
            calls = []
        return effects, calls

    def _hold(self, owned: set[int]) -> None:
        """Note which gradients are present when an update begins, and at the end."""
        updates = self.trace.updates
        if all(id(kept.tensor) in ran.present for kept in self._kept for ran in updates):
            self._returned: list[_Kept] = []
            return
        for effect, ran in zip(self.effects, updates, strict=True):
            effect.presence = [(kept, id(kept.tensor) in ran.present) for kept in self._kept]
        here = owned - {*map(id, self._own)}
        self._returned = [kept for kept in self._kept if id(kept.tensor) in here]

    @property
    def exchanges(self) -> bool:
        """Whether it reads gradients that were there before, or leaves other things than parameters and buffers."""
        return bool(self._adding or self._elsewhere or self._changed or self._returned or self._own)

    @property
    def only_computes(self) -> bool:
        """Whether it changes nothing outside."""
        return not (self.effects or self._kept or self.plan.draws or self.exchanges or self._versions)

    # --- one call ----------------------------------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether modules, parameters and gradients are as they were when the step was traced."""
        if self._seen != changes[0]:
            if not self._settings_fit():
                return False
            self._seen = changes[0]
        for tensor, memory in self._tensors:
            if tensor._data is not memory.array:
                return False
        for tensor, present in self._presence:
            grad, place = tensor._grad, tensor._place
            if (grad is not None) is not present or (present and place and grad._data is not place.window):
                return False
        for tensor, node in self._elsewhere:
            array = tensor._grad._data if tensor._grad is not None else None
            if array is None or array.strides != node.strides or array.dtype != node.dtype:
                return False
        for update, parameters in self._parameters:  # noqa: SIM110 - a generator takes three times as long
            if update._bound is not parameters:
                return False
        return True

    def _settings_fit(self) -> bool:
        """Whether settings of modules, what requires a gradient, and hooks are as they were; `changes` counts these."""
        for module, known in self.trace.modules.values():
            if has_hooks(module) or settings(module) != known:
                return False
        for adopted in self.trace.adopted.values():
            if adopted.tensor._requires_grad is not adopted.required or adopted.tensor._hooks:
                return False
        return not any(is_watched(effect.update) for effect in self.effects)

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """Run the step; the arrays that it returns.

        Raises:
            GuardError: if it would take another branch.
        """
        self.begin()
        made = [np.empty(shape, dtype) for shape, dtype in self.made]
        fields, self.filled = self._fields, None
        for slot, array in enumerate((*arrays, *made), len(CALL)):
            fields[slot] = id(array)
        state = random.get_state() if self.calls_generator and self.plan.decided >= 0 else None
        status = self._once(self._address)
        if status:
            place = self.given_up(status)
            if state is not None:
                random.set_state(state)
            raise GuardError(place)
        for effect in self.effects:
            effect.end()
        if self._settles:
            self.settle(made[self._count :])
        for each in self._after:
            each()
        return made[: self._count] if self._own else made

    def begin(self) -> None:
        """Give gradients their places, and prepare updates."""
        self._replaced.clear()
        elsewhere = False
        for kept in self._kept:
            there = kept.tensor._grad is kept.grad
            elsewhere |= not there
            if (
                getrefcount(kept.grad) > UNSHARED + there  # somebody has kept it, or its array
                or getrefcount(kept.place.window) > UNSHARED + 2
                or kept.place.window is not kept.memory.array
            ):
                self._renew()
                elsewhere = True
                break
        for kept in self._kept if elsewhere else ():
            if kept.tensor._grad is not kept.grad:
                self._replaced.append((kept.tensor, kept.tensor._grad))
                kept.tensor._grad = kept.grad
        for tensor, node in self._elsewhere:
            assert tensor._grad is not None  # as `fits` has found
            self.code.set(("memory", node.params), address(tensor._grad._data))
        for tensor in self._cleared:
            if tensor._grad is not None:
                self._replaced.append((tensor, tensor._grad))
                tensor._grad = None
        for effect in self.effects:
            if not effect.begin():
                self._bind_effects()

    def _renew(self) -> None:
        """Find the memory of gradients again; it is new where somebody has kept a gradient that is not added to."""
        self.release()
        for kept in self._kept:
            if not kept.adding:
                tensor = kept.tensor
                self._replaced.append((tensor, tensor._grad))  # which the tensor gets back if the step is given up
                here = tensor._grad is not None and tensor._grad._data is kept.place.window
                if getrefcount(kept.place.window) > UNSHARED + here or (
                    here and getrefcount(tensor._grad) > UNSHARED + 1
                ):
                    kept.place.memory.renew()
                tensor._grad = None
        for kept in self._kept:
            window = kept.memory.array = kept.place.window
            grad = kept.grad = Tensor._make(window)
            if kept.adding and kept.tensor._grad is not None:
                grad = kept.grad = kept.tensor._grad
            if grad._data is not window:  # the memory is new because of another gradient in it
                window[...] = grad._data
                grad._data = window
            self.code.set(("memory", kept.memory.node.params), address(window))

    def release(self) -> None:
        """Refer to no gradient, so that Python can use their memory again."""
        self._replaced.clear()
        for kept in self._kept:
            kept.grad = kept.memory.array = None

    def given_up(self, status: int) -> str:
        """Undo what a step that was given up has done; the line of the branch that it would have taken.

        Raises:
            BaseException: the error of an update that has failed. What came before the update is done then.
        """
        if status < 0:
            self._fail(-status - 1)
        if status == LATE:
            raise IndexError("compile: an index is out of range after an update; parameters have changed already")
        replaced = self._replaced[::-1]
        self.release()
        for tensor, grad in replaced:
            tensor._grad = grad
        for effect in self.effects:
            effect.undo()
        if self.plan.draws:
            _rewind(self._bits, self.plan.draws)
        error, self._error = self._error, None
        if error is not None:
            if not isinstance(error, Exception):  # such as KeyboardInterrupt
                raise error
            return f"an error in a call of Python: {error}"
        return "an index" if status == 1 else self.trace.graph.guards[status - 2].place

    def _fail(self, number: int) -> NoReturn:
        """Account for a step that has run up to an update that has failed, and raise the error."""
        for effect in self.effects[:number]:
            effect.end()
        effect = self.effects[number]
        for kept, present in effect.presence:
            kept.tensor._grad = kept.grad if present else None
        for later in self.effects[number + 1 :]:
            later.undo()
        self.release()
        error, effect.error = effect.error, None
        if error is None:
            effect.end()  # raises
        raise error or AssertionError

    def settle(self, own: Sequence[Any]) -> None:
        """Account for a step that has run, except for its updates; ``own`` are gradients outside of a store."""
        for kept in self._returned:
            kept.tensor._grad = kept.grad
        for tensor, array in zip(self._own, own, strict=True):
            tensor._grad = Tensor._make(array)
        for tensor in self._forgotten:
            tensor._grad = None
        for tensor, required in self._changed:
            tensor._requires_grad = required
        if self._versions or self._adding:
            now = tick()
            for version in self._versions:
                version[0] = now
            for kept in self._adding:
                kept.grad._version[0] = now

    def _call_python(self, number: int, addresses: int) -> int:
        """A call of Python from the program."""
        try:
            node = self.plan.calls[number]
            pointers = (ctypes.c_void_p * (len(node.inputs) + 1)).from_address(addresses)
            arrays = [array_at(p or 0, n) for p, n in zip(pointers, (*node.inputs, node), strict=True)]
            with np.errstate(all="ignore"):
                arrays[-1][...] = node.params(*arrays[:-1])
        except BaseException as error:
            self._error = error
            return 1
        return 0


def _key(parts: Sequence[Part]) -> str:
    """What decides the machine code of some parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _rewind(bits: Any, draws: int) -> None:
    """Take uniform numbers back that were drawn from a generator."""
    kept = bits.state
    bits.advance(2**128 - draws)
    bits.state = {**bits.state, "has_uint32": kept["has_uint32"], "uinteger": kept["uinteger"]}
