"""``minigrad report``: a run or a sweep as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..optim._watch import Record
from ..study import Explanation, load_sweep
from ..study.report import check_target, is_sweep, write, write_sweep
from ..study.report._findings import counts
from ..study.report._run_data import read_run
from ..training._run_directory import REPORT
from .display import console
from .ending import FAILED, CommandError, words
from .explain import Rerun, weight
from .options import Arguments

COMMAND = "minigrad report"
WEIGHTS = 16  # the most that are explained, so that they do not bury the rest of the page
_CHOSEN = (
    "Chosen here: the weight that moved most in the parameter that changed most relative to its size, and a typical "
    "weight of the first layer. minigrad report --param NAME[I,J] --step N shows others."
)


def report(given: Arguments) -> int:
    """Write the page, with the update of a few weights explained."""
    path = given["run"]
    out = console(given.get("quiet", False))
    if is_sweep(path):
        return _report_sweep(given, out)
    target = Path(given.get("output") or Path(path, REPORT))
    try:
        source = read_run(path)
        check_target(target)
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    explanations: list[Explanation] = []
    problems: list[str] = []
    chosen: list[str] = []
    if not given.get("no_explain", False):
        asked, step = given.get("param", []), given.get("step")
        if len(asked) > WEIGHTS:
            raise CommandError(f"{COMMAND}: --param may be given up to {WEIGHTS} times, not {len(asked)}")
        try:
            explanations, problems = _explained(path, given, asked, step, out)
        except CommandError as error:
            if asked or step is not None:  # a requested part is not silently omitted
                raise
            problems = [f"No update could be explained: {str(error).removeprefix(COMMAND + ': ')}."]
        chosen = [_CHOSEN] if explanations and not asked else []
    try:
        found = write(source, target, explanations, [*chosen, *problems])
    except (ValueError, OSError, MemoryError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}", FAILED) from None
    size = f"{target.stat().st_size / 1e3:,.0f} kB"
    out.print(f"wrote {target}, {size}: {counts(found)}", markup=False, soft_wrap=True)
    for problem in problems:
        out.print(problem, markup=False, soft_wrap=True)
    if source.recording is None:
        out.print("the run has no recording; minigrad train --record makes one", markup=False, soft_wrap=True)
    return 0


def _report_sweep(given: Arguments, out: Console) -> int:
    """Write the page of a sweep."""
    try:
        sweep = load_sweep(given["run"])
        target = write_sweep(sweep, given.get("output"))
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    out.print(f"wrote {target}, {target.stat().st_size / 1e3:,.0f} kB", markup=False, soft_wrap=True)
    for name, results in sweep.results.problems().items():
        for verdict in results.verdicts():
            out.print(f"{name}: {verdict}" if name else verdict, markup=False, soft_wrap=True)
    return 0


def _explained(
    path: str, given: Arguments, asked: Sequence[str], step: int | None, out: Console
) -> tuple[list[Explanation], list[str]]:
    """Explain the weights that were asked for, or two that are chosen, at one step of the run trained again."""
    again = Rerun(path, {name: given[name] for name in ("threads",) if name in given}, out, COMMAND)
    optimizer = again.run.optimizer
    chosen = [weight(optimizer, text, COMMAND) for text in asked]
    again.to(step, [name for name, _ in chosen] or None)
    notes = []
    if not chosen and again.watch is not None and (record := again.watch.last()) is not None:
        chosen = _telling(record)
    if again.reproduced is False:
        notes.append(
            f"These are not exactly the updates that the run made: trained again here, {again.verdict}; another "
            "version of NumPy, or another processor, can be the cause."
        )
    return [optimizer.explain(name, index) for name, index in chosen], notes


def _telling(record: Record) -> list[tuple[str, tuple[int, ...]]]:
    """Choose the weight that moved most in the parameter that changed most, and a typical one of the first layer."""
    moved = {}
    for name, before in record.before.items():
        after = (record.left or record.after).get(name)
        if after is not None:
            old = before["param"].astype(np.float64)
            change = np.abs(after["param"] - old)
            size = float(np.linalg.norm(old))
            moved[name] = (change, float(np.linalg.norm(change)) / size if size else 0.0)
    if not moved:
        return []
    first = next(iter(moved))
    most = max(moved, key=lambda name: moved[name][1])
    places = [(most, int(moved[most][0].argmax())), (first, _middle(moved[first][0]))]
    return [
        (name, tuple(map(int, np.unravel_index(place, moved[name][0].shape)))) for name, place in dict.fromkeys(places)
    ]


def _middle(values: Any) -> int:
    """The index of the median of the values that are not 0, or of all."""
    order = np.argsort(values, axis=None, kind="stable")
    some = int((values > 0).sum()) or values.size
    return int(order[values.size - some + (some - 1) // 2])
