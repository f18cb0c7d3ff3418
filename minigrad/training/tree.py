"""Nested state as JSON and arrays: the arrays are taken out of it, and put back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..autograd.tensor import Tensor
from ..devices.arrays import is_array, to_host

Array = npt.NDArray[Any]

# A dictionary with one of these keys alone stands for what JSON has no word for.
_ARRAY, _NUMBER = "$array", "$number"
_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def take_arrays(tree: Any, arrays: dict[str, Array], path: str = "") -> Any:
    """The tree as JSON can hold it; its arrays go to ``arrays`` under their path, such as ``model/0.weight``.

    Arrays on a GPU are copied to the CPU, so that what is saved does not depend on the device.

    Raises:
        TypeError: for what is neither a dictionary with names, a list, an array, text, a number nor ``None``.
    """
    if isinstance(tree, Tensor):
        tree = tree.data
    if is_array(tree):
        arrays[path] = to_host(tree)
        return {_ARRAY: path}
    if isinstance(tree, Mapping):
        if not all(isinstance(key, str) for key in tree):
            raise TypeError(f"state at {path or 'the top'!r}: the keys must be text")
        return {key: take_arrays(value, arrays, f"{path}/{key}" if path else key) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [take_arrays(value, arrays, f"{path}/{i}") for i, value in enumerate(tree)]
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, float) and not math.isfinite(tree):
        return {_NUMBER: str(tree)}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"state at {path!r}: {type(tree).__name__} cannot be saved")


def put_arrays(tree: Any, arrays: Mapping[str, Array]) -> Any:
    """The reverse of `take_arrays`; tuples have become lists.

    Raises:
        ValueError: if an array is missing, or a number is none.
    """
    if isinstance(tree, list):
        return [put_arrays(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {_ARRAY}:
        name = tree[_ARRAY]
        if not isinstance(name, str) or name not in arrays:
            raise ValueError(f"the array {name!r:.80} is missing")
        return arrays[name]
    if tree.keys() == {_NUMBER}:
        if not isinstance(tree[_NUMBER], str) or tree[_NUMBER] not in _NUMBERS:
            raise ValueError(f"{tree[_NUMBER]!r:.80} is no number")
        return _NUMBERS[tree[_NUMBER]]
    return {key: put_arrays(value, arrays) for key, value in tree.items()}
