"""Whether operations are recorded: ``no_grad`` and its relatives."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator


class _Mode(threading.local):
    enabled = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return mode.enabled


class set_grad_enabled(ContextDecorator):  # noqa: N801 - named as in PyTorch
    """Record operations, or not, inside a ``with`` block or a decorated function. Holds for one thread."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = bool(enabled)
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(mode.enabled)
        mode.enabled = self._enabled

    def __exit__(self, *error: object) -> None:
        mode.enabled = self._before.pop()


class no_grad(set_grad_enabled):  # noqa: N801 - named as in PyTorch
    """Record nothing inside: results have ``requires_grad=False``."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):  # noqa: N801 - named as in PyTorch
    """Record again inside an outer `no_grad`."""

    def __init__(self) -> None:
        super().__init__(True)
