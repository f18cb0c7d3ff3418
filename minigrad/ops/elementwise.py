"""Element-wise primitives. Binary ones broadcast as NumPy does; the engine sums the gradients back."""

from __future__ import annotations

import numpy as np

from .primitive import primitive

BROADCAST_HINT = "sizes must be equal or 1, counted from the last axis; reshape() or unsqueeze() one of them"

add = primitive("add", np.add, "a b", (lambda g: g, lambda g: g), hint=BROADCAST_HINT)
subtract = primitive("subtract", np.subtract, "a b", (lambda g: g, lambda g: -g), hint=BROADCAST_HINT)
multiply = primitive("multiply", np.multiply, "a b", (lambda g, b: g * b, lambda g, a: g * a), hint=BROADCAST_HINT)
divide = primitive(
    "divide",
    np.divide,
    "a b",
    (lambda g, b: g / b, lambda g, b, out: -g * out / b),
    to_float=True,
    hint=BROADCAST_HINT,
)
negative = primitive("negative", np.negative, "x", (lambda g: -g,))

exp = primitive("exp", np.exp, "x", (lambda g, out: g * out,), to_float=True)
log = primitive("log", np.log, "x", (lambda g, x: g / x,), to_float=True)

greater = primitive("greater", np.greater, "a b", hint=BROADCAST_HINT)
