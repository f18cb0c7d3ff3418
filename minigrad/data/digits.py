"""The handwritten digits that come with the package.

1,797 images of 8 x 8 pixels, the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, as scikit-learn distributes it.
Licensed under CC BY 4.0; see LICENSE-digits.txt beside this file.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from .dataset import Dataset


def load_digits() -> Dataset:
    """The UCI handwritten digits: 1,797 images of 8 x 8 pixels, ten classes of about 180 each.

    Returns:
        A dataset with float32 features of shape (1797, 64), the pixels row by row from 0 (paper) to 1 (ink), and
        int64 labels of shape (1797,).

    >>> digits = data.load_digits()
    >>> digits
    <dataset digits: features float32 (1797, 64), labels int64 (1797,)>
    >>> digits.classes
    10
    """
    with (
        resources.files(__package__).joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as npz,
    ):
        pixels, labels = npz["pixels"], npz["labels"]
    return Dataset(pixels / np.float32(16), labels.astype(np.int64), "digits")
