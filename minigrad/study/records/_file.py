"""Files of recordings: lines of JSON, the header first and then a record each.

A number that is not finite is ``{"$number": "nan"}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...files import Format, read_bounded
from ...training.logs import AppendedFile
from ...training.tensorfile import put_arrays, take_arrays
from . import _kinds as kinds
from .quantities import ACTIVATION, CLIP, LAYER, RECORD, Quantity

Record = dict[str, Any]

_MAX_BYTES = 1 << 28
_LINES = 64  # records that are written together


class RecordingError(ValueError):
    """A file that is damaged or not a recording; the text names it and the line."""


FORMAT = Format("minigrad record", "a recording", error=RecordingError)


# --- contents of a file ----------------------------------------------------------------------------------------------


def _table(quantities: Iterable[Quantity], other: kinds.Kind | None = None) -> kinds.Kind:
    known = {each.name: each.kind for each in quantities}
    return kinds.table(known, needed=[each.name for each in quantities if each.needed], other=other)


_SPREAD = ("mean", "std", "low", "high")


def _output(value: Any, path: tuple[str, ...]) -> None:
    _table(ACTIVATION, kinds.number)(value, path)
    if any(name in value for name in _SPREAD):  # all of them are present, unless no value is finite
        kinds.table({}, needed=_SPREAD)(value, path)


_HEADER = kinds.table(
    {
        "optimizer": kinds.text,
        "layers": kinds.table_of(
            kinds.table({"parameters": kinds.positive, "tensors": kinds.list_of(kinds.text), "frozen": kinds.flag})
        ),
        "activations": kinds.table_of(kinds.table({"kind": kinds.text})),
        "effective_rate": kinds.optional_text,
        "signal": kinds.optional_text,
        "every": kinds.count,
        "slow_every": kinds.count,
        "quantiles": kinds.list_of(kinds.number),
        "probe_rows": kinds.count,
        "maximize": kinds.flag,
        "scale_free": kinds.flag,
    },
    needed=["optimizer", "layers"],
)
_RECORD = kinds.table(
    {
        **{each.name: each.kind for each in RECORD},
        "layers": kinds.table_of(_table(LAYER, kinds.numbers)),  # numbers, which a newer recorder may have added
        "activations": kinds.table_of(_output),
        "clips": kinds.list_of(_table(CLIP)),
    },
    needed=["step", "layers"],
)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], length: int | None = None) -> tuple[Record, list[Record]]:
    """The header and the records of a file, or of its first ``length`` bytes; an incomplete last line is left out.

    Raises:
        FileNotFoundError: if the file does not exist.
        RecordingError: naming the line, if it is damaged, foreign, or of a newer version.
    """
    try:
        text = read_bounded(path, _MAX_BYTES)[:length].decode()
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: is not a recording: it is not text") from None
    except ValueError as error:
        raise RecordingError(str(error)) from None
    lines = text.split("\n")[:-1]  # after the last line break there is nothing, or an incomplete line
    if not lines:
        raise RecordingError(f"{path}: is not a recording: it is empty")
    header = _parsed(path, 1, lines[0])
    FORMAT.check(path, header)
    _check(path, 1, header, _HEADER)
    records: list[Record] = []
    for number, each in enumerate(lines[1:], 2):
        record = _parsed(path, number, each)
        _check(path, number, record, _RECORD)
        last = records[-1]["step"] if records else 0
        if record["step"] <= last:
            raise RecordingError(f"{path}, line {number}: is damaged: its step is {record['step']}, after {last}")
        records.append(record)
    return header, records


def _parsed(path: str | os.PathLike[str], number: int, text: str) -> Record:
    try:
        values = put_arrays(json.loads(text), {})
    except RecursionError:
        raise RecordingError(f"{path}, line {number}: is nested too deeply") from None
    except ValueError as error:
        raise RecordingError(f"{path}, line {number}: is not readable JSON ({error})") from None
    if not isinstance(values, dict):
        raise RecordingError(f"{path}, line {number}: is damaged: it is not a record")
    return values


def _check(path: str | os.PathLike[str], number: int, values: Record, kind: kinds.Kind) -> None:
    """Refuse a line whose values whatever reads a recording could not use."""
    try:
        kind(values, ())
    except RecursionError:
        raise RecordingError(f"{path}, line {number}: is nested too deeply") from None
    except kinds.KindError as error:
        raise RecordingError(f"{path}, line {number}: is damaged: {error}") from None


# --- writing ---------------------------------------------------------------------------------------------------------


def line(values: Mapping[str, Any]) -> str:
    """One line of the file."""
    try:
        return json.dumps(values, allow_nan=False, separators=(",", ":")) + "\n"
    except ValueError:  # some number is not finite, and JSON has no word for it
        return json.dumps(take_arrays(values, {}), allow_nan=False, separators=(",", ":")) + "\n"


class RecordFile:
    """The file that a recorder appends its records to; without a path, nothing is written.

    Attributes:
        path: the given path; ``None`` also after a failed write.
        length: how many bytes of it are safely on the disk.
        resumes: whether what follows that length may be dropped; otherwise the file must be new.
        strict: whether a file that can no longer be written, as on a full disk, is an error; otherwise it is a
            warning, and nothing more is written.

    Raises:
        IsADirectoryError: if the path names a folder.
        TypeError: if it is not a path.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        if not isinstance(path, str | os.PathLike | None):
            raise TypeError(f"Recorder: path must name a file, not be {path!r:.40}")
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.is_dir():
            raise IsADirectoryError(21, "Recorder: is a folder; name a file", str(path))
        self.length = 0
        self.resumes = self.strict = False
        self._file: AppendedFile | None = None
        self._unwritten: list[Record] = []
        self._is_empty = True

    def __getstate__(self) -> dict[str, Any]:
        self.sync()
        return {**vars(self), "_file": None}

    def open(self) -> tuple[Record, list[Record]]:
        """Begin to append, and return the header and records that the file holds up to its length.

        Raises:
            FileExistsError: if it holds something that must not be replaced.
            OSError: naming the file, if it cannot be written.
            ValueError: if its content is damaged or was shortened; the file is not changed.
        """
        path = self.path
        if path is None:
            return {}, []
        if path.is_file() and path.stat().st_size and not (self.resumes and _begins_as_recording(path)):
            raise FileExistsError(
                f"{path}: already exists, and a new recording does not replace it; delete it, or choose another path"
            )
        # Read before anything is cut off, so that a damaged file is not changed.
        held = read(path, self.length) if self.length else ({}, [])
        file = AppendedFile(path)
        try:
            file.cut(self.length)
        except BaseException:
            file.close()
            raise
        self._file, self.resumes, self._is_empty = file, True, not self.length
        return held

    def add(self, header: Record, record: Record) -> None:
        """Write a record eventually, with anything added to it before the next one."""
        if self._file is None:
            return
        if len(self._unwritten) >= _LINES:
            self._write()
        # The header is written with the first record, since only a step shows all that it holds.
        self._unwritten += [header, record] if self._is_empty else [record]
        self._is_empty = False

    def sync(self) -> None:
        """Bring everything to the disk."""
        self._write()
        if self._file is None:
            return
        try:
            self.length = self._file.synced()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Bring everything to the disk, and write nothing more."""
        self.sync()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self) -> None:
        lines, self._unwritten = self._unwritten, []
        if self._file is None or not lines:
            return
        try:
            self._file.write("".join(map(line, lines)))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Stop writing: training is worth more than its recording."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # the same error again, from unwritten data
                file.close()
        if self.strict:
            raise error
        self.path = None  # if recording begins again, memory holds more than the file
        warnings.warn(
            f"Recorder: {error}; recording continues in memory only: save it elsewhere with "
            "recorder.recording.save(path)",
            RuntimeWarning,
            stacklevel=2,
        )


def _begins_as_recording(path: Path) -> bool:
    """Whether a recorder wrote the file, perhaps one that was killed while it wrote the first line."""
    first = line({"format": FORMAT.name})[:-2].encode()
    with path.open("rb") as file:
        return first.startswith(file.read(len(first)))
