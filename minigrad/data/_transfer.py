"""Copies batches to the GPU while it computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..devices.arrays import library
from ..devices.cuda import device_errors


class Transfer:
    """A copy of arrays to the GPU that is in progress.

    The arrays are copied into page-locked memory, which the GPU reads itself, in ``stream``. `arrays` waits for the
    copy; the page-locked memory is kept until then, so that nothing else is written to it.

    Raises:
        DeviceError: if there is not enough memory, or the GPU was lost.
    """

    def __init__(self, arrays: Iterable[Any], stream: Any) -> None:
        with device_errors("copying a batch to the GPU"):
            self._held = [_page_locked(array) for array in arrays]
            # This memory belongs to the stream that computes. Work already in that stream may still use it, so the copy
            # has to wait for that work.
            self._arrays = [library().empty(array.shape, array.dtype) for array in self._held]
            stream.wait_event(library().cuda.get_current_stream().record())
            for array, source in zip(self._arrays, self._held, strict=True):
                array.set(source, stream=stream)
            self._done = stream.record()

    def arrays(self) -> list[Any]:
        """Wait for the copy, and return the arrays on the GPU."""
        with device_errors("copying a batch to the GPU"):
            self._done.synchronize()
        self._held = []
        return self._arrays


def transferred(batches: Iterable[Iterable[Any]]) -> Iterator[list[Any]]:
    """Yield batches of arrays on the GPU, each copied while the caller works on the one before."""
    stream = library().cuda.Stream(non_blocking=True)
    waiting: Transfer | None = None
    try:
        for arrays in batches:
            before, waiting = waiting, Transfer(arrays, stream)
            if before is not None:
                yield before.arrays()
        if waiting is not None:
            last, waiting = waiting, None
            yield last.arrays()
    finally:
        # If the caller left early, a copy may be in progress; its memory must not be reused before the copy ends.
        if waiting is not None:
            waiting.arrays()


def _page_locked(array: Any) -> Any:
    memory = library().cuda.alloc_pinned_memory(max(array.nbytes, 1))
    held = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    held[...] = array
    return held
