"""``minigrad explain``: every term of the update that a run made to one weight."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rich.console import Console

from .. import training
from ..optim import Optimizer
from ..study import Explanation
from ..study.update import place_of
from ..training import Run
from ..training.checkpoint import checkpoints
from ..training.files import read_bounded
from ..training.logs import STEPS
from ..training.run_directory import RunDirectory
from .display import console
from .errors import FAILED, CommandError, words
from .options import Arguments
from .train import callbacks, check_data, prepare

COMMAND = "minigrad explain"
_LOG_LIMIT = 1 << 30


def explain(path: str, arguments: Arguments, step: int | None, parameter: str | None, as_json: bool) -> int:
    """Train again up to one step of a run, in memory, and print what that step did to one weight.

    Without a parameter, print which there are.
    """
    out = console(arguments["quiet"] or as_json)
    try:
        directory = RunDirectory.open(path)
        config = directory.config()
        losses = _logged(directory.path / STEPS)
    except (ValueError, OSError) as error:
        raise CommandError(f"{COMMAND}: {words(error)}") from None
    run, recipe, asked = prepare(arguments, out, COMMAND)
    if parameter is None:
        return _list_parameters(run.optimizer, out, as_json)
    name, index = _weight(run.optimizer, parameter)
    check_data(config, asked, COMMAND)
    saved = checkpoints(directory.checkpoints)
    last = max([*losses, *map(_step_of, saved)], default=0)
    number = last if step is None else step
    if not 1 <= number <= last:
        took = f"took {last} steps" if last else "has taken no step yet"
        raise CommandError(f"{COMMAND}: {path} {took}, so there is no step {number}")
    start = next((each for each in reversed(saved) if _step_of(each) < number), None)
    if start is not None:
        run.callbacks = callbacks(run, directory.path, recipe, arguments)  # whose state the checkpoint has too
        try:
            training.load_checkpoint(start, run)
        except (ValueError, OSError) as error:
            raise CommandError(f"{COMMAND}: {words(error)}") from None
    found = _rerun(run, recipe.epochs, number, name, index)
    logged = losses.get(number)
    same = logged is None or run.progress.loss == logged
    if as_json:
        answer = {"run": path, "step": number, "loss": run.progress.loss, "logged_loss": logged}
        answer |= {"reproduced": None if logged is None else same, "explanation": found.to_dict()}
        print(json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False))
    else:
        begun = "the beginning" if start is None else f"step {_step_of(start)}"
        out.print(
            f"step {number} of {path}, trained again from {begun}; {_verdict(run, logged)}",
            markup=False,
            soft_wrap=True,
        )
        out.print(f"\n{found}", markup=False, soft_wrap=True)
    if not same:
        raise CommandError(
            f"{COMMAND}: this is not the update that the run made: step {number} had the loss {logged!r}, and has "
            f"{run.progress.loss!r} here; another version of NumPy, or another processor, can be the cause",
            FAILED,
        )
    return 0


def _verdict(run: Run, logged: float | None) -> str:
    if logged is None:
        return f"{STEPS} has no line of it to compare with"
    if run.progress.loss == logged:
        return f"its loss, {logged!r}, is the logged one to the last bit"
    return f"its loss is {run.progress.loss!r}, and not {logged!r} as logged"


def _logged(path: Path) -> dict[int, float]:
    """The loss of each step; a last line that was cut off when the process was killed is passed over."""
    if not path.exists():
        return {}
    losses = {}
    for line in read_bounded(path, _LOG_LIMIT).splitlines():
        try:
            row = json.loads(line)
            losses[int(row["step"])] = float(row["loss"])
        except (ValueError, TypeError, KeyError):
            continue
    return losses


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem[5:])


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


def _weight(optimizer: Optimizer, text: str) -> tuple[str, tuple[int, ...]]:
    """The name and the index in ``NAME[I,J]``, checked before anything is trained."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text.strip())
    numbers = [] if match is None or match[2] is None else [part.strip() for part in match[2].split(",")]
    if match is None or not all(re.fullmatch(r"[+-]?\d{1,18}", number) for number in numbers):
        raise CommandError(f"{COMMAND}: --param needs a weight such as 0.weight[3,7], not {text!r:.80}")
    name, index = match[1].strip(), tuple(map(int, numbers))
    try:
        return name, place_of(optimizer, name, index)
    except (ValueError, IndexError) as error:
        hint = f"; such as {_example(optimizer, name)}" if name in optimizer.store.entries else ""
        raise CommandError(f"{COMMAND}: {words(error).removeprefix('explain: ')}{hint}") from None


class _Stop(training.Callback):
    """Watches one step, explains it, and stops."""

    def __init__(self, step: int, name: str, index: tuple[int, ...]) -> None:
        self.step, self.name, self.index = step, name, index
        self.found: Explanation | None = None

    def begin(self, run: Run) -> None:
        """Watch at once if it is the first step."""
        self._watch(run)

    def after_step(self, run: Run) -> None:
        """Watch the next step if it is the one; explain the one that was."""
        if run.progress.step == self.step:
            self.found = run.optimizer.explain(self.name, self.index)
            run.stop("explained")
        self._watch(run)

    def _watch(self, run: Run) -> None:
        if run.progress.step == self.step - 1:
            run.optimizer.watch(self.name)


def _rerun(run: Run, epochs: int, step: int, name: str, index: tuple[int, ...]) -> Explanation:
    stop = _Stop(step, name, index)
    run.callbacks = [stop]
    try:
        training.train(run, epochs)
    except FloatingPointError as error:
        raise CommandError(f"{COMMAND}: training again failed before that step: {words(error)}", FAILED) from None
    if stop.found is None:
        raise CommandError(
            f"{COMMAND}: training again ended after step {run.progress.step}, before step {step}", FAILED
        )
    return stop.found
