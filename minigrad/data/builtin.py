"""Datasets that need no download: the handwritten digits, and toy data that is computed.

The digits are 1,797 images of 8 x 8 pixels, the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin
and C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, as scikit-learn distributes it.
Licensed under CC BY 4.0; see LICENSE-digits.txt in this folder.

Toy datasets are small enough to plot, and hard enough to need a hidden layer. Each function returns the same float32
values for the same arguments: all random numbers come from its ``seed``, and no global state is read or changed.
``noise`` is the standard deviation of the normal noise added to each coordinate (for a curve: to the label). Classes
have equal sizes; if ``samples`` does not divide evenly, the first classes have one row more. Rows are sorted by class,
so shuffle or split them before use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import number, unknown, whole
from .dataset import Dataset

__all__ = [
    "CURVES",
    "DATASETS",
    "blobs",
    "circles",
    "curve",
    "load",
    "load_digits",
    "moons",
    "spirals",
    "xor",
]

Array = npt.NDArray[np.float64]


def load_digits() -> Dataset:
    """Return the UCI handwritten digits: 1,797 images of 8 x 8 pixels, ten classes of about 180 each.

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


def moons(samples: int = 200, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Return two interleaving half circles: (cos t, sin t) and (1 - cos t, 1/2 - sin t), 0 <= t <= pi.

    >>> data.moons(samples=300)
    <dataset moons: features float32 (300, 2), labels int64 (300,)>
    """
    _check("moons", samples, noise, classes=2)
    upper, lower = (np.linspace(0, math.pi, size) for size in _sizes(samples, 2))
    points = [_points(np.cos(upper), np.sin(upper)), _points(1 - np.cos(lower), 0.5 - np.sin(lower))]
    return _classes("moons", points, noise, seed)


def circles(samples: int = 200, noise: float = 0.05, seed: int = 0, factor: float = 0.5) -> Dataset:
    """Return two circles around the origin: radius 1 (class 0) and radius ``factor`` (class 1).

    >>> data.circles(samples=300)
    <dataset circles: features float32 (300, 2), labels int64 (300,)>
    """
    _check("circles", samples, noise, classes=2)
    number("circles", "factor", factor, above=0, below=1)
    points = []
    for radius, size in zip((1.0, factor), _sizes(samples, 2), strict=True):
        angle = np.linspace(0, 2 * math.pi, size, endpoint=False)
        points.append(_points(radius * np.cos(angle), radius * np.sin(angle)))
    return _classes("circles", points, noise, seed)


def spirals(samples: int = 300, noise: float = 0.02, seed: int = 0, classes: int = 3, turns: float = 0.75) -> Dataset:
    """Return spiral arms: class k of K at radius r has angle 2 pi (k / K + ``turns`` r), with r from 0.05 to 1.

    >>> data.spirals(classes=3)
    <dataset spirals: features float32 (300, 2), labels int64 (300,)>
    """
    _check("spirals", samples, noise, classes)
    points = []
    for label, size in enumerate(_sizes(samples, classes)):
        radius = np.linspace(0.05, 1, size)
        angle = 2 * math.pi * (label / classes + turns * radius)
        points.append(_points(radius * np.cos(angle), radius * np.sin(angle)))
    return _classes("spirals", points, noise, seed)


def blobs(samples: int = 300, noise: float = 0.15, seed: int = 0, classes: int = 3) -> Dataset:
    """Return normal clouds around centers on the unit circle: class k of K around the angle 2 pi k / K.

    >>> data.blobs(classes=4)
    <dataset blobs: features float32 (300, 2), labels int64 (300,)>
    """
    _check("blobs", samples, noise, classes)
    points = []
    for label, size in enumerate(_sizes(samples, classes)):
        angle = 2 * math.pi * label / classes
        points.append(np.tile([math.cos(angle), math.sin(angle)], (size, 1)))
    return _classes("blobs", points, noise, seed)


def xor(samples: int = 200, noise: float = 0.15, seed: int = 0) -> Dataset:
    """Return normal clouds around the corners (+-1, +-1): class 0 where the signs agree, class 1 where they differ.

    >>> data.xor()
    <dataset xor: features float32 (200, 2), labels int64 (200,)>
    """
    _check("xor", samples, noise, classes=2)
    corners = (np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[1.0, -1.0], [-1.0, 1.0]]))
    points = [corner[np.arange(size) % 2] for corner, size in zip(corners, _sizes(samples, 2), strict=True)]
    return _classes("xor", points, noise, seed)


CURVES: dict[str, Callable[[Array], Array]] = {
    "line": lambda x: 0.5 * x,
    "cubic": lambda x: x**3 - 0.5 * x,
    "sine": lambda x: np.sin(math.pi * x),
    "sinc": lambda x: np.sinc(4 * x),
    "step": lambda x: np.where(x < 0, -0.5, 0.5),
}


def curve(name: str = "sine", samples: int = 200, noise: float = 0.05, seed: int = 0) -> Dataset:
    """Return points on a curve for regression: x uniform in [-1, 1], label f(x) + noise, both of shape (samples, 1).

    ``name`` picks f: ``line`` x/2, ``cubic`` x^3 - x/2, ``sine`` sin(pi x), ``sinc`` sin(4 pi x) / (4 pi x),
    ``step`` -1/2 below 0 and 1/2 from 0 on.

    >>> data.curve("sinc", samples=100)
    <dataset sinc: features float32 (100, 1), labels float32 (100, 1)>
    """
    if name not in CURVES:
        raise ValueError("curve: " + unknown("curve", name, CURVES))
    _check(name, samples, noise, classes=1)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (samples, 1))
    y = CURVES[name](x) + noise * rng.standard_normal((samples, 1))
    return Dataset(x.astype(np.float32), y.astype(np.float32), name)


# Every dataset that needs no file from the user; a call returns it with its default arguments.
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
    """Return the dataset called ``name`` in `DATASETS`, with its default arguments.

    Raises:
        ValueError: for an unknown name; it suggests the nearest.

    >>> data.load("moons")
    <dataset moons: features float32 (200, 2), labels int64 (200,)>
    """
    if name not in DATASETS:
        raise ValueError("data.load: " + unknown("dataset", name, DATASETS))
    return DATASETS[name]()


def _points(x: Array, y: Array) -> Array:
    return np.stack([x, y], axis=1)


def _sizes(samples: int, classes: int) -> list[int]:
    return [samples // classes + (label < samples % classes) for label in range(classes)]


def _classes(name: str, points: list[Array], noise: float, seed: int) -> Dataset:
    """A dataset of one label per array of points, with noise on every coordinate."""
    features = np.concatenate(points)
    features = features + noise * np.random.default_rng(seed).standard_normal(features.shape)
    labels = np.repeat(np.arange(len(points)), [len(part) for part in points])
    return Dataset(features.astype(np.float32), labels.astype(np.int64), name)


def _check(name: str, samples: Any, noise: float, classes: Any) -> None:
    whole(name, "samples", samples, least=whole(name, "classes", classes))
    number(name, "noise", noise, low=0)
