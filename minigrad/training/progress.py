"""Progress: how far a run is, in numbers that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..checks import is_number
from .evaluation import is_better

Row = dict[str, float]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch: the number of complete epochs.
        batch: the number of batches used in the next epoch.
        step: the number of optimizer steps.
        loss: the loss of the last step.
        first_loss: the loss of the first step.
        rows: the number of rows used in this epoch, with ``loss_sum`` and ``sums``, the sums over them of the loss and
            of the metrics.
        loss_count: the divisor of the mean loss: the rows, or the class weights of those that count.
        history: a row of metrics per epoch.
        best: the best value of the monitored metric so far, in epoch ``best_epoch``.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float | None = None
    first_loss: float | None = None
    rows: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: float | None = None
    best_epoch: int | None = None

    def begin_epoch(self) -> None:
        """Reset the sums."""
        self.batch = self.rows = 0
        self.loss_sum = self.loss_count = 0.0
        self.sums = {}

    def means(self) -> Row:
        """Return the means over the rows of this epoch so far."""
        rows = max(self.rows, 1)
        return {
            "train_loss": self.loss_sum / self.loss_count if self.loss_count else math.nan,
            **{f"train_{name}": total / rows for name, total in self.sums.items()},
        }

    def note(self, value: float, direction: str) -> None:
        """Compare the monitored metric of a finished epoch with the best one so far."""
        if is_better(direction, value, self.best):
            self.best, self.best_epoch = value, self.epoch

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every attribute."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**state, "sums": dict(self.sums), "history": [dict(row) for row in self.history]}

    @classmethod
    def from_state(cls, state: Any) -> Progress:
        """Return the progress with this state.

        Raises:
            ValueError: for missing or unknown names, or impossible values.
        """
        names = [each.name for each in fields(cls)]
        if isinstance(state, Mapping) and "rows" in state:  # saved when the mean loss always divided by the rows
            state = {"loss_count": state["rows"], **state}
        if not isinstance(state, Mapping) or set(state) != set(names):
            raise ValueError(f"progress: needs exactly {', '.join(names)}")
        for name in ("epoch", "batch", "step", "rows"):
            if type(state[name]) is not int or state[name] < 0:
                raise ValueError(f"progress: {name} must be a whole number of 0 or more, not {state[name]!r:.40}")
        if not (state["best_epoch"] is None or type(state["best_epoch"]) is int):
            raise ValueError(f"progress: best_epoch must be a whole number, not {state['best_epoch']!r:.40}")
        for name in ("loss", "first_loss", "best", "loss_sum", "loss_count"):
            if not (is_number(state[name]) or (state[name] is None and name not in ("loss_sum", "loss_count"))):
                raise ValueError(f"progress: {name} must be a number, not {state[name]!r:.40}")
        rows = state["history"]
        if not isinstance(rows, list) or len(rows) != state["epoch"] or not all(map(_is_row, [*rows, state["sums"]])):
            raise ValueError("progress: the history must be a row of numbers for each epoch")
        return cls(**{**state, "sums": dict(state["sums"]), "history": [dict(row) for row in rows]})


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(k, str) and is_number(v) for k, v in row.items())
