"""RAdam: Adam that waits until its second moment can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sqrt
from ..rules.options import at_least, flag, option
from .common import apply_update, decay_either_way, fractions
from .optimizer import Optimizer


def rectify(step: int, beta1: float, beta2: float, threshold: float) -> dict[str, float]:
    """The length ρ_t of the approximated average, and the rectification once it is above the threshold."""
    rho_inf = 2 / (1 - beta2) - 1
    decayed = beta2**step
    rho = rho_inf - 2 * step * decayed / (1 - decayed)
    found = {"debias1": 1 / (1 - beta1**step), "rho": rho, "rectified": float(rho > threshold), "rectification": 0.0}
    if rho > threshold:
        rectification = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        # eps is added to the uncorrected root, so the correction stands in front.
        found["rectification"] = rectification * math.sqrt(1 - decayed)
    return found


@rule(state=("exp_avg", "exp_avg_sq"), scalars=rectify)
def scale_by_radam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, debias1, rectified, rectification):
    """The rectified direction, or the plain average while the second moment is not to be trusted."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    momentum = debias1 * exp_avg
    update = rectification * momentum / (sqrt(exp_avg_sq) + eps) if rectified > 0 else momentum
    return update, exp_avg, exp_avg_sq


class RAdam(Optimizer):
    """RAdam: with ρ∞ = 2/(1 - β₂) - 1 and ρ_t = ρ∞ - 2tβ₂ᵗ/(1 - β₂ᵗ), and the moments of `Adam`::

        r = √((ρ_t - 4)(ρ_t - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρ_t))
        θ ← θ - η r m̂ √(1 - β₂ᵗ) / (√v + ε)         where ρ_t > threshold
        θ ← θ - η m̂                                  elsewhere, that is in the first steps

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε, added to the uncorrected √v, as PyTorch does.
        weight_decay: λ, an L2 penalty.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.
        threshold: of ρ_t, 4 or more, where the variance exists; PyTorch's and the authors' code take 5, the paper 4.

    Reference: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.RAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8, 1.6]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        clip: Clips = None,
        threshold: float = 5.0,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "threshold": option(threshold, at_least(4, finite=False)),
            "decoupled_weight_decay": option(decoupled_weight_decay, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Decay of either kind, the rectified moments, the step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_radam, apply_update]
