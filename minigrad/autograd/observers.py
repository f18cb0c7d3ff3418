"""Observers: callbacks that see each operation and each gradient rule, for the tools of `minigrad.study`.

Without observers, their cost is one test per operation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from ..ops.primitive import BoundRule, Primitive

# Names for the reader: the modules of these classes import this one.
Tensor: TypeAlias = Any
Node: TypeAlias = Any
Edge: TypeAlias = Any


class Observer:
    """Receives every operation in its thread. Exceptions that it raises propagate out of the operation."""

    def computed(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        arrays: Sequence[Any],
        settings: Mapping[str, Any],
        result: Tensor,
    ) -> None:
        """``primitive`` with ``settings`` was applied to ``args``, whose values are ``arrays``, and gave ``result``."""

    def walking(self, seeds: Sequence[tuple[Edge, Any]]) -> None:
        """A walk over the graph is about to start from these places with these gradients."""

    def differentiating(self, node: Node, g: Any) -> None:
        """A rule of ``node`` is about to run, with ``g`` as the node's complete gradient."""

    def differentiated(self, node: Node, bound: BoundRule, values: Sequence[Any], total: Any) -> None:
        """The rule has run.

        ``values`` are the gradient that arrived at the node, its saved values, and the gradient that had arrived at the
        input before, or ``None``; ``total`` is the gradient that has arrived there now.
        """

    def walked(self) -> None:
        """The walk has ended or failed."""


Looking = TypeVar("Looking", bound=Observer)

# By thread identifier, in the order of entering. A thread without observers has no entry.
observers: dict[int, tuple[Observer, ...]] = {}


def watching() -> tuple[Observer, ...]:
    """The observers of this thread."""
    return observers.get(threading.get_ident(), ()) if observers else ()


def enter(observer: Observer) -> None:
    """Add ``observer`` to this thread."""
    observers[threading.get_ident()] = (*watching(), observer)


def leave(observer: Observer) -> None:
    """Remove ``observer`` from this thread."""
    rest = tuple(other for other in watching() if other is not observer)
    if rest:
        observers[threading.get_ident()] = rest
    else:
        observers.pop(threading.get_ident(), None)


@contextmanager
def observing(observer: Looking) -> Iterator[Looking]:
    """Add ``observer`` for the duration of a ``with`` block."""
    enter(observer)
    try:
        yield observer
    finally:
        leave(observer)
