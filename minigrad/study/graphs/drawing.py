"""draw_graph: the computational graph of a tensor as SVG and as text."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import text
from ...autograd.tensor import Tensor
from ...checks import named_arguments, whole
from ...files import write_atomically
from ...nn import Module
from ...nn.inspection import restoring
from ...text import terminal_width
from ._boxes import Box, Picture, figures, picture, ranges
from ._picture import svg
from .trace import trace

LIMIT = 60


@dataclass(frozen=True)
class Drawing(Picture):
    """A drawing of a graph: notebooks show the picture, and ``print`` the text.

    Attributes:
        boxes: the boxes, inputs before the boxes that they lead to.
        left_out: the number of operations that were left out.
        remarks: what is not shown, and how to show it.
        svg: the picture, a complete file.
        text: the same as a table, a row for each box; ``str`` makes it as narrow as the terminal.
    """

    svg: str
    text: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return _table(self, terminal_width())

    def __repr__(self) -> str:
        return f"<drawing of {len(self.boxes)} boxes; print it, or .save('graph.svg')>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path``, which ends with ``.svg``, or the text if it ends with ``.txt``.

        Raises:
            ValueError: for another ending.
        """
        return write_atomically(path, (self.text + "\n" if _suffix(path) == ".txt" else self.svg).encode())


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in (".svg", ".txt"):
        raise ValueError(f"draw_graph: {os.fspath(path)!r} must end with .svg, for the picture, or .txt, for the text")
    return suffix


@named_arguments
def draw_graph(
    what: Tensor | Module,
    *inputs: Any,
    path: str | os.PathLike[str] | None = None,
    open: bool | str | Collection[str] = False,
    depth: int | None = None,
    limit: int = LIMIT,
) -> Drawing:
    """Draw the operations, layers, parameters and inputs that computed a tensor, with values and gradients.

    ``draw_graph(model, x)`` runs the model on ``x``, without changing the model, and draws its outputs.
    ``draw_graph(loss)`` draws any tensor; for its layers and all values compute it in ``with study.trace():``, and call
    ``backward()`` in it too for the gradients of tensors that are not leaves. A backward pass frees the graph, so draw
    before ``backward()`` or call ``backward(retain_graph=True)``.

    Args:
        what: a tensor, or a model that is called with ``inputs``.
        path: a file to write: the picture, or the text if its name ends with ``.txt``.
        open: ``False`` draws a layer as one box, ``True`` draws the operations in it; the path of a layer, or
            several, opens only these.
        depth: also draw the modules at this depth of the model as one box: 1 for the model's direct children.
        limit: the maximum number of boxes, counted from the tensor backwards; the operations left out are counted.

    Raises:
        TypeError: if ``what`` is neither a tensor nor a model, or a layer to open is not given by its path.
        ValueError: for a limit or depth below 1, a layer to open that is not in the graph, or another kind of file.
    """
    limit = whole("draw_graph", "limit", limit)
    depth = None if depth is None else whole("draw_graph", "depth", depth)
    opened = {open} if isinstance(open, str) else open
    named = isinstance(opened, Collection) and all(isinstance(name, str) for name in opened)
    if not (named or isinstance(opened, bool)):
        raise TypeError(f"draw_graph: open must be True, False, or paths of layers such as '0', not {open!r:.40}")
    if path is not None:
        _suffix(path)
    if isinstance(what, Module):
        with restoring(what), trace():
            output = what(*inputs)
        tensors = list(_tensors(output))
        if not tensors:
            raise TypeError(f"draw_graph: the model's output, {type(output).__name__}, contains no tensor")
    elif inputs:
        raise TypeError(f"draw_graph: inputs go with a model, not with a {type(what).__name__}; options go by name")
    elif isinstance(what, Tensor):
        tensors = [what]
    else:
        raise TypeError(f"draw_graph: needs a tensor, or a model and its inputs, not {type(what).__name__}")
    drawn = picture(tensors, opened, depth, limit)
    drawing = Drawing(drawn.boxes, drawn.left_out, drawn.remarks, svg(drawn.boxes, _footer(drawn)), _table(drawn))
    if path is not None:
        drawing.save(path)
    return drawing


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in a model's output, also in tuples, lists and dictionaries."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list | dict):
        for each in output.values() if isinstance(output, dict) else output:
            yield from _tensors(each)


# --- text ------------------------------------------------------------------------------------------------------------


def _table(drawn: Picture, width: float = math.inf) -> str:
    """A row for each box, and for each parameter in it; if that is too wide, more rows and fewer figures."""
    lines: list[str] = []
    for tall, spread in ((1, True), (2, True), (2, False), (3, False)):
        lines = _rows(drawn.boxes, tall, spread)
        if max(map(len, lines)) <= width:
            break
    for line in _footer(drawn):
        lines += [line] if len(line) <= width else textwrap.wrap(line, int(width), subsequent_indent="  ")
    return "\n".join(lines)


def _rows(boxes: Sequence[Box], tall: int, spread: bool) -> list[str]:
    """The table with shape, value and gradient in one, two or three rows; with several, notes go below titles."""
    numbers = {id(box): str(i) for i, box in enumerate(boxes, 1)}
    rows: list[tuple[str, ...]] = []
    for box in boxes:
        inputs = "← " * bool(box.inputs) + ", ".join(numbers[id(source)] for source in box.inputs)
        for name, value, gradient in ranges(box):
            if name:
                begin, note, shape = ("", "", f"  {name}", ""), "", value.kind if value is not None else ""
            elif tall == 1 and box.note:
                begin, note, shape = (numbers[id(box)], box.kind, f"{box.title} ({box.note})", inputs), "", box.shape
            else:
                begin, note, shape = (numbers[id(box)], box.kind, box.title, inputs), box.note, box.shape
            v, g = figures("value", value, spread), figures("grad", gradient, spread)
            cells: list[tuple[str, ...]] = [(shape, v, g)]
            if tall > 1:
                cells = [(shape, v), ("", g)] if tall == 2 else [(shape,), (v,), (g,)]
            beside, *under = cells
            rows.append((*begin, *beside))
            for more in under:
                if note or any(more):
                    rows.append(("", "", f"  {note}", "", *more))
                    note = ""
    return text.table(rows, "><")


def _footer(drawn: Picture) -> list[str]:
    """The number of operations, and the remarks."""
    shown, rest = sum(box.operations for box in drawn.boxes if box.kind != "left out"), drawn.left_out
    count = f"{shown:,} of {shown + rest:,} operations; {rest:,} left out (a higher limit= shows more)"
    return [count if rest else text.plural(shown, "operation"), *drawn.remarks]
