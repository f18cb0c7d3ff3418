"""Reports: a run or a sweep as one HTML page, which needs no network, no other file and no script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...files import write_atomically
from ...optim.explanation import Explanation
from ...training._run_directory import REPORT
from ..findings import Finding
from ..records.recording import Source
from ..sweeps.store import SWEEP
from ..sweeps.sweep import Sweep, load_sweep
from . import _sweep
from ._page import GENERATOR, build
from ._run_data import RunData, read_any

__all__ = ["report"]

LARGEST = 2_000_000  # bytes of a page


def report(
    run: Source | Sweep,
    path: str | os.PathLike[str] | None = None,
    *,
    explanations: Iterable[Explanation] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write a report of a run as one HTML page: findings, curves, layers, ledgers, explained updates, settings.

    Of a sweep, the page says which settings are best and whether the difference is real, with pictures of sensitivity,
    training and time to a target.

    >>> study.report("runs/digits-adam-1")  # doctest: +SKIP
    PosixPath('runs/digits-adam-1/report.html')

    The same run always gives the same bytes. Without ``record.jsonl`` (``minigrad train --record``, or a
    `minigrad.study.Recorder`) the page shows what is in the logs, and how to record.

    Args:
        run: a run directory, a recorder, a recording, or the file of one; or a sweep or its folder.
        path: the file to write; by default ``report.html`` in the run directory, or in the current folder if ``run`` is
            not a directory.
        explanations: of weights, from `minigrad.optim.Optimizer.explain`, to be shown term by term.
        notes: sentences to show above them.

    Returns:
        The path of the page.

    Raises:
        TypeError: if ``run`` is anything else.
        FileNotFoundError: if the run does not exist.
        FileExistsError: if the file exists and is not a report.
        ValueError: naming the file of the run that is damaged; for a recording a `RecordingError`.
        OSError: naming the file, if it cannot be written; an existing report is then unchanged.
    """
    if isinstance(run, str | os.PathLike) and is_sweep(run):
        run = load_sweep(run)
    if isinstance(run, Sweep):
        return write_sweep(run, path)
    data = read_any(run)
    if path is None:
        path = Path(run, REPORT) if data.is_run and isinstance(run, str | os.PathLike) else Path(REPORT)
    path = Path(path)
    check_target(path)
    write(data, path, list(explanations), notes)
    return path


def write(data: RunData, path: Path, explanations: Sequence[Explanation], notes: Sequence[str]) -> list[Finding]:
    """Write the page of a run that has been read, and return the findings in it.

    Raises:
        OSError: naming the file.
        ValueError: if the page is too large.
    """
    text, found = build(data, explanations, notes)
    _write(data.name, text, path)
    return found


def is_sweep(folder: str | os.PathLike[str]) -> bool:
    """Whether it is the folder of a sweep."""
    return Path(folder, SWEEP).exists()


def write_sweep(sweep: Sweep, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of a sweep, by default as ``report.html`` in its folder, and return its path.

    Raises:
        FileExistsError: if the file exists and is not a report.
        OSError: naming the file.
        ValueError: if no run of the sweep is done.
    """
    path = Path(sweep.folder or "", REPORT) if path is None else Path(path)
    check_target(path)
    _write("sweep", _sweep.build(sweep), path)
    return path


def _write(name: str, text: str, path: Path) -> None:
    content = text.encode()
    if len(content) > LARGEST:
        raise ValueError(f"{name}: its report would have {len(content):,} bytes, and the limit is {LARGEST:,}")
    write_atomically(path, content)


def check_target(path: Path) -> None:
    """Refuse to overwrite anything but a report.

    Raises:
        FileExistsError: naming the file.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder; name a file", str(path))
    if path.exists():
        with path.open("rb") as file:
            start = file.read(400)
        if start and f'content="{GENERATOR}"'.encode() not in start:
            raise FileExistsError(17, "exists and is not a report; name another file", str(path))
