"""Hooks: functions that are called when something happens, until their handle removes them."""

from __future__ import annotations

from typing import Any, Self

from .graph import tick

# Where a hook stands among others that are called in the order of their keys.
FIRST, LAST = -(1 << 62), 1 << 62


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook off, as does leaving a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], hook: Any, place: int = 0) -> None:
        self._hooks, self._key = hooks, place + tick()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
