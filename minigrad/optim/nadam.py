"""NAdam: Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sqrt
from ..rules.options import at_least, flag, option
from .common import apply_update, decay_either_way, fractions
from .optimizer import Optimizer


def _mu(step: int, beta1: float, momentum_decay: float) -> float:
    return beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))


def _nesterov_scalars(
    step: int, beta1: float, beta2: float, momentum_decay: float, *, mu_product: float | None = None
) -> dict[str, float]:
    mu, mu_next = _mu(step, beta1, momentum_decay), _mu(step + 1, beta1, momentum_decay)
    if mu_product is None:  # at the first step, or of an earlier version's checkpoint: as if nothing had changed
        mu_product, earlier = 1.0, 1
        while earlier < step and mu_product > 0:
            mu_product, earlier = mu_product * _mu(earlier, beta1, momentum_decay), earlier + 1
    mu_product *= mu
    return {
        "from_average": mu_next / (1 - mu_product * mu_next),
        "from_gradient": (1 - mu) / (1 - mu_product),
        "debias2": 1 / (1 - beta2**step),
        "mu_product": mu_product,
    }


@rule(state=("exp_avg", "exp_avg_sq"), scalars=_nesterov_scalars)
def scale_by_nadam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, from_average, from_gradient, debias2):
    """Adam's direction with the momentum of the next step."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = (from_average * exp_avg + from_gradient * update) / (sqrt(debias2 * exp_avg_sq) + eps)
    return update, exp_avg, exp_avg_sq


class NAdam(Optimizer):
    """NAdam: with μ_t = β₁(1 - ½·0.96^(tψ)), and the moments of `Adam`::

        m̄ = μ_{t+1} m / (1 - μ₁…μ_{t+1}) + (1 - μ_t) g / (1 - μ₁…μ_t)
        θ ← θ - η m̄ / (√v̂ + ε)

    Each μ is that of the β₁ and ψ of its step, so that their product is right under a schedule, too.

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, an L2 penalty.
        momentum_decay: ψ.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.NAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8943548, 1.8943548]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "momentum_decay": option(momentum_decay, at_least(0)),
            "decoupled_weight_decay": option(decoupled_weight_decay, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Decay of either kind, the Nesterov moments, the step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_nadam, apply_update]
