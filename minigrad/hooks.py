"""Hooks: functions that are called when something happens, until their handle removes them.

A dict of hooks lies in the order in which they are called. Who calls them goes through a copy, since a hook may remove
itself.
"""

from __future__ import annotations

from typing import Any, Self

from .graph import tick

# Where a hook stands among others, which are called as they were registered.
FIRST, LAST = -(1 << 62), 1 << 62


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook off, as does leaving a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], hook: Any, place: int = 0) -> None:
        self._hooks, self._key = hooks, place + tick()
        last = next(reversed(hooks), self._key)
        hooks[self._key] = hook
        if last > self._key:
            ordered = sorted(hooks.items())
            hooks.clear()
            hooks.update(ordered)

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
