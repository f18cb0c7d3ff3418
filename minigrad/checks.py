"""What to say about arguments that a call does not know; apart from one wrapper, nothing here runs in a right call."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

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


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The text of an error about an unknown ``name``: the nearest known name, or all of them if none is near.

    >>> unknown("dataset", "digit", ["digits", "moons"])
    "unknown dataset 'digit'; did you mean 'digits'?"
    >>> unknown("dataset", "cats", ["digits", "moons"])
    "unknown dataset 'cats'; known are digits, moons"
    """
    spelled = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.6)
    near.sort(key=lambda each: sorted(each) != sorted(name.lower()))  # those with the same letters first
    remedy = f"did you mean {spelled[near[0]]!r}?" if near else f"known are {', '.join(spelled.values())}"
    return f"unknown {kind} {name!r}; {remedy}"


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


def listed(owner: str, given: Iterable[Any], what: str = "parameters") -> list[Any]:
    """The items of an iterable.

    Raises:
        TypeError: for something that is not an iterable, or a string.
        ValueError: for an iterator that gives nothing, since one that was used before gives nothing either.

    >>> listed("SGD", (parameter for parameter in []))
    Traceback (most recent call last):
    ValueError: SGD: the list of parameters is empty: the iterator that was given has no items, as after it was used \
once; pass a list, such as list(model.parameters())
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{owner}: needs a list of {what}, not {type(given).__name__}")
    # The iterators of lists and tuples, and they alone, tell one that was used up from one over nothing.
    empty_container = type(given) in (type(iter([])), type(iter(()))) and len(given.__reduce__()) > 2
    items = list(given)
    if not items and isinstance(given, Iterator) and not empty_container:
        raise ValueError(
            f"{owner}: the list of {what} is empty: the iterator that was given has no items, as after it was used "
            f"once; pass a list{', such as list(model.parameters())' if what == 'parameters' else ''}"
        )
    return items
