"""`compile`: a training step that is traced at its first call and then runs as machine code."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import random
from ..autograd.modes import mode
from ..autograd.observers import observers, watching
from ..autograd.tensor import Tensor
from ..autograd.tracing import Tracer, tracers
from . import machine, numpy_loops, runtime
from .arrays import UntraceableError
from .bound import Bound, GuardError
from .epoch import problem_of
from .structure import are_named, build, flatten, kind_of, named_objects, objects_in, refusal
from .trace import EagerError, Trace, snapshot

_MOST_PROGRAMS = 64
_MOST_UNUSED = 4  # programs that were traced for the same arguments, and none of them used again
_one_trace = threading.RLock()  # a trace changes the tensors that it meets until it ends


class NotCompiledError(Exception):
    """A call cannot be made by compiled code; the text says why. Nothing has changed."""


class HiddenInputError(RuntimeError):
    """A compiled step does not give what the same step gives eagerly: it depends on something that it is not given."""


def compile(step: Callable[..., Any]) -> CompiledStep:
    """Compile a training step: the same bits, many times faster.

    ::

        @minigrad.compile
        def step(features, labels):
            optimizer.zero_grad()
            loss = cross_entropy(model(features), labels)
            loss.backward()
            optimizer.step()
            return loss

    The first call for each kind of arguments carries the step out and records it: the forward pass, gradients, clips,
    changes of buffers, random numbers and the updates of optimizers. The second call is made both compiled and
    eagerly, and checked to give the same bits. All further calls run machine code. There is another program for other
    shapes, dtypes, modes of the model, frozen parameters, or gradients that exist already. Where Python has asked for
    a value, as in ``if loss < 1``, the answer is checked in every call, and with another answer the step is made
    eagerly; so is a step that a hook, a recorder or ``watch`` looks at.

    Args:
        step: a function of tensors and arrays, also in tuples, lists and dictionaries. Models, optimizers and
            constants may be arguments or come from outside. There is another program for each value of a number among
            the arguments: pass numbers that change as tensors. Numbers and text that it finds outside are those of the
            first call, except the settings of modules and options of optimizers, which are followed. What it prints,
            counts or keeps happens in the first calls only: it must return what is to be used outside. Returned
            tensors have no history.

    Returns:
        A function with the same arguments and results.

    Raises:
        UntraceableError: by the first call, if the step needs the numbers in a tensor (``.item()``, ``float()``, a
            conversion to NumPy, a mask as an index) or changes or keeps traced values outside. Nothing has changed.
        HiddenInputError: by the second call, if it depends on something else than its arguments, parameters, buffers
            and minigrad's random numbers. Nothing has changed.
    """
    return CompiledStep(step)


class CompiledStep:
    """A step that `compile` has returned.

    Args:
        step: the function.
        only: raise `NotCompiledError` instead of making a call eagerly. No other error comes from compilation: what
            cannot be compiled is noted as the problem.

    Attributes:
        reason: why the last call was made eagerly; empty if it was not.
        problem: why no call can be compiled; empty if that is not so.
    """

    def __init__(self, step: Callable[..., Any], only: bool = False) -> None:
        if not callable(step):
            raise TypeError(f"compile: needs a function, not {type(step).__name__}")
        functools.update_wrapper(self, step, updated=())
        self._step, self._only = step, only
        self._programs: dict[Any, list[_Version]] = {}
        self._last: _Version | None = None
        self._traced: _Version | None = None  # the last one that was traced
        self._blocked: Callable[[], bool] | None = None  # whether what has forced a call to be eager is still there
        self._blocked_by = ""
        self.problem = machine.problem() or numpy_loops.problem() or runtime.data_problem()
        self.reason = ""
        self._lock = threading.RLock()  # calls of several threads come one after the other

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        return type(self), (self._step, self._only)

    def __call__(self, *args: Any, **options: Any) -> Any:
        version = self._last
        if version is not None and not options and len(args) == len(version.kinds) and not (observers or tracers):
            arrays: list[Any] = []
            for arg, (kind, known) in zip(args, version.kinds, strict=True):
                if type(arg) is not kind:
                    break
                array = arg._data if kind is Tensor else arg
                if (array.shape, array.strides, array.dtype, kind is Tensor and arg._requires_grad) != known:
                    break
                arrays.append(array)
            else:
                reason = ""
                self._lock.acquire()  # a with statement would take twice as long
                try:
                    if version is self._last and version.checked and version.fits():
                        arrays = version.bound.run(arrays)
                        self.reason = ""
                        return version.result(arrays, args)
                except GuardError as error:
                    reason = str(error)
                finally:
                    self._lock.release()
                if reason:
                    return self._eager(args, options, reason)
        return self._other(args, options)

    def plan(self) -> str:
        """The last program that has run: its loops and products in order, memory, and what runs in Python.

        Raises:
            RuntimeError: if no call was compiled yet.
        """
        from .listing import listing

        checked = [each for versions in self._programs.values() for each in versions if each.checked]
        version = self._last or (checked[-1] if checked else self._traced)
        if version is None:
            raise RuntimeError(f"plan: no call was compiled yet{self.reason and f': {self.reason}'}")
        return listing(version.bind(), self.reason)

    # --- less frequent calls -----------------------------------------------------------------------------------------

    def _eager(self, args: Any, options: Any, reason: str) -> Any:
        self.reason = reason
        if self._only:
            raise NotCompiledError(reason)
        return self._in_python(args, options)

    def _in_python(self, args: Any, options: Any) -> Any:
        thread = threading.get_ident()
        tracers[thread] = Tracer()  # so that compiled steps which it calls are part of it here too
        try:
            return _without_history(self._step(*args, **options))
        finally:
            tracers.pop(thread)

    def ready(self, rows: int, count: int) -> Bound | None:
        """The program for ``count`` arguments that begin with an axis of ``rows``, if it is checked and still fits."""
        for version in (version for versions in self._programs.values() for version in versions):
            if not version.checked:
                continue
            bound = version.bind()
            same = [memory.node.shape[:1] for memory in bound.arguments] == [(rows,)] * count
            if same and not observers and version.fits() and not problem_of(bound, ()):
                self._switch(version)
                return bound
        return None

    def _other(self, args: Any, options: Any) -> Any:
        if threading.get_ident() in tracers:  # part of another step
            return self._step(*args, **options)
        try:
            with _one_trace, self._lock:
                return self._compiled(args, options)
        except NotCompiledError as error:
            reason = str(error)
        return self._eager(args, options, reason)

    def _compiled(self, args: Any, options: Any) -> Any:
        """Make a call by compiled code, or trace it.

        Raises:
            NotCompiledError: if it has to be made eagerly.
        """
        if self.problem:
            raise NotCompiledError(self.problem)
        if self._blocked is not None and self._blocked():
            raise NotCompiledError(self._blocked_by)
        if watching():
            raise NotCompiledError("the step is being watched")
        leaves: list[Any] = []
        rest = flatten((args, options), leaves)
        refused = next(filter(None, map(refusal, leaves)), "")
        if refused:
            raise NotCompiledError(refused)
        key = rest, tuple(map(kind_of, leaves))
        versions = self._programs.get(key, [])
        version = next((version for version in versions if version.fits()), None)
        if version is None:
            return self._first(args, options, versions, rest, leaves)
        simple = not options and [*map(id, leaves)] == [*map(id, args)]
        self._switch(version)
        version.kinds = key[1] if simple else ()
        if version.bound.plan.problem:
            raise NotCompiledError(version.bound.plan.problem)
        arrays = [leaf._data if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        if not version.checked:
            return self._check(version, args, options, arrays)
        try:
            arrays = version.bound.run(arrays)
            self.reason = ""
            return version.result(arrays, leaves)
        except GuardError as error:
            raise NotCompiledError(str(error)) from None

    def _switch(self, version: _Version | None) -> None:
        if self._last is not None and self._last is not version:
            self._last.bound.release()
        self._last = version

    def _first(self, args: Any, options: Any, versions: list[_Version], rest: Any, leaves: list[Any]) -> Any:
        """Trace a call; its program is made by the second one, so that the first is not kept waiting."""
        if len(versions) >= _MOST_UNUSED and not any(version.checked for version in versions):
            raise NotCompiledError("a setting of the model or the options changes from step to step")
        unused = sum(not any(version.checked for version in known) for known in self._programs.values())
        if unused >= _MOST_PROGRAMS:
            raise NotCompiledError(
                f"{unused} programs were made for other arguments, and none of them used again; pass numbers that "
                "change as tensors"
            )
        shape: list[Any] = []

        def flat(*given: Any) -> list[Any]:
            positional, named = build(rest, iter(given))
            results: list[Any] = []
            shape.append(flatten(self._step(*positional, **named), results, scalars=True))
            return results

        try:
            trace = Trace(flat, leaves)
        except EagerError as error:
            self._blocked, self._blocked_by = error.still, str(error)
            raise NotCompiledError(str(error)) from None
        except NotCompiledError:
            raise
        except Exception as error:
            if not self._only:
                raise
            self.problem = str(error) if isinstance(error, UntraceableError) else f"{type(error).__name__}: {error}"
            raise NotCompiledError(self.problem) from None
        self.reason = ""
        named = list(inspect.signature(self._step).parameters) if len(leaves) == len(args) and not options else []
        for memory, name in zip(trace.memories, named, strict=False):
            memory.label = name
        values = trace.values
        del trace.values
        self._traced = version = _Version(trace, shape[0], named_objects(self._step, [*objects_in(rest)]))
        if len(versions) >= _MOST_PROGRAMS:
            versions.clear()
        versions.append(version)
        self._programs[rest, tuple(map(kind_of, leaves))] = versions
        self._switch(None)
        return version.result(values, leaves)

    def _check(self, version: _Version, args: Any, options: Any, arrays: Sequence[Any]) -> Any:
        """Make a call compiled and eagerly, and compare everything that it leaves."""
        state = _State(version.bound)
        try:
            compiled = version.bound.run(arrays)
        except GuardError as error:
            state.restore()
            raise NotCompiledError(str(error)) from None
        except BaseException:
            state.restore()
            raise
        mine = state.now(compiled)
        state.restore()
        version.bound.release()
        try:
            result = self._in_python(args, options)
        except BaseException:
            state.restore()
            raise
        found: list[Any] = []
        flatten(result, found, scalars=True)
        kept = [r.node is not None for r in version.bound.trace.results]
        given = [leaf._data if isinstance(leaf, Tensor) else leaf for leaf in found]
        arrays = [array for array, new in zip(given, kept, strict=True) if new]
        theirs = state.now(arrays)
        wrong = [name for name, value in mine.items() if not _same(value, theirs.get(name))]
        if wrong:
            listed = ", ".join(wrong[:4]) + (", ..." if len(wrong) > 4 else "")
            text = (
                f"the compiled step and the same step in Python differ in {listed}. It depends on something that was "
                "another in the first call, such as a counter, a global variable or a random number of NumPy's: pass "
                "that as a tensor, or draw by minigrad's functions"
            )
            if self._only:
                self.problem = text
                return result
            state.restore()
            raise HiddenInputError(f"compile: {text}")
        version.checked = True
        self.reason = ""
        return result


class _Version:
    """A program with the structure of its results.

    Attributes:
        bound: the program, once `bind` was called.
        kinds: of its arguments, if these are tensors and arrays by position; else empty.
        checked: whether it was compared with an eager call.
    """

    bound: Bound

    def __init__(self, trace: Trace, rest: Any, named: list[tuple[Any, str, Any]]) -> None:
        self._trace, self._rest, self._named = trace, rest, named
        self._recorded = mode.enabled
        self.kinds: Any = ()
        self.checked = False
        self._results = trace.results
        self._single = rest == "leaf" and self._results[0].node is not None and self._results[0].is_tensor

    def bind(self) -> Bound:
        """The program, which is made at the first call."""
        if not hasattr(self, "bound"):
            self.bound = Bound(self._trace)
        return self.bound

    def fits(self) -> bool:
        """Whether everything that the step involves is as it was when it was traced."""
        return mode.enabled is self._recorded and are_named(self._named) and self.bind().fits()

    def result(self, arrays: list[Any], arguments: Sequence[Any]) -> Any:
        """What the step returns, of these arrays, and of its tensors and arrays as they were given."""
        if self._single:
            return Tensor._make(arrays[0])
        given = iter(arrays)
        leaves = []
        for result in self._results:
            if result.node is None:
                leaves.append(result.existing if result.argument is None else arguments[result.argument])
            else:
                array = next(given)
                plain = array if array.ndim else array[()]  # as NumPy gives a scalar for a single number
                leaves.append(Tensor._make(array) if result.is_tensor else plain)
        return build(self._rest, iter(leaves))


class _State:
    """What a step can change, as it was: values of tensors, gradients, optimizers, schedulers and random numbers."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._random = random.get_state()
        self._memories = [m for m in bound.trace.memories if m.kind in ("data", "array") and m.array.flags.writeable]
        self._arrays = [(m.array, m.array.copy()) for m in self._memories]
        owners = [ran.update for ran in bound.trace.updates if hasattr(ran.update, "state_dict")]
        self._owners = {id(owner): owner for owner in (*owners, *bound.trace.owners)}
        self._undo = [snapshot(owner) for owner in self._owners.values()]
        self._tensors = [adopted.tensor for adopted in bound.trace.adopted.values()]
        self._grads = [(t, t._grad, None if t._grad is None else t._grad._data.copy()) for t in self._tensors]
        self._parameters = []
        for owner in self._owners.values():
            for group in getattr(owner, "param_groups", ()) if hasattr(owner, "step") else ():
                self._parameters += [(p, p._data.copy()) for p in group["params"]]

    def restore(self) -> None:
        """Take everything back."""
        for array, values in self._arrays:
            array[...] = values
        for parameter, values in self._parameters:
            parameter._data[...] = values
        for tensor, grad, values in self._grads:
            tensor._grad = grad
            if grad is not None:
                grad._data[...] = values
        for undo in self._undo:
            undo()
        random.set_state(self._random)

    def now(self, results: Sequence[Any]) -> dict[str, Any]:
        """The values of everything, by name."""
        found: dict[str, Any] = {f"result {i}": np.array(array) for i, array in enumerate(results)}
        for memory in self._memories:
            found[memory.name] = memory.array.copy()
        for i, tensor in enumerate(self._tensors):
            name = getattr(tensor, "name", "") or f"tensor {i}"
            if tensor._grad is not None:
                found[f"the gradient of {name}"] = tensor._grad._data.copy()
        for parameter, _ in self._parameters:
            found[getattr(parameter, "name", "") or f"parameter {id(parameter)}"] = parameter._data.copy()
        for i, owner in enumerate(self._owners.values()):
            _collect(f"the state of {type(owner).__name__} {i or ''}".rstrip(), owner.state_dict(), found)
        found["the state of the random numbers"] = repr(random.get_state())
        return found


def _without_history(result: Any) -> Any:
    """What an eager step has returned, as a compiled one returns it."""
    leaves: list[Any] = []
    rest = flatten(result, leaves)
    return build(rest, (x.detach() if isinstance(x, Tensor) and x._node is not None else x for x in leaves))


def _collect(name: str, state: Any, found: dict[str, Any]) -> None:
    """Add the parts of a nested state to what was found."""
    if isinstance(state, dict):
        for key, value in state.items():
            _collect(f"{name}, {key}", value, found)
    elif isinstance(state, list | tuple):
        for i, value in enumerate(state):
            _collect(f"{name}, {i}", value, found)
    elif isinstance(state, Tensor):
        found[name] = state._data.copy()
    else:
        found[name] = state.copy() if isinstance(state, np.ndarray) else state


def _same(a: Any, b: Any) -> bool:
    """Whether two values have the same bits; all NaNs are the same."""
    if not isinstance(a, np.ndarray):
        return a is b or repr(a) == repr(b)
    if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return np.where(np.isnan(a), np.nan, a).tobytes() == np.where(np.isnan(b), np.nan, b).tobytes()
