"""What there is of CUDA on this machine, and what goes wrong with it: one error, which says what to do."""

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
    """A GPU that cannot be used, ran out of memory or was lost. What is in the computer's own memory is as before.

    Attributes:
        reason: ``"unavailable"``, ``"driver"`` (missing or too old), ``"compiler"``, ``"memory"``, ``"lost"`` or
            ``"failed"``.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


# --- what there is ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CudaStatus:
    """What was found of CUDA.

    Attributes:
        devices: the names of the GPUs, the one that is used first.
        driver, runtime: the newest CUDA version that the driver knows, and the one that CuPy was built for, such as
            ``"12.9"``; empty if not found.
        problem: why it cannot be used; empty if it can.
        remedy: what to do about that.
    """

    devices: tuple[str, ...] = ()
    driver: str = ""
    runtime: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def usable(self) -> bool:
        """Whether arrays can live on a GPU."""
        return not self.problem


def cuda_status() -> CudaStatus:
    """Look for CuPy, the driver and a GPU; never raises."""
    try:
        cupy = import_cupy()
    except ImportError as error:
        missing = (error.name or "").partition(".")[0] == "cupy"
        problem = "CuPy is not installed" if missing else f"CuPy cannot be imported ({_line(error)})"
        return CudaStatus(problem=problem, remedy=INSTALL)
    except Exception as error:  # a build that does not fit this machine
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
        return CudaStatus((), driver, built_for, "there is no GPU that CUDA can use", "see what nvidia-smi says")
    return CudaStatus(names, driver, built_for)


def import_cupy() -> Any:
    """CuPy, as an import statement would have it."""
    return importlib.import_module("cupy")


def update_problem() -> str:
    """Why optimizers could not step on a GPU though arrays can live there; empty if they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed, which compiles the update kernels"
    try:
        importlib.import_module("numba.cuda")
    except Exception as error:  # of a version that does not fit Numba's
        return f"numba-cuda, which compiles the update kernels, cannot be imported ({_line(error)})"
    return ""


def _diagnosis(error: Exception, driver: str, built_for: str) -> tuple[str, str]:
    """The problem and the remedy that an error of CUDA's runtime stands for."""
    text = _line(error)
    if _reason(error) == "driver":
        return (
            f"the NVIDIA driver is too old: it knows CUDA {driver}, and CuPy was built for {built_for}",
            "update the driver, or install CuPy for an older CUDA",
        )
    if "NoDevice" in text or "no CUDA-capable device" in text:
        return "there is no GPU that CUDA can use", "see what nvidia-smi says, and unset CUDA_VISIBLE_DEVICES"
    return f"CUDA does not start: {text}", "see what nvidia-smi says"


def _version(number: int) -> str:
    """CUDA's 12090 as 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""


def _name(properties: Any) -> str:
    name = properties["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# --- errors ----------------------------------------------------------------------------------------------------------

# Those whose errors come from the GPU, its driver, or what is installed for it.
_LIBRARIES = ("cupy", "cupy_backends", "numba.cuda", "numba_cuda", "cuda")
# What they call it, in the texts and classes of their errors, for each reason.
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
    "compiler": f"NVIDIA's compilers, which the update kernels need, are not all installed; {INSTALL}",
    "memory": "the GPU has not enough memory; take smaller batches or a smaller model",
    "driver": "the NVIDIA driver is too old for this CuPy or numba-cuda; update it, or install those for an older CUDA",
    "lost": "the GPU was lost, and what was on it; begin a new process, from a checkpoint if there is one",
    "failed": "the GPU has failed; minigrad devices shows what was found",
}


def device_error(error: BaseException, doing: str) -> DeviceError | None:
    """The one error for what goes wrong on a GPU, in CuPy or in numba-cuda; ``None`` if it is something else.

    Args:
        error: what was raised.
        doing: what was under way: the name of an op, or words.
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
    """A block in which every library's own error about the GPU becomes a `DeviceError` that says what to do."""
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
