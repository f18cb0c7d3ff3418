"""What a `study.Recorder` adds to training, by how often it records."""

from __future__ import annotations

import contextlib
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
# At the default interval, and where more is wanted to be seen.
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
    """A row for each optimizer, model and interval."""
    turns, cases, steps = effort.of((20, CASES, EVERY), (2, CASES[-2:-1], EVERY), (1, CASES[:1], 4))
    rows = [row for name, model, intervals in cases for row in _one_model(name, *model, intervals, turns, steps)]
    notes = (
        f"The explicit loop on the digits, by turns of {steps} steps with recorders attached and without one; the "
        f"median over pairs of neighbours. {EVERY} steps are the recorder's default interval. A recorder looks at "
        "every layer, also at its activations on a probe of 128 rows."
    )
    return [Table("recorder", "Steps with a recorder against steps without one", rows, notes)]


def _one_model(
    name: str, sizes: tuple[int, ...], batch: int, intervals: tuple[int, ...], turns: int, steps: int
) -> list[dict[str, Any]]:
    peers.blas_threads(1)  # small products; several threads would measure how they meet
    dataset = data.load_digits()
    runs = {}
    for every in (None, *intervals):
        manual_seed(0)
        model = nn.MLP(sizes)
        optimizer = OPTIMIZERS[name](model.parameters())
        probe = dataset.features[:128]
        watch: Any = contextlib.nullcontext()
        if every is not None:
            watch = study.Recorder(model, optimizer, every=every, probe=probe)
        loader = data.DataLoader(dataset, batch_size=batch, shuffle=True, seed=0)
        runs[every] = (model, optimizer, _endless(loader), watch)
    seconds: dict[int | None, list[float]] = {every: [] for every in runs}
    for number in range(turns + 1):
        for every, run in runs.items():
            taken = _steps(*run, steps)
            if number:  # the first is the warm-up
                seconds[every].append(taken)
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


def _steps(model: Any, optimizer: Any, batches: Any, watch: Any, steps: int) -> float:
    """Seconds for some steps of the explicit loop."""
    with watch:
        start = time.perf_counter()
        for _ in range(steps):
            x, y = next(batches)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return time.perf_counter() - start
