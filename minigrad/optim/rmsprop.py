"""RMSprop: a rate per parameter, from a running average of its squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import maximum, rule, sqrt
from ..rules.options import at_least, between, flag, option
from .common import add_decayed_weights, apply_update, place_eps
from .optimizer import Optimizer


@rule(state=("square_avg",), scalars=place_eps)
def scale_by_rms(update, square_avg, *, alpha, eps_inside, eps_outside):
    """Divide by the root of the average square."""
    square_avg = alpha * square_avg + (1 - alpha) * update * update
    update = update / (sqrt(square_avg + eps_inside) + eps_outside)
    return update, square_avg


@rule(state=("square_avg", "grad_avg"), scalars=place_eps)
def scale_by_centered_rms(update, square_avg, grad_avg, *, alpha, centered, eps_inside, eps_outside):
    """Divide by the standard deviation, or the root mean square in groups that are not centered."""
    square_avg = alpha * square_avg + (1 - alpha) * update * update
    grad_avg = alpha * grad_avg + (1 - alpha) * update if centered > 0 else 0.0
    # Under a constant gradient rounding makes the difference negative, and its root NaN.
    variance = maximum(square_avg - grad_avg * grad_avg, 0.0)
    update = update / (sqrt(variance + eps_inside) + eps_outside)
    return update, square_avg, grad_avg


@rule(state=("momentum_buffer",))
def add_momentum(update, momentum_buffer, *, momentum):
    """Accumulate updates, in the groups with momentum."""
    update = momentum * momentum_buffer + update
    momentum_buffer = update if momentum > 0 else 0.0
    return update, momentum_buffer


class RMSprop(Optimizer):
    """RMSprop::

        s ← αs + (1 - α)g²
        u ← g / (√s + ε)
        b ← μb + u              (with momentum)
        θ ← θ - η b

    Centered, the running mean ā of g is taken off: √(s - ā²), clamped at 0.

    Args:
        params: parameters or param groups.
        lr: η, outside the momentum.
        alpha: α.
        eps: ε, outside the root.
        weight_decay: an L2 penalty.
        momentum: μ; 0 keeps no buffer.
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        eps_in_sqrt: the textbook's √(s + ε) instead.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    References: Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012; centered, Graves, "Generating sequences with
    recurrent neural networks", 2013.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.RMSprop([weight], lr=0.01)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.90000004, 1.9       ]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        eps_in_sqrt: bool = False,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        defaults = {
            "lr": option(lr, at_least(0)),
            "alpha": option(alpha, between(0, 1)),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "momentum": option(momentum, at_least(0)),
            "centered": option(centered, flag()),
            "eps_in_sqrt": option(eps_in_sqrt, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """L2, scaling, momentum, step."""
        decay = [add_decayed_weights] if self.uses("weight_decay") else []
        momentum = [add_momentum] if self.uses("momentum") else []
        return [*decay, scale_by_centered_rms if self.uses("centered") else scale_by_rms, *momentum, apply_update]
