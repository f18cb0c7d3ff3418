"""The options that describe what a run computes, in one table.

argparse, files of options, ``config.json``, sweeps, the commands on an existing run and the run itself all read this
table: the name of an option, how its text is read, its help and its default are written here and nowhere else.
`minigrad.cli.options` adds the options of the command, such as where its files are written.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import optim
from ..checks import spelled, unknown
from ..devices.arrays import NAMES
from . import catalog
from .calls import parse_call, parse_value, show
from .recipe import DEFAULT_DATA, DEFAULT_DTYPE, DEFAULT_MODEL, parse_model

# The options given to a command, or all options of a run, by name.
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes:
        name: its name in files and in `Arguments`; on the command line ``batch_size`` is ``--batch-size``.
        metavar: the name of its value in help; empty for a flag.
        help: its meaning, without the default.
        read: returns the value of a text, or raises ValueError.
        default: the value if it is not given, or ``None``.
        stated: the default as help states it, if not the value itself.
        negated: whether a flag has an opposite, ``--no-amsgrad``.
        repeated: whether it may be given more than once; the value is then a list.
        bare: the value of the option without a text, if it may be given so.
    """

    name: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str
    default: Any = None
    stated: str = ""
    negated: bool = False
    repeated: bool = False
    bare: Any = None

    @property
    def flag(self) -> str:
        """The option's spelling on the command line."""
        return "--" + self.name.replace("_", "-")

    def add_to(self, parser: Any, stated: str = "") -> None:
        """Add the option to a parser, or to a group of one; ``stated`` replaces the default in its help.

        Nothing has a default there, so that the command knows which options were given.
        """
        unstated = self.default is None or self.default is False
        stated = stated or self.stated or ("" if unstated else str(self.default))
        help = self.help + (f" (default: {stated})" if stated else "")
        settings: dict[str, Any] = {"help": help.replace("%", "%%"), "default": argparse.SUPPRESS}
        if not self.metavar:
            settings["action"] = argparse.BooleanOptionalAction if self.negated else "store_true"
        else:
            settings |= {"metavar": self.metavar, "type": self._argument_type}
            if self.repeated:
                settings["action"] = "append"
            if self.bare is not None:
                settings |= {"nargs": "?", "const": self.bare}
        parser.add_argument(self.flag, **settings)

    def _argument_type(self, text: str) -> Any:
        try:
            return self.read(text)
        except ValueError as error:  # argparse shows the text only of its own error
            raise argparse.ArgumentTypeError(str(error)) from None


# --- reading values --------------------------------------------------------------------------------------------------


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers of at least ``least``."""

    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1
        if value < least:
            raise ValueError(f"must be a whole number of {least} or more, not {text!r:.100}")
        return value

    return read


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise ValueError(f"must be a fraction of at least 0 and below 1, not {text!r:.100}")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    allowed = optim.SGD.declared["lr"].range  # the same for every optimizer
    if allowed is not None and not allowed.allows(value):
        raise ValueError(f"must be {allowed.words}, not {text!r:.100}")
    return value


def _data(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the name of a dataset or a folder")
    return text


def _model(text: str) -> str:
    parse_model(text)
    return text


def _one_of(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    return lambda text: spelled(kind, text, known)


def _call_of(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    """Return a reader of names with or without arguments; the text is kept, and read again when the run is made."""

    def read(text: str) -> str:
        spelled(kind, parse_call(text).name, known)
        return text

    return read


def _device(text: str) -> str:
    # A file may name a device of another machine, so whether it exists is checked when the run is made.
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


# --- the table -------------------------------------------------------------------------------------------------------


def _hyper_parameter(name: str, defaults: Mapping[str, Any]) -> Option:
    """The option of a hyper-parameter; its help lists which optimizers have it, and its value in ``minigrad train``."""
    by_value: dict[str, list[str]] = {}
    for optimizer, default in defaults.items():
        used, numbers = (show(catalog.preset(optimizer, each).get(name, default)) for each in ("digits", "cubic"))
        value = used if used == numbers else f"{used}, with numbers as labels {numbers}"
        by_value.setdefault(value, []).append(optimizer)
    help = "; ".join(f"{', '.join(names)}: {value}" for value, names in by_value.items())
    if all(isinstance(default, bool) for default in defaults.values()):
        return Option(name, "", help, negated=True)
    return Option(name, "VALUE", help, parse_value)


_CLIPS, _LOSSES, _OPTIMIZERS = (", ".join(known) for known in (catalog.CLIPS, catalog.LOSSES, catalog.OPTIMIZERS))

PROBLEM = (
    Option("data", "NAME", "a dataset, with arguments such as moons:samples=500,noise=0.2, or a folder with the IDX "
        "files of MNIST; see minigrad list", _data, DEFAULT_DATA),
    Option("model", "SIZES", "sizes of the layers with ReLU between them, such as 64-64-10, or only the hidden layers, "
        "such as mlp:128,relu,dropout=0.2,64,tanh", _model, stated=DEFAULT_MODEL),
    Option("loss", "NAME", _LOSSES, _call_of("loss", catalog.LOSSES),
        stated="the first for classes, the second for numbers"),
    Option("dtype", "TYPE", "float32 or float64", _one_of("dtype", ("float32", "float64")), DEFAULT_DTYPE),
    Option("validation", "FRACTION", "hold out this fraction of the training rows in place of the held-out rows, which "
        "are then tested once, after training", _fraction),
    Option("seed", "N", "decides the initial weights and the order of the rows", whole(0), 0),
)  # fmt: skip

TRAINING = (
    Option("epochs", "N", "passes over the training data", whole(1), 30),
    Option("batch_size", "N", "rows per batch", whole(1), 32),
    Option("accumulate", "N", "batches per optimizer step, as one batch of all their rows", whole(1), 1),
    Option("patience", "N", "stop when the held-out metric has not improved for N epochs", whole(1)),
    Option("clip", "NAME", f"clip gradients: {_CLIPS}, such as by_global_norm:1.0; may be given more than once",
        _call_of("clip", catalog.CLIPS), repeated=True),
    Option("schedule", "NAME", "a schedule of the learning rate, such as CosineAnnealingLR or StepLR:step_size=10; see "
        "minigrad list", _call_of("schedule", catalog.schedules())),
    Option("schedule_every", "UNIT", "the schedule steps every epoch or every step", _one_of("unit", ("epoch", "step")),
        stated="epoch; step for OneCycleLR and CyclicLR"),
    Option("warmup", "N", "begin with N steps of the schedule in which the rate rises to its value", whole(0), 0),
)  # fmt: skip

OPTIMIZER = (
    Option("optimizer", "NAME", _OPTIMIZERS, _one_of("optimizer", catalog.OPTIMIZERS), "SGD",
        stated="SGD; Lookahead is around SGD"),
    Option("lookahead", "VALUES", "put Lookahead around the optimizer, with values such as k=5,alpha=0.5", _lookahead,
        bare=""),
    Option("lr", "RATE", "learning rate", _rate, stated="one that suits the optimizer; see minigrad list"),
    *(_hyper_parameter(name, defaults) for name, defaults in catalog.hyper_parameters().items() if name != "lr"),
    Option("optimizer_option", "NAME=VALUE", "any of these, written in another way", _assignment, repeated=True),
)  # fmt: skip

HOW = (
    Option("device", "NAME", "cpu or cuda; see minigrad devices", _device, "cpu"),
    Option("eager", "", "make every step by Python instead of compiled code; the result does not depend on it",
        default=False),
)  # fmt: skip

OPTIONS = {option.name: option for option in (*PROBLEM, *TRAINING, *OPTIMIZER, *HOW)}


def complete(given: Mapping[str, Any], options: Mapping[str, Option] = OPTIONS) -> Arguments:
    """Return the arguments of a run: the given ones, the settings of its optimizer, and all other defaults.

    An option with neither a value nor a default is omitted.
    """
    found = {**{name: option.default for name, option in options.items()}, **given}
    # --optimizer-option takes precedence over the settings of the optimizer.
    named = {text.partition("=")[0] for text in found["optimizer_option"] or ()}
    dataset = found["data"].partition(":")[0].partition("(")[0]
    settings = catalog.preset(found["optimizer"], dataset)
    found |= {name: value for name, value in settings.items() if name not in given and name not in named}
    return {name: value for name, value in found.items() if value is not None and value != []}


# --- options as words ------------------------------------------------------------------------------------------------


def as_words(given: Mapping[str, Any], options: Mapping[str, Option] = OPTIONS) -> list[str]:
    """Return options as words of a command line, so that a file is checked exactly as a command line is.

    Raises:
        ValueError: for an unknown name, or a value that no option has.
    """
    found: list[str] = []
    for name, value in given.items():
        option = options.get(name.replace("-", "_"))
        if option is None:
            raise ValueError(unknown("option", name, options))
        if option.metavar:
            several = option.repeated and isinstance(value, list)
            if several and catalog.takes_tuple(option.name) and not isinstance(value[0], str | list | tuple):
                several = False  # betas = [0.9, 0.99] is one value
            values = value if several else [value]
            found += [f"{option.flag}={as_text(name, each)}" for each in values]
        elif not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {value!r:.80}")
        elif value or option.negated:
            found.append(option.flag if value else f"--no-{option.flag.removeprefix('--')}")
    return found


def as_text(name: str, value: Any) -> str:
    """Return the value of an option as its text on the command line.

    Raises:
        ValueError: for a value that no option has.
    """
    if isinstance(value, list | tuple) and value and all(isinstance(v, int | float | str) for v in value):
        return ",".join(map(str, value))
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise ValueError(f"{name} must be a number, a word, true or false, or a list of them, not {value!r:.80}")
