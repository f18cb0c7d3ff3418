"""Names with arguments as text: ``StepLR:step_size=10,gamma=0.5`` or ``StepLR(step_size=10, gamma=0.5)``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..checks import unknown

_WORDS = {"true": True, "false": False, "none": None, "inf": float("inf")}


class Call(NamedTuple):
    """A name, the values behind it by place, and those by name."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_call(text: str) -> Call:
    """Read a call. Only numbers, words, and lists and tuples of them are values; nothing is run.

    Raises:
        ValueError: if it is no such text.
    """
    name, arguments = text.strip(), ""
    found = re.fullmatch(r"([\w.-]+)\s*(?::(.*)|\((.*)\))", name, re.DOTALL)
    if found:
        name, arguments = found.group(1), found.group(2) or found.group(3) or ""
    try:
        call = ast.parse(f"call({arguments})", mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError
        args = tuple(map(_literal, call.args))
        kwargs = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg}
        if len(kwargs) != len(call.keywords) or not re.fullmatch(r"[\w.-]+", name):
            raise ValueError
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"must be a name, maybe with values as in NAME:value,name=value, not {text!r:.200}") from None
    return Call(name, args, kwargs)


def parse_value(text: str) -> Any:
    """A number, true, false, none, a word, or several with commas between them as a tuple.

    Raises:
        ValueError: if it is none of these.
    """
    try:
        return _literal(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"must be a number, a word, or several with commas between them, not {text!r:.200}") from None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(map(_literal, node.elts))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        return node.value
    raise ValueError


def spelled(kind: str, name: str, known: Iterable[str]) -> str:
    """The known name that differs from ``name`` in capitals at most.

    Raises:
        ValueError: if there is none; it suggests the nearest.
    """
    names = {each.lower(): each for each in known}
    if name.lower() not in names:
        raise ValueError(unknown(kind, name, names.values()))
    return names[name.lower()]


def arguments_of(function: Callable[..., Any], leave_out: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """The arguments of a function or class by name."""
    skipped = {"self", *leave_out}
    return {name: p for name, p in inspect.signature(function).parameters.items() if name not in skipped}


def check_arguments(owner: str, call: Call, known: dict[str, inspect.Parameter]) -> dict[str, Any]:
    """The values of a call by name.

    Raises:
        ValueError: for a name that the arguments do not have, or too many values.
    """
    names = list(known)
    if len(call.args) > len(names):
        raise ValueError(f"{owner} takes {len(names)} values, not {len(call.args)}")
    values = dict(zip(names, call.args, strict=False))
    for name, value in call.kwargs.items():
        if name not in known:
            raise ValueError(f"{owner}: {unknown('option', name, names) if names else f'has no option {name!r}'}")
        if name in values:
            raise ValueError(f"{owner}: {name} is given twice")
        values[name] = value
    return values


def describe(name: str, known: dict[str, inspect.Parameter]) -> str:
    """A name with its arguments and their defaults, as in code."""
    parts = [p.name if p.default is p.empty else f"{p.name}={show(p.default)}" for p in known.values()]
    return f"{name}({', '.join(parts)})"


def show(value: Any) -> str:
    """A default as in code; a function by its name."""
    return getattr(value, "__name__", "") or repr(value)
