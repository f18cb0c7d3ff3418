"""The end of a command, by an error or a signal, and the record of it in a run directory.

The signals are Ctrl-C, SIGTERM from a service or container manager, and SIGHUP from a closed terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from ..training import Callback, Run
from ..training._run_directory import END, Ending, RunDirectory

FAILED, USAGE = 1, 2


class CommandError(Exception):
    """Ends a command with one line on standard error.

    Attributes:
        status: the exit status: 2 for wrong usage, 1 if training has failed.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status


def words(error: BaseException) -> str:
    """Return the text of an exception in one line, without the error number of an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or ("not enough memory" if isinstance(error, MemoryError) else repr(error))


# --- signals ---------------------------------------------------------------------------------------------------------

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# A wrapper forwards the Ctrl-C that the terminal sends to both, and a shell the SIGHUP: two signals within this many
# seconds count as one.
_REPEATED = 0.1


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command at once."""

    def __init__(self, number: int) -> None:
        super().__init__(title(number))
        self.number = number


def title(number: int | None) -> str:
    """Return the name of a signal."""
    return "Ctrl-C" if number in (None, signal.SIGINT) else signal.Signals(number).name


def status_of(error: KeyboardInterrupt) -> int:
    """Return the exit status after a signal, as in shells: 128 plus its number."""
    return 128 + int(getattr(error, "number", signal.SIGINT))


_acts: list[Callable[[int], None]] = []  # of the entered blocks; the innermost is called
_terminals: list[int] = []
_last = (0, 0.0)  # the previous signal and its time


@contextlib.contextmanager
def handling(act: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the number of every signal that ends a command, inside a block.

    Signals that are ignored stay ignored, as in a background job of a script or under ``nohup``. Outside of the main
    thread, which receives all signals, nothing is done. The previous handlers are restored.
    """
    global _last, _terminals
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {}
    _acts.append(act)
    try:
        if len(_acts) == 1:
            _last, _terminals = (0, 0.0), _open_terminals()
            for number in _ENDING:
                # None is a handler that was not set from Python, and could not be restored.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    previous[number] = signal.signal(number, _handle)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _acts.remove(act)


def _handle(number: int, frame: Any) -> None:
    global _last
    before, _last = _last, (number, time.monotonic())
    if number == getattr(signal, "SIGHUP", None):
        _leave_terminals()
    if number != before[0] or _last[1] - before[1] > _REPEATED:
        _acts[-1](number)


def end_at_once(number: int) -> None:
    """Raise `Interrupted`."""
    raise Interrupted(number)


def _open_terminals() -> list[int]:
    """Standard output and error, if they are a terminal."""
    found = []
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if os.isatty(stream.fileno()):
                found.append(stream.fileno())
    return found


def _leave_terminals() -> None:
    """Discard all output, since printing on a closed terminal is an error."""
    for number in _terminals:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)


# --- the end of a training -------------------------------------------------------------------------------------------

INTERRUPTED = "interrupted"  # the reason why a run stops after a signal


class Stop:
    """A context in which the first signal stops a run after the current step, and the second one at once.

    Attributes:
        number: the number of the signal; ``None`` before the first one.
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
    """A context around training that writes ``end.json``, also if training ends with an error.

    When training begins, it deletes the old file and writes ``config``, if given. It is the last callback, so that a
    run that cannot begin is not changed.
    """

    def __init__(self, run: Run, directory: RunDirectory, stop: Stop, config: dict[str, Any] | None = None) -> None:
        self._run, self._directory, self._stop, self._config = run, directory, stop, config
        self._begun = False

    def __enter__(self) -> Self:
        self._run.callbacks.append(self)
        return self

    def begin(self, run: Run) -> None:
        """Delete the old end: a process that is killed from now on leaves none."""
        if self._config is not None:
            self._directory.write_config(self._config)
        (self._directory.path / END).unlink(missing_ok=True)
        self._begun = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._begun:
            return
        # If training failed, its error is reported, and not the one of writing its end.
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
