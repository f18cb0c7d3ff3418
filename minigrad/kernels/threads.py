"""Run a pass on several threads.

Threads take batches of blocks, the large ones first, until none is left, and the calling thread takes part. A thread
that the system does not run, because another process has its core, takes no batch, and is not waited for, as it would
be at an OpenMP barrier. A thread that loses its core in the middle of a batch has to be waited for; after that, the
caller uses no other threads for a while. Kernels release the interpreter lock. The result does not depend on which
thread runs which block.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..checks import whole

# If a pass reads and writes fewer values than this, one thread is as fast as several: waking another takes as long as
# it would save. For Adam, this is about three quarters of a million parameters.
PARALLEL_FROM = 21 << 18
# After waiting this long for a thread without a core, the caller works without others for a while (seconds).
_PATIENCE, _ALONE = 1e-3, 0.25


def available() -> int:
    """Return how many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_threads = available()
_requests: SimpleQueue[Callable[[], None] | None] | None = None
_alone_until = 0.0


def set_num_threads(threads: int) -> None:
    """Set how many threads an optimizer step may use; by default as many as the process has cores.

    Results do not depend on it.
    """
    global _threads
    threads = whole("set_num_threads", "threads", threads)
    if threads != _threads and _requests is not None:
        for _ in range(_threads - 1):
            _requests.put(None)
        _forget_helpers()
    _threads = threads


def get_num_threads() -> int:
    """How many threads an optimizer step may use."""
    return _threads


def _helpers() -> SimpleQueue[Callable[[], None] | None]:
    """The queue from which the other threads, started when first needed, take their work."""
    global _requests
    if _requests is None:
        _requests = SimpleQueue()
        for number in range(1, _threads):
            threading.Thread(target=_serve, args=(_requests,), name=f"minigrad-{number}", daemon=True).start()
    return _requests


def _serve(requests: SimpleQueue[Callable[[], None] | None]) -> None:
    while (work := requests.get()) is not None:
        work()


def _forget_helpers() -> None:
    global _requests
    _requests = None


if hasattr(os, "register_at_fork"):
    # A forked child has none of the parent's threads.
    os.register_at_fork(after_in_child=_forget_helpers)


@functools.cache
def _batches(blocks: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of blocks, from large to small, so that all threads end together but take few ranges."""
    found, first = [], 0
    while first < blocks:
        last = first + max(1, (blocks - first) // (2 * threads))
        found.append((first, last))
        first = last
    return found


def run_blocks(function: Callable[[int, int], Any], blocks: int, moved: int) -> None:
    """Call ``function(first, last)`` so that every block in ``range(blocks)`` is processed once.

    Args:
        function: processes the blocks from first to last.
        blocks: their number.
        moved: the number of values that they read and write in all.
    """
    if _threads == 1 or moved < PARALLEL_FROM or blocks < 2 or time.perf_counter() < _alone_until:
        function(0, blocks)
        return
    batches = _batches(blocks, _threads)
    numbers = itertools.count()
    begun: list[None] = []
    ended: list[BaseException | None] = []

    def work() -> None:
        # next() on a count is one C call, so each batch is taken once.
        while (number := next(numbers)) < len(batches):
            function(*batches[number])

    def help_out() -> None:
        begun.append(None)
        error = None
        try:
            work()
        except BaseException as caught:  # raised again in the calling thread
            error = caught
        ended.append(error)

    requests = _helpers()
    for _ in range(_threads - 1):
        requests.put(help_out)
    try:
        work()
    finally:
        _wait(begun, ended)
    for error in ended:
        if error is not None:
            raise error


def _wait(begun: list[None], ended: list[BaseException | None]) -> None:
    """Wait for the threads that have begun; one that begins now finds no batch left."""
    global _alone_until
    since = time.perf_counter()
    while len(ended) < len(begun):
        waited = time.perf_counter() - since
        # Usually a few microseconds are left, less than it takes to sleep and wake.
        time.sleep(0.0 if waited < _PATIENCE / 5 else _PATIENCE / 10)
        if waited > _PATIENCE:
            _alone_until = time.perf_counter() + _ALONE
