"""What to say about arguments that a call does not know; apart from one wrapper, nothing here runs in a right call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

from .suggest import unknown

P = ParamSpec("P")
R = TypeVar("R")

# What PyTorch calls an argument, and what it is called here.
_TORCH_NAMES = {
    "dim": "axis",
    "dims": "axis",
    "keepdim": "keepdims",
    "input": "x",
    "unbiased": "correction",
    "min": "low",
    "max": "high",
}


def refuse_unknown(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise TypeError for the first of the ``given`` argument names that is not among the ``known`` ones of ``name``.

    >>> refuse_unknown("sum", ["dim"], ["x", "axis", "keepdims"])
    Traceback (most recent call last):
    TypeError: sum: unknown argument 'dim'; did you mean 'axis'?
    """
    for argument in given:
        if argument in known:
            continue
        here = _TORCH_NAMES.get(argument)
        if not known:
            raise TypeError(f"{name}: unknown argument {argument!r}; it takes none by name")
        if here in known:
            raise TypeError(f"{name}: unknown argument {argument!r}; did you mean {here!r}?")
        raise TypeError(f"{name}: {unknown('argument', argument, known)}")


def parameters_of(function: Callable[..., Any]) -> list[str] | None:
    """The names that ``function`` takes as keywords, without ``self``; ``None`` if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]


def named_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that an argument with an unknown name is refused with the nearest name that is known."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            known = parameters_of(function) if kwargs else None
            if known is not None:
                name, _, method = function.__qualname__.rpartition(".")
                refuse_unknown(name if method == "__init__" else method, kwargs, known)
            raise

    return called
