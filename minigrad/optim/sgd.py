"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import rule
from ..rules.options import at_least, flag, number, option
from .common import add_decayed_weights, apply_update
from .optimizer import Optimizer


def _momentum_scalars(step: int, momentum: float, nesterov: float) -> dict[str, float]:
    if not momentum:
        # Another group has momentum: this one keeps an empty buffer and descends along the gradient.
        return {"kept": 0.0, "taken": 0.0, "ahead": 0.0, "along_gradient": 1.0}
    return {"kept": momentum, "taken": 1.0, "ahead": momentum if nesterov else 0.0, "along_gradient": nesterov}


def _damped_scalars(
    step: int, momentum: float, dampening: float, nesterov: float, *, momentum_begun: float | None = None
) -> dict[str, float]:
    found = _momentum_scalars(step, momentum, nesterov)
    # The first buffer is the raw gradient, also where momentum is switched on late.
    if momentum and (step > 1 if momentum_begun is None else momentum_begun):
        found["taken"] = 1 - dampening
    return {**found, "momentum_begun": 1.0 if momentum else 0.0}


@rule(state=("momentum_buffer",), scalars=_momentum_scalars)
def accumulate_momentum(update, momentum_buffer, *, kept, taken, ahead, along_gradient):
    """The momentum buffer, and the direction along it."""
    momentum_buffer = kept * momentum_buffer + taken * update
    update = update + ahead * momentum_buffer if along_gradient > 0 else momentum_buffer
    return update, momentum_buffer


accumulate_damped_momentum = replace(accumulate_momentum, scalars=_damped_scalars)


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
        defaults = {
            "lr": option(lr, at_least(0)),
            "momentum": option(momentum, at_least(0)),
            "dampening": option(dampening, number(finite=True)),
            "weight_decay": option(weight_decay, at_least(0)),
            "nesterov": option(nesterov, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """L2, momentum, step."""
        decay = [add_decayed_weights] if self.uses("weight_decay") else []
        momentum = accumulate_damped_momentum if self.uses("dampening") else accumulate_momentum
        return [*decay, *([momentum] if self.uses("momentum") else []), apply_update]

    def first_carried(self, entry: Entry) -> dict[str, float]:
        """Whether momentum has begun, where dampening is first switched on."""
        return {"momentum_begun": float(self._slot_of("momentum_buffer", entry.name).any())}
