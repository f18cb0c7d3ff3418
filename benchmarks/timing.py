"""Interleaved timing: contenders alternate, and their quartiles and paired ratios are reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# How long one contender runs before the next one: long enough that its data is in the cache again, as in a training
# loop.
BURST = 2e-3
# Between two bursts: meanwhile the threads of the previous contender, which spin for a while, go to sleep.
PAUSE = 1e-3
FEWEST_BURSTS = 5


@dataclass(frozen=True)
class Measure:
    """A median with its quartiles, and the number of values."""

    median: float
    q1: float
    q3: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float], scale: float = 1.0) -> Measure:
        """Return the quartiles of the values, each times ``scale``; interpolated linearly, as NumPy does by default."""
        if not values:
            raise ValueError("a measure needs at least one value")
        if len(values) == 1:
            return cls(values[0] * scale, values[0] * scale, values[0] * scale, 1)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median * scale, q1 * scale, q3 * scale, len(values))


@dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Attributes:
        call: the function to time.
        before: called before each burst without being timed, for example to set a number of threads.
        units: the units of work in one call; times are per unit.
    """

    call: Callable[[], Any]
    before: Callable[[], Any] = field(default=lambda: None)
    units: int = 1


@dataclass(frozen=True)
class Times:
    """The seconds per unit of every call, burst by burst."""

    bursts: Sequence[Sequence[float]]

    def measure(self, scale: float = 1e6) -> Measure:
        """Return the quartiles over all calls, by default in microseconds."""
        return Measure.of([value for burst in self.bursts for value in burst], scale)

    @property
    def median(self) -> float:
        """The median in seconds."""
        return self.measure(1.0).median

    @property
    def best(self) -> float:
        """The shortest in seconds."""
        return min(value for burst in self.bursts for value in burst)


def ratio(numerator: Times, denominator: Times, scale: float = 1.0) -> Measure:
    """Return how many times longer the numerator takes: quartiles over pairs of neighboring bursts.

    Other load on the machine affects both bursts of a pair alike, so this is steadier than a ratio of medians.
    """
    pairs = zip(numerator.bursts, denominator.bursts, strict=True)
    return Measure.of([statistics.median(a) / statistics.median(b) for a, b in pairs], scale)


def fastest(times: Mapping[str, Times]) -> str:
    """Return the name of the contender with the lowest median."""
    return min(times, key=lambda name: times[name].median)


def interleaved(contenders: Mapping[str, Contender], seconds: float) -> dict[str, Times]:
    """Time the calls of each contender in alternating bursts, about ``seconds`` for each.

    Every contender is called twice before anything is timed, and once at the start of each of its bursts. Each round
    starts with a different one, and every second round goes backwards, so that none always follows the same one.
    """
    calls = {}
    for name, contender in contenders.items():
        contender.before()
        contender.call()
        start = time.perf_counter()
        contender.call()
        calls[name] = max(1, int(BURST / (time.perf_counter() - start)))
    bursts: dict[str, list[list[float]]] = {name: [] for name in contenders}
    left = seconds * len(contenders)
    rounds = 0
    while left > 0 or rounds < FEWEST_BURSTS:
        start_of_round = time.perf_counter()
        for name in _order(list(contenders), rounds):
            contender = contenders[name]
            time.sleep(PAUSE)
            contender.before()
            contender.call()
            bursts[name].append(_burst(contender.call, calls[name], contender.units))
        left -= time.perf_counter() - start_of_round
        rounds += 1
    return {name: Times(each) for name, each in bursts.items()}


def _order(names: list[str], number: int) -> list[str]:
    first = number // 2 % len(names)
    turned = names[first:] + names[:first]
    return turned[::-1] if number % 2 else turned


def _burst(call: Callable[[], Any], calls: int, units: int) -> list[float]:
    clock, times = time.perf_counter, []
    for _ in range(calls):
        start = clock()
        call()
        times.append((clock() - start) / units)
    return times
