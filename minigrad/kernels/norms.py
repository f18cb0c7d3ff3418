"""Norms: the functions that accumulate them in kernels, as text, and those that complete them on the host.

The result never depends on the number of threads, since the order of every addition is fixed. On a CPU the four
quarters of a block are read side by side, which keeps more of the memory busy than one stream, and added pairwise into
32 float64 lanes, which are folded in half until one is left; so the loop is vectorized without any compiler flag that
would reorder sums. On a GPU each thread of a block adds up its own elements of a chunk in order of position, and the
threads fold their totals by halves; then the totals of the chunks of one range are added up in the same way.

A total is a sum for the orders 1 and 2, and the norm itself for all others, whose powers would overflow or vanish.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

LANES = 32

# The sum for an order: how a value is read, and its term.
_READ = {1.0: "abs(np.float64({}))", 2.0: "np.float64({})"}
_TERM = {1.0: "{0}", 2.0: "{0} * {0}"}

_ACCUMULATE_SUM = """\
def accumulate_{order:g}(x, lanes):
    for k in range(32):
        lanes[k] = 0.0
    quarter = x.shape[0] // 128 * 32
    x0, x1, x2, x3 = x[:quarter], x[quarter : 2 * quarter], x[2 * quarter : 3 * quarter], x[3 * quarter : 4 * quarter]
    for r in range(0, quarter, 32):
        y0, y1, y2, y3 = x0[r : r + 32], x1[r : r + 32], x2[r : r + 32], x3[r : r + 32]
        for k in range(32):
            a = {y0}
            b = {y1}
            c = {y2}
            d = {y3}
            lanes[k] += ({a} + {b}) + ({c} + {d})
    rest = x[4 * quarter :]
    for r in range(rest.shape[0] // 32):
        y = rest[r * 32 : r * 32 + 32]
        for k in range(32):
            a = {y}
            lanes[k] += {a}
    y = rest[rest.shape[0] // 32 * 32 :]
    for k in range(y.shape[0]):
        a = {y}
        lanes[k] += {a}
    return fold_sum(lanes)
"""

# The halves are written out, since a loop over them would not be vectorized.
_FOLD_LANES = """\
def fold_sum(lanes):
    for k in range(16):
        lanes[k] += lanes[k + 16]
    for k in range(8):
        lanes[k] += lanes[k + 8]
    for k in range(4):
        lanes[k] += lanes[k + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
"""

# NaN if there is one: no comparison with it holds, so the loop ends at the first.
_ACCUMULATE_INF = """\
def accumulate_inf(x, lanes):
    largest = 0.0
    for k in range(x.shape[0]):
        a = abs(np.float64(x[k]))
        if a > largest or a != a:
            largest = a
        if a != a:
            break
    return largest
"""

# Of quotients by the largest value, whose powers neither overflow nor vanish.
_ACCUMULATE_P = """\
def accumulate_p(x, lanes, order):
    largest = accumulate_inf(x, lanes)
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    total = 0.0
    for k in range(x.shape[0]):
        total += math.pow(abs(np.float64(x[k])) / largest, order)
    return largest * math.pow(total, 1.0 / order)
"""

_ADD_SUM = """\
def add_{order:g}(total, x):
    y = {y}
    return total + {term}
"""

_ADD_INF = """\
def add_inf(total, x):
    y = abs(np.float64(x))
    return y if y > total or y != y else total
"""

# The norm of two numbers, such as the norms of two parts.
_ADD_P = """\
def add_p(total, x, order):
    y = abs(np.float64(x))
    larger, smaller = (y, total) if y > total else (total, y)
    if smaller == 0.0 or not math.isfinite(larger):
        return larger + smaller
    return larger * math.pow(1.0 + math.pow(smaller / larger, order), 1.0 / order)
"""

# The partial results of a block's threads, combined in the first thread.
_FOLD_THREADS = """\
def {name}(parts, total{extra}):
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    parts[thread] = total
    half = cuda.blockDim.x // 2
    while half > 0:
        cuda.syncthreads()
        if thread < half:
            parts[thread] = {sum}
        half //= 2
    return parts[thread]
"""


def _is_sum(order: float) -> bool:
    return order in _READ


def _suffix(order: float) -> str:
    """The name of an order in the names of functions: ``1``, ``2``, ``inf``, or ``p`` for all others."""
    return f"{order:g}" if _is_sum(order) or order == math.inf else "p"


def _extra(order: float) -> str:
    """The argument that functions for any order take last."""
    return f", {order!r}" if _suffix(order) == "p" else ""


# --- in the kernels of the CPU ---------------------------------------------------------------------------------------


def cpu_functions(orders: Iterable[float]) -> list[str]:
    """The text of the functions for norms of these orders, each after those that it calls."""
    chosen = sorted(set(orders))
    texts = [_FOLD_LANES] if any(map(_is_sum, chosen)) else []
    texts += [_accumulate_sum(order) for order in chosen if _is_sum(order)]
    texts += [_ACCUMULATE_INF] if not all(map(_is_sum, chosen)) else []
    texts += [_ACCUMULATE_P, _ADD_P] if any(_suffix(order) == "p" for order in chosen) else []
    return texts


def _accumulate_sum(order: float) -> str:
    read, term = _READ[order].format, _TERM[order].format
    terms = {name: term(name) for name in "abcd"}
    return _ACCUMULATE_SUM.format(order=order, y=read("y[k]"), **{f"y{i}": read(f"y{i}[k]") for i in range(4)}, **terms)


def accumulated(order: float, array: str) -> str:
    """The total over a block."""
    return f"accumulate_{_suffix(order)}({array}, lanes{_extra(order)})"


def combining(order: float, total: str, part: str) -> list[str]:
    """Statements that add a part to a total."""
    if order == math.inf:
        return [f"if {part} > {total} or {part} != {part}:", f"    {total} = {part}"]
    return [f"{total} += {part}" if _is_sum(order) else f"{total} = add_p({total}, {part}{_extra(order)})"]


def finished_text(order: float, total: str) -> str:
    """The norm, from its total."""
    return f"math.sqrt({total})" if order == 2 else total


# --- in the kernels of a GPU -----------------------------------------------------------------------------------------


def cuda_functions(orders: Iterable[float]) -> list[str]:
    """The text of the functions for norms of these orders, each after those that it calls."""
    chosen = list(dict.fromkeys(orders))
    adding = {
        _suffix(order): _ADD_SUM.format(order=order, y=_READ[order].format("x"), term=_TERM[order].format("y"))
        if _is_sum(order)
        else {"inf": _ADD_INF, "p": _ADD_P}[_suffix(order)]
        for order in chosen
    }
    folding = {}
    for order in chosen:
        name, a, b = _folding(order), "parts[thread]", "parts[thread + half]"
        extra = ", order" if _suffix(order) == "p" else ""
        added = f"{a} + {b}" if _is_sum(order) else f"add_{_suffix(order)}({a}, {b}{extra})"
        folding[name] = _FOLD_THREADS.format(name=name, extra=extra, sum=added)
    return [*adding.values(), *folding.values()]


def _folding(order: float) -> str:
    return "fold_sum" if _is_sum(order) else f"fold_{_suffix(order)}"


def added(order: float, total: str, x: str) -> str:
    """The total with one more element."""
    return f"add_{_suffix(order)}({total}, {x}{_extra(order)})"


def joined_text(order: float, total: str, part: str) -> str:
    """The total with the total of another part."""
    return f"{total} + {part}" if _is_sum(order) else added(order, total, part)


def folded(order: float, total: str) -> str:
    """The totals of all threads brought together."""
    return f"{_folding(order)}(parts, {total}{_extra(order)})"


# --- on the host -----------------------------------------------------------------------------------------------------


def finished(order: float, totals: Any) -> Any:
    """The norms, from their totals."""
    return np.sqrt(totals) if order == 2 else totals


def joined(norms: Any, order: float) -> Any:
    """The norm of norms, along the first axis."""
    largest = np.max(norms, axis=0)
    if order == math.inf:
        return largest
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.sum((norms / largest) ** order, axis=0) ** (1 / order)
    return np.where((largest > 0) & np.isfinite(largest), largest * total, largest)[()]
