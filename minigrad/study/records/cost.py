"""What recording costs, measured while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

# What recording may cost of the time that training takes without it.
BUDGET = 0.05


@dataclass
class Cost:
    """The time that goes into recording.

    Attributes:
        steps, records: how many there were.
        spent: the seconds that the records took.
        counting: the seconds that the looks at every step took, where it was timed: in the recorded ones.
        elapsed: the seconds between beginning and end, of all stretches that are over.
    """

    steps: int = 0
    records: int = 0
    spent: float = 0.0
    counting: float = 0.0
    elapsed: float = 0.0
    _began: float | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """Stop it."""
        if self._began is not None:
            self.elapsed += time.perf_counter() - self._began
            self._began = None

    def _total(self) -> tuple[float, float]:
        """The seconds of recording, those of the looks at other steps worked out, and of everything else."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        spent = self.spent + (self.counting * self.steps / self.records if self.records else 0.0)
        return spent, max(self.elapsed + running - spent, 1e-9)

    def share(self) -> float:
        """The seconds of recording over all others."""
        spent, others = self._total()
        return spent / others

    def describe(self, interval: int, option: str = "every=") -> str:
        """The cost in words, with the interval that would keep it within `BUDGET` where it is more.

        Args:
            interval: the steps from one record to the next.
            option: what the reader writes in front of another one.
        """
        if not self.records:
            return f"recording every {interval} steps; none yet"
        each, share = self.spent / self.records, self.share()
        text = (
            f"{self.records:,} of {self.steps:,} steps recorded (every {interval}), {each * 1e3:.2f} ms each: "
            f"{share:.1%} on top of the {self._total()[1]:.2f} s of training"
        )
        if share > BUDGET:
            wanted = max(interval + 1, round(interval * share / BUDGET))
            text += f"; {option}{wanted} would bring it below {BUDGET:.0%}"
        return text
