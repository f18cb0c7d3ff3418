"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cupy_standin
import pytest

from minigrad import devices
from minigrad import gpu as gpu_module


@pytest.fixture(scope="module", params=["stand-in", pytest.param("CuPy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The library of the device ``"cuda"``: a strict stand-in, and CuPy itself where there is a GPU."""
    before = devices._cupy, set(devices.DEVICE_ARRAYS)
    if request.param == "stand-in":
        devices.load(cupy_standin)
    elif not gpu_module.cuda_status().usable:
        pytest.skip(f"no GPU: {gpu_module.cuda_status().problem}")
    else:
        devices.library()
    yield devices.library()
    devices._cupy = before[0]
    devices.DEVICE_ARRAYS.clear()
    devices.DEVICE_ARRAYS.update(before[1])
