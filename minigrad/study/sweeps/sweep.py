"""`sweep`: train with many settings and seeds; `Sweep`: the results, and what they mean."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checks import whole
from ...random import manual_seed, own_generator
from ...recipes import catalog
from ...recipes.options import OPTIMIZER, OPTIONS, Arguments, as_words
from ...recipes.recipe import make_model
from ...training.evaluation import evaluate
from . import engine
from .executors import Connection, connected, results
from .grid import Axis, Range, cells_of, make_cells, read_axis, read_optimizer
from .results import Results
from .store import Result, Store

VALIDATION = 0.2  # the fraction of the training rows on which a sweep selects, if not given
SEEDS = 5

Row = dict[str, Any]
# Called with the number of runs that are done, the number of all, and a new result.
Progress = Callable[[int, int, Result | None], None]


class Sweep:
    """The results of a sweep.

    Attributes:
        folder: its folder; ``None`` if it was not stored.
        settings: the names of the options that vary, the first columns of the table.
        asked: how many runs were asked for; fewer may be done.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder, self.settings, self.asked = store.folder, list(store.settings), len(store.runs)
        self._numbers = sorted(store.results)
        self._problems = engine.problems()
        self._initial: dict[tuple[Any, ...], float] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._store,)  # without what is computed from it

    @property
    def table(self) -> list[Row]:
        """A row for each run that is done, in the order of ``runs.csv``; a value that does not apply is ``None``."""
        return [self._store.row(number) for number in self._numbers]

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of the table: numbers, with NaN where there is none, or objects."""
        values = [row[name] for row in self.table]
        if any(isinstance(value, str | tuple | bool) for value in values):
            return np.array([*values, None], dtype=object)[:-1]
        return np.array([np.nan if value is None else value for value in values])

    def curve(self, run: int) -> list[dict[str, float]]:
        """Return the metrics of each epoch of a run, given by its number, as in ``curves.csv``."""
        return [dict(row) for row in self._store.results[run].curve]

    def arguments(self, run: int) -> Arguments:
        """Return all arguments of a run, given by its number."""
        return self._store.arguments(run)

    def runs_of(self, optimizer: str, **settings: Any) -> list[int]:
        """Return the numbers of the runs of an optimizer with its own settings, and the settings of a call of `sweep`.

        >>> found = study.sweep(["SGD", "Adam:lr=0.01"], lr=[0.1, 0.2], seeds=2, data="moons", epochs=1)
        >>> found.runs_of("Adam:lr=0.01", data="moons", epochs=1)
        [4, 5]
        """
        base, axes = read_settings([optimizer], settings)
        return self._store.numbers(base, cells_of(optimizer, axes))

    def command(self, run: int) -> list[str]:
        """Return the words of the command that makes a run again, as a run directory."""
        words = as_words({name: value for name, value in self.arguments(run).items() if _is_needed(name, value)})
        return ["minigrad", "train", *words]

    @functools.cached_property
    def results(self) -> Results:
        """The runs grouped by what is compared, and what the statistics say about them."""
        if self._store.base.get("validation"):
            return Results(self.settings, self.table, self.curve, self._initial_loss)
        table = [named_held_out(row) for row in self.table]
        return Results(self.settings, table, lambda run: list(map(named_held_out, self.curve(run))), self._initial_loss)

    def best(self, metric: str = "") -> Row:
        """Return a run of the best cell, the one with its first seed, such as to make it again by its `command`.

        Args:
            metric: whose median over seeds is best; by default the validation accuracy, or else the loss.

        Raises:
            ValueError: for an unknown metric, or if no run has finished.
        """
        cell = self.results.selected(metric)[0].cell if self.table else None
        finished = [] if cell is None else [row for row in cell.runs.values() if row["status"] == "finished"]
        if not finished:
            raise ValueError("best: no run of the sweep has finished")
        return dict(min(finished, key=lambda row: int(row["seed"])))

    def _initial_loss(self, run: int, part: str) -> float:
        """Return the loss of a run on the rows of ``part`` before training, which no result of a run has."""
        arguments = self.arguments(run)
        key = tuple(arguments.get(name) for name in ("data", "dtype", "loss", "model", "seed", "validation"))
        if (*key, part) not in self._initial:
            asked = self._problems(arguments)
            rows = {"train": asked.train, "test": asked.test or asked.held_out}.get(part, asked.held_out)
            with own_generator():
                manual_seed(arguments["seed"])
                self._initial[*key, part] = evaluate(make_model(arguments, asked), rows, asked.loss)["loss"]
        return self._initial[*key, part]

    def __repr__(self) -> str:
        where = "" if self.folder is None else f" in {self.folder}"
        return f"Sweep of {', '.join(self.settings)}: {len(self._numbers)} of {self.asked} runs done{where}"


def _is_needed(name: str, value: Any) -> bool:
    option = OPTIONS[name]
    return value != option.default or option in OPTIMIZER


def named_held_out(row: Mapping[str, Any]) -> Row:
    """Return a row without validation, whose rows were the held-out ones, with this name."""
    return {name.replace("validation", "held_out"): value for name, value in row.items()}


def load_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """Return the sweep in a folder, also one that is still running.

    Raises:
        FileNotFoundError: if the folder does not hold a sweep.
        ValueError: naming the file that is damaged.
    """
    return Sweep(Store.read(folder))


def sweep(
    optimizers: str | Iterable[str] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    folder: str | os.PathLike[str] | None = None,
    random: int | None = None,
    stop_hopeless: bool = False,
    threads: int | None = None,
    executor: Executor | Connection | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Sweep:
    """Train with all combinations of settings and seeds, each bit for bit as ``minigrad train`` does.

    Args:
        optimizers: names, such as ``"Adam"``, with their own settings where needed: ``"Adam:lr=1e-4..0.1:7"``. By
            default SGD, or those that the folder holds, with the same settings.
        seeds: how many, counted from 0, or which; by default 5, or those that the folder holds.
        folder: where to store the results as they come; a sweep that is there is continued, and extended by other
            settings and seeds. Without it they are only returned.
        random: draw this many cells for each optimizer at random instead of taking all combinations.
        stop_hopeless: after the first two seeds, leave out the other seeds of cells whose validation loss is above the
            median of their optimizer; they are marked ``stopped``.
        threads: how many runs at a time in this process; by default one per core.
        executor: where to run instead, in batches: any `concurrent.futures.Executor`, or a text such as
            ``"processes"``, ``"processes:4"``, ``"dask:tcp://localhost:8786"`` or ``"mpi"``.
        progress: called with the number of runs that are done, the number of all, and each new result.
        settings: the options of ``minigrad train`` by name. A list has several values, as do a text with commas and a
            range: ``"1e-4..1:9"`` is nine numbers on a logarithmic scale, ``"0.1..0.9:5:linear"`` five. With ``random``
            a range needs no count. ``validation`` is 0.2 if not given.

    Raises:
        ValueError, TypeError: for wrong settings, before anything is trained.
        OSError: if the folder cannot be written; what was done before is stored.
        RuntimeError: if the executor runs nothing, or is lost and cannot be replaced.

    >>> found = study.sweep(["SGD", "Adam"], lr="0.01..0.1:2", seeds=2, data="moons", epochs=2)
    >>> len(found.table), found.settings
    (8, ['optimizer', 'lr'])
    """
    random = None if random is None else whole("sweep", "random", random)
    chosen = None if seeds is None else _seeds(seeds)
    with connected(executor) as connection, Store.open(folder) as store:
        numbers: list[int] = []
        if optimizers is None and store.runs:
            settings = {**store.base, **settings}
            names = list(dict.fromkeys(cell["optimizer"] for cell in store.cells))
            base, axes = read_settings(names, settings)
            cells = make_cells(names, axes, random) if axes else store.cells
            numbers = [] if axes else list(range(len(store.runs)))
        else:
            names = [optimizers or "SGD"] if isinstance(optimizers, str | None) else list(optimizers)
            base, axes = read_settings(names, settings)
            cells = make_cells(names, axes, random)
        if chosen is None:
            chosen = sorted({seed for _, seed in store.runs}) or list(range(SEEDS))
            chosen = [] if numbers else chosen
        numbers = list(dict.fromkeys([*numbers, *store.ask(base, cells, chosen)]))
        first = {store.runs[number][0]: number for number in reversed(numbers)}  # of each cell
        engine.check([store.arguments(number) for number in first.values()])
        _run(store, numbers, stop_hopeless, threads, connection, progress)
        return Sweep(store)


def read_settings(optimizers: Sequence[str], settings: Mapping[str, Any]) -> tuple[Arguments, dict[str, Axis]]:
    """Return the settings that all runs share, and the axes of the others."""
    base: Arguments = {"validation": VALIDATION}
    axes: dict[str, Axis] = {}
    names = [read_optimizer(each)[0] for each in optimizers]
    hyper = catalog.hyper_parameters()
    for name, given in settings.items():
        plain = name.replace("-", "_")
        if plain == "validation":
            base[plain] = OPTIONS[plain].read(str(given))
            continue
        axis = read_axis(name, given)
        shared = plain not in hyper or all(plain in catalog.optimizer_arguments(each) for each in names)
        if isinstance(axis, Range) or len(axis) > 1 or not shared:
            axes[plain] = axis
        else:
            base[plain] = axis[0]
    return {name: value for name, value in base.items() if value is not None}, axes


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    if isinstance(seeds, int):
        return list(range(whole("sweep", "seeds", seeds)))
    found = list(dict.fromkeys(whole("sweep", "seeds", seed, least=0) for seed in seeds))
    if not found:
        raise ValueError("sweep: seeds must have at least one seed")
    return found


def _run(
    store: Store,
    numbers: Sequence[int],
    stop_hopeless: bool,
    threads: int | None,
    connection: Connection | None,
    progress: Progress | None,
) -> None:
    """Make the runs that have no result yet, and store each as it comes; failed ones are tried again."""
    again = ("failed",) if stop_hopeless else ("failed", "stopped")
    store.results = {number: each for number, each in store.results.items() if each.status not in again}
    store.save()

    def report(done: int, result: Result | None = None) -> None:
        if progress is not None:
            progress(done, len(numbers), result)

    try:
        for part in engine.rounds(store, numbers, stop_hopeless):
            done = sum(number in store.results for number in numbers)
            wanted = {number: store.arguments(number) for number in part if number not in store.results}
            report(done)
            for found in results(wanted, threads, connection):
                store.add(found)
                for result in found.values():
                    done += 1
                    report(done, result)
    finally:
        store.save()
