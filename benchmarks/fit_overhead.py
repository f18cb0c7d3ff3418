"""What `training.fit` costs over the explicit loop: MLP 64-32-10 on the digits, batch 32, with logging on.

Both train the same model on the same batches; epochs alternate, and each is compared with its neighbor. The time of
the epoch's end (evaluation, checkpoint) is reported apart.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from minigrad import data, manual_seed, nn, optim, training

from .effort import Effort
from .report import Table
from .timing import Measure

TITLE = "Overhead of fit"


def measure(effort: Effort) -> list[Table]:
    """Return a row for the loop and a row for `fit`."""
    loop, fit, end, steps = _epochs(effort.of(200, 20, 2))
    pairs = [a / b for a, b in zip(fit, loop, strict=True)]
    rows = [
        {"loop": "explicit loop", "µs per step": Measure.of(loop, 1e6 / steps)},
        {"loop": "fit", "µs per step": Measure.of(fit, 1e6 / steps), "times the explicit loop": Measure.of(pairs)},
        {"loop": "end of an epoch of fit, per step", "µs per step": Measure.of(end, 1e6 / steps)},
    ]
    notes = (
        "MLP 64-32-10, batch 32, SGD with momentum; fit makes its steps eagerly, reports loss and accuracy, and keeps "
        "logs and checkpoints."
    )
    return [Table("fit", "Training an epoch by fit and by the explicit loop", rows, notes)]


def _make() -> tuple[Any, Any, Any]:
    train, _ = data.stratified_split(data.load_digits(), 0.2, 0)
    manual_seed(0)
    model = nn.MLP([64, 32, 10])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, optimizer, data.DataLoader(train, batch_size=32, shuffle=True, seed=0)


def _explicit(model: Any, optimizer: Any, loader: Any) -> None:
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


class _Clock(training.Callback):
    """The first callback: notes when the steps of an epoch end."""

    ended = 0.0

    def after_epoch(self, run: training.Run) -> None:
        self.ended = time.perf_counter()


class _Alternate(training.Callback):
    """The last callback: runs an epoch of the explicit loop between two of `fit`."""

    def __init__(self, clock: _Clock, bare: tuple[Any, Any, Any]) -> None:
        self.clock, self.bare, self.started = clock, bare, 0.0
        self.loop: list[float] = []
        self.fit: list[float] = []
        self.end_of_epoch: list[float] = []

    def begin(self, run: training.Run) -> None:
        self.started = time.perf_counter()

    def after_epoch(self, run: training.Run) -> None:
        now = time.perf_counter()
        self.fit.append(self.clock.ended - self.started)
        self.end_of_epoch.append(now - self.clock.ended)
        _explicit(*self.bare)
        self.loop.append(time.perf_counter() - now)
        self.started = time.perf_counter()


def _epochs(epochs: int) -> tuple[list[float], list[float], list[float], int]:
    """Return seconds per epoch of the loop, of fit and of the ends of its epochs, and the steps in an epoch."""
    bare, fitted = _make(), _make()
    clock = _Clock()
    alternate = _Alternate(clock, bare)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [clock, training.RunLog(folder), training.Checkpoints(Path(folder) / "checkpoints"), alternate]
        training.fit(*fitted, epochs, metrics={"accuracy": training.correct}, callbacks=callbacks, compiled=False)
    for mine, other in zip(bare[0].parameters(), fitted[0].parameters(), strict=True):
        if not (mine.data == other.data).all():
            raise RuntimeError("the two loops did not train the same model")
    # The first epoch of each one compiles kernels and fills caches.
    first = 1 if epochs > 1 else 0
    return alternate.loop[first:], alternate.fit[first:], alternate.end_of_epoch[first:], len(bare[2])
