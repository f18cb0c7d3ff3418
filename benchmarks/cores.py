"""The cores that the measurements run on. Imports nothing that counts them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores(count: int) -> None:
    """Restrict this process and its children to some of the cores, before any library counts them.

    Raises:
        ValueError: if there are fewer cores, or the system cannot restrict a process.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("--cores: this system cannot restrict a process to some of its cores")
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(allowed):
        raise ValueError(f"--cores: must be from 1 to {len(allowed)}, not {count}")
    os.sched_setaffinity(0, allowed[:count])
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(count)


@contextlib.contextmanager
def busy_neighbor(wanted: bool) -> Iterator[None]:
    """Run another process that keeps a core busy, if wanted."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    if wanted:
        process.start()
    try:
        yield
    finally:
        if wanted:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass
