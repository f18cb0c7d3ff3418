"""Checks of the inputs of layers; the errors begin with the name of the layer or the function."""

from __future__ import annotations

import math
from typing import Any

from ..checks import owner_name


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
        needs = f"last axis {shape[0]}" if len(shape) == 1 else f"last axes {shape}"
        got = f"last axis {x.shape[-1]} (shape {x.shape})" if len(shape) == 1 and x.ndim else f"shape {x.shape}"
        raise ValueError(f"{layer}: got input with {got}; it needs input with {needs}")


def check_batch(layer: str, shape: tuple[int, ...]) -> None:
    """Raise unless an input ``(N, C)`` or ``(N, C, L)`` has at least two values per feature."""
    if math.prod(shape) // max(shape[1], 1) < 2:
        raise ValueError(
            f"{layer}: got input of shape {shape}; training needs more than one value per feature, use a larger batch "
            "or eval()"
        )


def check_row(layer: Any, name: str, row: int | None, rows: int) -> int | None:
    """Return the number of a row counted from the front, or ``None``; raise unless a table of ``rows`` has it."""
    if row is None:
        return None
    if not -rows <= row < rows:
        raise ValueError(f"{owner_name(layer)}: {name} {row} is not a row of a table of {rows}")
    return row % rows
