"""Many runs that differ only in numbers, side by side: they share compiled code, and each is one call of it.

Runs of one *kind* have the same model, data, loss and optimizer; they may differ in their initial parameters, their
random numbers, and the numbers among the options of the optimizer. For each kind, a thread keeps one run of its own,
the `_Track`, whose steps are compiled. Another run is trained on it: the track takes over its state, all epochs are
driven by machine code, which leaves the interpreter free for other threads, and the run gets the result.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import random
from ..autograd.modes import no_grad
from ..autograd.tensor import Tensor
from ..compiled.epoch import Driver, Part, Stretch, run_parts
from ..compiled.step import CompiledStep
from ..data import DataLoader, Dataset
from ..data.dataset import is_stored
from ..nn.inspection import restoring
from ..schedulers import Scheduler
from ._compiled import Stretches, all_count, problem
from .callbacks import DivergedError, StopIfDiverged
from .evaluation import EVALUATED, adds_up, correct, divisor
from .loop import finish_epoch, train, train_with
from .nonfinite import NonFiniteLossError
from .progress import Progress, Row
from .run import Run

Array = npt.NDArray[Any]

# What a run with this kind is made of; equal for runs that may share code.
Kind = Hashable
Make = Callable[[], Run]


class Trained(NamedTuple):
    """A run that has been trained.

    Attributes:
        number: which of the given ones it is.
        run: the run; ``None`` if it could not be made. Its optimizer is as it was made.
        error: what has ended its training, such as `NonFiniteLossError`; ``None`` if it is complete.
        seconds: how long its training took.
    """

    number: int
    run: Run | None
    error: Exception | None
    seconds: float


def train_together(makes: Sequence[tuple[Kind, Make]], epochs: int, threads: int = 1) -> Iterator[Trained]:
    """Train runs, each as `train` would train it alone, to the last bit, and yield them as they are finished.

    Args:
        makes: for each run its kind, and a function that makes it at its beginning. It is called in another thread,
            which has a random generator of its own.
        epochs: for all runs.
        threads: how many runs are trained at the same time.
    """
    waiting, finished = _Waiting([kind for kind, _ in makes]), queue.SimpleQueue[Trained | BaseException]()
    stop, orders = threading.Event(), _Orders()

    def work() -> None:
        tracks: dict[Kind, _Track | None] = {}
        with random.own_generator():
            while not stop.is_set():
                number = waiting.next(tracks)
                if number is None:
                    return
                try:
                    finished.put(_trained(number, *makes[number], epochs, tracks, orders))
                except BaseException as error:  # which the caller's thread raises
                    finished.put(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(_INTERVAL)
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(makes)))]
    for worker in workers:
        worker.start()
    try:
        for _ in makes:
            found = finished.get()
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        sys.setswitchinterval(interval)


class _Waiting:
    """The numbers of the runs that nobody trains yet, by their kinds."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._numbers: dict[Kind, list[int]] = {}
        for number, kind in enumerate(kinds):
            self._numbers.setdefault(kind, []).append(number)
        self._untouched = list(self._numbers)
        self._lock = threading.Lock()

    def next(self, tracks: Mapping[Kind, Any]) -> int | None:
        """The next run for a thread: of a kind that it has a track for, that no other has, or that has most runs."""
        with self._lock:
            kind = next((kind for kind in tracks if self._numbers[kind]), None)
            if kind is None and self._untouched:
                kind = self._untouched[0]
            if kind is None:
                kind = max(self._numbers, key=lambda each: len(self._numbers[each]))
            if kind in self._untouched:
                self._untouched.remove(kind)
            return self._numbers[kind].pop(0) if self._numbers[kind] else None


def _trained(
    number: int, kind: Kind, make: Make, epochs: int, tracks: dict[Kind, _Track | None], orders: _Orders
) -> Trained:
    run, error, started = None, None, time.perf_counter()
    try:
        if kind not in tracks:
            if len(tracks) >= _MOST_TRACKS:
                tracks.pop(next(iter(tracks)))
            tracks[kind] = _track(make, orders)
        run, track = make(), tracks[kind]
        started = time.perf_counter()
        if track is None:
            train(run, epochs)
        else:
            track.train(run, epochs)
    except Exception as raised:
        error = raised
    return Trained(number, run, error, time.perf_counter() - started)


# How long a thread may keep the interpreter, in seconds, while another one waits for it to prepare the next call.
_INTERVAL = 1e-4
_MOST_TRACKS = 4  # of one thread; each is a model with its optimizer
_MOST_TABLES = 8  # of scalars, for each track
_MOST_BYTES = 1 << 26  # of orders that are kept
_CAREFUL = 1e-6  # the learning rate while a track is made


def _track(make: Make, orders: _Orders) -> _Track | None:
    """A track for runs of a kind; none if they cannot be driven as a whole."""
    run = make()
    if not _is_plain(run):
        return None
    try:
        return _Track(run, orders)
    except (NonFiniteLossError, ValueError):
        return None


def _is_plain(run: Run) -> bool:
    """Whether nothing but machine code has to look at the steps of a run."""
    held = run._evaluate
    schedules = run.scheduler_every == "epoch" and all(isinstance(each, Scheduler) for each in run.schedulers)
    return (
        run.compiled
        and run.accumulate == 1
        and not problem(run)
        and (schedules or not run.schedulers)
        and all(metric is correct for metric in run.metrics.values())
        and all(type(callback) is StopIfDiverged for callback in run.callbacks)
        and (held is None or (isinstance(held, Dataset) and is_stored(held)))
        and all_count(run.loss, run.loader.dataset.labels)
    )


class _Batches(NamedTuple):
    """Batches of one size in each epoch: how many rows each has, how many there are, and what takes them."""

    rows: int
    number: int
    driver: Driver


class _Track:
    """A run whose compiled steps train others of its kind.

    Args:
        run: a run at its beginning, which nobody else uses.

    Raises:
        ValueError: if its epochs cannot be driven by machine code alone; the text says why.
    """

    def __init__(self, run: Run, orders: _Orders) -> None:
        self._run, self._stretches, self._orders = run, Stretches(run), orders
        for group in run.optimizer.param_groups:
            group["lr"] = min(group["lr"], _CAREFUL)
        train_with(run, 2, self._stretches)  # in the first epoch batches are traced, in the second one checked
        loader, held = run.loader, run._evaluate
        run.model.train()
        rows, batch = len(loader.dataset), loader.batch_size
        self._training = [
            self._batches(self._stretches.step, run, loader.dataset, size, count)
            for size, count in _sizes(rows, batch)
            if count and not (loader.drop_last and size < batch)
        ]
        self._evaluating: list[_Batches] = []
        self._taken: list[Stretch] = []
        self._tables: dict[tuple[int, str, str], list[Array]] = {}  # scalars of the last kinds of runs
        self._divisors = np.zeros(0)
        if not self._training[0].driver.bound.effects:
            raise ValueError("the update is not one of minigrad's")
        if isinstance(held, Dataset):
            step = CompiledStep(_measure(run), only=True)
            run.optimizer.zero_grad()  # otherwise the program would see to it that the gradients stay
            with restoring(run.model), no_grad():
                run.model.eval()
                for size, count in _sizes(len(held), EVALUATED):
                    for _ in range(2 if count else 0):
                        step(Tensor(held.features[-size:]), Tensor(held.labels[-size:]))
                    if count:
                        self._evaluating.append(self._batches(step, run, held, size, count))
            self._divisors = np.array(
                [divisor(run.loss, held.labels[start : start + EVALUATED]) for start in range(0, len(held), EVALUATED)]
            )
            if not all(each.driver.bound.only_computes for each in self._evaluating):
                raise ValueError("the model changes while it is evaluated")

    @staticmethod
    def _batches(step: CompiledStep, run: Run, data: Dataset, size: int, count: int) -> _Batches:
        bound = step.ready(size, 2)
        if bound is None:
            raise ValueError(step.problem or step.reason or f"a batch of {size} rows cannot be driven")
        driver = Driver(bound, [data.features, data.labels])
        if not driver.is_alone:
            raise ValueError("Python takes part in the steps")
        return _Batches(size, count, driver)

    def train(self, run: Run, epochs: int) -> None:
        """Train a run of the kind, which is at its beginning."""
        mine, generator = self._run, random.get_state()
        goal = epochs
        try:
            while True:
                self._take_over(run)
                random.set_state(generator)
                driven = self._drive(goal) if goal else 0
                if driven < goal:  # a step needs Python: take all epochs before it, and continue there
                    goal = driven
                    continue
                try:
                    self._account(goal)
                except DivergedError:
                    if mine.progress.epoch < goal:  # so that the parameters are those of the epoch that has diverged
                        goal = mine.progress.epoch
                        continue
                    raise
                break
            train_with(mine, epochs, self._stretches)
        finally:
            run.model.load_state_dict(mine.model.state_dict())
            run.loader.load_state_dict(mine.loader.state_dict())
            run.progress, run.stopping = mine.progress, mine.stopping

    def _take_over(self, run: Run) -> None:
        mine = self._run
        mine.model.load_state_dict(run.model.state_dict())
        mine.optimizer.restart(run.optimizer)
        for scheduler, theirs in zip(mine.schedulers, run.schedulers, strict=True):
            scheduler.load_state_dict(theirs.state_dict())
        mine.loader.load_state_dict(run.loader.state_dict())
        mine.progress, mine.stopping = Progress(), ""

    def _drive(self, epochs: int) -> int:
        """Take the steps of epochs, and evaluate after each, in one call; return how many epochs are complete."""
        run = self._run
        run.model.train()
        for each in self._training:  # so that the updates are ready, whose scalars come next
            each.driver.bound.begin()
            each.driver.bound.release()
        tables = self._scalars(epochs)
        epochs = len(tables[0])
        orders = self._orders.of(run.loader, epochs)
        self._taken = []
        row = step = 0
        for size, count, driver in self._training:
            order = np.ascontiguousarray(orders[:, row : row + count * size])
            scalars = [np.ascontiguousarray(table[:, step : step + count]) for table in tables]
            self._taken.append(driver.begin(order, epochs * count, scalars=scalars))
            driver.bound.release()
            row, step = row + count * size, step + count
        row = 0
        for size, count, driver in self._evaluating:
            order = np.tile(np.arange(row, row + count * size), epochs)
            self._taken.append(driver.begin(order, epochs * count))
            row += count * size
        counts = [each.number for each in (*self._training, *self._evaluating)]
        parts = [Part(s, e * n, (e + 1) * n) for e in range(epochs) for s, n in zip(self._taken, counts, strict=True)]
        done, _ = run_parts(parts)
        return done // len(counts)

    def _scalars(self, epochs: int) -> list[Array]:
        """For each update the scalars of all steps, by epoch and step; fewer epochs if options are switched then."""
        optimizer = self._run.optimizer
        schedulers = [each for each in self._run.schedulers if isinstance(each, Scheduler)]  # all, see `_is_plain`
        before = [scheduler.state_dict() for scheduler in schedulers]
        key = epochs, repr([group.scalars() for group in optimizer.param_groups]), repr(before)
        if key not in self._tables or optimizer.prepare().plan.carry:  # such rules keep numbers of the last step
            if len(self._tables) >= _MOST_TABLES:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = self._computed_scalars(epochs, schedulers)
            for scheduler, state in zip(schedulers, before, strict=True):
                scheduler.load_state_dict(state)
        return self._tables[key]

    def _computed_scalars(self, epochs: int, schedulers: Sequence[Scheduler]) -> list[Array]:
        optimizer, steps = self._run.optimizer, sum(each.number for each in self._training)
        effects = self._training[0].driver.bound.effects
        if not schedulers:
            return [
                e.layout.scalar_rows(epochs * steps).reshape(epochs, steps, *e.layout.scalars.shape) for e in effects
            ]
        found: list[list[Array]] = [[] for _ in effects]
        for epoch in range(epochs):
            for effect, rows in zip(effects, found, strict=True):
                rows.append(effect.update.scalars_ahead(epoch * steps, steps))
            optimizer.steps += steps  # a scheduler warns if there were none
            for scheduler in schedulers:
                scheduler.step()
            if any(group.restructured for group in optimizer.param_groups):
                break
        optimizer.steps = 0
        return [np.stack(rows) for rows in found]

    def _account(self, epochs: int) -> None:
        """Account for epochs whose steps were taken, as the loop does after each."""
        run, progress = self._run, self._run.progress
        if not epochs:
            return
        steps = sum(each.number for each in self._training)
        for effect in self._training[0].driver.bound.effects:
            effect.update.advance(effect.layout, epochs * steps)
        run.loader.load_state_dict({**run.loader.state_dict(), "epoch": epochs})
        number = len(self._training)
        losses, hits, rows = _by_epoch(self._training, self._taken[:number], epochs)
        sums = _totals(losses if adds_up(run.loss) else losses * rows)
        corrects = _totals(hits)
        held, held_hits, held_rows = _by_epoch(self._evaluating, self._taken[number:], epochs)
        held_sums, held_corrects = _totals(held if adds_up(run.loss) else held * self._divisors), _totals(held_hits)
        count = float(self._divisors.sum())

        def evaluation() -> Row:
            if not self._evaluating:
                return {}
            loss = held_sums[epoch] / count if count else math.nan
            means = {f"held_out_{name}": held_corrects[epoch] / held_rows.sum() for name in run.metrics}
            return {"held_out_loss": loss, **{name: float(mean) for name, mean in means.items()}}

        progress.first_loss = float(losses[0, 0])
        for epoch in range(epochs):
            progress.step += steps
            progress.loss = float(losses[epoch, -1])
            progress.rows, progress.loss_sum = int(rows.sum()), sums[epoch]
            progress.loss_count = float(progress.rows)
            progress.sums = dict.fromkeys(run.metrics, corrects[epoch])
            finish_epoch(run, evaluation)


def _sizes(rows: int, batch: int) -> list[tuple[int, int]]:
    """The batches of some rows: the full ones, and the rest, each as a size and how many there are."""
    return [(batch, rows // batch), (rows % batch, int(rows % batch > 0))]


def _measure(run: Run) -> Callable[..., Any]:
    """As `evaluate` measures a batch."""
    model, loss, counted = run.model, run.loss, bool(run.metrics)

    def measure(features: Tensor, labels: Tensor) -> Any:
        output = model(features)
        value = loss(output, labels)
        return (value, correct(output.data, labels.data)) if counted else (value,)

    return measure


def _by_epoch(batches: Sequence[_Batches], taken: Sequence[Stretch], epochs: int) -> tuple[Array, Array, Array]:
    """The losses and the numbers of correct rows, by epoch and batch, and the rows of each batch of an epoch."""
    logs = [[log.reshape(epochs, -1).astype(np.float64) for log in stretch.logs] for stretch in taken]
    nothing = np.zeros((epochs, 0))
    losses = np.concatenate([nothing, *(each[0] for each in logs)], axis=1)
    hits = np.concatenate([nothing, *(each[1] for each in logs if len(each) > 1)], axis=1)
    return losses, hits, np.repeat([each.rows for each in batches], [each.number for each in batches])


def _totals(values: Array) -> list[float]:
    """The sums of rows from left to right, as Python adds them."""
    begun = np.concatenate([np.zeros((len(values), 1)), values], axis=1)
    found: list[float] = np.add.accumulate(begun, axis=1)[:, -1].tolist()
    return found


class _Orders:
    """The orders of the rows in each epoch, kept for runs with the same seed; drawing them takes as long as a step."""

    def __init__(self) -> None:
        self._known: dict[Any, Array] = {}
        self._lock = threading.Lock()

    def of(self, loader: DataLoader, epochs: int) -> Array:
        """An order for each epoch."""
        key = repr(loader.state_dict()), epochs
        found = self._known.get(key)
        if found is None:
            found = np.stack([loader.order(epoch) for epoch in range(epochs)])
            with self._lock:
                while self._known and sum(order.nbytes for order in self._known.values()) > _MOST_BYTES:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = found
        return found
