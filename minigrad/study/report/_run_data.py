"""The data of a report: everything that is read from a run's folder, or taken from a recording."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ...text import plural
from ...training._run_directory import WITHOUT, Ending, RunDirectory
from ...training.evaluation import correct, directions_of, without_part
from ...training.logs import METRICS, STEPS, Step, read_metrics, read_steps
from ...training.progress import Row
from ..records.recorder import Recorder
from ..records.recording import Recording, Source, opened
from ._model import DrawnModel, draw_recorded, draw_trained

DIVERGED = 10.0  # times the loss of the first step, as `minigrad.training.StopIfDiverged` has it


@dataclass(frozen=True)
class RunData:
    """A run, as its files have it.

    Attributes:
        name: of the folder or the file.
        config: the content of ``config.json``; empty if there is only a recording.
        rows: the metrics of each finished epoch, with ``epoch`` and ``step``.
        steps: the log of single steps: step, epoch, loss and learning rate.
        recording: the recording, which has at least one record, or ``None``.
        has_weights: whether the run wrote its final weights.
        ending: how the run ended, if its folder has that.
        draw_model: draws the model, or ``None`` without a model.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    steps: tuple[Step, ...] = ()
    recording: Recording | None = None
    has_weights: bool = False
    ending: Ending | None = None
    draw_model: Callable[[], DrawnModel] | None = None

    @property
    def is_run(self) -> bool:
        """Whether there is a run's folder, not just a recording."""
        return bool(self.config)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The options of the run."""
        found = self.config.get("arguments", {})
        return found if isinstance(found, dict) else {}

    @property
    def folder(self) -> str:
        """The run's folder as a shell argument, relative to where the run was trained."""
        output = self.arguments.get("output")
        return shlex.quote(os.path.join(output, self.name) if isinstance(output, str) else self.name)

    @property
    def epochs(self) -> int | None:
        """The number of epochs that were asked for, if that is known."""
        asked = self.arguments.get("epochs")
        return asked if type(asked) is int and asked > 0 else None

    @property
    def last_step(self) -> int:
        """The number of steps taken, according to the logs and the recording."""
        last = self.recording.records[-1] if self.recording else {"step": 0}
        recorded = int(last["step"]) - (last.get("taken") is False)
        logged = self.steps[-1].step if self.steps else 0
        return max(recorded, logged, int(self.rows[-1]["step"]) if self.rows else 0)

    @property
    def metrics(self) -> list[Row]:
        """The rows without the columns ``epoch`` and ``step``."""
        return [{name: value for name, value in row.items() if name not in ("epoch", "step")} for row in self.rows]

    @property
    def monitor(self) -> str | None:
        """The metric that measures the quality of the run: the first of these that it has."""
        known = self.rows[-1] if self.rows else {}
        return next((name for name in ("held_out_accuracy", "held_out_loss", "train_loss") if name in known), None)

    @property
    def direction(self) -> str:
        """Whether less (``"min"``) or more (``"max"``) of that metric is better."""
        return directions_of({"accuracy": correct})[without_part(self.monitor or "train_loss")] or "min"

    # --- how far it came ---------------------------------------------------------------------------------------------

    @property
    def has_diverged(self) -> bool:
        """Whether training was given up because the loss was far above the first step's."""
        if self.has_weights or not self.steps or not self.rows:
            return False
        first, last = self.steps[0].loss, self.rows[-1].get("train_loss", math.nan)
        return last > DIVERGED * abs(first) + 1e-3

    @property
    def state(self) -> str | None:
        """One of `training._run_directory.STATES`, inferred if the run is older than these; ``None`` if unknown."""
        if self.ending is not None:
            return self.ending.state
        if not self.has_weights:
            return "diverged" if self.has_diverged else None
        if self.epochs in (None, len(self.rows)):
            return "finished"
        return "stopped" if self.arguments.get("patience") is not None else None

    @property
    def epochs_done(self) -> str:
        """How many epochs were trained, such as ``"2 of 5 epochs"``."""
        done, asked = len(self.rows), self.epochs
        return f"{done:,} of {plural(asked, 'epoch')}" if asked not in (None, done) else plural(done, "epoch")

    @property
    def progress(self) -> str:
        """How far the run has come, such as ``"2 of 5 epochs, 20 steps"``."""
        return f"{self.epochs_done}, {plural(self.last_step, 'step')}"

    @property
    def status(self) -> str:
        """State and progress in one phrase."""
        if not self.is_run:
            return f"a recording up to step {self.last_step:,}"
        if self.state in ("finished", "stopped"):
            return f"{self.state} after {self.epochs_done}"
        return f"{WITHOUT}; {self.progress}" if self.state is None else f"{self.state} after {self.progress}"


def read_run(path: str | os.PathLike[str]) -> RunData:
    """Read a run's folder.

    Raises:
        FileNotFoundError: if it does not exist or is not a run's folder.
        ValueError: naming the file that is damaged; for the recording a `RecordingError`.
    """
    directory = RunDirectory.open(path)
    config = directory.config()
    has_recording = directory.record.exists() and directory.record.stat().st_size
    recording = Recording.load(directory.record) if has_recording else None
    return RunData(
        name=directory.path.resolve().name,
        config=config,
        rows=tuple(read_metrics(directory.path / METRICS)),
        steps=tuple(read_steps(directory.path / STEPS)),
        recording=recording if recording is not None and len(recording) else None,
        has_weights=directory.weights.exists(),
        ending=directory.ending(),
        draw_model=partial(draw_trained, directory, config),
    )


def read_any(source: Source) -> RunData:
    """Read a run's folder, or take a recorder, a recording or the file of one.

    Raises:
        TypeError: for anything else.
        FileNotFoundError: if the folder or file does not exist.
        ValueError: if a file is damaged, or a recording has no records.
    """
    if isinstance(source, str | os.PathLike) and not Path(source).is_file():
        return read_run(source)
    try:
        recording = opened(source)
    except TypeError:
        raise TypeError(
            f"report: needs a run directory, a Recorder, a Recording or its file, not a {type(source).__name__}"
        ) from None
    if not len(recording):
        raise ValueError("report: the recording has no records yet")
    name = Path(source).name if isinstance(source, str | os.PathLike) else "recording"
    draw_model = partial(draw_recorded, source) if isinstance(source, Recorder) else None
    return RunData(name=name, recording=recording, draw_model=draw_model)


def tensors_of(recording: Recording, layer: str) -> list[str]:
    """The names of a layer's parameters."""
    found = recording.header["layers"][layer].get("tensors", [])
    return [str(name) for name in found] if isinstance(found, list) else []
