"""Source: what a recording is taken from, a recorder, its recording, its file, or the folder of a run."""

from __future__ import annotations

import os
from pathlib import Path

from ...training.run_directory import RECORD
from .recorder import Recorder
from .recording import Recording

Source = Recording | Recorder | str | os.PathLike[str]


def opened(source: Source) -> Recording:
    """A recording, the one that a recorder makes, or the one in a file or in a run's folder.

    Raises:
        TypeError: for anything else.
        FileNotFoundError, RecordingError: as `Recording.load`.
    """
    if isinstance(source, Recording):
        return source
    if isinstance(source, Recorder):
        return source.recording
    if isinstance(source, str | os.PathLike):
        return Recording.load(Path(source, RECORD) if Path(source).is_dir() else source)
    raise TypeError(f"needs a Recording, a Recorder or the path of a record.jsonl, not a {type(source).__name__}")
