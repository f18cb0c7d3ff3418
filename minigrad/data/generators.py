"""Toy datasets made from formulas: small enough to plot, hard enough to need a hidden layer.

Every function takes its ``seed`` and returns the same float32 values for the same arguments; nothing else is drawn
from, and no global state is touched. ``noise`` is the standard deviation of the normal noise added to each
coordinate (for a curve: to the label). Classes have equal sizes, the first ones one more where ``samples`` does not
divide; rows come class by class, so shuffle or split them before use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import unknown
from .dataset import Dataset

Array = npt.NDArray[np.float64]


def moons(samples: int = 200, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two half circles that reach into each other: (cos t, sin t) and (1 - cos t, 1/2 - sin t), 0 <= t <= pi.

    >>> data.moons(samples=300)
    <dataset moons: features float32 (300, 2), labels int64 (300,)>
    """
    _check("moons", samples, noise, classes=2)
    upper, lower = (np.linspace(0, math.pi, size) for size in _sizes(samples, 2))
    points = [_points(np.cos(upper), np.sin(upper)), _points(1 - np.cos(lower), 0.5 - np.sin(lower))]
    return _classes("moons", points, noise, seed)


def circles(samples: int = 200, noise: float = 0.05, seed: int = 0, factor: float = 0.5) -> Dataset:
    """Two circles around the origin: radius 1 (class 0) and radius ``factor`` (class 1).

    >>> data.circles(samples=300)
    <dataset circles: features float32 (300, 2), labels int64 (300,)>
    """
    _check("circles", samples, noise, classes=2)
    if not 0 < factor < 1:
        raise ValueError(f"circles: factor is the inner radius, between 0 and 1, not {factor}")
    points = []
    for radius, size in zip((1.0, factor), _sizes(samples, 2), strict=True):
        angle = np.linspace(0, 2 * math.pi, size, endpoint=False)
        points.append(_points(radius * np.cos(angle), radius * np.sin(angle)))
    return _classes("circles", points, noise, seed)


def spirals(samples: int = 300, noise: float = 0.02, seed: int = 0, classes: int = 3, turns: float = 0.75) -> Dataset:
    """Arms of a spiral: class k of K at radius r has angle 2 pi (k / K + ``turns`` r), with r from 0.05 to 1.

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
    """Normal clouds around centers on the unit circle: class k of K around the angle 2 pi k / K.

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
    """Normal clouds around the corners (+-1, +-1): class 0 where the signs agree, class 1 where they differ.

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
    """Points on a curve to be fitted: x uniform in [-1, 1], label f(x) + noise, both of shape (samples, 1).

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
    for argument, value, least in (("classes", classes, 1), ("samples", samples, classes)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name}: {argument} must be a whole number of at least {least}, not {value!r}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"{name}: noise is a standard deviation, 0 or more, not {noise}")
