"""Runs matrix products on one thread, so that results do not depend on the number of cores.

The BLAS library of NumPy divides a matrix product among its threads, and the order of its sums depends on their number.
NumPy cannot set this number; the library can, by a function whose name depends on how it was built.
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
    """The functions of a library that set and return its number of threads."""

    set: Callable[[int], None]
    get: Callable[[], int]


# How many blocks are entered, in all threads. The first stores the number of BLAS threads, and the last restores it.
_lock = threading.Lock()
_entered = _before = 0


def use_one_blas_thread() -> bool:
    """Run NumPy's matrix products on one thread; return whether the library has such a switch."""
    switch = _switch()
    if switch is not None:
        switch.set(1)
    return switch is not None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which matrix products run on one thread, if the library has such a switch.

    Threads wait for each other at the end of every product. If the cores are busy, they wait for milliseconds where the
    product takes microseconds.
    """
    global _entered, _before
    switch = _switch()
    if switch is None:
        yield
        return
    with _lock:
        if not _entered:
            _before = switch.get()
            switch.set(1)
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if not _entered:
                switch.set(_before)


@functools.cache
def _switch() -> _Switch | None:
    for library in _libraries():
        for setter, getter in _NAMES:
            set_, get = getattr(library, setter, None), getattr(library, getter, None)
            if set_ is not None and get is not None:
                set_.argtypes, set_.restype, get.argtypes, get.restype = [ctypes.c_int], None, [], ctypes.c_int
                return _Switch(set_, get)
    return None


def _libraries() -> Iterator[ctypes.CDLL]:
    """Yield the libraries that NumPy may use: those installed with it, or those it loaded from the system."""
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
