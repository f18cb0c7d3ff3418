"""Products with a symmetric matrix, and what they say of it: largest eigenvalues, trace and spectral density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Density", "Estimate"]

Vector = npt.NDArray[np.float64]
# The product of the matrix with a vector.
Product = Callable[[Vector], Vector]


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes, with its standard error.

    Attributes:
        value: the mean.
        error: the standard error of the mean: about two thirds of all estimates are closer than this to the truth.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.2g}"


@dataclass(frozen=True, eq=False)
class Density:
    """The distribution of the eigenvalues of a matrix, as weighted points.

    Attributes:
        nodes: eigenvalues of the Lanczos matrices, a row per probe.
        weights: the share of the spectrum that each stands for; a row sums to 1. If the space of a probe ends early,
            the rest of its row has the weight 0.
    """

    nodes: Vector
    weights: Vector

    def at(self, values: npt.ArrayLike, width: float) -> Vector:
        """The density of eigenvalues at ``values``, where every point is a normal distribution of this deviation."""
        distance = (np.asarray(values, np.float64)[..., None, None] - self.nodes) / width
        bumps = np.exp(-(distance**2) / 2) / (width * np.sqrt(2 * np.pi))
        return (bumps * self.weights).sum((-2, -1)) / len(self.nodes)


def lanczos(
    product: Product, start: Vector, steps: int, k: int = 1, tolerance: float = 0.0
) -> tuple[Vector, Vector, Vector]:
    """Make an orthonormal basis of the Krylov space of a vector, and the matrix in it.

    Every vector is orthogonalized against all before it, twice: without that, rounding brings copies of the eigenvalues
    that were found (Parlett, "The symmetric eigenvalue problem", 1998, section 13).

    Args:
        product: multiplies the matrix by a vector.
        start: the vector, of any length but 0.
        steps: the most products; fewer are made if the space has fewer dimensions.
        k, tolerance: end once the residuals of the ``k`` largest eigenvalues are below this share of them.

    Returns:
        The basis Q, a column per step; the matrix in it, QᵀAQ; and the products AQ.
    """
    q = start / np.linalg.norm(start)
    basis, products = np.empty((2, len(start), min(steps, len(start))))
    inside = np.zeros((basis.shape[1],) * 2)
    for step in range(basis.shape[1]):
        basis[:, step], products[:, step] = q, product(q)
        known, done = basis[:, : step + 1], step + 1
        inside[:done, step] = inside[step, :done] = known.T @ products[:, step]
        rest = products[:, step]
        for _ in range(2):
            rest = rest - known @ (known.T @ rest)
        length = float(np.linalg.norm(rest))
        values, vectors = np.linalg.eigh(inside[:done, :done])
        # The residual of an eigenvector is the length of the rest times the vector's last component.
        settled = length * np.abs(vectors[-1, -k:]) <= tolerance * np.abs(values[-k:])
        if length <= 1e-12 * np.abs(values).max() or (done >= k and settled.all()):
            break
        q = rest / length
    return known, inside[:done, :done], products[:, :done]


def largest(
    product: Product, size: int, k: int, steps: int, tolerance: float, seed: int
) -> tuple[Vector, Vector, Vector]:
    """The largest eigenvalues, in falling order, with their eigenvectors as rows, and the residuals |Av - λv|."""
    start = np.random.default_rng(seed).standard_normal(size)
    basis, inside, products = lanczos(product, start, steps, k, tolerance)
    values, vectors = np.linalg.eigh(inside)
    values, vectors = values[: -k - 1 : -1], vectors[:, : -k - 1 : -1]
    found = basis @ vectors
    return values, found.T, np.linalg.norm(products @ vectors - found * values, axis=0)


def trace(product: Product, size: int, probes: int, seed: int) -> Estimate:
    """The trace by Hutchinson's estimator: the mean of zᵀAz over vectors z of random signs."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, size))
    found = np.array([z @ product(z) for z in signs])
    return Estimate(float(found.mean()), float(found.std(ddof=1) / np.sqrt(probes)))


def density(product: Product, size: int, probes: int, steps: int, seed: int) -> Density:
    """The spectral density by stochastic Lanczos quadrature.

    The weight of an eigenvalue of the tridiagonal matrix is the square of the *first* component of its eigenvector
    (Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via Hessian eigenvalue density", 2019).
    """
    starts = np.random.default_rng(seed).standard_normal((probes, size))
    nodes, weights = np.zeros((2, probes, min(steps, size)))
    for row, start in enumerate(starts):
        values, vectors = np.linalg.eigh(lanczos(product, start, steps)[1])
        nodes[row, : len(values)], weights[row, : len(values)] = values, vectors[0] ** 2
    return Density(nodes, weights)
