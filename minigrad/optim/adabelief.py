"""AdaBelief: steps by how far the gradient is from its own average."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sqrt
from ..rules.options import at_least, flag, option
from .common import apply_update, debias, decay_either_way, fractions
from .optimizer import Optimizer


@rule(state=("exp_avg", "exp_avg_var"), scalars=debias)
def scale_by_belief(update, exp_avg, exp_avg_var, *, beta1, beta2, eps, debias1, debias2):
    """Divide the average by the gradient's deviation from it."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    surprise = update - exp_avg
    exp_avg_var = beta2 * exp_avg_var + (1 - beta2) * surprise * surprise + eps
    update = debias1 * exp_avg / (sqrt(debias2 * exp_avg_var) + eps)
    return update, exp_avg, exp_avg_var


class AdaBelief(Optimizer):
    """AdaBelief: `Adam` with the second moment taken about the average::

        m ← β₁m + (1 - β₁)g
        s ← β₂s + (1 - β₂)(g - m)² + ε
        θ ← θ - η m̂ / (√ŝ + ε)

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε, added to s at every step, where it adds up, and again to the root.
        weight_decay: λ, an L2 penalty.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients", NeurIPS
    2020, algorithm 2.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.AdaBelief([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8888889, 1.8888888]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "decoupled_weight_decay": option(decoupled_weight_decay, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Decay of either kind, scaling, step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_belief, apply_update]
