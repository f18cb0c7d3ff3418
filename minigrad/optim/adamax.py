"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import maximum, rule
from ..rules.options import at_least, option
from .common import add_decayed_weights, apply_update, fractions
from .optimizer import Optimizer


def _debias_first(step: int, beta1: float) -> dict[str, float]:
    return {"debias1": 1 / (1 - beta1**step)}


@rule(state=("exp_avg", "exp_inf"), scalars=_debias_first)
def scale_by_adamax(update, exp_avg, exp_inf, *, beta1, beta2, eps, debias1):
    """Divide the average by the decaying maximum."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_inf = maximum(beta2 * exp_inf, abs(update) + eps)
    update = debias1 * exp_avg / exp_inf
    return update, exp_avg, exp_inf


class Adamax(Optimizer):
    """Adamax::

        m ← β₁m + (1 - β₁)g
        u ← max(β₂u, |g| + ε)
        θ ← θ - η / (1 - β₁ᵗ) · m / u

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε, inside the maximum, as PyTorch has it.
        weight_decay: an L2 penalty.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adamax([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """L2, scaling, step."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), scale_by_adamax, apply_update]
