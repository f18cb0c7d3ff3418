"""``minigrad sweep``: many settings and seeds, with what can be concluded from them."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import study
from ..devices.cuda import DeviceError
from ..study import plots
from ..study.sweeps.executors import Connection, connected
from ..study.sweeps.store import CURVES, RUNS, STATUSES, SWEEP, Result, Store
from ..text import plural, rich_table, table
from .display import console
from .ending import FAILED, CommandError, status_of, words
from .options import Arguments
from .parser import with_file

COMMAND = "minigrad sweep"
_REDRAW, _REPRINT = 0.1, 10.0  # seconds between two updates of the line of a terminal, and of a file


def sweep(given: Arguments) -> int:
    """Make the runs that are not done yet, and show what can be concluded from all of them."""
    given = with_file(given, "sweep")
    names, out = given.pop("names"), console(given.pop("quiet", False))
    settings = {name: _flat(value) for name, value in given.items()}
    with connection(settings.pop("executor", None), COMMAND) as connected_to:
        folder = Path(names[0]) if names and Path(names[0], SWEEP).exists() else None
        if folder is not None:
            names = names[1:]
            if names:  # these have the same other options
                try:
                    settings = {**Store.read(folder).base, **settings}
                except (ValueError, OSError) as error:
                    raise CommandError(f"{COMMAND}: {words(error)}") from None
            settings = {name: each for name, each in settings.items() if name not in ("output", "name", "no_output")}
        elif not names:
            raise CommandError(f"{COMMAND}: name the optimizers, such as SGD Adam, or the folder of a sweep")
        else:
            refuse_folders(names, COMMAND)
            folder = new_folder(settings, "sweep", COMMAND)
        found = run_sweep(names or None, folder, connected_to, out, COMMAND, settings)
    _show(found, console(False))
    return 0


def _flat(value: Any) -> Any:
    """Return the values of an option that was given more than once as one list."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return [each for axis in value for each in axis] if value and _is_axes(value) else value


def _is_axes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(axis, list) for axis in value)


def refuse_folders(names: list[str], command: str) -> None:
    """Raise CommandError for a path among the names of optimizers."""
    for name in names:
        if "/" in name.partition(":")[0]:
            raise CommandError(f"{command}: {name}: is not the folder of a sweep: it has no {SWEEP}")


@contextlib.contextmanager
def connection(executor: str | None, command: str) -> Iterator[Connection | None]:
    """Connect to an executor.

    Raises:
        CommandError: if it cannot be reached.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(connected(executor))
        except (ValueError, OSError) as error:
            raise CommandError(f"{command}: {words(error)}") from None
        yield found


def new_folder(settings: Arguments, name: str, command: str) -> Path | None:
    """Take the options that name a folder out of ``settings``, and return a new one with the next free number."""
    output, name = Path(settings.pop("output", "runs")), settings.pop("name", name)
    if settings.pop("no_output", False):
        return None
    number = 1
    try:
        while True:
            folder = output / f"{name}-{number}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise CommandError(f"{command}: {words(error)}") from None


def run_sweep(
    names: list[str] | None,
    folder: Path | None,
    connected_to: Connection | None,
    out: Console,
    command: str,
    settings: Arguments,
) -> study.Sweep:
    """Run a sweep with a progress line; ``settings`` are the options of `minigrad.study.sweep`.

    Raises:
        CommandError: for wrong settings, if the folder cannot be written, or after a signal.
    """
    line = _Line(out, folder)
    try:
        with line:
            return study.sweep(names, folder=folder, executor=connected_to, progress=line.update, **settings)
    except (ValueError, TypeError, DeviceError) as error:
        _remove_if_empty(folder)
        raise CommandError(f"{command}: {words(error)}") from None
    except (OSError, MemoryError, RuntimeError) as error:  # the last one of an executor
        _remove_if_empty(folder)
        raise CommandError(f"{command}: {words(error)}{_stored(folder)}", FAILED) from None
    except KeyboardInterrupt as error:
        _remove_if_empty(folder)
        raise CommandError(f"interrupted{_stored(folder)}", status_of(error)) from None


def _remove_if_empty(folder: Path | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            folder.rmdir()


class _Line:
    """A context with the progress of a sweep: a line that is redrawn on a terminal, or a line now and then."""

    def __init__(self, out: Console, folder: Path | None) -> None:
        self._out, self._folder = out, folder
        self._first = self._diverged = 0
        self._progress = Progress(
            TextColumn("{task.completed:,}/{task.total:,} runs"),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.1f} runs/s,"),
            TimeRemainingColumn(),
            TextColumn("left{task.fields[diverged]}"),
            console=out,
            transient=True,
            auto_refresh=False,
        )

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *error: object) -> None:
        if self._out.is_terminal:
            self._progress.stop()

    def update(self, done: int, asked: int, result: Result | None) -> None:
        """Show that ``done`` of ``asked`` runs are done."""
        now = time.perf_counter()
        self._diverged += result is not None and result.status == "diverged"
        if not self._progress.tasks:
            self._first, self._started, self._shown = done, now, now
            ready = f", {done:,} of them done before" if done else ""
            where = "" if self._folder is None else f"; writing {self._folder}"
            self._out.print(f"{plural(asked, 'run')}{ready}{where}", markup=False, soft_wrap=True)
            self._progress.add_task("", total=asked, completed=done, rate=0, diverged="")
            if self._out.is_terminal:
                self._progress.start()
        if now - self._shown < (_REDRAW if self._out.is_terminal else _REPRINT):
            return
        self._shown = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        diverged = f"; {self._diverged:,} diverged" if self._diverged else ""
        if self._out.is_terminal:
            task = self._progress.task_ids[0]
            self._progress.update(task, completed=done, rate=rate, diverged=diverged, refresh=True)
        else:
            left = (asked - done) / rate if rate else 0.0
            self._out.print(f"{done:,} of {asked:,} runs, {rate:.1f} runs/s, {left:.0f} s left{diverged}")


def _stored(folder: Path | None) -> str:
    """How many runs are stored, and the command that continues; empty if nothing is."""
    if folder is None or not (folder / SWEEP).exists():
        return ""
    store = Store.read(folder)
    done = f"{len(store.results):,} of {plural(len(store.runs), 'run')} are done and stored"
    return f"; {done}; continue with: {COMMAND} {shlex.quote(str(folder))}"


# --- results ---------------------------------------------------------------------------------------------------------


def print_table(rows: Sequence[Sequence[str]], out: Console) -> None:
    """Print rows of cells, titles first."""
    if out.is_terminal:
        out.print(rich_table(rows, "<<>"))
        return
    for line in table(rows, "<<>"):
        out.print(line, markup=False, soft_wrap=True)


def _show(found: study.Sweep, out: Console) -> None:
    """Print what can be concluded, and the command that makes a run of the best setting again, and draw a picture."""
    rows, results = found.table, found.results
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    ended = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    out.print(f"{plural(len(rows), 'run')}: {ended}", markup=False, soft_wrap=True)
    swept = False
    for name, problem in results.problems().items():
        if name:
            out.print(f"{name}:", markup=False)
        selected = problem.selected()
        swept = swept or any(each.swept for each in selected)
        print_table(problem.overview(selected), out)
        ends = [
            f"the best {each.swept} of {each.label} is at the end of its range" for each in selected if each.at_edge
        ]
        for line in [*problem.verdicts(selected), *ends]:
            out.print(line, markup=False, soft_wrap=True)
    reasons = {row["reason"] for row in rows if row["status"] == "failed"}
    lines = [f"failed: {reason}" for reason in sorted(reasons)]
    if found.folder is not None:
        picture = "sensitivity.png" if swept else "curves.png"
        try:
            (plots.sensitivity if swept else plots.learning_curves)(found, path=found.folder / picture)
        except OSError as error:
            raise CommandError(f"{COMMAND}: {words(error)}", FAILED) from None
        lines.append(f"wrote {found.folder}: {', '.join([SWEEP, RUNS, CURVES, picture])}")
        lines.append(f"for an HTML page: minigrad report {shlex.quote(str(found.folder))}")
    with contextlib.suppress(ValueError):  # no run has finished
        again = shlex.join([*found.command(found.best()["run"]), "--record"])
        lines.append(f"a run of the best setting again, as a run directory: {again}")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)
