"""Gradient descent with momentum: SGD, and Lion, which takes only the sign of its momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import rule, sign
from ..rules.options import at_least, flag, number, option
from .common import add_decayed_weights, apply_update, decay_weights, fractions
from .meaning import Meaning
from .optimizer import Optimizer

__all__ = ["SGD", "Lion"]


# --- SGD ---------------------------------------------------------------------------------------------------------


def _momentum_scalars(step: int, momentum: float, nesterov: float) -> dict[str, float]:
    if not momentum:
        # Another group has momentum: this one keeps its buffer at 0 and descends along the gradient.
        return {"kept": 0.0, "taken": 0.0, "ahead": 0.0, "along_gradient": 1.0}
    return {"kept": momentum, "taken": 1.0, "ahead": momentum if nesterov else 0.0, "along_gradient": nesterov}


def _damped_scalars(
    step: int, momentum: float, dampening: float, nesterov: float, *, momentum_begun: float | None = None
) -> dict[str, float]:
    found = _momentum_scalars(step, momentum, nesterov)
    # The first buffer is the gradient itself, also where momentum is switched on in the middle of a run.
    if momentum and (step > 1 if momentum_begun is None else momentum_begun):
        found["taken"] = 1 - dampening
    return {**found, "momentum_begun": 1.0 if momentum else 0.0}


@rule(state=("momentum_buffer",), scalars=_momentum_scalars)
def accumulate_momentum(update, momentum_buffer, *, kept, taken, ahead, along_gradient):
    """Accumulate the gradient in the momentum buffer, and take the direction along it."""
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
        lr: η.
        momentum: μ; 0 keeps no buffer.
        dampening: τ.
        weight_decay: λ, an L2 penalty.
        nesterov: look ahead along the momentum; needs momentum and no dampening.

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

    lr: float = option(1e-3, at_least(0))
    momentum: float = option(0.0, at_least(0))
    dampening: float = option(0.0, number(finite=True))
    weight_decay: float = option(0.0, at_least(0))
    nesterov: bool = option(False, flag())

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse Nesterov's variant without momentum, or with dampening."""
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")

    def chain(self) -> list[Element]:
        """L2, momentum, step."""
        decay = [add_decayed_weights] if self.uses("weight_decay") else []
        momentum = accumulate_damped_momentum if self.uses("dampening") else accumulate_momentum
        return [*decay, *([momentum] if self.uses("momentum") else []), apply_update]

    def meaning(self) -> Meaning:
        return Meaning(rate="lr")

    def first_carried(self, entry: Entry) -> dict[str, float]:
        """Whether momentum has begun, where dampening is first switched on."""
        return {"momentum_begun": float(self._state.view("momentum_buffer", entry.name).any())}


# --- Lion --------------------------------------------------------------------------------------------------------


@rule(state=("exp_avg",))
def take_sign_of_momentum(update, exp_avg, *, beta1, beta2):
    """Take the sign of one average of the gradient, and keep another average."""
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
        lr: η, about a tenth of Adam's.
        betas: (β₁, β₂).
        weight_decay: λ, decoupled.

    Reference: Chen et al., "Symbolic discovery of optimization algorithms", 2023.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Lion([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    lr: float = option(1e-4, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.99), fractions)
    weight_decay: float = option(0.0, at_least(0))

    def chain(self) -> list[Element]:
        """Decay, the sign of the momentum, the step."""
        return [*([decay_weights] if self.uses("weight_decay") else []), take_sign_of_momentum, apply_update]

    def meaning(self) -> Meaning:
        return Meaning(rate="lr")
