"""Report: a run as one HTML page, which needs no network, no other file and no script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...files import write_atomically
from ...training.run_directory import REPORT
from ..findings import Finding
from ..records.source import Source as Recorded
from ..updates.explanation import Explanation
from .page import GENERATOR, build
from .source import Source, opened

__all__ = ["report"]

LARGEST = 2_000_000  # bytes of a page


def report(
    run: Recorded,
    path: str | os.PathLike[str] | None = None,
    *,
    explanations: Iterable[Explanation] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write a report of a run as one HTML page: findings, curves, layers, ledgers, explained updates, settings.

    >>> study.report("runs/digits-adam-1")  # doctest: +SKIP
    PosixPath('runs/digits-adam-1/report.html')

    The same run always gives the same bytes. Without ``record.jsonl`` (``minigrad train --record``, or a
    `minigrad.study.Recorder`) the page has what the logs tell, and says how to record.

    Args:
        run: a run directory, a recorder, a recording, or the file of one.
        path: the file to write; by default ``report.html`` in the run directory, for a recording in the current folder.
        explanations: of weights, from `minigrad.optim.Optimizer.explain`, to be shown term by term.
        notes: sentences to stand above them.

    Returns:
        The path of the page.

    Raises:
        TypeError: for anything else.
        FileNotFoundError: if there is no such run.
        FileExistsError: if the file is there and is no report.
        ValueError: naming the file of the run that is damaged; for a recording a `RecordingError`.
        OSError: naming the file, if it cannot be written; a report from before stays as it was.
    """
    source = opened(run)
    if path is None:
        path = Path(run, REPORT) if source.is_run and isinstance(run, str | os.PathLike) else Path(REPORT)
    path = Path(path)
    check_target(path)
    write(source, path, list(explanations), notes)
    return path


def write(source: Source, path: Path, explanations: Sequence[Explanation], notes: Sequence[str]) -> list[Finding]:
    """Write the page of a run that has been read; the findings in it.

    Raises:
        OSError: naming the file.
        ValueError: if the page is too large.
    """
    page, found = build(source, explanations, notes)
    data = page.encode()
    if len(data) > LARGEST:
        raise ValueError(f"{source.name}: its report would hold {len(data):,} bytes, and the most is {LARGEST:,}")
    write_atomically(path, data)
    return found


def check_target(path: Path) -> None:
    """Refuse to overwrite what is no report.

    Raises:
        FileExistsError: naming the file.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder; name a file", str(path))
    if path.exists():
        with path.open("rb") as file:
            start = file.read(400)
        if start and f'content="{GENERATOR}"'.encode() not in start:
            raise FileExistsError(17, "is there already and is no report; name another file", str(path))
