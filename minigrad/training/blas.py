"""Matrix products on one thread, so that the number of cores does not show in the result.

The library behind NumPy's matrix product divides the work by its number of threads, and sums in another order for
another number. NumPy has no switch for it; the library has one, under a name that depends on how it was built.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_SETTERS = tuple(
    f"{prefix}openblas_set_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "", "_64")
)


def use_one_blas_thread() -> bool:
    """Let NumPy's matrix products run on one thread; whether the library could be told."""
    for library in _libraries():
        for name in _SETTERS:
            setter = getattr(library, name, None)
            if setter is not None:
                setter.argtypes, setter.restype = [ctypes.c_int], None
                setter(1)
                return True
    return False


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
