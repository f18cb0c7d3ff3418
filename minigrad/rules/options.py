"""Options: numbers and flags that a rule reads by name, each declared with the values that it may have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..checks import Range, interval, shown


@dataclass(frozen=True)
class Option:
    """The value of an option with its range. Made by `option`."""

    value: Any
    range: Range | None = None


def option(value: Any, range: Range | None = None) -> Option:
    """Declare an option of an optimizer: its value, and the range that every later value must be in, too.

    >>> @optim.rule
    ... def shrink(update, *, alpha):
    ...     update = update / (1 + alpha)
    ...     return update
    >>> class Shrinking(optim.Optimizer):
    ...     def __init__(self, params, lr=1e-3, alpha=5.0):
    ...         super().__init__(params, {"lr": optim.option(lr, optim.at_least(0)), "alpha": alpha})
    ...
    ...     def chain(self):
    ...         return [shrink, optim.apply_update]
    >>> Shrinking([nn.Parameter([1.0])], lr=-0.1)
    Traceback (most recent call last):
    ValueError: Shrinking: lr must be a finite number of 0 or more, not -0.1

    A value without a range, as ``alpha`` here, may be anything but NaN.
    """
    return Option(value, range)


def at_least(low: float, *, finite: bool = True) -> Range:
    """Numbers of ``low`` or more, infinity left out by default.

    >>> optim.at_least(0).words
    'a finite number of 0 or more'
    """
    return interval(low=low, finite=finite)


def above(low: float) -> Range:
    """Numbers above ``low``, infinity included.

    >>> optim.above(0).words
    'a number above 0'
    """
    return interval(above=low, finite=False)


def between(low: float, high: float, *, open_high: bool = False) -> Range:
    """Numbers from ``low`` to ``high``, of which ``high`` itself is left out with ``open_high``.

    >>> optim.between(0, 1, open_high=True).words
    'a number in [0, 1)'
    """
    return interval(low=low, below=high) if open_high else interval(low=low, high=high)


def number(*, finite: bool = False) -> Range:
    """Any number but NaN; with ``finite``, not infinity either.

    >>> optim.number().words
    'a number'
    """
    return interval(finite=finite)


def flag() -> Range:
    """True or False.

    >>> optim.flag().words
    'True or False'
    """
    return Range("True or False", _is_flag)


def tuple_of(one: Range, count: int) -> Range:
    """Tuples of ``count`` values, each in the range ``one``.

    >>> optim.tuple_of(optim.between(0, 1), 3).words
    'a tuple of 3, each a number in [0, 1]'
    """
    words = f"a tuple of {count}, each {one.words}"
    if count == 2 and one.words.startswith("a number"):
        words = f"a pair of numbers{one.words.removeprefix('a number')}"
    return Range(words, _Each(one, count))


@dataclass(frozen=True)
class _Each:
    one: Range
    count: int

    def __call__(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == self.count and all(map(self.one.allows, value))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | int | float) and value in (0, 1)


def check_option(owner: str, name: str, value: Any, range: Range | None = None) -> Any:
    """The value as it is stored: lists become tuples; NumPy's numbers, and arrays and tensors of one, Python's.

    Raises:
        ValueError: for NaN, or a value outside the option's range.
        TypeError: for anything but a number, a flag, a name, a tuple, a function or ``None``.
    """
    if type(value) is not float:
        value = _plain(value)
    if range is not None and not range.allows(value):
        raise ValueError(f"{owner}: {name} must be {range.words}, not {shown(value)}")
    if type(value) is float:
        if value == value:
            return value
        raise ValueError(f"{owner}: {name} must not be NaN")
    if isinstance(value, tuple) and any(isinstance(each, float) and math.isnan(each) for each in value):
        raise ValueError(f"{owner}: {name} must not be NaN: {value!r}")
    if not (value is None or isinstance(value, bool | int | float | str | tuple) or callable(value)):
        raise TypeError(f"{owner}: {name} must be a number, a flag, a name, a tuple or a function, not {shown(value)}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if getattr(value, "size", None) == 1 and hasattr(value, "item"):
        return value.item()  # an array or a tensor
    if isinstance(value, Real) and not isinstance(value, int | float):
        return float(value)
    return value
