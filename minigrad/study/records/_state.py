"""The meaning of an optimizer's state, from the names of its slots and scalars.

Any optimizer with the usual names is understood, also a user's: ``exp_avg`` is a first moment,
``exp_avg_sq``, ``exp_avg_var``, ``square_avg`` or ``sum`` a second one, ``exp_inf`` a largest gradient. The scalars
``debias1``, ``debias2``, ``eps``, ``eps_inside``, ``eps_outside``, ``rectified`` and ``rectification`` define how they
are used.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Scalars = Mapping[str, float]

SECOND_MOMENTS = ("exp_avg_sq", "exp_avg_var", "square_avg", "sum")


def second_moment(state: Mapping[str, Array], scalars: Scalars) -> Array | None:
    """v, in float64: the mean square of the gradients, or its substitute; before any correction."""
    if scalars.get("amsgrad") and "max_exp_avg_sq" in state:
        return state["max_exp_avg_sq"].astype(np.float64)
    slot = next((name for name in SECOND_MOMENTS if name in state), None)
    if slot is None:
        return None
    second = state[slot].astype(np.float64)
    if scalars.get("centered") and "grad_avg" in state:
        second = np.maximum(second - state["grad_avg"].astype(np.float64) ** 2, 0.0)
    return second


def divisor(state: Mapping[str, Array], scalars: Scalars) -> Array | None:
    """√v̂ + ε as in the rule, the divisor of each element's direction; ``None`` if the rule does not divide."""
    if "exp_inf" in state:
        return state["exp_inf"].astype(np.float64)
    second = second_moment(state, scalars)
    if second is None or not scalars.get("rectified", 1.0):
        return None
    eps = scalars.get("eps", 0.0)
    inside, outside = (eps, 0.0) if "acc_delta" in state else (0.0, eps)
    inside, outside = scalars.get("eps_inside", inside), scalars.get("eps_outside", outside)
    return np.sqrt(second * scalars.get("debias2", 1.0) + inside) + outside


def effective_rate(state: Mapping[str, Array], before: Mapping[str, Array], scalars: Scalars) -> Array | None:
    """η / (√v̂ + ε) of each element, without a trust ratio; ``None`` where it is η itself, the same for all.

    Args:
        state: by slot, after the step.
        before: the same before the step: Adadelta multiplies by the root of its earlier state.
        scalars: as the step used them.
    """
    below = divisor(state, scalars)
    if below is None:
        return None
    above: Any = base_rate(scalars) * scalars.get("rectification", 1.0)
    if "acc_delta" in state:
        above = above * np.sqrt(before["acc_delta"].astype(np.float64) + scalars.get("eps", 0.0))
    return above / below


def base_rate(scalars: Scalars) -> float:
    """η, after AdaGrad's own decay of it."""
    return scalars.get("decayed_lr", scalars.get("lr", 1.0))


def signal(state: Mapping[str, Array], scalars: Scalars, step: int) -> Array | None:
    """|m̂| / √v̂ of each element: 1 where all gradients agree, near 0 where they are noise; 0 where v is 0.

    ``None`` for an optimizer that does not keep both moments.
    """
    if "exp_avg" not in state:
        return None
    root = state["exp_inf"].astype(np.float64) if "exp_inf" in state else None
    second = second_moment(state, scalars)
    if root is None and second is not None:
        root = np.sqrt(second * _debias(scalars, "2", step))
    if root is None:
        return None
    first = np.abs(state["exp_avg"].astype(np.float64)) * _debias(scalars, "1", step)
    return np.divide(first, root, out=np.zeros_like(first), where=root != 0)


def _debias(scalars: Scalars, which: str, step: int) -> float:
    """1 / (1 - β^t), also where the rule uses it in another form."""
    if f"debias{which}" in scalars:
        return scalars[f"debias{which}"]
    return 1 / (1 - scalars[f"beta{which}"] ** step) if f"beta{which}" in scalars else 1.0


def describe(slots: Container[str], scalars: Container[str]) -> dict[str, str]:
    """Describe as text the recorded ``effective_rate`` and ``signal`` for state with these slots."""
    rate = "decayed_lr" if "decayed_lr" in scalars else "lr"
    second = next((name for name in SECOND_MOMENTS if name in slots), None)
    if "exp_inf" in slots:
        found = {"effective_rate": f"{rate} / exp_inf"}
    elif second is None:
        found = {"effective_rate": f"{rate}, the same for every element: no second moment is kept"}
    else:
        if "max_exp_avg_sq" in slots:
            second = "max_exp_avg_sq"
        root = f"{second} - grad_avg²" if "grad_avg" in slots else second
        root = f"debias2 · {root}" if "debias2" in scalars else root
        above = f"{rate} · √(acc_delta + eps)" if "acc_delta" in slots else rate
        below = f"√({root} + eps)" if "acc_delta" in slots else f"(√({root}) + eps)"
        found = {"effective_rate": f"{above} / {below}"}
        if "rectification" in scalars:
            found["effective_rate"] = f"{rate} · rectification / (√{second} + eps) once rectified, {rate} before"
    if "exp_avg" in slots and (second or "exp_inf" in slots):
        found["signal"] = f"|m̂| / √v̂ from exp_avg and {second or 'exp_inf'}"
    return found
