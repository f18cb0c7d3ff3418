"""Ranges: an array summarized by its range, mean and spread, and by how many values are not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..devices.arrays import to_host


@dataclass(frozen=True)
class Range:
    """An array summarized in a few numbers. Statistics cover only its finite elements.

    Attributes:
        shape, dtype: of the array.
        low, high, mean, std: over the finite elements; NaN if there are none. Complex numbers count by their size.
        nan, positive_infinity, negative_infinity: the number of elements of each kind.
    """

    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    mean: float
    std: float
    nan: int
    positive_infinity: int
    negative_infinity: int

    @property
    def finite(self) -> bool:
        """Whether every element is finite."""
        return not (self.nan or self.positive_infinity or self.negative_infinity)

    @property
    def kind(self) -> str:
        """Dtype and shape: ``"float32 (32, 10)"``, or only ``"float32"`` for a single number."""
        return f"{self.dtype} {self.shape}" if self.shape else self.dtype

    @property
    def values(self) -> str:
        """The number itself, or the smallest and the largest: ``"-1.5 … 3.25"``."""
        if np.isnan(self.low):
            return "" if self.nonfinite else "empty"
        return number(self.low) if self.low == self.high else f"{number(self.low)} … {number(self.high)}"

    @property
    def nonfinite(self) -> str:
        """The elements that are not finite: ``"3 NaN, 1 -inf"``; without the count for a single number."""
        counts = {"NaN": self.nan, "inf": self.positive_infinity, "-inf": self.negative_infinity}
        return ", ".join(f"{count} {name}" if self.shape else name for name, count in counts.items() if count)

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.kind, self.values, self.nonfinite)))


def number(value: float) -> str:
    """A number in three digits, or all of a whole number below a million."""
    return str(int(value)) if abs(value) < 1e6 and value == int(value) else f"{value:.3g}"


def measure(value: Any) -> Range:
    """The range of a number or an array, computed in float64."""
    array = to_host(value)
    kind = str(array.dtype) if hasattr(value, "dtype") else "number"
    if array.dtype.kind == "c":
        array = np.abs(array)
    finite = np.isfinite(array)
    kept = array[finite].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # the sum or the square of a large number is infinite
        low, high, mean, std = (float(f(kept)) if kept.size else math.nan for f in (np.min, np.max, np.mean, np.std))
    nan, positive, negative = (int(mask.sum()) for mask in (np.isnan(array), array == np.inf, array == -np.inf))
    return Range(tuple(array.shape), kind, low, high, mean, std, nan, positive, negative)


def is_measurable(value: Any) -> bool:
    """Whether it is a number, or an array of numbers."""
    return isinstance(value, int | float) or getattr(getattr(value, "dtype", None), "kind", "O") in "fciub"
