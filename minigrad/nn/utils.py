"""Parameters as values: call a module with other parameters, and read and write them all as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..autograd.tensor import Tensor
from ..checks import listed, named_arguments, unknown
from ..ops.shape import concatenate
from .module import Module
from .parameter import join

__all__ = ["functional_call", "parameters_to_vector", "vector_to_parameters"]


@named_arguments
def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Call a module with other tensors in place of its parameters and buffers, as ``torch.func.functional_call`` does.

    Gradients flow to the given tensors. A parameter that is not named keeps its value; one that several modules share
    is replaced in all of them. Changes that the call makes to a buffer go to the given tensor.

    Args:
        module: the module, which is the same afterwards.
        parameter_and_buffer_dicts: tensors by name, such as ``"0.weight"``; or several such mappings.
        args: the arguments of the module: a tuple, or a single one.
        kwargs: its keyword arguments.

    Raises:
        ValueError: for a name that the module does not have, or a tensor of another shape.
        TypeError: for something that is not a tensor.

    >>> layer = nn.Linear(2, 1)
    >>> weights = {"weight": minigrad.tensor([[1.0, 10.0]]), "bias": minigrad.zeros(1)}
    >>> nn.utils.functional_call(layer, weights, minigrad.tensor([[2.0, 3.0]]))
    tensor([[32.]])
    """
    dicts = parameter_and_buffer_dicts
    given: dict[str, Tensor] = {}
    for each in [dicts] if isinstance(dicts, Mapping) else dicts:
        given |= each
    with _replaced(module, given):
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: Mapping[str, Tensor]) -> Iterator[None]:
    """A ``with`` block in which the attributes of a module and of those inside have other values."""
    places: dict[int, list[tuple[dict[str, Any], str]]] = {}  # of each tensor, by its id
    known: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        for name in (*part._parameters, *part._buffers):
            tensor = vars(part)[name]
            if tensor is not None:
                known[join(path, name)] = tensor
                places.setdefault(id(tensor), []).append((vars(part), name))
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"functional_call: {unknown('parameter or buffer', name, known)}")
        if not isinstance(value, Tensor):
            raise TypeError(f"functional_call: {name!r} must be a tensor, not {type(value).__name__}")
        if value.shape != known[name].shape:
            raise ValueError(f"functional_call: {name!r} has shape {value.shape}, must be {known[name].shape}")
    try:
        for name, value in given.items():
            for attributes, attribute in places[id(known[name])]:
                attributes[attribute] = value
        yield
    finally:
        for name in given:
            for attributes, attribute in places[id(known[name])]:
                attributes[attribute] = known[name]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of some tensors, one after the other, as a vector through which gradients flow.

    >>> nn.utils.parameters_to_vector([nn.Parameter([[1.0, 2.0]]), nn.Parameter([3.0])])
    tensor([1., 2., 3.], made by concatenate)
    """
    return concatenate([tensor.reshape(-1) for tensor in listed("parameters_to_vector", parameters)])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector into tensors, the reverse of `parameters_to_vector`.

    Raises:
        ValueError: for a vector of another length; nothing has changed then.

    >>> layer = nn.Linear(2, 1)
    >>> nn.utils.vector_to_parameters(minigrad.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias
    Parameter bias (bias):
    [3.]
    """
    tensors = listed("vector_to_parameters", parameters)
    values = vec.data if isinstance(vec, Tensor) else vec
    size = sum(tensor.numel() for tensor in tensors)
    if values.shape != (size,):
        raise ValueError(f"vector_to_parameters: needs a vector of {size} elements, not shape {values.shape}")
    for tensor in tensors:
        tensor.data = values[: tensor.numel()].reshape(tensor.shape)
        values = values[tensor.numel() :]
