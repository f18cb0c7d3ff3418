"""Adam and its relatives: AdamW, NAdam, RAdam, Adamax, AdaBelief."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, replace
from typing import Any

from ..kernels.plan import Element
from ..rules import maximum, rule, sqrt
from ..rules.options import at_least, fixed, flag, one_of, option
from .common import add_decayed_weights, apply_update, debias, decay_either_way, decay_weights, fractions
from .meaning import Meaning
from .optimizer import Optimizer

__all__ = ["AdaBelief", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


# --- Adam --------------------------------------------------------------------------------------------------------


@rule(state=("exp_avg", "exp_avg_sq"), scalars=debias)
def scale_by_adam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, debias1, debias2):
    """Adam's moments, unbiased, and the direction from them."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = debias1 * exp_avg / (sqrt(debias2 * exp_avg_sq) + eps)
    return update, exp_avg, exp_avg_sq


@rule(state=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), scalars=debias)
def scale_by_amsgrad(update, exp_avg, exp_avg_sq, max_exp_avg_sq, *, beta1, beta2, eps, amsgrad, debias1, debias2):
    """Adam's direction with the largest second moment so far, in the groups with AMSGrad."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    max_exp_avg_sq = maximum(max_exp_avg_sq, exp_avg_sq) if amsgrad > 0 else 0.0
    second = max_exp_avg_sq if amsgrad > 0 else exp_avg_sq
    update = debias1 * exp_avg / (sqrt(debias2 * second) + eps)
    return update, exp_avg, exp_avg_sq, max_exp_avg_sq


# The second moment that `scale_by_amsgrad` divides by.
LARGEST = "(max_exp_avg_sq if amsgrad else exp_avg_sq)"


def adam_meaning(second: str) -> Meaning:
    """The meaning of these moments, with the slot of the second one, or a formula that chooses it."""
    root = f"sqrt(debias2 * {second})"
    return Meaning(rate=f"lr / ({root} + eps)", mean="debias1 * exp_avg", root=root)


class Adam(Optimizer):
    """Adam::

        m ← β₁m + (1 - β₁)g             m̂ = m / (1 - β₁ᵗ)
        v ← β₂v + (1 - β₂)g²            v̂ = v / (1 - β₂ᵗ)
        θ ← θ - η m̂ / (√v̂ + ε)

    With AMSGrad, v̂ is computed from the largest v so far.

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, an L2 penalty: g ← g + λθ.
        amsgrad: divide by the largest second moment.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead, as `AdamW` does.

    References: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Reddi, Kale and Kumar, "On
    the convergence of Adam and beyond", ICLR 2018.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    lr: float = option(1e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    amsgrad: bool = option(False, flag())
    _: KW_ONLY
    decoupled_weight_decay: bool = option(False, flag())

    def chain(self) -> list[Element]:
        """Decay of either kind, the moments, the step."""
        decay = [decay_either_way] if self.uses("weight_decay") else []
        return [*decay, scale_by_amsgrad if self.uses("amsgrad") else scale_by_adam, apply_update]

    def meaning(self) -> Meaning:
        return adam_meaning(LARGEST if self.uses("amsgrad") else "exp_avg_sq")


# --- AdamW -------------------------------------------------------------------------------------------------------


def _schedule_factor(step: int, lr: float, max_lr: float) -> dict[str, float]:
    return {"schedule_factor": lr / max_lr if max_lr else 0.0}


@rule(scalars=_schedule_factor)
def decay_weights_by_schedule(param, *, weight_decay, schedule_factor):
    """Decoupled decay by the schedule's factor instead of the rate."""
    param = (1 - schedule_factor * weight_decay) * param
    return param


class AdamW(Optimizer):
    """AdamW: Adam with decoupled weight decay::

        θ ← (1 - ηλ)θ
        θ ← θ - η m̂ / (√v̂ + ε)             with the moments of `Adam`

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ.
        amsgrad: divide by the largest second moment.
        decay_coupling: ``"lr"`` decays by ηλ as PyTorch does. ``"schedule"`` decays by λ times only the schedule's
            factor, as in the paper, so that λ need not change with the rate. The factor is η over the group's
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

    lr: float = option(1e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(1e-2, at_least(0))
    amsgrad: bool = option(False, flag())
    _: KW_ONLY
    decay_coupling: str = fixed("lr", one_of("lr", "schedule"))

    def chain(self) -> list[Element]:
        """Decay, the moments, the step."""
        decay = decay_weights if self.decay_coupling == "lr" else decay_weights_by_schedule
        moments = scale_by_amsgrad if self.uses("amsgrad") else scale_by_adam
        return [*([decay] if self.uses("weight_decay") else []), moments, apply_update]

    def meaning(self) -> Meaning:
        return adam_meaning(LARGEST if self.uses("amsgrad") else "exp_avg_sq")

    # Where decay follows the schedule, every group needs to know its full rate.

    def _regroup(self, wanted: Iterable[Any]) -> None:
        super()._regroup(wanted)
        self._remember_rates()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state dict. An old one without the full rate has the initial rate instead."""
        super().load_state_dict(state_dict)
        self._remember_rates()

    def _remember_rates(self) -> None:
        if self.decay_coupling == "schedule":
            for group in self.param_groups:
                group.setdefault("max_lr", group.get("initial_lr", group["lr"]))


# --- NAdam -------------------------------------------------------------------------------------------------------


def _mu(step: int, beta1: float, momentum_decay: float) -> float:
    return beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))


def _nesterov_scalars(
    step: int, beta1: float, beta2: float, momentum_decay: float, *, mu_product: float | None = None
) -> dict[str, float]:
    mu, mu_next = _mu(step, beta1, momentum_decay), _mu(step + 1, beta1, momentum_decay)
    if mu_product is None:  # at the first step, or after an earlier version's checkpoint: as if nothing had changed
        mu_product, earlier = 1.0, 1
        while earlier < step and mu_product > 0:
            mu_product, earlier = mu_product * _mu(earlier, beta1, momentum_decay), earlier + 1
    mu_product *= mu
    return {
        "from_average": mu_next / (1 - mu_product * mu_next),
        "from_gradient": (1 - mu) / (1 - mu_product),
        "debias2": 1 / (1 - beta2**step),
        "mu_product": mu_product,
    }


@rule(state=("exp_avg", "exp_avg_sq"), scalars=_nesterov_scalars)
def scale_by_nadam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, from_average, from_gradient, debias2):
    """Adam's direction with the momentum of the next step."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = (from_average * exp_avg + from_gradient * update) / (sqrt(debias2 * exp_avg_sq) + eps)
    return update, exp_avg, exp_avg_sq


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov momentum. With μ_t = β₁(1 - ½·0.96^(tψ)), and the moments of `Adam`::

        m̄ = μ_{t+1} m / (1 - μ₁…μ_{t+1}) + (1 - μ_t) g / (1 - μ₁…μ_t)
        θ ← θ - η m̄ / (√v̂ + ε)

    Each μ is computed from the β₁ and ψ of its own step, so that their product is right under a schedule, too.

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, an L2 penalty.
        momentum_decay: ψ.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.

    Reference: Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.NAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8943548, 1.8943548]
    """

    lr: float = option(2e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    momentum_decay: float = option(4e-3, at_least(0))
    decoupled_weight_decay: bool = option(False, flag())

    def chain(self) -> list[Element]:
        """Decay of either kind, the Nesterov moments, the step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_nadam, apply_update]

    def meaning(self) -> Meaning:
        return replace(adam_meaning("exp_avg_sq"), mean="1 / (1 - beta1**step) * exp_avg")


# --- RAdam -------------------------------------------------------------------------------------------------------


def rectify(step: int, beta1: float, beta2: float, threshold: float) -> dict[str, float]:
    """The length ρ_t of the approximated average, and the rectification once it is above the threshold."""
    rho_inf = 2 / (1 - beta2) - 1
    decayed = beta2**step
    rho = rho_inf - 2 * step * decayed / (1 - decayed)
    found = {"debias1": 1 / (1 - beta1**step), "rho": rho, "rectified": float(rho > threshold), "rectification": 0.0}
    if rho > threshold:
        rectification = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        # eps is added to the uncorrected root, so that the correction is a factor of the whole.
        found["rectification"] = rectification * math.sqrt(1 - decayed)
    return found


@rule(state=("exp_avg", "exp_avg_sq"), scalars=rectify)
def scale_by_radam(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, debias1, rectified, rectification):
    """The rectified direction, or the plain average until the second moment can be trusted."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    momentum = debias1 * exp_avg
    update = rectification * momentum / (sqrt(exp_avg_sq) + eps) if rectified > 0 else momentum
    return update, exp_avg, exp_avg_sq


class RAdam(Optimizer):
    """RAdam: Adam that waits until its second moment can be trusted.

    With ρ∞ = 2/(1 - β₂) - 1 and ρ_t = ρ∞ - 2tβ₂ᵗ/(1 - β₂ᵗ), and the moments of `Adam`::

        r = √((ρ_t - 4)(ρ_t - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρ_t))
        θ ← θ - η r m̂ √(1 - β₂ᵗ) / (√v + ε)         where ρ_t > threshold
        θ ← θ - η m̂                                  elsewhere, that is in the first steps

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε, added to the uncorrected √v, as PyTorch does.
        weight_decay: λ, an L2 penalty.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.
        threshold: of ρ_t, 4 or more, where the variance exists; PyTorch's and the authors' code take 5, the paper 4.

    Reference: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.RAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8, 1.6]
    """

    lr: float = option(1e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    decoupled_weight_decay: bool = option(False, flag())
    _: KW_ONLY
    threshold: float = option(5.0, at_least(4, finite=False))

    def chain(self) -> list[Element]:
        """Decay of either kind, the rectified moments, the step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_radam, apply_update]

    def meaning(self) -> Meaning:
        return Meaning(
            rate="lr * rectification / (sqrt(exp_avg_sq) + eps) if rectified else lr",
            mean="debias1 * exp_avg",
            root="sqrt(1 / (1 - beta2**step) * exp_avg_sq)",
        )


# --- Adamax ------------------------------------------------------------------------------------------------------


def _debias_first(step: int, beta1: float) -> dict[str, float]:
    return {"debias1": 1 / (1 - beta1**step)}


@rule(state=("exp_avg", "exp_inf"), scalars=_debias_first)
def scale_by_adamax(update, exp_avg, exp_inf, *, beta1, beta2, eps, debias1):
    """Divide the average by the decaying maximum."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_inf = maximum(beta2 * exp_inf, abs(update) + eps)
    update = debias1 * exp_avg / exp_inf
    return update, exp_avg, exp_inf


class Adamax(Optimizer):
    """Adamax: Adam with the infinity norm::

        m ← β₁m + (1 - β₁)g
        u ← max(β₂u, |g| + ε)
        θ ← θ - η / (1 - β₁ᵗ) · m / u

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε, inside the maximum, as PyTorch has it.
        weight_decay: an L2 penalty.

    Reference: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.Adamax([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.9, 1.9]
    """

    lr: float = option(2e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-8, at_least(0))
    weight_decay: float = option(0.0, at_least(0))

    def chain(self) -> list[Element]:
        """L2, scaling, step."""
        return [*([add_decayed_weights] if self.uses("weight_decay") else []), scale_by_adamax, apply_update]

    def meaning(self) -> Meaning:
        return Meaning(rate="lr / exp_inf", mean="debias1 * exp_avg", root="exp_inf")


# --- AdaBelief ---------------------------------------------------------------------------------------------------


@rule(state=("exp_avg", "exp_avg_var"), scalars=debias)
def scale_by_belief(update, exp_avg, exp_avg_var, *, beta1, beta2, eps, debias1, debias2):
    """Divide the average by the gradient's deviation from it."""
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    surprise = update - exp_avg
    exp_avg_var = beta2 * exp_avg_var + (1 - beta2) * surprise * surprise + eps
    update = debias1 * exp_avg / (sqrt(debias2 * exp_avg_var) + eps)
    return update, exp_avg, exp_avg_var


class AdaBelief(Optimizer):
    """AdaBelief: `Adam` with the second moment taken about the average::

        m ← β₁m + (1 - β₁)g
        s ← β₂s + (1 - β₂)(g - m)² + ε
        θ ← θ - η m̂ / (√ŝ + ε)

    Args:
        lr: η.
        betas: (β₁, β₂).
        eps: ε, added to s at every step, where it adds up, and again to the root.
        weight_decay: λ, an L2 penalty.
        decoupled_weight_decay: shrink θ by 1 - ηλ instead.

    Reference: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients", NeurIPS
    2020, algorithm 2.

    >>> weight = nn.Parameter([1.0, 2.0])
    >>> optimizer = optim.AdaBelief([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [0.8888889, 1.8888888]
    """

    lr: float = option(1e-3, at_least(0))
    betas: tuple[float, float] = option((0.9, 0.999), fractions)
    eps: float = option(1e-16, at_least(0))
    weight_decay: float = option(0.0, at_least(0))
    _: KW_ONLY
    decoupled_weight_decay: bool = option(False, flag())

    def chain(self) -> list[Element]:
        """Decay of either kind, scaling, step."""
        return [*([decay_either_way] if self.uses("weight_decay") else []), scale_by_belief, apply_update]

    def meaning(self) -> Meaning:
        return adam_meaning("exp_avg_var")
