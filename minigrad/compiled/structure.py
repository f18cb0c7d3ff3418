"""Nested arguments and results: tensors and arrays taken out of tuples, lists and dictionaries, and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from .arrays import TracedArray

# Values that are the same if they are equal; others, such as modules, if they are the same object.
_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic, np.dtype)
_LEAF = "leaf"


class Same:
    """An object in the key of a program, which keeps it alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


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


def named_objects(function: Any) -> list[tuple[Any, str, Any]]:
    """The tensors, models, optimizers and schedulers that a function finds by name: (holder, name, object).

    They are looked for among its global variables, its closure's, and the attributes of the object that it is a method
    of. The holder is a dictionary, or the cell of a closure.
    """
    owner, plain = getattr(function, "__self__", None), getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return []
    holders = [plain.__globals__, getattr(owner, "__dict__", {})]
    found = [(holder, name, holder[name]) for holder in holders for name in code.co_names if name in holder]
    for cell in plain.__closure__ or ():
        with contextlib.suppress(ValueError):  # not set yet
            found.append((cell, "", cell.cell_contents))
    return [each for each in found if isinstance(each[2], Tensor) or hasattr(type(each[2]), "state_dict")]


def are_named(objects: list[tuple[Any, str, Any]]) -> bool:
    """Whether these objects are still found by their names."""
    for holder, name, value in objects:  # noqa: SIM110 - a generator would take three times as long
        if (holder.get(name) if name else holder.cell_contents) is not value:
            return False
    return True


def kind_of(leaf: Any) -> Any:
    """What a program depends on of a tensor or array."""
    array = leaf._data if isinstance(leaf, Tensor) else leaf
    required = isinstance(leaf, Tensor) and leaf._requires_grad
    return type(leaf), array.shape, array.dtype, array.strides, required
