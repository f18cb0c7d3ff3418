"""Detect CUDA on this machine, and turn its errors into one `DeviceError` with the remedy."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Not by name: on the public index, minigrad is another project.
INSTALL = "in a checkout of minigrad: pip install '.[cuda]'"


class DeviceError(RuntimeError):
    """Raised if the GPU cannot be used, ran out of memory or was lost. Data in host memory is as before.

    Attributes:
        reason: ``"unavailable"``, ``"driver"`` (missing or too old), ``"compiler"``, ``"memory"``, ``"lost"`` or
            ``"failed"``.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


# --- detection ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CudaStatus:
    """The result of looking for CUDA.

    Attributes:
        devices: the names of the GPUs; the first one is used.
        driver, runtime: the newest CUDA version that the driver knows, and the one that CuPy was built for, such as
            ``"12.9"``; empty if not found.
        problem: why CUDA cannot be used; empty if it can.
        remedy: how to solve the problem.
    """

    devices: tuple[str, ...] = ()
    driver: str = ""
    runtime: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def usable(self) -> bool:
        """Whether arrays can be on a GPU."""
        return not self.problem


def cuda_status() -> CudaStatus:
    """Look for CuPy, the driver and a GPU; never raises."""
    try:
        cupy = import_cupy()
    except ImportError as error:
        missing = (error.name or "").partition(".")[0] == "cupy"
        problem = "CuPy is not installed" if missing else f"CuPy cannot be imported ({_line(error)})"
        return CudaStatus(problem=problem, remedy=INSTALL)
    except Exception as error:  # such as from a build for other hardware
        return CudaStatus(problem=f"CuPy cannot be imported ({_line(error)})", remedy=INSTALL)
    runtime = cupy.cuda.runtime
    driver = built_for = ""
    try:
        built_for, driver = _version(runtime.runtimeGetVersion()), _version(runtime.driverGetVersion())
        if not driver:
            return CudaStatus((), driver, built_for, "no NVIDIA driver was found", "install the driver of the GPU")
        count = runtime.getDeviceCount()
        names = tuple(_name(runtime.getDeviceProperties(i)) for i in range(count))
    except Exception as error:
        return CudaStatus((), driver, built_for, *_diagnosis(error, driver, built_for))
    if not count:
        return CudaStatus((), driver, built_for, "CUDA finds no GPU", "check the output of nvidia-smi")
    return CudaStatus(names, driver, built_for)


def import_cupy() -> Any:
    """Import CuPy."""
    return importlib.import_module("cupy")


def update_problem() -> str:
    """Why optimizers cannot step on a GPU even if arrays can be there; empty if they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda, which compiles the update kernels, is not installed"
    try:
        importlib.import_module("numba.cuda")
    except Exception as error:  # such as of a version that does not match Numba's
        return f"numba-cuda, which compiles the update kernels, cannot be imported ({_line(error)})"
    return ""


def _diagnosis(error: Exception, driver: str, built_for: str) -> tuple[str, str]:
    """The problem and the remedy for an error of CUDA's runtime."""
    text = _line(error)
    if _reason(error) == "driver":
        return (
            f"the NVIDIA driver is too old: it supports CUDA {driver}, but CuPy was built for {built_for}",
            "update the driver, or install CuPy for an older CUDA",
        )
    if "NoDevice" in text or "no CUDA-capable device" in text:
        return "CUDA finds no GPU", "check the output of nvidia-smi, and unset CUDA_VISIBLE_DEVICES"
    return f"CUDA does not start: {text}", "check the output of nvidia-smi"


def _version(number: int) -> str:
    """CUDA's 12090 as 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def _name(properties: Any) -> str:
    name = properties["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# --- errors ----------------------------------------------------------------------------------------------------------

# Libraries whose errors come from the GPU, its driver, or the packages installed for it.
_LIBRARIES = ("cupy", "cupy_backends", "numba.cuda", "numba_cuda", "cuda")
# Parts of the messages and class names of their errors, for each reason.
_SIGNS = {
    "compiler": ("NvvmSupportError", "NvrtcSupportError", "DynamicLibNotFound", "libnvvm", "libnvrtc", "nvJitLink"),
    "memory": ("OutOfMemory", "MemoryAllocation", "OUT_OF_MEMORY", "ALLOC_FAILED"),
    "driver": ("InsufficientDriver", "driver version is insufficient", "DRIVER_MISMATCH", "UNSUPPORTED_PTX",
               "UnsupportedPtx", "INVALID_IMAGE", "InvalidKernelImage", "CudaSupportError"),
    "lost": ("IllegalAddress", "LaunchFailure", "Unavailable", "ECC", "HardwareStackError", "ILLEGAL_ADDRESS",
             "LAUNCH_FAILED", "DEVICE_UNAVAILABLE", "NoDevice", "NO_DEVICE", "ContextIsDestroyed",
             "CONTEXT_IS_DESTROYED", "SystemNotReady", "EXTERNAL_DEVICE", "LaunchTimeout", "LAUNCH_TIMEOUT",
             "MisalignedAddress", "MISALIGNED_ADDRESS", "cudaErrorUnknown", "CUDA_ERROR_UNKNOWN"),
}  # fmt: skip
_ADVICE = {
    "compiler": f"some of NVIDIA's compilers, which the update kernels need, are not installed; {INSTALL}",
    "memory": "the GPU ran out of memory; use smaller batches or a smaller model",
    "driver": "the NVIDIA driver is too old for this CuPy or numba-cuda; update it, or install those for an older CUDA",
    "lost": "the GPU was lost with its data; start a new process, from a checkpoint if you have one",
    "failed": "the GPU failed; run minigrad devices to see what was found",
}


def device_error(error: BaseException, doing: str) -> DeviceError | None:
    """The `DeviceError` for an error from CuPy or numba-cuda; ``None`` if it has another origin.

    Args:
        error: the exception that was raised.
        doing: the failed action, for the message: the name of an op, or a phrase.
    """
    if isinstance(error, DeviceError):
        return error
    modules = {kind.__module__ for kind in type(error).__mro__}
    if not any(f"{module}.".startswith(f"{name}.") for module in modules for name in _LIBRARIES):
        return None
    reason = _reason(error)
    return DeviceError(f"{doing}: {_ADVICE[reason]} ({_line(error)})", reason)


@contextlib.contextmanager
def device_errors(doing: str) -> Iterator[None]:
    """A block in which errors of the libraries for the GPU become a `DeviceError`."""
    try:
        yield
    except Exception as error:
        shown = translated(error, doing)
        if shown is error:
            raise
        raise shown from error


def translated(error: BaseException, doing: str) -> BaseException:
    """`device_error`, or the error itself."""
    return device_error(error, doing) or error


def _reason(error: BaseException) -> str:
    text = f"{type(error).__name__} {error}"
    return next((reason for reason, signs in _SIGNS.items() if any(sign in text for sign in signs)), "failed")
