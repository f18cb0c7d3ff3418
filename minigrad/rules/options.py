"""Options: the numbers and flags that rules read by name, each declared with its default and its range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..checks import Range, interval, shown


@dataclass(frozen=True)
class Option:
    """A value of an option and its range. Made by `option` and `fixed`.

    Attributes:
        value: the value, or in the body of a class the default.
        range: the values that it may have; by default anything but NaN.
        fixed: whether it belongs to the whole optimizer and cannot change, instead of being an option of each group.
    """

    value: Any
    range: Range | None = None
    fixed: bool = False


def option(value: Any, range: Range | None = None) -> Any:
    """Declare an option of the param groups: its default, and the range that its values must be in at any time.

    >>> @optim.rule
    ... def shrink(update, *, alpha):
    ...     update = update / (1 + alpha)
    ...     return update
    >>> class Shrinking(optim.Optimizer):
    ...     lr: float = optim.option(1e-3, optim.at_least(0))
    ...     alpha: float = optim.option(5.0)
    ...
    ...     def chain(self):
    ...         return [shrink, optim.apply_update]
    >>> Shrinking([nn.Parameter([1.0])], lr=-0.1)
    Traceback (most recent call last):
    ValueError: Shrinking: lr must be a finite number of 0 or more, not -0.1

    Without a range, as for ``alpha`` here, only NaN is refused. A class with its own ``__init__`` passes its options
    on: ``super().__init__(params, {"lr": optim.option(lr, optim.at_least(0)), "alpha": alpha})``.
    """
    return Option(value, range)


def fixed(value: Any, range: Range | None = None) -> Any:
    """Declare a setting of the whole optimizer: its default, and its range. It is an attribute that cannot change.

    A state dict has it, unless it is a function, and is refused by an optimizer whose setting differs.
    """
    return Option(value, range, fixed=True)


def at_least(low: float, *, finite: bool = True) -> Range:
    """Numbers of ``low`` or more; infinity only with ``finite=False``.

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
    """Numbers from ``low`` to ``high``; with ``open_high`` without ``high`` itself.

    >>> optim.between(0, 1, open_high=True).words
    'a number in [0, 1)'
    """
    return interval(low=low, below=high) if open_high else interval(low=low, high=high)


def number(*, finite: bool = False) -> Range:
    """Any number except NaN; with ``finite``, except infinity too.

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


def one_of(*choices: str) -> Range:
    """One of some words.

    >>> optim.one_of("mean", "sum").words
    "'mean' or 'sum'"
    """
    *others, last = map(repr, choices)
    return Range(f"{', '.join(others)} or {last}", choices.__contains__)


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
    """Check a value and return it as Python's: lists become tuples, NumPy's numbers and arrays of one number numbers.

    Raises:
        ValueError: for NaN, or a value outside the range.
        TypeError: for anything but a number, a flag, a name, a tuple, a function or ``None``.
    """
    if type(value) is not float:
        value = _plain(value)
    if range is not None and not range.allows(value):
        raise range.error(f"{owner}: {name} must be {range.words}, not {shown(value)}")
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
