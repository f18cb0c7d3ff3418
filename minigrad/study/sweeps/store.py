"""The folder of a sweep: ``sweep.json`` with what was asked, ``runs.csv`` with a row per run, and ``curves.csv``."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from ...checks import shown
from ...files import Format, clear_stale, locked, named, read_bounded, write_atomically
from ...recipes.options import Arguments, as_text, complete
from .grid import PLUS, Cell

SWEEP, RUNS, CURVES = "sweep.json", "runs.csv", "curves.csv"
_FORMAT = Format("minigrad sweep", "a sweep")
_LIMIT = 1 << 30  # bytes of a file
STATUSES = ("finished", "diverged", "stopped", "failed")
FIRST = ("optimizer", "lr")  # the settings that every table has

METRICS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
Curve = list[dict[str, float]]  # a row per epoch, with the `METRICS` of the problem


@dataclass(frozen=True)
class Result:
    """How a run ended: the columns of ``runs.csv`` after the settings and the seed, and its curve.

    Attributes:
        status: one of `STATUSES`.
        epochs, steps: how many of them were complete.
        step_diverged: the step whose loss was not finite, or after which it was far too large.
        train_loss, train_accuracy, validation_loss, validation_accuracy: of the last complete epoch.
        test_loss, test_accuracy: after the last epoch.
        seconds: the time that the run took, on a thread of its own.
        reason: why it did not finish.
        curve: the metrics of each epoch.
    """

    status: str
    epochs: int = 0
    steps: int = 0
    step_diverged: int | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float = 0.0
    reason: str = ""
    curve: Curve = field(default_factory=list)


_COUNTS = {"epochs", "steps", "step_diverged"}
_COLUMNS = tuple(each.name for each in fields(Result) if each.name != "curve")


class Store:
    """What a sweep was asked to run, and the results so far; in a folder, or only in memory without one.

    Attributes:
        folder: the folder, or ``None``.
        base: the arguments that all runs share, as given.
        settings: the names of the columns that vary.
        cells: the different settings, complete: a value, or ``None``, for each of `settings`.
        runs: the number of the cell and the seed of each run, in the order in which they were first asked for.
        results: the finished runs by their number.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.base: Arguments = {}
        self.settings: list[str] = list(FIRST)
        self.cells: list[Cell] = []
        self.runs: list[tuple[int, int]] = []
        self.results: dict[int, Result] = {}

    # --- what is asked -----------------------------------------------------------------------------------------------

    def arguments(self, number: int) -> Arguments:
        """Return all arguments of a run, as ``minigrad train`` has them."""
        cell, seed = self.runs[number]
        return arguments_of(self.base, self.cells[cell], seed)

    def ask(self, base: Arguments, cells: Sequence[Cell], seeds: Sequence[int]) -> list[int]:
        """Add runs, unless they were asked for before; return the numbers of all these runs.

        Raises:
            ValueError: if the shared arguments differ from those of the runs that are there.
        """
        settings = list(dict.fromkeys([*self.settings, *(name for cell in cells for name in cell)]))
        if self.runs:
            _check_base(self.folder, self.base, base, settings)
        self.cells = [_filled(self.base, cell, settings) for cell in self.cells]
        self.settings = settings
        self.base = {name: value for name, value in base.items() if name not in settings}
        places = {repr(cell): place for place, cell in enumerate(self.cells)}
        numbers = {run: number for number, run in enumerate(self.runs)}
        asked = []
        for cell in cells:
            filled = _filled(base, cell, settings)
            place = places.setdefault(repr(filled), len(places))
            if place == len(self.cells):
                self.cells.append(filled)
            for seed in seeds:
                asked.append(numbers.setdefault((place, seed), len(numbers)))
                if asked[-1] == len(self.runs):
                    self.runs.append((place, seed))
        return list(dict.fromkeys(asked))

    def numbers(self, base: Arguments, cells: Iterable[Cell]) -> list[int]:
        """Return the runs with some settings, of those that were asked for."""
        wanted = {repr(_filled(base, cell, self.settings)) for cell in cells}
        return [number for number, (cell, _) in enumerate(self.runs) if repr(self.cells[cell]) in wanted]

    def row(self, number: int) -> dict[str, Any]:
        """Return a row of the table; a value that does not apply is ``None``."""
        cell, seed = self.runs[number]
        result = self.results[number]
        return {
            "run": number,
            **{name: self.cells[cell][name] for name in self.settings},
            "seed": seed,
            **{name: getattr(result, name) for name in _COLUMNS},
        }

    # --- files -------------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the sweep in a folder; runs whose rows are not complete, as after a kill, are left out.

        Raises:
            FileNotFoundError: if the folder does not hold a sweep.
            ValueError: naming the file that is damaged.
        """
        path = Path(folder, SWEEP)
        if not path.exists():
            raise FileNotFoundError(f"{folder}: is not the folder of a sweep: it has no {SWEEP}")
        values = _FORMAT.read(path, _LIMIT)
        try:
            store = cls(folder)
            store.base = {name: _thawed(value) for name, value in values["arguments"].items()}
            store.settings = [str(name) for name in values["settings"]]
            store.cells = [dict(zip(store.settings, map(_thawed, each), strict=True)) for each in values["cells"]]
            store.runs = [(int(cell), int(seed)) for cell, seed in values["runs"]]
            for number in range(len(store.runs)):
                store.cells[store.runs[number][0]]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(f"{path}: is damaged: {error}") from None
        store.results = _results(Path(folder), len(store.runs))
        return store

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: str | os.PathLike[str] | None) -> Iterator[Self]:
        """Yield the sweep in a folder, or a new one; inside the block no other process may write it.

        Raises:
            ValueError: if another process is writing it, or the folder holds something else.
            OSError: if it cannot be written.
        """
        if folder is None:
            yield cls()
            return
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise named(error, path) from error
        with locked(path, "sweep"):
            clear_stale(path)
            if not (path / SWEEP).exists() and any(path.iterdir()):
                raise ValueError(f"{path}: holds other files; name a new folder, or the folder of a sweep")
            yield cls.read(path) if (path / SWEEP).exists() else cls(path)

    def save(self) -> None:
        """Write what is asked, and the results in the order of the runs.

        Raises:
            OSError: naming the file; files from before stay.
        """
        if self.folder is None:
            return
        cells = [[cell[name] for name in self.settings] for cell in self.cells]
        _FORMAT.write(
            self.folder / SWEEP,
            {"arguments": self.base, "settings": self.settings, "cells": cells, "runs": self.runs},
        )
        numbers = sorted(self.results)
        for name, text in ((CURVES, self._curves(numbers)), (RUNS, self._rows(numbers))):
            self._replace(name, self._titles(name) + text)

    def _replace(self, name: str, text: str) -> None:
        assert self.folder is not None
        path, data = self.folder / name, text.encode()
        if not path.exists() or path.stat().st_size != len(data) or path.read_bytes() != data:
            write_atomically(path, data)

    def add(self, results: Mapping[int, Result]) -> None:
        """Store results: first the curves, and then, by one write, the rows that make these runs count.

        Raises:
            OSError: naming the file; the results are not stored, and the files are as before.
        """
        self.results |= results
        if self.folder is None:
            return
        try:
            _append(self.folder / CURVES, self._curves(results))
            _append(self.folder / RUNS, self._rows(results))
        except OSError:
            for number in results:
                del self.results[number]
            raise

    def _titles(self, name: str) -> str:
        names = ["run", *self.settings, "seed", *_COLUMNS] if name == RUNS else ["run", "epoch", *METRICS]
        return ",".join(names) + "\n"

    def _rows(self, numbers: Iterable[int]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for number in numbers:
            writer.writerow(_text(name, value) for name, value in self.row(number).items())
        return text.getvalue()

    def _curves(self, numbers: Iterable[int]) -> str:
        lines = []
        for number in numbers:
            for epoch, row in enumerate(self.results[number].curve, 1):
                lines.append(f"{number},{epoch},{','.join(_text(name, row.get(name)) for name in METRICS)}\n")
        return "".join(lines)


def arguments_of(base: Arguments, cell: Cell, seed: int) -> Arguments:
    """Return all arguments of a run."""
    merged = {name: value for name, value in {**base, **cell, "seed": seed}.items() if value is not None}
    if "clip" in merged:
        merged["clip"] = merged["clip"].split(PLUS)
    return complete(merged)


def _filled(base: Arguments, cell: Cell, settings: Iterable[str]) -> Cell:
    """Return a cell with the value that its runs have for each setting."""
    values = arguments_of(base, cell, 0)
    if "clip" in values:
        values["clip"] = PLUS.join(values["clip"])
    return {name: values.get(name) for name in settings}


def _check_base(folder: Path | None, old: Arguments, new: Arguments, settings: Iterable[str]) -> None:
    """Raise ValueError if an argument that is not among the settings differs."""
    before, now = complete(old), complete(new)
    for name in sorted({*before, *now} - {"seed", "eager", *settings}):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{folder}: holds a sweep with {name} {shown(before.get(name))}, not {shown(now.get(name))}; choose "
                "another folder, or the same options"
            )


def _thawed(value: Any) -> Any:
    """Return a value of a JSON document, with tuples in place of lists of numbers."""
    return tuple(value) if isinstance(value, list) and not any(isinstance(each, str) for each in value) else value


# --- tables of text --------------------------------------------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, int | float) else as_text(name, value) if value != "" else ""


def _append(path: Path, text: str) -> None:
    """Append whole lines; if the disk is full, remove what was written of them."""
    try:
        with path.open("ab", buffering=0) as file:
            length = os.fstat(file.fileno()).st_size
            data = text.encode()
            try:
                if file.write(data) != len(data):
                    raise OSError(28, "No space left on device")
            except OSError:
                file.truncate(length)
                raise
    except OSError as error:
        raise named(error, path) from error


def _lines(path: Path) -> list[list[str]]:
    """Return the rows of a table without the titles; an incomplete last line is left out."""
    if not path.exists():
        return []
    text = read_bounded(path, _LIMIT).decode(errors="replace")
    whole = text[: text.rfind("\n") + 1]
    return list(csv.reader(io.StringIO(whole)))


def _results(folder: Path, count: int) -> dict[int, Result]:
    """Return the results in a folder whose curves are complete."""
    curves: dict[int, Curve] = {}
    for line in _lines(folder / CURVES)[1:]:
        with contextlib.suppress(ValueError):
            run, epoch, *values = line
            row = {name: float(value) for name, value in zip(METRICS, values, strict=True) if value}
            curve = curves.setdefault(int(run), [])
            if int(epoch) == 1:  # a run that was killed between its curve and its row, and made again
                curve.clear()
            if int(epoch) == len(curve) + 1:
                curve.append(row)
    lines = _lines(folder / RUNS)
    found: dict[int, Result] = {}
    for line in lines[1:]:
        try:
            texts = dict(zip(lines[0], line, strict=True))
            number = int(texts["run"])
            result = replace(_result(texts), curve=curves.get(number, []))
        except (ValueError, KeyError):
            continue  # a torn line in the middle, as after a power failure
        if number < count and len(result.curve) == result.epochs:
            found[number] = result
    return found


def _result(values: Mapping[str, str]) -> Result:
    read: dict[str, Any] = {}
    for name in _COLUMNS:
        text = values[name]
        if name in ("status", "reason"):
            read[name] = text
        elif text:
            read[name] = int(text) if name in _COUNTS else float(text)
    if read["status"] not in STATUSES:
        raise ValueError
    return Result(**read)
