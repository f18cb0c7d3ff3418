"""Reading a state dict: everything is checked before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..autograd.tensor import Tensor
from ..devices.arrays import is_device_array, to_host

Array = npt.NDArray[Any]


def read_state(
    owner: str, own: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> tuple[dict[str, Array], list[str], list[str]]:
    """Return the arrays to copy in, by name, and the names that are missing and unexpected.

    Args:
        owner: the name that errors begin with.
        own: the tensors to load into.
        state: arrays, tensors, PyTorch tensors or numbers by name.
        strict: whether missing and unexpected names are errors.

    Raises:
        TypeError: if ``state`` is not a mapping.
        ValueError: naming every key that is missing, unexpected, misshapen, unreadable or of an unfit dtype.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"{owner}: a state dict is a mapping from names to arrays, not {type(state).__name__}")
    missing = [name for name in own if name not in state]
    unexpected = [str(name) for name in state if name not in own]
    problems: list[str] = []
    if strict and missing:
        problems.append("missing: " + ", ".join(missing))
    if strict and unexpected:
        problems.append("unexpected: " + ", ".join(unexpected))
    values: dict[str, Array] = {}
    for name, tensor in own.items():
        if name not in state:
            continue
        try:
            # A copy, since the values may be views of the tensors that are about to change.
            values[name] = array = np.array(plain_array(state[name]))
        except (TypeError, ValueError) as error:
            problems.append(f"unreadable: {name} ({error})")
            continue
        if array.shape != tensor.shape:
            problems.append(f"misshapen: {name} is {array.shape}, must be {tensor.shape}")
        elif _family(array.dtype) != _family(tensor.dtype):
            problems.append(f"unfit dtype: {name} is {array.dtype}, must be {tensor.dtype}")
    if problems:
        raise ValueError(f"{owner}: the state dict does not fit, nothing was loaded\n  " + "\n  ".join(problems))
    return values, missing, unexpected


def plain_array(value: Any) -> Array:
    """Return the values of a tensor of any library, or of an array on any device, as a NumPy array."""
    if isinstance(value, Tensor) or is_device_array(value):
        return to_host(value.data if isinstance(value, Tensor) else value)
    for method in ("detach", "cpu"):
        if hasattr(value, method):
            value = getattr(value, method)()
    return np.asarray(value)


def _family(dtype: np.dtype[Any]) -> str:
    return {"i": "integer", "u": "integer", "f": "floating"}.get(dtype.kind, dtype.kind)
