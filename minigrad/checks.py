"""Checks of arguments: the values that they may have, and the errors for all others.

Each check takes the owner (a name, or the object whose class is named), the argument's name and the value. It returns
the value in its stored form, or raises an error that names all three:

>>> whole("EarlyStopping", "patience", np.int64(3))
3
>>> choice("GELU", "approximate", "tan", ("none", "tanh"))
Traceback (most recent call last):
ValueError: GELU: unknown approximate 'tan'; did you mean 'tanh'?

A value of the wrong kind is a TypeError, a value outside the range a ValueError. NumPy's scalars count as numbers;
arrays and tensors do not.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

# Takes the owner, the argument's name and its value; returns the value to store, or raises.
Check = Callable[[Any, str, Any], Any]

# PyTorch's name of an argument, and its name here.
_TORCH_NAMES = {
    "dim": "axis",
    "dims": "axis",
    "keepdim": "keepdims",
    "input": "x",
    "unbiased": "correction",
    "min": "low",
    "max": "high",
}


def shown(value: Any, length: int = 80) -> str:
    """The value as code on one line, cut to at most ``length`` characters.

    >>> shown(list(range(1000)), length=20)
    '[0, 1, 2, 3, 4, 5...'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= length else f"{text[: length - 3]}..."


def owner_name(owner: Any) -> str:
    """The name that an error begins with: the owner itself if it is text, otherwise the name of its class."""
    return owner if isinstance(owner, str) else type(owner).__name__


# --- numbers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """The values that an argument may have.

    Attributes:
        words: the values, as an error message names them after "must be".
        allows: whether a value is one of them.
        error: the exception to raise for another value.
    """

    words: str
    allows: Callable[[Any], bool]
    error: type[Exception] = ValueError


@dataclass(frozen=True)
class Bounds:
    """Whether a value is a number between two bounds; NaN never is. It can be pickled, as a lambda cannot."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __call__(self, value: Any) -> bool:
        """Whether the value is an int or a float between the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)


@functools.cache
def interval(
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> Range:
    """The numbers from ``low`` to ``high``, both included, or between ``above`` and ``below``, both excluded.

    Infinity is allowed only with ``finite=False``, and NaN never.

    >>> interval(low=0).words, interval(above=0, finite=False).words, interval(low=0, below=1).words
    ('a finite number of 0 or more', 'a number above 0', 'a number in [0, 1)')
    """
    bottom, top = max(low, above), min(high, below)
    open_low, open_high = above >= low and above > -math.inf, below <= high and below < math.inf
    bounded_low, bounded_high = bottom > -math.inf, top < math.inf
    if bounded_low and bounded_high:
        words = f"a number in {'(' if open_low else '['}{bottom:g}, {top:g}{')' if open_high else ']'}"
    else:
        words = "a finite number" if finite else "a number"
        if bounded_low:
            words += f" above {bottom:g}" if open_low else f" of {bottom:g} or more"
        elif bounded_high:
            words += f" below {top:g}" if open_high else f" of {top:g} or less"
    # An open bound at infinity leaves out infinity itself.
    open_low, open_high = open_low or (finite and not bounded_low), open_high or (finite and not bounded_high)
    return Range(words, Bounds(bottom, top, open_low, open_high))


def is_number(value: Any) -> bool:
    """Whether it is a real number of Python or NumPy, and not a flag."""
    return isinstance(value, Real) and not isinstance(value, bool)


def number(owner: Any, name: str, value: Any, **limits: Any) -> float:
    """A number as a Python float, within the limits ``low``, ``high``, ``above``, ``below``, ``finite`` of `interval`.

    >>> number("SGD", "lr", -0.1, low=0)
    Traceback (most recent call last):
    ValueError: SGD: lr must be a finite number of 0 or more, not -0.1
    """
    allowed = interval(**limits)
    if not is_number(value):
        raise TypeError(f"{owner_name(owner)}: {name} must be {allowed.words}, not {shown(value)}")
    try:
        found = float(value)
    except OverflowError:  # an int with more than 308 digits
        found = math.inf if value > 0 else -math.inf
    if not allowed.allows(found):
        raise ValueError(f"{owner_name(owner)}: {name} must be {allowed.words}, not {shown(value)}")
    return found


def whole(owner: Any, name: str, value: Any, least: int | None = 1) -> int:
    """A whole number of ``least`` or more, as a Python int; with ``least=None`` any whole number.

    >>> whole("DataLoader", "batch_size", 0)
    Traceback (most recent call last):
    ValueError: DataLoader: batch_size must be a whole number of 1 or more, not 0
    """
    if isinstance(value, Integral) and is_number(value) and (least is None or int(value) >= least):
        return int(value)
    kind = ValueError if isinstance(value, Integral) and is_number(value) else TypeError
    limit = "" if least is None else f" of {least} or more"
    raise kind(f"{owner_name(owner)}: {name} must be a whole number{limit}, not {shown(value)}")


# --- other kinds of values -------------------------------------------------------------------------------------------


def flag(owner: Any, name: str, value: Any) -> bool:
    """True or False, as a Python bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{owner_name(owner)}: {name} must be True or False, not {shown(value)}")
    return bool(value)


def choice(owner: Any, name: str, value: Any, known: Iterable[str]) -> str:
    """One of the known words; the error names the nearest one."""
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{owner_name(owner)}: {unknown(name, str(value), words)}")
    return value


def function(owner: Any, name: str, value: Any) -> Callable[..., Any]:
    """An object that can be called."""
    if not callable(value):
        raise TypeError(f"{owner_name(owner)}: {name} must be a function, not {shown(value)}")
    return value


def optional(check: Callable[..., Any]) -> Callable[..., Any]:
    """The same check, which also lets ``None`` pass."""
    return lambda owner, name, value, **settings: None if value is None else check(owner, name, value, **settings)


# --- declared arguments: fields of a dataclass with their check ------------------------------------------------------


def checked(check: Callable[..., Any], default: Any = MISSING, **settings: Any) -> Any:
    """A field of a dataclass whose value must pass a check, which is called with the settings.

    The dataclass calls `check_fields` when it has been made:

    >>> @dataclass(frozen=True)
    ... class Halving:
    ...     every: int = checked(whole, 10)
    ...
    ...     def __post_init__(self):
    ...         check_fields(self)
    >>> Halving(0)
    Traceback (most recent call last):
    ValueError: Halving: every must be a whole number of 1 or more, not 0
    """
    return field(default=default, metadata={"check": functools.partial(check, **settings) if settings else check})


def check_fields(instance: Any) -> None:
    """Check the fields of a dataclass that were declared by `checked`, and store what the checks return."""
    for each in fields(instance):
        if (check := each.metadata.get("check")) is not None:
            # A frozen dataclass refuses to set attributes in the usual way.
            object.__setattr__(instance, each.name, check(instance, each.name, getattr(instance, each.name)))


# --- names -----------------------------------------------------------------------------------------------------------


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


def spelled(kind: str, name: str, known: Iterable[str]) -> str:
    """The known name that equals ``name`` except for case; ValueError if no name does.

    >>> spelled("optimizer", "adamw", ["Adam", "AdamW"])
    'AdamW'
    """
    names = {each.lower(): each for each in known}
    if name.lower() not in names:
        raise ValueError(unknown(kind, name, names.values()))
    return names[name.lower()]


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


def by_position(name: str, values: Sequence[Any], known: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``name`` that are given by position, by their names; ``given`` has those given by name.

    >>> by_position("sum", (0, True), ["axis", "keepdims"], {})
    {'axis': 0, 'keepdims': True}
    """
    if len(values) > len(known):
        raise TypeError(f"{name}: {len(values)} values are given by position for {', '.join(known)}")
    found = dict(zip(known, values, strict=False))
    for argument in found:
        if argument in given:
            raise TypeError(f"{name}: {argument} is given twice, by position and by name")
    return found


@functools.lru_cache
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
    # Only the iterators of lists and tuples distinguish being used up from having had no items.
    empty_container = type(given) in (type(iter([])), type(iter(()))) and len(given.__reduce__()) > 2
    items = list(given)
    if not items and isinstance(given, Iterator) and not empty_container:
        raise ValueError(
            f"{owner}: the list of {what} is empty: the iterator that was given has no items, as after it was used "
            f"once; pass a list{', such as list(model.parameters())' if what == 'parameters' else ''}"
        )
    return items


# --- saved state -----------------------------------------------------------------------------------------------------


def same_keys(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Raise ValueError naming the keys of ``found`` that are missing or unexpected."""
    wanted = list(expected)
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing or unexpected:
        parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"unexpected {', '.join(map(repr, unexpected))}"] if unexpected else []
        raise ValueError(f"{what}: {'; '.join(parts)}")


def same_value(what: str, saved: Any, here: Any) -> None:
    """Raise ValueError if a setting differs from the saved run's."""
    if saved != here:
        raise ValueError(f"{what} was {saved} in the saved run, and is {here} here")


def whole_number(what: str, value: Any) -> int:
    """The value as an int; ValueError unless it is a whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{what} must be a whole number of 0 or more, not {value!r}")
    return int(value)
