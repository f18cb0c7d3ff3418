"""Primitives that move elements without computing: their gradients move them back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .primitive import Primitive, primitive


def _reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    return np.reshape(x, shape)


def _expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(x, shape)


def _transpose(x: Any, *, axis0: int = -2, axis1: int = -1) -> Any:
    return np.swapaxes(x, axis0, axis1)


reshape: Primitive = primitive("reshape", _reshape, "x", (lambda g, x_shape: reshape(g, shape=x_shape),), view=True)
# Summing back is what the engine does for every broadcast input.
expand: Primitive = primitive("expand", _expand, "x", (lambda g: g,), view=True)
transpose: Primitive = primitive(
    "transpose",
    _transpose,
    "x",
    (lambda g, *, axis0, axis1: transpose(g, axis0=axis0, axis1=axis1),),
    view=True,
)
