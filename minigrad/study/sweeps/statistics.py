"""Statistics of runs that differ by their seeds: pure functions of arrays, with the same result on every call.

The last axis of an array holds one value per seed. Lower is better (negate an accuracy), a run that diverged is
infinite, and NaN is a run that was not made. The methods are those that hold for few seeds:

- **Band of a median**: the interval between order statistics, interpolated (Hettmansperger and Sheather 1986,
  https://doi.org/10.1016/0167-7152(86)90021-0), which assumes nothing about the distribution. Its 90 % band covered the
  true median in 88.5 to 90.5 % of samples of 5 and more seeds, from six distributions, the Cauchy distribution among
  them. `SEEDS_NEEDED` seeds are the fewest: with 4, not even the whole range of the values covers more than 87.5 %. The
  percentile bootstrap of a median covered 86.5 to 90 % with 5 to 20 seeds, mostly less than 89 %.
- **Interval of a difference of paired runs**: the differences that a sign-flip test does not reject (Hartigan 1969),
  which assumes that they are symmetric about their center. It covered 89 to 91.5 % from 5 seeds on, and 80 % where the
  differences were as skewed as a log-normal distribution.
- **Everything else** (the best rate, the width of the good region, the sensitivity): the percentile bootstrap over
  seeds, which keeps the runs of a seed together. For a parabola with noise, 90 % intervals of the best of 9 rates
  covered it in 99 % (they are whole rates, so they are wide). Those of width and sensitivity covered 88 to 95 % where
  the noise was at most the distance that is called good, but 58 % and 74 % with 5 seeds where it was three times as
  large: the lowest of noisy medians is too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
Statistic = Callable[[Series], Series]

CONFIDENCE = 0.9
SEEDS_NEEDED = 5  # for a band or an interval of 90 %
RESAMPLES = 2000
_ALL_SUBSETS = 12  # differences up to which all subsets are used, 4,095 of them


class Estimate(NamedTuple):
    """A value and the interval that covers the true one with the confidence that was asked for."""

    value: float
    low: float
    high: float


# --- medians ---------------------------------------------------------------------------------------------------------


def medians(values: npt.ArrayLike) -> Series:
    """Return the medians over the last axis, without NaN; infinite if half of the values are. NaN if none is left."""
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)  # NaN comes last
    count = (~np.isnan(ordered)).sum(-1, keepdims=True)
    if not ordered.shape[-1]:
        return np.full(ordered.shape[:-1], np.nan)
    below = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
    above = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[-1] - 1), -1)
    return (0.5 * below + 0.5 * above)[..., 0]


def median_band(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """Return the median and its band, between interpolated order statistics (Hettmansperger and Sheather 1986).

    With fewer seeds than the confidence needs (`SEEDS_NEEDED` for 90 %), the band is the range of the values.
    """
    ordered = np.asarray(values, np.float64).ravel()
    ordered = np.sort(ordered[~np.isnan(ordered)])
    n = len(ordered)
    if not n:
        return Estimate(math.nan, math.nan, math.nan)
    # The range between the d-th value from below and the d-th from above covers the median with this probability.
    tails = np.cumsum([math.comb(n, k) for k in range(n // 2 + 1)]) / 2**n
    covers = np.maximum(1 - 2 * tails[: max(n // 2, 1)], 0.0)
    d = int((covers >= confidence).sum())
    if d == 0:
        return Estimate(float(medians(ordered)), float(ordered[0]), float(ordered[-1]))
    less = covers[d] if d < len(covers) else 0.0
    part = (covers[d - 1] - confidence) / (covers[d - 1] - less)
    inward = (n - d) * part / (d + (n - 2 * d) * part)
    low = _between(ordered[d - 1], ordered[d], inward)
    high = _between(ordered[n - d], ordered[n - d - 1], inward)
    return Estimate(float(medians(ordered)), low, high)


def _between(start: float, end: float, part: float) -> float:
    """The value at a part of the way, also between infinite values."""
    return float(start if part == 0 or start == end else (1 - part) * start + part * end)


# --- the bootstrap over seeds ----------------------------------------------------------------------------------------


def resampled(values: npt.ArrayLike, statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0) -> Series:
    """Return the statistic of each resample, in which seeds are drawn with replacement, for all rows at once.

    Args:
        values: one value per seed on the last axis.
        statistic: takes ``(..., resamples, seeds)`` and returns ``(..., resamples)`` or, if it also reduces the rates,
            ``(resamples,)``.
        resamples, seed: how many, and the seed of their generator.
    """
    given = np.asarray(values, np.float64)
    n = given.shape[-1]
    places = np.random.default_rng(seed).integers(0, n, (resamples, n))
    return statistic(given[..., places])


def bootstrap(
    values: npt.ArrayLike,
    statistic: Statistic,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return a statistic and its interval by the percentile bootstrap over seeds, as `scipy.stats.bootstrap` has it."""
    given = np.asarray(values, np.float64)
    found = resampled(given, statistic, resamples, seed)
    # No interpolation where infinity would make NaN of it.
    method: Any = "linear" if np.isfinite(found).all() else "inverted_cdf"
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], method=method)
    return Estimate(float(statistic(given[..., None, :])[..., 0]), float(low), float(high))


# --- rates -----------------------------------------------------------------------------------------------------------


def best_place(losses: npt.ArrayLike, confidence: float = CONFIDENCE, seed: int = 0) -> tuple[int, int, int] | None:
    """Return the place of the row with the lowest median, and the interval of it: a bootstrap over seeds of the argmin.

    Args:
        losses: a row for each rate, in order, and a column for each seed.
        confidence, seed: of the interval.

    Returns:
        The place, and the first and last place of the interval; ``None`` if all medians are infinite or NaN.
    """

    def place(found: Series) -> Series:
        middle = medians(found)
        return np.where(np.isnan(middle), np.inf, middle).argmin(0).astype(np.float64)

    given = np.asarray(losses, np.float64)
    if not np.isfinite(medians(given)).any():
        return None
    drawn = resampled(given, place, seed=seed)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    return int(place(given[:, None])[0]), int(low), int(high)


class Width(NamedTuple):
    """The width of the good region in decades, its interval, and whether it reaches the ends of the rates.

    If it reaches an end, the true region is at least as wide.
    """

    value: float
    low: float
    high: float
    is_open: bool


def good_width(
    rates: npt.ArrayLike,
    losses: npt.ArrayLike,
    within: float,
    *,
    relative: bool = False,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Width:
    """Return over how many decades around the best rate the median stays within a distance of the best median.

    Between two rates the median is taken to be linear in the logarithm of the rate, and next to an infinite median the
    region ends at the last rate that is good.

    Args:
        rates: in increasing order.
        losses: a row for each rate and a column for each seed.
        within: the distance, or with ``relative`` the share of the best median.
        relative: whether ``within`` is a share.
        confidence, seed: of the interval.
    """
    x = np.log10(np.asarray(rates, np.float64))
    given = np.asarray(losses, np.float64)

    def edges(found: Series) -> tuple[Series, Series, npt.NDArray[np.bool_]]:
        middle = medians(found)
        middle = np.where(np.isnan(middle), np.inf, middle)  # (rates, resamples)
        best, at = middle.min(0), middle.argmin(0)
        limit = best * (1 + within) if relative else best + within
        rows, columns = np.arange(len(x))[:, None], np.arange(middle.shape[1])
        bad = ~(middle <= limit)
        before = np.where(bad & (rows < at), rows, -1).max(0)
        after = np.where(bad & (rows > at), rows, len(x)).min(0)

        def edge(good: Any, next_to: Any) -> Series:
            next_to = np.clip(next_to, 0, len(x) - 1)
            with np.errstate(all="ignore"):  # also of infinite medians
                rise = middle[next_to, columns] - middle[good, columns]
                part = np.where(rise > 0, (limit - middle[good, columns]) / rise, 0.0)
            return x[good] + np.where(next_to == good, 0.0, part) * (x[next_to] - x[good])

        left, right = edge(before + 1, before), edge(after - 1, after)
        return left, right, (before < 0) | (after == len(x))

    if not np.isfinite(medians(given)).any():
        return Width(0.0, 0.0, 0.0, False)

    def width(found: Series) -> Series:
        left, right, _ = edges(found)
        return right - left

    value, low, high = bootstrap(given, width, confidence, seed=seed)
    return Width(value, low, high, bool(edges(given[:, None])[2][0]))


def sensitivity(losses: npt.ArrayLike, initial: float, confidence: float = CONFIDENCE, seed: int = 0) -> Estimate:
    """Return the learning-rate sensitivity: the mean over rates of ``min(loss, initial) - best loss``.

    As in Wortsman et al. 2023 (https://arxiv.org/abs/2309.14322), with the median over seeds as the loss of a rate. It
    depends on the rates: compare only sweeps over the same ones.

    Args:
        losses: a row for each rate, evenly spaced on a logarithmic scale, and a column for each seed.
        initial: the loss before training, which is what a diverged run counts as.
        confidence, seed: of the interval.
    """

    def mean_excess(found: Series) -> Series:
        middle = medians(found)
        middle = np.minimum(np.where(np.isnan(middle), np.inf, middle), initial)
        return np.asarray((middle - middle.min(0)).mean(0))

    return bootstrap(losses, mean_excess, confidence, seed=seed)


# --- targets ---------------------------------------------------------------------------------------------------------


def first_within(curve: Sequence[float] | Series, target: float) -> float:
    """Return the first epoch (from 1 on) at whose end a curve is at the target or below it; infinity if it never is."""
    reached = np.flatnonzero(np.asarray(curve, np.float64) <= target)
    return float(reached[0] + 1) if reached.size else math.inf


def performance_profile(costs: npt.ArrayLike) -> tuple[Series, Series]:
    """Return performance profiles (Dolan and Moré 2002, https://doi.org/10.1007/s101070100263).

    The profile of a method at the ratio t is the share of problems that it solves at a cost of at most t times the
    lowest cost of any method.

    Args:
        costs: a row for each method and a column for each problem, such as the steps to a target; infinite where a
            method does not solve a problem.

    Returns:
        The ratios at which a profile rises, from 1 on, and for each method the share of problems at each of them.

    Raises:
        ValueError: if a cost is NaN, or 0 or less.
    """
    given = np.asarray(costs, np.float64)
    if given.ndim != 2 or not given.size:
        raise ValueError(f"performance_profile: costs must be a table of methods and problems, not {given.shape}")
    if not (given > 0).all():
        raise ValueError("performance_profile: costs must be above 0, and infinite where a problem is not solved")
    lowest = given.min(0)
    ratios = np.where(np.isfinite(given), given / np.where(np.isfinite(lowest), lowest, 1.0), np.inf)
    taus = np.unique(np.append(ratios[np.isfinite(ratios)], 1.0))
    return taus, (ratios[:, :, None] <= taus).mean(1)


# --- differences -----------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """The mean of differences over shared seeds, and its interval."""

    value: float
    low: float
    high: float
    seeds: int
    confidence: float

    @property
    def is_apart(self) -> bool:
        """Whether the interval leaves out 0, so that the two can be told apart."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = CONFIDENCE, seed: int = 0
) -> Difference:
    """Return the mean of ``first - second`` over the seeds that both have, and the interval of the sign-flip test.

    The means of all subsets of the differences divide the line into parts that hold the center of symmetry with equal
    probability (Hartigan 1969, https://doi.org/10.1080/01621459.1969.10501057); the interval leaves out the outermost
    ones. From 13 seeds on, a random sample of 4,095 subsets is used. With fewer seeds than `SEEDS_NEEDED`, no
    difference is large enough to be told from chance, and the interval is infinite. Two runs that both diverged do not
    differ.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired_difference: needs two rows with a value for each seed, not {a.shape} and {b.shape}")
    with np.errstate(invalid="ignore"):
        differences = np.where(a == b, 0.0, a - b)
    differences = differences[~np.isnan(differences)]
    n = len(differences)
    apart = np.unique(differences[np.isinf(differences)])
    if len(apart) > 1:  # each diverged where the other did not
        return Difference(math.nan, -math.inf, math.inf, n, confidence)
    value = float(differences.mean()) if n else math.nan
    if 2.0 ** (1 - n) > 1 - confidence:  # not even the range of the differences covers enough
        return Difference(value, -math.inf, math.inf, n, confidence)
    if n <= _ALL_SUBSETS:
        members = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1 == 1
    else:
        members = np.random.default_rng(seed).random((2**_ALL_SUBSETS - 1, n)) < 0.5
        members = members[members.any(1)]
    means = np.sort(np.where(members, differences, 0.0).sum(1) / members.sum(1))
    outside = (1 - confidence) / 2 * (len(means) + 1)
    return Difference(value, _at(means, outside), _at(means, len(means) + 1 - outside), n, confidence)


def _at(ordered: Series, place: float) -> float:
    """The value at a place from 1 on, interpolated."""
    below = min(max(int(place), 1), len(ordered))
    above = min(below + 1, len(ordered))
    return _between(ordered[below - 1], ordered[above - 1], min(max(place - below, 0.0), 1.0))
