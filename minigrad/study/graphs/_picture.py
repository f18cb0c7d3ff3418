"""The picture of a graph: boxes in rows from inputs to outputs, and edges that pass between them, as SVG.

The layout follows Sugiyama, Tagawa and Toda 1981: a row for each box by the longest path from it to an output, an
order within each row by the mean position of the neighbors, and coordinates as close to the neighbors as the order
allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .._spacing import apart
from ._boxes import Box, figures, in_short, ranges

GAP_X, GAP_Y = 22.0, 38.0
_LANE = 10.0  # the width that an edge takes where it passes a row
_SWEEPS = 12

# Fill and line of each kind of box: tints of Okabe and Ito's colors, which color-blind readers can distinguish.
COLORS = {
    "input": ("#e3f1fb", "#0072b2"),
    "parameter": ("#fdf0dc", "#b36b00"),
    "operation": ("#f4f4f4", "#6b6b6b"),
    "layer": ("#e0f4ec", "#00795a"),
    "left out": ("#ffffff", "#8a8a8a"),
}
BLACK, GRAY, RED = "#1a1a1a", "#444444", "#b00020"
_TITLE, _SMALL, _LINE, _PAD, _MARGIN = 13.0, 11.0, 16.0, 9.0, 18.0
_CHARACTER = 0.602  # the width of a character of a monospaced font, relative to its size
_WIDE = _SMALL * _CHARACTER
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

Point = tuple[float, float]


# --- layout ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Positions in pixels.

    Attributes:
        width, height: the size of the whole.
        corners: the upper left corner of each box.
        routes: for each edge the points that it passes: straight down between the 1st and 2nd, 3rd and 4th, …, and
            curved in between.
    """

    width: float
    height: float
    corners: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Lay out boxes of the given widths and heights; an edge is a pair of their numbers, the smaller one first."""
    boxes = len(sizes)
    rank = _ranks(boxes, edges)
    widths = [width for width, _ in sizes]
    # An edge that passes rows becomes a chain with a lane in each of them: an item that is numbered after the boxes.
    chains = []
    for u, v in edges:
        lanes = list(range(len(widths), len(widths) + rank[v] - rank[u] - 1))
        widths += [_LANE] * len(lanes)
        rank += range(rank[u] + 1, rank[v])
        chains.append([u, *lanes, v])
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for u, v in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        above[v].append(u)
        below[u].append(v)
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for item in _depth_first(above, [i for i in range(boxes) if not below[i]]):
        rows[rank[item]].append(item)
    rows = _ordered(rows, above, below)
    x = _centers(rows, widths, above, below, boxes)
    tall = [max((sizes[i][1] for i in row if i < boxes), default=0.0) for row in rows]
    tops = [sum(tall[:r]) + GAP_Y * r for r in range(len(rows))]
    corners = [
        (x[i] - width / 2, tops[rank[i]] + (tall[rank[i]] - height) / 2) for i, (width, height) in enumerate(sizes)
    ]
    routes = []
    for chain, port in zip(chains, _ports(chains, x, widths), strict=True):
        u, *lanes, v = chain
        points = [(x[u], corners[u][1] + sizes[u][1]), (x[u], tops[rank[u]] + tall[rank[u]])]
        for lane in lanes:
            points += [(x[lane], tops[rank[lane]]), (x[lane], tops[rank[lane]] + tall[rank[lane]])]
        routes.append((*points, (port, tops[rank[v]]), (port, corners[v][1])))
    width = max(center + width / 2 for center, width in zip(x, widths, strict=True))
    return Layout(width, tops[-1] + tall[-1], tuple(corners), tuple(routes))


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each box, by the longest path to the end, so that every box is as near to its use as possible."""
    steps = [0] * count
    for u, v in sorted(edges, reverse=True):
        steps[u] = max(steps[u], steps[v] + 1)
    return [max(steps) - n for n in steps]


def _depth_first(above: list[list[int]], sinks: Sequence[int]) -> list[int]:
    """All items, each next to the items that it is used with: a good initial order."""
    found: dict[int, None] = {}
    for sink in sinks:
        stack = [sink]
        while stack:
            item = stack.pop()
            if item not in found:
                found[item] = None
                stack += reversed(above[item])
    return list(found)


def _sweeps(count: int, rows: int) -> Iterator[tuple[bool, Sequence[int]]]:
    """Alternately down and up through the rows: whether it is down, and the numbers of the rows in that order."""
    for sweep in range(count):
        yield sweep % 2 == 0, range(rows) if sweep % 2 == 0 else range(rows - 1, -1, -1)


def _ordered(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> list[list[int]]:
    """The rows in the order with the fewest crossings that the sweeps find."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for down, numbers in _sweeps(_SWEEPS, len(rows)):
        if not fewest:
            break
        place: dict[int, int] = {}  # in the row before
        for r in numbers:
            keys = {}
            for i, item in enumerate(rows[r]):
                near = [place[n] for n in (above if down else below)[item]]
                keys[item] = (sum(near) / len(near) if near else i, i)
            rows[r].sort(key=keys.__getitem__)
            place = {item: i for i, item in enumerate(rows[r])}
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        place = {item: i for i, item in enumerate(lower)}
        ends = [place[v] for u in upper for v in sorted(below[u], key=place.__getitem__)]
        count += sum(a > b for a, b in itertools.combinations(ends, 2))
    return count


def _centers(
    rows: list[list[int]], widths: list[float], above: list[list[int]], below: list[list[int]], boxes: int
) -> list[float]:
    """The horizontal centers: each as near to the mean of its neighbors as order and widths allow."""
    x = [0.0] * len(widths)
    for row in rows:
        ends = itertools.accumulate(widths[item] + GAP_X for item in row)
        for item, end in zip(row, ends, strict=True):
            x[item] = end - GAP_X - widths[item] / 2
    for down, numbers in _sweeps(2 * _SWEEPS, len(rows)):
        for r in numbers:
            row, wanted, weights = rows[r], [], []
            for item in row:
                near = (above[item] or below[item]) if down else (below[item] or above[item])
                near = [n for n in near if above[n]] or near  # computed boxes form a line, leaves are next to it
                wanted.append(sum(x[n] for n in near) / len(near) if near else x[item])
                # Lanes should be straight, and leaves give way.
                weights.append(8.0 if item >= boxes else 4.0 if above[item] else 0.02)
            gaps = [(widths[a] + widths[b]) / 2 + GAP_X for a, b in itertools.pairwise(row)]
            for item, place in zip(row, apart(wanted, gaps, weights), strict=True):
                x[item] = place
    left = min(center - width / 2 for center, width in zip(x, widths, strict=True))
    return [center - left for center in x]


def _ports(chains: list[list[int]], x: list[float], widths: list[float]) -> list[float]:
    """Where each edge arrives at the top of its box: side by side, in the order of their last turns."""
    ports = [0.0] * len(chains)
    for box in {chain[-1] for chain in chains}:
        arriving = sorted((i for i, c in enumerate(chains) if c[-1] == box), key=lambda i: x[chains[i][-2]])
        step = min(24.0, 0.8 * widths[box] / len(arriving))
        for place, i in enumerate(arriving):
            ports[i] = x[box] + step * (place - (len(arriving) - 1) / 2)
    return ports


# --- SVG -------------------------------------------------------------------------------------------------------------


def _tag(name: str, attributes: Mapping[str, Any], *inside: str) -> str:
    """An element of SVG, with lengths to a tenth of a pixel."""
    values = {key: f"{v:.1f}" if isinstance(v, float) else str(v) for key, v in attributes.items()}
    start = " ".join([name, *(f"{key}={quoteattr(value)}" for key, value in values.items())])
    return f"<{start}>{''.join(inside)}</{name}>" if inside else f"<{start}/>"


def _text(x: float, y: float, text: str, fill: str = GRAY, **look: Any) -> str:
    look = {key.replace("_", "-"): value for key, value in look.items()}
    return _tag("text", {"x": x, "y": y, "fill": fill, **look}, escape(text))


def svg(boxes: Sequence[Box], below: Sequence[str]) -> str:
    """The picture of the boxes, a complete file; a legend and the lines ``below`` follow under it."""
    numbers = {id(box): i for i, box in enumerate(boxes)}
    edges = [(numbers[id(source)], i) for i, box in enumerate(boxes) for source in box.inputs]
    sizes = [_size(box) for box in boxes]
    layout = layered(sizes, edges)
    kinds = [kind for kind in COLORS if any(box.kind == kind for box in boxes)]
    legend = sum(len(kind) * _WIDE + 40 for kind in kinds)
    width = round(max(layout.width, legend, *(len(line) * _WIDE for line in below)) + 2 * _MARGIN)
    height = round(layout.height + 2 * _MARGIN + 34 + len(below) * _LINE)
    y = layout.height + 2 * _MARGIN + 8
    moved = {"transform": f"translate({(width - layout.width) / 2:.1f} {_MARGIN:g})"}
    whole = {"xmlns": "http://www.w3.org/2000/svg", "width": width, "height": height}
    whole |= {"viewBox": f"0 0 {width} {height}", "role": "img", "font-family": _FONT, "font-size": f"{_SMALL:g}"}
    arrow = {"id": "arrow", "viewBox": "0 0 8 8", "refX": 7, "refY": 4, "markerWidth": 7, "markerHeight": 7}
    head = _tag("path", {"d": "M0 0.8 L8 4 L0 7.2 Z", "fill": "#555555"})
    stroke = {"class": "edges", "fill": "none", "stroke": "#777777", "stroke-width": 1.2}
    parts = [
        _tag("title", {}, escape(f"computational graph: {below[0]}")),
        _tag("rect", {"width": width, "height": height, "rx": 8, "fill": "#ffffff"}),
        _tag("defs", {}, _tag("marker", {**arrow, "orient": "auto"}, head)),
        _tag(
            "g",
            moved,
            _tag("g", stroke, "", *map(_edge, layout.routes)),
            *map(_box, boxes, layout.corners, sizes),
        ),
        *_legend(kinds, y),
        *(_text(_MARGIN, y + 30 + i * _LINE, line) for i, line in enumerate(below)),
    ]
    return _tag("svg", whole, "\n", "\n".join(parts), "\n") + "\n"


def _lines(box: Box) -> list[tuple[str, str]]:
    """The lines in a box under its title, each with its kind."""
    lines = [("plain", text) for text in (box.note, box.shape) if text]
    for name, value, gradient in ranges(box):
        if name:
            lines.append(("part", f"{name} {value.shape}" if value is not None else name))
        lines += [("value", in_short("value", value))] if value is not None else []
        lines += [("value", in_short("grad ", gradient))] if gradient is not None else []
    return lines


def _size(box: Box) -> tuple[float, float]:
    lines = _lines(box)
    width = max([len(box.title) * _TITLE, *(len(text) * _SMALL for _, text in lines)]) * _CHARACTER + 2 * _PAD
    slanted = 10 if box.kind in ("input", "parameter") else 0  # the room that their corners take
    return max(width + slanted, 76.0), _TITLE + 2 * _PAD + len(lines) * _LINE


def _edge(points: Sequence[Point]) -> str:
    (x, y), *rest = points
    path = [f"M{x:.1f} {y:.1f}"]
    for i, (nx, ny) in enumerate(rest):
        middle = (y + ny) / 2
        if i % 2:
            path.append(f"C{x:.1f} {middle:.1f} {nx:.1f} {middle:.1f} {nx:.1f} {ny:.1f}")
        elif ny != y:  # a piece without length would have no direction for the arrow
            path.append(f"V{ny:.1f}")
        x, y = nx, ny
    return _tag("path", {"d": " ".join(path), "marker-end": "url(#arrow)"})


def _outline(kind: str, x: float, y: float, width: float, height: float) -> str:
    """The outline of a box, which differs from kind to kind."""
    fill, line = COLORS[kind]
    look: dict[str, Any] = {"fill": fill, "stroke": line}
    if kind == "parameter":  # a tag with cut corners
        c, right, bottom = min(9.0, height / 3), x + width, y + height
        points = [(x + c, y), (right - c, y), (right, y + c), (right, bottom - c)]
        points += [(right - c, bottom), (x + c, bottom), (x, bottom - c), (x, y + c)]
        return _tag("polygon", {"points": " ".join(f"{a:.1f},{b:.1f}" for a, b in points), **look})
    if kind == "left out":
        look["stroke-dasharray"] = "5 4"
    if kind == "layer":
        look["stroke-width"] = 2
    radius = {"input": min(height / 2, 20.0), "layer": 7.0}.get(kind, 3.0)
    return _tag("rect", {"x": x, "y": y, "width": width, "height": height, "rx": radius, **look})


def _box(box: Box, corner: Point, size: tuple[float, float]) -> str:
    (x, y), (width, height) = corner, size
    # A browser shows the title of an element at the pointer: the details that the box omits or shortens.
    details = [box.title, box.note, box.source]
    for name, value, gradient in ranges(box):
        details += [figures(name or "value", value), figures(f"grad of {name}" if name else "grad", gradient)]
    parts = [_tag("title", {}, escape("\n".join(filter(None, details))))]
    if box.drawn:
        around = {"x": x - 4, "y": y - 4, "width": width + 8, "height": height + 8, "rx": 8}
        parts.append(_tag("rect", {**around, "fill": "none", "stroke": BLACK, "stroke-width": 1.5}))
    parts.append(_outline(box.kind, x, y, width, height))
    middle, y = x + width / 2, y + _PAD + _TITLE - 2
    color = BLACK if box.kind == "operation" else COLORS[box.kind][1]
    centered = {"text_anchor": "middle"}
    parts.append(_text(middle, y, box.title, color, **centered, font_size=f"{_TITLE:g}", font_weight="bold"))
    lines = _lines(box)
    left = middle - max((len(text) for kind, text in lines if kind == "value"), default=0) * _WIDE / 2
    for kind, text in lines:
        y += _LINE
        if kind == "plain":
            parts.append(_text(middle, y, text, **centered))
        elif kind == "part":
            parts.append(_text(middle, y, text, COLORS["parameter"][1], **centered, font_weight="bold"))
        else:
            color = RED if "NaN" in text or "inf" in text.split()[-1] else BLACK
            name, rest = text[:5], text[5:]
            inside = _tag("tspan", {"fill": "#6b6b6b"}, name), escape(rest)
            parts.append(_tag("text", {"x": left, "y": y, "fill": color}, *inside))
    return _tag("g", {"class": box.kind}, *parts)


def _legend(kinds: Sequence[str], y: float) -> Iterator[str]:
    x = _MARGIN
    for kind in kinds:
        yield _outline(kind, x, y - 3, 20.0, 13.0)
        yield _text(x + 27, y + 8, kind, BLACK)
        x += len(kind) * _WIDE + 40
