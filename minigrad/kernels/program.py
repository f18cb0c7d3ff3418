"""Program: a plan with its compiled kernels, on the processor whose memory holds the parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import unknown
from . import cpu
from .cohort import Member, cohorts_of
from .layout import Layout
from .plan import Plan
from .store import ParameterStore

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Backend:
    """One way to compile and run plans.

    Attributes:
        source: the source of a plan's kernels for a dtype.
        kernel: a plan's kernels for a dtype, compiled or to be compiled at the first step.
        layout: the class of the tables that these kernels read, which runs a step.
    """

    source: Callable[[Plan, np.dtype[Any]], str]
    kernel: Callable[[Plan, np.dtype[Any]], Any]
    layout: type[Layout]


@functools.cache
def backend(device: str) -> Backend:
    """The backend of a device: ``"cpu"`` or ``"cuda"``, with or without the number of one GPU.

    Raises:
        ValueError: for another device.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        return Backend(cpu.kernel_source, cpu.Kernel, Layout)
    if kind == "cuda":
        # Imported only here: numba.cuda takes a while to load, and may not be installed.
        from . import cuda
        from .cuda_layout import CudaLayout

        return Backend(cuda.kernel_source, cuda.Kernel, CudaLayout)
    raise ValueError(unknown("device", device, ("cpu", "cuda")))


def backend_of(array: Any) -> Backend:
    """The backend for the memory that holds an array."""
    return backend("cuda" if hasattr(array, "__cuda_array_interface__") else "cpu")


class Program:
    """A plan and its compiled kernels, one per dtype of the store.

    Attributes:
        plan: the plan.
        store: the parameters.
        kernels: a kernel for each buffer of the store.
    """

    def __init__(self, plan: Plan, store: ParameterStore) -> None:
        self.plan, self.store = plan, store
        self._backend = backend_of(store.buffers[0].data)
        self.kernels: list[Any] = [self._backend.kernel(plan, buffer.dtype) for buffer in store.buffers]

    def lay_out(self, members: Iterable[Member], states: Sequence[Mapping[str, Array]] | None = None) -> Layout:
        """The tables for a step of these parameters, ready to run once options are bound.

        Args:
            members: the parameters that have a gradient; all others are not changed.
            states: for each buffer, the flat array of each state slot; by default there is no state.
        """
        states = [{} for _ in self.store.buffers] if states is None else states
        return self._backend.layout(self.plan, self.store, self.kernels, cohorts_of(members), states)
