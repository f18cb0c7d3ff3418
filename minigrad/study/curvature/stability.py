"""The curvature at which an optimizer's step becomes unstable, derived from its rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...devices.arrays import to_host
from ...kernels.cohort import Cohort
from ...optim import Optimizer
from ...optim.meaning import BEFORE, evaluate
from ...rules import Rule
from .._shares import Shares, run_with_shares
from ..records._step import spread, stretches

__all__ = ["Stability", "stability"]

Array = npt.NDArray[np.float64]

# The share of a new parameter that may come from neither the gradient, the parameter nor the state.
_UNEXPLAINED = 1e-9


@dataclass(frozen=True, eq=False)
class Stability:
    """The curvatures above which an optimizer's steps are unstable. Made by `stability`.

    Attributes:
        threshold: the largest stable eigenvalue of P⁻¹H, where H is the Hessian of the loss.
        preconditioner: the diagonal of P, by parameter: the curvature along a weight may be P times the threshold. It
            is 1 where all weights have the same rate, √v̂ + ε for Adam, and infinite for what does not move.
    """

    threshold: float
    preconditioner: Mapping[str, Array]


def stability(optimizer: Optimizer) -> Stability:
    """Derive the curvature above which an optimizer's step is unstable from its rules, also of one of your own.

    The step is linear in the gradient, the parameter and its state, apart from factors such as 1 / (√v̂ + ε), a trust
    ratio or a clip, which are frozen at their present values. Where the loss has the curvature λ along a weight x, the
    gradient is λx, and a step multiplies the vector of x and the momentum by a matrix; the largest stable λ is that at
    which an eigenvalue of the matrix leaves the unit circle.

    The known thresholds of P⁻¹H follow, with the rate η: 2/η for gradient descent; (2 + 2μ)/η with Polyak's momentum;
    (2 + 2μ)/(η(1 + 2μ)) with Nesterov's; (2 + 2β₁)/(η(1 - β₁)) for Adam, where P is (1 - β₁ᵗ)(√v̂ + ε) (Cohen et al.,
    arXiv 2103.00065 and 2207.14484). P is taken from `Optimizer.meaning`. If an optimizer has none, the threshold is
    the median over the weights of the largest stable λ, and P is relative to it.

    Chains with a period, such as `Lookahead`'s, are left out. A sign step is frozen as u/|u|.

    Raises:
        ValueError: if the step is not of this form, or unstable at any curvature, as with ``maximize``.

    >>> optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1, momentum=0.9)
    >>> round(study.stability(optimizer).threshold, 6)
    38.0
    """
    optimizer.prepare()
    layout = optimizer._layout or optimizer._make_layout(set())
    store, meaning = optimizer.store, optimizer.meaning()
    param, grad = ([to_host(getattr(b, name)) for b in store.buffers] for name in ("data", "grad"))
    state = {slot: [to_host(array) for array in arrays] for slot, arrays in optimizer._state.items()}
    bounds = [np.full(array.shape, np.inf) for array in param]  # the curvature that each weight could have by itself
    common: list[Array] = [np.empty(0)]  # the same times its rate over η, so that it is the same for all weights
    for piece in (piece for pieces in stretches(layout, None).values() for piece in pieces):
        if piece.cohort is None:
            continue
        scalars = _scalars(optimizer, piece.cohort)
        values: dict[str, Any] = {slot: piece.of(arrays) for slot, arrays in state.items()}
        values |= {"param": piece.of(param), "grad": piece.of(grad), "update": piece.of(grad), **scalars}
        values |= {norm.name: spread(layout, norm, piece) for norm in layout.plan.norms}
        own = piece.of(bounds)
        own[:] = _highest(*_linear(layout.plan.rules, values, layout.plan.state))
        if not (own > 0).all():
            raise ValueError(f"stability: the step of {optimizer.algorithm} is unstable at any curvature")
        rate: Any = 1.0
        if meaning is not None:
            named = values | {slot + BEFORE: values[slot] for slot in state} | {"step": max(piece.cohort.age, 1)}
            rate = evaluate(meaning.rate, named) / (optimizer.param_groups[0].get("lr") or 1.0)
            if meaning.mean is not None:  # P has the factor that makes the mean unbiased, so that it may change
                rate = rate * evaluate(meaning.mean, named | dict.fromkeys(state, 1.0))
        bounded = np.isfinite(own)
        common.append(np.broadcast_to(rate, own.shape)[bounded] * own[bounded])
    found = np.concatenate(common)
    threshold = float(np.median(found)) if len(found) else np.inf
    diagonal = [bound / (threshold if len(found) else 1.0) for bound in bounds]
    return Stability(
        threshold,
        {
            entry.name: diagonal[number][entry.start : entry.stop].reshape(entry.parameter.shape)
            for number, buffer in enumerate(store.buffers)
            for entry in buffer.entries
        },
    )


def _scalars(optimizer: Optimizer, cohort: Cohort) -> dict[str, float]:
    """Every number that rules read, with the present options, at the step that was taken last."""
    found = {**optimizer.param_groups[cohort.group].scalars(), **cohort.overrides}
    for function, arguments in cohort.bound:
        found |= function(max(cohort.age, 1), *arguments)
    return found


def _linear(rules: Sequence[Rule], values: Mapping[str, Any], slots: Collection[str]) -> tuple[Array, Array]:
    """The step as x ← Ax + Bg, where x is the parameter and the state that moves it: A and B for each element.

    State that only scales, such as a second moment, keeps its value.
    """
    unit: dict[str, Shares] = {name: {name: 1.0} for name in ("param", *slots)}
    unit |= {"grad": {"grad": 1.0}, "update": {"grad": 1.0}}
    _, shares = run_with_shares(rules, values, unit)
    moving = ["param"]
    for name in moving:  # which grows meanwhile
        moving += [slot for slot in slots if slot not in moving and np.any(shares[name].get(slot, 0.0))]
    frozen = {*slots} - {*moving}
    for slot in frozen:
        del unit[slot]
    found, shares = run_with_shares(rules, values, unit, frozen)
    parts = [np.multiply(share, values[source]) for source, share in shares["param"].items()]
    if np.any(np.abs(found["param"] - sum(parts)) > _UNEXPLAINED * sum(map(np.abs, parts))):
        raise ValueError("stability: the step is not linear in the gradient, the parameter and the state")
    rows = [[shares[name].get(source, 0.0) for source in (*moving, "grad")] for name in moving]
    numbers = np.broadcast_arrays(*(np.atleast_1d(number) for row in rows for number in row))
    matrix = np.stack(numbers, -1).astype(np.float64).reshape(-1, len(moving), len(moving) + 1)
    return matrix[:, :, :-1], matrix[:, :, -1]


def _highest(matrix: Array, inputs: Array) -> Array:
    """The largest λ up to which x ← (A + λBe₀ᵀ)x is stable, for each element; 0 if none is, infinity if all are."""
    size = np.abs(matrix[:, 0, :])
    size[size == 0] = 1
    size[:, 0] = 1
    # Measure each slot of the state by how far it moves the parameter, so that all numbers are of one size.
    matrix, inputs = matrix * size[:, :, None] / size[:, None, :], inputs * size
    unit = np.abs(inputs).max(1)
    closed = matrix.copy()
    closed[:, :, 0] += inputs / np.where(unit > 0, unit, 1)[:, None]
    fixed = _characteristic(matrix)
    slope = _characteristic(closed) - fixed  # B has rank one, so the polynomial is linear in λ
    moved = (slope != 0).any(1)  # elsewhere the gradient does not reach the parameter
    fixed, slope, unit = fixed[moved], slope[moved], unit[moved]
    if len(unit) and np.ptp(np.hstack([fixed, slope]), axis=0).max() < 1e-12:
        fixed, slope = fixed[:1], slope[:1]  # as with Adam, where the weights differ only in how large λ may be
    low = np.full((len(fixed), 1), 2.0**-20)
    never = ~_is_stable(fixed + low * slope)
    for _ in range(60):
        low = np.where(_is_stable(fixed + 2 * low * slope)[:, None], 2 * low, low)
    high = 2 * low
    for _ in range(52):
        middle = (low + high) / 2
        stable = _is_stable(fixed + middle * slope)[:, None]
        low, high = np.where(stable, middle, low), np.where(stable, high, middle)
    found = np.full(moved.shape, np.inf)
    found[moved] = np.where(never, 0.0, np.where(low[:, 0] > 2.0**39, np.inf, low[:, 0])) / unit
    return found


def _characteristic(matrix: Array) -> Array:
    """The coefficients of det(zI - A), from the highest power, by Faddeev and LeVerrier's recursion."""
    size = matrix.shape[-1]
    coefficients, power = [np.ones(len(matrix))], np.zeros_like(matrix)
    for k in range(1, size + 1):
        power = matrix @ power + coefficients[-1][:, None, None] * np.eye(size)
        coefficients.append(-np.trace(matrix @ power, axis1=1, axis2=2) / k)
    return np.stack(coefficients, -1)


def _is_stable(polynomial: Array) -> npt.NDArray[np.bool_]:
    """Whether all roots are inside the unit circle, by Schur and Cohn's recursion."""
    stable = np.ones(len(polynomial), bool)
    while polynomial.shape[1] > 1:
        reflection = polynomial[:, -1:] / polynomial[:, :1]
        stable &= np.abs(reflection[:, 0]) < 1
        with np.errstate(all="ignore"):  # where it is unstable already
            polynomial = polynomial[:, :-1] - reflection * polynomial[:, :0:-1]
    return stable
