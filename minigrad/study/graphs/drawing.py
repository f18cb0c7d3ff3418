"""draw_graph: the computational graph of a tensor as SVG and as text."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ...autograd.tensor import Tensor
from ...checks import named_arguments
from ...files import write_atomically
from ...nn import Module
from ...nn._restoring import restoring
from ..ranges import Range
from ..width import width
from .boxes import Box, Picture, picture
from .layout import Layout, layered
from .table import figures, footer, table
from .trace import trace

LIMIT = 60

# Fill and line of each kind of box: tints of Okabe and Ito's colors, which differ for every kind of eye.
_COLORS = {
    "input": ("#e3f1fb", "#0072b2"),
    "parameter": ("#fdf0dc", "#b36b00"),
    "operation": ("#f4f4f4", "#6b6b6b"),
    "layer": ("#e0f4ec", "#00795a"),
    "left out": ("#ffffff", "#8a8a8a"),
}
_TITLE, _SMALL, _LINE, _PAD, _MARGIN = 13.0, 11.0, 16.0, 9.0, 18.0
_CHARACTER = 0.602  # the width of a character of a monospaced font, in parts of its size
_WIDE = _SMALL * _CHARACTER
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Drawing(Picture):
    """A graph as a picture: shown by notebooks, printed as text.

    Attributes:
        boxes: what is drawn, inputs before what they lead to.
        left_out: how many operations were left out.
        remarks: what is not shown, and what to do about it.
        svg: the picture, a file of its own.
        text: the same as a table, a line for each box; ``str`` makes it as narrow as the terminal.
    """

    svg: str
    text: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return table(self, width())

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
    """Draw what a tensor was computed from: operations, layers, parameters and inputs, with values and gradients.

    ``draw_graph(model, x)`` runs the model on ``x``, which changes nothing of it, and draws its outputs.
    ``draw_graph(loss)`` draws any tensor; for its layers and all values compute it in ``with study.trace():``, and for
    the gradients of what is no leaf call ``backward()`` in there too. A walk frees the graph, so draw before
    ``backward()`` or call ``backward(retain_graph=True)``.

    Args:
        what: a tensor, or a model that is called with ``inputs``.
        path: a file to write: the picture, or the text if its name ends with ``.txt``.
        open: ``False`` draws a layer as one box, ``True`` draws the operations in it; the path of a layer, or
            several, opens only these.
        depth: draw modules this deep in the model as one box too: 1 for those that it consists of.
        limit: how many boxes are drawn, counted from the tensor backwards; what is left out is counted.

    Raises:
        TypeError: for what is neither tensor nor model, or a layer to open that is given otherwise than by its path.
        ValueError: for a limit or depth below 1, a layer to open that is not in the graph, or a file of another kind.
    """
    for name, value in (("limit", limit), ("depth", depth)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"draw_graph: {name} must be a whole number of at least 1, not {value!r}")
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
            raise TypeError(f"draw_graph: there is no tensor in what the model gave, {type(output).__name__}")
    elif inputs:
        raise TypeError(f"draw_graph: inputs go with a model, not with a {type(what).__name__}; options go by name")
    elif isinstance(what, Tensor):
        tensors = [what]
    else:
        raise TypeError(f"draw_graph: needs a tensor, or a model and its inputs, not {type(what).__name__}")
    drawn = picture(tensors, opened, depth, limit)
    drawing = Drawing(drawn.boxes, drawn.left_out, drawn.remarks, _svg(drawn), table(drawn))
    if path is not None:
        drawing.save(path)
    return drawing


def _tensors(output: Any) -> Iterator[Tensor]:
    """Those in what a model gave, also in tuples, lists and dictionaries."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list | dict):
        for each in output.values() if isinstance(output, dict) else output:
            yield from _tensors(each)


# --- SVG -------------------------------------------------------------------------------------------------------------


def _lines(box: Box) -> list[tuple[str, str]]:
    """What stands in a box under its title, with a class of text."""
    lines = [(style, text) for style, text in (("note", box.note), ("shape", box.shape)) if text]
    if box.value is not None:
        lines.append(("value", _short("value", box.value)))
    if box.gradient is not None:
        lines.append(("grad", _short("grad ", box.gradient)))
    for name, value, gradient in box.parts:
        lines.append(("part", f"{name} {value.shape}"))
        lines.append(("value", _short("value", value)))
        if gradient is not None:
            lines.append(("grad", _short("grad ", gradient)))
    return lines


def _short(name: str, values: Range) -> str:
    return f"{name} " + ", ".join(filter(None, (values.values, values.nonfinite)))


def _size(box: Box) -> tuple[float, float]:
    lines = _lines(box)
    width = max([len(box.title) * _TITLE, *(len(text) * _SMALL for _, text in lines)]) * _CHARACTER
    return max(width + 2 * _PAD + (10 if box.kind in ("input", "parameter") else 0), 76.0), (
        _TITLE + 2 * _PAD + len(lines) * _LINE
    )


def _svg(drawn: Picture) -> str:
    boxes = drawn.boxes
    numbers = {id(box): i for i, box in enumerate(boxes)}
    edges = [(numbers[id(source)], i) for i, box in enumerate(boxes) for source in box.inputs]
    sizes = [_size(box) for box in boxes]
    layout = layered(sizes, edges)
    below = footer(drawn)
    kinds = [kind for kind in _COLORS if any(box.kind == kind for box in boxes)]
    legend = sum(len(kind) * _WIDE + 40 for kind in kinds)
    width = max(layout.width, legend, *(len(line) * _WIDE for line in below)) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + 34 + len(below) * _LINE
    left = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="{_FONT}" font-size="{_SMALL:g}" fill="#1a1a1a">',
        f"<title>{escape(f'computational graph: {below[0]}')}</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#ffffff"/>',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.8 L8 4 L0 7.2 Z" fill="#555555"/></marker></defs>',
        f'<g transform="translate({left:.1f} {_MARGIN:g})">',
        *_edges(layout),
    ]
    for i, box in enumerate(boxes):
        parts += _box(box, layout.corners[i], sizes[i])
    parts.append("</g>")
    y = layout.height + 2 * _MARGIN + 8
    parts += _legend(kinds, y)
    for i, line in enumerate(below):
        parts.append(f'<text x="{_MARGIN:g}" y="{y + 30 + i * _LINE:.1f}" fill="#444444">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _edges(layout: Layout) -> Iterator[str]:
    yield '<g class="edges" fill="none" stroke="#777777" stroke-width="1.2">'
    for points in layout.routes:
        (x, y), *rest = points
        path = [f"M{x:.1f} {y:.1f}"]
        for i, (nx, ny) in enumerate(rest):
            middle = (y + ny) / 2
            if i % 2:
                path.append(f"C{x:.1f} {middle:.1f} {nx:.1f} {middle:.1f} {nx:.1f} {ny:.1f}")
            elif ny != y:  # a piece without length would have no direction for the arrow
                path.append(f"V{ny:.1f}")
            x, y = nx, ny
        yield f'<path d="{" ".join(path)}" marker-end="url(#arrow)"/>'
    yield "</g>"


def _shape(kind: str, x: float, y: float, width: float, height: float) -> str:
    """The outline of a box: each kind has its own."""
    fill, line = _COLORS[kind]
    style = f'fill="{fill}" stroke="{line}"'
    if kind == "parameter":  # a tag with cut corners
        c = min(9.0, height / 3)
        points = [(x + c, y), (x + width - c, y), (x + width, y + c), (x + width, y + height - c)]
        points += [(x + width - c, y + height), (x + c, y + height), (x, y + height - c), (x, y + c)]
        return f'<polygon points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" {style}/>'
    radius = {"input": min(height / 2, 20.0), "layer": 7.0}.get(kind, 3.0)
    dashed = ' stroke-dasharray="5 4"' if kind == "left out" else ' stroke-width="2"' if kind == "layer" else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}" {style}{dashed}/>'
    )


def _box(box: Box, corner: tuple[float, float], size: tuple[float, float]) -> Iterator[str]:
    (x, y), (width, height) = corner, size
    yield f'<g class="{box.kind}">'
    details = [box.title, box.note, box.source, *(figures(n, v) for n, v in _ranges(box))]
    yield f"<title>{escape(chr(10).join(filter(None, details)))}</title>"
    if box.drawn:
        yield (
            f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="{width + 8:.1f}" height="{height + 8:.1f}" rx="8" '
            'fill="none" stroke="#1a1a1a" stroke-width="1.5"/>'
        )
    yield _shape(box.kind, x, y, width, height)
    middle = x + width / 2
    y += _PAD + _TITLE - 2
    yield (
        f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{_TITLE:g}" font-weight="bold" '
        f'fill="{_COLORS[box.kind][1] if box.kind != "operation" else "#1a1a1a"}">{escape(box.title)}</text>'
    )
    lines = _lines(box)
    left = middle - max((len(text) for style, text in lines if style in ("value", "grad")), default=0) * _WIDE / 2
    for style, text in lines:
        y += _LINE
        if style in ("value", "grad"):
            bad = "NaN" in text or "inf" in text.split()[-1]
            color = "#b00020" if bad else "#1a1a1a"
            yield (
                f'<text x="{left:.1f}" y="{y:.1f}" fill="{color}"><tspan fill="#6b6b6b">{text[:5]}</tspan>'
                f"{escape(text[5:])}</text>"
            )
        else:
            look = f'fill="{_COLORS["parameter"][1]}" font-weight="bold"' if style == "part" else 'fill="#444444"'
            yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" {look}>{escape(text)}</text>'
    yield "</g>"


def _ranges(box: Box) -> Iterator[tuple[str, Range | None]]:
    yield "value", box.value
    yield "grad", box.gradient
    for name, value, gradient in box.parts:
        yield name, value
        yield f"grad of {name}", gradient


def _legend(kinds: list[str], y: float) -> Iterator[str]:
    x = _MARGIN
    for kind in kinds:
        yield _shape(kind, x, y - 3, 20.0, 13.0)
        yield f'<text x="{x + 27:.1f}" y="{y + 8:.1f}">{kind}</text>'
        x += len(kind) * _WIDE + 40
