"""Steps in proportion to the size of a tensor or layer: LAMB (Adam) and LARS (momentum)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from typing import Any

from ..autograd.tensor import Tensor
from ..checks import Range
from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import Norm, maximum, minimum, norm, rule
from ..rules.options import at_least, fixed, flag, one_of, option
from .adam import adam_meaning, scale_by_adam
from .common import add_decayed_weights, apply_update, fractions
from .meaning import Meaning
from .optimizer import Optimizer

__all__ = ["LAMB", "LARS"]

Predicate = Callable[[str, Tensor], bool]

_PREDICATE = Range("a function of a name and a parameter", callable, TypeError)
_SCOPE = one_of("tensor", "layer")


def vectors(name: str, parameter: Tensor) -> bool:
    """Hold for parameters of one dimension or none: biases and gains."""
    return parameter.ndim <= 1


def adapted_norm(of: str, scope: str, name: str | None = None) -> Norm:
    """A norm over the adapted parameters of each range."""
    return norm(of, scope, name=name, where="adapted")


def _exclusions(optimizer: LAMB | LARS, entry: Entry) -> dict[str, float]:
    """The results of the two predicates for a parameter, as its options."""
    options = {"adapted": 0.0 if optimizer.exclude_from_adaptation(entry.name, entry.parameter) else 1.0}
    if optimizer.exclude_from_decay(entry.name, entry.parameter):
        options["weight_decay"] = 0.0
    return options


# --- LAMB --------------------------------------------------------------------------------------------------------


@rule
def scale_by_trust_ratio(update, param_norm, update_norm, *, adapted, phi_low, phi_high):
    """Make the update as large as the parameter, by their norms."""
    clamped = minimum(maximum(param_norm, phi_low), phi_high)
    trust_ratio = clamped / update_norm if adapted > 0 and param_norm > 0 and update_norm > 0 else 1.0
    update = trust_ratio * update
    return update


def _is_phi(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and len(value) == 2 and 0 <= value[0] <= value[1])


class LAMB(Optimizer):
    """LAMB: Adam whose step per tensor is as large as the tensor itself. With the moments of `Adam`::

        u = m̂ / (√v̂ + ε) + λθ
        θ ← θ - η φ(‖θ‖)/‖u‖ · u            the ratio is 1 where either norm is 0

    It does not clip gradients, as some implementations do.

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ.
        phi: ``(low, high)`` clamps ‖θ‖; by default φ is the identity.
        scope: norms are of each ``"tensor"``, or of each ``"layer"`` with all its adapted parameters together.
        exclude_from_decay: a function of name and parameter; where it is true, λ is 0. By default, parameters of one
            dimension or none.
        exclude_from_adaptation: likewise, where the ratio is 1.

    Reference: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020.

    >>> weight = nn.Parameter([[3.0, 4.0]])  # of norm 5
    >>> optimizer = optim.LAMB([weight], lr=0.1)
    >>> (10 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [[2.6464467, 3.6464467]]
    """

    lr: float = option(1e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-6, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    _: KW_ONLY
    phi: tuple[float, float] | None = fixed(None, Range("(low, high) with 0 <= low <= high", _is_phi))
    scope: str = fixed("tensor", _SCOPE)
    exclude_from_decay: Predicate = fixed(vectors, _PREDICATE)
    exclude_from_adaptation: Predicate = fixed(vectors, _PREDICATE)

    def chain(self) -> list[Element]:
        """Adam's direction, decay, the ratio of norms, the step."""
        norms = [adapted_norm("param", self.scope), adapted_norm("update", self.scope)]
        return [scale_by_adam, add_decayed_weights, *norms, scale_by_trust_ratio, apply_update]

    def meaning(self) -> Meaning:
        return adam_meaning("exp_avg_sq")

    def parameter_options(self, group: Mapping[str, Any], entry: Entry) -> dict[str, float]:
        """The bounds of φ, and the results of the two predicates for this parameter."""
        low, high = self.phi or (0.0, math.inf)
        return {"phi_low": low, "phi_high": high, **_exclusions(self, entry)}


# --- LARS --------------------------------------------------------------------------------------------------------


@rule
def scale_by_local_rate(update, param_norm, grad_norm, *, trust_coefficient, weight_decay, eps, adapted):
    """Scale gradient and decay together by the rate that the parameter's size allows."""
    size = grad_norm + weight_decay * param_norm + eps
    trust_ratio = trust_coefficient * param_norm / size if adapted > 0 and param_norm > 0 and size > 0 else 1.0
    update = trust_ratio * update
    return update


@rule(state=("momentum_buffer",))
def momentum_with_rate(update, momentum_buffer, *, momentum, lr):
    """Momentum of steps: a change of rate acts only on later gradients."""
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
    """Step by an update that already contains the rate."""
    param = param - update
    return param


class LARS(Optimizer):
    """LARS: momentum whose rate per tensor follows the tensor's size::

        r = τ‖θ‖ / (‖g‖ + λ‖θ‖ + ε)             1 where ‖θ‖ is 0, or where the parameter is excluded
        v ← μv + η r (g + λθ)
        θ ← θ - v

    Args:
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

    Reference: You, Gitman and Ginsburg, "Large batch training of convolutional networks", 2017.

    >>> weight = nn.Parameter([[3.0, 4.0]])  # of norm 5
    >>> optimizer = optim.LARS([weight], lr=0.1, trust_coefficient=1.0)
    >>> (10 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [[2.6464467, 3.6464467]]
    """

    lr: float = option(1.0, at_least(0))
    momentum: float = option(0.9, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    trust_coefficient: float = option(1e-3, at_least(0))
    eps: float = option(1e-8, at_least(0))
    _: KW_ONLY
    lr_in_momentum: bool = fixed(True, flag())
    scope: str = fixed("tensor", _SCOPE)
    exclude_from_decay: Predicate = fixed(vectors, _PREDICATE)
    exclude_from_adaptation: Predicate = fixed(vectors, _PREDICATE)

    def chain(self) -> list[Element]:
        """The norms of gradient and parameter, decay, the local rate, momentum, the step."""
        norms = [adapted_norm("update", self.scope, "grad_norm"), adapted_norm("param", self.scope)]
        head = [*norms, add_decayed_weights, scale_by_local_rate]
        if self.lr_in_momentum:
            return [*head, momentum_with_rate, subtract_update]
        return [*head, momentum_without_rate, apply_update]

    def meaning(self) -> Meaning:
        return Meaning(rate="lr")

    def parameter_options(self, group: Mapping[str, Any], entry: Entry) -> dict[str, float]:
        """The results of the two predicates for this parameter."""
        return _exclusions(self, entry)
