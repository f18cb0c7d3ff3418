"""Norms on a GPU in two stages, of which neither depends on the order in which its threads run.

The threads of a block add up a chunk of elements, each its own in order of position, and fold what they have by
halves; then the parts of the chunks of one range are added in the same way. The texts of these functions are copied
into the generated kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .norms import add_p

cuda: Any = None  # in the generated kernels, which have these texts, it is numba.cuda


def add_1(total: Any, x: Any) -> Any:
    """One more of a sum of absolute values."""
    return total + abs(np.float64(x))


def add_2(total: Any, x: Any) -> Any:
    """One more of a sum of squares."""
    y = np.float64(x)
    return total + y * y


def add_inf(total: Any, x: Any) -> Any:
    """The larger absolute value; NaN once there was one."""
    y = abs(np.float64(x))
    return y if y > total or y != y else total


def fold_sum(parts: Any, total: Any) -> Any:
    """The sum of what the threads of a block have, which the first thread gets."""
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    parts[thread] = total
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            parts[thread] += parts[thread + half]
        half //= 2
    return parts[thread]


def fold_inf(parts: Any, total: Any) -> Any:
    """The largest of what the threads of a block have, which the first thread gets; NaN if one is."""
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    parts[thread] = total
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            parts[thread] = add_inf(parts[thread], parts[thread + half])
        half //= 2
    return parts[thread]


def fold_p(parts: Any, total: Any, order: Any) -> Any:
    """The norm of what the threads of a block have, which the first thread gets."""
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    parts[thread] = total
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            parts[thread] = add_p(parts[thread], parts[thread + half], order)
        half //= 2
    return parts[thread]


def adding(order: float) -> Callable[..., Any]:
    """The function that takes in one element."""
    return {1.0: add_1, 2.0: add_2, math.inf: add_inf}.get(order, add_p)


def folding(order: float) -> Callable[..., Any]:
    """The function that brings the threads together."""
    return {1.0: fold_sum, 2.0: fold_sum, math.inf: fold_inf}.get(order, fold_p)
