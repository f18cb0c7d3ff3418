"""Rules and step-dependent scalars that several optimizers share."""

from __future__ import annotations

from ..rules import rule
from ..rules.options import between, tuple_of

__all__ = ["add_decayed_weights", "apply_update", "decay_weights"]

# The range of a pair of betas.
fractions = tuple_of(between(0, 1, open_high=True), 2)


@rule
def negate(update, *, maximize):
    """Climb instead of descend, in the groups with ``maximize``."""
    update = -update if maximize > 0 else update
    return update


@rule
def add_decayed_weights(update, param, *, weight_decay):
    """L2: add the decay to the update, and so to everything that is computed from the update."""
    update = update + weight_decay * param
    return update


@rule
def decay_weights(param, *, lr, weight_decay):
    """Decoupled decay, Loshchilov and Hutter 2019: shrink the parameter, whatever the gradient."""
    param = (1 - lr * weight_decay) * param
    return param


def split_decay(step: int, lr: float, weight_decay: float, decoupled_weight_decay: float) -> dict[str, float]:
    """The factors of the two kinds of decay: some groups decay by L2, others decoupled from the gradient."""
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
    """Step against the update."""
    param = param - lr * update
    return param


def debias(step: int, beta1: float, beta2: float) -> dict[str, float]:
    """The factors 1 / (1 - beta^t) that make averages unbiased that began at 0."""
    return {"debias1": 1 / (1 - beta1**step), "debias2": 1 / (1 - beta2**step)}
