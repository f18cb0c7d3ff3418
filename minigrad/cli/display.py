"""The output of training: a row for each epoch, and on a terminal a progress line below the rows."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..text import metric_text, metric_title
from ..training import Callback, Run, Stretch

_REDRAW = 0.1  # seconds between two updates of the line

_TITLES = {"train_accuracy": "train acc", "held_out_accuracy": "held-out acc"}


def console(quiet: bool) -> Console:
    """Return the console that a command prints to."""
    return Console(highlight=False, quiet=quiet)


class Display(Callback):
    """Prints a row per epoch; on a terminal it redraws a line with the epoch, the rate and the time left."""

    def __init__(self, out: Console, epochs: int) -> None:
        self._out, self._epochs = out, epochs
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def begin(self, run: Run) -> None:
        """Print the titles of the columns."""
        self._out.print("  ".join(["epoch", *(title for title, _ in self._columns(run, {}))]), soft_wrap=True)
        self._batches, self._steps = len(run.loader), -(-len(run.loader) // run.accumulate)
        self._first = run.progress.step
        self._started = self._begun = self._drawn = time.perf_counter()
        if not self._out.is_terminal:
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(self._epochs)),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.0f} steps/s,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._out,
            transient=True,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=self._epochs * self._steps, epoch=run.progress.epoch + 1, rate=0)
        self._progress.start()
        self._draw(run)

    def after_step(self, run: Run) -> None:
        """Redraw the line if enough time has passed."""
        if self._progress is not None and time.perf_counter() - self._drawn > _REDRAW:
            self._draw(run)

    def after_stretch(self, run: Run, steps: Stretch) -> None:
        """The same."""
        self.after_step(run)

    def _draw(self, run: Run) -> None:
        assert self._progress is not None
        self._drawn = time.perf_counter()
        progress = run.progress
        rate = (progress.step - self._first) / max(self._drawn - self._started, 1e-9)
        epoch = min(progress.epoch + 1, self._epochs)
        self._progress.update(self._task, completed=progress.step, epoch=epoch, rate=rate, refresh=True)

    def after_epoch(self, run: Run) -> None:
        """Print the row."""
        row = run.progress.history[-1]
        now = time.perf_counter()
        cells = [text.rjust(len(title)) for title, text in self._columns(run, {**row, "seconds": now - self._begun})]
        self._begun = now
        self._out.print("  ".join([f"{run.progress.epoch:5d}", *cells]), soft_wrap=True)
        if self._progress is not None:
            self._draw(run)

    def close(self) -> None:
        """Remove the line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _columns(self, run: Run, row: dict[str, float]) -> list[tuple[str, str]]:
        """The titles of the columns, and the texts of a row."""
        names = ["train_loss", *([] if run.metrics else ["held_out_loss"])]
        columns = [(metric_title(name), f"{row.get(name, 0):.4f}") for name in names]
        for part in ("train", "held_out"):
            for metric in run.metrics:
                name = f"{part}_{metric}"
                columns.append((_TITLES.get(name, name), f"{row.get(name, 0):.2%}"))
        return [*columns, ("seconds", f"{row.get('seconds', 0):.2f}")]


def best_of(run: Run) -> str:
    """Return the best and the last value of the monitored metric as text."""
    progress, name = run.progress, run.monitor
    if progress.best is None or not progress.history:
        return ""
    best, last = metric_text(name, progress.best), metric_text(name, progress.history[-1][name])
    return f"{metric_title(name)}: best {best} after epoch {progress.best_epoch}, last {last}"
