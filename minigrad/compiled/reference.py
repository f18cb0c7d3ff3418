"""The graph evaluated by NumPy, node by node: what a compiled program has to compute, to the bit.

This is the readable specification of every op of the graph, and the oracle of the tests. It is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import address, array_at
from .graph import Key, Node
from .layout import Layout


def evaluate(
    nodes: Sequence[Node],
    memory: Mapping[int, Any],
    draw: Callable[[tuple[int, ...]], Any],
    effect: Callable[[int], None] = lambda number: None,
) -> dict[Node, Any]:
    """The value of every node.

    Args:
        nodes: of a graph, in order.
        memory: the array of each input by its number. Effects may change them.
        draw: uniform random numbers of a shape, from minigrad's generator.
        effect: runs an effect by number; each runs once, before the first node that comes after it.

    Returns:
        The arrays by node, with the strides that the node has.
    """
    values: dict[Node, Any] = {}
    done = 0
    for node in nodes:
        while done < node.stage:
            effect(done)
            done += 1
        values[node] = _value(node, [values[i] for i in node.inputs], memory, draw)
    return values


def _value(node: Node, inputs: list[Any], memory: Mapping[int, Any], draw: Callable[[tuple[int, ...]], Any]) -> Any:
    value: Any
    match node.op, node.params:
        case "input", number:
            return memory[number]
        case "after", _:
            return inputs[0]
        case "const", _:
            return node.value
        case "view", offset:
            return _view(inputs[0], offset, node)
        case "random", _:
            return draw(node.shape)
        case "set", place:
            return _joined(inputs[0], inputs[1:], [place], node)
        case "join", places:
            return _joined(np.zeros(node.shape, node.dtype), inputs, places, node)
        case "map", "same":
            value = inputs[0]
        case "map", "cast":
            value = inputs[0].astype(node.dtype)
        case ("map", name) | ("loop", (name, _)):
            value = getattr(np, name)(*inputs)
        case "reduce", (name, axes, keepdims):
            value = getattr(np, name).reduce(inputs[0], axis=axes, keepdims=keepdims)
        case "matmul", _:
            value = np.matmul(*inputs)
        case "gather", key:
            value = inputs[0][_index(key, inputs[1:], node)]
        case "scatter", (key, how):
            value = np.array(inputs[0], order="C")
            if how == "add":
                np.add.at(value, _index(key, inputs[2:], node), np.broadcast_to(inputs[1], key.result(node.shape)))
            else:
                value[_index(key, inputs[2:], node)] = inputs[1]
        case "python", function:
            value = function(*inputs)
        case _:
            raise AssertionError(node.op)
    return _laid_out(value, node)


def _view(base: Any, offset: int, like: Any) -> Any:
    """Other strides on the memory of an array, from a number of bytes on; the array has to be kept."""
    return array_at(address(base) + offset, like)


def _laid_out(value: Any, like: Node) -> Any:
    """An array of these values with the strides of a node, whose elements have no gaps."""
    out = np.ndarray(like.shape, like.dtype, np.empty(max(like.nbytes, 1), np.uint8).data, 0, like.strides)
    out[...] = value
    return out


def _joined(whole: Any, parts: Sequence[Any], places: Sequence[Any], node: Node) -> Any:
    out = _laid_out(whole, node)
    for part, (offset, shape, strides) in zip(parts, places, strict=True):
        _view(out, offset, Layout(shape, strides, node.dtype))[...] = part
    return out


def _index(key: Key, arrays: Sequence[Any], node: Node) -> tuple[Any, ...]:
    """NumPy's index for a key."""
    found: list[Any] = [slice(None)] * len(node.inputs[0].shape)
    for axis, array in zip(key.axes, arrays, strict=True):
        found[axis] = array
    return tuple(found)
