"""Trains the runs of a sweep in this process, and says how each ended."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...recipes import catalog
from ...recipes.options import Arguments
from ...recipes.recipe import Problem, make_run, problem, tested
from ...training import EarlyStopping, NonFiniteLossError, StopIfDiverged
from ...training._blas import one_blas_thread
from ...training.run import Run
from .store import METRICS, Curve, Result, Store

if TYPE_CHECKING:
    from ...training._together import Trained

_FIRST_SEEDS = 2  # of a cell, before it is found hopeless


def problems() -> Callable[[Arguments], Problem]:
    """Return a function like `minigrad.recipes.recipe.problem` that makes each problem only once."""
    made: dict[tuple[Any, ...], Problem] = {}

    def get(arguments: Arguments) -> Problem:
        key = tuple(arguments.get(name) for name in ("data", "dtype", "loss", "validation"))
        if key not in made:
            made[key] = problem(arguments)
        return made[key]

    return get


def check(arguments: Sequence[Arguments]) -> None:
    """Make each run, so that wrong settings are found before anything is trained.

    Raises:
        ValueError, TypeError, OSError, minigrad.devices.cuda.DeviceError: as `make_run` does.
    """
    get = problems()
    for each in arguments:
        make_run(each, get(each))


def train_runs(arguments: Mapping[int, Arguments], threads: int) -> Iterator[tuple[int, Result]]:
    """Train runs in this process, and yield each result with its number as it comes.

    Args:
        arguments: all arguments of each run, by its number.
        threads: how many runs at a time.
    """
    from ...training._together import train_together  # loads Numba and LLVM, which an import of study does not need

    get = problems()
    with one_blas_thread():
        for epochs in dict.fromkeys(each["epochs"] for each in arguments.values()):  # usually one
            numbers = [number for number, each in arguments.items() if each["epochs"] == epochs]
            given = [arguments[number] for number in numbers]
            makes = [(_kind(each), functools.partial(_make, each, get(each))) for each in given]
            for found in train_together(makes, epochs, threads):
                yield numbers[found.number], _result(found, get(given[found.number]))


def _kind(arguments: Arguments) -> Hashable:
    """Return what runs have in common that share compiled code: all but the seed and the numbers of the optimizer."""
    hyper = catalog.hyper_parameters()

    def common(name: str, value: Any) -> Any:
        if name not in hyper or isinstance(value, str):
            return value
        return tuple(map(bool, value)) if isinstance(value, tuple) else bool(value)  # an option of 0 is switched off

    return repr(sorted((name, common(name, value)) for name, value in arguments.items() if name != "seed"))


def _make(arguments: Arguments, asked: Problem) -> Run:
    patience = arguments.get("patience")
    return make_run(arguments, asked, [StopIfDiverged(), *([EarlyStopping(patience)] if patience else [])])


def _result(found: Trained, asked: Problem) -> Result:
    """Return how a run ended, as a row of the table."""
    run, error = found.run, found.error
    if run is None:
        return Result("failed", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    progress, reason = run.progress, run.stopping
    curve: Curve = [
        {name.replace("held_out", "validation"): float(v) for name, v in row.items()} for row in progress.history
    ]
    last: dict[str, Any] = dict(curve[-1]) if curve else {}
    status, step = "finished", None
    if error is None and not math.isfinite(last.get("validation_loss", 0.0)):
        status, step = "diverged", progress.step
        reason = f"the validation loss is {last['validation_loss']} after the last step"
    elif error is not None:
        status, reason = "failed", f"{type(error).__name__}: {error}"
        if isinstance(error, FloatingPointError):
            status, reason = "diverged", str(error)
            step = error.step if isinstance(error, NonFiniteLossError) else progress.step
    return Result(
        status,
        progress.epoch,
        progress.step,
        step,
        **{name: last.get(name) for name in METRICS},
        **(tested(run, asked) if error is None else {}),
        seconds=round(found.seconds, 6),
        reason=" ".join(reason.split()),
        curve=curve,
    )


# --- hopeless cells --------------------------------------------------------------------------------------------------


def rounds(store: Store, numbers: Sequence[int], stop_hopeless: bool) -> Iterator[list[int]]:
    """Yield the runs in one part, or those of the first seeds and then those of cells that are not hopeless.

    A cell is hopeless if its better run of the first seeds is worse than the median of such runs of its optimizer. The
    other runs of hopeless cells get results with the status ``stopped``. Since all cells have made their first seeds
    by then, this does not depend on the order in which runs end.
    """
    if not stop_hopeless:
        yield list(numbers)
        return
    cells: dict[int, list[int]] = {}
    for number in numbers:
        cells.setdefault(store.runs[number][0], []).append(number)
    yield [number for runs in cells.values() for number in runs[:_FIRST_SEEDS]]
    losses: dict[str, dict[int, float]] = {}
    for cell, runs in cells.items():
        found = [_loss(store.results[number]) for number in runs[:_FIRST_SEEDS] if number in store.results]
        losses.setdefault(store.cells[cell]["optimizer"], {})[cell] = min(found, default=math.inf)
    for optimizer, of_cells in losses.items():
        median = sorted(of_cells.values())[(len(of_cells) - 1) // 2]
        reason = f"its validation loss is above the median of the cells of {optimizer}"
        for cell, loss in of_cells.items():
            if loss > median or math.isinf(loss):
                rest = [number for number in cells[cell][_FIRST_SEEDS:] if number not in store.results]
                store.add({number: Result("stopped", reason=reason) for number in rest})
    yield list(numbers)


def _loss(result: Result) -> float:
    loss = result.validation_loss
    return loss if result.status == "finished" and loss is not None else math.inf
