"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule
from .common import add_decayed_weights, apply_update
from .optimizer import Optimizer


def _momentum_scalars(step: int, momentum: float, dampening: float, nesterov: float) -> dict[str, float]:
    if not momentum:
        # Another group has momentum: this one keeps an empty buffer and descends along the gradient.
        return {"kept": 0.0, "taken": 0.0, "ahead": 0.0, "along_gradient": 1.0}
    # The first buffer is the raw gradient.
    taken = 1 - dampening if step > 1 else 1.0
    return {"kept": momentum, "taken": taken, "ahead": momentum if nesterov else 0.0, "along_gradient": nesterov}


@rule(state=("momentum_buffer",), scalars=_momentum_scalars)
def accumulate_momentum(update, momentum_buffer, *, kept, taken, ahead, along_gradient):
    """The momentum buffer, and the direction along it."""
    momentum_buffer = kept * momentum_buffer + taken * update
    update = update + ahead * momentum_buffer if along_gradient > 0 else momentum_buffer
    return update, momentum_buffer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant.

    With g the gradient, θ the parameter, η the rate, μ the momentum, τ the dampening, λ the weight decay::

        g ← g + λθ
        b ← g at the first step, then μb + (1 - τ)g
        θ ← θ - η b             or, with Nesterov,  θ ← θ - η (g + μb)

    Args:
        params: parameters or param groups.
        lr: η.
        momentum: μ; 0 keeps no buffer.
        dampening: τ.
        weight_decay: λ, an L2 penalty.
        nesterov: look ahead along the momentum; needs momentum and no dampening.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, in the form that PyTorch computes.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.SGD([weight], lr=0.1, momentum=0.9)
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
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "nesterov": nesterov, "maximize": maximize}, clip=clip)

    def chain(self) -> list[Element]:
        """L2, momentum, step."""
        decay = [add_decayed_weights] if self.uses("weight_decay") else []
        momentum = [accumulate_momentum] if self.uses("momentum") else []
        return [*decay, *momentum, apply_update]
