"""Activations as modules. They apply to any shape; the formulas are with the functions in `minigrad.nn.functional`."""

from __future__ import annotations

from typing import Any

from ..attributes import setting
from ..autograd.tensor import Tensor
from . import functional
from .checks import choice, integer, number, positive
from .module import Module


class Identity(Module):
    """Returns its input.

    >>> nn.Identity()(minigrad.tensor([-1.0, 2.0]))
    tensor([-1.,  2.])
    """

    def forward(self, x: Any) -> Any:
        """Return ``x``."""
        return x


class ReLU(Module):
    """max(x, 0); the gradient at 0 is 0.

    >>> nn.ReLU()(minigrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6); the gradient at 0 and 6 is 0, as in PyTorch.

    >>> nn.ReLU6()(minigrad.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.relu6(x)


class LeakyReLU(Module):
    """x where it is positive, ``negative_slope`` · x elsewhere.

    >>> nn.LeakyReLU(0.1)(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    negative_slope: float = setting(number)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where it is positive, ``alpha`` · (eˣ − 1) elsewhere: Clevert et al. 2015, arXiv 1511.07289.

    >>> nn.ELU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.63212055,  2.        ])
    """

    alpha: float = setting(number)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The scale."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x · Φ(x), exactly (``approximate="none"``) or with the ``"tanh"`` form: Hendrycks et al., arXiv 1606.08415.

    >>> nn.GELU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.15865526,  1.9544997 ])
    """

    approximate: str = setting(choice("none", "tanh"))

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The form."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x · σ(x), also called swish.

    >>> nn.SiLU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.2689414,  1.761594 ])
    """

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.silu(x)


class Sigmoid(Module):
    """σ(x) = 1 / (1 + e⁻ˣ).

    >>> nn.Sigmoid()(minigrad.tensor([0.0, 2.0]))
    tensor([0.5     , 0.880797])
    """

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.sigmoid(x)


class Tanh(Module):
    """tanh(x).

    >>> nn.Tanh()(minigrad.tensor([0.0, 2.0]))
    tensor([0.       , 0.9640276])
    """

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.tanh(x)


class Softplus(Module):
    """log(1 + exp(β x)) / β, and x itself where β x is above ``threshold``.

    >>> nn.Softplus()(minigrad.tensor([0.0, 2.0]))
    tensor([0.6931472, 2.126928 ])
    """

    beta: float = setting(positive)
    threshold: float = setting(number)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """The settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """exp(xᵢ) / Σⱼ exp(xⱼ) along ``axis`` (NumPy's word for PyTorch's ``dim``).

    >>> nn.Softmax()(minigrad.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    axis: int = setting(integer)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """xᵢ − log Σⱼ exp(xⱼ) along ``axis`` (NumPy's word for PyTorch's ``dim``).

    >>> nn.LogSoftmax()(minigrad.tensor([0.0, 0.0]))
    tensor([-0.6931472, -0.6931472])
    """

    axis: int = setting(integer)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Apply the function."""
        return functional.log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
