"""A rate per parameter from squared gradients: AdaGrad sums them, RMSprop and Adadelta average them."""

from __future__ import annotations

from dataclasses import KW_ONLY

from ..kernels.plan import Element
from ..rules import maximum, rule, sqrt
from ..rules.options import at_least, between, flag, option
from .common import add_decayed_weights, apply_update
from .meaning import Meaning
from .optimizer import Optimizer

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


def place_eps(step: int, eps: float, eps_in_sqrt: float) -> dict[str, float]:
    """√s + eps, or √(s + eps) where ``eps_in_sqrt`` is on."""
    return {"eps_inside": eps, "eps_outside": 0.0} if eps_in_sqrt else {"eps_inside": 0.0, "eps_outside": eps}


# --- AdaGrad -----------------------------------------------------------------------------------------------------


def _adagrad_scalars(step: int, lr: float, lr_decay: float, eps: float, eps_in_sqrt: float) -> dict[str, float]:
    return {"decayed_lr": lr / (1 + (step - 1) * lr_decay), **place_eps(step, eps, eps_in_sqrt)}


@rule(state=("sum",), init={"sum": "initial_accumulator_value"}, scalars=_adagrad_scalars)
def descend_by_adagrad(update, param, sum, *, decayed_lr, eps_inside, eps_outside):
    """Accumulate squares, and step by their root."""
    sum = sum + update * update
    param = param - decayed_lr * update / (sqrt(sum + eps_inside) + eps_outside)
    return param, sum


class Adagrad(Optimizer):
    """AdaGrad: a rate per parameter, from all its past gradients::

        s ← s + g²
        θ ← θ - η / (1 + (t - 1)·lr_decay) · g / (√s + ε)

    Args:
        lr: η.
        lr_decay: how fast the rate itself falls with the step t.
        weight_decay: an L2 penalty.
        initial_accumulator_value: the first s.
        eps: ε, outside the root.
        eps_in_sqrt: the textbook's √(s + ε) instead.

    Reference: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 2011.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adagrad([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    lr: float = option(1e-2, at_least(0))
    lr_decay: float = option(0.0, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    initial_accumulator_value: float = option(0.0, at_least(0))
    eps: float = option(1e-10, at_least(0))
    _: KW_ONLY
    eps_in_sqrt: bool = option(False, flag())

    def chain(self) -> list[Element]:
        """L2, then the step by the accumulated squares."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), descend_by_adagrad]

    def meaning(self) -> Meaning:
        return Meaning(rate="decayed_lr / (sqrt(sum + eps_inside) + eps_outside)")


# --- RMSprop -----------------------------------------------------------------------------------------------------


@rule(state=("square_avg",), scalars=place_eps)
def scale_by_rms(update, square_avg, *, alpha, eps_inside, eps_outside):
    """Divide by the root of the average square."""
    square_avg = alpha * square_avg + (1 - alpha) * update * update
    update = update / (sqrt(square_avg + eps_inside) + eps_outside)
    return update, square_avg


@rule(state=("square_avg", "grad_avg"), scalars=place_eps)
def scale_by_centered_rms(update, square_avg, grad_avg, *, alpha, centered, eps_inside, eps_outside):
    """Divide by the standard deviation, or by the root mean square in groups that are not centered."""
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
    """RMSprop: a rate per parameter, from a running average of its squared gradients::

        s ← αs + (1 - α)g²
        u ← g / (√s + ε)
        b ← μb + u              (with momentum)
        θ ← θ - η b

    Centered, the running mean ā of g is taken off: √(s - ā²), clamped at 0.

    Args:
        lr: η, outside the momentum.
        alpha: α.
        eps: ε, outside the root.
        weight_decay: an L2 penalty.
        momentum: μ; 0 keeps no buffer.
        centered: divide by the standard deviation of the gradient instead of its root mean square.
        eps_in_sqrt: the textbook's √(s + ε) instead.

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

    lr: float = option(1e-2, at_least(0))
    alpha: float = option(0.99, between(0, 1))
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    momentum: float = option(0.0, at_least(0))
    centered: bool = option(False, flag())
    _: KW_ONLY
    eps_in_sqrt: bool = option(False, flag())

    def chain(self) -> list[Element]:
        """L2, scaling, momentum, step."""
        decay = [add_decayed_weights] if self.uses("weight_decay") else []
        momentum = [add_momentum] if self.uses("momentum") else []
        return [*decay, scale_by_centered_rms if self.uses("centered") else scale_by_rms, *momentum, apply_update]

    def meaning(self) -> Meaning:
        second = "maximum(square_avg - grad_avg * grad_avg, 0.0)" if self.uses("centered") else "square_avg"
        return Meaning(rate=f"lr / (sqrt({second} + eps_inside) + eps_outside)")


# --- Adadelta ----------------------------------------------------------------------------------------------------


@rule(state=("square_avg", "acc_delta"))
def scale_by_adadelta(update, square_avg, acc_delta, *, rho, eps):
    """Scale by the root of the ratio of two average squares: of past updates, and of gradients."""
    square_avg = rho * square_avg + (1 - rho) * update * update
    update = sqrt((acc_delta + eps) / (square_avg + eps)) * update
    acc_delta = rho * acc_delta + (1 - rho) * update * update
    return update, square_avg, acc_delta


class Adadelta(Optimizer):
    """Adadelta: updates in the units of the parameter, without a rate to tune::

        s ← ρs + (1 - ρ)g²
        u = √((d + ε) / (s + ε)) · g
        d ← ρd + (1 - ρ)u²
        θ ← θ - η u

    Args:
        lr: η, 1 in the paper.
        rho: ρ.
        eps: ε.
        weight_decay: an L2 penalty.

    Reference: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adadelta([weight], lr=100.0)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.6837726, 1.6837723]
    """

    lr: float = option(1.0, at_least(0))
    rho: float = option(0.9, between(0, 1))
    eps: float = option(1e-6, at_least(0))
    weight_decay: float = option(0.0, at_least(0))

    def chain(self) -> list[Element]:
        """L2, scaling, step."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), scale_by_adadelta, apply_update]

    def meaning(self) -> Meaning:
        return Meaning(rate="lr * sqrt(acc_delta_before + eps) / sqrt(square_avg + eps)")
