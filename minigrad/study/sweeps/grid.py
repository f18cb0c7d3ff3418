"""What varies in a sweep: values, ranges and random draws of options, and the cells that they make."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checks import spelled, unknown
from ...recipes import catalog
from ...recipes.options import OPTIONS, as_text

# The settings of some runs that differ from the arguments of the whole sweep; always with the optimizer.
Cell = dict[str, Any]

_NUMBER = r"[+-]?[\d.]+?(?:e[+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.(?!\.)({_NUMBER})(?::(\d+))?(?:[:\s]\s*([a-z]+))?", re.IGNORECASE)
PLUS = " + "  # between several values of an option that may be repeated
_DIGITS = 4  # of the numbers of a range, so that 17 values include the 9 of half the density, and can be typed
_LONGEST = 10_000  # values of a range
# Why some options cannot vary.
NOT_SWEPT = {
    "seed": "give the seeds themselves, or how many",
    "validation": "all runs need the same validation rows",
    "optimizer": "name the optimizers first",
    "optimizer_option": "give the option by its name",
}


@dataclass(frozen=True)
class Range:
    """All numbers between two others, of which random ones are drawn, by default on a logarithmic scale.

    Attributes:
        low, high: the ends, which belong to it.
        linear: whether the scale is linear.
    """

    low: float
    high: float
    linear: bool = False

    def at(self, part: float) -> float:
        """Return the number at a part of the way, with four digits unless it is an end."""
        if part in (0, 1):
            return self.high if part else self.low
        between = self.low + part * (self.high - self.low) if self.linear else self.low * (self.high / self.low) ** part
        return float(f"{between:.{_DIGITS}g}")


Axis = list[Any] | Range


def read_axis(name: str, given: Any) -> Axis:
    """Return the values of an option: one, a list of them, or a range such as ``"1e-4..1:9"``.

    Texts are read as on the command line: ``"0.1,0.3"`` are two rates. A list has several values of any option.

    Raises:
        ValueError: naming the option, for an unknown option or a wrong value.
    """
    name = _known(name)
    if isinstance(given, Range):
        return given
    if hasattr(given, "tolist"):
        given = given.tolist()
    values = (
        given if isinstance(given, list) or (isinstance(given, tuple) and not catalog.takes_tuple(name)) else [given]
    )
    found: list[Any] = []
    for each in values:
        axis = _read(name, each.item() if isinstance(each, np.generic) else each)
        if isinstance(axis, Range):
            if len(values) > 1:
                raise ValueError(f"{name}: {each} is a range, which cannot be one value of a list")
            return axis
        found += [value for value in axis if value not in found]
    if not found:
        raise ValueError(f"{name}: needs a value")
    return found


def _known(name: str) -> str:
    plain = name.replace("-", "_")
    if plain not in OPTIONS:
        raise ValueError(unknown("option", name, OPTIONS))
    if plain in NOT_SWEPT:
        raise ValueError(f"{name} cannot be swept: {NOT_SWEPT[plain]}")
    return plain


def _read(name: str, given: Any) -> Axis:
    """Return the values that one text or value stands for."""
    if given is None or given == "none":
        return [None]
    if isinstance(given, str) and (found := _RANGE.fullmatch(given.strip())):
        return _range(name, found)
    text = as_text(name, given)
    try:
        value = _value(name, text)
    except ValueError as error:
        parts = split(text)
        with contextlib.suppress(ValueError):
            if len(parts) > 1:
                return [_value(name, part) for part in parts]
        raise error from None
    return list(value) if isinstance(value, tuple) and not catalog.takes_tuple(name) else [value]


def _value(name: str, text: str) -> Any:
    """Return the value of an option from its text."""
    option = OPTIONS[name]
    try:
        if option.repeated:  # such as two clips, one after the other
            return PLUS.join(option.read(part.strip()) for part in text.split(PLUS))
        if option.metavar:
            return option.read(text.strip())
        return {"true": True, "false": False}[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{name} must be true or false, not {text!r:.80}") from None
    except ValueError as error:
        raise ValueError(f"{name}{' ' if str(error).startswith('must') else ': '}{error}") from None


def split(text: str) -> list[str]:
    """Split a text at the commas outside of parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _range(name: str, found: re.Match[str]) -> Axis:
    text, (low_text, high_text, count_text, scale) = found.group(), found.groups()
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        raise ValueError(f"{name}: {text!r:.80} is not a range of numbers, such as 1e-4..1:9") from None
    linear = scale is not None and spelled(f"scale of {name}", scale, ("log", "linear")) == "linear"
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{name}: the range {text} must begin below its end")
    if low <= 0 and not linear:
        raise ValueError(
            f"{name}: the logarithmic range {text} must begin above 0; or write {low:g}..{high:g}:9:linear"
        )
    between = Range(low, high, linear)
    if count_text is None:
        return between
    count = int(count_text)
    if not 2 <= count <= _LONGEST:
        raise ValueError(f"{name}: a range has 2 to {_LONGEST:,} values, not {count}")
    numbers = [_number(name, between.at(i / (count - 1))) for i in range(count)]
    return list(dict.fromkeys(numbers))


def _number(name: str, value: float) -> Any:
    """Return a number of a range as the value of an option, rounded if it must be a whole number."""
    try:
        return _value(name, repr(value))
    except ValueError:
        return _value(name, str(round(value)))


# --- cells -----------------------------------------------------------------------------------------------------------


def read_optimizer(text: str) -> tuple[str, dict[str, Axis]]:
    """Return the name of an optimizer, and its own axes, of a text such as ``Adam:lr=1e-4..0.1:7,eps=1e-8``.

    Raises:
        ValueError: for an unknown name, or an option that the optimizer does not have.
    """
    name, _, rest = text.strip().partition(":")
    name = spelled("optimizer", name.strip(), catalog.OPTIMIZERS)
    known = catalog.optimizer_arguments(name)
    given: dict[str, str] = {}
    for part in split(rest) if rest.strip() else ():
        option, equals, value = (each.strip() for each in part.partition("="))
        if equals:
            if option not in known:
                raise ValueError(f"{name}: {unknown('option', option, known)}")
            given[option] = value
        elif given:  # another value of a list
            given[option := list(given)[-1]] += f",{part.strip()}"
        else:
            raise ValueError(f"{name}: write its values by name, as in {name}:lr=0.01")
    try:
        return name, {option: read_axis(option, value) for option, value in given.items()}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def make_cells(
    optimizers: Iterable[str], axes: Mapping[str, Axis], random: int | None = None, seed: int = 0
) -> list[Cell]:
    """Return the cells of a sweep: for each optimizer all combinations of values, or random draws of them.

    A hyper-parameter among ``axes`` applies to the optimizers that have it.

    Args:
        optimizers: texts such as ``"Adam"`` or ``"Adam:lr=1e-4..0.1:7"``.
        axes: what varies for all optimizers.
        random: how many cells to draw for each optimizer; the first ones do not depend on the number.
        seed: decides the draws.

    Raises:
        ValueError: for an unknown name, or a range without a count.
    """
    texts = list(optimizers)
    names = [read_optimizer(text)[0] for text in texts]
    for name in set(axes) & set(catalog.hyper_parameters()):
        if not any(name in catalog.optimizer_arguments(each) for each in names):
            raise ValueError(f"none of the optimizers has the option {name}")
    cells = [cell for text in texts for cell in cells_of(text, axes, random, seed)]
    return list({repr(cell): cell for cell in cells}.values())


def cells_of(text: str, axes: Mapping[str, Axis], random: int | None = None, seed: int = 0) -> list[Cell]:
    """Return the cells of one optimizer, as `make_cells` does."""
    optimizer, own = read_optimizer(text)
    missing = catalog.hyper_parameters().keys() - catalog.optimizer_arguments(optimizer).keys()
    merged = {**{name: axis for name, axis in axes.items() if name not in missing}, **own}
    found = _product(merged) if random is None else _draws(merged, random, seed)
    return [{"optimizer": optimizer, **cell} for cell in found]


def _product(axes: Mapping[str, Axis]) -> list[Cell]:
    lists: list[list[Any]] = []
    for name, axis in axes.items():
        if isinstance(axis, Range):
            raise ValueError(f"{name}: how many values? write {axis.low:g}..{axis.high:g}:9 for nine of them")
        lists.append(axis)
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*lists)]


def _draws(axes: Mapping[str, Axis], count: int, seed: int) -> list[Cell]:
    found = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        cell = {}
        for name, axis in axes.items():
            if isinstance(axis, Range):
                cell[name] = _number(name, axis.at(rng.random()))
            else:
                cell[name] = axis[int(rng.integers(len(axis)))]
        found.append(cell)
    return found
