"""Wording: numbers, counts and names as people read them."""

from __future__ import annotations

import math
import re

import numpy as np

_LONGEST = 300  # characters of a name or a value
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def brief(text: object) -> str:
    """A name or a value from a run, cut where it is endless."""
    whole = str(text)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}… ({len(whole):,} characters)"


def number(value: object, digits: int = 3) -> str:
    """A number as people write it: whole with commas, others to so many digits, far from 1 with a power of ten.

    >>> number(1234), number(0.01234), number(1.5e-7), number(float("nan"))
    ('1,234', '0.0123', '1.5 × 10⁻⁷', 'NaN')
    """
    if value is None or isinstance(value, str):
        return "" if value is None else brief(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    try:
        real = float(value)  # type: ignore[arg-type]  # what is no number raises
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
    """A sentence in which numbers such as 1.5e-07 stand as `number` writes them."""
    return re.sub(r"(?<![\w.])(-?\d+(?:\.\d+)?)e([+-]\d+)\b", _power, text)


def _power(found: re.Match[str]) -> str:
    return f"{found[1].replace('-', _MINUS)} {_TIMES} 10{str(int(found[2])).translate(_RAISED)}"


def share(part: float, whole: float) -> str:
    """A part in per cent; rounded, but never to all or nothing."""
    if not whole:
        return "none"
    rounded = f"{part / whole:.0%}"
    return "> 99%" if rounded == "100%" and part < whole else "< 1%" if rounded == "0%" and part > 0 else rounded
