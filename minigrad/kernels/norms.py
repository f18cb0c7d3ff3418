"""Norms that do not depend on the number of threads: fixed lanes, added up in a fixed order.

A block is read in rows of 128. The four quarters of a row are added pairwise into 32 float64 lanes, and the lanes
are folded in half until one is left. The order of every addition is written down, so no compiler flag that would
reorder sums is needed for the loop to be vectorised, and the result has the same bits on every run. The text of
these functions is copied into the generated kernels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LANES = 32


def fold_sum(lanes: Any) -> float:
    """Add up the lanes by halves."""
    # Written out, since a loop over the halves would not be vectorised.
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
    rows = x.shape[0] // 128
    for r in range(rows):
        y = x[r * 128 : r * 128 + 128]
        for k in range(32):
            a = np.float64(y[k])
            b = np.float64(y[k + 32])
            c = np.float64(y[k + 64])
            d = np.float64(y[k + 96])
            lanes[k] += (a * a + b * b) + (c * c + d * d)
    rest = x[rows * 128 :]
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
    rows = x.shape[0] // 128
    for r in range(rows):
        y = x[r * 128 : r * 128 + 128]
        for k in range(32):
            a = abs(np.float64(y[k]))
            b = abs(np.float64(y[k + 32]))
            c = abs(np.float64(y[k + 64]))
            d = abs(np.float64(y[k + 96]))
            lanes[k] += (a + b) + (c + d)
    rest = x[rows * 128 :]
    for r in range(rest.shape[0] // 32):
        y = rest[r * 32 : r * 32 + 32]
        for k in range(32):
            lanes[k] += abs(np.float64(y[k]))
    y = rest[rest.shape[0] // 32 * 32 :]
    for k in range(y.shape[0]):
        lanes[k] += abs(np.float64(y[k]))
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
    """The sum of absolute values to the power ``order``."""
    total = 0.0
    for k in range(x.shape[0]):
        total += math.pow(abs(np.float64(x[k])), order)
    return total
