"""Places on a line that must be apart: names at the ends of curves, boxes in a row of a graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def apart(
    wanted: Sequence[float],
    gaps: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """The places, in order and at least ``gaps`` apart, that are nearest to ``wanted`` by weighted squares.

    With the gaps subtracted this is isotonic regression, solved exactly by pooling neighbors that are out of order.

    Args:
        wanted: where each would be without the others.
        gaps: the least distances from each place to the next.
        weights: how much each place counts; by default all the same.
        low, high: the bounds. If the gaps need more than that, the first place is at ``low``.
    """
    offsets = [0.0, *itertools.accumulate(gaps)]
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of places
    for place, weight, offset in zip(wanted, weights or [1.0] * len(wanted), offsets, strict=False):
        mean, total, count = place - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, others = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + others
        pools.append((mean, total, count))
    last = max(low, high - offsets[-1])
    means = [min(max(mean, low), last) for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]
