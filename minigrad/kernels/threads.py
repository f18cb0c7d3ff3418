"""Running a pass on several threads.

Threads take batches of blocks from one counter until none is left, and the calling thread takes part. A thread that
the system does not run, because another process has its core, simply takes no batch: nobody waits for it, as an
OpenMP barrier would. Kernels release the interpreter lock. Which thread does a block does not show in the result.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Below this many elements one thread is as fast as several: it uses most of the memory's bandwidth by itself, and a
# helper that loses its core in the middle of a batch would cost more than it has saved.
PARALLEL_FROM = 1 << 23
_BATCHES_PER_THREAD = 32

_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_pool: ThreadPoolExecutor | None = None


def set_num_threads(threads: int) -> None:
    """How many threads an optimizer step may use; by default as many as the process has cores.

    Results do not depend on it.
    """
    global _threads, _pool
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"set_num_threads: needs a whole number of 1 or more, not {threads!r}")
    if threads != _threads and _pool is not None:
        _pool.shutdown()
        _pool = None
    _threads = threads


def get_num_threads() -> int:
    """How many threads an optimizer step may use."""
    return _threads


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_threads - 1, "minigrad")
    return _pool


def _forget_pool() -> None:
    """A forked child has none of the parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run_blocks(function: Callable[[int, int], Any], blocks: int, elements: int) -> None:
    """Call ``function(first, last)`` so that every block in ``range(blocks)`` is done once."""
    if _threads == 1 or elements < PARALLEL_FROM or blocks < 2:
        function(0, blocks)
        return
    size = max(1, blocks // (_threads * _BATCHES_PER_THREAD))
    batches = itertools.count(0, size)

    def work() -> None:
        # next() on a count is one C call, so each batch is taken once.
        while (first := next(batches)) < blocks:
            function(first, min(first + size, blocks))

    helpers = [_get_pool().submit(work) for _ in range(_threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()
