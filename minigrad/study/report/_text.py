"""Numbers, counts, names and tables as the page writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

_LONGEST = 300  # characters of a name or a value
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Characters that HTML forbids, surrogates that no file can hold, and marks that change the direction of reading.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def readable(text: str) -> str:
    """Replace the characters that a page cannot hold."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def brief(text: object) -> str:
    """Return a name or a value from a run, cut if it is very long."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}… ({len(whole):,} characters)"


def number(value: object, digits: int = 3) -> str:
    """Write a number: an integer with commas, others with this many digits, far from 1 with a power of ten.

    >>> number(1234), number(0.01234), number(1.5e-7), number(float("nan"))
    ('1,234', '0.0123', '1.5 × 10⁻⁷', 'NaN')
    """
    if value is None or isinstance(value, str):
        return "" if value is None else brief(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    try:
        real = float(value)  # type: ignore[arg-type]  # what is not a number raises
    except (TypeError, ValueError, OverflowError):
        return brief(value)
    if math.isnan(real):
        return "NaN"
    if math.isinf(real):
        return f"{_MINUS}∞" if real < 0 else "∞"
    if real == int(real) and abs(real) < 1e9:
        return f"{int(real):,}".replace("-", _MINUS)
    if 1e-3 <= abs(real) < 1e6:
        short = f"{real:.{digits}g}"
        return (f"{float(short):,.0f}" if "e" in short else short).replace("-", _MINUS)
    mantissa, _, power = f"{real:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return powers(f"{mantissa}e{power}")


def powers(text: str) -> str:
    """Write numbers such as 1.5e-07 in a text as `number` writes them."""
    return re.sub(r"(?<![\w.])(-?\d+(?:\.\d+)?)e([+-]\d+)\b", _power, text)


def _power(found: re.Match[str]) -> str:
    return f"{found[1].replace('-', _MINUS)} {_TIMES} 10{str(int(found[2])).translate(_RAISED)}"


def share(part: float, whole: float) -> str:
    """Write a part in percent, never rounded to all or nothing."""
    if not whole:
        return "none"
    rounded = f"{part / whole:.0%}"
    return "> 99%" if rounded == "100%" and part < whole else "< 1%" if rounded == "0%" and part > 0 else rounded


def capital(text: str) -> str:
    """Begin a text with a capital letter."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """Write a text as a sentence: on one line, with a capital letter and a period."""
    text = capital(powers(" ".join(text.split())))
    return text + ("" if text.endswith((".", "!", "?")) else ".")


class Table(NamedTuple):
    """A table of texts.

    Attributes:
        headings, rows: the texts.
        words: how many columns hold words, from the left; the others hold numbers.
        links: the places that the cells of the first column link to, if any.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    links: Sequence[str | None] = ()

    @classmethod
    def of(cls, columns: Mapping[str, Iterable[str]], words: int = 1, links: Sequence[str | None] = ()) -> Table:
        """Make a table of columns, without those after the first that are empty."""
        cells = {heading: list(column) for heading, column in columns.items()}
        kept = [heading for i, (heading, column) in enumerate(cells.items()) if i == 0 or any(column)]
        rows = list(zip(*(cells[heading] for heading in kept), strict=True))
        return cls(kept, rows, sum(heading in kept for heading in list(cells)[:words]), links)
