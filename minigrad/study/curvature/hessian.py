"""The curvature of a model's loss: products with its Hessian, and what they say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...autograd.gradients import grad
from ...autograd.modes import enable_grad
from ...autograd.tensor import Tensor
from ...checks import function, number, whole
from ...data import Dataset
from ...devices.arrays import to_device, to_host
from ...nn import Module
from ...nn.inspection import restoring
from ...optim import Optimizer
from .lanczos import Density, Estimate, density, largest, trace
from .stability import Stability, stability

__all__ = ["Curvature", "Hessian", "curvature"]

Vector = npt.NDArray[np.float64]

# The most products of one call, and the residual relative to the eigenvalue at which it ends before. The relative error
# of a separated eigenvalue is about the square of the latter.
PRODUCTS, TOLERANCE = 50, 1e-3


class Hessian:
    """The Hessian of a model's loss over fixed data, with respect to all parameters that require a gradient.

    Vectors have the order of ``nn.utils.parameters_to_vector(model.parameters())``, without frozen parameters. The
    forward pass is recorded once, so that dropout masks are the same in every product. The model is left as it was.

    Args:
        model: run in its present mode.
        data: a pair (inputs, targets), a `minigrad.data.Dataset`, or several such pairs, such as a loader whose
            batches are averaged by their numbers of rows. Take all of the data, or a fixed part: with another batch
            for each product, the products are not those of one Hessian.
        loss: a function of the model's output and the targets; a mean over the rows.

    Attributes:
        names: the names of the parameters.
        loss: the value of the loss.
        gradient: its gradient, in float64.

    Raises:
        ValueError: if ``data`` is empty, or no parameter requires a gradient.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.zeros((2, 1), np.float32)
    >>> hessian = study.Hessian(model, (x, y), nn.functional.mse_loss)  # xᵀx, for the mean of two squares
    >>> hessian @ np.array([1.0, 1.0])
    array([1., 4.])
    """

    def __init__(self, model: Module, data: Any, loss: Callable[[Any, Any], Tensor]) -> None:
        function("Hessian", "loss", loss)
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise ValueError("Hessian: no parameter of the model requires a gradient")
        self.names, self._parameters = zip(*named, strict=True)
        pairs = _pairs(data)
        rows = sum(len(targets) for _, targets in pairs)
        self._parts: list[tuple[float, tuple[Tensor | None, ...]]] = []  # the share of a batch, and its gradients
        self.loss, self.gradient = 0.0, np.zeros(self.size)
        for inputs, targets in pairs:
            with restoring(model), enable_grad():
                value = loss(model(_tensor(inputs)), _tensor(targets))
                found = grad(value, self._parameters, create_graph=True, allow_unused=True)
            share = len(targets) / rows
            self.loss += share * value.item()
            self.gradient += share * self._vector(found)
            self._parts.append((share, found))

    def __reduce__(self) -> Any:
        raise TypeError("Hessian: holds a recorded forward pass, which cannot be copied or pickled; make another one")

    @property
    def size(self) -> int:
        """The number of parameters' elements: of rows and of columns."""
        return sum(p.numel() for p in self._parameters)

    def __matmul__(self, v: npt.ArrayLike) -> Vector:
        """The product with a vector in float64, from one backward pass in the precision of the parameters.

        Raises:
            ValueError: for a vector of another shape.
            RuntimeError: if the parameters have changed since.
        """
        vector = np.asarray(v, np.float64)
        if vector.shape != (self.size,):
            raise ValueError(f"Hessian: needs a vector of {self.size} elements, not shape {vector.shape}")
        ends = np.cumsum([p.numel() for p in self._parameters])
        pieces = [Tensor(_like(x, p)) for x, p in zip(np.split(vector, ends[:-1]), self._parameters, strict=True)]
        product = np.zeros(self.size)
        for share, slopes in self._parts:
            moving = [(s, x) for s, x in zip(slopes, pieces, strict=True) if s is not None and s.requires_grad]
            if moving:
                outputs, seeds = map(list, zip(*moving, strict=True))
                found = grad(outputs, self._parameters, seeds, retain_graph=True, allow_unused=True)
                product += share * self._vector(found)
        return product

    def _vector(self, tensors: Iterable[Tensor | None]) -> Vector:
        arrays = [
            np.zeros(p.numel()) if t is None else to_host(t.data).astype(np.float64).ravel()
            for p, t in zip(self._parameters, tensors, strict=True)
        ]
        return np.concatenate(arrays)

    def trace(self, probes: int = 32, seed: int = 0) -> Estimate:
        """The trace by Hutchinson's estimator, from one product for each of ``probes`` vectors of random signs."""
        return trace(self.__matmul__, self.size, whole("trace", "probes", probes, least=2), seed)

    def density(self, probes: int = 4, products: int = 40, seed: int = 0) -> Density:
        """The density of the eigenvalues by stochastic Lanczos quadrature, from ``probes`` times ``products`` products.

        Reference: Ghorbani, Krishnan and Xiao, "An investigation into neural net optimization via Hessian eigenvalue
        density", ICML 2019.
        """
        probes, products = whole("density", "probes", probes), whole("density", "products", products)
        return density(self.__matmul__, self.size, probes, products, seed)


@dataclass(frozen=True, eq=False)
class Curvature:
    """The largest curvatures of a loss, and whether an optimizer is stable there. Made by `curvature`.

    Attributes:
        loss: the value of the loss.
        eigenvalues: the largest of the Hessian H, in falling order.
        eigenvectors: a row for each.
        residuals: |Hv - λv| for each: an eigenvalue of H is at most this far from λ.
        stability: the `Stability` of the optimizer, or None without one.
        preconditioned: the largest eigenvalue of P⁻¹H, with the optimizer's preconditioner P; None without one.
        preconditioned_residual: likewise, of P^(-1/2) H P^(-1/2), which has the same eigenvalues.
    """

    loss: float
    eigenvalues: Vector
    eigenvectors: Vector
    residuals: Vector
    stability: Stability | None = None
    preconditioned: float | None = None
    preconditioned_residual: float | None = None

    @property
    def sharpness(self) -> float:
        """The largest eigenvalue of the Hessian."""
        return float(self.eigenvalues[0])

    @property
    def threshold(self) -> float | None:
        """The preconditioned sharpness above which the optimizer's step is unstable; None without one."""
        return None if self.stability is None else self.stability.threshold

    def __str__(self) -> str:
        text = f"sharpness {self.sharpness:.4g} (residual {self.residuals[0]:.1g}), loss {self.loss:.4g}"
        if self.preconditioned is not None and self.threshold is not None:
            share = self.preconditioned / self.threshold
            text += f"; preconditioned {self.preconditioned:.4g}, {share:.0%} of the threshold {self.threshold:.4g}"
        return text


def curvature(
    model: Module,
    data: Any,
    loss: Callable[[Any, Any], Tensor],
    k: int = 1,
    optimizer: Optimizer | None = None,
    products: int = PRODUCTS,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Curvature:
    """The largest curvatures of a model's loss by Lanczos' method, and the sharpness that the optimizer can stand.

    ::

        found = study.curvature(model, (x, y), nn.functional.cross_entropy, optimizer=optimizer)
        found.sharpness, found.preconditioned, found.threshold

    Full-batch training raises the preconditioned sharpness until it reaches the threshold, and then stays there: the
    edge of stability (Cohen, Kaur, Li, Kolter and Talwalkar, ICLR 2021; for Adam, Cohen et al., arXiv 2207.14484).

    Args:
        model, data, loss: as for `Hessian`.
        k: how many of the largest eigenvalues.
        optimizer: whose preconditioner and threshold to find (`stability`).
        products: the most products with the Hessian, each of which costs as much as one or two gradients; as many
            again for the preconditioned Hessian, unless every weight has the same rate.
        tolerance: end as soon as every residual is below this share of its eigenvalue; usually after 8 to 20 products.
        seed: of the vector that Lanczos' method begins with.

    Raises:
        ValueError: if ``k`` is above ``products`` or the number of parameters; and as for `Hessian` and `stability`.
    """
    hessian = Hessian(model, data, loss)
    k, products = whole("curvature", "k", k), whole("curvature", "products", products)
    tolerance = number("curvature", "tolerance", tolerance, low=0)
    if k > min(products, hessian.size):
        raise ValueError(f"curvature: {products} products give at most {min(products, hessian.size)} eigenvalues")
    values, vectors, residuals = largest(hessian.__matmul__, hessian.size, k, products, tolerance, seed)
    found = Curvature(hessian.loss, values, vectors, residuals)
    if optimizer is None:
        return found
    stable = stability(optimizer)
    # A parameter that the optimizer does not hold stays where it is, as if its preconditioner were infinite.
    kept = {id(entry.parameter): stable.preconditioner[name] for name, entry in optimizer.store.entries.items()}
    diagonal = np.concatenate([kept.get(id(p), np.full(p.shape, np.inf)).ravel() for p in hessian._parameters])
    if np.allclose(diagonal, 1, rtol=1e-12):
        return Curvature(hessian.loss, values, vectors, residuals, stable, float(values[0]), float(residuals[0]))
    scale = 1 / np.sqrt(diagonal)
    (top,), _, (residual,) = largest(
        lambda v: scale * (hessian @ (scale * v)), hessian.size, 1, products, tolerance, seed
    )
    return Curvature(hessian.loss, values, vectors, residuals, stable, float(top), float(residual))


def _pairs(data: Any) -> list[tuple[Any, Any]]:
    if isinstance(data, Dataset):
        return [(data.features, data.labels)]
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple):
        return [data]
    pairs = list(data)
    if not pairs:
        raise ValueError("Hessian: data is empty")
    return pairs


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def _like(values: Vector, parameter: Tensor) -> Any:
    return to_device(values.astype(parameter.dtype).reshape(parameter.shape), parameter.device)
