"""Where operations are called: in which layers, and by which line of the user's code, read from the call stack."""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Generic, TypeVar

from ..nn import Module

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

T = TypeVar("T")


@dataclass(frozen=True)
class SourceLine:
    """A line of code.

    Attributes:
        file: the file's path, or Python's name for code without a file, such as ``"<stdin>"``.
        line: its number, from 1.
        function: the name of the function that contains it; ``"<module>"`` outside of functions.
        text: the line without its indentation; empty if it is not available, as for lines typed at the prompt.
        columns: where in ``text`` the call begins and ends, or ``None``.
    """

    file: str
    line: int
    function: str
    text: str
    columns: tuple[int, int] | None

    @property
    def title(self) -> str:
        """The place as text: ``"train.py:14, in forward"``."""
        file = self.file
        if "ipykernel_" in file or file.startswith("<ipython-input"):
            return f"line {self.line} of a notebook cell{self._function}"
        if file.startswith("<"):
            return f"line {self.line} at the prompt{self._function}" if "std" in file else f"{file}:{self.line}"
        if file.startswith(PACKAGE):
            file = os.path.join("minigrad", file.removeprefix(PACKAGE))
        else:
            file = file.removeprefix(os.getcwd() + os.sep)
        return f"{file}:{self.line}{self._function}"

    @property
    def _function(self) -> str:
        return "" if self.function.startswith("<") else f", in {self.function}"

    def lines(self) -> list[str]:
        """The text, and a line with marks under the call."""
        if not self.text:
            return []
        if self.columns is None or self.columns == (0, len(self.text)):
            return [self.text]
        start, end = self.columns
        return [self.text, " " * start + "^" * (end - start)]


def source_line(code: CodeType, instruction: int) -> SourceLine:
    """The line that an instruction of some code comes from."""
    positions = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    line, last_line, start, end = positions
    if line is None:
        line = code.co_firstlineno
    whole = linecache.getline(code.co_filename, line).rstrip()
    text = whole.lstrip()
    columns = None
    if start is not None and end is not None and line == last_line and text:
        indent = len(whole) - len(text)  # columns count the bytes of UTF-8
        start, end = (len(whole.encode()[:n].decode(errors="replace")) - indent for n in (start, end))
        columns = (start, end) if 0 <= start < end <= len(text) else None
    return SourceLine(code.co_filename, line, code.co_name, text, columns)


class WeakMap(Generic[T]):
    """Values by object, kept as long as the object lives; objects are compared by identity, so any can be a key."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], T]] = {}

    def __setitem__(self, key: Any, value: T) -> None:
        number, entries = id(key), self._entries
        entries[number] = (weakref.ref(key, lambda _: entries.pop(number, None)), value)

    def get(self, key: Any) -> T | None:
        """The value, or ``None``."""
        entry = self._entries.get(id(key))
        return entry[1] if entry is not None and entry[0]() is key else None

    def __len__(self) -> int:
        return len(self._entries)


class LayerCall:
    """One call of a module. The same module called twice makes two.

    Attributes:
        module: which was called.
        inputs: a tool's notes on the arguments.
    """

    __slots__ = ("inputs", "module")

    def __init__(self, module: Module, inputs: tuple[Any, ...] = ()) -> None:
        self.module, self.inputs = module, inputs

    @property
    def path(self) -> str:
        """The path of the module in the model, such as ``"2"``; empty for the model itself."""
        return self.module._path

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.module).__name__

    @property
    def title(self) -> str:
        """Class and path: ``"Linear '2'"``."""
        return f"{self.kind} {self.path!r}" if self.path else self.kind


@dataclass(frozen=True, eq=False)
class Place:
    """Where an operation was called; its line is looked up only when asked for.

    Attributes:
        code, instruction: the code that called it, and the instruction there; ``None`` if it is not known.
        layers: the calls of modules that were running, the outermost first.
    """

    code: CodeType | None
    instruction: int
    layers: tuple[LayerCall, ...]

    @functools.cached_property
    def source(self) -> SourceLine | None:
        """The user's line, or a line of a layer if no user code ran, as in `training.fit`."""
        return None if self.code is None else source_line(self.code, self.instruction)


# The places of the nodes that were recorded while a tool of this package was active.
places: WeakMap[Place] = WeakMap()


class Finder:
    """Finds the places of operations, one after another, so that two calls of the same layer can be distinguished.

    Args:
        note: makes the ``inputs`` of a call from its arguments by name.
    """

    def __init__(self, note: Callable[[dict[str, Any]], tuple[Any, ...]] = lambda arguments: ()) -> None:
        self._note = note
        # The frames are kept until the next operation: no other call can have the same ones meanwhile.
        self._running: list[tuple[FrameType, LayerCall]] = []

    def here(self) -> Place:
        """The place of the operation that is being computed."""
        code, instruction, user = None, 0, False
        modules: list[tuple[FrameType, Module]] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            part = _part(frame.f_code.co_filename)
            if part == "loop":  # the caller of training.fit did not call the operation
                break
            if not user and (part == "user" or (part == "layer" and code is None)):
                code, instruction, user = frame.f_code, frame.f_lasti, part == "user"
            if frame.f_code.co_varnames[:1] == ("self",) and frame.f_code.co_argcount:
                module = frame.f_locals.get("self")
                if isinstance(module, Module):
                    if modules and modules[-1][1] is module:
                        modules.pop()
                    modules.append((frame, module))
            frame = frame.f_back
        modules.reverse()
        return Place(code, instruction, self._calls(modules))

    def _calls(self, modules: list[tuple[FrameType, Module]]) -> tuple[LayerCall, ...]:
        known = 0
        for (frame, _), (before, _) in zip(modules, self._running, strict=False):
            if frame is not before:
                break
            known += 1
        del self._running[known:]
        for frame, module in modules[known:]:
            self._running.append((frame, LayerCall(module, self._note(_arguments(frame, module)))))
        return tuple(call for _, call in self._running)


def name_of(value: Any) -> str:
    """The variable that holds a value at the call of the running operation: in the user's code, or else in a layer."""
    inner = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (part := _part(frame.f_code.co_filename)) != "loop":
        if part == "user" or (part == "layer" and not inner):
            found = (name for name, held in frame.f_locals.items() if held is value and not name.startswith("_"))
            inner = next(found, "") or inner
        if part == "user":
            break
        frame = frame.f_back
    return inner


def _arguments(frame: FrameType, module: Module) -> dict[str, Any]:
    """The arguments of a module's call, by the names of its forward, from the frame of the call."""
    code, given = frame.f_code, frame.f_locals
    if code is not Module.__call__.__code__:  # the frame of forward itself
        return {name: given[name] for name in code.co_varnames[1 : code.co_argcount] if name in given}
    try:
        bound = inspect.signature(module.forward).bind(*given["args"], **given["kwargs"])
    except (TypeError, ValueError):
        return {}
    return dict(bound.arguments)


@functools.lru_cache(maxsize=1024)
def _part(file: str) -> str:
    """Classify the code in a file: ``"user"``, ``"layer"``, the training ``"loop"``, or ``"inside"`` an op."""
    if not os.path.abspath(file).startswith(PACKAGE):
        return "user"
    folder = os.path.abspath(file).removeprefix(PACKAGE).split(os.sep)[0]
    return {"nn": "layer", "training": "loop", "cli": "loop"}.get(folder, "inside")
