"""Ending: how a run ended, in ``end.json``. A run that is under way has none, nor has one that was killed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import Format

END = "end.json"
_FORMAT = Format("minigrad end", "the end of a run")
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
        return _FORMAT.write(Path(folder, END), {**asdict(self), "reason": self.reason[: _MOST // 4]})


def read_ending(folder: str | os.PathLike[str]) -> Ending | None:
    """How the run in a folder ended, ``None`` where it does not say.

    Raises:
        ValueError: naming the file, if it is damaged, foreign, or of a newer version.
    """
    path = Path(folder, END)
    if not path.exists():
        return None
    try:
        values = _FORMAT.read(path, _MOST)
    except ValueError as error:
        raise ValueError(f"{error}; delete it, nothing else needs it") from None
    epoch, step, texts = values.get("epoch"), values.get("step"), [values.get(n) for n in ("state", "reason", "error")]
    counts = type(epoch) is int and epoch >= 0 and type(step) is int and step >= 0
    if not counts or not all(isinstance(text, str) for text in texts) or texts[0] not in STATES:
        raise ValueError(f"{path}: is damaged; delete it, nothing else needs it")
    return Ending(**{name: values[name] for name in Ending.__dataclass_fields__})
