"""Summary: a table of the layers of a model, their output shapes, parameters and the spread of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..text import rich_table, table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Summary"]

Shape = tuple[int, ...]

_ALIGN = "<<<>"  # of the columns


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        name: its path in the model, such as ``"2"`` or ``"encoder.0"``; empty for the model itself.
        kind: the name of its class.
        output_shapes: the shapes of its outputs for the example; empty without an example.
        parameters: the number of values it learns, except values shared with an earlier layer.
        std: the standard deviation of its weights (without biases and gains), ``None`` if it has none.
    """

    name: str
    kind: str
    output_shapes: tuple[Shape, ...]
    parameters: int
    std: float | None

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text."""
        shapes = ", ".join(str(shape) for shape in self.output_shapes)
        std = "" if self.std is None else f"{self.std:.4f}"
        return self.name, self.kind, shapes, f"{self.parameters:,}" if self.parameters else "", std


@dataclass(frozen=True)
class Summary:
    """The result of `minigrad.nn.summary`: the rows and the totals. ``print`` shows it; rich renders it as a table.

    Attributes:
        rows: one `Row` per layer, in order.
        parameters: the number of values the model learns, shared ones counted once.
        trainable: how many of them require a gradient.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles; the output shapes are empty without an example."""
        return ("layer", "kind", "output shape", "parameters", "weight std")

    @property
    def footer(self) -> str:
        """The totals as text."""
        frozen = self.parameters - self.trainable
        return f"{self.parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")

    def _cells(self) -> list[tuple[str, ...]]:
        return [self.columns, *(row.cells() for row in self.rows)]

    def __str__(self) -> str:
        titles, *lines = table(self._cells(), _ALIGN)
        return "\n".join([titles, "─" * len(titles), *lines, self.footer])

    def __rich__(self) -> Table:
        return rich_table(self._cells(), _ALIGN, self.footer)
