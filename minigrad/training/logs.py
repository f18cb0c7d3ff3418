"""The logs of a run: ``steps.jsonl`` with a line per step, ``metrics.csv`` with a line per epoch.

They contain no times, so the same run always writes the same bytes. A checkpoint holds their lengths, and a resumed run
truncates them to these lengths, so it rewrites the rows that a killed process wrote after its last checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..files import lock, named, read_bounded
from .progress import Row
from .run import Callback, Run, Stretch

STEPS, METRICS = "steps.jsonl", "metrics.csv"
_LINES = 256  # the number of steps that are written together
_LIMIT = 1 << 30  # the largest log that is read, in bytes


class ShortFileError(ValueError):
    """A file is shorter than when a checkpoint was made; the text names it."""


class AppendedFile:
    """A file that only grows, and can be truncated to an earlier length.

    One process at a time may write it, if the system has locks.

    Raises:
        OSError: naming the file, if it cannot be written.
        ValueError: if another process is writing it; `ShortFileError` if it is shorter than it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise named(error, path) from error
        if lock(self._file.fileno()) is False:
            self._file.close()
            raise ValueError(f"{path}: another process is writing this run")

    def write(self, lines: str) -> None:
        """Append lines, which reach the disk eventually."""
        try:
            self._file.write(lines.encode())
        except OSError as error:
            raise named(error, self.path) from error

    def synced(self) -> int:
        """Write everything to the disk, and return the length."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._size()
        except OSError as error:
            raise named(error, self.path) from error

    def check(self, length: int) -> None:
        """Raise `ShortFileError` if there are fewer than ``length`` bytes."""
        held = self._size()
        if held < length:
            raise ShortFileError(f"{self.path}: holds {held:,} bytes, but held {length:,} when the checkpoint was made")

    def cut(self, length: int) -> None:
        """Truncate the file to ``length`` bytes."""
        try:
            self._file.flush()
            self.check(length)
            if self._size() > length:
                self._file.truncate(length)
        except OSError as error:
            raise named(error, self.path) from error

    def _size(self) -> int:
        """The length of the file itself, since the position of an appended file does not move when it is truncated."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Write pending lines, and close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise named(error, self.path) from error


class RunLog(Callback):
    """Writes ``steps.jsonl`` and ``metrics.csv`` in a folder, which is made if necessary.

    Numbers are written in the shortest way that reads back as the same number.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._lengths = {STEPS: 0, METRICS: 0}
        self._files: dict[str, AppendedFile] = {}
        self._noted: list[tuple[int, int, float | None, float]] = []

    def open(self) -> None:
        """Open and lock the files, so that no other process writes this run until `close`.

        Raises:
            OSError: naming the file, if it cannot be written.
            ValueError: if another process is writing it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise named(error, self.folder) from error
        for name in self._lengths:
            if name not in self._files:
                self._files[name] = AppendedFile(self.folder / name)

    def __getstate__(self) -> dict[str, Any]:
        """A copy opens the files itself when its run begins, at their present lengths."""
        self.state_dict()
        return {**vars(self), "_files": {}}

    def begin(self, run: Run) -> None:
        """Open the files, and truncate them to the position of the run."""
        self.open()
        for act in (AppendedFile.check, AppendedFile.cut):  # no file is truncated before all are checked
            for name, length in self._lengths.items():
                act(self._files[name], length)
        self._group = run.optimizer.param_groups[0]

    def after_step(self, run: Run) -> None:
        """Note the step, its epoch and loss, and the learning rate for the next one."""
        progress = run.progress
        self._noted.append((progress.step, progress.epoch + 1, progress.loss, self._group["lr"]))
        if len(self._noted) >= _LINES:
            self._write_steps()

    def after_stretch(self, run: Run, steps: Stretch) -> None:
        """Note all steps."""
        epoch = run.progress.epoch + 1
        for step, (loss, rate) in enumerate(zip(steps.losses, steps.rates, strict=True), steps.first):
            self._noted.append((step, epoch, loss, rate))
        if len(self._noted) >= _LINES:
            self._write_steps()

    def _write_steps(self) -> None:
        """Write the lines of many steps at once: after a step, the caches do not hold what this needs."""
        if not self._noted:
            return
        lines = [
            f'{{"step": {step}, "epoch": {epoch}, "loss": {loss!r}, "lr": {rate!r}}}\n'
            for step, epoch, loss, rate in self._noted
        ]
        self._files[STEPS].write("".join(lines))
        self._noted.clear()

    def after_epoch(self, run: Run) -> None:
        """Write a line with the epoch, the step and the metrics, and before the first line their names."""
        self._write_steps()
        progress = run.progress
        row = {"epoch": progress.epoch, "step": progress.step, **progress.history[-1]}
        if progress.epoch == 1:
            self._files[METRICS].write(",".join(row) + "\n")
        self._files[METRICS].write(",".join(map(repr, row.values())) + "\n")

    def close(self) -> None:
        """Close the files."""
        self._write_steps()
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the lengths of the files, after everything has been written to the disk."""
        if self._files:
            self._write_steps()
            self._lengths = {name: file.synced() for name, file in self._files.items()}
        return {"lengths": dict(self._lengths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the lengths to which `begin` truncates the files."""
        lengths = state["lengths"]
        if set(lengths) != set(self._lengths) or not all(type(v) is int and 0 <= v < 1 << 60 for v in lengths.values()):
            raise ValueError(f"RunLog: needs the lengths of {STEPS} and {METRICS}")
        self._lengths = dict(lengths)


class Step(NamedTuple):
    """A line of ``steps.jsonl``; ``lr`` is the learning rate for the next step."""

    step: int
    epoch: int
    loss: float
    lr: float


def read_steps(path: str | os.PathLike[str]) -> list[Step]:
    """Read the steps of a run; none without a file. An incomplete last line of a killed process is skipped.

    Raises:
        ValueError: naming the line that is damaged.
    """
    found: list[Step] = []
    for number, text in enumerate(_complete_lines(path), 1):
        try:
            row = json.loads(text)
            step = Step(int(row["step"]), int(row["epoch"]), float(row["loss"]), float(row["lr"]))
            if not (found[-1].step if found else 0) < step.step < 1 << 53:
                raise ValueError
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise ValueError(
                f"{path}, line {number}: is damaged: not a step with its loss and rate, {text!r:.60}"
            ) from None
        found.append(step)
    return found


def read_metrics(path: str | os.PathLike[str]) -> list[Row]:
    """Read the rows of ``metrics.csv``, with ``epoch`` and ``step``; none if there is no file.

    Raises:
        ValueError: naming the line that is damaged.
    """
    lines = _complete_lines(path)
    names = lines[0].split(",") if lines else []
    if lines and names[:2] != ["epoch", "step"]:
        raise ValueError(f"{path}, line 1: is damaged: it does not name epoch, step and metrics")
    rows: list[Row] = []
    for number, text in enumerate(lines[1:], 2):
        try:
            row = dict(zip(names, map(float, text.split(",")), strict=True))
            if row["epoch"] != len(rows) + 1 or not 0 < row["step"] < 1 << 53:
                raise ValueError
        except ValueError:
            raise ValueError(f"{path}, line {number}: is damaged: {text!r:.60}") from None
        rows.append(row)
    return rows


def _complete_lines(path: str | os.PathLike[str]) -> list[str]:
    """The complete lines; after the last line break there is nothing, or a line that is still being written."""
    if not Path(path).exists():
        return []
    try:
        return read_bounded(path, _LIMIT).decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text") from None
