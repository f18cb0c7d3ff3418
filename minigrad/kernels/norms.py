"""Norms that do not depend on the number of threads: fixed lanes, added up in a fixed order.

The four quarters of a block are read side by side, which keeps more of the memory busy than one stream, and added
pairwise into 32 float64 lanes; the lanes are folded in half until one is left. The order of every addition is written
down, so no compiler flag that would reorder sums is needed for the loop to be vectorized, and the result has the same
bits on every run. The text of these functions is copied into the generated kernels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LANES = 32


def fold_sum(lanes: Any) -> float:
    """Add up the lanes by halves."""
    # Written out, since a loop over the halves would not be vectorized.
    for k in range(16):
        lanes[k] += lanes[k + 16]
    for k in range(8):
        lanes[k] += lanes[k + 8]
    for k in range(4):
        lanes[k] += lanes[k + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


def accumulate_2(x: Any, lanes: Any) -> float:
    """The sum of squares."""
    for k in range(32):
        lanes[k] = 0.0
    quarter = x.shape[0] // 128 * 32
    x0, x1, x2, x3 = x[:quarter], x[quarter : 2 * quarter], x[2 * quarter : 3 * quarter], x[3 * quarter : 4 * quarter]
    for r in range(0, quarter, 32):
        y0, y1, y2, y3 = x0[r : r + 32], x1[r : r + 32], x2[r : r + 32], x3[r : r + 32]
        for k in range(32):
            a = np.float64(y0[k])
            b = np.float64(y1[k])
            c = np.float64(y2[k])
            d = np.float64(y3[k])
            lanes[k] += (a * a + b * b) + (c * c + d * d)
    rest = x[4 * quarter :]
    for r in range(rest.shape[0] // 32):
        y = rest[r * 32 : r * 32 + 32]
        for k in range(32):
            a = np.float64(y[k])
            lanes[k] += a * a
    y = rest[rest.shape[0] // 32 * 32 :]
    for k in range(y.shape[0]):
        a = np.float64(y[k])
        lanes[k] += a * a
    return fold_sum(lanes)


def accumulate_1(x: Any, lanes: Any) -> float:
    """The sum of absolute values."""
    for k in range(32):
        lanes[k] = 0.0
    quarter = x.shape[0] // 128 * 32
    x0, x1, x2, x3 = x[:quarter], x[quarter : 2 * quarter], x[2 * quarter : 3 * quarter], x[3 * quarter : 4 * quarter]
    for r in range(0, quarter, 32):
        y0, y1, y2, y3 = x0[r : r + 32], x1[r : r + 32], x2[r : r + 32], x3[r : r + 32]
        for k in range(32):
            a = abs(np.float64(y0[k]))
            b = abs(np.float64(y1[k]))
            c = abs(np.float64(y2[k]))
            d = abs(np.float64(y3[k]))
            lanes[k] += (a + b) + (c + d)
    rest = x[4 * quarter :]
    for r in range(rest.shape[0] // 32):
        y = rest[r * 32 : r * 32 + 32]
        for k in range(32):
            a = abs(np.float64(y[k]))
            lanes[k] += a
    y = rest[rest.shape[0] // 32 * 32 :]
    for k in range(y.shape[0]):
        a = abs(np.float64(y[k]))
        lanes[k] += a
    return fold_sum(lanes)


def accumulate_inf(x: Any, lanes: Any) -> float:
    """The largest absolute value; NaN if there is one."""
    largest = 0.0
    for k in range(x.shape[0]):
        a = abs(np.float64(x[k]))
        if a > largest or a != a:
            largest = a
        if a != a:
            break
    return largest


def accumulate_p(x: Any, lanes: Any, order: float) -> float:
    """The norm itself, taken of quotients by the largest value, whose powers neither overflow nor vanish."""
    largest = 0.0
    for k in range(x.shape[0]):
        a = abs(np.float64(x[k]))
        if a > largest or a != a:
            largest = a
        if a != a:
            break
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    total = 0.0
    for k in range(x.shape[0]):
        total += math.pow(abs(np.float64(x[k])) / largest, order)
    return largest * math.pow(total, 1.0 / order)


def add_p(total: Any, x: Any, order: Any) -> Any:
    """The norm of two numbers, such as the norms of two parts, with the same care."""
    y = abs(np.float64(x))
    larger, smaller = (y, total) if y > total else (total, y)
    if smaller == 0.0 or not math.isfinite(larger):
        return larger + smaller
    return larger * math.pow(1.0 + math.pow(smaller / larger, order), 1.0 / order)


def finished(order: float, totals: Any) -> Any:
    """Norms from the totals that kernels leave: sums of squares for order 2, and the norms themselves for others."""
    return np.sqrt(totals) if order == 2 else totals


def joined(norms: Any, order: float) -> Any:
    """The norm of norms, along the first axis."""
    largest = np.max(norms, axis=0)
    if order == math.inf:
        return largest
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.sum((norms / largest) ** order, axis=0) ** (1 / order)
    return np.where((largest > 0) & np.isfinite(largest), largest * total, largest)[()]
