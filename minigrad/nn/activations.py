"""Activations as layers, for input of any shape; the functions and their formulas are in `minigrad.nn.functional`."""

from __future__ import annotations

from typing import Any

from ..attributes import setting
from ..checks import choice, number, whole
from . import functional
from ._applied import Applied
from .module import Module

__all__ = [
    "ELU",
    "GELU",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class Identity(Module):
    """Returns its input.

    >>> nn.Identity()(minigrad.tensor([-1.0, 2.0]))
    tensor([-1.,  2.])
    """

    def forward(self, x: Any) -> Any:
        return x


class ReLU(Applied, function=functional.relu):
    """
    >>> nn.ReLU()(minigrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """


class ReLU6(Applied, function=functional.relu6):
    """
    >>> nn.ReLU6()(minigrad.tensor([-1.0, 8.0]))
    tensor([0., 6.])
    """


class LeakyReLU(Applied, function=functional.leaky_relu):
    """
    >>> nn.LeakyReLU(0.1)(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    negative_slope: float = setting(number, finite=False)


class ELU(Applied, function=functional.elu):
    """
    >>> nn.ELU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.63212055,  2.        ])
    """

    alpha: float = setting(number, finite=False)


class GELU(Applied, function=functional.gelu):
    """
    >>> nn.GELU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.15865526,  1.9544997 ])
    """

    approximate: str = setting(choice, known=("none", "tanh"))


class SiLU(Applied, function=functional.silu):
    """
    >>> nn.SiLU()(minigrad.tensor([-1.0, 2.0]))
    tensor([-0.2689414,  1.761594 ])
    """


class Sigmoid(Applied, function=functional.sigmoid):
    """
    >>> nn.Sigmoid()(minigrad.tensor([0.0, 2.0]))
    tensor([0.5     , 0.880797])
    """


class Tanh(Applied, function=functional.tanh):
    """
    >>> nn.Tanh()(minigrad.tensor([0.0, 2.0]))
    tensor([0.       , 0.9640276])
    """


class Softplus(Applied, function=functional.softplus):
    """
    >>> nn.Softplus(beta=2.0)(minigrad.tensor([0.0, 2.0]))
    tensor([0.3465736, 2.009075 ])
    """

    beta: float = setting(number, above=0)
    threshold: float = setting(number, finite=False)


class Softmax(Applied, function=functional.softmax):
    """
    >>> nn.Softmax()(minigrad.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    axis: int = setting(whole, least=None)


class LogSoftmax(Applied, function=functional.log_softmax):
    """
    >>> nn.LogSoftmax()(minigrad.tensor([0.0, 0.0]))
    tensor([-0.6931472, -0.6931472])
    """

    axis: int = setting(whole, least=None)
