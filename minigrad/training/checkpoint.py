"""Checkpoints: everything that a run needs to resume bit for bit, in one file.

A checkpoint is a tensor file (`minigrad.training.tensorfile`). It holds the arrays of the model and of the optimizer,
and as JSON the rest of the optimizer's state, the state of the schedulers, the random generator and the callbacks, the
position of the loader, and the progress. It contains no code, and reading it runs none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..checks import whole
from ..devices.arrays import to_host
from ..files import Format, clear_stale, link_atomically
from ..nn import Module
from .run import Callback, Run, Stretch
from .tensorfile import TensorFileError, put_arrays, read_tensors, take_arrays, write_tensors


class CheckpointError(TensorFileError):
    """A checkpoint that cannot be used; the text names the file, and nothing was loaded."""


_CHECKPOINT = Format("minigrad checkpoint", "a checkpoint", error=CheckpointError)
_WEIGHTS = Format("minigrad weights", "a file of weights")


class _Stateful(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...


def _check(call: str, path: Any, thing: Any, fits: bool, needed: str) -> None:
    """Refuse a wrong path or object; the error points out if they are swapped, in `torch.save`'s order."""
    name = needed.rpartition(" ")[2].lower()
    if isinstance(thing, str | os.PathLike) and not isinstance(path, str | os.PathLike):
        raise TypeError(f"{call}: the path comes first: {call}({os.fspath(thing)!r}, {name})")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{call}: needs a path, not a {type(path).__name__}: {call}(path, {name})")
    if not fits:
        hint = "; save_weights and load_weights take a model" if isinstance(thing, Module) else ""
        raise TypeError(f"{call}: needs {needed}, not a {type(thing).__name__}{hint}")


def save_checkpoint(path: str | os.PathLike[str], run: _Stateful) -> Path:
    """Write the state of a run atomically.

    Raises:
        OSError: naming the file; the file from before stays.
        FloatingPointError: if a parameter is NaN or infinite, because a run cannot resume from that.
        TypeError: if ``path`` is not a path or ``run`` not a run.
    """
    _check("save_checkpoint", path, run, hasattr(run, "state_dict") and not isinstance(run, Module), "a Run")
    arrays: dict[str, Any] = {}
    state = take_arrays(run.state_dict(), arrays)
    for name, array in arrays.items():
        if name.startswith("model/") and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FloatingPointError(f"{name.removeprefix('model/')} holds values that are not finite; not saved")
    return write_tensors(path, arrays, _CHECKPOINT.stamped({"state": state}))


def read_checkpoint(path: str | os.PathLike[str], max_bytes: int = 1 << 33) -> dict[str, Any]:
    """Read the state in a checkpoint as nested dictionaries. Whether it fits a run is checked by `load_checkpoint`.

    Raises:
        FileNotFoundError: if the file does not exist.
        CheckpointError: if it is damaged, not a checkpoint, or of a newer version.
    """
    try:
        arrays, document = read_tensors(path, max_bytes)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from None
    _CHECKPOINT.check(path, document)
    try:
        state = put_arrays(document.get("state"), arrays)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is damaged: {error}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: is damaged: it holds no state")
    return state


def load_checkpoint(path: str | os.PathLike[str], run: Run) -> None:
    """Restore the state of a run from a checkpoint.

    Raises:
        FileNotFoundError: if the file does not exist.
        CheckpointError: if it is damaged, or of another model, optimizer, schedule or loader; the run is unchanged.
        TypeError: if ``path`` is not a path or ``run`` not a run.
    """
    _check("load_checkpoint", path, run, isinstance(run, Run), "a Run")
    state = read_checkpoint(path, size_limit(run.model))
    try:
        run.load_state_dict(state)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: does not fit this run: {' '.join(str(error).split())}") from error


def size_limit(model: Module) -> int:
    """Return more bytes than a checkpoint of this model can need: no optimizer keeps 15 numbers per parameter."""
    held = sum(value.data.nbytes for value in model._named_state().values())
    return 16 * held + (1 << 26)


# --- weights ---------------------------------------------------------------------------------------------------------


def save_weights(path: str | os.PathLike[str], model: Module) -> Path:
    """Write parameters and buffers under PyTorch's names; ``safetensors.torch.load_file`` reads them there.

    Raises:
        OSError: naming the file; the file from before stays.
        TypeError: if ``path`` is not a path or ``model`` not a model.
    """
    _check("save_weights", path, model, isinstance(model, Module), "a model")
    arrays = {name: to_host(value.data) for name, value in model._named_state().items()}
    return write_tensors(path, arrays, _WEIGHTS.stamped({}))


def load_weights(path: str | os.PathLike[str], model: Module) -> None:
    """Read the weights of a model from any safetensors file, minigrad's, PyTorch's or another's.

    Raises:
        FileNotFoundError: if the file does not exist.
        TensorFileError: if it is damaged, or of another model; the model is unchanged.
        TypeError: if ``path`` is not a path or ``model`` not a model.
    """
    _check("load_weights", path, model, isinstance(model, Module), "a model")
    arrays, _ = read_tensors(path, size_limit(model), signed=False)
    try:
        model.load_state_dict(arrays)
    except ValueError as error:
        raise TensorFileError(f"{path}: {'; '.join(line.strip() for line in str(error).splitlines())}") from None


# --- a folder of checkpoints -----------------------------------------------------------------------------------------

BEST = "best.safetensors"


def checkpoint_path(folder: str | os.PathLike[str], step: int) -> Path:
    """Return the path of the checkpoint after ``step`` steps."""
    return Path(folder) / f"step-{step:09d}.safetensors"


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints in a folder in the order of their steps, without the best one."""
    found = [path for path in Path(folder).glob("step-*.safetensors") if path.stem[5:].isdecimal()]
    return sorted(found, key=lambda path: int(path.stem[5:]))


class Checkpoints(Callback):
    """Saves the run at its beginning, after every epoch and when it is stopped, and keeps the last few and the best.

    Args:
        folder: the folder, which is made if necessary.
        every: save every N steps as well.
        keep: how many of the last ones to keep, at least 1. The best one is kept as ``best.safetensors``.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int | None = None, keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), whole(self, "keep", keep)
        self.every = None if every is None else whole(self, "every", every)
        self._saved = (-1, -1)

    def begin(self, run: Run) -> None:
        """Make the folder, delete partial files of killed processes, and save unless a checkpoint exists."""
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_stale(self.folder)
        if not checkpoints(self.folder):
            self.save(run)
        # The process may have been killed between saving its best epoch and giving the file its second name.
        path, progress = checkpoint_path(self.folder, run.progress.step), run.progress
        if progress.best_epoch == progress.epoch and progress.batch == 0 and path.exists():
            self._keep_best(path)

    def after_step(self, run: Run) -> None:
        """Save if it is time."""
        if self.every is not None and run.progress.step % self.every == 0:
            self.save(run)

    def stretch(self, run: Run) -> int | None:
        """Return the number of steps until the next save."""
        return None if self.every is None else self.every - run.progress.step % self.every

    def after_stretch(self, run: Run, steps: Stretch) -> None:
        """Save if it is time."""
        self.after_step(run)

    def after_epoch(self, run: Run) -> None:
        """Save, and keep it if it is the best so far."""
        path = self.save(run)
        if run.progress.best_epoch == run.progress.epoch:
            self._keep_best(path)

    def end(self, run: Run) -> None:
        """Save where the run was stopped."""
        if self._saved != (run.progress.step, run.progress.epoch):
            self.save(run)

    def save(self, run: Run) -> Path:
        """Save now, and delete all but the last `keep` checkpoints."""
        path = save_checkpoint(checkpoint_path(self.folder, run.progress.step), run)
        for old in checkpoints(self.folder)[: -self.keep]:
            if old != path:
                old.unlink(missing_ok=True)
        self._saved = (run.progress.step, run.progress.epoch)
        return path

    def _keep_best(self, path: Path) -> None:
        """Give the file a second name. It never changes, because every save makes a new file."""
        link_atomically(path, self.folder / BEST)
