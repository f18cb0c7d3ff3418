"""``minigrad explain``: every term of the update that a run made to one weight."""

from __future__ import annotations

import json
import re
import sys

from rich.console import Console

from ..optim import Optimizer
from ..study.explanations._update import place_of
from .display import console
from .errors import FAILED, CommandError, words
from .options import Arguments
from .rerun import Rerun

COMMAND = "minigrad explain"


def explain(path: str, arguments: Arguments, step: int | None, parameter: str | None, as_json: bool) -> int:
    """Train again up to one step of a run, in memory, and print what that step did to one weight.

    Without a parameter, print which there are.
    """
    out = console(arguments["quiet"] or as_json)
    again = Rerun(path, arguments, out, COMMAND)
    optimizer = again.run.optimizer
    if parameter is None:
        return _list_parameters(optimizer, out, as_json)
    name, index = weight(optimizer, parameter, COMMAND)
    number = again.to(step, [name])
    for problem in again.skipped:
        print(f"{COMMAND}: {problem}; begun before it", file=sys.stderr)
    found = optimizer.explain(name, index)
    loss, logged = again.run.progress.loss, again.logged
    if as_json:
        answer = {"run": path, "step": number, "loss": loss, "logged_loss": logged}
        answer |= {"reproduced": again.reproduced, "explanation": found.to_dict()}
        print(json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        out.print(
            f"step {number} of {path}, trained again from {again.begun}; {again.verdict}", markup=False, soft_wrap=True
        )
        out.print(f"\n{found}", markup=False, soft_wrap=True)
    if again.reproduced is False:
        raise CommandError(
            f"{COMMAND}: this is not the update that the run made: step {number} had the loss {logged!r}, and has "
            f"{loss!r} here; another version of NumPy, or another processor, can be the cause",
            FAILED,
        )
    return 0


def _list_parameters(optimizer: Optimizer, out: Console, as_json: bool) -> int:
    shapes = {name: list(entry.parameter.shape) for name, entry in optimizer.store.entries.items()}
    if as_json:
        print(json.dumps({"parameters": shapes}, indent=2))
        return 0
    width = max(map(len, shapes))
    for name, shape in shapes.items():
        out.print(f"{name:<{width}}  {' by '.join(map(str, shape)) or 'a number'}", markup=False, soft_wrap=True)
    out.print(f"choose a weight of one of them: --param '{_example(optimizer, next(iter(shapes)))}'", markup=False)
    return 0


def _example(optimizer: Optimizer, name: str) -> str:
    shape = optimizer.store.entries[name].parameter.shape
    return f"{name}[{','.join('0' for _ in shape)}]" if shape else name


def weight(optimizer: Optimizer, text: str, command: str) -> tuple[str, tuple[int, ...]]:
    """The name and the index in ``NAME[I,J]``, checked before anything is trained."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text.strip())
    numbers = [] if match is None or match[2] is None else [part.strip() for part in match[2].split(",")]
    if match is None or not all(re.fullmatch(r"[+-]?\d{1,18}", number) for number in numbers):
        raise CommandError(f"{command}: --param needs a weight such as 0.weight[3,7], not {text!r:.80}")
    name, index = match[1].strip(), tuple(map(int, numbers))
    try:
        return name, place_of(optimizer, name, index)
    except (ValueError, IndexError) as error:
        hint = f"; such as {_example(optimizer, name)}" if name in optimizer.store.entries else ""
        raise CommandError(f"{command}: {words(error).removeprefix('explain: ')}{hint}") from None
