"""Recorder: watches a training from the optimizer's hooks, with no wrapper in the model."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...autograd.hooks import RemovableHandle
from ...autograd.tensor import Tensor
from ...data.dataset import is_stored
from ...nn import Module
from ...optim import Optimizer
from ...optim._state import same_keys, whole_number
from ...training import Callback, Run
from ...training.blas import one_blas_thread
from ...training.nonfinite import NonFiniteLossError
from .activations import Output, as_probe, even_rows, measure, observe
from .arguments import check_pair, chosen_layers, listed
from .around import Gradient, LeftOut
from .clip_counts import ClipCounts
from .cost import Cost
from .header import header
from .quantities import StepReader, resting
from .record_file import RecordFile
from .recording import Record, Recording
from .step_arrays import Before, StepArrays, Stretch, host_copy, snapshot, stretches

EVERY = 250  # steps; benchmarks/recorder.py measures what it costs
# Rows of the training data that make the probe, where none was given.
PROBE_ROWS = 128


class Recorder(Callback):
    """Records what every layer goes through, at the first step that it sees and at every so many.

    ::

        with study.Recorder(model, optimizer, probe=features[:128]) as recorder:
            for x, y in loader:
                ...
                recorder.note(loss)
                optimizer.step()
        print(recorder)
        recorder.recording.layer("0", "update_ratio")

    It is a callback of `minigrad.training.fit` too, ``callbacks=[study.Recorder(model, optimizer)]``, which then learns
    the loss from the run. Training is the same to the last bit with and without it.

    Args:
        model: whose outputs are looked at.
        optimizer: whose steps are recorded.
        every: the interval between records, in the optimizer's steps, which are recorded where it divides them.
        layers: the names of the layers to record, by default all; a name stands for all that lie under it.
        probe: a fixed batch that the model is run on at each record: an array, a tensor or a tuple of them, with a
            row per example. By default rows of the training data under `fit`, else the first batch that the model
            sees. ``False`` looks at no activations.
        path: a file to write to as well, line by line; a run that goes on from a checkpoint writes on in it. One that
            holds something else is left as it is: recording does not begin, with a ``FileExistsError``. When it
            cannot be written any more, as on a full disk, recording goes on in memory, with a warning; under `fit` it
            is an error, after which the run can go on from its checkpoint.
        max_records: how many records are kept in memory. When there are more, the interval doubles and those between
            are dropped; the file keeps them.

    Attributes:
        recording: the `Recording` so far.
        interval: the interval now.
        probe: the arguments that the model is given at each record; ``None`` as long as there are none.

    Raises:
        ValueError: for an interval or a bound that is not positive, an unknown layer, or an optimizer that holds no
            parameter of the model; from the step, for a probe that the model cannot be run on.
        TypeError: for something that is no model, optimizer, list of layers or probe.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        every: int = EVERY,
        layers: Iterable[str] | None = None,
        probe: Any = None,
        path: str | os.PathLike[str] | None = None,
        max_records: int = 1000,
    ) -> None:
        for name, value, least in (("every", every, 1), ("max_records", max_records, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Recorder: {name} must be a whole number of at least {least}, not {value!r}")
        check_pair(model, optimizer)
        self.model, self.optimizer = model, optimizer
        # Inside Lookahead, the optimizer that moves the fast weights.
        self._base: Optimizer = getattr(optimizer, "base", optimizer)
        self.every = self.interval = every
        self._layers = None if layers is None else chosen_layers(layers, optimizer.store.layers)
        self.probe = as_probe(probe)
        self._wants_probe = probe is not False
        self.max_records = max_records
        self.recording = Recording()
        self.cost = Cost()
        self._handles: list[RemovableHandle] = []
        self._file = RecordFile(path)
        self._first = 0  # the first step that was seen, which is recorded whatever its number
        self._in_run = False  # under `fit`, which tells the loss after the step
        self._clips = ClipCounts(self._base)
        self._losses: list[float] = []
        self._asked = False  # whether the next step is recorded, since its loss is the first that is not finite
        self._lost_at = 0  # that step
        self._left_out = LeftOut(model, self._base)
        self._gradient: Gradient | None = None  # of the last record, until the next step
        self._before: Before | None = None
        self._fast: list[npt.NDArray[Any]] | None = None
        self._seen: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}
        self._stretches: tuple[Any, dict[str, list[Stretch]]] = (None, {})

    def __getstate__(self) -> dict[str, Any]:
        """A copy records nothing until it is attached, or its run begins; then it goes on from here."""
        own = {name: value for name, value in vars(self).items() if name != "_left_out"}
        own |= {"_before": None, "_fast": None, "_gradient": None, "_stretches": (None, {})}
        return own | {"_handles": [], "_in_run": False}

    # --- attaching ---------------------------------------------------------------------------------------------------

    def attach(self) -> Self:
        """Begin to record; `detach` ends it."""
        if self._handles:
            raise RuntimeError("Recorder: is recording already")
        held = self._file.open()
        if len(held):
            self.recording.header = held.header
            self.recording.records = [record for record in held.records if self._stays(record)]
        self._left_out = LeftOut(self.model, self._base)
        self._handles = [
            _observed(self.optimizer._pre_hooks, self._before_step),
            _observed(self.optimizer._post_hooks, self._after_step),
        ]
        if self._base is not self.optimizer:
            self._handles.append(_observed(self._base._post_hooks, self._after_fast_step))
        if self.probe is None and self._wants_probe:
            self._catch_probe()
        self.cost.begin()
        return self

    def detach(self) -> None:
        """Take every hook off, and bring what is unwritten to the file; doing so twice is harmless."""
        self.cost.end()
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
        began = self._before is not None and self._lost_at > self.optimizer.steps
        if handles and (self._asked or began):
            self._keep_untaken()
        elif handles and self.recording.records:
            self._note_left_out(self.recording.records[-1])
        self._asked, self._before, self._fast, self._gradient = False, None, None, None
        self._file.close()

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(self, *error: object) -> None:
        self.detach()

    def _catch_probe(self) -> None:
        """Copy the first batch that the model sees in training mode."""

        def catch(module: Module, args: tuple[Any, ...]) -> None:
            if self.model.training and self.probe is None:
                self.probe = as_probe(tuple(even_rows(each, PROBE_ROWS) for each in args))
                handle.remove()

        handle = _observed(self.model._forward_pre_hooks, catch)
        self._handles.append(handle)

    # --- under fit ---------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """Begin to record; the probe is rows of the training data, evenly spread, where none was given."""
        if self.probe is None and self._wants_probe and is_stored(run.loader.dataset):
            self.probe = as_probe(even_rows(run.loader.dataset.features, PROBE_ROWS))
        self._in_run = self._file.strict = True
        self.attach()

    def after_step(self, run: Run) -> None:
        """Take over the loss."""
        self._losses.append(math.nan if run.progress.loss is None else run.progress.loss)
        records = self.recording.records
        if records and records[-1]["step"] == run.progress.step:
            records[-1] |= self._loss()

    def failed(self, run: Run, error: BaseException) -> None:
        """Record what the model was when its loss was not finite: the step that was not taken."""
        if not isinstance(error, NonFiniteLossError) or not self._handles:
            return
        self._losses.append(error.loss)
        self._keep_untaken(str(error))

    def close(self) -> None:
        """End recording."""
        self.detach()
        self._in_run = self._file.strict = False

    def state_dict(self) -> dict[str, Any]:
        """Where the file stands, and what is counted towards the next record."""
        self._file.sync()
        self._clips.settle()
        counts = {"counted": list(self._clips.steps), "acted": list(self._clips.acted)}
        place = {"length": self._file.length, "interval": self.interval, "first": self._first, "lost_at": self._lost_at}
        return {**place, "losses": list(self._losses), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the records before are read from the file when the run begins."""
        same_keys("state of a Recorder", state, self.state_dict())
        places = ("length", "interval", "first", "lost_at")
        length, interval, first, lost_at = (whole_number(f"Recorder: {name}", state[name]) for name in places)
        if interval < 1 or interval % self.every:
            raise ValueError(f"Recorder: the interval {interval} is not {self.every} doubled some times")
        counts = [[whole_number(f"Recorder: {n}", v) for v in listed(state[n], n)] for n in ("counted", "acted")]
        if any(len(each) != len(self._base.clips) for each in counts):
            raise ValueError("Recorder: the saved run had other clips")
        losses = [float(value) for value in listed(state["losses"], "losses")]
        self._file.length, self._file.goes_on = length, True
        self.interval, self._first, self._losses, self._lost_at = interval, first, losses, lost_at
        self._clips.steps, self._clips.acted = counts

    # --- a step ------------------------------------------------------------------------------------------------------

    def note(self, loss: Any) -> None:
        """Tell the loss of the step that is about to be taken: a number, or a tensor with one.

        The first that is not finite has its step recorded, whatever the interval.
        """
        try:
            value = float(loss.item() if isinstance(loss, Tensor) else loss)
        except (TypeError, ValueError) as error:
            shown = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else f"{loss!r:.40}"
            raise type(error)(f"Recorder: note takes a loss, a number or a tensor with one, not {shown}") from None
        self._losses.append(value)
        self._asked = self._asked or not (math.isfinite(value) or self._lost_at)

    def _is_due(self, step: int) -> bool:
        return not step % self.interval or step == (self._first or step)

    def _stays(self, record: Record) -> bool:
        """Whether a record is kept as they become more."""
        return self._is_due(record["step"]) or record["step"] == self._lost_at

    @property
    def _last(self) -> int:
        """The step of the last record. One that is taken again, as with an older state, is not recorded again."""
        return int(self.recording.records[-1]["step"]) if self.recording.records else 0

    def _before_step(self, optimizer: Optimizer) -> None:
        step = optimizer.steps + 1
        if step % self.interval and self._first and not self._asked and self._gradient is None:
            return  # at once: nearly every step ends here
        if self._gradient is not None:
            if self._gradient.was_kept():
                self.recording.records[-1]["gradient_kept"] = True
            self._gradient = None
        if not (self._asked or self._is_due(step)) or step <= self._last:
            return
        if self._asked:
            self._asked, self._lost_at = False, step
        self._base.prepare()  # makes the state, which the first step finds
        started = time.perf_counter()
        self._look_at_probe()
        self._before = snapshot(self._base)
        self.cost.spent += time.perf_counter() - started

    def _look_at_probe(self) -> None:
        """What the model makes of the probe now, if there is one."""
        self._seen = {}
        if self.probe is not None and self._wants_probe:
            device = self._base.store.device
            with one_blas_thread():  # so that the number of cores shows neither in the numbers nor in what they cost
                outputs = self._observe(tuple(part.to(device) for part in self.probe))
                self._seen = {name: measure(output) for name, output in outputs.items()}
            self._kinds = self._kinds or {name: output.kind for name, output in outputs.items()}

    def _observe(self, probe: tuple[Any, ...]) -> dict[str, Output]:
        """What the model makes of the probe."""
        try:
            return observe(self.model, probe)
        except (ValueError, TypeError, IndexError) as error:
            shapes = ", ".join(f"{part.shape} {part.dtype}" for part in probe)
            raise ValueError(
                f"Recorder: the model cannot be run on the probe, {shapes}; give one as the model takes it, or "
                f"probe=False: {error}"
            ) from error

    def _after_fast_step(self, base: Optimizer) -> None:
        """Keep what the fast step made, before slow weights move it."""
        if self._before is not None:
            self._fast = [host_copy(buffer.data) for buffer in base.store.buffers]

    def _after_step(self, optimizer: Optimizer) -> None:
        self.cost.steps += 1
        if self._before is None:
            if self._base.clips:
                self._clips.count()
            return
        before, self._before = self._before, None
        started = time.perf_counter()
        self._clips.count()
        self.cost.counting += (counted := time.perf_counter() - started)
        record = self._record(optimizer.steps, before)
        if not self._in_run:
            record |= self._loss()
            self._gradient = Gradient(self._base)
        self._keep(record)
        self._fast = None
        self.cost.records += 1
        self.cost.spent += time.perf_counter() - started - counted

    def _record(self, step: int, before: Before) -> Record:
        layout = self._base._layout
        assert layout is not None
        if self._stretches[0] is not layout:
            found = stretches(layout)
            chosen = found if self._layers is None else {name: found[name] for name in found if name in self._layers}
            self._stretches = (layout, chosen)
        record: Record = {"step": step, "stepped": self._base.stepped}
        with np.errstate(all="ignore"), one_blas_thread():
            arrays = StepArrays(self._base, before, self._fast)
            record["layers"] = StepReader(self._base, arrays, self._stretches[1]).layers()
        if self._base.clips:
            record["clips"] = self._clips.take(self._base.clip_reports())
        if self._seen:
            record["activations"] = self._seen
        self._note_left_out(record)
        return record

    def _keep_untaken(self, reason: str = "") -> None:
        """Record the step that was not taken, since its loss was not finite: what the model was then."""
        step = self.optimizer.steps + 1
        if step <= self._last:
            return
        self._lost_at = step
        with contextlib.suppress(ValueError):  # training has ended by another error, which must be heard
            self._look_at_probe()
        record: Record = {"step": step, "stepped": False, "taken": False}
        record["layers"] = resting(self._base.store, self._layers)
        if self._seen:
            record["activations"] = self._seen
        if reason:
            record["reason"] = reason
        self._keep(record | self._loss())

    def _note_left_out(self, record: Record) -> None:
        """Say which parameters nobody has moved so far."""
        names = self._left_out.names()
        record.pop("left_out", None)
        if names:
            record["left_out"] = names

    def _loss(self) -> dict[str, float]:
        """The loss of this step and the mean since the last record."""
        losses, self._losses = self._losses, []
        return {"loss": losses[-1], "mean_loss": math.fsum(losses) / len(losses)} if losses else {}

    # --- keeping -----------------------------------------------------------------------------------------------------

    def _keep(self, record: Record) -> None:
        self._first = self._first or record["step"]
        if not self.recording.header:
            rows = 0 if self.probe is None else len(self.probe[0])
            self.recording.header = header(self.optimizer, self._layers, self.every, rows, self._kinds)
        self.recording.records.append(record)
        self._file.add(self.recording.header, record)
        if len(self.recording.records) > self.max_records:
            self._thin()

    def _thin(self) -> None:
        """Double the interval until few enough records are left, and drop those between."""
        while len(self.recording.records) > self.max_records:
            self.interval *= 2
            self.recording.records = [r for r in self.recording.records if self._stays(r)]

    def cost_in_words(self) -> str:
        """What recording has cost so far, as it was measured."""
        return self.cost.describe(self.interval)

    def __str__(self) -> str:
        return f"{self.recording!r}\n{self.cost_in_words()}"


# Hooks that copies of the model and of the optimizer do not have.
_observed = functools.partial(RemovableHandle, copied=False)
