"""What layers check of their arguments and inputs, with errors that name the layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..suggest import unknown


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
