"""AdaGrad: a rate per parameter, from all the gradients it has seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sqrt
from ..rules.options import at_least, flag, option
from .common import add_decayed_weights, place_eps
from .optimizer import Optimizer


def _adagrad_scalars(step: int, lr: float, lr_decay: float, eps: float, eps_in_sqrt: float) -> dict[str, float]:
    return {"decayed_lr": lr / (1 + (step - 1) * lr_decay), **place_eps(step, eps, eps_in_sqrt)}


@rule(state=("sum",), init={"sum": "initial_accumulator_value"}, scalars=_adagrad_scalars)
def descend_by_adagrad(update, param, sum, *, decayed_lr, eps_inside, eps_outside):
    """Accumulate squares, and step by their root."""
    sum = sum + update * update
    param = param - decayed_lr * update / (sqrt(sum + eps_inside) + eps_outside)
    return param, sum


class Adagrad(Optimizer):
    """AdaGrad::

        s ← s + g²
        θ ← θ - η / (1 + (t - 1)·lr_decay) · g / (√s + ε)

    Args:
        params: parameters or param groups.
        lr: η.
        lr_decay: how fast the rate itself falls with the step t.
        weight_decay: an L2 penalty.
        initial_accumulator_value: the first s.
        eps: ε, outside the root.
        eps_in_sqrt: the textbook's √(s + ε) instead.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 2011.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adagrad([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        eps_in_sqrt: bool = False,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "lr_decay": option(lr_decay, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "eps": option(eps, at_least(0)),
            "initial_accumulator_value": option(initial_accumulator_value, at_least(0)),
            "eps_in_sqrt": option(eps_in_sqrt, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """L2, then the step by the accumulated squares."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), descend_by_adagrad]
