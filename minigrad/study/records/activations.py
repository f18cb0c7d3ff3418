"""What a model does on a fixed batch: the spread of every layer's output, dead and saturated units.

The probe changes nothing: buffers, modes and random numbers are afterwards as before, and hooks are there only while
it runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...autograd.graph import Node, collect
from ...autograd.modes import enable_grad
from ...autograd.tensor import Tensor
from ...devices.arrays import to_host
from ...nn import Module
from ...nn._restoring import restoring

Array = npt.NDArray[Any]

BINS = 24
# A unit is saturated where the slope is below this share of the largest, on this share of the rows or more.
SLOPE, ROWS = 0.05, 0.9
# The slope of an activation over its largest, from its output.
_SLOPES = {"tanh": lambda y: 1 - y * y, "sigmoid": lambda y: 4 * y * (1 - y)}
_RECTIFIERS = ("relu", "relu6")


@dataclass
class Output:
    """The output of a module, or of an activation that is called as a function.

    Attributes:
        kind: the module's class, or the op.
        op: the op that made it, such as ``"relu"``; empty if it is not known.
        values: the array, with a row per example.
        arriving: what the module was given, for one that has one matrix of weights.
        width: how many rows that matrix has.
    """

    kind: str
    op: str
    values: Array
    arriving: Array | None = None
    width: int = 0


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
            # With several matrices, as in a recurrent layer, the output is no product whose scale one of them sets.
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
    """The activations in the graph that no module stands for; those of one name and width, as in a loop, are one."""
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
    """The tensor, or the first one in what a module takes or returns."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list):
        return next((found for found in map(_first, value) if found is not None), None)
    return None


def measure(output: Output) -> dict[str, Any]:
    """The numbers of one output, as a record holds them.

    ``mean``, ``std``, ``low`` and ``high`` are of the finite values, ``counts`` their histogram in `BINS` equal bins
    from low to high; ``nan`` and ``inf`` count the others. ``gain`` is the standard deviation over the rows, of all
    units together, over ``arriving``, that of what arrived at the layer, whose matrix of weights has ``width`` rows. A
    unit is an element of the last axis, of ``units``: ``dead`` counts those that a ReLU gives as 0 on every row,
    ``saturated`` those whose slope is below a twentieth of the largest on nine rows of ten; ``saturated_share`` is the
    part of all values with such a slope.
    """
    values = output.values
    finite = values.ravel()
    exact = finite.astype(np.float64, copy=False)
    found: dict[str, Any] = {}
    total = float(exact.sum())
    if not math.isfinite(total):
        found["nan"], found["inf"] = int(np.isnan(finite).sum()), int(np.isinf(finite).sum())
        where = np.isfinite(finite)
        finite, exact = finite[where], exact[where]
        total = float(exact.sum())
    if finite.size:
        mean = total / finite.size
        square = float(exact @ exact) / finite.size
        low, high = float(finite.min()), float(finite.max())
        found |= {"mean": mean, "std": math.sqrt(max(square - mean * mean, 0.0)), "low": low, "high": high}
        found["counts"] = _histogram(finite, low, high)
        if output.arriving is not None and "nan" not in found:
            arrived = _spread(output.arriving)
            found["gain"] = math.sqrt(_spread(exact.reshape(values.shape)) / arrived) if arrived > 0 else math.nan
            found |= {"width": output.width, "arriving": math.sqrt(arrived)}
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    if output.op in (*_RECTIFIERS, *_SLOPES):
        found["units"] = rows.shape[1]
    if output.op in _RECTIFIERS:
        found["dead"] = int((~rows.any(0)).sum())
    elif output.op in _SLOPES:
        flat = _SLOPES[output.op](rows) < SLOPE
        found["saturated"] = int((flat.mean(0) >= ROWS).sum())
        found["saturated_share"] = float(flat.mean())
    return found


def _spread(values: Array) -> float:
    """The variance over the rows, in the mean over all units: what tells examples apart, whatever the bias."""
    exact = values.astype(np.float64, copy=False)
    flat, means = exact.ravel(), (exact.sum(0) / len(exact)).ravel()
    return max(float(flat @ flat) / flat.size - float(means @ means) / means.size, 0.0)


def _histogram(values: Array, low: float, high: float) -> list[int]:
    if not high > low:
        return [values.size] + [0] * (BINS - 1)
    # Of halves, and as a share: the range of a run that explodes is beyond the largest number, that of one that dies
    # below what has an inverse.
    halves, start, end = values / 2, values.dtype.type(low / 2), values.dtype.type(high / 2)
    if not end > start:  # the smallest number has no half
        halves, start, end = values, values.dtype.type(low), values.dtype.type(high)
    counts = np.bincount(((halves - start) / (end - start) * BINS).astype(np.intp), minlength=BINS + 1).tolist()
    counts[BINS - 1] += counts.pop()  # the highest value stands at the end of the last bin
    return counts


def as_probe(batch: Any) -> tuple[Any, ...] | None:
    """The arguments that the model is given for a fixed batch, copied, so that later changes of the data do not show.

    Raises:
        TypeError: for something that is no array or tensor, nor a tuple of them.
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
    """At most ``count`` rows, evenly spread; what has no rows is itself."""
    if not isinstance(batch, Tensor | np.ndarray) or not batch.ndim or len(batch) <= count:
        return batch
    array = to_host(batch.data) if isinstance(batch, Tensor) else batch
    return array[np.linspace(0, len(array) - 1, count).astype(np.intp)]
