"""What can go wrong between a program and its GPU, as one error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# Libraries whose errors come from the GPU, its driver, or what is installed for it.
_LIBRARIES = ("numba.cuda", "numba_cuda", "cuda", "cupy", "cupy_backends")
_REMEDIES = (
    (("outofmemory", "out of memory", "memory_allocation"), "its memory is full: make the model or the batch smaller"),
    (
        ("insufficient", "unsupported_ptx", "unsupported toolchain", "driver version", "older than"),
        "its driver is too old for what is installed: update the driver, or install the packages of CUDA 12",
    ),
    (
        ("no cuda", "no_device", "no device", "libcuda", "cudasupporterror", "driver library"),
        "there is no usable GPU: `minigrad devices` says what was found",
    ),
    (("nvvm", "nvrtc", "nvjitlink"), "its compiler is not installed: pip install 'minigrad[cuda]'"),
)
_LOST = "it does not answer any more: save nothing from it, and start the program again from the last checkpoint"


class DeviceError(RuntimeError):
    """The GPU cannot do what was asked: it is lost, its memory is full, its driver too old. The host's state stands."""


@contextlib.contextmanager
def device_errors(doing: str) -> Iterator[None]:
    """Turn every library's own error about the GPU into a `DeviceError` that says what to do."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        if not _is_of_device(error):
            raise
        raise DeviceError(f"cuda: {doing} failed: {remedy(error)} ({type(error).__name__}: {error})") from error


def _is_of_device(error: Exception) -> bool:
    modules = {kind.__module__ for kind in type(error).__mro__}
    return any(module == name or module.startswith(f"{name}.") for module in modules for name in _LIBRARIES)


def remedy(error: Exception) -> str:
    """What is wrong, and what the user can do."""
    text = f"{type(error).__name__} {error}".lower()
    return next((advice for words, advice in _REMEDIES if any(word in text for word in words)), _LOST)
