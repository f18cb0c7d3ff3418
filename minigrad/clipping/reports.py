"""Reports of the effect of each clip in an optimizer's last step, and the error of a norm that stopped a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..autograd.memory import placed
from ..devices.arrays import beside, peek, to_host
from ..kernels.layout import Array, Layout
from ..kernels.norms import joined
from ..kernels.store import Entry
from ..rules import Norm

if TYPE_CHECKING:
    from .clip import Clip

# The factor of a clip for each pair of a cohort's row and the number of a range that some of its parameters are in.
Factors = dict[tuple[int, int], float]


@dataclass(frozen=True)
class ClipReport:
    """The effect of one clip in the last step.

    Attributes:
        clip: the name of its rule.
        scope: the kind of its ranges; a clip by value reports on tensors.
        ranges: the names of the ranges.
        norm_before, norm_after: the norm, of the clip's own order or 2, of the clip's input and of its output.
        factor: the factor applied to the norm. If param groups have different thresholds, a range that they share is
            not multiplied by one number, and this is the ratio of the norms.
        acted: whether the clip changed anything in the range.
    """

    clip: str
    scope: str
    ranges: tuple[str, ...]
    norm_before: Array
    norm_after: Array
    factor: Array
    acted: Array


def reports(clips: Sequence[Clip], layout: Layout) -> list[ClipReport]:
    """Report the effect of each clip in the last run of ``layout``, from the kernel's norms and the clips' rules.

    A clip by value takes no norm, so its report is computed from the current gradients.
    """
    factors = [_factors(clip, layout) for clip in clips]
    return [
        _by_norm(clip, factors[place], layout)
        if clip.norms
        else _by_value(clip, list(zip(clips[:place], factors[:place], strict=True)), layout)
        for place, clip in enumerate(clips)
    ]


def _factors(clip: Clip, layout: Layout) -> Factors:
    if not clip.norms:
        return {}
    norms = {norm.name: layout.norm_values(norm) for norm in clip.norms}
    parts = layout.parts(clip.norms[0].scope)
    found: Factors = {}
    for row in dict.fromkeys(row for row, _ in parts):
        numbers = [number for other, number in parts if other == row]
        options = {name: layout.scalars[row, layout.plan.columns[name]] for name in clip.rule.hypers}
        factors = clip.rule.factor({name: values[numbers] for name, values in norms.items()}, options)
        found |= {(row, number): factor for number, factor in zip(numbers, factors.tolist(), strict=True)}
    return found


def _by_norm(clip: Clip, factors: Factors, layout: Layout) -> ClipReport:
    norm = clip.norms[0]
    names = layout.store.range_names(norm.scope)
    before = layout.norm_values(norm).copy()
    after, factor, acted = before.copy(), np.ones(len(names)), np.zeros(len(names), bool)
    by_range: dict[int, dict[int, float]] = {}
    for (row, number), value in factors.items():
        by_range.setdefault(number, {})[row] = value
    shares = None
    with np.errstate(invalid="ignore"):  # an infinite norm makes the factor 0, and infinity times 0 is NaN
        for number, by_row in by_range.items():
            values = set(by_row.values())
            acted[number] = values != {1.0}
            if len(values) == 1:
                factor[number] = values.pop()
                after[number] = before[number] * factor[number]
                continue
            shares = layout.norm_shares(norm) if shares is None else shares
            parts = shares[list(by_row), number] * np.array(list(by_row.values()))
            after[number] = joined(parts, norm.order)
            factor[number] = after[number] / before[number] if before[number] else 1.0
    return ClipReport(clip.rule.name, norm.scope, tuple(names), before, after, factor, acted)


def _by_value(clip: Clip, earlier: Sequence[tuple[Clip, Factors]], layout: Layout) -> ClipReport:
    names = layout.store.range_names("tensor")
    before, after, acted = np.zeros(len(names)), np.zeros(len(names)), np.zeros(len(names), bool)
    for row, cohort in enumerate(layout.cohorts):
        for entry in cohort.entries:
            update = _arriving(entry, row, earlier, layout)
            clipped = _clamped(update, clip, row, layout)
            number = entry.ids["tensor"]
            before[number], after[number] = (np.linalg.norm(to_host(x).astype(np.float64)) for x in (update, clipped))
            acted[number] = bool(((clipped != update) & ~np.isnan(update)).any())
    factor = np.divide(after, before, out=np.ones(len(names)), where=before > 0)
    return ClipReport(clip.rule.name, "tensor", tuple(names), before, after, factor, acted)


def _arriving(entry: Entry, row: int, earlier: Sequence[tuple[Clip, Factors]], layout: Layout) -> Array:
    """One parameter's gradient as earlier clips leave it."""
    update = _gathered(entry)
    for clip, factors in earlier:
        if not clip.norms:
            update = _clamped(update, clip, row, layout)
            continue
        scope = clip.norms[0].scope
        own = [factors[row, entry.ids[scope] + i] for i in range(entry.units if scope == "unit" else 1)]
        factor = np.array(own, update.dtype).reshape(-1, *(1,) * max(update.ndim - 1, 0))
        update = update * beside(factor, update)
    return update


def _gathered(entry: Entry) -> Array:
    """One parameter's gradient, as the step found it in the buffer."""
    return peek(placed(entry.parameter).window)


def _clamped(update: Array, clip: Clip, row: int, layout: Layout) -> Array:
    low, high = (layout.scalars[row, layout.plan.columns[name]] for name in clip.rule.hypers)
    return np.clip(update, update.dtype.type(low), update.dtype.type(high))


def nonfinite_error(norm: Norm, layout: Layout) -> FloatingPointError:
    """The error of a norm that stopped a step; it names the parameters at fault."""
    values = peek(layout.norm_values(norm))
    names = layout.store.range_names(norm.scope)
    ranges = [names[i] for i in np.flatnonzero(~np.isfinite(values))[:3]]
    culprits = [
        entry.name for cohort in layout.cohorts for entry in cohort.entries if not np.isfinite(_gathered(entry)).all()
    ]
    where = f"NaN or infinite in {', '.join(map(repr, culprits[:3]))}" if culprits else "too large for float64"
    return FloatingPointError(
        f"clipping: the gradient's norm is {values[~np.isfinite(values)][0]} ({', '.join(ranges)}): the gradient is "
        f"{where}; nothing was changed. A clip with nonfinite='skip' passes over such steps"
    )
