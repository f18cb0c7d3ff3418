"""Data: digits that come with the package, toy generators, IDX files, splits and batches."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..checks import unknown
from .dataset import Dataset
from .digits import load_digits
from .generators import CURVES, blobs, circles, curve, moons, spirals, xor
from .idx import load_idx, read_idx
from .loader import DataLoader
from .split import stratified_split

__all__ = [
    "CURVES",
    "DATASETS",
    "DataLoader",
    "Dataset",
    "blobs",
    "circles",
    "curve",
    "load",
    "load_digits",
    "load_idx",
    "moons",
    "read_idx",
    "spirals",
    "stratified_split",
    "xor",
]

# Every dataset that needs no file of the user's, with its default size.
DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "moons": moons,
    "circles": circles,
    "spirals": spirals,
    "blobs": blobs,
    "xor": xor,
    **{name: functools.partial(curve, name) for name in CURVES},
}


def load(name: str) -> Dataset:
    """The dataset called ``name`` in `DATASETS`, with its default arguments.

    Raises:
        ValueError: if there is none of that name; it suggests the nearest.

    >>> data.load("moons")
    <dataset moons: features float32 (200, 2), labels int64 (200,)>
    """
    if name not in DATASETS:
        raise ValueError("data.load: " + unknown("dataset", name, DATASETS))
    return DATASETS[name]()
