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
    match node.op:
        case "input":
            return memory[node.params]
        case "after":
            return inputs[0]
        case "const":
            return node.value
        case "view":
            return _view(inputs[0], node.params, node)
        case "map":
            return _laid_out(_map(node, inputs), node)
        case "loop":
            return _laid_out(getattr(np, node.params[0])(*inputs), node)
        case "reduce":
            name, axes, keepdims = node.params
            return _laid_out(getattr(np, name).reduce(inputs[0], axis=axes, keepdims=keepdims), node)
        case "matmul":
            return _laid_out(np.matmul(*inputs), node)
        case "gather":
            return _laid_out(inputs[0][_key(node.params, inputs[0].shape, inputs[1:])], node)
        case "scatter":
            spec, how = node.params
            out = np.array(inputs[0], order="C")
            key = _key(spec, out.shape, inputs[2:])
            if how == "add":
                np.add.at(out, key, np.broadcast_to(inputs[1], spec.result(out.shape)))
            else:
                out[key] = inputs[1]
            return _laid_out(out, node)
        case "set":
            return _joined(inputs[0], inputs[1:], [node.params], node)
        case "join":
            return _joined(np.zeros(node.shape, node.dtype), inputs, node.params, node)
        case "random":
            return draw(node.shape)
        case "python":
            return _laid_out(np.asarray(node.params(*inputs)), node)
    raise AssertionError(node.op)


def _map(node: Node, inputs: list[Any]) -> Any:
    match node.params:
        case "same":
            return inputs[0]
        case "cast":
            return inputs[0].astype(node.dtype)
        case "where":
            return np.where(*inputs)
        case name:
            return getattr(np, name)(*inputs)


def _view(base: Any, offset: int, like: Any) -> Any:
    """Other strides on the memory of an array, from a number of bytes on; the array has to be kept."""
    return array_at(address(base) + offset, like)


def empty(like: Node | Layout) -> Any:
    """An array with the strides of a node."""
    low = sum(min(0, (n - 1) * s) for n, s in zip(like.shape, like.strides, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(like.shape, like.strides, strict=True)) + like.dtype.itemsize
    return np.ndarray(like.shape, like.dtype, np.zeros(high - low, np.uint8).data, -low, like.strides)


def _laid_out(value: Any, node: Node) -> Any:
    out = empty(node)
    out[...] = value
    return out


def _joined(whole: Any, parts: Sequence[Any], places: Sequence[Any], node: Node) -> Any:
    out = _laid_out(whole, node)
    for part, (offset, shape, strides) in zip(parts, places, strict=True):
        _view(out, offset, Layout(shape, strides, node.dtype))[...] = part
    return out


def _key(spec: Key, shape: Sequence[int], indices: Sequence[Any]) -> tuple[Any, ...]:
    key: list[Any] = [slice(None)] * len(shape)
    for axis, index in zip(spec.axes, indices, strict=True):
        key[axis] = index
    return tuple(key)
