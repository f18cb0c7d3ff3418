"""``minigrad list`` and ``minigrad devices``: the known names with their arguments, the runs in a folder, the devices.

Arguments and defaults are read from the signatures of the classes and functions themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from ..checks import unknown
from ..data import DATASETS
from ..devices.cuda import INSTALL, CudaStatus, cuda_status, update_problem
from ..kernels.threads import available, get_num_threads
from ..nn.containers import ACTIVATIONS, NORMS
from ..recipes import catalog
from ..recipes.calls import arguments_of, describe
from ..study.report._run_data import RunData
from ..text import metric_text, metric_title, table
from ..training._run_directory import CONFIG, WITHOUT, RunDirectory
from ..training.evaluation import best_of
from ..training.logs import METRICS, read_metrics
from .ending import CommandError, words
from .options import OPTIONS, Arguments

SECTIONS = ("datasets", "models", "losses", "optimizers", "schedules", "clips")


def show_list(given: Arguments) -> int:
    """Print the names in some sections, or in all, with their arguments and defaults; or the runs in a folder."""
    sections = given["sections"]
    for name in sections:
        if name not in SECTIONS and os.path.isdir(name):
            if len(sections) > 1:
                raise CommandError(f"minigrad list: {name} is a folder of runs; list it by itself")
            return _show_runs(Path(name))
        if name not in SECTIONS:
            no_folder = os.sep in name or name == OPTIONS["output"].default
            problem = f"{name}: no such folder" if no_folder else unknown("section", name, SECTIONS)
            raise CommandError(f"minigrad list: {problem}")
    for number, name in enumerate(sections or SECTIONS):
        if number:
            print()
        print(f"{name}:")
        for line in _lines(name):
            print(f"  {line}")
    return 0


def _lines(section: str) -> list[str]:
    if section == "datasets":
        return [
            *(describe(name, catalog.data_arguments(name)) for name in DATASETS),
            "a folder with the IDX files of MNIST, Fashion-MNIST or the like",
        ]
    if section == "models":
        return [
            "64-64-10: the sizes of all layers, with ReLU between them",
            f"mlp:128,relu,64: hidden layers, each followed by any of {', '.join([*ACTIVATIONS, *NORMS, 'dropout=p'])}",
        ]
    if section == "losses":
        return [describe(name, catalog.loss_arguments(name)) for name in catalog.LOSSES]
    if section == "optimizers":
        lines = []
        for name, settings in catalog.OPTIMIZERS.items():
            if name == "Lookahead":
                lines.append(f"{describe(name, catalog.lookahead_arguments())} around any of them, with --lookahead")
                continue
            begins = _settings(settings)
            if (numbers := _settings(catalog.FOR_NUMBERS.get(name, settings))) != begins:
                begins += f", and with numbers as labels with {numbers}"
            lines.append(f"{describe(name, catalog.optimizer_arguments(name))}; minigrad train begins with {begins}")
        return lines
    if section == "schedules":
        return [describe(name, catalog.schedule_arguments(name)) for name in catalog.schedules()]
    return [describe(name, arguments_of(kind)) for name, kind in catalog.CLIPS.items()]


def _settings(settings: dict[str, float]) -> str:
    return ", ".join(f"{key}={value:g}" for key, value in settings.items())


# --- the runs in a folder --------------------------------------------------------------------------------------------

HEADINGS = ("run", "optimizer", "epochs", "best", "how it ended")


def _show_runs(folder: Path) -> int:
    """Print a line for each run in a folder and in the folders of comparisons in it."""
    try:
        found = list(_runs(folder))
    except OSError as error:
        raise CommandError(f"minigrad list: {words(error)}") from None
    if not found:
        raise CommandError(f"minigrad list: {folder}: contains no run; minigrad train --output {folder} makes one")
    rows = [HEADINGS, *(_row(path, folder) for path in found)]
    for line in table(rows):
        print(line)
    return 0


def _runs(folder: Path) -> Iterator[Path]:
    if (folder / CONFIG).exists():
        yield folder
        return
    for path in sorted(folder.iterdir(), key=_order):
        if not path.is_dir() or path.name.startswith("."):
            continue
        inner = [path] if (path / CONFIG).exists() else sorted(path.iterdir(), key=_order)
        yield from (each for each in inner if (each / CONFIG).exists() and not each.name.startswith("."))


def _order(path: Path) -> list[tuple[int, str]]:
    """Sort run 10 after run 9."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _row(path: Path, folder: Path) -> tuple[str, ...]:
    name = path.name if path == folder else path.relative_to(folder).as_posix()
    try:
        directory = RunDirectory.open(path)
        config, rows = directory.config(), tuple(read_metrics(path / METRICS))
        source = RunData(name, config, rows, has_weights=directory.weights.exists(), ending=directory.ending())
    except (ValueError, OSError) as error:
        return _printable(name, "", "", "", words(error))
    optimizer = str(source.arguments.get("optimizer", ""))
    around = "Lookahead " if "lookahead" in source.arguments else ""
    epochs = f"{len(rows)}/{source.epochs}" if source.epochs else str(len(rows))
    ended = source.state or WITHOUT
    if source.ending is not None and ended != "finished":
        ended = str(source.ending)
    return _printable(name, around + optimizer, epochs, _best(source), ended)


def _best(source: RunData) -> str:
    name = source.monitor
    if name is None:
        return ""
    values = [row[name] for row in source.rows]
    _, best = best_of(source.direction, values) or (0, values[0])
    return f"{metric_title(name)} {metric_text(name, best)}"


def _printable(*cells: str) -> tuple[str, ...]:
    """Return cells of one line each, without control codes for the terminal, whatever the files contain."""
    return tuple("".join(c if c.isprintable() else "?" for c in " ".join(cell.split()))[:300] for cell in cells)


# --- devices ---------------------------------------------------------------------------------------------------------


def show_devices(given: Arguments) -> int:
    """Print the devices of this machine."""
    print(f"cpu: {available()} cores for this process, {get_num_threads()} threads for update kernels")
    print(f"numba {version('numba')}, numpy {version('numpy')}")
    for line in _cuda_lines(cuda_status()):
        print(line)
    return 0


def _cuda_lines(status: CudaStatus) -> list[str]:
    """The GPUs and the versions; if they cannot be used, why, and what to do."""
    if not status.usable:
        return [f"cuda: not available: {status.problem}", f"  {status.remedy}"]
    lines = [f"cuda: {name}" + (", which is used" if i == 0 else "") for i, name in enumerate(status.devices)]
    lines.append(f"CUDA {status.driver} by its driver, CuPy built for {status.runtime}")
    problem = update_problem()
    return [*lines, f"cuda: no training: {problem}", f"  {INSTALL}"] if problem else lines
