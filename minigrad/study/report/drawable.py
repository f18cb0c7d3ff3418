"""A recording as pictures can show it: names that are short and are no formulas, whatever the file says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...training.progress import Row
from ..recording import Recording
from .markup import readable

_LONGEST = 40  # characters of a name


def drawable_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of metrics in the same way."""
    return _Names().within(list(rows))


def drawable(recording: Recording) -> Recording:
    """The same numbers under names that can be drawn; those that already can stay as they are."""
    names = _Names()
    return Recording(names.within(recording.header), [names.within(record) for record in recording.records])


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
            short = " ".join(readable(name).split()).replace("$", "\\$")
            if len(short) > _LONGEST:
                short = short[:_LONGEST].rstrip("\\") + "…"
            while short != name and (short in self._taken or not short.endswith(" ")):
                short += " "  # which no name has that stays as it is
            self._taken.add(short)
            self._found[name] = short
        return self._found[name]
