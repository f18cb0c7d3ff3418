"""Activations of a model on a fixed batch: the spread of every layer's output, dead and saturated units.

The probe changes nothing: it restores buffers, modes and random numbers, and its hooks are attached only while it
runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...autograd.graph import Node, collect
from ...autograd.modes import enable_grad
from ...autograd.tensor import Tensor
from ...devices.arrays import to_host
from ...nn import Module
from ...nn.inspection import restoring

Array = npt.NDArray[Any]

BINS = 24  # of the histogram of an output
# A unit is saturated if its slope is below this share of the largest, on at least this share of the rows.
FLAT, MOSTLY = 0.05, 0.9
# The slope of an activation over its largest, from its output.
_SLOPES = {"tanh": lambda y: 1 - y * y, "sigmoid": lambda y: 4 * y * (1 - y)}
_RECTIFIERS = ("relu", "relu6")


class Moments(NamedTuple):
    """Of the finite values of an output."""

    mean: float
    std: float
    low: float
    high: float


class Arrived(NamedTuple):
    """How far the values that reached a layer spread over the rows: the variance, and its root."""

    variance: float
    std: float


@dataclass
class Output:
    """The output of a module, or of an activation that is called as a function.

    Attributes:
        kind: the module's class, or the op.
        op: the op that made it, such as ``"relu"``; empty if it is not known.
        values: the array, with a row per example.
        arriving: the module's input, if the module has a single matrix of weights.
        width: how many rows that matrix has.
    """

    kind: str
    op: str
    values: Array
    arriving: Array | None = None
    width: int = 0

    @cached_property
    def _total(self) -> float:
        return float(self.values.ravel().astype(np.float64, copy=False).sum())

    @cached_property
    def lost(self) -> tuple[int, int] | None:
        """The counts of NaN and of infinities, if the values do not all add up to a finite sum."""
        if math.isfinite(self._total):
            return None
        return int(np.isnan(self.values).sum()), int(np.isinf(self.values).sum())

    @cached_property
    def _finite(self) -> Array:
        flat = self.values.ravel()
        return flat if self.lost is None else flat[np.isfinite(flat)]

    @cached_property
    def moments(self) -> Moments | None:
        """``None`` if no value is finite."""
        values = self._finite
        if not values.size:
            return None
        exact = values.astype(np.float64, copy=False)
        total = self._total if self.lost is None else float(exact.sum())
        mean, square = total / values.size, float(exact @ exact) / values.size
        return Moments(mean, math.sqrt(max(square - mean * mean, 0.0)), float(values.min()), float(values.max()))

    def histogram(self) -> list[int] | None:
        """The counts of the finite values in `BINS` equal bins from the lowest to the highest."""
        return None if self.moments is None else _histogram(self._finite, self.moments.low, self.moments.high)

    @cached_property
    def arrived(self) -> Arrived | None:
        """``None`` for a module without a single matrix of weights, or an output that is not finite."""
        if self.arriving is None or self.lost is not None or self.moments is None:
            return None
        variance = _variance(self.arriving)
        return Arrived(variance, math.sqrt(variance))

    def gain(self) -> float | None:
        """The spread of the output over the spread of the input; NaN if the input does not spread."""
        if self.arrived is None:
            return None
        arrived = self.arrived.variance
        return math.sqrt(_variance(self.values) / arrived) if arrived > 0 else math.nan

    @property
    def _rows(self) -> Array:
        return self.values.reshape(-1, self.values.shape[-1]) if self.values.ndim else self.values.reshape(1, 1)

    def units(self) -> int | None:
        """How many units an activation has."""
        return self._rows.shape[1] if self.op in (*_RECTIFIERS, *_SLOPES) else None

    def dead(self) -> int | None:
        """How many units a ReLU gives as 0 on every row."""
        return int((~self._rows.any(0)).sum()) if self.op in _RECTIFIERS else None

    @cached_property
    def _flat(self) -> npt.NDArray[np.bool_] | None:
        return _SLOPES[self.op](self._rows) < FLAT if self.op in _SLOPES else None

    def saturated(self) -> int | None:
        """How many units have hardly a slope on most rows."""
        return None if self._flat is None else int((self._flat.mean(0) >= MOSTLY).sum())

    def saturated_share(self) -> float | None:
        """The share of all values that have hardly a slope."""
        return None if self._flat is None else float(self._flat.mean())


def observe(model: Module, probe: tuple[Any, ...]) -> dict[str, Output]:
    """The outputs of one pass in evaluation mode, by the names of the modules, in order.

    Modules that contain others and own no parameters are passed over. An activation that is called as a function,
    ``x.relu()``, is named after the module whose output it is applied to, ``"hidden.relu"``.
    """
    found: list[tuple[int, str, Output]] = []
    places: dict[Node, str] = {}

    def look(name: str) -> Any:
        def hook(module: Module, args: tuple[Any, ...], output: Any) -> None:
            tensor = _first(output)
            if tensor is None or tensor.dtype.kind != "f":
                return
            node = tensor._node
            # With several matrices, as in a recurrent layer, the output is not a product whose scale one of them sets.
            matrices = [p for p in module._parameters.values() if p.ndim > 1]
            arriving = _first(args) if len(matrices) == 1 else None
            op = ""
            if node is not None and node not in places:  # otherwise it is passed on, as by dropout here
                places[node], op = name, node.primitive.name
            found.append((
                len(found) if node is None else node.order,
                name or type(module).__name__,
                Output(type(module).__name__, op, to_host(tensor.data),
                       None if arriving is None or arriving.dtype.kind != "f" else to_host(arriving.data),
                       len(matrices[0]) if matrices else 0),
            ))  # fmt: skip

        return hook

    with restoring(model):
        model.eval()
        handles = [
            module.register_forward_hook(look(name))
            for name, module in model.named_modules()
            if module._parameters or not module._modules
        ]
        try:
            with enable_grad(), np.errstate(all="ignore"):
                result = _first(model(*probe))
        finally:
            for handle in handles:
                handle.remove()
    if result is not None and result._node is not None:
        found += _functions(result._node, places)
        found.sort(key=lambda each: each[0])
    outputs: dict[str, Output] = {}
    for _, name, output in found:
        number, full = 2, name
        while full in outputs:  # a module that is used again
            full, number = f"{name}@{number}", number + 1
        outputs[full] = output
    return outputs


def _functions(last: Node, places: dict[Node, str]) -> Iterator[tuple[int, str, Output]]:
    """The activations in the graph that are not modules; equal names and widths, as in a loop, are joined."""
    found: dict[tuple[str, int], list[tuple[int, str, Array]]] = {}
    for node in collect([last]):
        op = node.primitive.name
        if node in places or op not in (*_SLOPES, *_RECTIFIERS) or node.saved is None or not node.shape:
            continue
        place = next((i for i, source in enumerate(node.recipe.sources) if source == node.recipe.arity), None)
        if place is not None:
            before = places.get(node.edges[0], "")
            name, width = f"{before}.{op}" if before else op, node.shape[-1]
            found.setdefault((name, width), []).append((node.order, op, to_host(node.saved[place]).reshape(-1, width)))
    for (name, _), steps in found.items():
        order, op, values = steps[0]
        together = values if len(steps) == 1 else np.concatenate([each for _, _, each in steps])
        yield order, name, Output(op, op, together)


def _first(value: Any) -> Tensor | None:
    """The tensor, or the first one among a module's arguments or results."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list):
        return next((found for found in map(_first, value) if found is not None), None)
    return None


def _variance(values: Array) -> float:
    """The variance over the rows, averaged over all units: what distinguishes examples, whatever the bias."""
    exact = values.astype(np.float64, copy=False)
    flat, means = exact.ravel(), (exact.sum(0) / len(exact)).ravel()
    return max(float(flat @ flat) / flat.size - float(means @ means) / means.size, 0.0)


def _histogram(values: Array, low: float, high: float) -> list[int]:
    if not high > low:
        return [values.size] + [0] * (BINS - 1)
    # Computed from halves and as a share: in an exploding run, the range exceeds the largest number; in a dying run, it
    # is too small to have an inverse.
    halves, start, end = values / 2, values.dtype.type(low / 2), values.dtype.type(high / 2)
    if not end > start:  # the smallest number has no half
        halves, start, end = values, values.dtype.type(low), values.dtype.type(high)
    counts = np.bincount(((halves - start) / (end - start) * BINS).astype(np.intp), minlength=BINS + 1).tolist()
    counts[BINS - 1] += counts.pop()  # the highest value belongs to the last bin
    return counts


def as_probe(batch: Any) -> tuple[Any, ...] | None:
    """The arguments that the model is given for a fixed batch, copied, so that later changes of the data do not show.

    Raises:
        TypeError: for anything but an array, a tensor or a tuple of them.
    """
    if batch is None or batch is False:
        return None
    parts = batch if isinstance(batch, tuple) else (batch,)
    for part in parts:
        if not isinstance(part, Tensor | np.ndarray) or not part.ndim or not len(part):
            raise TypeError(
                f"Recorder: probe must be an array or a tensor with rows, or a tuple of them, not {part!r:.80}"
            )
    return tuple(Tensor(np.array(to_host(part.data if isinstance(part, Tensor) else part))) for part in parts)


def even_rows(batch: Any, count: int) -> Any:
    """At most ``count`` evenly spaced rows; a value without rows is returned unchanged."""
    if not isinstance(batch, Tensor | np.ndarray) or not batch.ndim or len(batch) <= count:
        return batch
    array = to_host(batch.data) if isinstance(batch, Tensor) else batch
    return array[np.linspace(0, len(array) - 1, count).astype(np.intp)]
