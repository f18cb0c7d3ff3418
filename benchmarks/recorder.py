"""Measures the time that a `study.Recorder` adds to training, by its interval."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

from minigrad import clipping, data, manual_seed, nn, optim, study
from minigrad.study.records.recorder import EVERY

from . import peers
from .effort import Effort
from .report import Table
from .timing import Measure

TITLE = "Overhead of the recorder"
# The default interval, and more frequent ones.
INTERVALS = (EVERY, 20, 1)
SMALL, LARGE = ((64, 32, 10), 32), ((64, 256, 256, 10), 128)
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "Adam": optim.Adam,
    "SGD, momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "AdamW, clip by global norm": lambda p: optim.AdamW(p, clip=clipping.by_global_norm(1.0)),
    "LAMB": optim.LAMB,
}
CASES = (
    *((name, SMALL, (EVERY,)) for name in list(OPTIMIZERS)[1:]),
    ("Adam", SMALL, INTERVALS),
    ("Adam", LARGE, INTERVALS),
)


def measure(effort: Effort) -> list[Table]:
    """Return a row for each optimizer, model and interval."""
    turns, cases, steps = effort.of((20, CASES, EVERY), (2, CASES[-2:-1], EVERY), (1, CASES[:1], 4))
    rows = [row for name, model, intervals in cases for row in _one_model(name, *model, intervals, turns, steps)]
    notes = (
        f"The explicit loop on the digits. A training without a recorder and one with a recorder at each interval take "
        f"their steps by turns, so that what else the machine does meets them alike; the median over {turns} times "
        f"{steps} steps of each. {EVERY} steps are the recorder's default interval, so that each {steps} hold one "
        "record. A recorder looks at every layer, also at its activations on a probe of 128 rows."
    )
    return [Table("recorder", "Steps with a recorder against steps without one", rows, notes)]


def _one_model(
    name: str, sizes: tuple[int, ...], batch: int, intervals: tuple[int, ...], turns: int, steps: int
) -> list[dict[str, Any]]:
    peers.blas_threads(1)  # for small products, several threads would measure their synchronization
    dataset = data.load_digits()
    seconds: dict[int | None, list[float]] = {every: [] for every in (None, *intervals)}
    with contextlib.ExitStack() as recorders:
        runs = {}
        for every in seconds:
            manual_seed(0)
            model = nn.MLP(sizes)
            optimizer = OPTIMIZERS[name](model.parameters())
            if every is not None:
                recorders.enter_context(study.Recorder(model, optimizer, every, probe=dataset.features[:128]))
            loader = data.DataLoader(dataset, batch_size=batch, shuffle=True, seed=0)
            runs[every] = (model, optimizer, _endless(loader))
        for number in range(turns + 1):
            taken = _together(runs, steps)
            if number:  # the first is the warm-up
                for every, sum_ in taken.items():
                    seconds[every].append(sum_)
    bare = seconds[None]
    return [
        {
            "optimizer": name,
            "model": "-".join(map(str, sizes)),
            "batch": batch,
            "records every": every,
            "µs per step": Measure.of(seconds[every], 1e6 / steps),
            "without (µs)": Measure.of(bare, 1e6 / steps),
            "times without": Measure.of([a / b for a, b in zip(seconds[every], bare, strict=True)]),
        }
        for every in intervals
    ]


def _endless(loader: Any) -> Any:
    while True:
        yield from loader


def _together(runs: dict[int | None, tuple[Any, Any, Any]], steps: int) -> dict[int | None, float]:
    """Return the seconds of each run for some steps of the explicit loop, one step of each run in turn."""
    seconds = dict.fromkeys(runs, 0.0)
    order, draw = list(runs.items()), random.Random(0)
    for _ in range(steps):
        draw.shuffle(order)  # so that no run always follows the same one
        for every, (model, optimizer, batches) in order:
            start = time.perf_counter()
            x, y = next(batches)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            seconds[every] += time.perf_counter() - start
    return seconds
