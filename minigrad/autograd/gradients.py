"""`grad`, which returns gradients (`Tensor.backward` adds them to the leaves instead)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checks import listed, named_arguments
from ..devices.arrays import own
from .modes import enable_grad
from .tensor import Tensor, differentiate, edge_of, seed_gradient


@named_arguments
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradient of ``outputs`` with respect to each of ``inputs``, without touching any ``grad``.

    With several outputs, their gradients are added. Only the rules that lead to one of the inputs run, and only the
    values that these rules need are freed. The returned arrays share memory with nothing.

    Args:
        outputs: a tensor or a sequence of them.
        inputs: a tensor or a sequence of them, leaves or results of operations.
        grad_outputs: the gradient that arrives at each output, or None for 1 where the output is a single number.
        create_graph: record the computation, so that the result can be differentiated in turn, to any order.
        retain_graph: keep the saved values, to walk the graph again; by default the value of ``create_graph``.
        allow_unused: return None for an input that no output depends on, instead of raising.

    Returns:
        A tuple with a gradient, of the input's shape and dtype, for each input.

    Raises:
        RuntimeError: if an output or input does not require a gradient, an input is unused, a needed gradient is
            missing, or the graph was freed or changed in place.
        ValueError: if the shape of a gradient or their number does not match the outputs.

    >>> x = minigrad.tensor(3.0, requires_grad=True)
    >>> (slope,) = minigrad.grad(x**3, x, create_graph=True)
    >>> minigrad.grad(slope, x)
    (tensor(18.),)
    """
    outputs, inputs = _tensors("outputs", outputs), _tensors("inputs", inputs)
    given = grad_outputs if isinstance(grad_outputs, list | tuple) else [grad_outputs]
    if grad_outputs is None:
        given = [None] * len(outputs)
    if len(given) != len(outputs):
        raise ValueError(f"grad: {len(given)} grad_outputs for {len(outputs)} outputs; give one for each, or None")
    for name, tensors in (("output", outputs), ("input", inputs)):
        for i, tensor in enumerate(tensors):
            if not tensor.requires_grad:
                raise RuntimeError(
                    f"grad: {name} {i} does not require a gradient; set requires_grad=True on its inputs, "
                    "and compute it outside no_grad()"
                )
    retain = create_graph if retain_graph is None else retain_graph
    seeds = [(edge_of(y), seed_gradient("grad", y, g, create_graph)) for y, g in zip(outputs, given, strict=True)]
    places = [edge_of(x) for x in inputs]
    found = differentiate(seeds, set(places), retain, create_graph)
    unused = [i for i, place in enumerate(places) if place not in found]
    if unused and not allow_unused:
        raise RuntimeError(
            f"grad: no output depends on input {unused[0]}, of shape {inputs[unused[0]].shape}; pass "
            "allow_unused=True to get None for it"
        )
    return tuple(_own(found[place]) if place in found else None for place in places)


def _tensors(name: str, given: Any) -> Sequence[Tensor]:
    tensors = [given] if isinstance(given, Tensor) else listed("grad", given, name)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"grad: {name} must be tensors, not {type(tensor).__name__}")
    if not tensors:
        raise ValueError(f"grad: no {name} given")
    return tensors


def _own(g: Any) -> Tensor:
    """A gradient in its own memory, because rules may return the same array for several inputs."""
    if not isinstance(g, Tensor):
        return Tensor._make(own(g))
    with enable_grad():
        return g.clone()
