"""The conditions of the results: machine, versions, threads, and the load from other programs."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import minigrad

from . import peers
from .cores import cores

PACKAGES = ("numpy", "numba", "torch", "jax", "optax", "scikit-learn")


def machine() -> dict[str, Any]:
    """Return processor, cores and memory."""
    found: dict[str, Any] = {"system": platform.system(), "architecture": platform.machine()}
    found["processor"] = _line("/proc/cpuinfo", "model name") or platform.processor() or "unknown"
    found["cores"], found["cores for this process"] = os.cpu_count(), cores()
    memory = _line("/proc/meminfo", "MemTotal")
    if memory:
        found["memory"] = f"{int(memory.split()[0]) / 2**20:.0f} GiB"
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of the packages compared with it."""
    found = {"python": platform.python_version(), "minigrad": _revision()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def threads() -> dict[str, str]:
    """Return how many threads each library may use. If both numbers are tried, the faster one counts."""
    found = {"minigrad": f"up to {minigrad.get_num_threads()}"}
    controller = peers.blas()
    if controller is None:
        found["NumPy's matrix products"] = "as the library decides (threadpoolctl is not installed)"
    else:
        found["NumPy's matrix products"] = _one_and(peers.all_blas_threads())
    if peers.has("torch"):
        found["PyTorch"] = _one_and(peers.all_torch_threads())
    if peers.has("jax"):
        found["JAX"] = f"up to {cores()}"
    return found


def _one_and(count: int) -> str:
    return "1" if count == 1 else f"1 and {count}"


def load() -> float | None:
    """Return the average number of processes that want a core, over the last minute; a benchmark itself is 1."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _revision() -> str:
    """Return the commit that is measured, and whether files differ from it."""
    folder = Path(__file__).parent
    # What this command writes does not count as a difference.
    diff = ["status", "--porcelain", "--untracked-files=no", "--", "..", ":!results", ":!../README.md"]
    try:
        commit, changed = (
            subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], diff)
        )
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return f"commit {commit}" + " with changes" * bool(changed)


def _line(path: str, name: str) -> str:
    """Return the value of a name in a file with lines ``name: value``."""
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.partition(":")[0].strip() == name:
                return line.partition(":")[2].strip()
    return ""
