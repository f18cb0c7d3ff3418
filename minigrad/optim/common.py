"""Rules and step-dependent scalars that several optimizers share."""

from __future__ import annotations

from ..rules import rule
from ..rules.options import between, tuple_of

# The range of a pair of betas.
fractions = tuple_of(between(0, 1, open_high=True), 2)


@rule
def negate(update, *, maximize):
    """Climb instead of descend, in the groups with ``maximize``."""
    update = -update if maximize > 0 else update
    return update


@rule
def add_decayed_weights(update, param, *, weight_decay):
    """L2: the decay enters the update, and so everything that is computed from it."""
    update = update + weight_decay * param
    return update


@rule
def decay_weights(param, *, lr, weight_decay):
    """Decoupled decay, Loshchilov and Hutter 2019: the parameter shrinks, whatever the gradient."""
    param = (1 - lr * weight_decay) * param
    return param


def split_decay(step: int, lr: float, weight_decay: float, decoupled_weight_decay: float) -> dict[str, float]:
    """One group decays by L2, another decoupled from the gradient: the factor of each kind."""
    if decoupled_weight_decay:
        return {"l2": 0.0, "kept": 1 - lr * weight_decay}
    return {"l2": weight_decay, "kept": 1.0}


@rule(scalars=split_decay)
def decay_either_way(update, param, *, l2, kept):
    """L2 where ``decoupled_weight_decay`` is off, decoupled decay where it is on."""
    update = update + l2 * param
    param = kept * param
    return update, param


@rule
def apply_update(update, param, *, lr):
    """The step itself."""
    param = param - lr * update
    return param


def debias(step: int, beta1: float, beta2: float) -> dict[str, float]:
    """What makes averages that began at 0 unbiased: 1 / (1 - beta^t)."""
    return {"debias1": 1 / (1 - beta1**step), "debias2": 1 / (1 - beta2**step)}


def place_eps(step: int, eps: float, eps_in_sqrt: float) -> dict[str, float]:
    """√s + eps, or √(s + eps) where ``eps_in_sqrt`` is on."""
    return {"eps_inside": eps, "eps_outside": 0.0} if eps_in_sqrt else {"eps_inside": 0.0, "eps_outside": eps}
