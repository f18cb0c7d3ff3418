"""Stretches of a run: steps of `fit` that machine code takes, many in one call, with the bits of the loop in Python.

The step of the loop is compiled by `minigrad.compiled`: forward pass, loss, metrics, gradients and update. The first
batch of each shape is traced, and the second one checked against Python. Then a stretch ends where a callback has to
see a step, at the end of the full batches of an epoch, or after about a tenth of a second, so that a key press and the
progress line are not kept waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..autograd.tensor import Tensor
from ..compiled.arrays import UntraceableError
from ..compiled.epoch import Driver
from ..compiled.step import CompiledStep, NotCompiledError
from ..data import DataLoader, Dataset
from ..data.dataset import is_stored
from ..schedulers import Scheduler
from .evaluation import divisor
from .run import Run, Stretch

Array = npt.NDArray[Any]

_SECONDS = 0.1  # of a stretch
_FIRST = 16  # steps of the first stretch, whose duration is not known yet


class Stretches:
    """The compiled steps of a run.

    Attributes:
        reason: why steps are made by Python; empty if they are not.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.reason = problem(run)
        self._all_count: bool | None = None
        self._measured = True  # whether metrics are part of the step
        self._step = CompiledStep(self._make_step(), only=True)
        self._drivers: dict[int, Driver] = {}
        self._rate = 0.0  # steps per second

    def _make_step(self) -> Callable[[Tensor, Tensor], Any]:
        run, measured = self._run, self._measured
        model, optimizer, loss = run.model, run.optimizer, run.loss

        def step(features: Tensor, labels: Tensor) -> Any:
            optimizer.zero_grad()
            output = model(features)
            value = loss(output, labels)
            if not value.isfinite():
                raise NotCompiledError("the loss is not finite")  # the loop in Python explains it
            value.backward()
            optimizer.step()
            if not measured:
                return value, output.detach()
            return value, *(metric(output.data, labels.data) for metric in run.metrics.values())

        return step

    # --- taking steps ------------------------------------------------------------------------------------------------

    def take(self, schedulers: Sequence[Scheduler]) -> bool:
        """Take as many steps as possible, at least one; False if the next step has to be made by Python."""
        run = self._run
        if self.reason:
            return False
        loader: DataLoader = run.loader
        batch = run.progress.batch
        if batch >= len(loader):
            return False
        full = len(loader.dataset) // loader.batch_size
        allowed = [n for n in (each.stretch(run) for each in run.callbacks) if n is not None]
        steps = min([full - batch, *allowed])
        bound = self._step.ready(loader.batch_size) if steps > 1 else None
        if bound is not None:
            return self._drive(bound, steps, schedulers)
        return self._one(schedulers)

    def _one(self, schedulers: Sequence[Scheduler]) -> bool:
        """Take one step."""
        run = self._run
        rows = run.loader.rows(run.progress.batch, 1)
        features, labels = (Tensor(array[rows]) for array in self._sources())
        try:
            results = self._step(features, labels)
        except NotCompiledError:
            return False
        except UntraceableError as error:
            if self._measured and run.metrics:  # maybe a metric is what cannot be traced
                self._measured = False
                self._step = CompiledStep(self._make_step(), only=True)
                return self._one(schedulers)
            self.reason = str(error)
            return False
        arrays = [np.asarray(each._data if isinstance(each, Tensor) else each)[None] for each in results]
        self._account(rows, arrays, 1)
        for scheduler in schedulers:
            scheduler.step()
        for callback in run.callbacks:
            callback.after_step(run)
        return True

    def _drive(self, bound: Any, steps: int, schedulers: Sequence[Scheduler]) -> bool:
        """Take many steps in one call."""
        run = self._run
        driver = self._drivers.get(id(bound))
        if driver is None:
            driver = self._drivers[id(bound)] = Driver(bound, self._sources())
        wanted = max(int(self._rate * _SECONDS), 1) if self._rate else _FIRST
        steps = min(steps, wanted, driver.longest() or steps)
        rows = run.loader.rows(run.progress.batch, steps)
        group = run.optimizer.param_groups[0]
        rates: list[float] = []
        before = [scheduler.state_dict() for scheduler in schedulers]

        def between() -> None:
            for scheduler in schedulers:
                scheduler.step()
            rates.append(group.get("lr", 0.0))

        started = time.perf_counter()
        outcome = driver.run(rows, steps, between if schedulers else None)
        if outcome.done:
            self._rate = outcome.done / max(time.perf_counter() - started, 1e-9)
        if outcome.done < steps and schedulers:
            for scheduler, state in zip(schedulers, before, strict=True):
                scheduler.load_state_dict(state)
            rates.clear()
            for _ in range(outcome.done):
                between()
        if not outcome.done:
            return self._one(schedulers)
        first = run.progress.step + 1
        losses = self._account(rows, outcome.logs, outcome.done)
        stretch = Stretch(first, losses, rates or [group.get("lr", 0.0)] * outcome.done)
        for callback in run.callbacks:
            callback.after_stretch(run, stretch)
        return True

    def _sources(self) -> list[Array]:
        dataset: Dataset = self._run.loader.dataset
        return [dataset.features, dataset.labels]

    def _account(self, rows: Array, logs: Sequence[Array], done: int) -> list[float]:
        """Add steps to the progress of the run, as the loop in Python does; the losses."""
        run = self._run
        progress = run.progress
        run.settle()
        losses = logs[0][:done].astype(np.float64).tolist()
        size = len(rows) // max(len(logs[0]), 1)
        labels = self._sources()[1]
        values = [log[:done].tolist() for log in logs[1:]] if self._measured else []
        for step, loss in enumerate(losses):
            there = rows[step * size : (step + 1) * size]
            found = {
                name: values[i][step] if self._measured else metric(logs[1][step], labels[there])
                for i, (name, metric) in enumerate(run.metrics.items())
            }
            run.add(loss, size, self._divisor(there), found)
        progress.batch += done
        progress.step += done
        progress.loss = losses[-1]
        if progress.first_loss is None:
            progress.first_loss = losses[0]
        run.loader.advance(done)
        return losses

    def _divisor(self, rows: Array) -> float:
        labels = self._sources()[1]
        if self._all_count is None:
            self._all_count = divisor(self._run.loss, labels) == len(labels) and weightless(self._run.loss)
        return len(rows) if self._all_count else divisor(self._run.loss, labels[rows])


def weightless(loss: Any) -> bool:
    """Whether every label counts as 1 in the mean of a loss, if all of them count."""
    return divisor(loss, np.zeros(2, np.int64)) == 2 or divisor(loss, np.zeros(2, np.float32)) == 2


def problem(run: Run) -> str:
    """Why the steps of a run are made by Python; empty if they can be compiled."""
    loader = run.loader
    if not run.compiled:
        return "compiled=False"
    if type(loader) is not DataLoader or not is_stored(loader.dataset) or type(loader.dataset) is not Dataset:
        return "the data is not a Dataset of arrays in a DataLoader"
    if loader.device != "cpu" or any(parameter.device != "cpu" for parameter in run.model.parameters()):
        return "training is on the GPU"
    if run.accumulate > 1:
        return "gradients are accumulated"
    return ""
