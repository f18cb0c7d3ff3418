"""Hooks: functions that are called when something happens, until their handle removes them.

Callers iterate over a copy, since a hook may remove itself.
"""

from __future__ import annotations

from typing import Any, Self

# Where a hook is among the others, which are called in the order in which they were registered.
FIRST, LAST = -1, 1


class Key:
    """The key of one hook; its identity survives pickling, where a number of this process would not.

    Attributes:
        place: `FIRST`, 0 or `LAST`.
        copied: whether copies and pickles of what is hooked have the hook too.
    """

    __slots__ = ("copied", "place")

    def __init__(self, place: int, copied: bool) -> None:
        self.place, self.copied = place, copied


class Hooks(dict[Any, Any]):
    """Hooks by their `Key`, in the order in which they are called; copies have those that are copied.

    Those of a node may have `minigrad.autograd.graph.RETAIN` as well.
    """

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Hooks, (), None, None, iter([(key, hook) for key, hook in self.items() if key.copied])


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook off, as does leaving a ``with`` block.

    Args:
        hooks: where it is registered.
        hook: the function.
        place: `FIRST`, `LAST`, or 0 for between these.
        copied: false for an observer, which watches this object and not its copies.
    """

    def __init__(self, hooks: Hooks, hook: Any, place: int = 0, copied: bool = True) -> None:
        self._hooks, self._key = hooks, Key(place, copied)
        hooks[self._key] = hook
        ordered = sorted(hooks.items(), key=lambda item: getattr(item[0], "place", 0))
        hooks.clear()
        hooks.update(ordered)

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
