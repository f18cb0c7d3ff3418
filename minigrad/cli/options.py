"""The options of a training: how each is read, its help, and the recipe that they make."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from ..checks import unknown
from ..devices.arrays import NAMES
from ..study.records.recorder import EVERY
from ..training import catalog
from ..training.architecture import parse_model
from ..training.calls import parse_call, parse_value, show, spelled
from ..training.recipe import Recipe
from .errors import CommandError

Arguments = dict[str, Any]

# Options that say where and how to run; all others say what, and belong to the recipe.
RUN_DEFAULTS: Arguments = {
    "device": "cpu",
    "threads": None,
    "output": "runs",
    "name": None,
    "no_output": False,
    "quiet": False,
    "checkpoint_every": None,
    "keep": 2,
    "record": None,
}


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `CommandError` instead of ending the process."""

    def error(self, message: str) -> Any:
        """Raise."""
        raise CommandError(f"{self.prog}: {message}")


def hyper_parameters() -> dict[str, dict[str, Any]]:
    """Every hyper-parameter of every optimizer: name of the parameter to default by name of the optimizer."""
    found: dict[str, dict[str, Any]] = {}
    for optimizer in catalog.OPTIMIZERS:
        for name, parameter in catalog.optimizer_arguments(optimizer).items():
            found.setdefault(name, {})[optimizer] = parameter.default
    return found


def add_training_options(parser: argparse.ArgumentParser, optimizer_named: bool = True) -> None:
    """What there is to choose of a training. Nothing has a default here, so that what was given is known."""
    options = dict[str, Any](default=argparse.SUPPRESS)
    problem = parser.add_argument_group("the problem")
    problem.add_argument(
        "--data",
        type=_reading(_data),
        metavar="NAME",
        help="a dataset (default: digits), with arguments such as moons:samples=500,noise=0.2, or a folder with the "
        "IDX files of MNIST; see minigrad list",
        **options,
    )
    problem.add_argument(
        "--model",
        type=_reading(_model),
        metavar="SIZES",
        help="sizes of the layers with ReLU between them, such as 64-64-10, or hidden layers alone, such as "
        "mlp:128,relu,dropout=0.2,64,tanh (default: mlp:64)",
        **options,
    )
    problem.add_argument(
        "--loss",
        type=_reading(_named("loss", catalog.LOSSES)),
        metavar="NAME",
        help=f"{', '.join(catalog.LOSSES)} (default: the first for classes, the second for numbers)",
        **options,
    )
    problem.add_argument("--dtype", type=_reading(_choice("dtype", ("float32", "float64"))), metavar="TYPE",
        help="float32 or float64 (default: float32)", **options)  # fmt: skip
    problem.add_argument("--seed", type=count(0), metavar="N",
        help="decides the initial weights and the order of the rows (default: 0)", **options)  # fmt: skip

    training = parser.add_argument_group("the training")
    training.add_argument("--epochs", type=count(1), metavar="N",
        help="passes over the training data (default: 30)", **options)  # fmt: skip
    training.add_argument("--batch-size", type=count(1), metavar="N",
        help="rows per batch (default: 32)", **options)  # fmt: skip
    training.add_argument("--accumulate", type=count(1), metavar="N",
        help="batches per optimizer step, as one batch of all their rows (default: 1)", **options)  # fmt: skip
    training.add_argument("--patience", type=count(1), metavar="N",
        help="stop when the held-out metric has not improved for N epochs", **options)  # fmt: skip
    training.add_argument("--clip", type=_reading(_named("clip", catalog.CLIPS)), metavar="NAME", action="append",
        help=f"clip gradients: {', '.join(catalog.CLIPS)}, such as by_global_norm:1.0; may be given again",
        **options)  # fmt: skip
    training.add_argument("--schedule", type=_reading(_schedule), metavar="NAME",
        help="of the learning rate, such as CosineAnnealingLR or StepLR:step_size=10; see minigrad list",
        **options)  # fmt: skip
    training.add_argument("--schedule-every", type=_reading(_choice("unit", ("epoch", "step"))), metavar="UNIT",
        help="a step of the schedule is an epoch or a step (default: epoch; step for OneCycleLR and CyclicLR)",
        **options)  # fmt: skip
    training.add_argument("--warmup", type=count(0), metavar="N",
        help="begin with N steps of the schedule in which the rate rises to its value (default: 0)",
        **options)  # fmt: skip

    optimizer = parser.add_argument_group("the optimizer and its hyper-parameters")
    if optimizer_named:
        optimizer.add_argument("--optimizer",
            type=_reading(lambda text: spelled("optimizer", text, catalog.OPTIMIZERS)), metavar="NAME",
            help=f"{', '.join(catalog.OPTIMIZERS)} (default: SGD; Lookahead is around SGD)", **options)  # fmt: skip
    optimizer.add_argument("--lookahead", type=_reading(_lookahead), metavar="VALUES", nargs="?", const="",
        help="put Lookahead around the optimizer, with values such as k=5,alpha=0.5", **options)  # fmt: skip
    optimizer.add_argument("--lr", type=_rate, metavar="RATE",
        help="learning rate (default: one that suits the optimizer; see minigrad list)", **options)  # fmt: skip
    for name, defaults in hyper_parameters().items():
        if name == "lr":
            continue
        flag = all(isinstance(default, bool) for default in defaults.values())
        reading: dict[str, Any] = {"type": _reading(parse_value), "metavar": "VALUE"}
        if flag:
            reading = {"action": argparse.BooleanOptionalAction}
        optimizer.add_argument(f"--{name.replace('_', '-')}", help=_defaults(name, defaults), **reading, **options)
    optimizer.add_argument("--optimizer-option", type=_reading(_assignment), metavar="NAME=VALUE", action="append",
        help="any of these in another way", **options)  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser, name: str = "dataset and optimizer") -> None:
    """Where and how to run; ``name`` says what a run directory is called by default."""
    options = dict[str, Any](default=argparse.SUPPRESS)
    running = parser.add_argument_group("the run")
    running.add_argument("--config", metavar="FILE",
        help="a TOML or JSON file with options by these names, or the config.json of a run; "
        "the command line wins", **options)  # fmt: skip
    running.add_argument("--output", metavar="FOLDER", help="where run directories are made (default: runs)",
        **options)  # fmt: skip
    running.add_argument("--name", metavar="NAME", help=f"of the run directory; a number is added (default: "
        f"{name})", **options)  # fmt: skip
    running.add_argument("--no-output", action="store_true", help="write no files", **options)
    running.add_argument("--checkpoint-every", type=count(1), metavar="N",
        help="save after every N steps too, not only after every epoch", **options)  # fmt: skip
    running.add_argument("--keep", type=count(1), metavar="N",
        help="checkpoints to keep beside the best one (default: 2)", **options)  # fmt: skip
    running.add_argument("--record", type=count(1), metavar="N", nargs="?", const=EVERY,
        help=f"record what every layer goes through in record.jsonl, every N steps, {EVERY} if N is left out (default: "
        "no recording)",
        **options)  # fmt: skip
    running.add_argument("--device", type=_reading(_device), metavar="NAME",
        help="cpu or cuda; see minigrad devices (default: cpu)", **options)  # fmt: skip
    running.add_argument("--threads", type=count(1), metavar="N",
        help="threads of the update kernels; the result does not depend on it (default: one per core)",
        **options)  # fmt: skip
    running.add_argument("--quiet", action="store_true", help="print errors alone", **options)


def complete(given: Mapping[str, Any]) -> Arguments:
    """The arguments with every default, also those of `OPTIMIZERS`; what has no value is left out."""
    defaults = {each.name: getattr(Recipe(), each.name) for each in fields(Recipe) if each.name != "options"}
    found = {**RUN_DEFAULTS, **defaults, **given}
    # Settings of the table that were given otherwise stay as given.
    named = {text.partition("=")[0] for text in found.get("optimizer_option", [])}
    dataset = found["data"].partition(":")[0].partition("(")[0]
    table = catalog.preset(found["optimizer"], dataset)
    found = {**{name: value for name, value in table.items() if name not in named}, **found}
    return {name: value for name, value in found.items() if value is not None and value != []}


def recipe_of(arguments: Mapping[str, Any]) -> Recipe:
    """The recipe that complete arguments describe."""
    names = {each.name for each in fields(Recipe)} - {"options"}
    options = {name: arguments[name] for name in hyper_parameters() if name in arguments}
    for text in arguments.get("optimizer_option", []):
        name, _, value = text.partition("=")
        options[name.replace("-", "_")] = parse_value(value)
    return Recipe(options=options, **{name: arguments[name] for name in names if name in arguments})


# --- reading values --------------------------------------------------------------------------------------------------


def _reading(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader whose ValueError is told by argparse with the name of the option."""

    def reader(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader


def count(least: int) -> Callable[[str], int]:
    """A reader of whole numbers of at least ``least``."""

    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r:.100}")
        return value

    return read


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r:.100}")
    return value


def _model(text: str) -> str:
    parse_model(text)
    return text


def _data(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the name of a dataset or a folder")
    return text


def _named(kind: str, known: Mapping[str, Any]) -> Callable[[str], str]:
    def read(text: str) -> str:
        spelled(kind, parse_call(text).name, known)
        return text

    return read


def _schedule(text: str) -> str:
    return _named("schedule", catalog.schedules())(text)


def _choice(kind: str, known: tuple[str, ...]) -> Callable[[str], str]:
    return lambda text: spelled(kind, text, known)


def _device(text: str) -> str:
    # Whether it is there is looked at when the run is made: a file may name a device of another machine.
    return spelled("device", {"gpu": "cuda", "cuda:0": "cuda"}.get(text.lower(), text), NAMES)


def _lookahead(text: str) -> str:
    call, known = parse_call(f"Lookahead:{text}"), catalog.lookahead_arguments()
    for name in call.kwargs:
        if name not in known:
            raise ValueError(unknown("option of Lookahead", name, known))
    return text


def _assignment(text: str) -> str:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"must be NAME=VALUE, not {text!r:.100}")
    parse_value(value)
    return text


def _defaults(name: str, defaults: Mapping[str, Any]) -> str:
    """Which optimizers have a hyper-parameter, and what ``minigrad train`` gives it."""
    by_value: dict[str, list[str]] = {}
    for optimizer, default in defaults.items():
        used, numbers = (show(catalog.preset(optimizer, each).get(name, default)) for each in ("digits", "cubic"))
        by_value.setdefault(used if used == numbers else f"{used}, with numbers as labels {numbers}", []).append(
            optimizer
        )
    return "; ".join(f"{', '.join(names)}: {value}" for value, names in by_value.items())
