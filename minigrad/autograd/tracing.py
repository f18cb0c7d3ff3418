"""Tracing: how a compiled step learns which tensors, modules and updates a call of it involves.

The tracer of a thread is told before they are used (`minigrad.compiled.trace` is the one tracer). Without one, the cost
is a test per operation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

# Names for the reader: the modules of these classes import this one, or are further up.
Tensor: TypeAlias = Any
Module: TypeAlias = Any
Layout: TypeAlias = Any
Norm: TypeAlias = Any


class Update(Protocol):
    """Compiled kernels that run on parameters or gradients: an optimizer's step, or a clip of gradients in place."""

    def begin_update(self) -> Layout:
        """Make everything ready; the layout that is to run."""

    def advance(self, layout: Layout, steps: int) -> None:
        """Account for ``steps`` runs of the layout, with the scalars that it gave for them."""

    def end_update(self, layout: Layout, stopped: Norm | None) -> None:
        """Account for the layout having run, or for a norm that was not finite and has stopped it."""


class Tracer:
    """Receives what happens in its thread."""

    def computing(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """A primitive is about to be applied to ``args``; what it is to be applied to instead."""
        return args

    def reading(self, tensor: Tensor) -> None:
        """The array of a tensor is about to be used."""

    def clearing(self, tensor: Tensor) -> None:
        """The gradient of a tensor is about to be forgotten."""

    def entering(self, module: Module) -> None:
        """A module is about to be called."""

    def beginning(self, update: Update) -> None:
        """An update is about to be made."""

    def updating(self, update: Update, layout: Layout) -> None:
        """The kernels of a layout are about to run for an update."""

    def calling(self, owner: Any, function: Callable[[], Any]) -> None:
        """``function`` of ``owner``, which has a state dict, is about to run, as it has to in each call of the step."""


# By thread identifier. A thread without a tracer has no entry.
tracers: dict[int, Tracer] = {}

# How often a setting of any module or whether any tensor requires a gradient has changed, or a hook was added or
# removed; compiled steps look again if it has.
changes = [0]

_SILENT = Tracer()


def tracer() -> Tracer:
    """The tracer of this thread, or one that does nothing."""
    return tracers.get(threading.get_ident(), _SILENT)


def run_update(update: Update) -> Layout:
    """Run the kernels of an update."""
    if tracers:
        tracer().beginning(update)
    layout = update.begin_update()
    if tracers:
        tracer().updating(update, layout)
    update.end_update(layout, layout.run())
    return layout
