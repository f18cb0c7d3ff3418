"""A drawing as text: a table with a row for each box."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from ... import text
from ..ranges import Range, number
from .boxes import Box, Picture


def table(drawn: Picture, width: float = math.inf) -> str:
    """A row for each box, and for each parameter in it; where that is too wide, more rows and fewer figures."""
    lines: list[str] = []
    for tall, spread in ((1, True), (2, True), (2, False), (3, False)):
        lines = _lines(drawn.boxes, tall, spread)
        if max(map(len, lines)) <= width:
            break
    for line in footer(drawn):
        lines += [line] if len(line) <= width else textwrap.wrap(line, int(width), subsequent_indent="  ")
    return "\n".join(lines)


def _lines(boxes: Sequence[Box], tall: int, spread: bool) -> list[str]:
    """The table with shape, value and gradient in one, two or three rows; notes go below titles if in several."""
    numbers = {id(box): str(i) for i, box in enumerate(boxes, 1)}
    rows: list[tuple[str, ...]] = []

    def add(begin: tuple[str, str, str, str], note: str, shape: str, value: Range | None, grad: Range | None) -> None:
        v, g = figures("value", value, spread), figures("grad", grad, spread)
        shapes: dict[int, list[tuple[str, ...]]] = {
            1: [(shape, v, g)],
            2: [(shape, v), ("", g)],
            3: [(shape,), (v,), (g,)],
        }
        beside, *under = shapes[tall]
        rows.append((*begin, *beside))
        for cells in under:
            if note or any(cells):
                rows.append(("", "", f"  {note}", "", *cells))
                note = ""

    for box in boxes:
        inputs = "← " * bool(box.inputs) + ", ".join(numbers[id(source)] for source in box.inputs)
        title, note = (f"{box.title} ({box.note})", "") if box.note and tall == 1 else (box.title, box.note)
        add((numbers[id(box)], box.kind, title, inputs), note, box.shape, box.value, box.gradient)
        for name, value, gradient in box.parts:
            add(("", "", f"  {name}", ""), "", value.kind, value, gradient)
    return text.table(rows, "><")


def figures(name: str, values: Range | None, spread: bool = True) -> str:
    """The number, or range, mean and standard deviation, behind its name."""
    if values is None:
        return ""
    more = f"(mean {number(values.mean)}, std {number(values.std)})" if spread and values.low < values.high else ""
    return ", ".join(filter(None, (f"{name} {values.values} {more}".rstrip(), values.nonfinite)))


def footer(drawn: Picture) -> list[str]:
    """How much is drawn, and the remarks."""
    shown, rest = sum(box.operations for box in drawn.boxes if box.kind != "left out"), drawn.left_out
    if rest:
        return [
            f"{shown:,} of {shown + rest:,} operations; {rest:,} left out (a higher limit= shows more)",
            *drawn.remarks,
        ]
    return [text.plural(shown, "operation"), *drawn.remarks]
