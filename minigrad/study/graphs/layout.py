"""A layered layout for drawings of graphs: boxes in rows from inputs to outputs, and routes that avoid them.

The method of Sugiyama, Tagawa and Toda 1981: a row for each box by the longest path from it, an order in each
row by the barycenter of the neighbors, and coordinates as close to the neighbors as the order allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

GAP_X, GAP_Y = 22.0, 38.0
_LANE = 10.0  # the width that an edge takes where it passes a row
_SWEEPS = 12

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything is, in pixels.

    Attributes:
        width, height: of the whole.
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
    if not sizes:
        return Layout(0.0, 0.0, (), ())
    rank = _ranks(len(sizes), edges)
    widths = [width for width, _ in sizes]
    # Edges that pass rows become chains: lanes are numbered behind the boxes.
    chains = []
    for u, v in edges:
        lanes = list(range(len(widths), len(widths) + rank[v] - rank[u] - 1))
        widths += [_LANE] * len(lanes)
        rank += range(rank[u] + 1, rank[v])
        chains.append([u, *lanes, v])
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for chain in chains:
        for u, v in itertools.pairwise(chain):
            above[v].append(u)
            below[u].append(v)
    rows: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    for item in _depth_first(above, below, len(sizes)):
        rows[rank[item]].append(item)
    rows = _ordered(rows, above, below)
    x = _centers(rows, widths, above, below, len(sizes))
    tall = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    tops = [sum(tall[:r]) + GAP_Y * r for r in range(len(rows))]
    corners = [
        (x[i] - width / 2, tops[rank[i]] + (tall[rank[i]] - height) / 2) for i, (width, height) in enumerate(sizes)
    ]
    ports = _ports(chains, x, widths)
    routes = []
    for number, chain in enumerate(chains):
        u, v = chain[0], chain[-1]
        points = [(x[u], corners[u][1] + sizes[u][1]), (x[u], tops[rank[u]] + tall[rank[u]])]
        for lane in chain[1:-1]:
            points += [(x[lane], tops[rank[lane]]), (x[lane], tops[rank[lane]] + tall[rank[lane]])]
        points += [(ports[number], tops[rank[v]]), (ports[number], corners[v][1])]
        routes.append(tuple(points))
    width = max(x[i] + widths[i] / 2 for i in range(len(widths)))
    return Layout(width, tops[-1] + tall[-1], tuple(corners), tuple(routes))


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each box, by the longest path to the end: everything is as near to its use as can be."""
    steps = [0] * count
    for u, v in sorted(edges, reverse=True):
        steps[u] = max(steps[u], steps[v] + 1)
    return [max(steps) - n for n in steps]


def _depth_first(above: list[list[int]], below: list[list[int]], boxes: int) -> list[int]:
    """All items, each beside what it is used with: a good order to begin with."""
    found: dict[int, None] = {}
    for sink in (i for i in range(boxes) if not below[i]):
        stack = [sink]
        while stack:
            item = stack.pop()
            if item not in found:
                found[item] = None
                stack += reversed(above[item])
    return list(found)


def _ordered(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> list[list[int]]:
    """The order in the rows with the fewest crossings that the sweeps come to."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbors = above if down else below
        for r in range(len(rows)) if down else reversed(range(len(rows))):
            before = rows[r - 1] if down and r else rows[r + 1] if not down and r + 1 < len(rows) else []
            place = {item: i for i, item in enumerate(before)}
            own = {item: i for i, item in enumerate(rows[r])}
            rows[r].sort(key=lambda item: (_mean([place[n] for n in neighbors[item]], own[item]), own[item]))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        place = {item: i for i, item in enumerate(lower)}
        ends = [place[v] for u in upper for v in sorted(below[u], key=place.__getitem__)]
        count += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return count


def _mean(values: list[int], default: float) -> float:
    return sum(values) / len(values) if values else default


def _centers(
    rows: list[list[int]], widths: list[float], above: list[list[int]], below: list[list[int]], boxes: int
) -> list[float]:
    """The horizontal centers: each as near to the mean of its neighbors as order and widths allow."""
    x = [0.0] * len(widths)
    for row in rows:
        left = 0.0
        for item in row:
            x[item] = left + widths[item] / 2
            left += widths[item] + GAP_X
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        for r in range(len(rows)) if down else reversed(range(len(rows))):
            row, wanted, weights = rows[r], [], []
            for item in row:
                near = (above[item] or below[item]) if down else (below[item] or above[item])
                near = [n for n in near if above[n]] or near  # what is computed stands in line, leaves beside it
                wanted.append(sum(x[n] for n in near) / len(near) if near else x[item])
                # Lanes are to be straight, and leaves give way.
                weights.append(8.0 if item >= boxes else 4.0 if above[item] else 0.02)
            gaps = [(widths[a] + widths[b]) / 2 + GAP_X for a, b in itertools.pairwise(row)]
            for item, place in zip(row, _apart(wanted, weights, gaps), strict=True):
                x[item] = place
    left = min(x[i] - widths[i] / 2 for i in range(len(widths)))
    return [place - left for place in x]


def _apart(wanted: list[float], weights: list[float], gaps: list[float]) -> list[float]:
    """The places nearest to ``wanted`` in the sense of weighted squares that are at least ``gaps`` apart, in order.

    With the gaps subtracted this is isotonic regression, solved exactly by pooling neighbors that are out of order.
    """
    offsets = [sum(gaps[:i]) for i in range(len(wanted))]
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for place, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, count = place - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, others = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + others
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _ports(chains: list[list[int]], x: list[float], widths: list[float]) -> list[float]:
    """Where each edge arrives on the upper side of its box: side by side, in the order they come from."""
    arriving: dict[int, list[int]] = {}
    for number, chain in enumerate(chains):
        arriving.setdefault(chain[-1], []).append(number)
    ports = [0.0] * len(chains)
    for box, numbers in arriving.items():
        numbers.sort(key=lambda number: x[chains[number][-2]])
        step = min(24.0, 0.8 * widths[box] / len(numbers))
        for i, number in enumerate(numbers):
            ports[number] = x[box] + step * (i - (len(numbers) - 1) / 2)
    return ports
