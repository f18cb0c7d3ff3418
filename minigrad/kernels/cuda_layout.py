"""CudaLayout: the tables of a step on a GPU, and its kernel launches.

A step is put in one stream, the one that the arrays' library is using, and the host does not wait for it, with one
exception: if a norm that is not finite may stop the step, the host reads one number per norm before it returns. The
passes that change anything check the same numbers, so a step is never half done.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numba.cuda
import numba.cuda.cudadrv.driver
import numpy as np

from .. import devices
from ..devices.cuda import DeviceError, device_errors
from ..rules import Norm
from .blocks import block_tables, lengths, range_column
from .cuda import CHUNK, Kernel, combine_threads_of, pass_arguments, threads_of
from .layout import Array, Call, Layout, NotSerialError
from .lower import flat

cuda: Any = numba.cuda  # without types
driver: Any = numba.cuda.cudadrv.driver

# A launch may have more blocks of threads than can run at once; beyond this number, each takes several chunks in turn.
MOST_BLOCKS = 1 << 16

# How many copies of scalars may be under way before the host waits for the GPU: few enough to keep little memory, and
# enough to make the wait rare.
MOST_SENT = 256


class _Resident(cuda.In):  # type: ignore[misc]  # Numba has no types
    """An array on the GPU as the argument of a launch, which Numba would otherwise inspect at every launch."""

    _view: Any = None

    def to_device(self, retr: list[Any], stream: Any = 0) -> Any:
        if self._view is None:
            self._view = super().to_device([], stream)
        return self._view


class Launch:
    """A kernel with its arguments, and the numbers of blocks and of threads per block that run it."""

    def __init__(self, kernel: Any, count: int, threads: int, arguments: Sequence[Any]) -> None:
        self.kernel = kernel
        self.arguments = tuple(_Resident(one) if hasattr(one, "copy_to_host") else one for one in arguments)
        self.blocks, self.threads = min(count, MOST_BLOCKS), threads

    def load(self) -> None:
        """Compile the kernel, or load it from the cache, and put it on the GPU; the simulator compiles nothing."""
        if not hasattr(self.kernel, "compile"):
            return
        types = tuple(map(self.kernel.typeof_pyval, self.arguments))
        try:
            self.kernel.compile(types).bind()
        except Exception:  # a full disk, a damaged cache entry: compiling in memory may still work
            self.kernel = cuda.jit(self.kernel.py_func)
            self.kernel.compile(types).bind()

    def configure(self, stream: Any) -> Any:
        """A callable that runs the kernel in a stream; Numba keeps it."""
        return self.kernel[self.blocks, self.threads, stream]


class CudaLayout(Layout):
    """A `Layout` whose tables, scalars and norms are on a GPU; values are copied back when they are read."""

    def _make_calls(self) -> None:
        self._current = False
        try:
            self._place()
        except DeviceError as error:
            if error.reason != "memory":
                raise
            devices.release_memory()
            self._place()
        self._current = True

    def renewed(self) -> None:
        """Have the next step make the launches again, where an error is reported as one of the step."""
        self._current = False

    def _place(self) -> None:
        with device_errors("tables of an optimizer"):
            self._make_tables()
        # All are compiled before the first step: one that fails must not leave a step half done.
        with device_errors("kernels of an optimizer"):
            for launches in self._launches:
                for launch in launches:
                    launch.load()

    def _make_tables(self) -> None:
        plan, store = self.plan, self.store
        chunks = [block_tables(buffer, self._rows, plan, size=CHUNK) for buffer in store.buffers]
        fine, coarse = ([pair[grain] for pair in chunks] for grain in (0, 1))
        # In the parts of norms, the chunks are in the order of the buffers.
        offsets = np.cumsum([0, *(max(map(len, pair)) for pair in zip(fine, coarse, strict=True))]).tolist()
        # The last is on the GPU now. If the GPU reads the host's memory itself, it may do so when the host is steps
        # ahead; so an array that was sent is never written to, and is kept until the GPU has certainly read it.
        self._sent = [np.full_like(self.scalars, np.nan)]
        self._chunks = {False: fine, True: coarse}
        self._offsets = offsets
        self._stopping = any(norm.nonfinite != "propagate" for norm in plan.norms)
        self._fetched = True  # whether the norms on the host are from the last step
        self._interface = store.buffers[0].data
        self._streams: dict[int, Any] = {}
        self._on_device: dict[str, Any] = {
            "scalars": cuda.to_device(self.scalars),
            "norms": cuda.to_device(self._norms),
            "partials": cuda.to_device(np.zeros((len(plan.norms), offsets[-1]))),
            "stopped": cuda.to_device(np.zeros(len(plan.norms), np.int64)),
        }
        self._launches: list[list[Launch]] = [[] for _ in plan.passes]
        for number, (kernel, state) in enumerate(zip(self._kernels, self._states, strict=True)):
            if len(fine[number]):
                self._add_buffer(number, kernel, state)
        for number, p in enumerate(plan.passes):
            if p.norms and offsets[-1]:
                self._launches[number].append(self._combining(p.norms, p.coarse, combine_threads_of(plan, p)))
        self.elements = sum(int(lengths(table).sum()) for table in fine)
        cuda.synchronize()  # a step may run in a stream that does not wait for these copies

    def _add_buffer(self, number: int, kernel: Kernel, state: Mapping[str, Array]) -> None:
        plan, buffer = self.plan, self.store.buffers[number]
        arrays: dict[str, Any] = {**state, "param": buffer.data, "grad": buffer.grad}
        if "update" in plan.arrays:
            arrays["update"] = np.zeros_like(buffer.data)
        values = {flat(name): _shared(array) for name, array in arrays.items()}
        values |= self._on_device | {"offset": self._offsets[number]}
        tables = {grain: cuda.to_device(table[number]) for grain, table in self._chunks.items()}
        for launches, p, function in zip(self._launches, plan.passes, kernel.passes, strict=True):
            values["blocks"] = tables[p.coarse]
            arguments = [values[name] for name in pass_arguments(plan, p)]
            launches.append(Launch(function, len(tables[p.coarse]), threads_of(plan, p), arguments))

    def _combining(self, norms: Sequence[Norm], coarse: bool, threads: int) -> Launch:
        """The second stage of norms: for each of their ranges a job, with the places of its parts in order."""
        plan = self.plan
        tables = self._chunks[coarse]
        places = np.concatenate(
            [offset + np.arange(len(t)) for offset, t in zip(self._offsets[:-1], tables, strict=True)]
        )
        jobs, members, done = [], [], 0
        for norm in norms:
            ranges = np.concatenate([table[:, range_column(plan, norm.scope)] for table in tables])
            order = np.argsort(ranges, kind="stable")
            numbers, first, count = np.unique(ranges[order], return_index=True, return_counts=True)
            index = np.full_like(numbers, plan.norms.index(norm))
            jobs.append(np.column_stack([index, numbers, done + first, done + first + count]))
            members.append(places[order])
            done += len(order)
        table = np.ascontiguousarray(np.concatenate(jobs), np.int64)
        values = self._on_device
        arguments = [cuda.to_device(table), cuda.to_device(np.concatenate(members).astype(np.int64))]
        arguments += [values["partials"], values["norms"], values["stopped"]]
        kernel = next(kernel for kernel, t in zip(self._kernels, tables, strict=True) if len(t))
        return Launch(kernel.combine, len(table), threads, arguments)

    # --- one step ----------------------------------------------------------------------------------------------------

    def serial_calls(self) -> list[Call]:
        """Raise NotSerialError: the kernels run on the GPU."""
        raise NotSerialError("the update kernels run on the GPU")

    def run(self) -> Norm | None:
        """Launch every pass; wait for the end only if a norm may have stopped the step.

        Returns:
            A norm that was not finite, and stopped the step before it changed anything; usually ``None``.

        Raises:
            minigrad.devices.cuda.DeviceError: if the GPU refuses; the caller's counts of steps are unchanged.
        """
        if not self._current:
            self._make_calls()
        self._fetched = False
        with device_errors("optimizer step"):
            stream = self._stream()
            if not np.array_equal(self.scalars, self._sent[-1]):
                self._send_scalars(stream)
            for launches in self._launches:
                for launch in launches:
                    launch.configure(stream)(*launch.arguments)
            return self._stopping_norm(stream) if self._stopping else None

    def _send_scalars(self, stream: Any) -> None:
        if len(self._sent) == MOST_SENT:
            cuda.synchronize()  # of whatever streams
            del self._sent[:-1]
        scalars = self.scalars.copy()
        _send(scalars, self._on_device["scalars"], stream)
        self._sent.append(scalars)

    def _stopping_norm(self, stream: Any) -> Norm | None:
        flags = _fetched(self._on_device["stopped"], stream)
        if not flags.any():
            return None
        _send(np.zeros_like(flags), self._on_device["stopped"], stream)
        stream.synchronize()
        return self.plan.norms[int(np.flatnonzero(flags)[0])]

    def _stream(self) -> Any:
        """The stream that the arrays' library puts its work in."""
        interface = getattr(self._interface, "__cuda_array_interface__", {})
        handle = interface.get("stream") or 1  # 1 is the default stream
        stream = self._streams.get(handle)
        if stream is None:
            stream = cuda.external_stream(handle) if interface else cuda.stream()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a small model does not fill a large GPU
                for launches in self._launches:
                    for launch in launches:
                        launch.configure(stream)
            self._streams[handle] = stream
        return stream

    @property
    def launches(self) -> int:
        """How many kernels a step launches."""
        return sum(len(launches) for launches in self._launches)

    # --- values of the last step --------------------------------------------------------------------------------------

    @property
    def norms(self) -> Array:
        """The total of each norm over each range, as the last step left it, before the root is taken."""
        if not self._fetched:
            with device_errors("norms of a step"):
                _fetch(self._on_device["norms"], self._norms, self._stream())
            self._fetched = True
        return self._norms

    @property
    def numbers(self) -> Array:
        """The elements of `norms`, then of ``scalars``, in one flat array."""
        _ = self.norms
        return self._numbers

    def _parts_of_norms(self) -> list[tuple[list[Array], Array]]:
        plan = self.plan
        with device_errors("norms of a step"):
            partials = _fetched(self._on_device["partials"], self._stream())
        grain = {norm: p.coarse for p in plan.passes for norm in p.norms}
        return [
            ([self._chunks[grain[norm]][number] for norm in plan.norms], partials[:, first:last])
            for number, (first, last) in enumerate(zip(self._offsets[:-1], self._offsets[1:], strict=True))
        ]


def _shared(array: Any) -> Any:
    """The array as Numba knows it, over the same memory."""
    return cuda.as_cuda_array(array) if hasattr(array, "__cuda_array_interface__") else array


# The copying methods of Numba's arrays spend 0.1 ms on shapes, which here are the same at every step.


def _send(host: Array, array: Any, stream: Any) -> None:
    """Put a copy in the stream, from memory that must not change until it is done."""
    if host.size:
        driver.host_to_device(array, host, host.nbytes, stream=stream)


def _fetched(array: Any, stream: Any) -> Array:
    """A copy on the host, made when all earlier work of the stream is done."""
    host = np.empty(array.shape, array.dtype)
    _fetch(array, host, stream)
    return host


def _fetch(array: Any, host: Array, stream: Any) -> None:
    """Copy an array to the host when all earlier work of the stream is done."""
    if host.size:
        driver.device_to_host(host, array, host.nbytes, stream=stream)
        stream.synchronize()
