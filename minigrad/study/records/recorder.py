"""Recorder: records a training through hooks of the optimizer, without changing the model or the loop."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Container, Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...autograd.hooks import RemovableHandle
from ...autograd.tensor import Tensor
from ...checks import same_keys, unknown, whole, whole_number
from ...data.dataset import is_stored
from ...nn import Module
from ...optim import Optimizer
from ...training import Callback, Run, Stretch
from ...training._blas import one_blas_thread
from ...training.nonfinite import NonFiniteLossError
from ._activations import Output, as_probe, even_rows, observe
from ._between import Cost, Gradient, LeftOut, is_scale_free
from ._clips import ClipCounts
from ._file import FORMAT, Record, RecordFile
from ._state import describe
from ._step import Before, Layer, Step, host_copy, snapshot, stretches
from ._step import Stretch as Piece
from .quantities import ACTIVATION, CLIP, LAYER, QUANTILES, measured
from .recording import Recording

__all__ = ["Recorder"]

EVERY = 250  # steps; benchmarks/recorder.py measures what it costs
# Rows of the training data in the default probe.
PROBE_ROWS = 128


class Recorder(Callback):
    """Records quantities of every layer, at the first step that it sees and then at every N-th.

    ::

        with study.Recorder(model, optimizer, probe=features[:128]) as recorder:
            for x, y in loader:
                ...
                recorder.note(loss)
                optimizer.step()
        print(recorder)
        recorder.recording.layer("0", "update_ratio")

    It is also a callback of `minigrad.training.fit`, ``callbacks=[study.Recorder(model, optimizer)]``, where it takes
    the loss from the run. Training is the same to the last bit with and without it.

    Args:
        model: whose outputs are recorded.
        optimizer: whose steps are recorded.
        every: the interval between records: those steps of the optimizer are recorded that it divides.
        layers: the names of the layers to record, by default all; a name includes the layers inside.
        probe: a fixed batch that the model is run on at each record: an array, a tensor or a tuple of them, with a
            row per example. By default rows of the training data under `fit`, else the first batch that the model
            sees. ``False`` records no activations.
        path: a file to write to as well, line by line; a run that resumes from a checkpoint continues it. A file with
            other content is not changed: recording begins with a ``FileExistsError``. If the file can no longer be
            written, as on a full disk, recording continues in memory, with a warning; under `fit` it is an error,
            after which the run can be resumed from its checkpoint.
        max_records: how many records are kept in memory. When there are more, the interval doubles and the records
            between are dropped; the file keeps them.

    Attributes:
        recording: the `Recording` so far.
        interval: the current interval.
        probe: the arguments that the model is given at each record; ``None`` until they are known.

    Raises:
        ValueError: for an interval or a bound that is not positive, an unknown layer, or an optimizer that holds no
            parameter of the model; from the step, for a probe that the model cannot be run on.
        TypeError: for something that is not a model, an optimizer, a list of layers or a probe.
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
        every, max_records = whole(self, "every", every), whole(self, "max_records", max_records, least=2)
        _check_pair(model, optimizer)
        self.model, self.optimizer = model, optimizer
        self.every = self.interval = every
        self._layers = None if layers is None else _chosen_layers(layers, optimizer.store.layers)
        self.probe = as_probe(probe)
        self._wants_probe = probe is not False
        self.max_records = max_records
        self.recording = Recording()
        self.cost = Cost()
        self._attached = False
        self._catching: RemovableHandle | None = None  # of the hook that catches the probe
        self._handles: list[RemovableHandle] = []  # of the hooks: under `fit` only at steps that are recorded
        self._file = RecordFile(path)
        self._first = 0  # the first step that was seen, which is recorded whatever its number
        self._in_run = False  # under `fit`, which reports the loss after the step
        self._clips = ClipCounts(self.optimizer)
        self._losses: list[float] = []
        self._asked = False  # whether the next step is recorded, since its loss is the first that is not finite
        self._lost_at = 0  # that step
        self._left_out = LeftOut(model, self.optimizer)
        self._gradient: Gradient | None = None  # of the last record, until the next step
        self._before: Before | None = None
        self._fast: list[npt.NDArray[Any]] | None = None
        self._seen: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}
        self._stretches: tuple[Any, dict[str, list[Piece]]] = (None, {})

    def __getstate__(self) -> dict[str, Any]:
        """A copy records nothing until it is attached, or its run begins; then it continues from here."""
        own = {name: value for name, value in vars(self).items() if name != "_left_out"}
        own |= {"_before": None, "_fast": None, "_gradient": None, "_stretches": (None, {})}
        return own | {"_attached": False, "_catching": None, "_handles": [], "_in_run": False}

    # --- attaching ---------------------------------------------------------------------------------------------------

    def attach(self) -> Self:
        """Begin to record, until `detach`."""
        if self._attached:
            raise RuntimeError("Recorder: is already recording")
        header, records = self._file.open()
        if records:
            self.recording.header = header
            self.recording.records = [record for record in records if self._stays(record)]
        self._left_out = LeftOut(self.model, self.optimizer)
        self._attached = True
        if not self._in_run:
            self._hook()
        self._catching = None
        if self.probe is None and self._wants_probe:
            self._catch_probe()
        self.cost.begin()
        return self

    def detach(self) -> None:
        """Remove every hook, and write pending records to the file; a second call does nothing."""
        self.cost.end()
        attached, self._attached = self._attached, False
        self._unhook()
        if self._catching is not None:
            self._catching.remove()
        began = self._before is not None and self._lost_at > self.optimizer.steps
        if attached and (self._asked or began):
            self._keep_untaken()
        elif attached and self.recording.records:
            self._note_left_out(self.recording.records[-1])
        self._asked, self._before, self._fast, self._gradient = False, None, None, None
        self._file.close()

    def __enter__(self) -> Self:
        return self.attach()

    def __exit__(self, *error: object) -> None:
        self.detach()

    def _hook(self) -> None:
        """See every step from now on."""
        if not self._handles:
            self._handles = [
                _observed(self.optimizer._pre_hooks, self._before_step),
                _observed(self.optimizer._update_hooks, self._after_update),
                _observed(self.optimizer._post_hooks, self._after_step),
            ]

    def _unhook(self) -> None:
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def _catch_probe(self) -> None:
        """Copy the first batch that the model sees in training mode."""

        def catch(module: Module, args: tuple[Any, ...]) -> None:
            if self.model.training and self.probe is None:
                self.probe = as_probe(tuple(even_rows(each, PROBE_ROWS) for each in args))
                handle.remove()

        handle = self._catching = _observed(self.model._forward_pre_hooks, catch)

    # --- under fit ---------------------------------------------------------------------------------------------------

    @property
    def wants_numbers(self) -> bool:  # type: ignore[override]  # it depends on the optimizer
        """Whether there are clips to count."""
        return bool(self.optimizer.clips)

    def begin(self, run: Run) -> None:
        """Begin to record; without a probe, take evenly spread rows of the training data."""
        if self.probe is None and self._wants_probe and is_stored(run.loader.dataset):
            self.probe = as_probe(even_rows(run.loader.dataset.features, PROBE_ROWS))
        self._in_run = self._file.strict = True
        self.attach()
        self._look_ahead()

    def after_step(self, run: Run) -> None:
        """Take the loss from the run."""
        if not self._handles:
            self._count()
        self._losses.append(math.nan if run.progress.loss is None else run.progress.loss)
        records = self.recording.records
        if records and records[-1]["step"] == run.progress.step:
            records[-1] |= self._loss()
        self._look_ahead()

    def stretch(self, run: Run) -> int:
        """Return the number of steps before the next one that is recorded."""
        return self._until_due()

    def after_stretch(self, run: Run, steps: Stretch) -> None:
        """Take the losses from the run, and count clips."""
        self._losses += steps.losses
        self.cost.steps += len(steps.losses)
        if steps.numbers is not None:
            self._clips.count_rows(steps.numbers)
        self._look_ahead()

    def _until_due(self) -> int:
        if self._asked or not self._first:
            return 0
        return self.interval - 1 - self.optimizer.steps % self.interval

    def _look_ahead(self) -> None:
        """See the next step if it is recorded. A step that nothing sees can be compiled."""
        if self._until_due():
            self._unhook()
        else:
            self._hook()

    def failed(self, run: Run, error: BaseException) -> None:
        """Record the model at the step that was not taken, if its loss was not finite."""
        if not isinstance(error, NonFiniteLossError) or not self._attached:
            return
        self._losses.append(error.loss)
        self._keep_untaken(str(error))

    def close(self) -> None:
        """End recording."""
        self.detach()
        self._in_run = self._file.strict = False

    def state_dict(self) -> dict[str, Any]:
        """The length of the file, and the counts for the next record."""
        self._file.sync()
        self._clips.settle()
        counts = {"counted": list(self._clips.steps), "acted": list(self._clips.acted)}
        place = {"length": self._file.length, "interval": self.interval, "first": self._first, "lost_at": self._lost_at}
        return {**place, "losses": list(self._losses), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there; earlier records are read from the file when the run begins."""
        same_keys("state of a Recorder", state, self.state_dict())
        places = ("length", "interval", "first", "lost_at")
        length, interval, first, lost_at = (whole_number(f"Recorder: {name}", state[name]) for name in places)
        if interval < 1 or interval % self.every:
            raise ValueError(f"Recorder: the interval {interval} is not {self.every} doubled a number of times")
        counts = [[whole_number(f"Recorder: {n}", v) for v in _list(state[n], n)] for n in ("counted", "acted")]
        if any(len(each) != len(self.optimizer.clips) for each in counts):
            raise ValueError("Recorder: the saved run had other clips")
        losses = [float(value) for value in _list(state["losses"], "losses")]
        self._file.length, self._file.resumes = length, True
        self.interval, self._first, self._losses, self._lost_at = interval, first, losses, lost_at
        self._clips.steps, self._clips.acted = counts

    # --- a step ------------------------------------------------------------------------------------------------------

    def note(self, loss: Any) -> None:
        """Note the loss of the step that comes next: a number, or a tensor with one.

        The step of the first loss that is not finite is recorded, whatever the interval.
        """
        try:
            value = float(loss.item() if isinstance(loss, Tensor) else loss)
        except (TypeError, ValueError) as error:
            shown = f"a tensor of shape {loss.shape}" if isinstance(loss, Tensor) else f"{loss!r:.40}"
            raise type(error)(f"Recorder: note takes a loss, a number or a tensor with one, not {shown}") from None
        self._losses.append(value)
        self._asked = self._asked or not (math.isfinite(value) or self._lost_at)
        if self._asked and self._attached:
            self._hook()

    def _is_due(self, step: int) -> bool:
        return not step % self.interval or step == (self._first or step)

    def _stays(self, record: Record) -> bool:
        """Whether a record is kept when there are more than memory may hold."""
        return self._is_due(record["step"]) or record["step"] == self._lost_at

    @property
    def _last(self) -> int:
        """The last recorded step. A step that is taken again, as from an older state, is not recorded again."""
        return int(self.recording.records[-1]["step"]) if self.recording.records else 0

    def _before_step(self, optimizer: Optimizer) -> None:
        step = optimizer.steps + 1
        if step % self.interval and self._first and not self._asked and self._gradient is None:
            return  # at once: this is what nearly every step costs
        if self._gradient is not None:
            if self._gradient.was_kept():
                self.recording.records[-1]["gradient_kept"] = True
            self._gradient = None
        if not (self._asked or self._is_due(step)) or step <= self._last:
            return
        if self._asked:
            self._asked, self._lost_at = False, step
        self.optimizer.prepare()  # creates the state, so that the first step has one
        started = time.perf_counter()
        self._look_at_probe()
        self._before = snapshot(self.optimizer)
        self.cost.spent += time.perf_counter() - started

    def _look_at_probe(self) -> None:
        """Measure the model's activations on the probe, if there is one."""
        self._seen = {}
        if self.probe is not None and self._wants_probe:
            device = self.optimizer.store.device
            with one_blas_thread():  # the number of cores then changes neither the numbers nor their cost
                outputs = self._observe(tuple(part.to(device) for part in self.probe))
                self._seen = {name: measured(ACTIVATION, output) for name, output in outputs.items()}
            self._kinds = self._kinds or {name: output.kind for name, output in outputs.items()}

    def _observe(self, probe: tuple[Any, ...]) -> dict[str, Output]:
        try:
            return observe(self.model, probe)
        except (ValueError, TypeError, IndexError) as error:
            shapes = ", ".join(f"{part.shape} {part.dtype}" for part in probe)
            raise ValueError(
                f"Recorder: the model cannot be run on the probe, {shapes}; give one that the model takes, or "
                f"probe=False: {error}"
            ) from error

    def _after_update(self, optimizer: Optimizer) -> None:
        """Keep the parameters after the optimizer's own chain, before slow weights move them."""
        if self._before is not None:
            self._fast = [host_copy(buffer.data) for buffer in optimizer.store.buffers]

    def _count(self) -> None:
        """Count a step that is not recorded."""
        self.cost.steps += 1
        if self.optimizer.clips:
            self._clips.count()

    def _after_step(self, optimizer: Optimizer) -> None:
        if self._before is None:
            self._count()
            return
        self.cost.steps += 1
        before, self._before = self._before, None
        started = time.perf_counter()
        self._clips.count()
        self.cost.counting += (counted := time.perf_counter() - started)
        record = self._record(optimizer.steps, before)
        if not self._in_run:
            record |= self._loss()
            self._gradient = Gradient(self.optimizer)
        self._keep(record)
        self._fast = None
        self.cost.records += 1
        self.cost.spent += time.perf_counter() - started - counted

    def _record(self, step: int, before: Before) -> Record:
        layout = self.optimizer._layout
        assert layout is not None
        if self._stretches[0] is not layout:
            self._stretches = (layout, stretches(layout, self._layers))
        record: Record = {"step": step, "stepped": self.optimizer.stepped}
        with np.errstate(all="ignore"), one_blas_thread():
            taken = Step(self.optimizer, before, self._stretches[1], self._fast)
            record["layers"] = {name: measured(LAYER, layer) for name, layer in taken.layers()}
        if self.optimizer.clips:
            record["clips"] = [measured(CLIP, each) for each in self._clips.take(self.optimizer.clip_reports())]
        if self._seen:
            record["activations"] = self._seen
        self._note_left_out(record)
        return record

    def _keep_untaken(self, reason: str = "") -> None:
        """Record the model at a step that was not taken, since its loss was not finite."""
        step = self.optimizer.steps + 1
        if step <= self._last:
            return
        self._lost_at = step
        with contextlib.suppress(ValueError):  # another error has ended training, and must not be hidden
            self._look_at_probe()
        record: Record = {"step": step, "stepped": False, "taken": False}
        store, at_rest = self.optimizer.store, [each for each in LAYER if each.at_rest]
        names = [name for name in store.layers if self._layers is None or name in self._layers]
        record["layers"] = {name: measured(at_rest, Layer.at_rest(store, name)) for name in names}
        if self._seen:
            record["activations"] = self._seen
        if reason:
            record["reason"] = reason
        self._keep(record | self._loss())

    def _note_left_out(self, record: Record) -> None:
        """Note which parameters of the model nothing has moved so far."""
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
            self.recording.header = _header(self.optimizer, self._layers, self.every, rows, self._kinds)
        self.recording.records.append(record)
        self._file.add(self.recording.header, record)
        if len(self.recording.records) > self.max_records:
            self._thin()

    def _thin(self) -> None:
        """Double the interval, and drop the records between, until few enough are left."""
        while len(self.recording.records) > self.max_records:
            self.interval *= 2
            self.recording.records = [r for r in self.recording.records if self._stays(r)]

    def cost_in_words(self) -> str:
        """The measured cost of recording so far, as text."""
        return self.cost.describe(self.interval)

    def __str__(self) -> str:
        return f"{self.recording!r}\n{self.cost_in_words()}"


# Hooks that are not copied with the model and the optimizer.
_observed = functools.partial(RemovableHandle, copied=False)


def _header(
    optimizer: Optimizer, layers: Container[str] | None, every: int, probe_rows: int, kinds: Mapping[str, str]
) -> Record:
    """The header of a recording: the facts shared by all its records.

    Args:
        optimizer: the recorder's optimizer, prepared.
        layers: the layers to record, by default all.
        every: the interval between records.
        probe_rows: how many rows the probe has.
        kinds: by the name of an activation, the module's class or the op.
    """
    state, name = optimizer.prepare().plan.state, optimizer.algorithm
    for each in optimizer.periodic:
        name = f"{each.name}({name})"
    found: dict[str, dict[str, Any]] = {
        layer: {"parameters": 0, "tensors": [], "frozen": True}
        for layer in optimizer.store.layers
        if layers is None or layer in layers
    }
    for entry in optimizer.store.entries.values():
        if entry.layer in found:
            own = found[entry.layer]
            own["parameters"] += entry.parameter.size
            own["tensors"].append(entry.name)
            own["frozen"] = own["frozen"] and not entry.parameter.requires_grad
    values = {
        "optimizer": name,
        "maximize": optimizer.uses("maximize"),
        "scale_free": is_scale_free(optimizer),
        **describe(optimizer.meaning(), state),
        "every": every,
        "slow_every": next((each.k for each in optimizer.periodic if "param" in each.plan(state).outputs), 0),
        "quantiles": list(QUANTILES),
        "probe_rows": probe_rows,
        "activations": {name: {"kind": kind} for name, kind in kinds.items()},
        "layers": found,
    }
    return FORMAT.stamped(values)


# --- arguments -------------------------------------------------------------------------------------------------------


def _check_pair(model: Any, optimizer: Any) -> None:
    if not isinstance(model, Module) or not isinstance(optimizer, Optimizer):
        got = f"{type(model).__name__}, {type(optimizer).__name__}"
        raise TypeError(f"Recorder: takes a model and its optimizer, Recorder(model, optimizer), not ({got})")
    parameters = list(model.parameters())
    held = {id(entry.parameter) for entry in optimizer.store.entries.values()}
    # A model without parameters belongs to any optimizer.
    if parameters and not any(id(parameter) in held for parameter in parameters):
        raise ValueError(
            f"Recorder: {type(optimizer).__name__} holds no parameter of this model, which was perhaps built again; "
            "make the optimizer from model.parameters() of the model that is recorded"
        )


def _chosen_layers(names: Iterable[str], known: Iterable[str]) -> set[str]:
    """The layers with these names, and the layers inside them."""
    if isinstance(names, str):
        raise ValueError(f"Recorder: layers is a list of names, [{names!r}], not one name")
    if not isinstance(names, Iterable):
        raise TypeError(f"Recorder: layers is a list of names, not {names!r:.40}")
    layers, chosen = list(known), set[str]()
    names = list(names)
    if not names:
        raise ValueError("Recorder: layers is an empty list; leave it out to record every layer")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"Recorder: layers are given by name, such as {layers[0]!r}, not {name!r:.40}")
        found = {layer for layer in layers if layer == name or layer.startswith(f"{name}.")}
        if not found:
            raise ValueError(f"Recorder: {unknown('layer', name, layers)}")
        chosen |= found
    return chosen


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"Recorder: {name} must be a list, not {values!r:.40}")
    return values
