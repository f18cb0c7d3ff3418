"""Dataset: features and labels, row by row, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..arrays import as_array

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows of features, each with its label.

    Args:
        features: (n, ...), floating or integer. Python's floats become float32; an array keeps its dtype.
        labels: (n, ...): integer class numbers of shape (n,), or the floating targets of a regression.
        name: what messages call the dataset.
        allow_nonfinite: accept NaN and infinity; by default they are errors, because a single one of them turns
            every parameter into NaN within a few steps.

    Raises:
        ValueError: if the two differ in their number of rows, or hold NaN or infinity; it names the first place.
        TypeError: if they are not numeric.

    >>> points = data.Dataset([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    >>> points
    <dataset dataset: features float32 (2, 2), labels int64 (2,)>
    >>> features, label = points[1]
    >>> features
    array([1., 0.], dtype=float32)
    """

    features: Array
    labels: Array
    name: str = "dataset"
    allow_nonfinite: bool = False

    def __post_init__(self) -> None:
        for part in ("features", "labels"):
            array = as_array(getattr(self, part))
            if not array.ndim:
                raise ValueError(f"{self.name}: {part} must have a row for each example, not be a single number")
            if not self.allow_nonfinite:
                _refuse_nonfinite(self.name, part, array)
            object.__setattr__(self, part, array)
        if devices.device_of(self.features) != devices.device_of(self.labels):
            raise ValueError(
                f"{self.name}: features and labels are on different devices; make it on the CPU, then .to()"
            )
        if len(self.features) != len(self.labels):
            raise ValueError(
                f"{self.name}: {len(self.features)} rows of features, but {len(self.labels)} labels; each row needs one"
            )

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: Any) -> tuple[Any, Any]:
        """The features and the labels of a row, a slice or an array of row numbers."""
        return self.features[key], self.labels[key]

    def __repr__(self) -> str:
        return (
            f"<dataset {self.name}: features {self.features.dtype} {self.features.shape}, "
            f"labels {self.labels.dtype} {self.labels.shape}>"
        )

    def subset(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Dataset:
        """A dataset with copies of the given rows, in the given order."""
        rows = devices.to_device(np.asarray(rows, dtype=np.int64), self.device)
        return Dataset(self.features[rows], self.labels[rows], self.name, self.allow_nonfinite)

    @property
    def device(self) -> str:
        """Where the rows live: ``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self.features)

    def to(self, device: str) -> Dataset:
        """The dataset on a device; itself if it is there. All of it takes memory there: see also `DataLoader`."""
        wanted = devices.as_device(device)
        if wanted == self.device:
            return self
        features, labels = (devices.to_device(array, wanted) for array in (self.features, self.labels))
        return Dataset(features, labels, self.name, self.allow_nonfinite)

    def cpu(self) -> Dataset:
        """The dataset on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Dataset:
        """The dataset on the GPU."""
        return self.to("cuda")

    @property
    def classes(self) -> int:
        """The number of classes: one more than the largest label.

        Raises:
            ValueError: if the labels are no class numbers.
        """
        if self.labels.dtype.kind not in "iu" or self.labels.ndim != 1 or not len(self) or self.labels.min() < 0:
            raise ValueError(
                f"{self.name}: labels of {self.labels.dtype} {self.labels.shape} are no class numbers; classes are "
                "counted in integer labels of shape (n,), 0 and up"
            )
        return int(self.labels.max()) + 1


def _refuse_nonfinite(name: str, part: str, array: Array) -> None:
    if array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    array, finite = devices.to_host(array), devices.to_host(finite)
    place = np.unravel_index(int(np.argmin(finite)), array.shape)
    words = ", ".join(f"{word} {i}" for word, i in zip(_axis_words(array.ndim), place, strict=True))
    raise ValueError(
        f"{name}: {part} hold {array[place]} at {words} ({int((~finite).sum())} such values in all); remove or replace "
        "them, or pass allow_nonfinite=True"
    )


def _axis_words(ndim: int) -> list[str]:
    return ["row", "column"][:ndim] if ndim <= 2 else ["row", *(f"axis {axis} index" for axis in range(1, ndim))]
