"""Text that several folders print: counts with nouns, metrics, tables of aligned columns, and the width of lines."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

# Longer lines are hard to read.
WIDEST = 118


def terminal_width() -> int:
    """Return the number of columns of the terminal, or of a page without one, but at most `WIDEST`."""
    return min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun; ``nouns`` is the plural, by default the noun with an "s".

    >>> plural(1, "step"), plural(2000, "step"), plural(3, "box", "boxes")
    ('1 step', '2,000 steps', '3 boxes')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def metric_title(name: str) -> str:
    """Return the name of a metric as people read it.

    >>> metric_title("held_out_accuracy")
    'held-out accuracy'
    """
    return name.replace("held_out", "held-out").replace("_", " ")


def metric_text(name: str, value: float, number: Callable[[float], str] = "{:.4g}".format) -> str:
    """Return the value of a metric: an accuracy in percent, any other as ``number`` writes it.

    >>> metric_text("held_out_accuracy", 0.9722), metric_text("train_loss", 0.123456)
    ('97.22%', '0.1235')
    """
    return f"{value:.2%}" if name.endswith("accuracy") and math.isfinite(value) else number(value)


def table(rows: Sequence[Sequence[str]], align: str = "<") -> list[str]:
    """Return rows of cells as lines with aligned columns, two spaces apart.

    Args:
        rows: cells of text, equally many in each row.
        align: for each column ``"<"`` (left) or ``">"`` (right); the last one applies to all further columns.

    >>> table([["epoch", "loss"], ["1", "0.693"], ["10", "0.02"]], "<>")
    ['epoch   loss', '1      0.693', '10      0.02']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = align.ljust(len(widths), align[-1])
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=False)).rstrip()
        for row in rows
    ]


def rich_table(rows: Sequence[Sequence[str]], align: str = "<", caption: str | None = None) -> Table:
    """Return the same table with lines around it, for a terminal; the first row has the titles."""
    from rich.table import Table  # which only a terminal needs

    titles, *others = rows
    found = Table(caption=caption)
    for title, side in zip(titles, align.ljust(len(titles), align[-1]), strict=False):
        found.add_column(title, justify="right" if side == ">" else "left")
    for row in others:
        found.add_row(*row)
    return found
