"""How a value goes from a start to an end."""

from __future__ import annotations

import math
from collections.abc import Callable

SHAPES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda start, end, p: (end - start) * p + start,
    "cosine": lambda start, end, p: end + (start - end) / 2 * (math.cos(math.pi * p) + 1),
    "sqrt": lambda start, end, p: (end - start) * math.sqrt(p) + start,
    "exponential": lambda start, end, p: start * (end / start) ** p,
}


def interpolate(shape: str, start: float, end: float, part: float) -> float:
    """The value after a part p of the way; the ends themselves at p = 0, and from p = 1 on.

    ``linear`` goes by p, ``cosine`` by (1 - cos πp)/2, ``sqrt`` by √p; ``exponential`` multiplies by the same factor
    at each step, and both ends must be above 0.
    """
    if part <= 0 or part >= 1:
        return start if part <= 0 else end
    return SHAPES[shape](start, end, part)


def check_exponential(owner: str, shape: str, factors: dict[str, float]) -> None:
    """Raise ValueError where an exponential curve would begin or end at 0, which it never reaches."""
    for name, factor in factors.items():
        if shape == "exponential" and factor <= 0:
            raise ValueError(f"{owner}: {name} must be above 0 for an exponential curve, not {factor!r}; try 0.01")
