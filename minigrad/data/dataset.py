"""Dataset: features and labels, row by row, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..autograd.as_array import as_array

Array = npt.NDArray[Any]


@dataclass(eq=False, repr=False)
class Dataset:
    """Rows of features, each with its label. A dataset does not change.

    As in PyTorch, a subclass may keep what it likes, and define ``__len__`` and ``__getitem__``, which returns the pair
    (features, label) of one row::

        class Squares(data.Dataset):
            def __len__(self):
                return 10

            def __getitem__(self, row):
                return [float(row)], float(row) ** 2

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

    def __setattr__(self, name: str, value: Any) -> None:
        if type(self) is Dataset and name in vars(self):
            raise FrozenInstanceError(f"Dataset.{name} cannot be changed; make a new Dataset")
        object.__setattr__(self, name, as_array(value) if name in ("features", "labels") else value)

    def __getattr__(self, name: str) -> Any:
        told = f"{type(self).__name__} has no attribute {name!r}"
        if name in ("features", "labels"):
            told += "; call super().__init__(features, labels), or define __len__ and __getitem__"
        raise AttributeError(told)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: Any) -> tuple[Any, Any]:
        """The features and the labels of a row, a slice or an array of row numbers."""
        return self.features[key], self.labels[key]

    def __repr__(self) -> str:
        if not is_stored(self):
            return f"<dataset {name_of(self)}: {len(self)} rows>"
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


def is_stored(dataset: Any) -> bool:
    """Whether the rows of a dataset are those of its arrays, and can be had many at a time."""
    return (
        isinstance(dataset, Dataset) and type(dataset).__getitem__ is Dataset.__getitem__ and "labels" in vars(dataset)
    )


def name_of(dataset: Any) -> str:
    """What messages call a dataset of any kind."""
    return dataset.name if is_stored(dataset) else type(dataset).__name__


def as_dataset(dataset: Any) -> Dataset:
    """A dataset of any kind with all its rows as arrays; itself where it is that already."""
    if is_stored(dataset):
        return dataset
    return Dataset(*collated(dataset, range(len(dataset))), name_of(dataset))


def collated(dataset: Any, rows: Iterable[int]) -> tuple[Array, Array]:
    """The features and the labels of some rows of any dataset, asked for one by one.

    Raises:
        TypeError: if a row is not a pair.
        ValueError: if rows differ in their shapes; it names both.
    """
    parts: tuple[list[Array], list[Array]] = ([], [])
    for row in rows:
        pair = dataset[int(row)]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"{name_of(dataset)}: row {row} must be a pair (features, label), not {type(pair).__name__}; return "
                "both from __getitem__"
            )
        for part, name, value in zip(parts, ("features", "label"), pair, strict=True):
            array = devices.to_host(as_array(value))
            if part and (array.shape, array.dtype) != (part[0].shape, part[0].dtype):
                raise ValueError(
                    f"{name_of(dataset)}: the {name} of row {row} is {array.dtype} {array.shape}, but "
                    f"{part[0].dtype} {part[0].shape} in a row before; all rows of a batch must be alike"
                )
            part.append(array)
    return np.stack(parts[0]), np.stack(parts[1])


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
