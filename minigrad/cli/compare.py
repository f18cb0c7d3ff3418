"""``minigrad compare``: several optimizers, or existing runs, on one problem."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import training
from ..devices.cuda import DeviceError
from ..files import write_atomically
from ..recipes import catalog
from ..recipes.recipe import make_run, problem, tested
from ..study import plots
from ..study.sweeps.grid import PLUS, read_optimizer
from ..study.sweeps.results import Results, Selected
from ..study.sweeps.store import METRICS, arguments_of
from ..study.sweeps.sweep import Sweep, named_held_out, read_settings
from ..training._run_directory import CONFIG, RunDirectory
from ..training.checkpoint import size_limit
from .display import console
from .ending import FAILED, CommandError, words
from .options import Arguments
from .parser import arguments_of_run, with_file
from .prepare import check_data, describe_optimizer
from .sweep import connection, new_folder, print_table, run_sweep

COMMAND = "minigrad compare"
# What runs must have in common to be compared: the initial parameters and the batches follow from these.
_SHARED = ("data", "model", "loss", "dtype", "validation", "seed", "batch_size", "accumulate", "epochs")
_DECADES = (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)  # of the rates of --tune, from the preset of the optimizer
_DIGITS = 4


class Compared(NamedTuple):
    """A run: its row, as in ``runs.csv`` with its name as the optimizer, its curve, and its arguments."""

    row: dict[str, Any]
    curve: list[dict[str, float]]
    arguments: Arguments


def compare(given: Arguments) -> int:
    """Train with each optimizer, or read each run, and show a table and a picture."""
    given = with_file(given, "compare")
    names, out = given.pop("names"), console(given.pop("quiet", False))
    if not names:
        raise CommandError(f"{COMMAND}: name optimizers, such as SGD Adam, or run directories")
    if len(set(names)) != len(names):
        raise CommandError(f"{COMMAND}: two of the names are the same")
    tune, executor = given.pop("tune", False), given.pop("executor", None)
    with connection(executor, COMMAND) as connected_to:
        configs = {name: _config(name) for name in names if _is_run(name)}
        olds = {name: config["arguments"] for name, config in configs.items()}
        settings: Arguments = {name: PLUS.join(value) if name == "clip" else value for name, value in given.items()}
        where: Arguments = {name: settings.pop(name) for name in ("output", "name", "no_output") if name in settings}
        if olds:  # the others have their validation rows and their seed, if not given
            first = next(iter(olds.values()))
            settings = {"validation": first.get("validation", 0), "seeds": [first["seed"]], **settings}
        how: Arguments = {name: settings.pop(name) for name in ("seeds", "threads") if name in settings}
        specs = {name: _spec(name, settings, tune) for name in names if name not in configs}
        news = {name: _arguments(spec, settings, olds) for name, spec in specs.items()}
        _check_shared({**olds, **news})
        labels = {name: Path(name).name if name in configs else name for name in names}
        if len(set(labels.values())) < len(names):  # runs of the same name in two folders
            labels = dict(zip(names, names, strict=True))
        # Existing runs are read before anything is written or trained.
        runs = {name: [_read(name, config, labels[name])] for name, config in configs.items()}
        folder = new_folder(where, "compare", COMMAND)
        if specs:
            found = run_sweep(list(specs.values()), folder, connected_to, out, COMMAND, {**settings, **how})
            runs |= {name: _of_sweep(found, name, found.runs_of(spec, **settings)) for name, spec in specs.items()}
    _show([run for name in names for run in runs[name]], list(labels.values()), folder)
    return 0


def _is_run(name: str) -> bool:
    return os.sep in name.partition(":")[0] or Path(name, CONFIG).exists()


def _check_shared(arguments: Mapping[str, Arguments]) -> None:
    """Refuse runs that do not begin alike, or do not see the same batches."""
    (first_name, first), *others = arguments.items()
    for name, other in others:
        for setting in _SHARED:
            if (first.get(setting) or None) != (other.get(setting) or None):
                raise CommandError(
                    f"{COMMAND}: {first_name} has {setting} {first.get(setting)!r}, but {name} has "
                    f"{other.get(setting)!r}; compare runs on the same problem"
                )


# --- optimizers ------------------------------------------------------------------------------------------------------


def _spec(name: str, settings: Arguments, tune: bool) -> str:
    """Return the text of an optimizer in a sweep, with the rates to try if it is tuned."""
    try:
        optimizer, own = read_optimizer(name)
        for option, axis in own.items():
            if not isinstance(axis, list) or len(axis) > 1:
                raise ValueError(f"{name}: {option} has several values, which minigrad sweep takes")
        if not tune:
            return name
        if "lr" in own or "lr" in settings:
            raise ValueError("--tune chooses the learning rate; leave out lr, or --tune")
    except ValueError as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    rate = catalog.preset(optimizer, settings.get("data", "").partition(":")[0])["lr"]
    rates = ",".join(f"{rate * 10**decades:.{_DIGITS}g}" for decades in _DECADES)
    return f"{name}{',' if ':' in name else ':'}lr={rates}"


def _arguments(spec: str, settings: Arguments, olds: Mapping[str, Arguments]) -> Arguments:
    """Return the arguments of a run of an optimizer, to compare with the others'."""
    try:
        base, _ = read_settings([spec], settings)
        seed = next(iter(olds.values()))["seed"] if olds else 0
        return arguments_of(base, {"optimizer": read_optimizer(spec)[0]}, seed)
    except ValueError as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None


def _of_sweep(found: Sweep, name: str, numbers: Sequence[int]) -> list[Compared]:
    rows = {row["run"]: row for row in found.table}
    return [
        Compared({**rows[number], "optimizer": name}, found.curve(number), found.arguments(number))
        for number in numbers
        if number in rows
    ]


# --- existing runs ---------------------------------------------------------------------------------------------------


def _config(name: str) -> dict[str, Any]:
    try:
        return RunDirectory.open(name).config()
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None


def _read(name: str, config: dict[str, Any], label: str) -> Compared:
    """Return an existing run, with the history in its last checkpoint, whatever callbacks it had."""
    directory = RunDirectory(name)
    arguments = arguments_of_run(directory, config, {})
    try:
        asked = problem(arguments)
        run = make_run(arguments, asked)
        check_data(config, asked, f"{COMMAND}: {name}")
        state = training.read_checkpoint(directory.last_checkpoint(), size_limit(run.model))
        progress = training.Progress.from_state(state.get("progress"))
        run.model.load_state_dict(state["model"])
        ending = directory.ending()
    except (ValueError, TypeError, KeyError, OSError, MemoryError, DeviceError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    if not progress.history:
        raise CommandError(f"{COMMAND}: {name}: has not finished an epoch yet; continue it with minigrad resume")
    curve = [{key.replace("held_out", "validation"): value for key, value in row.items()} for row in progress.history]
    row = {
        "optimizer": label,
        "lr": arguments.get("lr"),
        "seed": arguments["seed"],
        "status": "diverged" if ending is not None and ending.state == "diverged" else "finished",
        "epochs": progress.epoch,
        "steps": progress.step,
        **{metric: curve[-1].get(metric) for metric in METRICS},
        **tested(run, asked),
    }
    return Compared(row, curve, arguments)


# --- results ---------------------------------------------------------------------------------------------------------


def _show(runs: Sequence[Compared], labels: Sequence[str], folder: Path | None) -> None:
    """Print what can be concluded, and write the files."""
    results = _results(runs)
    selected = results.selected()
    titles, *rows = results.overview(selected)
    described = ["optimizer", *(_described(runs, each) for each in selected)]
    out = console(False)
    out.print("the same initial parameters and batches for all, seed by seed", soft_wrap=True)
    print_table([[row[0], what, *row[1:]] for row, what in zip([titles, *rows], described, strict=True)], out)
    lines = results.verdicts(selected)
    lines += [f"the best {each.swept} of {each.label} is at the end of its range" for each in selected if each.at_edge]
    if folder is not None:
        _write(results, sorted(selected, key=lambda each: labels.index(each.label)), folder)
        lines.append(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _results(runs: Sequence[Compared]) -> Results:
    """Return the results with each name as an optimizer, whose runs differ by their seeds and, if tuned, their rate."""
    renamed = dict if runs[0].arguments.get("validation") else named_held_out
    table = [{**renamed(each.row), "run": number} for number, each in enumerate(runs)]
    return Results(["optimizer", "lr"], table, lambda number: [renamed(row) for row in runs[number].curve])


def _described(runs: Sequence[Compared], selected: Selected) -> str:
    """Return the optimizer of the selected runs with its options."""
    (number, *_) = (row["run"] for row in selected.cell.runs.values())
    arguments = runs[number].arguments
    return describe_optimizer(make_run(arguments, problem(arguments)))


def _write(results: Results, selected: Sequence[Selected], folder: Path) -> None:
    """Write a table of numbers and a picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = dict.fromkeys(["train_loss", results.metric, results.final_metric])
    numbers = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high")]
    writer.writerow(["name", "lr", "seeds", "diverged", *numbers, "seconds"])
    for each in selected:
        rows = list(each.cell.runs.values())
        bands = [
            {"train_loss": each.train_loss, results.metric: each.validation}.get(name, each.test) for name in metrics
        ]
        seconds = [row["seconds"] for row in rows if row.get("seconds") is not None]
        diverged = sum(row["status"] == "diverged" for row in rows)
        values = [rows[0]["lr"], len(rows), diverged, *(value for band in bands for value in band)]
        writer.writerow([each.label, *values, float(np.median(seconds)) if seconds else ""])
    try:
        write_atomically(folder / "comparison.csv", text.getvalue().encode())
        plots.learning_curves(results, path=folder / "comparison.png")
    except OSError as error:
        raise CommandError(f"{COMMAND}: {words(error)}", FAILED) from None
