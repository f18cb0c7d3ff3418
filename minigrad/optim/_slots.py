"""Slots: the state of an optimizer, in flat arrays like the ones of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels.store import Buffer

Array = npt.NDArray[Any]


class Slots(dict[str, list[Array]]):
    """For each slot of state, such as ``"exp_avg"``, an array as long as each buffer of a store.

    Args:
        buffers: the buffers.
        options: the options of the group of each parameter, by the parameter's name.
    """

    def __init__(self, buffers: Sequence[Buffer] = (), options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        self._buffers, self._options = buffers, options or {}
        self._places = {entry.name: (i, entry) for i, buffer in enumerate(buffers) for entry in buffer.entries}

    def make(self, slot: str, first: float | str) -> None:
        """Add a slot.

        Args:
            slot: its name.
            first: its first values: a number, ``"param"`` for the parameter's values, or the name of an option.

        Raises:
            TypeError: for an option that a group does not have.
        """
        if isinstance(first, str) and first != "param" and any(first not in each for each in self._options.values()):
            raise TypeError(f"state {slot!r} begins with the option {first!r}, which the param group does not have")
        self[slot] = [np.zeros_like(buffer.data) for buffer in self._buffers]
        self.fill(slot, first, self._places)

    def fill(self, slot: str, first: float | str, names: Iterable[str]) -> None:
        """Give the state of some parameters its first values; see `make`."""
        for name in names:
            value: Any = first
            if first == "param":
                number, entry = self._places[name]
                value = self._buffers[number].data[entry.start : entry.stop].reshape(entry.shape)
            elif isinstance(first, str):
                value = self._options[name][first]
            self.view(slot, name)[...] = value

    def view(self, slot: str, name: str) -> Array:
        """The state of one parameter in a slot, as a view in its shape."""
        number, entry = self._places[name]
        return self[slot][number][entry.start : entry.stop].reshape(entry.shape)

    def views(self, slot: str) -> dict[str, Array]:
        """The state of every parameter in a slot, by name."""
        return {name: self.view(slot, name) for name in self._places}

    def by_buffer(self) -> list[dict[str, Array]]:
        """For each buffer, the flat array of each slot, as kernels take them."""
        return [{slot: arrays[i] for slot, arrays in self.items()} for i in range(len(self._buffers))]
