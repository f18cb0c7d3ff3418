"""Signals that end a command: Ctrl-C, SIGTERM of a service or container manager, SIGHUP of a terminal that closes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# A wrapper passes on the Ctrl-C that the terminal has sent to both, and a shell the SIGHUP: twice at once is once.
_REPEATED = 0.1


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command at once."""

    def __init__(self, number: int) -> None:
        super().__init__(title(number))
        self.number = number


def title(number: int | None) -> str:
    """What has come, in words."""
    return "Ctrl-C" if number in (None, signal.SIGINT) else signal.Signals(number).name


def status_of(error: KeyboardInterrupt) -> int:
    """The exit status after a signal, as shells have it: 128 and its number."""
    return 128 + int(getattr(error, "number", signal.SIGINT))


_acts: list[Callable[[int], None]] = []  # of the blocks that are entered; the innermost has the say
_terminals: list[int] = []
_last = (0, 0.0)  # the signal before, and when


@contextlib.contextmanager
def handling(act: Callable[[int], None]) -> Iterator[None]:
    """A block in which a function is given the number of every signal that ends a command.

    Signals that are ignored stay so: those of a job in the background of a script, or under ``nohup``. In other
    threads than the main one, where no signal arrives, nothing is done. The handlers from before come back.
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
                # None is a handler that was not made in Python, and could not be brought back.
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
    """The standard output and error, where they are a terminal."""
    found = []
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if os.isatty(stream.fileno()):
                found.append(stream.fileno())
    return found


def _leave_terminals() -> None:
    """Print nowhere instead: on a terminal that was closed, printing is an error."""
    for number in _terminals:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
