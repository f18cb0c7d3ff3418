"""The file of a recording while it grows: lines are written together, and it can be cut back for a run that goes on."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

from ...training.logs import AppendedFile
from .recording import Record, Recording, line, may_be_recording

_LINES = 64  # records that are written together


class RecordFile:
    """Where a recorder writes its records; without a path, nowhere.

    Attributes:
        path: as it was given; ``None`` also when it could not be written any more.
        length: how many bytes of it are surely on the disk.
        goes_on: whether what lies behind that length may be dropped; otherwise the file has to be new.
        strict: whether one that cannot be written any more, as on a full disk, is an error; otherwise it is a warning,
            and nothing more is written.

    Raises:
        IsADirectoryError: if the path is that of a folder.
        TypeError: if it is none.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        if not isinstance(path, str | os.PathLike | None):
            raise TypeError(f"Recorder: path must be that of a file, not {path!r:.40}")
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.is_dir():
            raise IsADirectoryError(21, "Recorder: is a folder; name a file", str(path))
        self.length = 0
        self.goes_on = self.strict = False
        self._file: AppendedFile | None = None
        self._unwritten: list[Record] = []
        self._is_empty = True

    def __getstate__(self) -> dict[str, Any]:
        self.sync()
        return {**vars(self), "_file": None}

    def open(self) -> Recording:
        """Begin to write, behind what is there up to the length; what that is.

        Raises:
            FileExistsError: if it holds something that is not to be replaced.
            OSError: naming the file, if it cannot be written.
            ValueError: if what it holds is damaged, or shorter than it was; it stays as it is.
        """
        path = self.path
        if path is None:
            return Recording()
        if path.is_file() and path.stat().st_size and not (self.goes_on and may_be_recording(path)):
            raise FileExistsError(
                f"{path}: is there already, and a new recording does not replace it; delete it, or choose another path"
            )
        # Read before anything is cut off, so that a damaged one stays as it is.
        held = Recording.load(path, self.length) if self.length else Recording()
        file = AppendedFile(path)
        try:
            file.cut(self.length)
        except BaseException:
            file.close()
            raise
        self._file, self.goes_on, self._is_empty = file, True, not self.length
        return held

    def add(self, header: Record, record: Record) -> None:
        """Write a record by and by; what is added to it until the next one is written too."""
        if self._file is None:
            return
        if len(self._unwritten) >= _LINES:
            self._write()
        # The header stands in front of the first record, since only a step shows all that it says.
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
        """Training is worth more than its recording."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # the same error, of what is left to be written
                file.close()
        if self.strict:
            raise error
        self.path = None  # when recording begins anew, memory holds more than the file
        warnings.warn(
            f"Recorder: {error}; recording goes on in memory alone: save it elsewhere with "
            "recorder.recording.save(path)",
            RuntimeWarning,
            stacklevel=2,
        )
