"""``minigrad explain``: every term of the update that a run made to one weight, from training it again in memory."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from .. import training
from ..optim import Optimizer
from ..optim._watch import Watch
from ..study.explanations._update import place_of
from ..text import table
from ..training import Run
from ..training._run_directory import RunDirectory
from ..training.checkpoint import checkpoints
from ..training.logs import STEPS, read_steps
from .display import console
from .ending import FAILED, CommandError, words
from .options import Arguments
from .parser import arguments_of_run
from .prepare import callbacks, check_data, prepare

COMMAND = "minigrad explain"


def explain(given: Arguments) -> int:
    """Train again up to one step of a run, in memory, and print the effect of that step on one weight.

    Without a parameter, list the parameters.
    """
    path, step, parameter = given.pop("run"), given.pop("step", None), given.pop("param", None)
    as_json = given.pop("json", False)
    out = console(given.get("quiet", False) or as_json)
    again = Rerun(path, given, out, COMMAND)
    optimizer = again.run.optimizer
    if parameter is None:
        return _list_parameters(optimizer, out, as_json)
    name, index = weight(optimizer, parameter, COMMAND)
    number = again.to(step, [name])
    for problem in again.skipped:
        print(f"{COMMAND}: {problem}; training began earlier", file=sys.stderr)
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
    for line in table([(name, " by ".join(map(str, shape)) or "a number") for name, shape in shapes.items()]):
        out.print(line, markup=False, soft_wrap=True)
    out.print(f"choose a weight of one of them: --param '{_example(optimizer, next(iter(shapes)))}'", markup=False)
    return 0


def _example(optimizer: Optimizer, name: str) -> str:
    shape = optimizer.store.entries[name].parameter.shape
    return f"{name}[{','.join('0' for _ in shape)}]" if shape else name


def weight(optimizer: Optimizer, text: str, command: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the index in ``NAME[I,J]``, checked before anything is trained."""
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


# --- training again --------------------------------------------------------------------------------------------------


class Rerun:
    """A run that is trained again in memory up to one step, bit for bit; no file is written.

    Args:
        path: the run directory.
        given: options that override the run's.
        out: where to print that kernels are compiled.
        command: the command, with which errors begin.

    Attributes:
        run: the run, at its beginning until `to` is called; after that, its optimizer has watched the step.
        step: the last step that was trained.
        logged: the loss of this step in the log of the run, if it is there.
        watch: the optimizer's record of the watched step.
        skipped: why checkpoints closer to the step could not be used, a line each.
    """

    def __init__(self, path: str, given: Arguments, out: Console, command: str) -> None:
        self._path, self._command = path, command
        try:
            self._directory = RunDirectory.open(path)
            self._config = self._directory.config()
            self._losses = {each.step: each.loss for each in read_steps(self._directory.path / STEPS)}
            ending = self._directory.ending()
        except (ValueError, OSError) as error:
            raise CommandError(f"{command}: {words(error)}") from None
        self._arguments = arguments_of_run(self._directory, self._config, given)
        self.run, self._asked = prepare(self._arguments, out, command)
        self._last = max(self._losses, default=0 if ending is None else ending.step)
        self.step = 0
        self.logged: float | None = None
        self.watch: Watch | None = None
        self.skipped: list[str] = []
        self._start: Path | None = None

    def to(self, step: int | None, names: Iterable[str] | None = None) -> int:
        """Train up to a step, by default the last one, which the optimizer watches; return the step.

        Args:
            step: the step, counted from 1.
            names: the parameters to watch, by default all.

        Raises:
            CommandError: for other data, a step that the run did not take, or training that fails.
        """
        check_data(self._config, self._asked, self._command)
        saved = checkpoints(self._directory.checkpoints)
        last = max([self._last, *map(_step_of, saved)])
        self.step = last if step is None else step
        if not 1 <= self.step <= last:
            took = f"took {last} steps" if last else "has taken no step yet"
            asked = "" if step is None else f", so there is no step {step}"
            raise CommandError(f"{self._command}: {self._path} {took}{asked}")
        self.logged = self._losses.get(self.step)
        self._begin([each for each in reversed(saved) if _step_of(each) < self.step])
        self._train(names)
        return self.step

    def _begin(self, saved: Iterable[Path]) -> None:
        """Load the first of these checkpoints that can be read; without one, the run stays at its beginning."""
        for path in saved:
            # A checkpoint is loaded only into a run with the same callbacks.
            self.run.callbacks = callbacks(self.run, self._directory.path, self._arguments)
            try:
                training.load_checkpoint(path, self.run)
            except (ValueError, OSError) as error:
                self.skipped.append(words(error))
            else:
                self._start = path
                return

    def _train(self, names: Iterable[str] | None) -> None:
        stop = _Stop(self.step, names)
        self.run.callbacks = [stop]
        try:
            training.train(self.run, self._arguments["epochs"])
        except FloatingPointError as error:
            text = f"{self._command}: training again failed before that step: {words(error)}"
            raise CommandError(text, FAILED) from None
        reached = self.run.progress.step
        if reached != self.step:
            text = f"{self._command}: training again ended after step {reached}, before step {self.step}"
            raise CommandError(text, FAILED)
        self.watch = stop.watch

    @property
    def begun(self) -> str:
        """Where training began, as text."""
        return "the beginning" if self._start is None else f"step {_step_of(self._start)}"

    @property
    def reproduced(self) -> bool | None:
        """Whether the step has the loss that was logged; ``None`` if it is not in the log."""
        return None if self.logged is None else self.run.progress.loss == self.logged

    @property
    def verdict(self) -> str:
        """The same as text."""
        if self.logged is None:
            return f"{STEPS} has no line of this step to compare with"
        if self.reproduced:
            return f"its loss, {self.logged!r}, is the logged one to the last bit"
        return f"its loss is {self.run.progress.loss!r}, not {self.logged!r} as logged"


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem[5:])


class _Stop(training.Callback):
    """Watches one step, and stops after it."""

    def __init__(self, step: int, names: Iterable[str] | None) -> None:
        self.step, self.names = step, names
        self.watch: Watch | None = None

    def begin(self, run: Run) -> None:
        """Watch the first step if it is the one."""
        self._watch(run)

    def after_step(self, run: Run) -> None:
        """Watch the next step if it is the one; stop after it."""
        if run.progress.step == self.step:
            run.stop("the step is done")
        self._watch(run)

    def stretch(self, run: Run) -> int:
        """Return the number of steps before the one that is watched."""
        return max(self.step - 1 - run.progress.step, 0)

    def after_stretch(self, run: Run, steps: training.Stretch) -> None:
        """Watch the next step if it is the one."""
        self._watch(run)

    def _watch(self, run: Run) -> None:
        if run.progress.step == self.step - 1:
            self.watch = run.optimizer.watch(self.names)
