"""Derivatives of functions: `value_and_grad`, `jacobian`, `hessian` and `hvp`, with PyTorch's and JAX's conventions.

`jacobian`, `hessian` and `hvp` follow ``torch.autograd.functional``, `value_and_grad` follows JAX. The function is
given new tensors with the values of the inputs, so that no ``grad`` changes, also if it is called inside `no_grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .autograd.creation import ones_like, zeros, zeros_like
from .autograd.gradients import grad
from .autograd.modes import enable_grad
from .autograd.tensor import Tensor
from .checks import function as checked_function
from .checks import named_arguments
from .ops.shape import stack

__all__ = ["hessian", "hvp", "jacobian", "value_and_grad"]


@named_arguments
def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the value of ``function`` and its gradient.

    Args:
        function: returns a tensor with a single number.
        argnums: the argument to differentiate, or several of them; then the gradient is a tuple.
        has_aux: whether the function returns a pair (value, anything else), which is then returned as the value.

    Raises:
        TypeError: from the returned function, if an argument to differentiate is not a tensor.

    >>> squares = minigrad.value_and_grad(lambda x, y: (x**2 + 3 * y).sum(), argnums=(0, 1))
    >>> squares(minigrad.tensor([1.0, 2.0]), minigrad.tensor([0.0, 1.0]))
    (tensor(8.), (tensor([2., 4.]), tensor([3., 3.])))
    """
    checked_function("value_and_grad", "function", function)

    def called(*args: Any, **keywords: Any) -> tuple[Any, Any]:
        numbers = [argnums] if isinstance(argnums, int) else list(argnums)
        with enable_grad():
            inputs = _inputs("value_and_grad", [args[number] for number in numbers], create_graph=False)
            given = list(args)
            for number, tensor in zip(numbers, inputs, strict=True):
                given[number] = tensor
            returned = function(*given, **keywords)
            value = returned[0] if has_aux else returned
            gradients = _gradients("value_and_grad", value, inputs, create_graph=False)
        value = value.detach()
        return (value, returned[1]) if has_aux else value, gradients[0] if isinstance(argnums, int) else gradients

    return called


@named_arguments
def jacobian(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The derivative of every element of a function's outputs with respect to every element of its inputs.

    There is one backward pass per element of the outputs.

    Args:
        function: takes the inputs, and returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        create_graph: record the computation, so that the result can be differentiated in turn.

    Returns:
        For one output and one input, a tensor of shape ``(*output.shape, *input.shape)``. A tuple of inputs makes it a
        tuple with one such tensor for each, and a tuple of outputs makes it a tuple of these, one for each output.

    >>> minigrad.jacobian(lambda x: x * x, minigrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    with enable_grad():
        tensors = _inputs("jacobian", _listed(inputs), create_graph)
        outputs = checked_function("jacobian", "function", function)(*tensors)
        rows = [_jacobian(output, tensors, create_graph) for output in _listed(outputs)]
        found = tuple(row if _is_many(inputs) else row[0] for row in rows)
    return found if _is_many(outputs) else found[0]


def _jacobian(output: Tensor, inputs: list[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    if not output.requires_grad:
        return tuple(zeros((*output.shape, *x.shape), dtype=x.dtype, device=x.device) for x in inputs)
    columns: list[list[Tensor]] = [[] for _ in inputs]
    for index in np.ndindex(output.shape):
        seed = zeros_like(output)
        seed.data[index] = 1
        found = grad(output, inputs, [seed], create_graph, retain_graph=True, allow_unused=True)
        for column, x, g in zip(columns, inputs, found, strict=True):
            column.append(zeros_like(x) if g is None else g)
    stacked = [
        stack(column).reshape((*output.shape, *x.shape)) if column else zeros((*output.shape, *x.shape), dtype=x.dtype)
        for column, x in zip(columns, inputs, strict=True)
    ]
    return tuple(each if create_graph else each.detach() for each in stacked)


@named_arguments
def hessian(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The second derivatives of a function that returns a single number.

    Args:
        function: takes the inputs, and returns a tensor with a single number.
        inputs: a tensor or a tuple of them.
        create_graph: record the computation, so that the result can be differentiated in turn.

    Returns:
        For one input a tensor of shape ``(*input.shape, *input.shape)``; for a tuple of inputs a tuple of tuples,
        whose entry ``[i][j]`` has shape ``(*inputs[i].shape, *inputs[j].shape)``.

    >>> minigrad.hessian(lambda x: x[0] ** 2 * x[1], minigrad.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    checked_function("hessian", "function", function)

    def slopes(*tensors: Tensor) -> Any:
        found = _gradients("hessian", function(*tensors), list(tensors), create_graph=True)
        return found if _is_many(inputs) else found[0]

    return jacobian(slopes, inputs, create_graph)


@named_arguments
def hvp(function: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Tensor, Any]:
    """The value of a function, and the product of its Hessian with a vector, at the cost of two backward passes.

    The product is the gradient of <∇f, v> (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

    Args:
        function: takes the inputs, and returns a tensor with a single number.
        inputs: a tensor or a tuple of them.
        v: the vector, in the form of the inputs; it may be left out for an input with a single element, where it is 1.
        create_graph: record the computation, so that the result can be differentiated in turn.

    Returns:
        The value, and the product in the form of the inputs.

    Raises:
        ValueError: for a vector of another form.

    >>> x = minigrad.tensor([1.0, 2.0])
    >>> value, product = minigrad.hvp(lambda x: (x**3).sum(), x, minigrad.tensor([1.0, 1.0]))
    >>> product
    tensor([ 6., 12.])
    """
    given = _listed(inputs)
    if v is None:
        if len(given) > 1 or given[0].size != 1:
            raise ValueError("hvp: v is needed, unless the only input has a single element")
        v = ones_like(given[0])
    vectors = _listed(v)
    if [np.shape(each) for each in vectors] != [x.shape for x in given]:
        shapes = [np.shape(each) for each in vectors]
        raise ValueError(f"hvp: v has the shapes {shapes}, the inputs have {[x.shape for x in given]}")
    with enable_grad():
        tensors = _inputs("hvp", given, create_graph)
        value = checked_function("hvp", "function", function)(*tensors)
        slopes = _gradients("hvp", value, tensors, create_graph=True)
        moving = [(s, each) for s, each in zip(slopes, vectors, strict=True) if s.requires_grad]
        found: tuple[Tensor | None, ...] = (None,) * len(tensors)
        if moving:
            outputs, seeds = map(list, zip(*moving, strict=True))
            found = grad(outputs, tensors, seeds, create_graph, allow_unused=True)
    products = tuple(zeros_like(x) if g is None else g for x, g in zip(tensors, found, strict=True))
    return value if create_graph else value.detach(), products if _is_many(inputs) else products[0]


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _listed(value: Any) -> list[Any]:
    return list(value) if _is_many(value) else [value]


def _inputs(owner: str, given: Sequence[Any], create_graph: bool) -> list[Tensor]:
    """Tensors with the same values to differentiate by; connected to the given ones only with ``create_graph``."""
    for x in given:
        if not isinstance(x, Tensor):
            raise TypeError(f"{owner}: the inputs must be tensors, not {type(x).__name__}")
    return [x.clone() if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given]


def _gradients(owner: str, value: Any, inputs: list[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    """The gradient of a single number; 0 for an input on which it does not depend."""
    if not isinstance(value, Tensor) or value.size != 1:
        shape = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{owner}: the function must return a tensor with a single number, not {shape}")
    if not value.requires_grad:
        return tuple(map(zeros_like, inputs))
    found = grad(value, inputs, create_graph=create_graph, allow_unused=True)
    return tuple(zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True))
