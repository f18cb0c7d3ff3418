"""A run trained again in memory, up to one step of it: the same to the bit, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from .. import training
from ..optim._watch import Watch
from ..training import Run
from ..training._run_directory import RunDirectory
from ..training.checkpoint import checkpoints
from ..training.logs import STEPS, read_steps
from .errors import FAILED, CommandError, words
from .options import Arguments
from .train import callbacks, check_data, prepare


class Rerun:
    """A run at its beginning, and `to`, which brings it to just behind one step.

    Args:
        path: the run directory.
        arguments: those of the run.
        out: where it is told that kernels are compiled.
        command: the command, which errors begin with.

    Attributes:
        run: whose optimizer has watched the step, after `to`.
        step: the step that it stands behind.
        logged: the loss that the run had at this step, if its log says so.
        watch: what the optimizer has seen of the step.
        skipped: why checkpoints nearer to the step could not be used, each in a line.
    """

    def __init__(self, path: str, arguments: Arguments, out: Console, command: str) -> None:
        self._path, self._arguments, self._command = path, arguments, command
        try:
            self._directory = RunDirectory.open(path)
            self._config = self._directory.config()
            self._losses = {each.step: each.loss for each in read_steps(self._directory.path / STEPS)}
            ending = self._directory.ending()
        except (ValueError, OSError) as error:
            raise CommandError(f"{command}: {words(error)}") from None
        self.run, self._recipe, self._asked = prepare(arguments, out, command)
        self._last = max(self._losses, default=0 if ending is None else ending.step)
        self.step = 0
        self.logged: float | None = None
        self.watch: Watch | None = None
        self.skipped: list[str] = []
        self._start: Path | None = None

    def to(self, step: int | None, names: Iterable[str] | None = None) -> int:
        """Train up to a step, by default the last one, which the optimizer watches; the step.

        Args:
            step: counted from 1.
            names: of the parameters to watch, by default all.

        Raises:
            CommandError: for other data, a step that there is not, or a training that fails.
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
        """Go to the first checkpoint of these that can be read; without one, training begins at the beginning."""
        for path in saved:
            # Those whose state the checkpoint has too.
            self.run.callbacks = callbacks(self.run, self._directory.path, self._recipe, self._arguments)
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
            training.train(self.run, self._recipe.epochs)
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
        """Where training began again, in words."""
        return "the beginning" if self._start is None else f"step {_step_of(self._start)}"

    @property
    def reproduced(self) -> bool | None:
        """Whether the step has the loss that was logged; ``None`` if it is not in the log."""
        return None if self.logged is None else self.run.progress.loss == self.logged

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.logged is None:
            return f"{STEPS} has no line of it to compare with"
        if self.reproduced:
            return f"its loss, {self.logged!r}, is the logged one to the last bit"
        return f"its loss is {self.run.progress.loss!r}, and not {self.logged!r} as logged"


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem[5:])


class _Stop(training.Callback):
    """Watches one step, and stops behind it."""

    def __init__(self, step: int, names: Iterable[str] | None) -> None:
        self.step, self.names = step, names
        self.watch: Watch | None = None

    def begin(self, run: Run) -> None:
        """Watch at once if it is the first step."""
        self._watch(run)

    def after_step(self, run: Run) -> None:
        """Watch the next step if it is the one; stop behind it."""
        if run.progress.step == self.step:
            run.stop("there")
        self._watch(run)

    def _watch(self, run: Run) -> None:
        if run.progress.step == self.step - 1:
            self.watch = run.optimizer.watch(self.names)
