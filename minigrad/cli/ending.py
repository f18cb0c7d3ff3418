"""How a training is stopped by a signal, and what its run directory says of its end."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Self

from ..training import Callback, Run
from ..training._run_directory import END, Ending, RunDirectory
from .errors import words
from .signals import Interrupted, handling, title

INTERRUPTED = "interrupted"  # why a run stops then


class Stop:
    """Lets the first signal stop a run after the step under way, and the second one at once; a context around it.

    Attributes:
        number: of the signal that has come, ``None`` as long as there was none.
    """

    def __init__(self, run: Run) -> None:
        self.number: int | None = None
        self._run, self._handling = run, handling(self._stop)

    def _stop(self, number: int) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number, self._run.stopping = number, INTERRUPTED

    def __enter__(self) -> Self:
        self._handling.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._handling.__exit__(*error)


class EndNote(Callback):
    """Writes how a run ended, also where it ends by an error; as a context around the training.

    What the file said before goes when training begins, and then ``config`` becomes that of the run, if one is given.
    It is the last to be told, so that a run which cannot begin is left as it was.
    """

    def __init__(self, run: Run, directory: RunDirectory, stop: Stop, config: dict[str, Any] | None = None) -> None:
        self._run, self._directory, self._stop, self._config = run, directory, stop, config
        self._begun = False

    def __enter__(self) -> Self:
        self._run.callbacks.append(self)
        return self

    def begin(self, run: Run) -> None:
        """From now on a process that is killed leaves no end."""
        if self._config is not None:
            self._directory.write_config(self._config)
        (self._directory.path / END).unlink(missing_ok=True)
        self._begun = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._begun:
            return
        # Where training failed, that is what is told, and not that its end cannot be written.
        with contextlib.suppress(*([] if error is None else [OSError])):
            self._ending(error).write(self._directory.path)

    def _ending(self, error: BaseException | None) -> Ending:
        progress, why = self._run.progress, self._run.stopping
        if error is None:
            state, reason = "stopped" if why else "finished", why
        else:
            state, reason = "diverged" if isinstance(error, FloatingPointError) else "failed", words(error)
        number = error.number if isinstance(error, Interrupted) else self._stop.number
        if isinstance(error, KeyboardInterrupt) or (error is None and number is not None):
            state, reason = "interrupted", f"by {title(number)}"
        name = "" if error is None else type(error).__name__
        return Ending(state, progress.epoch, progress.step, reason, name)
