"""Dividing a dataset into a training and a held-out part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .dataset import Dataset, as_dataset


def stratified_split(dataset: Dataset, fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Hold out a ``fraction`` of the rows, the same fraction of every class.

    Of n rows, round(n * fraction) are held out; a class of m rows gives m * fraction, rounded up or down (up where
    the remainder is largest). Which rows is decided by ``seed`` alone; both parts keep the order of the rows.

    Returns:
        The training part and the held-out part.

    Raises:
        ValueError: if the fraction is not between 0 and 1, if the dataset is empty, if its labels are no class
            numbers, or if a class would be missing from one of the parts.

    >>> train, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    >>> len(train), len(held_out)
    (1438, 359)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"stratified_split: fraction must be between 0 and 1, not {fraction}")
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
