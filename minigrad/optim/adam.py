"""Adam and AMSGrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import maximum, rule, sqrt
from ..rules.options import at_least, flag, option
from .common import apply_update, debias, decay_either_way, fractions
from .optimizer import Optimizer


@rule(state=("exp_avg", "exp_avg_sq"), scalars=debias)
def scale_by_adam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, debias1, debias2):
    """Adam's moments, unbiased, and the direction from them."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = debias1 * exp_avg / (sqrt(debias2 * exp_avg_sq) + eps)
    return update, exp_avg, exp_avg_sq


@rule(state=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), scalars=debias)
def scale_by_amsgrad(update, exp_avg, exp_avg_sq, max_exp_avg_sq, *, beta1, beta2, eps, amsgrad, debias1, debias2):
    """Adam's direction with the largest second moment so far, in the groups with AMSGrad."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq) if amsgrad > 0 else 0.0
    second = max_exp_avg_sq if amsgrad > 0 else exp_avg_sq
    update = debias1 * exp_avg / (sqrt(debias2 * second) + eps)
    return update, exp_avg, exp_avg_sq, max_exp_avg_sq


class Adam(Optimizer):
    """Adam::

        m ← β₁m + (1 - β₁)g             m̂ = m / (1 - β₁ᵗ)
        v ← β₂v + (1 - β₂)g²            v̂ = v / (1 - β₂ᵗ)
        θ ← θ - η m̂ / (√v̂ + ε)

    With AMSGrad, v̂ is that of the largest v so far.

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, an L2 penalty: g ← g + λθ.
        amsgrad: divide by the largest second moment.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead, as `AdamW` does.

    References: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Reddi, Kale and Kumar, "On
    the convergence of Adam and beyond", ICLR 2018.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        clip: Clips = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "amsgrad": option(amsgrad, flag()),
            "maximize": maximize,
            "decoupled_weight_decay": option(decoupled_weight_decay, flag()),
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Decay of either kind, the moments, the step."""
        decay = [decay_either_way] if self.uses("weight_decay") else []
        return [*decay, scale_by_amsgrad if self.uses("amsgrad") else scale_by_adam, apply_update]
