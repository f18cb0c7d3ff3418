"""What layers check of their arguments and inputs, with errors that name the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..attributes import Check
from ..checks import unknown
from .parameter import Parameter


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise unless every size is a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool):
            raise TypeError(f"{layer}: {name} must be an integer, not {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{layer}: {name} must be positive, got {size}")


def check_probability(layer: str, p: Any) -> None:
    """Raise unless ``p`` is a number in [0, 1]."""
    if isinstance(p, bool) or not isinstance(p, int | float | np.number):
        raise TypeError(f"{layer}: p must be a number, not {type(p).__name__}")
    if not 0 <= p <= 1:
        raise ValueError(f"{layer}: p is a probability, in [0, 1], got {p}")


def check_positive(layer: str, **values: Any) -> None:
    """Raise unless every value is a finite number above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{layer}: {name} must be positive and finite, got {value}")


def check_input(layer: str, x: Any) -> None:
    """Raise unless ``x`` is a tensor or array of floating-point numbers."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(f"{layer}: the input must be a Tensor or an array, not {type(x).__name__}; use tensor(...)")
    if x.dtype.kind not in "fc":
        raise TypeError(f"{layer}: got {x.dtype} input of shape {x.shape}; make it floating with .float()")


def check_features(layer: str, x: Any, shape: tuple[int, ...]) -> None:
    """Raise unless ``x`` is floating and its last axes have the sizes ``shape``."""
    check_input(layer, x)
    if len(shape) > x.ndim or x.shape[x.ndim - len(shape) :] != shape:
        ends = f"last axis {shape[0]}" if len(shape) == 1 else f"last axes {shape}"
        got = f"last axis {x.shape[-1]}" if len(shape) == 1 and x.ndim else f"shape {x.shape}"
        whole = f" (shape {x.shape})" if got.startswith("last") else ""
        raise ValueError(f"{layer}: got input with {got}{whole}; it needs input with {ends}")


def check_approximate(layer: str, approximate: str) -> None:
    """Raise unless ``approximate`` names a form of GELU."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"{layer}: {unknown('approximate', str(approximate), ['none', 'tanh'])}")


def check_reduction(layer: str, reduction: str) -> None:
    """Raise unless ``reduction`` is one."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{layer}: {unknown('reduction', str(reduction), ['mean', 'sum', 'none'])}")


def check_row(layer: str, padding_idx: int | None, rows: int) -> int | None:
    """``padding_idx`` counted from the front; raises unless it is a row or None."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{layer}: padding_idx {padding_idx} is no row of a table of {rows}")
    return padding_idx % rows


def check_batch(layer: str, shape: tuple[int, ...]) -> None:
    """Raise unless an input ``(N, C)`` or ``(N, C, L)`` has at least two values per feature."""
    if math.prod(shape) // max(shape[1], 1) < 2:
        raise ValueError(
            f"{layer}: got input of shape {shape}; training needs more than one value per feature, use a larger batch "
            "or eval()"
        )


# --- checks of attributes, as `minigrad.attributes.setting` takes them ------------------------------------------------

CONVERT = "use .to(), .float() or .double() to convert the layer"


def size(owner: Any, name: str, value: Any) -> int:
    """A positive integer."""
    check_sizes(type(owner).__name__, **{name: value})
    return int(value)


def sizes(owner: Any, name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """One positive integer or several, as a tuple."""
    layer = type(owner).__name__
    shape = (value,) if isinstance(value, int | np.integer) else tuple(value)
    if not shape:
        raise ValueError(f"{layer}: {name} must name at least one axis")
    check_sizes(layer, **{f"{name}[{i}]": size for i, size in enumerate(shape)})
    return tuple(map(int, shape))


def integer(owner: Any, name: str, value: Any) -> int:
    """Any integer."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{type(owner).__name__}: {name} must be an integer, not {value!r}")
    return int(value)


def number(owner: Any, name: str, value: Any) -> float:
    """Any number but NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{type(owner).__name__}: {name} must be a number, not {value!r}")
    if value != value:
        raise ValueError(f"{type(owner).__name__}: {name} must not be NaN")
    return float(value)


def positive(owner: Any, name: str, value: Any) -> float:
    """A finite number above 0."""
    value = number(owner, name, value)
    check_positive(type(owner).__name__, **{name: value})
    return float(value)


def not_negative(owner: Any, name: str, value: Any) -> float:
    """A number of 0 or more."""
    value = number(owner, name, value)
    if value < 0:
        raise ValueError(f"{type(owner).__name__}: {name} must not be negative, got {value}")
    return float(value)


def fraction(owner: Any, name: str, value: Any) -> float:
    """A number in [0, 1]."""
    value = number(owner, name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{type(owner).__name__}: {name} must be in [0, 1], got {value}")
    return float(value)


def probability(owner: Any, name: str, value: Any) -> float:
    """A probability."""
    layer = type(owner).__name__
    check_probability(layer if name == "p" else f"{layer}: {name}", value)
    return float(value)


def choice(*words: str) -> Check:
    """One of the words."""

    def check(owner: Any, name: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{type(owner).__name__}: {unknown(name, str(value), words)}")
        return value

    return check


def optional(check: Check) -> Check:
    """The same check, which lets ``None`` pass."""
    return lambda owner, name, value: None if value is None else check(owner, name, value)


def parameter(owner: Any, name: str, value: Any) -> Any:
    """A parameter, or ``None`` for none."""
    if not isinstance(value, Parameter | None):
        raise TypeError(
            f"{type(owner).__name__}.{name} must be a Parameter or None, not {type(value).__name__}; whether there is "
            f"one is decided when the layer is made, with {name}=True"
        )
    return value
