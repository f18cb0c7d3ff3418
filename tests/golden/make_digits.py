"""Write minigrad/data/digits.npz from scikit-learn's copy of the UCI digits.

Needs scikit-learn. Run from the repository's root: ``python tests/golden/make_digits.py``. The same input gives the
same bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parents[2] / "minigrad" / "data" / "digits.npz"


def main() -> None:
    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    assert np.array_equal(pixels, digits.data), "pixels are whole numbers from 0 to 16"
    np.savez_compressed(TARGET, pixels=pixels, labels=digits.target.astype(np.uint8))
    print(f"{TARGET.name}: {pixels.shape[0]} digits of {pixels.shape[1]} pixels, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
