"""Source: what a report is made of, read from a run directory or taken from a recording."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...training import catalog
from ...training.ending import Ending
from ...training.logs import METRICS, STEPS, Step, read_metrics, read_steps
from ...training.metrics import directions_of, without_part
from ...training.progress import Row
from ...training.run_directory import RunDirectory
from ..records.recorder import Recorder
from ..records.recording import Record, Recording
from ..records.source import Source as Recorded
from ..records.source import opened as recorded
from .rebuilt import Drawn, of_recorder, of_run


@dataclass(frozen=True)
class Source:
    """A run as its files have it.

    Attributes:
        name: of the folder, or what the caller says.
        config: what ``config.json`` holds; empty for a recording alone.
        rows: the metrics of each finished epoch, with ``epoch`` and ``step``.
        steps: step, epoch, loss and learning rate, a step each.
        recording: what a recorder wrote down, or ``None``; it has at least one record.
        has_weights: whether the run came to an end and wrote its weights.
        ending: how it ended, where it says so.
        model: draws the model, if there is one.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    steps: tuple[Step, ...] = ()
    recording: Recording | None = None
    has_weights: bool = False
    ending: Ending | None = None
    model: Callable[[], Drawn] | None = None

    @property
    def is_run(self) -> bool:
        """Whether there is a run directory, and not a recording alone."""
        return bool(self.config)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The options of the run."""
        found = self.config.get("arguments", {})
        return found if isinstance(found, dict) else {}

    @property
    def place(self) -> str:
        """The folder as a command takes it, seen from where the run was trained."""
        output = self.arguments.get("output")
        return shlex.quote(os.path.join(output, self.name) if isinstance(output, str) else self.name)

    @property
    def epochs(self) -> int | None:
        """How many epochs were asked for, if that is known."""
        asked = self.arguments.get("epochs")
        return asked if type(asked) is int and asked > 0 else None

    @property
    def last_step(self) -> int:
        """How many steps were taken, as far as the logs tell."""
        last = self.recording.records[-1] if self.recording else {"step": 0}
        recorded = int(last["step"]) - (last.get("taken") is False)
        logged = self.steps[-1].step if self.steps else 0
        return max(recorded, logged, int(self.rows[-1]["step"]) if self.rows else 0)

    @property
    def metrics(self) -> list[Row]:
        """The rows without what only counts."""
        return [{name: value for name, value in row.items() if name not in ("epoch", "step")} for row in self.rows]

    @property
    def monitor(self) -> str | None:
        """The metric that tells how good the run is."""
        known = self.rows[-1] if self.rows else {}
        return next((name for name in ("held_out_accuracy", "held_out_loss", "train_loss") if name in known), None)

    @property
    def direction(self) -> str:
        """Whether less (``"min"``) or more (``"max"``) of that metric is better."""
        return directions_of(catalog.METRICS)[without_part(self.monitor or "train_loss")] or "min"


def open_run(path: str | os.PathLike[str]) -> Source:
    """Read a run directory.

    Raises:
        FileNotFoundError: if it is none.
        ValueError: naming the file that is damaged; for the recording a `RecordingError`.
    """
    directory = RunDirectory.open(path)
    config = directory.config()
    recording = (
        Recording.load(directory.record) if directory.record.exists() and directory.record.stat().st_size else None
    )
    return Source(
        name=directory.path.resolve().name,
        config=config,
        rows=tuple(read_metrics(directory.path / METRICS)),
        steps=tuple(read_steps(directory.path / STEPS)),
        recording=recording if recording is not None and len(recording) else None,
        has_weights=directory.weights.exists(),
        ending=directory.ending(),
        model=partial(of_run, directory, config),
    )


def opened(source: Recorded) -> Source:
    """A recording, its file, a recorder, or a run directory.

    Raises:
        TypeError: for anything else.
        FileNotFoundError: if there is neither.
        ValueError: if a file is damaged, or a recording holds no records.
    """
    if isinstance(source, str | os.PathLike) and not Path(source).is_file():
        return open_run(source)
    try:
        recording = recorded(source)
    except TypeError:
        raise TypeError(
            f"report: needs a run directory, a Recorder, a Recording or its file, not a {type(source).__name__}"
        ) from None
    if not len(recording):
        raise ValueError("report: the recording holds no records yet")
    name = Path(source).name if isinstance(source, str | os.PathLike) else "recording"
    model = partial(of_recorder, source) if isinstance(source, Recorder) else None
    return Source(name=name, recording=recording, model=model)


POINTS = 500


def step_curve(source: Source) -> Recording | None:
    """The loss step by step as a recording of nothing else: of the log at most `POINTS` means of as many steps."""
    if source.steps:
        every = -(-len(source.steps) // POINTS)
        chunks = [source.steps[i : i + every] for i in range(0, len(source.steps), every)]
        means = [(chunk[-1].step, float(np.mean([each.loss for each in chunk]))) for chunk in chunks]
    elif source.recording:
        means = list(zip(source.recording.steps.tolist(), source.recording.values("mean_loss").tolist(), strict=True))
    else:
        return None
    records: list[Record] = [{"step": step, "mean_loss": loss, "layers": {}} for step, loss in means]
    return Recording({"optimizer": "", "layers": {}}, records)


def tensors_of(source: Source, layer: str) -> list[str]:
    """The names of the parameters of a layer."""
    assert source.recording is not None
    found = source.recording.header["layers"][layer].get("tensors", [])
    return [str(name) for name in found] if isinstance(found, list) else []
