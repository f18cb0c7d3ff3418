"""What the tests of devices share: the libraries of arrays that a GPU's place is taken by, and how to compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cupy_standin
import numpy as np
import pytest

from minigrad import devices

# How far a GPU may be from the CPU, in which it is one function that is rounded otherwise, or sums in another order.
TOLERANCES = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


@pytest.fixture(scope="module", params=["stand-in", pytest.param("CuPy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The library of the device ``"cuda"``: a strict stand-in, and CuPy itself where there is a GPU."""
    before = devices._cupy, set(devices.DEVICE_ARRAYS)
    if request.param == "stand-in":
        devices.load(cupy_standin)
    elif not devices.cuda_status().usable:
        pytest.skip(f"no GPU: {devices.cuda_status().problem}")
    else:
        devices.library()
    yield devices.library()
    devices._cupy = before[0]
    devices.DEVICE_ARRAYS.clear()
    devices.DEVICE_ARRAYS.update(before[1])


def assert_on_gpu(value: Any) -> None:
    assert value.device == "cuda", f"{value!r} is on {value.device}"


def assert_same(found: Any, expected: Any, name: str = "") -> None:
    """The same dtype, shape and, up to rounding, values; the first on any device."""
    found, expected = (devices.to_host(getattr(x, "_data", x)) for x in (found, expected))
    assert found.dtype == expected.dtype, name
    assert found.shape == expected.shape, name
    tolerance = TOLERANCES.get(found.dtype, 0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)
