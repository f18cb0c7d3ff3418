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
    """A name, its positional values, and its values by name."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_call(text: str) -> Call:
    """Read a call. Values are numbers, words, and lists and tuples of them; no code is run.

    Raises:
        ValueError: if the text is not a call.
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
        raise ValueError(f"must be a name, or one with values as in NAME:value,name=value, not {text!r:.200}") from None
    return Call(name, args, kwargs)


def parse_value(text: str) -> Any:
    """Read a number, true, false, none or a word, or several of them with commas as a tuple.

    Raises:
        ValueError: if the text is not a value.
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


def arguments_of(function: Callable[..., Any], leave_out: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the arguments of a function or class by name."""
    skipped = {"self", *leave_out}
    return {name: p for name, p in inspect.signature(function).parameters.items() if name not in skipped}


def check_arguments(owner: str, call: Call, known: dict[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the values of a call by the names of the arguments.

    Raises:
        ValueError: for an unknown or repeated name, or too many values.
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
    """Return a name with its arguments and their defaults, as in code."""
    parts = [p.name if p.default is p.empty else f"{p.name}={show(p.default)}" for p in known.values()]
    return f"{name}({', '.join(parts)})"


def show(value: Any) -> str:
    """Return a default as in code, and a function by its name."""
    return getattr(value, "__name__", "") or repr(value)
