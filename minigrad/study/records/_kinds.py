"""The kinds of values in the lines of a recording, and the check that a file holds them.

A recording may come from anywhere, so each line is checked once, when it is read; whatever reads a `Recording`
afterwards relies on its kinds. A kind is a function of a value and of the names that lead to it; it raises `KindError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, ItemsView, Iterable, Mapping
from typing import Any

Kind = Callable[[Any, tuple[str, ...]], None]


class KindError(ValueError):
    """A value that is not of the kind that its name promises; the text ends with the names that lead to it."""

    def __init__(self, what: str, path: tuple[str, ...]) -> None:
        super().__init__(what + (f" ({', '.join(path)})" if path else ""))


def _one(wanted: str, test: Callable[[Any], bool]) -> Kind:
    def check(value: Any, path: tuple[str, ...]) -> None:
        if not test(value):
            raise KindError(f"{value!r:.40} is not a {wanted}", path)

    return check


def _is_whole(value: Any) -> bool:
    # A float holds larger whole numbers only in part, so they are not measurements, and arrays cannot hold them all.
    return type(value) is int and abs(value) < 1 << 53


number = _one("number", lambda value: type(value) is float or _is_whole(value))
finite = _one("finite number", lambda value: _is_whole(value) or (type(value) is float and math.isfinite(value)))
count = _one("count", lambda value: _is_whole(value) and value >= 0)
positive = _one("count of 1 or more", lambda value: _is_whole(value) and value > 0)
text = _one("text", lambda value: isinstance(value, str))
optional_text = _one("text", lambda value: value is None or isinstance(value, str))
flag = _one("flag, true or false", lambda value: isinstance(value, bool))


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of values of one kind."""

    def check(value: Any, path: tuple[str, ...]) -> None:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            wanted = "list" if length is None else f"list of {length}"
            raise KindError(f"{value!r:.40} is not a {wanted}", path)
        for i, each in enumerate(value):
            kind(each, (*path, str(i)))

    return check


def table_of(kind: Kind) -> Kind:
    """A table with any names, whose values are all of one kind."""

    def check(value: Any, path: tuple[str, ...]) -> None:
        for name, each in _items(value, path):
            kind(each, (*path, name))

    return check


def table(known: Mapping[str, Kind], *, needed: Iterable[str] = (), other: Kind | None = None) -> Kind:
    """A table whose names are known, and of which some are needed; values under other names are ``other``, if given."""

    def check(value: Any, path: tuple[str, ...]) -> None:
        found = _items(value, path)
        for name in needed:
            if name not in value:
                raise KindError(f"{name} is missing", path)
        for name, each in found:
            kind = known.get(name, other)
            if kind is not None:
                kind(each, (*path, name))

    return check


def numbers(value: Any, path: tuple[str, ...]) -> None:
    """Numbers at any depth, which a newer recorder may have added."""
    if isinstance(value, dict):
        table_of(numbers)(value, path)
    elif isinstance(value, list):
        list_of(numbers)(value, path)
    else:
        number(value, path)


def _items(value: Any, path: tuple[str, ...]) -> ItemsView[str, Any]:
    if not isinstance(value, dict):
        raise KindError(f"{value!r:.40} is not a table", path)
    return value.items()
