"""How much is measured: everything, a quick run, or the least that runs all code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """A name, and about how long each contender is timed, in seconds."""

    name: str
    seconds: float

    def of(self, full: T, quick: T, tiny: T) -> T:
        """Return the one of three values that is for this effort."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.name]


FULL, QUICK, TINY = Effort("full", 1.5), Effort("quick", 0.06), Effort("tiny", 0.0)
