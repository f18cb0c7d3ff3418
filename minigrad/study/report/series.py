"""Series: what there is to say of the values of a quantity over the records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]


def median(values: Series) -> float:
    """The median of those that are there."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def says_something(values: Series) -> bool:
    """Whether there is anything but 0, in a series of single numbers."""
    known = values[~np.isnan(values)]
    return bool(values.ndim == 1 and known.size and (known != 0).any())


def middle(bands: Series) -> Series:
    """The medians of quantiles, a row per record; none where there are no quantiles."""
    return bands[:, bands.shape[1] // 2] if bands.ndim == 2 and bands.shape[1] else np.empty(0)


def spreads(bands: Series) -> bool:
    """Whether the quantiles of any record differ."""
    if bands.ndim != 2:
        return False
    finite = bands[np.isfinite(bands).all(1)]
    return bool(finite.size and (finite.max(1) > finite.min(1)).any())
