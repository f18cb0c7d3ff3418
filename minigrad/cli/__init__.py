"""The command ``minigrad``: train, resume, evaluate, explain, report, compare, list, devices.

Exit status: 0 when all is done, 1 when training failed, 2 for wrong usage, 128 and the number of the signal that ended
it otherwise: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from ..checks import unknown
from ..training.catalog import OPTIMIZERS
from .config import as_tokens, read_options
from .errors import FAILED, USAGE, CommandError
from .options import Arguments, Parser, add_run_options, add_training_options, complete, count
from .signals import end_at_once, handling, status_of

__all__ = ["OPTIMIZERS", "main"]

_SUMMARY = "A deep-learning framework small enough to read."
_MORE = "minigrad train alone trains a small network on handwritten digits; minigrad help COMMAND tells its options."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # where the table's lines cannot be encoded, print ? instead
        sys.stdout.reconfigure(errors="replace")
    try:
        with handling(end_at_once):
            return _run(words)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.status
    except SystemExit as exit_:  # argparse's way of ending after --help
        return exit_.code if isinstance(exit_.code, int) else USAGE
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        return status_of(error)
    except BrokenPipeError:  # whoever read the output, such as head, has closed it; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(words: list[str]) -> int:
    """Read the command line, and import what its command needs only then."""
    if not words or words[0] == "help":  # "help train" is "train --help"
        words = [*words[1:], "--help"]
    given = _parse(words)
    command = given.pop("command")
    if command == "list":
        from .listing import show_list

        return show_list(given["sections"])
    if command == "devices":
        from .listing import show_devices

        return show_devices()
    if command == "resume":
        from .train import resume

        return resume(given.pop("run"), given)
    if command in ("evaluate", "explain"):
        return _on_a_run(command, given)
    if command == "report":
        from .report import report

        return report(given.pop("run"), given)
    file = given.pop("config", None)
    if file is not None:
        given = {**_from_file(file), **given}
    if command == "compare":
        from .compare import compare

        names = given.pop("names")
        return compare(names, given, lambda options: as_tokens(options, _options_of(_parsers()[1]["compare"])))
    from .train import train

    return train(complete(given))


def _on_a_run(command: str, given: Arguments) -> int:
    """The commands that read a run with the arguments that it had."""
    from ..training._run_directory import RunDirectory

    path = given.pop("run")
    try:
        saved = RunDirectory.open(path).config()["arguments"]
    except (ValueError, OSError) as error:
        raise CommandError(f"minigrad {command}: {error}") from None
    asked = {name: given.pop(name, None) for name in ("checkpoint", "step", "param", "json")}
    arguments = arguments_of_run(saved, path, given)
    if command == "explain":
        from .explain import explain

        return explain(path, arguments, asked["step"], asked["param"], bool(asked["json"]))
    from .evaluate import evaluate

    return evaluate(path, arguments, asked["checkpoint"])


def arguments_of_run(saved: Mapping[str, Any], path: str | os.PathLike[str], given: Arguments) -> Arguments:
    """The arguments in the configuration of a run, and over them those of this command line.

    Raises:
        CommandError: naming the file.
    """
    from ..training._run_directory import CONFIG

    return {**checked_arguments(saved, os.path.join(path, CONFIG)), "quiet": False, **given}


def checked_arguments(options: Mapping[str, Any], file: str) -> Arguments:
    """Options from a file, read and checked as those of ``minigrad train`` are, with every default.

    Raises:
        CommandError: naming the file.
    """
    return complete(_parsed_options(options, file))


def _from_file(file: str) -> Arguments:
    return _parsed_options(read_options(file), file)


def _parsed_options(options: Mapping[str, Any], file: str) -> Arguments:
    try:
        parsed = _parse(["train", *as_tokens(options, _options_of(_parsers()[1]["train"]))])
    except CommandError as error:
        text = str(error).removeprefix("minigrad train: ").removeprefix("argument --")
        raise CommandError(f"{file}: {text}") from None
    del parsed["command"]
    return parsed


def _parse(words: list[str]) -> Arguments:
    """The command and the options that were given, and no others.

    Raises:
        CommandError: for anything wrong, with the nearest name for an unknown one.
    """
    parser, commands = _parsers()
    if words and not words[0].startswith("-") and words[0] not in commands:
        raise CommandError(f"minigrad: {unknown('command', words[0], commands)}")
    if words and words[0].startswith("--") and words[0] not in (own := _options_of(parser)):
        raise CommandError(f"minigrad: {unknown('argument', words[0], own)}")
    chosen, rest = parser.parse_known_args(words)
    if rest:
        known = _options_of(commands[chosen.command])
        raise CommandError(f"minigrad {chosen.command}: {unknown('argument', rest[0].split('=')[0], known)}")
    given = dict(vars(chosen))
    if given.get("no_output") and "record" in given:
        raise CommandError(f"minigrad {chosen.command}: --record writes a file, and --no-output none; leave one out")
    return given


def _options_of(parser: Parser) -> dict[str, Any]:
    return {name: action for action in parser._actions for name in action.option_strings if name.startswith("--")}


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole command line, and that of each command."""
    parser = Parser(prog="minigrad", description=_SUMMARY, epilog=_MORE, allow_abbrev=False)
    parser.add_argument("-V", "--version", action="version", version=f"minigrad {__version__}")
    chooser = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands: dict[str, Parser] = {}

    def command(name: str, help: str, description: str) -> Parser:
        commands[name] = chooser.add_parser(name, allow_abbrev=False, help=help, description=description)
        return commands[name]

    train = command(
        "train",
        "train a model and test it on data held out",
        "Train a multi-layer perceptron on four fifths of a dataset, and test it on the other fifth after every epoch. "
        "Without options: 64-64-10 on the digits. Values with brackets, commas or parentheses may need quotes.",
    )
    add_training_options(train)
    add_run_options(train)

    resume = command(
        "resume",
        "go on with a run that was interrupted",
        "Go on with the last checkpoint of a run. The finished run is the same, to the bit, as if it had never been "
        "interrupted.",
    )
    resume.add_argument("run", metavar="RUN", help="a run directory, such as runs/digits-sgd-1")
    _add_some(resume, train, ("--epochs", "--device", "--threads", "--quiet"))

    evaluate = command(
        "evaluate",
        "test the weights of a run on its held-out data",
        "Print loss and metrics of the finished weights of a run, or of a checkpoint, on the data held out.",
    )
    evaluate.add_argument("run", metavar="RUN", help="a run directory, such as runs/digits-sgd-1")
    evaluate.add_argument("--checkpoint", metavar="FILE", help="evaluate this checkpoint; best means the best epoch's")
    _add_some(evaluate, train, ("--device", "--threads", "--quiet"))

    explain = command(
        "explain",
        "every term of the update that a run made to one weight",
        "Train a run again in memory up to one step, bit for bit, and print every term of the update that this step "
        "made to one weight, with the lines of the rules. Nothing is written. Without --param, list the parameters.",
    )
    explain.add_argument("run", metavar="RUN", help="a run directory, such as runs/digits-sgd-1")
    explain.add_argument("--step", type=count(1), metavar="N", help="the step, from 1 (default: the last one)")
    explain.add_argument("--param", metavar="NAME[I,J]", help="the weight, such as '0.weight[3,7]'")
    explain.add_argument("--json", action="store_true", help="print it as JSON")
    _add_some(explain, train, ("--threads", "--quiet"))

    report = command(
        "report",
        "a run as one HTML page",
        "Write one HTML page about a run, which needs no network and no other file: findings, curves, what every layer "
        "went through if the run was recorded (minigrad train --record), and the update of a few weights explained.",
    )
    report.add_argument("run", metavar="RUN", help="a run directory, such as runs/digits-sgd-1")
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    report.add_argument("--output", metavar="FILE", help="the page to write (default: report.html in RUN)", **options)
    report.add_argument("--param", metavar="NAME[I,J]", action="append",
        help="explain this weight, such as '0.weight[3,7]'; may be given again (default: two that say something)",
        **options)  # fmt: skip
    report.add_argument(
        "--step", type=count(1), metavar="N", help="explain this step (default: the last one)", **options
    )
    report.add_argument("--no-explain", dest="explain", action="store_false",
        help="explain no update, for which the run is trained again from its last checkpoint", **options)  # fmt: skip
    _add_some(report, train, ("--threads", "--quiet"))

    compare = command(
        "compare",
        "several optimizers or runs on one problem",
        "Train with each optimizer from the same initial parameters on the same batches, or read runs that are there, "
        "and show a table and a picture. The options are those of minigrad train, for all optimizers alike.",
    )
    compare.add_argument(
        "names", metavar="NAME", nargs="+", help="an optimizer, such as Adam or Adam:lr=0.01, or a run directory"
    )
    add_training_options(compare, optimizer_named=False)
    add_run_options(compare, name="compare")

    listing = command(
        "list",
        "datasets, models, losses, optimizers, schedules and clips, or the runs in a folder",
        "Print what there is, with arguments and defaults; of a folder the runs in it, and how each of them ended.",
    )
    listing.add_argument(
        "sections", metavar="SECTION", nargs="*", help="such as optimizers (default: all), or a folder such as runs"
    )
    command("devices", "what this machine computes on", "Print the devices.")
    command("help", "this text, or the options of a command, as in minigrad help train", "Print the help of a command.")
    return parser, commands


def _add_some(parser: Parser, train: Parser, names: Sequence[str]) -> None:
    """Options as those of ``minigrad train``; what is not given is as in the run."""
    for name in names:
        action = copy.copy(_options_of(train)[name])
        action.help = re.sub(r"\(default: .*\)", "(default: as in the run)", action.help or "")
        parser._add_action(action)
