"""Recipe: what a training run is made of, in words and numbers; and the objects that come of it."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import data, nn, optim, schedulers
from ..checks import unknown
from ..data import DataLoader, Dataset
from ..devices.arrays import require_updates
from ..optim import Optimizer
from ..random import manual_seed
from . import catalog
from .architecture import make_model
from .callbacks import Callback
from .calls import arguments_of, check_arguments, parse_call, spelled
from .evaluation import Metric
from .run import AnyScheduler, Run

# One split for every seed, so that two runs are tested on the same rows and differ in their training alone.
HELD_OUT_FRACTION, HELD_OUT_SEED = 0.2, 0


@dataclass
class Recipe:
    """The settings of a run, as the command line has them; `problem` and `make_run` read them."""

    data: str = "digits"
    model: str | None = None
    loss: str | None = None
    optimizer: str = "SGD"
    options: dict[str, Any] = field(default_factory=dict)
    lookahead: str | None = None
    schedule: str | None = None
    schedule_every: str | None = None
    warmup: int = 0
    clip: list[str] = field(default_factory=list)
    batch_size: int = 32
    accumulate: int = 1
    epochs: int = 30
    patience: int | None = None
    seed: int = 0
    dtype: str = "float32"

    def settings(self) -> dict[str, Any]:
        """Every field, for a file."""
        return asdict(self)


@dataclass
class Problem:
    """The data of a run and what is asked of it.

    Attributes:
        train, held_out: the two parts of the dataset.
        loss: the mean loss.
        metrics: ``accuracy`` for class labels, nothing for numbers.
        outputs: how many the model must have.
    """

    train: Dataset
    held_out: Dataset
    loss: Callable[[Any, Any], Any]
    metrics: dict[str, Metric]
    outputs: int

    @property
    def inputs(self) -> int:
        """How many features there are."""
        return int(np.prod(self.train.features.shape[1:]))

    def fingerprint(self) -> dict[str, Any]:
        """What tells whether data is the same: name, sizes, and a SHA-256 over all values of both parts."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            for array in part[:]:
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                digest.update(array.tobytes())
        sizes = {"train_rows": len(self.train), "held_out_rows": len(self.held_out), "features": self.inputs}
        return {"name": self.train.name, **sizes, "outputs": self.outputs, "sha256": digest.hexdigest()}


def problem(recipe: Recipe) -> Problem:
    """Load and split the data, and choose the loss.

    Raises:
        ValueError, OSError: for an unknown name, a missing or damaged file, or a loss that does not fit the labels.
    """
    train, held_out = _load(recipe.data)
    if recipe.dtype == "float64":
        train, held_out = (_as_double(part) for part in (train, held_out))
    classes = train.labels.dtype.kind in "iu"
    name, options = _loss(recipe.loss or ("cross_entropy" if classes else "mse_loss"))
    if classes != (name == "cross_entropy"):
        kind = "class numbers" if classes else "numbers"
        raise ValueError(
            f"{name} needs {'numbers' if classes else 'class numbers'} as labels, but {train.name} has {kind}"
        )
    outputs = max(train.classes, held_out.classes) if classes else int(np.prod(train.labels.shape[1:]))
    function = catalog.LOSSES[name]

    metrics = catalog.METRICS if classes else {}
    return Problem(train, held_out, functools.partial(function, **options) if options else function, metrics, outputs)


def _load(text: str) -> tuple[Dataset, Dataset]:
    """The training part and the held-out part of a dataset, or of a folder with MNIST's files."""
    if not _is_named(text):
        return data.load_idx(text), data.load_idx(text, train=False)
    call = parse_call(text)
    name = spelled("dataset", call.name, data.DATASETS)
    values = check_arguments(name, call, catalog.data_arguments(name))
    whole = data.DATASETS[name](**values)
    if whole.labels.dtype.kind in "iu":
        return data.stratified_split(whole, HELD_OUT_FRACTION, HELD_OUT_SEED)
    rows = np.random.default_rng(HELD_OUT_SEED).permutation(len(whole))
    held = round(len(whole) * HELD_OUT_FRACTION)
    return whole.subset(np.sort(rows[held:])), whole.subset(np.sort(rows[:held]))


def _is_named(text: str) -> bool:
    """Whether it is a dataset by its name, and no folder."""
    return os.sep not in text and not os.path.isdir(text)


def _as_double(part: Dataset) -> Dataset:
    labels = part.labels.astype(np.float64) if part.labels.dtype.kind == "f" else part.labels
    return Dataset(part.features.astype(np.float64), labels, part.name)


def _loss(text: str) -> tuple[str, dict[str, Any]]:
    call = parse_call(text)
    name = spelled("loss", call.name, catalog.LOSSES)
    return name, check_arguments(name, call, catalog.loss_arguments(name))


def make_run(recipe: Recipe, problem: Problem, callbacks: Iterable[Callback] = (), device: str = "cpu") -> Run:
    """A run at its beginning, on a device. The seed alone decides the initial parameters and the batches.

    Raises:
        minigrad.devices.cuda.DeviceError: for a GPU that cannot be used.
        ValueError, TypeError: for unknown names, or values outside their range; the text says which.
    """
    if device != "cpu":
        require_updates()
    manual_seed(recipe.seed)
    model = make_model(recipe.model, problem.inputs, problem.outputs, problem.train.name)
    if recipe.dtype == "float64":
        model.double()
    model.to(device)
    loader = DataLoader(problem.train, recipe.batch_size, shuffle=True, seed=recipe.seed, device=device)
    optimizer = _optimizer(recipe, model)
    every = recipe.schedule_every or ("step" if _name(recipe.schedule) in ("OneCycleLR", "CyclicLR") else "epoch")
    steps = -(-len(loader) // recipe.accumulate)
    length = recipe.epochs * (steps if every == "step" else 1)
    return Run(
        model,
        optimizer,
        loader,
        problem.loss,
        metrics=problem.metrics,
        evaluate=problem.held_out,
        scheduler=_scheduler(recipe, optimizer, length),
        scheduler_every=every,
        accumulate=recipe.accumulate,
        callbacks=callbacks,
    )


def _optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    name = spelled("optimizer", recipe.optimizer, catalog.OPTIMIZERS)
    known = catalog.optimizer_arguments(name)
    for option in recipe.options:
        if option not in known:
            raise ValueError(f"{name}: {unknown('option', option, known)}")
    clips = []
    for text in recipe.clip:
        call = parse_call(text)
        kind = catalog.CLIPS[spelled("clip", call.name, catalog.CLIPS)]
        clips.append(_made(kind, check_arguments(call.name, call, arguments_of(kind))))
    options = catalog.preset(name, parse_call(recipe.data).name if _is_named(recipe.data) else "") | recipe.options
    optimizer = catalog.make_optimizer(name, model.parameters(), options, clips)
    if name != "Lookahead" and recipe.lookahead is None:
        return optimizer
    call = parse_call(f"Lookahead:{recipe.lookahead or ''}")
    return optim.Lookahead(optimizer, **check_arguments("Lookahead", call, catalog.lookahead_arguments()))


def _made(kind: Callable[..., Any], values: dict[str, Any]) -> Any:
    """``kind(**values)``; a missing argument is named as the text has it."""
    missing = [name for name, p in arguments_of(kind).items() if p.default is p.empty and name not in values]
    if missing:
        raise ValueError(f"{kind.__name__} needs {' and '.join(missing)}")
    return kind(**values)


def _name(schedule: str | None) -> str:
    return "" if schedule is None else spelled("schedule", parse_call(schedule).name, catalog.schedules())


def _scheduler(recipe: Recipe, optimizer: Optimizer, length: int) -> AnyScheduler | list[AnyScheduler] | None:
    """The schedule, with the warm-up before it, or under it if it is a plateau; it is given the run's length."""
    if recipe.warmup >= length > 0 and recipe.warmup:
        raise ValueError(
            f"--warmup {recipe.warmup} is as long as the whole run, which has {length} steps of the schedule"
        )
    # Not from 0: a whole epoch at that rate would be lost.
    start = 1 / (recipe.warmup + 1)
    warmup = schedulers.Warmup(recipe.warmup, start_factor=start) if recipe.warmup else None
    if recipe.schedule is None:
        return None if warmup is None else schedulers.Scheduler(optimizer, warmup)
    call, name = parse_call(recipe.schedule), _name(recipe.schedule)
    kind, known = catalog.schedules()[name], catalog.schedule_arguments(name)
    values = check_arguments(name, call, known)
    rest = length - recipe.warmup
    lengths = {
        "T_max": rest,
        "total_iters": rest,
        "total_steps": rest,
        "max_lr": float(optimizer.param_groups[0]["lr"]),
    }
    for argument, value in lengths.items():
        needed = argument in known and known[argument].default in (inspect.Parameter.empty, None)
        if needed and argument not in values and not {"epochs", "steps_per_epoch"} & set(values):
            values[argument] = value
    if name in ("CyclicLR", "OneCycleLR") and not {"momentum", "betas"} & set(optimizer.defaults):
        values.setdefault("cycle_momentum", False)
    missing = [n for n, p in known.items() if p.default is p.empty and n not in values]
    if missing:
        raise ValueError(f"{name} needs {' and '.join(missing)}, as in --schedule {name}:{missing[0]}=...")
    if issubclass(kind, schedulers.Schedule):
        scheduler: Any = schedulers.Scheduler(optimizer, kind(**values))
    else:
        scheduler = kind(optimizer, **values)
    if warmup is None:
        return scheduler
    first = schedulers.Scheduler(optimizer, warmup)
    if isinstance(scheduler, schedulers.ReduceLROnPlateau):
        return [first, scheduler]
    return schedulers.SequentialLR(optimizer, [first, scheduler], [recipe.warmup])
