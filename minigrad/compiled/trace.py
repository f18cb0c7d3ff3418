"""Tracing: one call of a step is carried out, and everything that it computes, reads and changes is recorded.

The trace is a real step. Tensors that it meets are given a `TracedArray` in place of their array until it ends, so that
the forward pass, the walk over the autograd graph and the gradient rules run as they are.
"""

from __future__ import annotations

import copy
import functools
import gc
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..autograd.memory import Memory as GradientMemory
from ..autograd.tensor import Tensor
from ..autograd.tracing import Tracer, Update, tracers
from ..devices import arrays as devices
from ..nn.parameter import join
from .arrays import TracedArray, UntraceableError, active, tracing
from .functions import Generator, library
from .graph import Graph, Node
from .layout import Layout
from .structure import Same


class EagerError(Exception):
    """This call of the step has to be made eagerly; the text says why, and ``still`` whether that is still so."""

    def __init__(self, reason: str, still: Callable[[], bool]) -> None:
        super().__init__(reason)
        self.still = still


class Memory:
    """Memory from outside that a step reads or changes.

    Attributes:
        kind: ``"data"`` or ``"gradient"`` of ``tensor``, ``"argument"`` of the step, or another ``"array"``.
        array: what it was in the trace.
        node: its node.
        tensor: the tensor, if it is one's.
        label: its name for a reader, if it has one.
    """

    def __init__(self, kind: str, array: Any, node: Node, tensor: Any = None) -> None:
        self.kind, self.array, self.node, self.tensor = kind, array, node, tensor
        self.label: str = getattr(tensor, "name", "") or ""
        self._saved: Any = None

    def save(self) -> None:
        """Remember the present values, which a step cannot change if they are read-only."""
        if self.array.flags.writeable:
            self._saved = self.array.copy()

    def forget(self) -> None:
        """Drop what was remembered; and the memory of a gradient, which Python can use again."""
        self._saved = None
        if self.kind == "gradient":
            self.array = None

    def restore(self) -> None:
        """Write the values back that were remembered."""
        if self._saved is not None:
            self.array[...] = self._saved

    @property
    def name(self) -> str:
        """What it is, for a reader."""
        if self.kind == "gradient":
            return f"the gradient of {self.label or 'a tensor'}"
        return self.label or f"{self.kind}{self.node.params}"


class Write(NamedTuple):
    """A change of memory outside: it has the values of ``node`` when the effects of ``stage`` begin."""

    memory: Memory
    node: Node
    stage: int


class Adopted:
    """A tensor from outside that takes part, as it was before.

    Attributes:
        tensor, data, gradient: the tensor, the memory of its values, and of its gradient if it is in a store.
        present: whether it had a gradient.
        cleared: whether the step forgets that gradient.
        required, required_after: whether it required a gradient, before and after the step.
    """

    def __init__(self, tensor: Any, data: Memory) -> None:
        self.tensor, self.data = tensor, data
        self.gradient: Memory | None = None
        self.grad, self.present = tensor._grad, tensor._grad is not None
        self.cleared, self.required = False, tensor._requires_grad
        self.required_after = self.required

    def restore(self) -> None:
        """Make the tensor what it was."""
        tensor, gradient = self.tensor, self.gradient
        tensor._data = self.data.array
        tensor._grad, tensor._requires_grad = self.grad, self.required
        if gradient is not None and tensor._place is not None:
            tensor._place.window = gradient.array


class Ran(NamedTuple):
    """An update whose kernels ran.

    Attributes:
        update, layout: what ran.
        present: the identities of the tensors that had a gradient then.
        parameters: of the optimizer: a list that is another one if parameters join or leave.
    """

    update: Any
    layout: Any
    present: set[int]
    parameters: Any


class Result(NamedTuple):
    """One tensor or array that the step returns: computed, or one that existed before, or an argument by its number."""

    node: Node | None
    existing: Any
    argument: int | None
    is_tensor: bool


class Trace(Tracer):
    """One call of a step.

    Args:
        function: called with ``arrays`` as tensors or arrays.
        arguments: the tensors and arrays that the step is given.

    Attributes:
        graph: what was computed.
        memories: the memory outside, by the number of its input node.
        writes: what changes in it.
        adopted: the tensors that took part.
        modules: the modules that were called, each with its settings.
        updates: for each effect the update whose kernels ran.
        actions: updates and functions in the order in which they came; ``owners`` are the objects of the functions.
        results: what the step returned, flat; ``values`` are its arrays in the traced call.
        gradients: for each tensor that has a gradient afterward the memory of it, or the node if it is in no store.

    Raises:
        UntraceableError: if the step does something that cannot be compiled. Everything is as before.
        EagerError: if it must not be compiled now.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self.graph = Graph()
        self.memories: list[Memory] = []
        self.writes: list[Write] = []
        self.adopted: dict[int, Adopted] = {}
        self.modules: dict[int, Any] = {}
        self.updates: list[Ran] = []
        self.actions: list[tuple[Any, int | None]] = []
        self.owners: list[Any] = []
        self.gradients: list[tuple[Tensor, Memory | Node, Any]] = []
        self.results: list[Result] = []
        self._arrays: dict[int, tuple[Any, TracedArray | None]] = {}  # traced arrays by that of the array
        self._committed: dict[int, int] = {}
        self._memory_of: dict[int, Memory] = {}
        self._renewed: set[int] = set()
        self._names: dict[int, str] = {}  # of buffers
        self._undo: list[Callable[[], None]] = []
        self._run(function, arguments)

    def _run(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        state = random.get_state()
        thread = threading.get_ident()
        random.local.stand_in, devices.traced.library = Generator(random.generator()), library
        tracers[thread] = self
        with tracing(self.graph, self._array):
            try:
                self._call(function, arguments)
                self._end()
            except BaseException as error:
                self._restore()
                random.set_state(state)
                raise_untraceable(error)
                raise
            finally:
                tracers.pop(thread)
                random.local.stand_in = devices.traced.library = None
                self._forget()

    def _call(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        given: list[Any] = []
        for argument in arguments:
            array: Any = argument._data if isinstance(argument, Tensor) else argument
            traced = self._outside("argument", array)
            if isinstance(argument, Tensor):
                tensor = Tensor._make(traced)
                tensor._requires_grad = argument._requires_grad
                given.append(tensor)
            else:
                given.append(traced)
        returned = function(*given)
        for i, argument in enumerate(given):
            if isinstance(argument, Tensor) and argument._grad is not None:
                raise UntraceableError(
                    f"the step adds to the gradient of argument {i}; compute it with minigrad.grad() and return it"
                )
        same = {id(one): number for number, one in enumerate(given)}
        self.values = []
        for each in returned:
            is_tensor, argument = isinstance(each, Tensor), same.get(id(each))
            if argument is not None or id(each) in self.adopted:
                self.results.append(Result(None, each if argument is None else None, argument, is_tensor))
                continue
            array = each._data if is_tensor else each
            if not isinstance(array, TracedArray):
                array = library.asarray(array)
            self.results.append(Result(array.node, None, None, is_tensor))
            self.values.append(array.value.copy())
        del returned, given
        self._commit()

    # --- memory from outside -----------------------------------------------------------------------------------------

    def _outside(self, kind: str, array: Any, tensor: Any = None) -> Any:
        """Memory from outside, met for the first time."""
        node = self.graph.add("input", (), len(self.memories), array, unique=True)
        traced = TracedArray(array, node)
        memory = Memory(kind, array, node, tensor)
        memory.save()
        self.memories.append(memory)
        self._memory_of[id(array)] = memory
        # The store has to remain the only one that refers to the array of a gradient (see minigrad.autograd.memory).
        placed = kind == "gradient" and tensor._place is not None
        self._arrays[id(array)] = array, None if placed else traced
        return traced

    def _array(self, array: Any) -> TracedArray:
        """The traced array of an array from outside."""
        found = self._arrays.get(id(array))
        if found is None:
            return self._outside("array", array)
        if found[1] is not None:
            return found[1]
        gradient: TracedArray = self._memory_of[id(array)].tensor._place.window
        return gradient

    def reading(self, tensor: Tensor) -> None:
        """Give a tensor from outside a traced array."""
        array = tensor._data
        if type(array) is not np.ndarray or id(tensor) in self.adopted:
            return
        found = self._arrays.get(id(array))
        traced = self._outside("data", array, tensor) if found is None else self._array(array)
        adopted = self.adopted[id(tensor)] = Adopted(tensor, self._memory_of[id(array)])
        tensor._data = traced  # type: ignore[assignment]  # stands in for the array until the trace ends
        if tensor._hooks:
            raise EagerError(f"a hook is registered on {adopted.data.name}", lambda: bool(tensor._hooks))
        place, grad = tensor._place, tensor._grad
        if place is None:
            if grad is not None:
                traced = self._outside("gradient", grad._data, tensor)
                adopted.gradient = self.memories[-1]
                tensor._grad = Tensor._make(traced)
            return
        memory: GradientMemory = place.memory
        if id(memory) not in self._renewed:  # somebody may hold the gradients of the last step
            memory.renew()
            self._renewed.add(id(memory))
        window = place.window
        if grad is not None:
            window[...] = grad._data
        traced = self._outside("gradient", window, tensor)
        adopted.gradient = self._memory_of[id(window)]
        place.window = traced
        if grad is not None:  # another tensor, as somebody may have kept this one
            tensor._grad = Tensor._make(traced)

    def computing(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Adopt the tensors and arrays among the inputs of a primitive."""
        for arg in args:
            if isinstance(arg, Tensor):
                self.reading(arg)
        return tuple([self._array(arg) if type(arg) is np.ndarray else arg for arg in args])

    def clearing(self, tensor: Tensor) -> None:
        """Note that the gradient of a tensor is forgotten."""
        self.reading(tensor)
        adopted = self.adopted.get(id(tensor))
        if adopted is not None:
            adopted.cleared = True

    def entering(self, module: Any) -> None:
        """Note the modules that take part, and their settings."""
        for each in module.modules() if id(module) not in self.modules else ():
            if id(each) not in self.modules:
                if has_hooks(each):
                    where = f"{type(each).__name__} {each._path!r}" if each._path else type(each).__name__
                    raise EagerError(f"a hook is registered on {where}", functools.partial(has_hooks, each))
                self.modules[id(each)] = each, settings(each)
                for name in each._buffers:
                    self._names[id(vars(each)[name])] = join(each._path, name)

    # --- effects ---------------------------------------------------------------------------------------------------

    def beginning(self, update: Update) -> None:
        """Remember the state of an optimizer."""
        if is_watched(update):
            raise EagerError(f"{type(update).__name__} is watched, or has hooks", lambda: is_watched(update))
        if hasattr(update, "state_dict") and not any(update is each.update for each in self.updates):
            self._undo.append(snapshot(update))

    def updating(self, update: Update, layout: Any) -> None:
        """Make the changes so far known to the kernels, and what the kernels change known to the step."""
        self._commit()
        effect = len(self.updates)
        present = {id(a.tensor) for a in self.adopted.values() if a.tensor._grad is not None}
        self.updates.append(Ran(update, layout, present, getattr(update, "_bound", None)))
        self.actions.append((update, effect))
        self.graph.effects += 1
        for memory in self.memories:
            traced = self._traced(memory)
            if memory.kind != "argument" and traced is not None:
                traced.become(self.graph.add("after", (memory.node,), effect, memory.array, unique=True))
                self._committed[id(traced)] = traced._version

    def calling(self, owner: Any, function: Callable[[], Any]) -> None:
        """Note a function that every call of the step has to call."""
        self._undo.append(snapshot(owner))
        self.owners.append(owner)
        self.actions.append((function, None))

    def _traced(self, memory: Memory) -> TracedArray | None:
        if memory.kind == "gradient" and memory.tensor._place is not None:
            window = memory.tensor._place.window
            return window if isinstance(window, TracedArray) else None
        return self._arrays[id(memory.array)][1]

    def _commit(self) -> None:
        """Write what has changed in memory outside."""
        for memory in self.memories:
            traced = self._traced(memory)
            if traced is None or traced._version == self._committed.get(id(traced), 0):
                continue
            node = traced.node
            if node.base.op in ("input", "after") and node.base is not memory.node:
                node = self.graph.map("same", (node,), Layout(node.shape, memory.array.strides, node.dtype))
            if memory.kind == "argument":
                raise UntraceableError(f"the step changes {memory.name} in place; change a copy, made with .clone()")
            self.writes.append(Write(memory, node, self.graph.effects))
            self._committed[id(traced)] = traced._version

    # --- the end -------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Give all tensors their arrays back, and see that nothing else has those of the trace."""
        moved = ""
        for adopted in self.adopted.values():
            tensor, gradient = adopted.tensor, adopted.gradient
            adopted.required_after = tensor._requires_grad
            if tensor._data is not self._arrays[id(adopted.data.array)][1]:
                moved = moved or adopted.data.name
            tensor._data = adopted.data.array
            traced = None
            if gradient is not None:
                traced = self._traced(gradient)
                if tensor._place is not None:
                    tensor._place.window = gradient.array
            self._keep_gradient(adopted, traced)
        if moved:
            raise UntraceableError(f"the step gives {moved} another array; assign to its .data instead")
        self._arrays.clear()
        traced = None
        self._check_escapes()

    def _restore(self) -> None:
        """Make everything as it was before the step."""
        for adopted in self.adopted.values():
            adopted.restore()
        for undo in self._undo:
            undo()
        for memory in self.memories:
            memory.restore()

    def _forget(self) -> None:
        """Refer to nothing that Python may use again."""
        self._arrays.clear()
        self._undo.clear()
        for memory in self.memories:
            memory.forget()
        for adopted in self.adopted.values():
            adopted.grad = None
            adopted.data.label = adopted.data.label or self._names.get(id(adopted.tensor), "")

    def _keep_gradient(self, adopted: Adopted, traced: Any) -> None:
        """Note where the gradient of a tensor is after the step."""
        tensor, grad = adopted.tensor, adopted.tensor._grad
        if grad is None:
            return
        if traced is not None and grad._data is traced:
            assert adopted.gradient is not None
            if adopted.present and not adopted.cleared:  # it was added to, and is the same gradient still
                version = grad._version
                grad = tensor._grad = adopted.grad
                grad._version[0] = version[0]
            grad._data = adopted.gradient.array
            self.gradients.append((tensor, adopted.gradient, None))
            return
        array: Any = grad._data
        node = array.node if isinstance(array, TracedArray) else self.graph.const(array)
        own = np.array(array.value) if isinstance(array, TracedArray) else array
        self.gradients.append((tensor, node, own))
        tensor._grad = Tensor._make(own)

    def _check_escapes(self) -> None:
        """Raise if a traced array is kept somewhere."""
        if any(ref() is not None for ref in active.arrays):
            gc.collect()
        for array in (array for ref in active.arrays if (array := ref()) is not None):
            raise UntraceableError(
                f"a value of shape {array.shape} that the step computed is kept outside of it, where it would not "
                "change with the next steps; return it from the step"
            )


def raise_untraceable(error: BaseException) -> None:
    """Raise the UntraceableError that an error was raised from, as NumPy raises others from it."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is each for each in seen):
        if isinstance(cause, UntraceableError):
            raise cause from None
        seen.append(cause)
        cause = cause.__cause__


def has_hooks(module: Any) -> bool:
    """Whether something looks at the calls of a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_watched(update: Any) -> bool:
    """Whether something looks at each step of an optimizer."""
    return any(getattr(update, name, None) for name in ("_pre_hooks", "_post_hooks", "_update_hooks"))


def settings(module: Any) -> dict[str, Any]:
    """The attributes of a module that decide what it computes: numbers, text, functions, and which other objects."""
    kinds = (int, float, str, bool, type(None), tuple)
    return {
        name: value if isinstance(value, kinds) or callable(value) else Same(value)
        for name, value in vars(module).items()
    }


def snapshot(optimizer: Any) -> Callable[[], None]:
    """A function that takes the state of an optimizer or scheduler back to what it is now, but not the parameters."""
    state = copy.deepcopy(optimizer.state_dict())
    counts = {name: getattr(optimizer, name) for name in ("steps", "stepped", "skipped") if hasattr(optimizer, name)}

    def restore() -> None:
        optimizer.load_state_dict(state)
        for name, value in counts.items():
            setattr(optimizer, name, value)

    return restore
