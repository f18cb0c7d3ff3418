"""How a training is stopped by Ctrl-C, and what its run directory says of its end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..training import Callback, Run
from ..training.ending import END, Ending
from .errors import words

BY_HAND = "interrupted"  # why a run stops then


class EndNote(Callback):
    """Writes how a run ended, also where it ends by an error; as a context around the training.

    What the file said before goes when training begins. It is the last to be told, so that a run which cannot begin
    leaves it.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run, self._folder, self._begun = run, folder, False

    def __enter__(self) -> Self:
        self._run.callbacks.append(self)
        return self

    def begin(self, run: Run) -> None:
        """From now on a process that is killed leaves no end."""
        (self._folder / END).unlink(missing_ok=True)
        self._begun = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._begun:
            return
        # Where training failed, that is what is told, and not that its end cannot be written.
        with contextlib.suppress(*([] if error is None else [OSError])):
            self._ending(error).write(self._folder)

    def _ending(self, error: BaseException | None) -> Ending:
        progress, why = self._run.progress, self._run.stopping
        if error is None:
            state, reason = "stopped" if why else "finished", why
        else:
            state, reason = "diverged" if isinstance(error, FloatingPointError) else "failed", words(error)
        if isinstance(error, KeyboardInterrupt) or (error is None and why == BY_HAND):
            state, reason = "interrupted", "by Ctrl-C"
        name = "" if error is None else type(error).__name__
        return Ending(state, progress.epoch, progress.step, reason, name)


@contextlib.contextmanager
def stopping_on_interrupt(run: Run) -> Iterator[None]:
    """Let the first Ctrl-C stop the run after the step under way, and the second one at once."""

    def stop(number: int, frame: Any) -> None:
        if run.stopping == BY_HAND:
            raise KeyboardInterrupt
        run.stopping = BY_HAND

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
