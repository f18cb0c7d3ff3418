"""``minigrad compare``: several optimizers, or existing runs, on one problem."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import training
from ..checks import spelled, unknown
from ..devices.arrays import to_host
from ..files import write_atomically
from ..recipes import catalog
from ..recipes.calls import parse_call
from ..recipes.options import as_words
from ..study import plots
from ..text import metric_text, metric_title, rich_table, table
from ..training import Run
from ..training._run_directory import CONFIG, RunDirectory
from ..training.checkpoint import size_limit
from ..training.evaluation import best_of
from ..training.progress import Row
from .display import console
from .ending import FAILED, CommandError, status_of, words
from .options import OPTIONS, Arguments, complete
from .parser import arguments_of_run, with_file
from .prepare import check_data, describe_optimizer, new_directory, prepare, writing
from .train import carry_on

# What runs must have in common to be compared: the initial parameters and the batches follow from these.
_SHARED = ("data", "model", "loss", "dtype", "seed", "batch_size", "accumulate", "epochs")


@dataclass
class Entry:
    """One line of the comparison."""

    label: str
    optimizer: str
    history: list[Row]
    monitor: str
    direction: str
    seconds: float | None
    initial: str


def compare(given: Arguments) -> int:
    """Train with each optimizer, or read each run, and show a table and a picture."""
    names, given = given["names"], with_file({name: value for name, value in given.items() if name != "names"})
    arguments = complete(given)
    out = console(arguments["quiet"])
    labels = {name: Path(name).name if _is_run(name) else name for name in names}
    if len(labels) != len(names):
        raise CommandError("minigrad compare: two of the names are the same")
    if len(set(labels.values())) != len(names):  # runs of the same name in two folders
        labels = {name: name for name in names}
    fresh = {name: _arguments_for(name, given) for name in names if not _is_run(name)}
    olds = {name: _config(name) for name in names if _is_run(name)}
    _check_shared([(name, config["arguments"]) for name, config in olds.items()], list(fresh.values()))
    # Existing runs are read before anything is written or trained.
    entries = {name: _read(name, config, labels[name], out) for name, config in olds.items()}
    _check_initial(entries)
    folder = None if arguments["no_output"] else _folder(arguments)
    paths = {name: name for name in names}  # what to compare after an interruption: a run in place of its optimizer
    try:
        for name, chosen in fresh.items():
            run, asked = prepare(chosen, out, "minigrad compare")
            entries[name] = _entry(labels[name], run)
            _check_initial(entries)
            directory = None
            if folder is not None:
                settings = {**chosen, "output": str(folder), "name": chosen["optimizer"].lower()}
                directory = new_directory(run, asked, settings)
                paths[name] = str(directory.path)
            out.print(f"training {entries[name].optimizer}", markup=False, soft_wrap=True)
            with writing(directory, "minigrad compare"):
                entries[name].seconds = carry_on(run, directory, chosen, out, show=False)
            entries[name].history = run.progress.history
    except KeyboardInterrupt as error:
        raise CommandError(f"interrupted; continue with: {_again(paths, given)}", status_of(error)) from None
    except CommandError as error:
        if error.status < 128 or folder is None:
            raise CommandError(f"{error} (with {name})", error.status) from None
        raise CommandError(f"{error}; then: {_again(paths, given)}", error.status) from None
    _show([entries[name] for name in names], out)
    if folder is not None:
        _write([entries[name] for name in names], folder, out)
    return 0


def _again(paths: dict[str, str], given: Arguments) -> str:
    """The command that continues this comparison."""
    options = as_words({name: value for name, value in given.items() if name != "optimizer"}, OPTIONS)
    return f"minigrad compare {shlex.join([*paths.values(), *options])}"


def _entry(label: str, run: Run, history: Sequence[Row] = ()) -> Entry:
    """The line of a run; its first parameters are those that it has now."""
    digest = hashlib.sha256()
    for parameter in run.model.parameters():
        digest.update(to_host(parameter.data).tobytes())
    return Entry(label, describe_optimizer(run), list(history), run.monitor, run.direction, None, digest.hexdigest())


def _is_run(name: str) -> bool:
    return os.sep in name or Path(name, CONFIG).exists()


def _arguments_for(name: str, given: Arguments) -> Arguments:
    """The arguments for one optimizer, written as ``Adam`` or ``Adam:lr=0.01``."""
    try:
        call = parse_call(name)
        optimizer = spelled("optimizer", call.name, catalog.OPTIMIZERS)
        known = catalog.optimizer_arguments(optimizer)
        for option in call.kwargs:
            if option not in known:
                raise ValueError(f"{optimizer}: {unknown('option', option, known)}")
        if call.args:
            raise ValueError(f"{optimizer}: write its values by name, as in {optimizer}:lr=0.01")
    except ValueError as error:
        raise CommandError(f"minigrad compare: {words(error)}") from None
    # A hyper-parameter on the command line applies to the optimizers that have it.
    shared = {k: v for k, v in given.items() if k in known or k not in catalog.hyper_parameters()}
    return complete({**shared, **call.kwargs, "optimizer": optimizer})


def _config(name: str) -> dict[str, Any]:
    try:
        return RunDirectory.open(name).config()
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad compare: {words(error)}") from None


def _check_shared(runs: list[tuple[str, Arguments]], fresh: list[Arguments]) -> None:
    """Refuse runs that do not begin alike, or do not see the same batches."""
    everyone = [*runs, *((arguments["optimizer"], arguments) for arguments in fresh)]
    first_name, first = everyone[0]
    for name, other in everyone[1:]:
        for setting in _SHARED:
            if first.get(setting) != other.get(setting):
                raise CommandError(
                    f"minigrad compare: {first_name} has {setting} {first.get(setting)!r}, but {name} has "
                    f"{other.get(setting)!r}; compare runs on the same problem"
                )


def _folder(arguments: Arguments) -> Path:
    """A new folder for the comparison, numbered."""
    output, name = Path(arguments["output"]), arguments.get("name") or "compare"
    number = 1
    try:
        output.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder = output / f"{name}-{number}"
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise CommandError(f"minigrad compare: {words(error)}") from None


def _read(name: str, config: dict[str, Any], label: str, out: Console) -> Entry:
    """Return the line of an existing run, with the history in its last checkpoint, whatever callbacks it had."""
    directory = RunDirectory(name)
    run, asked = prepare(arguments_of_run(directory, config, {}), out, "minigrad compare")
    check_data(config, asked, f"minigrad compare: {name}")
    try:
        state = training.read_checkpoint(directory.last_checkpoint(), size_limit(run.model))
        history = training.Progress.from_state(state.get("progress")).history
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad compare: {words(error)}") from None
    if not history:
        raise CommandError(f"minigrad compare: {name}: has not finished an epoch yet; continue it with minigrad resume")
    return _entry(label, run, history)


def _check_initial(entries: dict[str, Entry]) -> None:
    if len({entry.initial for entry in entries.values()}) > 1:
        raise CommandError("minigrad compare: the runs do not have the same initial parameters")


def _rows(entries: list[Entry]) -> list[list[str]]:
    rows = [["name", "optimizer", "best", "in epoch", "last", "train loss", "seconds"]]
    for entry in entries:
        values = [row[entry.monitor] for row in entry.history]
        place, best = best_of(entry.direction, values) or (0, values[0])
        last, seconds = values[-1], "" if entry.seconds is None else f"{entry.seconds:.1f}"
        shown = [metric_text(entry.monitor, best), str(place + 1), metric_text(entry.monitor, last)]
        rows.append([entry.label, entry.optimizer, *shown, f"{entry.history[-1]['train_loss']:.4f}", seconds])
    return rows


def _show(entries: list[Entry], out: Console) -> None:
    rows = _rows(entries)
    title = metric_title(entries[0].monitor)
    out.print(f"the same initial parameters and batches for all; best and last: {title}", soft_wrap=True)
    if out.is_terminal:
        out.print(rich_table(rows, "<<>"))
        return
    for line in table(rows, "<<>"):
        out.print(line, markup=False, soft_wrap=True)


def _write(entries: list[Entry], folder: Path, out: Console) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_rows(entries))
    try:
        write_atomically(folder / "comparison.csv", text.getvalue().encode())
        plots.metrics({entry.label: entry.history for entry in entries}, path=folder / "comparison.png")
    except OSError as error:
        raise CommandError(f"minigrad compare: {words(error)}", FAILED) from None
    runs = [path.name + "/" for path in sorted(folder.iterdir()) if path.is_dir()]
    out.print(f"wrote {folder}: {', '.join(['comparison.csv', 'comparison.png', *runs])}", markup=False, soft_wrap=True)
