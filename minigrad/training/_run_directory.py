"""Run directories: the files of a training run, in ``runs/NAME-1/``, ``runs/NAME-2/`` and so on."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..files import Format, clear_stale, locked, named, sync_folder, temporary_for
from .checkpoint import BEST, checkpoints, read_checkpoint
from .logs import METRICS, STEPS

_CONFIG = Format("minigrad run", "the configuration of a run")
_ENDING = Format("minigrad end", "the end of a run")
CONFIG, WEIGHTS, CURVES, CHECKPOINTS = "config.json", "model.safetensors", "curves.png", "checkpoints"
RECORD, REPORT, END = "record.jsonl", "report.html", "end.json"  # the first two are written by study
_NAMED = 8  # the most runs in a folder that an error names


def plain_name(text: str) -> str:
    """Return the text as the name of a run, with dashes for the characters that a name cannot have."""
    return re.sub(r"[^\w.+-]+", "-", text).strip(".+-")[:80] or "run"


# --- how a run ended -------------------------------------------------------------------------------------------------

# In this order: after the last epoch; by a callback; by a signal, such as Ctrl-C; because numbers were not finite or
# the loss was far too large; by another error, such as a full disk.
STATES = ("finished", "stopped", "interrupted", "diverged", "failed")
WITHOUT = "ended without a word: killed, or still running"
_LONGEST_ENDING = 1 << 16  # bytes of the file; the reason may have a quarter of them


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: one of `STATES`.
        epoch, step: how many of them were complete.
        reason: why, as text; may be empty.
        error: the class of the error; empty without one.
    """

    state: str
    epoch: int
    step: int
    reason: str = ""
    error: str = ""

    def __str__(self) -> str:
        return f"{self.state} after step {self.step}" + (f": {self.reason}" if self.reason else "")

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write it to a run directory, atomically.

        Raises:
            OSError: naming the file.
        """
        return _ENDING.write(Path(folder, END), {**asdict(self), "reason": self.reason[: _LONGEST_ENDING // 4]})


def read_ending(folder: str | os.PathLike[str]) -> Ending | None:
    """Read how the run in a folder ended; ``None`` without that file: the run is in progress, or was killed.

    Raises:
        ValueError: naming the file, if it is damaged, of another format, or of a newer version.
    """
    path = Path(folder, END)
    if not path.exists():
        return None
    try:
        values = _ENDING.read(path, _LONGEST_ENDING)
    except ValueError as error:
        raise ValueError(f"{error}; delete it, nothing else needs it") from None
    epoch, step, texts = values.get("epoch"), values.get("step"), [values.get(n) for n in ("state", "reason", "error")]
    counts = type(epoch) is int and epoch >= 0 and type(step) is int and step >= 0
    if not counts or not all(isinstance(text, str) for text in texts) or texts[0] not in STATES:
        raise ValueError(f"{path}: is damaged; delete it, nothing else needs it")
    return Ending(**{name: values[name] for name in Ending.__dataclass_fields__})


# --- the folder ------------------------------------------------------------------------------------------------------


class RunDirectory:
    """The folder of one run.

    ``config.json`` holds everything needed to repeat the run, ``metrics.csv`` a line per epoch, ``steps.jsonl`` a line
    per step, ``record.jsonl`` what a `minigrad.study.Recorder` wrote, ``model.safetensors`` the weights under PyTorch's
    names, ``checkpoints/`` the states from which the run can resume, ``curves.png`` a picture of the metrics,
    ``end.json`` how the run ended, and ``report.html`` the page of ``minigrad report``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(
        cls, output: str | os.PathLike[str], name: str, config: dict[str, Any], fill: Callable[[Path], None]
    ) -> RunDirectory:
        """Make a new folder with the next free number; ``fill`` writes the first checkpoint into it.

        It is made under another name and renamed when it is complete, so that a run directory always has a
        configuration and a checkpoint, even if the process is killed.

        Raises:
            OSError: naming the folder, if it cannot be written.
            ValueError: if the name is not a valid folder name.
        """
        if not re.fullmatch(r"[\w][\w.+-]{0,99}", name):
            raise ValueError(f"a run is named with letters, digits, dots and dashes, not {name!r:.120}")
        output = Path(output)
        with contextlib.ExitStack() as stack:
            try:
                output.mkdir(parents=True, exist_ok=True)
                clear_stale(output, holding=(CONFIG, CHECKPOINTS))
                temporary = stack.enter_context(temporary_for(output / name, folder=True))
            except OSError as error:
                raise named(error, output) from error
            cls(temporary).write_config(config)
            fill(temporary)
            path = _publish(temporary, output, name)
            try:
                sync_folder(output)
            except BaseException:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Open an existing folder.

        Raises:
            FileNotFoundError: if the folder does not exist, or is not a run directory.
        """
        if Path(path).is_file():
            folder = Path(path).parent
            which = f", {folder}" if Path(folder, CONFIG).exists() else ""
            raise FileNotFoundError(f"{path}: is a file; give the folder of a run{which}")
        if not Path(path).is_dir():
            raise FileNotFoundError(f"{path}: no such folder")
        if not Path(path, CONFIG).exists():
            inside = sorted(each.parent.name for each in Path(path).glob(f"*/{CONFIG}"))
            more = ", ..." * (len(inside) > _NAMED)
            found = f"; the runs in it are {', '.join(inside[:_NAMED])}{more}" if inside else ""
            raise FileNotFoundError(f"{path}: is not a run directory: it has no {CONFIG}{found}")
        return cls(path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A block in which no other command may write the run, if the system has locks.

        Raises:
            ValueError: if another process is writing it.
            OSError: if it cannot be opened.
        """
        with locked(self.path, "run"):
            yield

    def write_config(self, config: dict[str, Any]) -> None:
        """Write ``config.json`` atomically."""
        _CONFIG.write(self.path / CONFIG, config)

    def config(self) -> dict[str, Any]:
        """Read ``config.json``.

        Raises:
            ValueError: naming the file, if it is damaged, of another format, or of a newer version.
        """
        path = self.path / CONFIG
        config = _CONFIG.read(path, 1 << 22)
        for name in ("arguments", "data"):
            if not isinstance(config.get(name), dict):
                raise ValueError(f"{path}: is damaged: it has no {name}")
        return config

    def ending(self) -> Ending | None:
        """Return how the run ended; ``None`` if it was killed, is still running, or is older than this file.

        Raises:
            ValueError: naming the file, if it is damaged, of another format, or of a newer version.
        """
        return read_ending(self.path)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def weights(self) -> Path:
        """The file with the weights of the finished run."""
        return self.path / WEIGHTS

    @property
    def record(self) -> Path:
        """The file of the recorder, if the run has one."""
        return self.path / RECORD

    @property
    def curves(self) -> Path:
        """The picture of the metrics."""
        return self.path / CURVES

    @property
    def report(self) -> Path:
        """The page about the run, if one was made."""
        return self.path / REPORT

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.checkpoints / BEST

    def restorable(self) -> list[Path]:
        """Return the checkpoints from which the run can resume, the last one last; the best one comes first."""
        return [*([self.best] if self.best.exists() else []), *checkpoints(self.checkpoints)]

    def last_checkpoint(self) -> Path:
        """Return the checkpoint to resume from: the last one, or the best one if there is no other.

        Raises:
            FileNotFoundError: if the run has no checkpoint.
        """
        found = self.restorable()
        if not found:
            raise FileNotFoundError(f"{self.checkpoints}: has no checkpoint")
        return found[-1]

    def surplus(self, checkpoint: Path) -> int | None:
        """Return how many bytes the logs hold beyond a checkpoint; ``None`` if it is damaged, or they are shorter."""
        try:
            lengths: dict[str, int] = {}
            for each in read_checkpoint(checkpoint)["callbacks"]:
                lengths |= each.get("lengths", {})
                lengths |= {RECORD: each["length"]} if "length" in each else {}
            held = {name: path.stat().st_size for name in lengths if (path := self.path / name).exists()}
            more = [held.get(name, 0) - length for name, length in lengths.items()]
        except (ValueError, OSError, KeyError, TypeError, AttributeError):
            return None
        return None if min(more, default=0) < 0 else sum(more)

    def files(self) -> list[str]:
        """Return the names of the existing files, in the order in which one reads them."""
        known = (CONFIG, METRICS, STEPS, RECORD, WEIGHTS, CURVES, END, REPORT)
        names = [name for name in known if (self.path / name).exists()]
        kept = checkpoints(self.checkpoints) + ([self.best] if self.best.exists() else [])
        return [*names, *(f"{CHECKPOINTS}/{path.name}" for path in kept)]


def _publish(temporary: Path, output: Path, name: str) -> Path:
    """Rename the folder, with the first free number."""
    number = 1
    while True:
        path = output / f"{name}-{number}"
        if not path.exists():
            try:
                temporary.rename(path)
            except OSError:
                if not path.exists():
                    raise
            else:
                return path
        number += 1


def versions() -> dict[str, str]:
    """Return the versions of everything that affects the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    # Not the version of the installed package, which may be another one.
    found = {"python": platform.python_version(), "platform": platform.platform(), "minigrad": __version__}
    for package in ("numpy", "numba", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # imported from a folder where it was not installed
            found[package] = "unknown"
    return found
