"""Files of options: TOML or JSON, by the names of the command line's options."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checks import unknown
from ..files import read_bounded
from .errors import CommandError, words

_LIMIT = 1 << 22


def read_options(path: str) -> dict[str, Any]:
    """The options in a file; of the ``config.json`` of a run, its arguments.

    Raises:
        CommandError: naming the file.
    """
    try:
        text = read_bounded(path, _LIMIT).decode("utf-8")
        found = tomllib.loads(text) if Path(path).suffix.lower() == ".toml" else json.loads(text)
    except RecursionError:
        raise CommandError(f"{path}: is nested too deeply") from None
    except (ValueError, OSError) as error:
        raise CommandError(f"{path}: cannot be read: {words(error).removeprefix(f'{path}: ')}") from None
    if isinstance(found, dict) and found.get("format") == "minigrad run":
        found = found.get("arguments")
    if not isinstance(found, dict):
        raise CommandError(f"{path}: must hold a table of options")
    return found


def as_tokens(options: Mapping[str, Any], actions: Mapping[str, argparse.Action]) -> list[str]:
    """Options as words of a command line, so that a file is checked exactly as a command line is.

    Raises:
        CommandError: for an unknown name, or a value that no option has.
    """
    tokens: list[str] = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if option not in actions or option in ("--config", "--help"):
            raise CommandError(unknown("option", name, [n.removeprefix("--") for n in actions]))
        action = actions[option]
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise CommandError(f"{name} must be true or false, not {value!r:.80}")
            negative = "--no-" + option.removeprefix("--")
            tokens += [option] if value else [negative] if negative in action.option_strings else []
        elif isinstance(action, argparse._AppendAction):
            for each in value if isinstance(value, list) else [value]:
                tokens.append(f"{option}={_text(name, each)}")
        else:
            tokens.append(f"{option}={_text(name, value)}")
    return tokens


def _text(name: str, value: Any) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(v, int | float | str) for v in value):
        return ",".join(map(str, value))
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise CommandError(f"{name} must be a number, a word, true or false, or a list of them, not {value!r:.80}")
