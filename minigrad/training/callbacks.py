"""Callbacks: what a training loop calls at named moments, and the smallest of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..checks import number, whole
from ..text import plural

if TYPE_CHECKING:
    from .run import Run


class Callback:
    """Base of what `minigrad.training.fit` calls. Override the moments you need; each gets the `Run`.

    ``run.stop("reason")`` ends training after the step or epoch that is under way.
    """

    def begin(self, run: Run) -> None:
        """Before the first step, also when a run goes on from a checkpoint."""

    def after_step(self, run: Run) -> None:
        """After each optimizer step."""

    def after_epoch(self, run: Run) -> None:
        """After each epoch, with its row of metrics last in ``run.progress.history``."""

    def end(self, run: Run) -> None:
        """When training is complete or was stopped; not when it failed."""

    def failed(self, run: Run, error: BaseException) -> None:
        """When an error ends training, before `close`; a step under way may be half done."""

    def close(self) -> None:
        """When training ends in whatever way, to give back files and the like."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know, in values that JSON can hold.

        Where a class overrides it, it becomes part of checkpoints, and `load_state_dict` gets it back.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; ValueError, before anything has changed, if it cannot be that."""


class EarlyStopping(Callback):
    """Stop when the monitored metric has not improved for ``patience`` epochs.

    It looks at the progress alone, so that a resumed run stops where the uninterrupted one would have.
    """

    def __init__(self, patience: int) -> None:
        self.patience = whole(self, "patience", patience)

    def begin(self, run: Run) -> None:
        """Stop at once if the run had come to that."""
        self.after_epoch(run)

    def after_epoch(self, run: Run) -> None:
        """Count the epochs since the best one."""
        progress = run.progress
        if progress.epoch - (progress.best_epoch or 0) >= self.patience:
            run.stop(f"{run.monitor} has not improved for {plural(self.patience, 'epoch')}")


class DivergedError(FloatingPointError):
    """Training has made the loss far larger than it was."""


class StopIfDiverged(Callback):
    """Raise `DivergedError` when the mean loss of an epoch is more than ``factor`` times that of the first step."""

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
