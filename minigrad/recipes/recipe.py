"""Make the objects of a run from its arguments: the problem (data and loss), the model, the optimizer, the run."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data, nn, optim, schedulers
from ..checks import spelled, unknown
from ..data import DataLoader, Dataset
from ..devices.arrays import require_updates
from ..nn.containers import ACTIVATIONS, NORMS
from ..optim import Optimizer
from ..random import manual_seed
from ..training.evaluation import Metric, evaluate
from ..training.run import AnyScheduler, Callback, Run
from . import catalog
from .calls import arguments_of, check_arguments, parse_call, parse_value

# The same split for every seed, so that runs are tested on the same rows and differ only in their training.
HELD_OUT_FRACTION, HELD_OUT_SEED = 0.2, 0
# The data, the model and the dtype of a run whose arguments do not name them.
DEFAULT_DATA, DEFAULT_MODEL, DEFAULT_DTYPE = "digits", "mlp:64", "float32"


# --- the data --------------------------------------------------------------------------------------------------------


@dataclass
class Problem:
    """The problem of a run: its data and its loss.

    Attributes:
        train, held_out: the rows to train on, and the rows to test on after every epoch.
        test: with ``validation``, the rows that training never sees, since ``held_out`` are then the validation rows.
        loss: the mean loss.
        metrics: ``accuracy`` for class labels, nothing for numbers.
        outputs: how many outputs the model needs.
    """

    train: Dataset
    held_out: Dataset
    loss: Callable[[Any, Any], Any]
    metrics: dict[str, Metric]
    outputs: int
    test: Dataset | None = None

    @property
    def inputs(self) -> int:
        """The number of features."""
        return int(np.prod(self.train.features.shape[1:]))

    def fingerprint(self) -> dict[str, Any]:
        """The identity of the data: its name, its sizes, and a SHA-256 over all values of all parts."""
        parts = [self.train, self.held_out, *([] if self.test is None else [self.test])]
        digest = hashlib.sha256()
        for part in parts:
            for array in part[:]:
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                digest.update(array.tobytes())
        sizes = dict(zip(("train_rows", "held_out_rows", "test_rows"), map(len, parts), strict=False))
        sizes["features"] = self.inputs
        return {"name": self.train.name, **sizes, "outputs": self.outputs, "sha256": digest.hexdigest()}


def problem(arguments: Mapping[str, Any]) -> Problem:
    """Load and split the data, and choose the loss.

    Raises:
        ValueError, OSError: for an unknown name, a missing or damaged file, or a loss that does not fit the labels.
    """
    parts = list(_load(arguments.get("data", DEFAULT_DATA)))
    if validation := arguments.get("validation"):
        parts = [*_split(parts[0], validation), parts[1]]
    if arguments.get("dtype", DEFAULT_DTYPE) == "float64":
        parts = [_as_double(part) for part in parts]
    train, held_out, *test = parts
    classes = train.labels.dtype.kind in "iu"
    call = parse_call(arguments.get("loss") or ("cross_entropy" if classes else "mse_loss"))
    name = spelled("loss", call.name, catalog.LOSSES)
    options = check_arguments(name, call, catalog.loss_arguments(name))
    if classes != (name == "cross_entropy"):
        kind = "class numbers" if classes else "numbers"
        raise ValueError(
            f"{name} needs {'numbers' if classes else 'class numbers'} as labels, but {train.name} has {kind}"
        )
    outputs = max(part.classes for part in parts) if classes else int(np.prod(train.labels.shape[1:]))
    loss = catalog.LOSSES[name]
    metrics = catalog.METRICS if classes else {}
    return Problem(train, held_out, functools.partial(loss, **options) if options else loss, metrics, outputs, *test)


def tested(run: Run, problem: Problem) -> dict[str, float]:
    """Return ``test_loss`` and the other metrics of a run on the test rows; nothing without `Problem.test`."""
    if problem.test is None:
        return {}
    found = evaluate(run.model, problem.test, run.loss, run.metrics)
    return {f"test_{name}": float(value) for name, value in found.items()}


def _load(text: str) -> tuple[Dataset, Dataset]:
    """Return the training part and the held-out part of a dataset, or of a folder with MNIST's files."""
    if not _is_dataset(text):
        return data.load_idx(text), data.load_idx(text, train=False)
    call = parse_call(text)
    name = spelled("dataset", call.name, data.DATASETS)
    whole = data.DATASETS[name](**check_arguments(name, call, catalog.data_arguments(name)))
    return _split(whole, HELD_OUT_FRACTION)


def _split(whole: Dataset, fraction: float) -> tuple[Dataset, Dataset]:
    """Hold out a fraction of the rows, and of every class if labels are classes."""
    if whole.labels.dtype.kind in "iu":
        return data.stratified_split(whole, fraction, HELD_OUT_SEED)
    rows = np.random.default_rng(HELD_OUT_SEED).permutation(len(whole))
    held = round(len(whole) * fraction)
    if not 0 < held < len(whole):
        raise ValueError(f"{whole.name} has {len(whole)} rows, of which {held} would be held out")
    return whole.subset(np.sort(rows[held:])), whole.subset(np.sort(rows[:held]))


def _is_dataset(text: str) -> bool:
    """Whether the text names a dataset, and not a folder."""
    return os.sep not in text and not os.path.isdir(text)


def _as_double(part: Dataset) -> Dataset:
    labels = part.labels.astype(np.float64) if part.labels.dtype.kind == "f" else part.labels
    return Dataset(part.features.astype(np.float64), labels, part.name)


# --- the model -------------------------------------------------------------------------------------------------------


def parse_model(text: str) -> list[int] | list[tuple[int, list[str]]]:
    """Return the sizes of all layers, or for each hidden layer its size and the words after it.

    Raises:
        ValueError: if the text is neither.
    """
    if text.lower().startswith("mlp:"):
        return _hidden(text)
    parts = text.split("-")
    if len(parts) < 2 or not all(map(_is_size, parts)):
        raise ValueError(
            f"must be sizes joined by dashes, such as 64-64-10, or hidden layers, such as mlp:128,relu, "
            f"not {text!r:.200}"
        )
    return [int(part) for part in parts]


def _is_size(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", text) is not None and int(text) > 0


def _hidden(text: str) -> list[tuple[int, list[str]]]:
    layers: list[tuple[int, list[str]]] = []
    for part in filter(None, (each.strip().lower() for each in text[4:].split(","))):
        if _is_size(part):
            layers.append((int(part), []))
        elif not layers:
            raise ValueError(f"must begin with the size of a hidden layer, such as mlp:128,relu, not {text!r:.200}")
        else:
            _module(part, layers[-1][0])  # raises for an unknown word
            layers[-1][1].append(part)
    return layers


def make_model(arguments: Mapping[str, Any], problem: Problem) -> nn.Sequential:
    """Make the model of a run, for a dataset with its number of features and of classes or targets.

    In ``mlp:128,relu,dropout=0.2,64`` numbers are hidden layers. The words after a number are the modules after that
    layer: activations (by default the previous layer's, at first ReLU), ``batch``, ``layer`` or ``rms`` for a
    normalization, and ``dropout=p``.

    Raises:
        ValueError: for other text, or sizes that do not fit the data.
    """
    text, inputs, outputs = arguments.get("model") or DEFAULT_MODEL, problem.inputs, problem.outputs
    layers = parse_model(text)
    hidden = [layer if isinstance(layer, tuple) else (layer, []) for layer in layers]
    if layers and isinstance(layers[0], int):
        if (layers[0], layers[-1]) != (inputs, outputs):
            raise ValueError(
                f"--model {text}: {problem.train.name} has {inputs} features and {outputs} outputs, so the sizes must "
                f"start with {inputs} and end with {outputs}"
            )
        hidden = hidden[1:-1]
    modules: list[nn.Module] = []
    width, activation = inputs, "relu"
    for size, words in hidden:
        modules.append(nn.Linear(width, size))
        named = [word for word in words if word in ACTIVATIONS]
        activation = named[-1] if named else activation
        if not named:
            # After a normalization and before dropout.
            place = sum(word in NORMS for word in words)
            words = [*words[:place], activation, *words[place:]]
        modules += [_module(word, size) for word in words]
        width = size
    model = nn.Sequential(*modules, nn.Linear(width, outputs))
    return model.double() if arguments.get("dtype", DEFAULT_DTYPE) == "float64" else model


def _module(word: str, units: int) -> nn.Module:
    name, _, value = word.partition("=")
    if name == "dropout":
        try:
            return nn.Dropout(float(value or 0.5))
        except ValueError as error:
            raise ValueError(f"{word!r}: {error}") from None
    if name in NORMS:
        return NORMS[name](units)
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]()
    raise ValueError(unknown("part of a model", word, [*ACTIVATIONS, *NORMS, "dropout"]))


# --- the run ---------------------------------------------------------------------------------------------------------


def make_run(arguments: Mapping[str, Any], problem: Problem, callbacks: Iterable[Callback] = ()) -> Run:
    """Make a run at its beginning. Only the seed decides the initial parameters and the batches.

    Raises:
        minigrad.devices.cuda.DeviceError: for a GPU that cannot be used.
        ValueError, TypeError: for unknown names, or values outside their range; the message names them.
    """
    device, schedule = arguments["device"], arguments.get("schedule")
    if device != "cpu":
        require_updates()
    manual_seed(arguments["seed"])
    model = make_model(arguments, problem)
    model.to(device)
    loader = DataLoader(problem.train, arguments["batch_size"], shuffle=True, seed=arguments["seed"], device=device)
    optimizer = _optimizer(arguments, model)
    per_step = schedule is not None and _schedule_name(schedule) in ("OneCycleLR", "CyclicLR")
    every = arguments.get("schedule_every") or ("step" if per_step else "epoch")
    steps = -(-len(loader) // arguments["accumulate"])
    length = arguments["epochs"] * (steps if every == "step" else 1)
    return Run(
        model,
        optimizer,
        loader,
        problem.loss,
        metrics=problem.metrics,
        evaluate=problem.held_out,
        scheduler=_scheduler(schedule, arguments["warmup"], optimizer, length),
        scheduler_every=every,
        accumulate=arguments["accumulate"],
        callbacks=callbacks,
        compiled=not arguments.get("eager", False),
    )


def _optimizer(arguments: Mapping[str, Any], model: nn.Module) -> Optimizer:
    name = spelled("optimizer", arguments["optimizer"], catalog.OPTIMIZERS)
    known = catalog.optimizer_arguments(name)
    options = {each: arguments[each] for each in catalog.hyper_parameters() if each in arguments}
    for text in arguments.get("optimizer_option", ()):
        option, _, value = text.partition("=")
        options[option.replace("-", "_")] = parse_value(value)
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: {unknown('option', option, known)}")
    clips = []
    for text in arguments.get("clip", ()):
        call = parse_call(text)
        kind = catalog.CLIPS[spelled("clip", call.name, catalog.CLIPS)]
        values = check_arguments(call.name, call, arguments_of(kind))
        _check_complete(kind.__name__, arguments_of(kind), values)
        clips.append(kind(**values))
    optimizer = catalog.make_optimizer(name, model.parameters(), options, clips)
    if name != "Lookahead" and "lookahead" not in arguments:
        return optimizer
    call = parse_call(f"Lookahead:{arguments.get('lookahead', '')}")
    return optim.Lookahead(optimizer, **check_arguments("Lookahead", call, catalog.lookahead_arguments()))


def _check_complete(
    owner: str, known: Mapping[str, inspect.Parameter], values: Mapping[str, Any], as_in: str = ""
) -> None:
    """Raise ValueError if an argument without a default is missing."""
    missing = [name for name, p in known.items() if p.default is p.empty and name not in values]
    if missing:
        raise ValueError(f"{owner} needs {' and '.join(missing)}{as_in.format(missing[0])}")


def _schedule_name(schedule: str) -> str:
    return spelled("schedule", parse_call(schedule).name, catalog.schedules())


def _scheduler(
    schedule: str | None, warmup: int, optimizer: Optimizer, length: int
) -> AnyScheduler | list[AnyScheduler] | None:
    """Make the schedule of a run of ``length`` steps of the schedule, after its warm-up; a plateau is separate."""
    if warmup >= length > 0 and warmup:
        raise ValueError(f"--warmup {warmup} is as long as the whole run, which has {length} steps of the schedule")
    # The warm-up does not start from 0, because a step of it may be a whole epoch.
    rising = schedulers.Warmup(warmup, start_factor=1 / (warmup + 1)) if warmup else None
    if schedule is None:
        return None if rising is None else schedulers.Scheduler(optimizer, rising)
    call, name = parse_call(schedule), _schedule_name(schedule)
    kind, known = catalog.schedules()[name], catalog.schedule_arguments(name)
    values = check_arguments(name, call, known)
    # Options without a given value or a default are taken from the run.
    rest = length - warmup
    of_run = {"T_max": rest, "total_iters": rest, "total_steps": rest, "max_lr": float(optimizer.param_groups[0]["lr"])}
    for argument, value in of_run.items():
        needed = argument in known and known[argument].default in (inspect.Parameter.empty, None)
        if needed and argument not in values and not {"epochs", "steps_per_epoch"} & set(values):
            values[argument] = value
    if name in ("CyclicLR", "OneCycleLR") and not {"momentum", "betas"} & set(optimizer.defaults):
        values.setdefault("cycle_momentum", False)
    _check_complete(name, known, values, f", as in --schedule {name}:{{}}=...")
    if issubclass(kind, schedulers.Schedule):
        scheduler: Any = schedulers.Scheduler(optimizer, kind(**values))
    else:
        scheduler = kind(optimizer, **values)
    if rising is None:
        return scheduler
    first = schedulers.Scheduler(optimizer, rising)
    if isinstance(scheduler, schedulers.ReduceLROnPlateau):
        return [first, scheduler]
    return schedulers.SequentialLR(optimizer, [first, scheduler], [warmup])
