"""``minigrad train`` and ``minigrad resume``."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from typing import Any

from rich.console import Console

from .. import study, training
from ..devices.cuda import DeviceError
from ..files import clear_stale
from ..text import plural
from ..training import Run
from ..training._run_directory import CONFIG, REPORT, WITHOUT, RunDirectory
from ..training.logs import ShortFileError
from .display import Display, best_of, console
from .ending import FAILED, CommandError, EndNote, Stop, status_of, title, words
from .options import Arguments, complete
from .parser import arguments_of_run, with_file
from .prepare import callbacks, check_data, computed_on, introduce, new_directory, prepare, writing


def train(given: Arguments) -> int:
    """Train a new run."""
    arguments = complete(with_file(given))
    out = console(arguments["quiet"])
    run, asked = prepare(arguments, out)
    directory = None if arguments["no_output"] else new_directory(run, asked, arguments)
    introduce(run, asked, directory, out)
    with writing(directory, "minigrad train"):
        carry_on(run, directory, arguments, out)
    return 0


def resume(given: Arguments) -> int:
    """Continue the run in a folder."""
    try:
        directory = RunDirectory.open(given.pop("run"))
    except OSError as error:
        raise CommandError(f"minigrad resume: {words(error)}") from None
    with writing(directory, "minigrad resume"):  # before anything is read, so that nothing changes after it was read
        return _resume(directory, given)


def _resume(directory: RunDirectory, given: Arguments) -> int:
    path = directory.path
    try:
        config = directory.config()
        last, ending = directory.last_checkpoint(), directory.ending()
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad resume: {words(error)}") from None
    arguments = arguments_of_run(directory, config, given)
    out = console(arguments["quiet"])
    run, asked = prepare(arguments, out, "minigrad resume")
    check_data(config, asked, "minigrad resume")
    clear_stale(path)
    run.callbacks = callbacks(run, path, arguments)
    try:
        training.load_checkpoint(last, run)
    except (ValueError, OSError) as error:
        remedy = _way_out(directory, "it") if directory.surplus(last) is None else ""
        raise CommandError(f"minigrad resume: {words(error)}{remedy}") from None
    saved, done, epochs = config["arguments"], run.progress.epoch, arguments["epochs"]
    if given.get("epochs", math.inf) <= done < saved.get("epochs", 0):
        raise CommandError(
            f"minigrad resume: {path} is in epoch {done + 1} of {saved['epochs']}, which --epochs "
            f"{given['epochs']} would not let it finish; give {done + 1} or more, or leave it out"
        )
    changed = {name: given[name] for name in ("epochs", "device") if name in given and given[name] != saved.get(name)}
    if done > epochs:  # a run cannot go back to fewer epochs
        changed.pop("epochs", None)
    if changed:
        config = {**config, **computed_on(arguments["device"]), "arguments": {**saved, **changed}}
    if done >= epochs:
        text = f"{path} is complete after {plural(done, 'epoch')}; give --epochs for more"
        out.print(text, markup=False, soft_wrap=True)
        finished = ending is not None and ending.state == "finished" and directory.surplus(last) == 0
        if finished and directory.weights.exists() and directory.curves.exists():
            return 0
    else:
        if ending is None or ending.state != "finished":
            again = "; the same steps lead to the same end" if ending is not None and ending.state == "diverged" else ""
            out.print(f"{path}: {ending or WITHOUT}{again}", markup=False, soft_wrap=True)
        text = f"continuing with epoch {done + 1}, step {run.progress.step + 1} of {path}"
        out.print(text, markup=False, soft_wrap=True)
    carry_on(run, directory, arguments, out, config=config if changed else None)
    return 0


def carry_on(
    run: Run,
    directory: RunDirectory | None,
    arguments: Arguments,
    out: Console,
    *,
    show: bool = True,
    config: dict[str, Any] | None = None,
) -> float:
    """Train to the end, write the files of a finished run, and print a summary; return the seconds that training took.

    Args:
        run: at its beginning, or with a checkpoint loaded.
        directory: its folder; ``None`` if no file is written.
        arguments: of the run.
        out: where to print.
        show: whether to print a row per epoch and a summary.
        config: what ``config.json`` holds from when training begins, if it changes.

    Raises:
        CommandError: if training fails or a signal stops it.
    """
    if directory is None:
        patience = arguments.get("patience")
        run.callbacks = [training.StopIfDiverged(), *([training.EarlyStopping(patience)] if patience else [])]
    if show:
        run.callbacks.append(Display(out, arguments["epochs"]))
    started, before = time.perf_counter(), run.progress.epoch
    stop = Stop(run)
    try:
        with contextlib.nullcontext() if directory is None else EndNote(run, directory, stop, config):
            with stop:
                training.train(run, arguments["epochs"])
            seconds = time.perf_counter() - started
            if directory is not None:
                _finish(run, directory, picture=stop.number is None)
    except (FloatingPointError, OSError, MemoryError, DeviceError) as error:
        raise CommandError(f"minigrad: {words(error)}{_remedy(error, directory)}", FAILED) from None
    except ValueError as error:  # a log that another process writes, or that is shorter than it was
        lost = directory is not None and isinstance(error, ShortFileError)
        remedy = _way_out(directory, str(directory.last_checkpoint())) if directory is not None and lost else ""
        raise CommandError(f"minigrad: {words(error)}{remedy}") from None
    except KeyboardInterrupt as error:
        raise CommandError(_interrupted(getattr(error, "number", None), "", directory), status_of(error)) from None
    if stop.number is not None:
        after = f" after step {run.progress.step}"
        raise CommandError(_interrupted(stop.number, after, directory), 128 + stop.number)
    if show:
        _summarize(run, run.progress.epoch - before, seconds, directory, out)
    return seconds


def _finish(run: Run, directory: RunDirectory, picture: bool) -> None:
    """Write the weights and, if there is time for it, the picture."""
    training.save_weights(directory.weights, run.model)
    if picture and run.progress.history:
        study.plots.metrics(run.progress.history, path=directory.curves)


def _summarize(run: Run, epochs: int, seconds: float, directory: RunDirectory | None, out: Console) -> None:
    """Print the results of the run, the time taken and the paths of its files; ``epochs`` were trained just now."""
    if run.stopping:
        out.print(f"stopped: {run.stopping}", markup=False, soft_wrap=True)
    if run.progress.history:
        took = f"; {plural(epochs, 'epoch')} in {seconds:.1f} s" if epochs else ""
        whole = f", {run.progress.epoch} in all" if epochs and epochs < run.progress.epoch else ""
        out.print(f"{best_of(run)}{took}{whole}", soft_wrap=True)
    if run.compiled and run.eager:
        out.print(f"steps were not compiled: {run.eager}", markup=False, soft_wrap=True)
    for each in run.callbacks:
        if isinstance(each, study.Recorder):
            out.print(f"recording: {each.cost.describe(each.interval, '--record ')}", soft_wrap=True)
    if directory is None:
        return
    written = ", ".join(name for name in directory.files() if name != REPORT)
    out.print(f"wrote {directory.path}: {written}", markup=False, soft_wrap=True)
    if directory.report.exists() or directory.record.exists():
        when = f"{REPORT} is older than this; to update it: " if directory.report.exists() else "for an HTML page: "
        out.print(f"{when}minigrad report {_quoted(directory)}", markup=False, soft_wrap=True)


def _quoted(directory: RunDirectory) -> str:
    return shlex.quote(str(directory.path))


def _interrupted(number: int | None, after: str, directory: RunDirectory | None) -> str:
    """The message after a signal, with the command to continue."""
    by = "" if title(number) == "Ctrl-C" else f" by {title(number)}"
    again = f"; continue with: minigrad resume {_quoted(directory)}" if directory is not None else ""
    return f"interrupted{by}{after}{again}"


def _way_out(directory: RunDirectory, it: str) -> str:
    """How to continue a run whose last checkpoint, which is called ``it``, is refused, and what that costs."""
    older = next((path for path in reversed(directory.restorable()[:-1]) if directory.surplus(path) is not None), None)
    if older is None:
        config = shlex.quote(str(directory.path / CONFIG))
        return f"; no older checkpoint fits; train the run again with: minigrad train --config {config}"
    return f"; the steps since {older.name} can be trained again bit for bit; delete {it} to continue from {older.name}"


def _remedy(error: Exception, directory: RunDirectory | None) -> str:
    """The remedies for a training that failed, with its last good checkpoint."""
    advice = "; try a smaller --lr" if isinstance(error, FloatingPointError) else ""
    if directory is None:
        return advice
    try:
        return f"{advice}; the last good checkpoint is {directory.last_checkpoint()}"
    except OSError:
        return advice
