"""Small callbacks: to stop early, to stop when the loss diverges, and to call a function after every epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..checks import number, whole
from ..text import plural
from .run import Callback, Run


class EarlyStopping(Callback):
    """Stop when the monitored metric has not improved for ``patience`` epochs.

    It reads only the progress of the run, so a resumed run stops where the uninterrupted run would have stopped.
    """

    acts_on_monitor = True

    def __init__(self, patience: int) -> None:
        self.patience = whole(self, "patience", patience)

    def begin(self, run: Run) -> None:
        """Stop at once if the run has reached this point before."""
        self.after_epoch(run)

    def after_epoch(self, run: Run) -> None:
        """Count the epochs since the best one."""
        progress = run.progress
        if progress.epoch - (progress.best_epoch or 0) >= self.patience:
            run.stop(f"{run.monitor} has not improved for {plural(self.patience, 'epoch')}")


class DivergedError(FloatingPointError):
    """Training has made the loss far larger than it was."""


class StopIfDiverged(Callback):
    """Raise `DivergedError` when the mean loss of an epoch exceeds ``factor`` times the loss of the first step."""

    def __init__(self, factor: float = 10.0) -> None:
        self.factor = number(self, "factor", factor, above=1)

    def after_epoch(self, run: Run) -> None:
        """Compare the losses."""
        first, now = run.progress.first_loss, run.progress.history[-1]["train_loss"]
        if first is not None and now > self.factor * abs(first) + 1e-3:
            raise DivergedError(
                f"the loss has diverged: {now:.4g} in epoch {run.progress.epoch}, {first:.4g} at the first step"
            )


class OnEpoch(Callback):
    """Call a function with the run after every epoch: for printing, plotting, trying something out."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        if not callable(function):
            raise TypeError(f"OnEpoch: needs a function of the run, not a {type(function).__name__}")
        self.function = function

    def after_epoch(self, run: Run) -> None:
        """Call it."""
        self.function(run)
