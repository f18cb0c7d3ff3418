"""The groups, and how they run: the files of each group are written as soon as it ends."""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from minigrad.files import write_atomically

from . import peers, plots, report
from .effort import Effort
from .machine import load, machine, threads, versions

# In the order in which they run and are on the page.
GROUPS = (
    "step_by_size",
    "step_by_algorithm",
    "clip_step",
    "gradients_by_hand",
    "training_step",
    "compiled",
    "sweeps",
    "bandwidth",
    "scaling",
    "startup",
    "graph_depth",
    "fit_overhead",
    "recorder",
    "peak_memory",
    "optimizers_on_digits",
)
RESULTS = Path(__file__).parent / "results"
Say = Callable[[str], Any]


def group(name: str) -> ModuleType:
    """Return the module of a group, with ``TITLE`` and ``measure(effort)``."""
    return importlib.import_module(f".{name}", __package__)


def run(names: Sequence[str], effort: Effort, command: str, folder: Path, say: Say = print) -> list[str]:
    """Measure the groups one after the other.

    If a group fails, its name is printed and the others still run; older results stay.

    Returns:
        The groups that failed.

    Raises:
        OSError: if results cannot be written; they have been printed by then.
    """
    failed = []
    folder.mkdir(parents=True, exist_ok=True)  # before anything is measured, in case it cannot be written
    conditions = {"machine": machine(), "versions": versions(), "threads": threads(), "skipped": peers.missing()}
    _say_conditions(conditions, say)
    for name in names:
        module = group(name)
        say(f"\n{module.TITLE} ({name})")
        before, start = load(), time.perf_counter()
        started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        try:
            tables = module.measure(effort)
        except Exception:
            say(traceback.format_exc())
            failed.append(name)
            continue
        for table in tables:
            if not table.detail:
                say(f"\n{table.title}\n\n{report.markdown(table.rows)}" + f"\n\n{table.notes}" * bool(table.notes))
        say(f"\n{time.perf_counter() - start:.0f} s")
        result = {"group": name, "title": module.TITLE, "command": command, "started": started, "effort": effort.name}
        report.write(result | conditions | {"load": [before, load()]}, tables, folder)
        redraw(folder, only=[name])
    return failed


def redraw(folder: Path, only: Sequence[str] = GROUPS) -> list[Path]:
    """Make the page, and the pictures of these groups, from the JSON files of a folder.

    Raises:
        ValueError: if a file does not contain results.
        OSError: if something cannot be written.
    """
    written = []
    results = report.read_all(folder, GROUPS)
    for result in results:
        path = folder / f"{result['group']}.png"
        picture = plots.draw(result) if result["group"] in only else None
        if picture is not None:
            written.append(write_atomically(path, picture))
        if path.exists():
            result["picture"] = path.name
    if results:
        written.append(write_atomically(folder / report.PAGE, report.page(results).encode()))
    return written


def _say_conditions(conditions: dict[str, Any], say: Say) -> None:
    for title in ("machine", "versions", "threads"):
        say(f"{title}: " + ", ".join(f"{name} {value}" for name, value in conditions[title].items()))
    if conditions["skipped"]:
        say(f"not installed, so not compared: {', '.join(conditions['skipped'])} (pip install '.[bench]')")
