"""Callbacks: objects that the training loop calls at fixed moments, and some small ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..checks import number, whole
from ..text import plural

if TYPE_CHECKING:
    from .run import Run


class Callback:
    """The base class of the callbacks of `minigrad.training.fit`. Override the moments you need; each gets the `Run`.

    ``run.stop("reason")`` ends training after the current step or epoch.
    """

    def begin(self, run: Run) -> None:
        """Before the first step, also if the run resumes from a checkpoint."""

    def after_step(self, run: Run) -> None:
        """After each optimizer step."""

    def after_epoch(self, run: Run) -> None:
        """After each epoch, whose row of metrics is the last one of ``run.progress.history``."""

    def end(self, run: Run) -> None:
        """When training is complete or was stopped, but not when it failed."""

    def failed(self, run: Run, error: BaseException) -> None:
        """When an error ends training, before `close`; the current step may be half done."""

    def close(self) -> None:
        """When training ends in any way, to close files and the like."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs, in values that JSON can hold.

        The state of a class that overrides this is part of checkpoints, and `load_state_dict` gets it back.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `state_dict`; raise ValueError, before anything changes, if it is something else."""


class EarlyStopping(Callback):
    """Stop when the monitored metric has not improved for ``patience`` epochs.

    It reads only the progress of the run, so a resumed run stops where the uninterrupted run would have stopped.
    """

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
