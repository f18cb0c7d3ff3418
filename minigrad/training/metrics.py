"""Whether more or less of a metric is better: declared with the metric, and used wherever its values are compared."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..checks import unknown

F = TypeVar("F", bound=Callable[..., Any])

DIRECTIONS = ("min", "max")
PARTS = ("train", "held_out")


def metric(direction: str | None = None, /, **directions: str) -> Callable[[F], F]:
    """Declare whether more or less of a metric is better, so that it can be monitored::

        @training.metric("max")
        def top3(output, labels): ...

        @training.metric(fid="min", precision="max")
        def held_out(model): ...  # for fit(evaluate=held_out), which returns these numbers by name

    Args:
        direction: ``"min"`` if less is better, or ``"max"``.
        directions: likewise for each number that a function returns by name.

    Raises:
        ValueError: for another direction.
        TypeError: for none, or both.

    >>> error = training.metric("min")(lambda output, labels: (output.argmax(1) != labels).sum())
    >>> error.direction
    'min'
    """
    if (direction is None) == (not directions):
        raise TypeError('metric: needs a direction, as in metric("max"), or some by name, as in metric(mse="min")')
    for name, each in {"direction": direction, **directions}.items():
        if each is not None or name in directions:
            _check(f"metric: {name}", each)

    def declare(function: F) -> F:
        if isinstance(function, str) or not callable(function):
            raise TypeError(f"metric: needs a function to declare the direction of, not {function!r}")

        @functools.wraps(function)
        def declared(*args: Any) -> Any:
            return function(*args)

        if direction is None:
            declared.directions = dict(directions)  # type: ignore[attr-defined]
        else:
            declared.direction = direction  # type: ignore[attr-defined]
        return declared  # type: ignore[return-value]

    return declare


def _check(what: str, direction: Any) -> str:
    if direction not in DIRECTIONS:
        raise ValueError(f"{what}: {unknown('direction', str(direction), DIRECTIONS)}")
    return str(direction)


def directions_of(metrics: Mapping[str, Any], evaluate: Any = None) -> dict[str, str | None]:
    """Whether more or less is better, by the name of each metric without its part; None where it is not declared.

    The loss is minimized. Other names have the direction of their function in ``metrics``, or that which ``evaluate``
    declares, if it is a function.

    Raises:
        ValueError: for a direction that is not one, or a metric named ``loss``.
    """
    if "loss" in metrics:
        raise ValueError("fit: a metric cannot be named 'loss', which is the name of the loss")
    found = {name: getattr(function, "direction", None) for name, function in metrics.items()}
    found |= getattr(evaluate, "directions", {})
    checked = {name: each if each is None else _check(f"the metric {name!r}", each) for name, each in found.items()}
    return {"loss": "min", **checked}


def without_part(name: str) -> str:
    """The name of a metric without the part of the data that it was taken on: ``loss`` for ``held_out_loss``."""
    return next((name.removeprefix(f"{part}_") for part in PARTS if name.startswith(f"{part}_")), name)


def is_better(direction: str, value: float, best: float | None) -> bool:
    """Whether a value of a metric is better than the best one so far. NaN is never better."""
    if math.isnan(value) or best is None:
        return not math.isnan(value)
    return value < best if direction == "min" else value > best


def best_of(direction: str, values: Iterable[float]) -> tuple[int, float] | None:
    """The place of the first of the best values, and the value; None if all are NaN."""
    best: tuple[int, float] | None = None
    for place, value in enumerate(values):
        if is_better(direction, value, None if best is None else best[1]):
            best = place, value
    return best
