"""Dataset: rows of features with their labels, and how to hold out a part of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import devices
from ..autograd.as_array import as_array
from ..checks import number

__all__ = ["Dataset", "stratified_split"]

Array = npt.NDArray[Any]


@dataclass(eq=False, repr=False)
class Dataset:
    """Rows of features, each with its label. A dataset does not change.

    As in PyTorch, a subclass may store its data in any way. It defines ``__len__``, and ``__getitem__``, which returns
    the pair (features, label) of one row::

        class Squares(data.Dataset):
            def __len__(self):
                return 10

            def __getitem__(self, row):
                return [float(row)], float(row) ** 2

    Args:
        features: (n, ...), floating or integer. Python's floats become float32; an array keeps its dtype.
        labels: (n, ...): integer class numbers of shape (n,), or the floating targets of a regression.
        name: the name of the dataset in messages.
        allow_nonfinite: accept NaN and infinity; by default they are errors, because a single one
            turns every parameter into NaN within a few steps.

    Raises:
        ValueError: if the two have different numbers of rows, or hold NaN or infinity; it names the first position.
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
        text = f"{type(self).__name__} has no attribute {name!r}"
        if name in ("features", "labels"):
            text += "; call super().__init__(features, labels), or define __len__ and __getitem__"
        raise AttributeError(text)

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
        """Return a dataset with copies of the given rows, in the given order."""
        rows = devices.to_device(np.asarray(rows, dtype=np.int64), self.device)
        return Dataset(self.features[rows], self.labels[rows], self.name, self.allow_nonfinite)

    @property
    def device(self) -> str:
        """The device of the rows, ``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self.features)

    def to(self, device: str) -> Dataset:
        """Return the dataset on a device, or itself if it is already there.

        All rows take memory on that device; `DataLoader` can copy one batch at a time instead.
        """
        wanted = devices.as_device(device)
        if wanted == self.device:
            return self
        features, labels = (devices.to_device(array, wanted) for array in (self.features, self.labels))
        return Dataset(features, labels, self.name, self.allow_nonfinite)

    def cpu(self) -> Dataset:
        """Return the dataset on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Dataset:
        """Return the dataset on the GPU."""
        return self.to("cuda")

    @property
    def classes(self) -> int:
        """The number of classes: one more than the largest label.

        Raises:
            ValueError: if the labels are not class numbers.
        """
        if self.labels.dtype.kind not in "iu" or self.labels.ndim != 1 or not len(self) or self.labels.min() < 0:
            raise ValueError(
                f"{self.name}: labels of {self.labels.dtype} {self.labels.shape} are not class numbers, which are "
                "integers of 0 or more in an array of shape (n,)"
            )
        return int(self.labels.max()) + 1


def is_stored(dataset: Any) -> bool:
    """Whether a dataset stores its rows as arrays, so that many can be read at a time."""
    return (
        isinstance(dataset, Dataset) and type(dataset).__getitem__ is Dataset.__getitem__ and "labels" in vars(dataset)
    )


def name_of(dataset: Any) -> str:
    """The name of any kind of dataset in messages."""
    return dataset.name if is_stored(dataset) else type(dataset).__name__


def as_dataset(dataset: Any) -> Dataset:
    """Return any kind of dataset with all its rows as arrays, or itself if it has them."""
    if is_stored(dataset):
        return dataset
    return Dataset(*collated(dataset, range(len(dataset))), name_of(dataset))


def collated(dataset: Any, rows: Iterable[int]) -> tuple[Array, Array]:
    """Stack the features and the labels of some rows of any dataset.

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
                    f"{part[0].dtype} {part[0].shape} in an earlier row; all rows of a batch must be alike"
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


# --- holding out -----------------------------------------------------------------------------------------------------


def stratified_split(dataset: Dataset, fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Hold out a ``fraction`` of the rows, the same fraction of every class.

    Of n rows, round(n * fraction) are held out; a class of m rows gives m * fraction, rounded up or down (up where
    the remainder is largest). Only ``seed`` decides which rows; both parts keep the order of the rows.

    Returns:
        The training part and the held-out part.

    Raises:
        ValueError: if the fraction is not between 0 and 1, if the dataset is empty, if its labels are not
            class numbers, or if a class would be missing from one of the parts.

    >>> train, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    >>> len(train), len(held_out)
    (1438, 359)
    """
    number("stratified_split", "fraction", fraction, above=0, below=1)
    dataset = as_dataset(dataset)
    if not len(dataset):
        raise ValueError(f"stratified_split: {dataset.name} is empty")
    if dataset.labels.dtype.kind not in "iu" or dataset.labels.ndim != 1:
        raise ValueError(
            f"stratified_split: needs class numbers, integer labels of shape (n,), but {dataset.name} has "
            f"{dataset.labels.dtype} labels of shape {dataset.labels.shape}"
        )
    classes, counts = np.unique(dataset.labels, return_counts=True)
    held = _shares(counts, fraction)
    for label, count, share in zip(classes, counts, held, strict=True):
        if share in (0, count):
            raise ValueError(
                f"stratified_split: class {label} of {dataset.name} has {count} rows, of which {share} would be held "
                f"out at fraction {fraction}; every class needs a row in both parts"
            )
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(dataset), dtype=bool)
    for label, share in zip(classes, held, strict=True):
        rows = np.flatnonzero(dataset.labels == label)
        mask[rng.permutation(rows)[:share]] = True
    return dataset.subset(np.flatnonzero(~mask)), dataset.subset(np.flatnonzero(mask))


def _shares(counts: npt.NDArray[Any], fraction: float) -> npt.NDArray[np.int64]:
    """Whole shares of ``counts * fraction`` that add up to the rounded total (largest remainders first)."""
    exact = counts * fraction
    shares = np.floor(exact).astype(np.int64)
    missing = round(float(counts.sum() * fraction)) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    return shares
