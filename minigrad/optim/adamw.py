"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..attributes import RENEW, argument
from ..clipping.clip import Clips
from ..kernels.plan import Element
from ..rules import rule
from ..rules.options import at_least, flag, option
from .adam import scale_by_adam, scale_by_amsgrad
from .common import apply_update, decay_weights, fractions
from .optimizer import Optimizer


def _schedule_factor(step: int, lr: float, max_lr: float) -> dict[str, float]:
    return {"schedule_factor": lr / max_lr if max_lr else 0.0}


@rule(scalars=_schedule_factor)
def decay_weights_by_schedule(param, *, weight_decay, schedule_factor):
    """Decoupled decay by the schedule's factor, not by the rate."""
    param = (1 - schedule_factor * weight_decay) * param
    return param


class AdamW(Optimizer):
    """AdamW::

        θ ← (1 - ηλ)θ
        θ ← θ - η m̂ / (√v̂ + ε)             with the moments of `Adam`

    Args:
        params: parameters or param groups.
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ.
        amsgrad: divide by the largest second moment.
        maximize: climb instead of descend.
        clip: one or more clips from `minigrad.clipping`, applied to the gradient first.
        decay_coupling: ``"lr"`` decays by ηλ as PyTorch does. ``"schedule"`` decays by λ times only the schedule's
            factor, as the paper has it: then λ need not change with the rate. The factor is η over the group's
            ``max_lr``, which is the rate that a schedule follows, or the peak of one that gives the rates itself, such
            as OneCycleLR; without a schedule, the rate at the start.

    Reference: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.84999996, 1.8       ]
    """

    decay_coupling = argument(RENEW)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        clip: Clips = None,
        decay_coupling: str = "lr",
    ) -> None:
        if decay_coupling not in ("lr", "schedule"):
            raise ValueError(f"AdamW: decay_coupling must be 'lr' or 'schedule', not {decay_coupling!r}")
        self._coupling = decay_coupling
        self.settings = {"decay_coupling": decay_coupling}
        defaults = {
            "lr": option(lr, at_least(0)),
            "betas": option(betas, fractions),
            "eps": option(eps, at_least(0)),
            "weight_decay": option(weight_decay, at_least(0)),
            "amsgrad": option(amsgrad, flag()),
            "maximize": maximize,
        }
        super().__init__(params, defaults, clip=clip)

    def _regroup(self, wanted: Iterable[Any]) -> None:
        super()._regroup(wanted)
        self._remember_rates()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state dict; one that does not have the full rate is of a version that took the initial one."""
        super().load_state_dict(state_dict)
        self._remember_rates()

    def _remember_rates(self) -> None:
        if self._coupling == "schedule":
            for group in self.param_groups:
                group.setdefault("max_lr", group.get("initial_lr", group["lr"]))

    def chain(self) -> list[Element]:
        """Decay, the moments, the step."""
        decay = decay_weights if self._coupling == "lr" else decay_weights_by_schedule
        moments = scale_by_amsgrad if self.uses("amsgrad") else scale_by_adam
        return [*([decay] if self.uses("weight_decay") else []), moments, apply_update]
