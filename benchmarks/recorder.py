"""What a `study.Recorder` adds to training, by how often it records."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from typing import Any

from minigrad import data, manual_seed, nn, optim

from . import peers
from .effort import Effort
from .report import Table
from .timing import Measure

TITLE = "Overhead of the recorder"
INTERVALS = (100, 10, 1)
MODELS = (((64, 32, 10), 32), ((64, 256, 256, 10), 128))


def missing() -> str:
    """Why there is nothing to measure; empty if there is."""
    if importlib.util.find_spec("minigrad.study") is not None:
        from minigrad import study

        if hasattr(study, "Recorder"):
            return ""
    return "because this minigrad has no study.Recorder"


def measure(effort: Effort) -> list[Table]:
    """A row for each model and interval."""
    if missing():
        return []
    rounds, steps = effort.of((20, 300), (2, 100), (1, 4))
    rows = [row for sizes, batch in MODELS for row in _one_model(sizes, batch, rounds, steps)]
    notes = (
        f"The explicit loop with Adam on the digits, {steps} steps by turns with recorders attached and without one; "
        "the median over pairs of neighbours. A recorder looks at every layer, also at its activations on a probe of "
        "128 rows."
    )
    return [Table("recorder", "Steps with a recorder against steps without one", rows, notes)]


def _one_model(sizes: tuple[int, ...], batch: int, rounds: int, steps: int) -> list[dict[str, Any]]:
    from minigrad import study

    peers.blas_threads(1)  # small products; several threads would measure how they meet
    dataset = data.load_digits()
    runs = {}
    for every in (None, *INTERVALS):
        manual_seed(0)
        model = nn.MLP(sizes)
        optimizer = optim.Adam(model.parameters())
        probe = dataset.features[:128]
        watch: Any = contextlib.nullcontext()
        if every is not None:
            watch = study.Recorder(model, optimizer, every=every, probe=probe)
        loader = data.DataLoader(dataset, batch_size=batch, shuffle=True, seed=0)
        runs[every] = (model, optimizer, _endless(loader), watch)
    seconds: dict[int | None, list[float]] = {every: [] for every in runs}
    for number in range(rounds + 1):
        for every, run in runs.items():
            taken = _steps(*run, steps)
            if number:  # the first is the warm-up
                seconds[every].append(taken)
    bare = seconds[None]
    return [
        {
            "model": "-".join(map(str, sizes)),
            "batch": batch,
            "records every": every,
            "µs per step": Measure.of(seconds[every], 1e6 / steps),
            "without (µs)": Measure.of(bare, 1e6 / steps),
            "times without": Measure.of([a / b for a, b in zip(seconds[every], bare, strict=True)]),
        }
        for every in INTERVALS
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
