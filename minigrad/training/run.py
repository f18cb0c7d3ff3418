"""Run: everything that takes part in training, and its state as a whole. Callback: an object that a run calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import random
from ..checks import choice, flag, same_keys, unknown, whole
from ..data import DataLoader, Dataset
from ..nn import Module
from ..optim import Optimizer
from ..schedulers import ReduceLROnPlateau, Scheduler
from .evaluation import (
    Loss,
    Metric,
    adds_up,
    as_number,
    check_instance,
    check_measured,
    directions_of,
    divisor,
    evaluate,
    kind_of,
    without_part,
)
from .progress import Progress, Row

AnyScheduler = Scheduler | ReduceLROnPlateau
Evaluate = Callable[[Module], Mapping[str, float]]
Array = npt.NDArray[np.float64]

_BATCHES = 16  # the number of batches that are measured together; few enough to stay in the cache


def _checked(name: str, values: Iterable[Any], kind: Any, hint: str) -> list[Any]:
    """Return callbacks or schedulers as a list; raise TypeError for anything else."""
    if not isinstance(values, Iterable):
        raise TypeError(f"fit: {name} must be a list, not a {type(values).__name__}")
    found = list(values)
    for each in found:
        check_instance(f"fit: {name}", each)
        if not isinstance(each, kind):
            raise TypeError(f"fit: {name} must be {hint}, and a {type(each).__name__} is not one")
    return found


def _check_parts(optimizer: Any, loader: Any, evaluate: Any) -> None:
    """Raise TypeError unless these are an optimizer, a loader, and a dataset or function to evaluate."""
    for name, value in {"optimizer": optimizer, "loader": loader, "evaluate": evaluate}.items():
        check_instance(f"fit: {name}", value)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"fit: optimizer must be an Optimizer, such as optim.Adam(model.parameters()), not {kind_of(optimizer)}"
        )
    if not all(hasattr(loader, each) for each in ("__iter__", "__len__", "batch_size", "dataset")):
        raise TypeError(
            f"fit: loader must be a DataLoader, such as DataLoader(dataset, batch_size=32), not {kind_of(loader)}"
        )
    if not (evaluate is None or isinstance(evaluate, Dataset) or callable(evaluate)):
        raise TypeError(
            "fit: evaluate must be a Dataset, such as Dataset(features, labels) or loader.dataset, or a function of "
            f"the model, not {kind_of(evaluate)}"
        )


def _check_optimizer(run: Run) -> None:
    """Raise unless the optimizer is of the model, and the schedulers are of the optimizer."""
    modules = [each for each in (run.model, run.loss) if isinstance(each, Module)]  # a loss may learn parameters too
    learned = {id(parameter) for module in modules for parameter in module.parameters()}
    if learned.isdisjoint(id(each) for group in run.optimizer.param_groups for each in group["params"]):
        raise ValueError(
            "fit: the optimizer has none of the model's parameters, so nothing would be trained; make it from "
            "model.parameters() of this model"
        )
    for each in run.schedulers:
        if each.optimizer.param_groups is not run.optimizer.param_groups:
            raise ValueError(
                f"fit: the {type(each).__name__} belongs to another optimizer; make it from the optimizer that is "
                "passed to fit"
            )


class Stretch(NamedTuple):
    """Optimizer steps that were made in one call.

    Attributes:
        first: the number of the first one.
        losses: the loss of each.
        rates: the learning rate of the first param group after each.
        numbers: a row for each, with the norms and scalars that its update used (`Layout.numbers`); only if a callback
            wants them.
    """

    first: int
    losses: list[float]
    rates: list[float]
    numbers: Array | None = None


class Callback:
    """The base class of the callbacks of `minigrad.training.fit`. Override the moments you need; each gets the `Run`.

    ``run.stop("reason")`` ends training after the current step or epoch.

    Attributes:
        acts_on_monitor: whether it acts on the monitored metric, so that a run without one is an error.
        wants_numbers: whether `after_stretch` reads ``steps.numbers``.
    """

    acts_on_monitor = False
    wants_numbers = False

    def begin(self, run: Run) -> None:
        """Before the first step, also if the run resumes from a checkpoint."""

    def after_step(self, run: Run) -> None:
        """After each optimizer step."""

    def stretch(self, run: Run) -> int | None:
        """Return how many steps may be made before it is called again; ``None`` for any number.

        Compiled code may make such steps in one call, after which `after_stretch` is called once, instead of
        `after_step` after each. A class that defines `after_step` but not `after_stretch` sees each step.
        """

    def after_stretch(self, run: Run, steps: Stretch) -> None:
        """After steps that were made in one call."""

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


class Run:
    """A training in progress; `minigrad.training.fit` makes one and returns it.

    Attributes:
        model, optimizer, loader, loss, metrics, schedulers, callbacks: as given.
        scheduler_every: ``"epoch"`` or ``"step"``.
        accumulate: the number of batches per optimizer step.
        monitor: the name of the metric that decides which epoch was best.
        compiled: whether steps are compiled where that is possible.
        eager: why steps are made by Python; empty if they are not, or only where a callback looks at one.
        direction: ``"min"`` if less of it is better, or ``"max"``.
        progress: how far it is, with ``history``, a row of metrics per epoch.
        stopping: why it stops; empty while it continues.
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
        compiled: bool = True,
    ) -> None:
        check_measured("fit", model, loss, metrics)
        _check_parts(optimizer, loader, evaluate)
        choice("fit", "scheduler_every", scheduler_every, ("epoch", "step"))
        self.model, self.optimizer, self.loader, self.loss = model, optimizer, loader, loss
        self.metrics = dict(metrics or {})
        listed = [] if scheduler is None else scheduler if isinstance(scheduler, Sequence) else [scheduler]
        self.schedulers: list[AnyScheduler] = _checked("scheduler", listed, AnyScheduler, "schedulers of an optimizer")
        self.scheduler_every, self.accumulate = scheduler_every, whole("fit", "accumulate", accumulate)
        _check_optimizer(self)
        self.callbacks: list[Callback] = _checked("callbacks", callbacks, Callback, "instances of training.Callback")
        self._evaluate = evaluate
        self.progress = Progress()
        self.stopping = ""
        self.compiled, self.eager = flag("fit", "compiled", compiled), ""
        self._unmeasured: list[tuple[float, Any, Any]] = []
        self._adds_up = adds_up(loss)
        self._random: dict[str, Any] | None = None  # of a copy: the state of the generator when it was made
        self._directions = directions_of(self.metrics, evaluate)
        self._monitor = None if monitor is None else self._checked_monitor(monitor)
        for each in self.schedulers:
            if isinstance(each, ReduceLROnPlateau):
                each.adopt(self.direction, self.monitor)

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_random": self._random or random.get_state()}

    def begin(self) -> None:
        """Let a copy draw the random numbers that the original would have drawn next, and call the callbacks."""
        if self._random is not None:
            random.set_state(self._random)
            self._random = None
        for callback in self.callbacks:
            callback.begin(self)

    def _checked_monitor(self, name: str) -> str:
        """Return the name, if it is of a metric that can be monitored."""
        known = [f"train_{each}" for each in ("loss", *self.metrics)]
        if self._evaluate is not None:
            known += [f"held_out_{each}" for each in self._directions]
        if name not in known:
            near = [each for each in known if without_part(each) == name] or known
            remedy = ""
            if self._evaluate is None:
                remedy = "; held-out metrics need evaluate="
            elif not isinstance(self._evaluate, Dataset):
                remedy = '; @training.metric(name="min") declares a number that evaluate returns'
            raise ValueError(f"fit: {unknown('monitor', str(name), near)}{remedy}")
        if self._directions[without_part(name)] is None:
            raise ValueError(
                f"fit: {name} cannot be monitored, because it does not declare whether more or less of it is better; "
                f'put @training.metric("max") or @training.metric("min") before the function'
            )
        return name

    @property
    def monitor(self) -> str:
        """The metric that decides which epoch is best, by default on held-out data, and an accuracy before a loss."""
        if self._monitor is not None:
            return self._monitor
        part, declared = "train" if self._evaluate is None else "held_out", getattr(self._evaluate, "directions", {})
        if declared:
            return f"{part}_{next(iter(declared))}"
        name = "loss" if self._directions.get("accuracy") is None else "accuracy"
        # A function that declares nothing may return something else.
        history = self.progress.history
        return f"train_{name}" if history and f"{part}_{name}" not in history[-1] else f"{part}_{name}"

    @property
    def direction(self) -> str:
        """Whether less (``"min"``) or more (``"max"``) of the monitored metric is better."""
        direction = self._directions[without_part(self.monitor)]
        assert direction is not None  # the name was checked
        return direction

    def monitored(self, row: Row) -> float:
        """Return the monitored metric of an epoch.

        Raises:
            ValueError: if ``evaluate`` is a function that did not return it, or that neither declares what it returns
                nor returns what is monitored by default, where a callback or a scheduler acts on it.
        """
        acting: list[Any] = [each for each in self.callbacks if each.acts_on_monitor]
        acting += [each for each in self.schedulers if isinstance(each, ReduceLROnPlateau)]
        if acting and self._monitor is None and self._evaluate is not None and self.monitor.startswith("train_"):
            held_out = next((without_part(name) for name in row if name.startswith("held_out_")), "name")
            raise ValueError(
                f"fit: {type(acting[0]).__name__} needs a metric to act on, and evaluate returned no "
                f"{without_part(self.monitor)!r}; declare what it returns, as by "
                f'@training.metric({held_out}="min") or "max", or choose monitor="{self.monitor}"'
            )
        if self.monitor not in row:
            known = ", ".join(row)
            raise ValueError(f"fit: {self.monitor} is monitored, but evaluate did not return it; known are {known}")
        return row[self.monitor]

    def stop(self, reason: str) -> None:
        """End training after the current step or epoch."""
        self.stopping = self.stopping or reason

    def evaluation(self) -> Row:
        """Return the metrics on held-out data, with names that begin with ``held_out_``."""
        if self._evaluate is None:
            return {}
        if isinstance(self._evaluate, Dataset):
            found: Mapping[str, float] = evaluate(self.model, self._evaluate, self.loss, self.metrics)
        else:
            found = self._evaluate(self.model)
            if not isinstance(found, Mapping):
                raise TypeError(
                    f'fit: evaluate must return numbers by name, such as {{"loss": 0.5}}, not {type(found).__name__}'
                )
        return {
            f"held_out_{name}": float(as_number(f"fit: {name!r} of evaluate", value)) for name, value in found.items()
        }

    def measure(self, loss: float, output: Any, labels: Any) -> None:
        """Add a batch to the means of the epoch. This is delayed, because many batches together cost half as much."""
        self._unmeasured.append((loss, output.data, labels.data))
        if len(self._unmeasured) >= _BATCHES:
            self.settle()

    def settle(self) -> None:
        """Add all batches so far to the sums of the progress, in their order."""
        for loss, output, labels in self._unmeasured:
            values = {name: metric(output, labels) for name, metric in self.metrics.items()}
            self.add(loss, len(labels), divisor(self.loss, labels), values)
        self._unmeasured.clear()

    def add(self, loss: float, rows: int, size: float, metrics: Mapping[str, Any]) -> None:
        """Add a batch to the sums of the progress: its loss, rows, the divisor of its mean loss, and its metrics."""
        progress = self.progress
        progress.rows += rows
        progress.loss_sum += loss * (1 if self._adds_up else size)
        progress.loss_count += size
        for name, value in metrics.items():
            found = as_number(f"fit: the metric {name!r}", value)
            progress.sums[name] = progress.sums.get(name, 0.0) + found

    # --- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that a resumed run needs."""
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
        """The callbacks with a state; others, such as a display, may differ when a run resumes."""
        return [each for each in self.callbacks if type(each).state_dict is not Callback.state_dict]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state.

        Raises:
            ValueError, TypeError, KeyError: if it does not fit this run, which is unchanged.
        """
        own = self.state_dict()
        same_keys("the state of a run", state, own)
        for name in ("schedulers", "callbacks"):
            if not isinstance(state[name], list) or len(state[name]) != len(own[name]):
                kinds = [_kinds(name, each) for each in (own[name], state[name])]
                raise ValueError(f"this run has the {name} {kinds[0]}, and the saved one had {kinds[1]}")
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


def _kinds(name: str, states: Any) -> str:
    """The classes of the schedulers or callbacks that have these states."""
    key = {"schedulers": "scheduler", "callbacks": "kind"}[name]
    known = states if isinstance(states, list) else []
    return ", ".join(str(each.get(key)) if isinstance(each, dict) else "?" for each in known)[:200] or "none"
