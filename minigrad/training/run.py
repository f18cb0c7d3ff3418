"""Run: everything that takes part in a training, and its state as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .. import random
from ..data import DataLoader, Dataset
from ..nn import Module
from ..optim import Optimizer
from ..optim.state import same_keys
from ..schedulers import ReduceLROnPlateau, Scheduler
from .callbacks import Callback
from .evaluation import Loss, Metric, evaluate
from .progress import Progress, Row

AnyScheduler = Scheduler | ReduceLROnPlateau
Evaluate = Callable[[Module], Mapping[str, float]]

_BATCHES = 16  # batches that are counted together; few enough to stay in the cache


class Run:
    """A training that is under way; `minigrad.training.fit` makes one and returns it.

    Attributes:
        model, optimizer, loader, loss, metrics, schedulers, callbacks: as given.
        scheduler_every: ``"epoch"`` or ``"step"``.
        accumulate: how many batches there are to an optimizer step.
        monitor: the name of the metric that decides which epoch was best.
        progress: how far it has come, with ``history``, a row of metrics per epoch.
        stopping: why it stops, empty while it goes on.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loader: DataLoader,
        loss: Loss,
        *,
        metrics: Mapping[str, Metric] | None = None,
        evaluate: Dataset | Evaluate | None = None,
        scheduler: AnyScheduler | Sequence[AnyScheduler] | None = None,
        scheduler_every: str = "epoch",
        accumulate: int = 1,
        callbacks: Iterable[Callback] = (),
        monitor: str | None = None,
    ) -> None:
        if scheduler_every not in ("epoch", "step"):
            raise ValueError(f"fit: scheduler_every must be 'epoch' or 'step', not {scheduler_every!r}")
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise ValueError(f"fit: accumulate must be a whole number of at least 1, not {accumulate!r}")
        self.model, self.optimizer, self.loader, self.loss = model, optimizer, loader, loss
        self.metrics = dict(metrics or {})
        self.schedulers = (
            [] if scheduler is None else list(scheduler) if isinstance(scheduler, Sequence) else [scheduler]
        )
        self.scheduler_every, self.accumulate = scheduler_every, accumulate
        self.callbacks = list(callbacks)
        self._evaluate = evaluate
        self._monitor = monitor
        self.progress = Progress()
        self.stopping = ""
        self._unmeasured: list[tuple[float, Any, Any]] = []
        self._random: dict[str, Any] | None = None  # of a copy, where the random numbers were

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_random": self._random or random.get_state()}

    def begin(self) -> None:
        """Let a copy draw the random numbers that the original would have drawn next, and tell the callbacks."""
        if self._random is not None:
            random.set_state(self._random)
            self._random = None
        for callback in self.callbacks:
            callback.begin(self)

    @property
    def monitor(self) -> str:
        """The metric that decides which epoch is best; by default a held-out one, and an accuracy before a loss."""
        if self._monitor is not None:
            return self._monitor
        part = "train" if self._evaluate is None else "held_out"
        return f"{part}_accuracy" if "accuracy" in self.metrics else f"{part}_loss"

    def stop(self, reason: str) -> None:
        """End training after the step or epoch that is under way."""
        self.stopping = self.stopping or reason

    def evaluation(self) -> Row:
        """The metrics on held-out data, under names that begin with ``held_out_``."""
        if self._evaluate is None:
            return {}
        if isinstance(self._evaluate, Dataset):
            found: Mapping[str, float] = evaluate(self.model, self._evaluate, self.loss, self.metrics)
        else:
            found = self._evaluate(self.model)
        return {f"held_out_{name}": float(value) for name, value in found.items()}

    def measure(self, loss: float, output: Any, labels: Any) -> None:
        """Count a batch in the means of the epoch, though not at once: many together cost half as much."""
        self._unmeasured.append((loss, output.data, labels.data))
        if len(self._unmeasured) >= _BATCHES:
            self.settle()

    def settle(self) -> None:
        """Add all batches so far to the sums of the progress, in their order."""
        progress, metrics = self.progress, self.metrics.items()
        for loss, output, labels in self._unmeasured:
            progress.rows += len(labels)
            progress.loss_sum += loss * len(labels)
            for name, metric in metrics:
                progress.sums[name] = progress.sums.get(name, 0.0) + metric(output, labels)
        self._unmeasured.clear()

    # --- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs; a copy."""
        self.settle()
        return {
            "model": {name: value.data for name, value in self.model.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "random": random.get_state(),
            "loader": self.loader.state_dict(),
            "progress": self.progress.state_dict(),
            "callbacks": [{"kind": type(each).__name__, **each.state_dict()} for each in self._stateful()],
        }

    def _stateful(self) -> list[Callback]:
        """The callbacks that keep a state; others, such as a display, may differ when a run goes on."""
        return [each for each in self.callbacks if type(each).state_dict is not Callback.state_dict]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError, TypeError, KeyError: if it does not fit this run; then nothing has changed.
        """
        own = self.state_dict()
        same_keys("the state of a run", state, own)
        for name in ("schedulers", "callbacks"):
            if not isinstance(state[name], list) or len(state[name]) != len(own[name]):
                raise ValueError(f"this run has {len(own[name])} {name}, the saved one had others")
        for number, (saved, each) in enumerate(zip(state["callbacks"], self._stateful(), strict=True)):
            if saved["kind"] != type(each).__name__:
                raise ValueError(f"callback {number} is {type(each).__name__}, but {saved['kind']!r} in the saved run")
        progress = Progress.from_state(state["progress"])
        try:
            self._apply(state)
        except BaseException:
            self._apply(own)
            raise
        self.progress = progress
        self.optimizer.steps = progress.step

    def _apply(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.loader.load_state_dict(state["loader"])
        for callback, saved in zip(self._stateful(), state["callbacks"], strict=True):
            callback.load_state_dict({name: value for name, value in saved.items() if name != "kind"})
        random.set_state(state["random"])
