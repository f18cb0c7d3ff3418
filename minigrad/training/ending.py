"""Ending: how a run ended, in ``end.json``. A run that is under way has none, nor has one that was killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .files import read_bounded, write_atomically

END = "end.json"
FORMAT, VERSION = "minigrad end", 1
# After its last epoch; by a callback; by a signal, such as Ctrl-C; by numbers that are not finite or a loss far too
# large; by another error, such as a full disk.
STATES = ("finished", "stopped", "interrupted", "diverged", "failed")
WITHOUT = "ended without a word: killed, or still running"
_MOST = 1 << 16  # bytes of the file, and of the reason in it a quarter


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: one of `STATES`.
        epoch, step: how many of them were complete.
        reason: why, in words; empty where there is nothing to say.
        error: the class of the error, empty if it was none.
    """

    state: str
    epoch: int
    step: int
    reason: str = ""
    error: str = ""

    def __str__(self) -> str:
        return f"{self.state} after step {self.step}" + (f": {self.reason}" if self.reason else "")

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write it in a run directory, in one step.

        Raises:
            OSError: naming the file.
        """
        values = {"format": FORMAT, "version": VERSION, **asdict(self), "reason": self.reason[: _MOST // 4]}
        return write_atomically(Path(folder, END), (json.dumps(values, indent=2) + "\n").encode())


def read_ending(folder: str | os.PathLike[str]) -> Ending | None:
    """How the run in a folder ended, ``None`` where it does not say.

    Raises:
        ValueError: naming the file, if it is damaged, foreign, or of a newer version.
    """
    path = Path(folder, END)
    if not path.exists():
        return None
    try:
        values = json.loads(read_bounded(path, _MOST).decode())
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ValueError(f"{path}: does not say how a run ended; delete it, nothing else needs it")
    if type(values.get("version")) is not int or values["version"] > VERSION:
        raise ValueError(f"{path}: was written by a newer minigrad (version {values.get('version')!r:.20})")
    epoch, step, texts = values.get("epoch"), values.get("step"), [values.get(n) for n in ("state", "reason", "error")]
    counts = type(epoch) is int and epoch >= 0 and type(step) is int and step >= 0
    if not counts or not all(isinstance(text, str) for text in texts) or texts[0] not in STATES:
        raise ValueError(f"{path}: is damaged; delete it, nothing else needs it")
    return Ending(**{name: values[name] for name in Ending.__dataclass_fields__})
