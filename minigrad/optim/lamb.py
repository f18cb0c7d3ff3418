"""LAMB: Adam whose step per tensor is as large as the tensor itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..attributes import RENEW, argument
from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import maximum, minimum, rule
from ..rules.options import at_least, option
from .adam import scale_by_adam
from .common import add_decayed_weights, apply_update, fractions
from .optimizer import Optimizer
from .trust import Predicate, adapted_norm, check_trust, vectors


@rule
def scale_by_trust_ratio(update, param_norm, update_norm, *, adapted, phi_low, phi_high):
    """Make the update as large as the parameter, norm by norm."""
    clamped = minimum(maximum(param_norm, phi_low), phi_high)
    trust_ratio = clamped / update_norm if adapted > 0 and param_norm > 0 and update_norm > 0 else 1.0
    update = trust_ratio * update
    return update


class LAMB(Optimizer):
    """LAMB: with the moments of `Adam`::

        u = m̂ / (√v̂ + ε) + λθ
        θ ← θ - η φ(‖θ‖)/‖u‖ · u            the ratio is 1 where either norm is 0

    There is no gradient clipping inside, which some implementations add.

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ.
        phi: ``(low, high)`` clamps ‖θ‖; by default φ is the identity.
        scope: norms are of each ``"tensor"``, or of each ``"layer"`` with all its adapted parameters together.
        exclude_from_decay: a function of name and parameter; where it is true, λ is 0. By default, parameters of one
            dimension or none.
        exclude_from_adaptation: likewise, where the ratio is 1.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.

    Reference: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020.

    >>> weight = nn.Parameter([[3.0, 4.0]])  # of norm 5
    >>> optimizer = optim.LAMB([weight], lr=0.1)
    >>> (10 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [[2.6464467, 3.6464467]]
    """

    scope, phi, exclude_from_decay, exclude_from_adaptation = (argument(RENEW) for _ in range(4))

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        phi: tuple[float, float] | None = None,
        scope: str = "tensor",
        exclude_from_decay: Predicate = vectors,
        exclude_from_adaptation: Predicate = vectors,
        maximize: bool = False,
        clip: Clips = None,
    ) -> None:
        check_trust(
            "LAMB", scope, exclude_from_decay=exclude_from_decay, exclude_from_adaptation=exclude_from_adaptation
        )
        if phi is not None and not (isinstance(phi, tuple | list) and len(phi) == 2 and 0 <= phi[0] <= phi[1]):
            raise ValueError(f"LAMB: phi must be (low, high) with 0 <= low <= high, not {phi!r}")
        self.settings = {"scope": scope, "phi": None if phi is None else list(phi)}
        self._scope, self._phi = scope, phi or (0.0, math.inf)
        self._undecayed, self._unadapted = exclude_from_decay, exclude_from_adaptation
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self) -> list[Element]:
        """Adam's direction, decay, the ratio of norms, the step."""
        norms = [adapted_norm("param", self._scope), adapted_norm("update", self._scope)]
        return [scale_by_adam, add_decayed_weights, *norms, scale_by_trust_ratio, apply_update]

    def parameter_options(self, group: Mapping[str, Any], entry: Entry) -> dict[str, float]:
        """What the two predicates say of this parameter."""
        low, high = self._phi
        options = {"phi_low": low, "phi_high": high}
        options["adapted"] = 0.0 if self._unadapted(entry.name, entry.parameter) else 1.0
        if self._undecayed(entry.name, entry.parameter):
            options["weight_decay"] = 0.0
        return options
