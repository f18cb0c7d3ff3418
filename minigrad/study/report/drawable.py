"""A recording as pictures can show it: not too many records, and names that are short and of one line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ...training.progress import Row
from ..records.recording import Record, Recording
from .markup import readable

_LONGEST = 40  # characters of a name
RECORDS = 200  # a picture has hardly more places from left to right
LAYERS = 60  # nor from top to bottom
T = TypeVar("T")


def drawable_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of metrics in the same way."""
    return _Names().within(list(rows))


def drawable(recording: Recording) -> Recording:
    """The same numbers under names that can be drawn, of some records and layers: evenly spread, and the not finite."""
    names, records = _Names(), recording.records
    bad = (i for i, record in enumerate(records) if any("nonfinite" in layer for layer in record["layers"].values()))
    chosen = sorted({*spread(range(len(records)), RECORDS), *islice(bad, RECORDS)})
    outputs = set(spread(recording.activations, LAYERS))
    kept = Recording(recording.header, (_only(records[i], outputs) for i in chosen))
    kept = of_layers(kept, LAYERS)
    return Recording(names.within(kept.header), [names.within(record) for record in kept.records])


def of_layers(recording: Recording, count: int) -> Recording:
    """The recording with so many of its layers, evenly spread, where it has more."""
    if len(recording.layers) <= count:
        return recording
    kept = {layer: recording.header["layers"][layer] for layer in spread(recording.layers, count)}
    records = [
        {**r, "layers": {name: r["layers"][name] for name in kept if name in r["layers"]}} for r in recording.records
    ]
    return Recording({**recording.header, "layers": kept}, records)


def spread(items: Sequence[T], count: int) -> list[T]:
    """So many items, evenly spread from the first to the last, or all."""
    places = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return [items[i] for i in places]


def _only(record: Record, outputs: set[str]) -> Record:
    if len(record.get("activations", {})) <= LAYERS:
        return record
    return {**record, "activations": {name: each for name, each in record["activations"].items() if name in outputs}}


class _Names:
    """Names by what they were, each different from all others."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._taken: set[str] = set()

    def within(self, value: Any) -> Any:
        """A value with every name in it replaced."""
        if isinstance(value, dict):
            return {self.of(key): self.within(each) for key, each in value.items()}
        if isinstance(value, list) and value and not isinstance(value[0], int | float):
            return [self.within(each) for each in value]
        return self.of(value) if isinstance(value, str) else value

    def of(self, name: str) -> str:
        """The name in a picture."""
        if name not in self._found:
            # A dollar begins a formula in Matplotlib, and a line break a second line.
            short = " ".join(readable(name).split())
            if len(short) > _LONGEST:
                short = short[:_LONGEST] + "…"
            while short != name and (short in self._taken or not short.endswith(" ")):
                short += " "  # which no name has that stays as it is
            self._taken.add(short)
            self._found[name] = short
        return self._found[name]
