"""The table of blocks: which elements a kernel takes at a time, and which scalars and norms apply to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rules.elements import SCOPES
from .plan import Plan
from .store import Buffer

Array = npt.NDArray[Any]

# The columns of the table; from RANGES on, one for each scope of the plan, with the number of the range.
START, STOP, ROW, RANGES = 0, 1, 2, 3
# The arrays of a block of this many elements stay in the second-level cache between its loop and its norms.
BLOCK = 32768


def block_table(
    buffer: Buffer, rows: Mapping[str, int], scopes: Sequence[str], *, coarse: bool = False, size: int = BLOCK
) -> Array:
    """Rows of start, stop, row of scalars, and the number of the range at each of ``scopes``.

    Without norms, neighbors with the same scalars are joined. With norms, a block never spans two tensors, so that
    the sum over a tensor does not depend on its neighbors in the buffer.

    Args:
        buffer: the buffer whose elements are divided.
        rows: the row of scalars of each parameter that takes part, by name.
        scopes: the scopes of the plan's norms.
        coarse: whether to cut by tensors even if the plan has norms of units.
        size: the most elements of a block.
    """
    pieces = []
    for entry in buffer.entries:
        if entry.name not in rows or entry.start == entry.stop:
            continue
        parts = entry.units if "unit" in scopes and not coarse else 1
        number = np.arange(parts)
        length = (entry.stop - entry.start) // parts
        piece = np.empty((parts, RANGES + len(scopes)), np.int64)
        piece[:, START] = entry.start + number * length
        piece[:, STOP] = piece[:, START] + length
        piece[:, ROW] = rows[entry.name]
        for column, scope in enumerate(scopes, RANGES):
            piece[:, column] = entry.ids[scope] + (number if scope == "unit" else 0)
        pieces.append(piece)
    if not pieces:
        return np.empty((0, RANGES + len(scopes)), np.int64)
    table = np.concatenate(pieces)
    if not scopes:
        table = _joined(table)
    counts = -(-lengths(table) // size)
    cut = np.repeat(table, counts, axis=0)
    offset = np.arange(len(cut)) - np.repeat(np.cumsum(counts) - counts, counts)
    cut[:, START] += offset * size
    cut[:, STOP] = np.minimum(cut[:, START] + size, cut[:, STOP])
    return np.ascontiguousarray(cut)


def block_tables(buffer: Buffer, rows: Mapping[str, int], plan: Plan, *, size: int = BLOCK) -> tuple[Array, Array]:
    """The table for passes that are cut by the narrowest scope, and the one for passes that are cut by tensors."""
    fine = block_table(buffer, rows, plan.scopes, size=size)
    return fine, block_table(buffer, rows, plan.scopes, coarse=True, size=size) if plan.mixed else fine


def _joined(table: Array) -> Array:
    """The table with one row in place of neighbors that have the same scalars."""
    joins = (table[1:, START] == table[:-1, STOP]) & (table[1:, ROW] == table[:-1, ROW])
    first = np.flatnonzero(np.append(True, ~joins))
    last = np.append(first[1:], len(table)) - 1
    joined = table[first]
    joined[:, STOP] = table[last, STOP]
    return joined


def lengths(table: Array) -> Array:
    """The number of elements of each block."""
    return table[:, STOP] - table[:, START]


def range_column(plan: Plan, scope: str) -> int:
    """The column with the number of a block's range at a scope."""
    return RANGES + plan.scopes.index(scope)


def spans(blocks: Array, plan: Plan) -> Array:
    """Ranges of blocks that can run through all passes one after the other, each of at least `BLOCK` elements.

    A span consists of whole ranges of the widest scope, so that its second pass finds in cache what the first has
    read. All blocks form one span if a norm is over everything, or may stop the step before anything changes.
    """
    one = np.array([[0, len(blocks)]], np.int64)
    widest = max(plan.scopes, key=SCOPES.index, default="global")
    if widest == "global" or plan.mixed or any(norm.nonfinite != "propagate" for norm in plan.norms):
        return one
    numbers = blocks[:, range_column(plan, widest)]
    if (np.diff(numbers) < 0).any():  # parameters that moved here in another order: a range may be in several parts
        return one
    ends = np.append(np.flatnonzero(np.diff(numbers)) + 1, len(blocks))
    found, first = [], 0
    done = np.concatenate(([0], np.cumsum(lengths(blocks))))
    for end in ends.tolist():
        if done[end] - done[first] >= BLOCK or end == len(blocks):
            found.append((first, end))
            first = end
    return np.array(found, np.int64).reshape(-1, 2)
