"""How the tests of devices compare what was computed on a GPU, or its stand-in, with the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.devices import arrays as devices

# How far a GPU may be from the CPU, in which it is one function that is rounded otherwise, or sums in another order.
TOLERANCES = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}


def assert_on_gpu(value: Any) -> None:
    assert value.device == "cuda", f"{value!r} is on {value.device}"


def assert_same(found: Any, expected: Any, name: str = "") -> None:
    """The same dtype, shape and, up to rounding, values; the first on any device."""
    found, expected = (devices.to_host(getattr(x, "_data", x)) for x in (found, expected))
    assert found.dtype == expected.dtype, name
    assert found.shape == expected.shape, name
    tolerance = TOLERANCES.get(found.dtype, 0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)
