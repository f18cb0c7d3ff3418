"""Matrix products on one thread, so that the number of cores does not show in the result.

The library behind NumPy's matrix product divides the work by its number of threads, and sums in another order for
another number. NumPy has no switch for it; the library has one, under a name that depends on how it was built.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

_NAMES = tuple(
    (f"{prefix}openblas_set_num_threads{suffix}", f"{prefix}openblas_get_num_threads{suffix}")
    for prefix in ("scipy_", "")
    for suffix in ("64_", "", "_64")
)


class _Switch(NamedTuple):
    """How a library is told its number of threads, and tells it."""

    tell: Callable[[int], None]
    ask: Callable[[], int]


# Blocks that are entered, in whatever thread: the first notes how many threads there were, which the last brings back.
_lock = threading.Lock()
_entered = _before = 0


def use_one_blas_thread() -> bool:
    """Let NumPy's matrix products run on one thread; whether the library could be told."""
    switch = _switch()
    if switch is not None:
        switch.tell(1)
    return switch is not None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which they run on one thread, if the library can be told.

    Threads that meet at the end of every product wait for whatever else the cores are doing, for milliseconds where
    the product takes microseconds.
    """
    global _entered, _before
    switch = _switch()
    if switch is None:
        yield
        return
    with _lock:
        if not _entered:
            _before = switch.ask()
            switch.tell(1)
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if not _entered:
                switch.tell(_before)


@functools.cache
def _switch() -> _Switch | None:
    for library in _libraries():
        for teller, asker in _NAMES:
            tell, ask = getattr(library, teller, None), getattr(library, asker, None)
            if tell is not None and ask is not None:
                tell.argtypes, tell.restype, ask.argtypes, ask.restype = [ctypes.c_int], None, [], ctypes.c_int
                return _Switch(tell, ask)
    return None


def _libraries() -> Iterator[ctypes.CDLL]:
    """The libraries that may be the one: beside NumPy, or loaded by it from the system."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    paths = [str(path) for folder in folders if folder.is_dir() for path in sorted(folder.glob("*openblas*"))]
    if not paths and sys.platform == "linux":
        with open("/proc/self/maps", encoding="utf-8") as maps:
            paths = sorted({line.split(maxsplit=5)[-1].strip() for line in maps if "blas" in line})
    for path in paths:
        try:
            yield ctypes.CDLL(path)
        except OSError:
            continue
