"""Adadelta: updates in the units of the parameter, without a rate to tune."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule, sqrt
from ..rules.options import at_least, between, option
from .common import add_decayed_weights, apply_update
from .optimizer import Optimizer


@rule(state=("square_avg", "acc_delta"))
def scale_by_adadelta(update, square_avg, acc_delta, *, rho, eps):
    """Scale by the ratio of mean squares, under one root, of past updates and of gradients."""
    square_avg = rho * square_avg + (1 - rho) * update * update
    update = sqrt((acc_delta + eps) / (square_avg + eps)) * update
    acc_delta = rho * acc_delta + (1 - rho) * update * update
    return update, square_avg, acc_delta


class Adadelta(Optimizer):
    """Adadelta::

        s ← ρs + (1 - ρ)g²
        u = √((d + ε) / (s + ε)) · g
        d ← ρd + (1 - ρ)u²
        θ ← θ - η u

    Args:
        params: parameters or param groups.
        lr: η, 1 in the paper.
        rho: ρ.
        eps: ε.
        weight_decay: an L2 penalty.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adadelta([weight], lr=100.0)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.6837726, 1.6837723]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "rho": option(rho, between(0, 1)),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """L2, scaling, step."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), scale_by_adadelta, apply_update]
