"""The entry point of the command ``minigrad``."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from .ending import FAILED, USAGE, CommandError, end_at_once, handling, status_of
from .parser import parse

# The function that runs each command; its module is imported only when it is needed.
_FUNCTIONS = {
    "train": "train.train",
    "resume": "train.resume",
    "evaluate": "evaluate.evaluate",
    "explain": "explain.explain",
    "report": "report.report",
    "sweep": "sweep.sweep",
    "compare": "compare.compare",
    "list": "listing.show_list",
    "devices": "listing.show_devices",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # print ? for what the terminal's encoding does not have
        sys.stdout.reconfigure(errors="replace")
    try:
        with handling(end_at_once):
            return _run(words)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.status
    except SystemExit as exit_:  # argparse ends so after --help
        return exit_.code if isinstance(exit_.code, int) else USAGE
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr)
        return status_of(error)
    except BrokenPipeError:  # the reader of the output, such as head, has closed it; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(words: list[str]) -> int:
    if not words or words[0] == "help":  # "help train" is "train --help"
        words = [*words[1:], "--help"]
    given = parse(words)
    module, _, function = _FUNCTIONS[given.pop("command")].partition(".")
    status: int = getattr(importlib.import_module(f".{module}", __package__), function)(given)
    return status
