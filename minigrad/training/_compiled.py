"""Stretches of a run: steps of `fit` that machine code takes, many in one call, with the bits of the loop in Python.

The step of the loop is compiled by `minigrad.compiled`: forward pass, loss, accuracy, gradients and update. The first
batch of each shape is traced, and the second one checked against Python. Then a stretch ends where a callback has to
see a step, at the end of the full batches of an epoch, or after about a tenth of a second, so that a key press and the
progress line are not kept waiting.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..autograd.observers import watching
from ..autograd.tensor import Tensor
from ..compiled.epoch import Driver
from ..compiled.step import CompiledStep, NotCompiledError
from ..data import DataLoader, Dataset
from ..data.dataset import is_stored
from ..schedulers import Scheduler
from .evaluation import adds_up, correct, divisor
from .run import Callback, Run, Stretch

Array = npt.NDArray[Any]

_SECONDS = 0.1  # of a stretch
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_FIRST = 16  # steps of the first stretch, whose duration is not known yet


class Stretches:
    """The compiled steps of a run; ``step`` takes one."""

    step: CompiledStep

    def __init__(self, run: Run) -> None:
        self._run = run
        self._problem = problem(run)
        self._failures = self._pause = 0  # in a row; steps until the next attempt
        self._rate = 0.0  # steps per second
        if self._problem:
            return
        # Other metrics may be any code of the user's, which is called with every batch.
        self._measured = [name for name, metric in run.metrics.items() if metric is correct]
        self._outputs = len(self._measured) < len(run.metrics)
        self.step = CompiledStep(self._make_step(), only=True)
        self._drivers: dict[int, Driver] = {}
        self._sources: list[Array] = [run.loader.dataset.features, run.loader.dataset.labels]
        self._driven = all(source.flags.c_contiguous for source in self._sources)  # else batches have other strides
        self._numbers = any(callback.wants_numbers for callback in run.callbacks)
        self._all_count = all_count(run.loss, self._sources[1])

    def _make_step(self) -> Callable[..., Any]:
        run, counted, outputs = self._run, bool(self._measured), self._outputs
        model, optimizer, loss = run.model, run.optimizer, run.loss

        def step(*parts: Tensor) -> Any:
            """As `minigrad.training.loop` takes a step, of features and labels in turn."""
            optimizer.zero_grad()
            rows = [len(labels) for labels in parts[1::2]]
            results: list[Any] = []
            for features, labels, share in zip(parts[::2], parts[1::2], shares(loss, rows), strict=True):
                output = model(features)
                value = loss(output, labels)
                if not value.isfinite():
                    raise NotCompiledError("the loss is not finite")  # the loop in Python explains it
                (value if share == 1 else value * share).backward()
                results.append(value)
                if counted:
                    results.append(correct(output.data, labels.data))
                if outputs:
                    results.append(output.detach())
            optimizer.step()
            return tuple(results)

        return step

    # --- taking steps ------------------------------------------------------------------------------------------------

    def take(self, schedulers: Sequence[Scheduler]) -> bool:
        """Take as many steps as possible, at least one; False if the next step has to be made by Python."""
        run = self._run
        if self._problem:
            run.eager = self._problem
            return False
        batch, k = run.progress.batch, run.accumulate
        if batch >= len(run.loader):
            return False
        allowed = [n for n in (longest(each, run) for each in run.callbacks) if n is not None]
        if self._pause:
            self._pause -= 1
            return False
        reason = watched(run)
        if not reason:
            steps = min([(len(run.loader.dataset) // run.loader.batch_size - batch) // k, *allowed])
            try:
                self._take(steps, schedulers)
            except NotCompiledError as error:
                reason = str(error)
                self._failures += 1
                self._pause = 2 ** min(self._failures - 1, 10) - 1
            else:
                self._failures = 0
                run.eager = ""
                return True
            self._problem = self.step.problem
        run.eager = "" if 0 in allowed and not self._problem else reason
        return False

    def _take(self, steps: int, schedulers: Sequence[Scheduler]) -> None:
        """Take at most this many steps, at least one."""
        rows = self._run.loader.batch_size
        bound = self.step.ready(rows, len(self._sources) * self._run.accumulate) if steps > 1 else None
        # Python that calls the update's kernels would find the options that the schedulers set last.
        if bound is None or not self._driven or (schedulers and any(effect.reason for effect in bound.effects)):
            self._one(schedulers)
        else:
            self._drive(bound, steps, schedulers)

    def _one(self, schedulers: Sequence[Scheduler]) -> None:
        """Take one step."""
        run = self._run
        size = run.loader.batch_size
        rows = run.loader.rows(run.progress.batch, run.accumulate)
        pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
        results = self.step(*(Tensor(source[piece]) for piece in pieces for source in self._sources))
        arrays = [np.asarray(each._data if isinstance(each, Tensor) else each)[None] for each in results]
        self._account(pieces, arrays, 1)
        for scheduler in schedulers:
            scheduler.step()
        for callback in run.callbacks:
            callback.after_step(run)

    def _drive(self, bound: Any, steps: int, schedulers: Sequence[Scheduler]) -> None:
        """Take many steps in one call."""
        run = self._run
        driver = self._drivers.get(id(bound))
        if driver is None:
            driver = self._drivers[id(bound)] = Driver(bound, self._sources, self._numbers)
        wanted = max(int(self._rate * _SECONDS), 1) if self._rate else _FIRST
        steps = min(steps, wanted, driver.longest() or steps)
        rows = run.loader.rows(run.progress.batch, steps * run.accumulate)
        groups = run.optimizer.param_groups
        rates: list[float] = []
        before = [scheduler.state_dict() for scheduler in schedulers]

        def between() -> bool:
            for scheduler in schedulers:
                scheduler.step()
            rates.append(groups[0].get("lr", 0.0))
            return not any(group.restructured for group in groups)  # which may mean another program

        with Held() as held:
            started = time.perf_counter()
            outcome = driver.run(rows, steps, between if schedulers else None)
            done = outcome.done
            if done:
                self._rate = done / max(time.perf_counter() - started, 1e-9)
            if done < len(rates):
                for scheduler, state in zip(schedulers, before, strict=True):
                    scheduler.load_state_dict(state)
                rates.clear()
                for _ in range(done):
                    between()
            first = run.progress.step + 1
            pieces = list(rows.reshape(steps * run.accumulate, -1))
            losses = self._account(pieces, outcome.logs, done)
            if outcome.error is not None:
                self._account(pieces[done * run.accumulate :], [log[done:] for log in outcome.logs], 1, taken=False)
        try:
            numbers = outcome.numbers[0] if outcome.numbers else None
            stretch = Stretch(first, losses, rates or [groups[0].get("lr", 0.0)] * done, numbers)
            for callback in run.callbacks if done else ():
                callback.after_stretch(run, stretch)
            if outcome.error is not None:
                raise outcome.error
        finally:
            held.deliver()
        if not done:
            self._one(schedulers)

    def _account(self, pieces: Sequence[Array], logs: Sequence[Array], steps: int, taken: bool = True) -> list[float]:
        """Add steps to the progress of the run, as the loop in Python does, and return their losses.

        Args:
            pieces: the rows of each batch.
            logs: for each batch of a step what it returned, with a row per step.
            steps: how many steps.
            taken: whether the updates were made.
        """
        run, progress, labels = self._run, self._run.progress, self._sources[1]
        run.settle()
        count = len(pieces) if len(pieces) < run.accumulate else run.accumulate
        each = len(logs) // count
        columns = [_numbers(log, steps) if i % each < each - self._outputs else log for i, log in enumerate(logs)]
        sizes = [len(piece) for piece in pieces[:count]]
        weights = shares(run.loss, sizes)
        losses = []
        for step in range(steps):
            loss = 0.0
            for i, (size, share) in enumerate(zip(sizes, weights, strict=True)):
                rows = pieces[step * count + i]
                values = [column[step] for column in columns[i * each : (i + 1) * each]]
                counted = size if self._all_count else divisor(run.loss, labels[rows])
                metrics = {}
                for name, metric in run.metrics.items():
                    metrics[name] = values[1] if metric is correct else metric(values[-1], labels[rows])
                run.add(values[0], size, counted, metrics)
                loss += values[0] * share
            losses.append(loss)
        progress.batch += steps * count
        run.loader.advance(steps * count)
        if taken and steps:
            progress.step += steps
            progress.loss = losses[-1]
            if progress.first_loss is None:
                progress.first_loss = losses[0]
        return losses


class Held:
    """A context that no signal ends in the middle, so that the steps in it are accounted for.

    Signals such as Ctrl-C that arrive there are handled by `deliver`.
    """

    def __init__(self) -> None:
        self._arrived: list[tuple[int, Any]] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # which alone handles signals
            handlers = {number: signal.getsignal(number) for number in _SIGNALS}
            self._handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
            for number in self._handlers:
                signal.signal(number, lambda number, frame: self._arrived.append((number, frame)))
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """Handle the signals."""
        for number, frame in self._arrived:
            self._handlers[number](number, frame)


def _numbers(log: Array, steps: int) -> list[Any]:
    """A number for each step."""
    found: list[Any] = log[:steps].reshape(steps).tolist()
    return found


def shares(loss: Any, rows: Sequence[int]) -> list[float]:
    """What the mean loss of each batch is multiplied by, if every row counts; 1 for a sum."""
    if adds_up(loss) or len(rows) == 1:
        return [1.0] * len(rows)
    return [n / sum(rows) for n in rows]


def all_count(loss: Any, labels: Array) -> bool:
    """Whether the divisor of a loss is the number of rows, whichever of these labels it is given."""
    if divisor(loss, labels) != len(labels):
        return False
    kinds = np.unique(labels) if labels.dtype.kind in "iu" else labels[:1]  # a class may have a weight
    return all(divisor(loss, kinds[i : i + 1]) == 1 for i in range(len(kinds)))


def longest(callback: Callback, run: Run) -> int | None:
    """How many steps may be made before a callback is called; None for any number."""
    for kind in type(callback).__mro__:
        if "after_stretch" in vars(kind):
            return callback.stretch(run)
        if "after_step" in vars(kind):
            return 0
    raise AssertionError("a Callback")


def watched(run: Run) -> str:
    """Why the next step has to be made by Python; empty if nothing looks at what it does."""
    if watching():
        return "every operation is being watched"
    optimizer: Any = run.optimizer
    if optimizer._pre_hooks or optimizer._post_hooks or optimizer._update_hooks:
        return f"a hook is registered on {type(run.optimizer).__name__}"
    for module in run.model.modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return f"a hook is registered on {type(module).__name__} {module._path or 'itself'!r}"
    if any(parameter._hooks for parameter in run.model.parameters()):
        return "a hook is registered on a parameter"
    return ""


def problem(run: Run) -> str:
    """Why the steps of a run are made by Python; empty if they can be compiled."""
    loader = run.loader
    if type(loader) is not DataLoader or not is_stored(loader.dataset) or type(loader.dataset) is not Dataset:
        return "the data is not a Dataset of arrays in a DataLoader"
    if {loader.device, loader.dataset.device, *(each.device for each in run.model.parameters())} != {"cpu"}:
        return "training is on the GPU"
    if run.accumulate > 1 and not adds_up(run.loss) and not all_count(run.loss, loader.dataset.labels):
        return "gradients are accumulated, and the loss does not count all rows alike"
    return ""
