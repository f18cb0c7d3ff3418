"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sign
from ..rules.options import at_least, option
from .common import apply_update, decay_weights, fractions
from .optimizer import Optimizer


@rule(state=("exp_avg",))
def take_sign_of_momentum(update, exp_avg, *, beta1, beta2):
    """The sign of one average, while another is kept."""
    direction = beta1 * exp_avg + (1 - beta1) * update
    exp_avg = beta2 * exp_avg + (1 - beta2) * update
    update = sign(direction)
    return update, exp_avg


class Lion(Optimizer):
    """Lion::

        θ ← (1 - ηλ)θ
        θ ← θ - η sign(β₁m + (1 - β₁)g)
        m ← β₂m + (1 - β₂)g

    Args:
        params: parameters or param groups.
        lr: η, about a tenth of Adam's.
        betas: (β₁, β₂).
        weight_decay: λ, decoupled.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Lion([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "weight_decay": option(weight_decay, at_least(0)),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Decay, the sign of the momentum, the step."""
        return [*([decay_weights] if self.uses("weight_decay") else []), take_sign_of_momentum, apply_update]
