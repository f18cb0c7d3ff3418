"""Which kernels run a plan: those of the processor whose memory holds the arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..checks import unknown

if TYPE_CHECKING:
    from .program import Layout


@dataclass(frozen=True)
class Backend:
    """One way to compile and run plans.

    Attributes:
        source: the source of a plan's kernels for a dtype.
        kernel: a plan's kernels for a dtype, compiled or to be compiled at the first step.
        layout: the class of the tables that these kernels read, which runs a step.
    """

    source: Callable[..., str]
    kernel: Callable[..., Any]
    layout: type[Layout]


def backend_of(array: Any) -> Backend:
    """The backend for the memory in which an array lies."""
    return backend("cuda" if hasattr(array, "__cuda_array_interface__") else "cpu")


@functools.cache
def backend(device: str) -> Backend:
    """The backend of a device: ``"cpu"`` or ``"cuda"``, with or without the number of one GPU.

    Raises:
        ValueError: for another device.
    """
    kind = device.partition(":")[0]
    # Each is imported when it is asked for: numba.cuda takes a while to load, and Layout is made from this very file.
    if kind == "cpu":
        from . import cpu
        from .program import Layout

        return Backend(cpu.kernel_source, cpu.Kernel, Layout)
    if kind == "cuda":
        from . import cuda
        from .cuda_layout import CudaLayout

        return Backend(cuda.kernel_source, cuda.Kernel, CudaLayout)
    raise ValueError(unknown("device", device, ("cpu", "cuda")))
