"""The commands of the command line, and how words and files become the arguments of a run."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._version import __version__
from ..checks import unknown
from ..files import parse_json, read_bounded
from ..recipes.options import as_words
from ..study.sweeps.grid import PLUS
from ..training._run_directory import CONFIG, RunDirectory
from .ending import CommandError, words
from .options import COMPARE, OPTIONS, SWEEP, TRAIN, Arguments, Option, complete, whole

_SUMMARY = "A deep-learning framework small enough to read."
_MORE = "minigrad train trains a small network on handwritten digits; minigrad help COMMAND shows its options."
_LIMIT = 1 << 22  # bytes of a file of options


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `CommandError` instead of ending the process."""

    def error(self, message: str) -> Any:
        """Raise the error."""
        raise CommandError(f"{self.prog}: {message}")


# --- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        help: its line in the list of commands.
        description: the text of its help page.
        positional: the name and the settings of its positional argument, if it has one.
        options: the options that only this command has.
        of_run: the options of ``minigrad train`` that override an existing run's.
        groups: further options by the title of their group, such as those of ``minigrad train``.
    """

    help: str
    description: str
    positional: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    options: Sequence[Option] = ()
    of_run: Sequence[str] = ()
    groups: Mapping[str, Sequence[Option]] = field(default_factory=dict)


_RUN = {"run": {"metavar": "RUN", "help": "a run directory, such as runs/digits-sgd-1"}}
_NAMES = {"metavar": "NAME", "nargs": "*", "help": "an optimizer, such as Adam or Adam:lr=0.01, or a run directory"}
_SWEPT = {
    "metavar": "NAME",
    "nargs": "*",
    "help": "an optimizer, such as Adam or Adam:lr=1e-4..0.1:7, or first the folder of a sweep to continue",
}
_SECTIONS = {"metavar": "SECTION", "nargs": "*", "help": "such as optimizers (default: all), or a folder such as runs"}

COMMANDS = {
    "train": Command(
        "train a model and test it on held-out data",
        "Train a multi-layer perceptron on four fifths of a dataset, and test it on the other fifth after every epoch. "
        "Without options: 64-64-10 on the digits. Values with brackets, commas or parentheses may need quotes.",
        groups=TRAIN,
    ),
    "resume": Command(
        "continue an interrupted run",
        "Continue a run from its last checkpoint. The finished run is bit for bit the same as if it had not been "
        "interrupted.",
        _RUN,
        of_run=("epochs", "device", "threads", "eager", "quiet"),
    ),
    "evaluate": Command(
        "test the weights of a run on its held-out data",
        "Print the loss and the metrics of the final weights of a run, or of a checkpoint, on the held-out data.",
        _RUN,
        [Option("checkpoint", "FILE", "evaluate this checkpoint; best is the checkpoint of the best epoch")],
        of_run=("device", "threads", "quiet"),
    ),
    "explain": Command(
        "every term of the update that a run made to one weight",
        "Train a run again in memory up to one step, bit for bit, and print every term of the update that this step "
        "made to one weight, with the lines of the rules. No file is written. Without --param, list the parameters.",
        _RUN,
        [
            Option("step", "N", "the step, counted from 1", whole(1), stated="the last one"),
            Option("param", "NAME[I,J]", "the weight, such as '0.weight[3,7]'"),
            Option("json", "", "print it as JSON"),
        ],
        of_run=("threads", "eager", "quiet"),
    ),
    "report": Command(
        "a run as one HTML page",
        "Write one HTML page about a run, which needs no network and no other file: findings, curves, what happened in "
        "every layer if the run was recorded (minigrad train --record), and the update of a few weights explained.",
        _RUN,
        [
            Option("output", "FILE", "the page to write", stated="report.html in RUN"),
            Option("param", "NAME[I,J]", "explain this weight, such as '0.weight[3,7]'; may be given more than once",
                stated="two notable ones", repeated=True),
            Option("step", "N", "explain this step", whole(1), stated="the last one"),
            Option("no_explain", "", "explain no update; explaining trains the run again from its last checkpoint"),
        ],
        of_run=("threads", "eager", "quiet"),
    ),
    "sweep": Command(
        "many settings and seeds, with what can be concluded from them",
        "Train with all combinations of settings and seeds. Every option below may have several values: 0.1,0.3,1, or "
        "a range such as 1e-4..1:9 (nine values on a logarithmic scale) or 0.1..0.9:5:linear; or it is given more than "
        "once. Each run has the bits of minigrad train with the same options and seed. A sweep that was interrupted "
        "is continued by naming its folder, and extended by naming more seeds, values or optimizers.",
        {"names": _SWEPT},
        groups=SWEEP,
    ),
    "compare": Command(
        "several optimizers or runs on one problem",
        "Train with each optimizer from the same initial parameters on the same batches, with several seeds, or read "
        "existing runs, and show a table and a picture.",
        {"names": _NAMES},
        groups=COMPARE,
    ),
    "list": Command(
        "datasets, models, losses, optimizers, schedules and clips, or the runs in a folder",
        "Print the known names with their arguments and defaults, or the runs in a folder and how each of them ended.",
        {"sections": _SECTIONS},
    ),
    "devices": Command("the devices of this machine", "Print the devices."),
    "help": Command("this text, or the options of a command, as in minigrad help train", "Print a command's help."),
}  # fmt: skip


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the whole command line, and the parser of each command."""
    parser = Parser(prog="minigrad", description=_SUMMARY, epilog=_MORE, allow_abbrev=False)
    parser.add_argument("-V", "--version", action="version", version=f"minigrad {__version__}")
    chooser = parser.add_subparsers(dest="command", required=True, metavar="command")
    found: dict[str, Parser] = {}
    for name, command in COMMANDS.items():
        found[name] = chooser.add_parser(name, allow_abbrev=False, help=command.help, description=command.description)
        for positional, settings in command.positional.items():
            found[name].add_argument(positional, **settings)
        for option in command.options:
            option.add_to(found[name])
        for each in command.of_run:
            OPTIONS[each].add_to(found[name], "as in the run")
        for title, options in command.groups.items():
            group = found[name].add_argument_group(title)
            for option in options:
                option.add_to(group)
    return parser, found


def parse(words: Sequence[str]) -> Arguments:
    """Return the command and the options that were given, and no others.

    Raises:
        CommandError: for anything wrong, with the nearest name for an unknown one.
    """
    parser, commands = parsers()
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise CommandError(f"minigrad: {unknown('command', words[0], commands)}")
    if words and words[0].startswith("--") and words[0] not in (own := _flags(parser)):
        raise CommandError(f"minigrad: {unknown('argument', words[0], own)}")
    chosen, rest = parser.parse_known_args(words)
    if rest and "names" in chosen and not any(word.startswith("-") for word in rest):
        chosen.names, rest = [*chosen.names, *rest], []  # names between the options
    if rest:
        known = _flags(commands[chosen.command])
        raise CommandError(f"minigrad {chosen.command}: {unknown('argument', rest[0].split('=')[0], known)}")
    given = dict(vars(chosen))
    if given.get("no_output") and "record" in given:
        raise CommandError(f"minigrad {chosen.command}: --record writes a file and --no-output none; omit one of them")
    return given


def _flags(parser: Parser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]


# --- options in files ------------------------------------------------------------------------------------------------


def with_file(given: Arguments, command: str = "train") -> Arguments:
    """Return the options of the file that ``--config`` names, if any, overridden by the command line.

    A file for a command that takes optimizers may name them too, as ``optimizers``.

    Raises:
        CommandError: naming the file.
    """
    file = given.pop("config", None)
    if file is None:
        return given
    options = _read(file, command)
    names = options.pop("optimizers", []) if "names" in given else []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CommandError(f"{file}: optimizers must be a list of names")
    parsed = _parsed(options, file, command)
    if "names" in given:
        parsed["names"] = given.pop("names") or names
    return {**parsed, **given}


def arguments_of_run(directory: RunDirectory, config: Mapping[str, Any], given: Mapping[str, Any]) -> Arguments:
    """Return the arguments in the configuration of a run, overridden by this command line.

    Saved arguments are read and checked like the options of ``minigrad train``.

    Raises:
        CommandError: naming the file.
    """
    saved = complete(_parsed(config["arguments"], str(directory.path / CONFIG)))
    return {**saved, "quiet": False, **given}


def _read(path: str, command: str) -> dict[str, Any]:
    """Read the options in a TOML or JSON file, or those of a command among the arguments in a run's ``config.json``."""
    try:
        data = read_bounded(path, _LIMIT)
        found = tomllib.loads(data.decode()) if Path(path).suffix.lower() == ".toml" else parse_json(path, data)
    except RecursionError:
        raise CommandError(f"{path}: cannot be read: it is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise CommandError(f"{path}: cannot be read: {words(error).removeprefix(f'{path}: ')}") from None
    is_run = isinstance(found, dict) and found.get("format") == "minigrad run"
    options = found.get("arguments") if is_run else found
    if not isinstance(options, dict):
        raise CommandError(f"{path}: must hold a table of options")
    if not is_run or command == "train":
        return options
    known = options_of(command)
    options = {name: value for name, value in options.items() if name in known and name not in ("output", "name")}
    if command == "sweep" and "clip" in options:  # all of them, and not each in turn
        options["clip"] = PLUS.join(options["clip"])
    return options


def options_of(command: str) -> dict[str, Option]:
    """Return the options that a command shares with files, by name."""
    return {each.name: each for group in COMMANDS[command].groups.values() for each in group if each.name != "config"}


def _parsed(options: Mapping[str, Any], file: str, command: str = "train") -> Arguments:
    try:
        parsed = parse([command, *as_words(options, options_of(command))])
    except (CommandError, ValueError) as error:
        text = str(error).removeprefix(f"minigrad {command}: ").removeprefix("argument --")
        raise CommandError(f"{file}: {text}") from None
    del parsed["command"]
    return parsed
