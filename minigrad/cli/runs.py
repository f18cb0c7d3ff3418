"""``minigrad list FOLDER``: the runs in a folder, how far each has come, how good it is, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..study.report._run_data import RunData
from ..text import metric_text, metric_title, table
from ..training._run_directory import CONFIG, WITHOUT, RunDirectory
from ..training.evaluation import best_of
from ..training.logs import METRICS, read_metrics
from .errors import CommandError, words

HEADINGS = ("run", "optimizer", "epochs", "best", "how it ended")


def show_runs(folder: Path) -> int:
    """Print a line for each run in a folder and in the folders of comparisons in it."""
    try:
        found = list(_runs(folder))
    except OSError as error:
        raise CommandError(f"minigrad list: {words(error)}") from None
    if not found:
        raise CommandError(f"minigrad list: {folder}: has no run; minigrad train --output {folder} makes one")
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
    """Run 10 behind run 9."""
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
    """Cells of one line each, whatever a file holds, and no codes that steer a terminal."""
    return tuple("".join(c if c.isprintable() else "?" for c in " ".join(cell.split()))[:300] for cell in cells)
