"""The memory bandwidth of optimizer steps, compared with loops that only move memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import minigrad
from minigrad import clipping

from .effort import Effort
from .models import optimizer, random_arrays, steps
from .peers import thread_counts
from .report import Table
from .timing import Contender, Times, fastest, interleaved, ratio

TITLE = "Memory bandwidth"
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "SGD, momentum": ("SGD", {"momentum": 0.9}),
    "Adam": ("Adam", {}),
    "clip by global norm, Adam": ("Adam", {"clip": clipping.by_global_norm(1.0)}),
    "LAMB": ("LAMB", {"weight_decay": 0.01}),
}


def measure(effort: Effort) -> list[Table]:
    """Return a row for each step and each yardstick."""
    size = effort.of(30_000_000, 10_000_000, 600)
    yardsticks = _yardsticks(size)
    arrays = random_arrays(size)
    made = {name: optimizer(kind, arrays, options) for name, (kind, options) in STEPS.items()}
    contenders = {name: each for name, (_, each) in yardsticks.items()}
    times = interleaved(contenders | {name: steps(each) for name, each in made.items()}, effort.seconds)
    moved = {name: bytes_ * size for name, (bytes_, _) in yardsticks.items()}
    moved |= {name: each.plan().bytes_per_parameter() * each.store.size for name, each in made.items()}
    best = fastest({name: Times([[t / moved[name] for t in b] for b in times[name].bursts]) for name in contenders})
    rows = [
        {
            "what": name,
            "bytes per element": round(moved[name] / size),
            "GB/s": moved[name] / times[name].median / 1e9,
            "µs": times[name].measure(),
            "of the fastest yardstick": ratio(times[best], times[name], moved[name] / moved[best]),
        }
        for name in times
    ]
    notes = (
        f"{size:,} float32 elements. Copy: b = a, NumPy's. Triad: a = b + s·c. Triad in place: a = a + s·b, which "
        "writes only what it has read, as an optimizer does; a copy and a triad may also have to read what they "
        "overwrite, which is not counted. Each in as many parts as threads. Fastest yardstick: "
        f"{best}."
    )
    return [Table("bandwidth", "Bandwidth reached", rows, notes)]


def _yardsticks(size: int) -> dict[str, tuple[int, Contender]]:
    """Return bytes per element and contender of each yardstick, on one thread and on all."""
    import numba

    @numba.njit(error_model="numpy", nogil=True)
    def triad(a, b, c, s):
        for i in range(a.size):
            a[i] = b[i] + s * c[i]

    @numba.njit(error_model="numpy", nogil=True)
    def triad_in_place(a, b, s):
        for i in range(a.size):
            a[i] = a[i] + s * b[i]

    a, b, c = (np.full(size, value, np.float32) for value in (0.0, 1.0, 2.0))
    s = np.float32(1e-3)
    loops: dict[str, tuple[int, Callable[[slice], Any]]] = {
        "copy": (8, lambda part: np.copyto(a[part], b[part])),
        "triad": (12, lambda part: triad(a[part], b[part], c[part], s)),
        "triad in place": (12, lambda part: triad_in_place(a[part], b[part], s)),
    }
    found = {}
    for name, (bytes_, loop) in loops.items():
        for count in thread_counts(minigrad.get_num_threads()):
            label = f"{name}, {count} thread{'s' * (count > 1)}"
            found[label] = (bytes_, Contender(functools.partial(_in_parts, loop, size, count)))
    return found


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def _in_parts(loop: Callable[[slice], Any], size: int, threads: int) -> None:
    """Return the loop over the whole array, a part per thread; the calling thread takes the first part."""
    edges = [size * i // threads for i in range(threads + 1)]
    others = [_pool(threads).submit(loop, slice(edges[i], edges[i + 1])) for i in range(1, threads)]
    loop(slice(0, edges[1]))
    for other in others:
        other.result()
