"""LARS: momentum whose rate per tensor follows the tensor's size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..attributes import RENEW, argument
from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import rule
from ..rules.options import at_least, option
from .common import add_decayed_weights, apply_update
from .optimizer import Optimizer
from .trust import Predicate, adapted_norm, check_trust, vectors


@rule
def scale_by_local_rate(update, param_norm, grad_norm, *, trust_coefficient, weight_decay, eps, adapted):
    """The rate that the parameter's size allows, for gradient and decay together."""
    size = grad_norm + weight_decay * param_norm + eps
    trust_ratio = trust_coefficient * param_norm / size if adapted > 0 and param_norm > 0 and size > 0 else 1.0
    update = trust_ratio * update
    return update


@rule(state=("momentum_buffer",))
def momentum_with_rate(update, momentum_buffer, *, momentum, lr):
    """Momentum of steps: a change of rate reaches only what comes after it."""
    momentum_buffer = momentum * momentum_buffer + lr * update
    update = momentum_buffer
    return update, momentum_buffer


@rule(state=("momentum_buffer",))
def momentum_without_rate(update, momentum_buffer, *, momentum):
    """Momentum of directions."""
    momentum_buffer = momentum * momentum_buffer + update
    update = momentum_buffer
    return update, momentum_buffer


@rule
def subtract_update(update, param):
    """The step, with the rate in it already."""
    param = param - update
    return param


class LARS(Optimizer):
    """LARS::

        r = τ‖θ‖ / (‖g‖ + λ‖θ‖ + ε)             1 where ‖θ‖ is 0, or where the parameter is excluded
        v ← μv + η r (g + λθ)
        θ ← θ - v

    Args:
        params: parameters or param groups.
        lr: η.
        momentum: μ.
        weight_decay: λ.
        trust_coefficient: τ.
        eps: ε.
        lr_in_momentum: the paper's reading, with η inside the momentum; ``False`` puts it outside, which differs
            when η changes.
        scope: norms are of each ``"tensor"``, or of each ``"layer"`` with all its adapted parameters together.
        exclude_from_decay: a function of name and parameter; where it is true, λ is 0. By default, parameters of one
            dimension or none.
        exclude_from_adaptation: likewise, where r is 1.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017.

    >>> weight = nn.Parameter([[3.0, 4.0]])  # of norm 5
    >>> optimizer = optim.LARS([weight], lr=0.1, trust_coefficient=1.0)
    >>> (10 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [[2.6464467, 3.6464467]]
    """

    scope, lr_in_momentum, exclude_from_decay, exclude_from_adaptation = (argument(RENEW) for _ in range(4))

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        *,
        lr_in_momentum: bool = True,
        scope: str = "tensor",
        exclude_from_decay: Predicate = vectors,
        exclude_from_adaptation: Predicate = vectors,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        check_trust(
            "LARS", scope, exclude_from_decay=exclude_from_decay, exclude_from_adaptation=exclude_from_adaptation
        )
        self.settings = {"scope": scope, "lr_in_momentum": lr_in_momentum}
        self._scope, self._rate_inside = scope, lr_in_momentum
        self._undecayed, self._unadapted = exclude_from_decay, exclude_from_adaptation
        defaults = {
            "lr": option(lr, at_least(0)),
            "momentum": option(momentum, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "eps": option(eps, at_least(0)),
            "maximize": maximize,
            "trust_coefficient": option(trust_coefficient, at_least(0)),
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """The norms of gradient and parameter, decay, the local rate, momentum, the step."""
        norms = [adapted_norm("update", self._scope, "grad_norm"), adapted_norm("param", self._scope)]
        head = [*norms, add_decayed_weights, scale_by_local_rate]
        if self._rate_inside:
            return [*head, momentum_with_rate, subtract_update]
        return [*head, momentum_without_rate, apply_update]

    def parameter_options(self, group: Mapping[str, Any], entry: Entry) -> dict[str, float]:
        """What the two predicates say of this parameter."""
        options = {"adapted": 0.0 if self._unadapted(entry.name, entry.parameter) else 1.0}
        if self._undecayed(entry.name, entry.parameter):
            options["weight_decay"] = 0.0
        return options
