"""Hooks: functions that are called at an event until their handle removes them.

Callers iterate over a copy, because a hook may remove itself.
"""

from __future__ import annotations

from typing import Any, Self

from .tracing import changes

# The place of a hook relative to the others, which are called in the order of registration.
FIRST, LAST = -1, 1


class Key:
    """The key of one hook; its identity survives pickling, unlike a counter of this process.

    Attributes:
        place: `FIRST`, 0 or `LAST`.
        copied: whether copies and pickles of the hooked object include the hook.
    """

    __slots__ = ("copied", "place")

    def __init__(self, place: int, copied: bool) -> None:
        self.place, self.copied = place, copied


class Hooks(dict[Any, Any]):
    """Hooks by their `Key`, in calling order; copies include those marked ``copied``.

    The hooks of a node may contain `minigrad.autograd.graph.RETAIN` too.
    """

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Hooks, (), None, None, iter([(key, hook) for key, hook in self.items() if key.copied])


class RemovableHandle:
    """Returned by registering a hook: ``remove()`` removes the hook, as does leaving a ``with`` block.

    Args:
        hooks: the dictionary to register it in.
        hook: the function.
        place: `FIRST`, `LAST`, or 0 for between these.
        copied: False for an observer, which watches this object but not its copies.
    """

    def __init__(self, hooks: Hooks, hook: Any, place: int = 0, copied: bool = True) -> None:
        self._hooks, self._key = hooks, Key(place, copied)
        hooks[self._key] = hook
        changes[0] += 1
        ordered = sorted(hooks.items(), key=lambda item: getattr(item[0], "place", 0))
        hooks.clear()
        hooks.update(ordered)

    def remove(self) -> None:
        """Remove the hook; calling this twice is harmless."""
        self._hooks.pop(self._key, None)
        changes[0] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
