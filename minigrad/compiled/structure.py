"""Nested arguments and results: tensors and arrays taken out of tuples, lists and dictionaries, and put back."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from .arrays import TracedArray

# Values that are the same if they are equal; others, such as modules, if they are the same object.
_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)
_LEAF = "leaf"
# Packages whose functions are not searched for names.
_LIBRARIES = (__name__.partition(".")[0], "numpy")
# How far the search for names follows attributes of attributes, and functions that functions call.
_DEPTH = 3


class Same:
    """An object in the key of a program, which keeps it alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def objects_in(rest: Any) -> Iterator[Any]:
    """The objects in what `flatten` has returned."""
    if rest != _LEAF and rest[0] == "object":
        yield rest[1].value
    elif rest != _LEAF and rest[0] != "value":
        for item in rest[1]:
            yield from objects_in(item[1] if rest[0] is dict else item)


def flatten(value: Any, leaves: list[Any], scalars: bool = False) -> Any:
    """Add the tensors and arrays in a value, and NumPy's ``scalars``, to ``leaves``; return the rest, hashable."""
    if (
        type(value) is Tensor
        or isinstance(value, np.ndarray | TracedArray)
        or (scalars and isinstance(value, np.generic))
    ):
        leaves.append(value)
        return _LEAF
    if isinstance(value, tuple | list):
        return type(value), tuple(flatten(item, leaves, scalars) for item in value)
    if isinstance(value, dict):
        return dict, tuple((key, flatten(item, leaves, scalars)) for key, item in value.items())
    if isinstance(value, _PLAIN):
        return "value", type(value), repr(value) if isinstance(value, float) else value, value
    return "object", Same(value)


def build(rest: Any, leaves: Iterator[Any]) -> Any:
    """The value again, with other tensors and arrays."""
    if rest == _LEAF:
        return next(leaves)
    kind, content = rest[0], rest[1]
    if kind == "value":
        return rest[-1]
    if kind == "object":
        return content.value
    if kind is dict:
        return {key: build(item, leaves) for key, item in content}
    items = [build(item, leaves) for item in content]
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def named_objects(function: Any, given: Sequence[Any] = (), depth: int = _DEPTH) -> list[tuple[Any, str, Any]]:
    """The tensors, models, optimizers and schedulers that a function finds by name: (holder, name, object).

    They are looked for among its global variables, its closure's, and the attributes of the object that it is a method
    of, of objects in the arguments ``given``, and of objects and functions that are found this way. The holder is a
    dictionary, or the cell of a closure.
    """
    function = getattr(function, "__wrapped__", function)  # of a compiled step
    if isinstance(function, functools.partial):
        function, given = function.func, [*given, *function.args, *function.keywords.values()]
    if not isinstance(function, FunctionType | MethodType):
        function = getattr(function, "__call__", None)  # noqa: B004 - an object that can be called
    owner, plain = getattr(function, "__self__", None), getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if not depth or code is None or str(plain.__module__).partition(".")[0] in _LIBRARIES:
        return []
    places: list[tuple[Any, str, Any]] = []
    for cell in plain.__closure__ or ():
        with contextlib.suppress(ValueError):  # not set yet
            places.append((cell, "", cell.cell_contents))
    holders = [plain.__globals__, *map(_attributes, (*given, owner))]
    found = []
    for _ in range(_DEPTH):
        places += [(holder, name, holder[name]) for holder in holders for name in code.co_names if name in holder]
        holders = []
        for place in places:
            value = place[2]
            inner = [] if _is_tracked(value) else named_objects(value, (), depth - 1)
            there = {} if _is_tracked(value) else _attributes(value)
            if _is_tracked(value) or inner or not there.keys().isdisjoint(code.co_names):
                found += [place, *inner]
                holders.append(there)
        places = []
    return list({(id(holder), name): (holder, name, value) for holder, name, value in found}.values())


def _is_tracked(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(type(value), "state_dict")


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object that is not a model or the like, a class or a file of code."""
    if _is_tracked(value) or isinstance(value, type | ModuleType) or hasattr(value, "__code__"):
        return {}
    found: dict[str, Any] = getattr(value, "__dict__", {})
    return found


def are_named(objects: list[tuple[Any, str, Any]]) -> bool:
    """Whether these objects are still found by their names."""
    for holder, name, value in objects:  # noqa: SIM110 - a generator would take three times as long
        if (holder.get(name) if name else holder.cell_contents) is not value:
            return False
    return True


def refusal(leaf: Any) -> str:
    """Why a program cannot be given a tensor or array; empty if it can."""
    if isinstance(leaf, Tensor):
        return "" if leaf.device == "cpu" else "an argument is on the GPU"
    if type(leaf) not in (np.ndarray, np.memmap):
        return f"an argument is a {type(leaf).__name__}"
    return "" if leaf.dtype.isnative else f"the bytes of an argument of dtype {leaf.dtype.str} are in another order"


def kind_of(leaf: Any) -> Any:
    """What a program depends on of a tensor or array."""
    array = leaf._data if isinstance(leaf, Tensor) else leaf
    required = isinstance(leaf, Tensor) and leaf._requires_grad
    return type(leaf), (array.shape, array.strides, array.dtype, required)
