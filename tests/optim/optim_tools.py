"""What the tests of optimizers share: parameters from arrays, gradients into them, and bits out of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optim_cases import Case

from minigrad import Tensor, manual_seed, nn, optim

__all__ = [
    "Chain",
    "assert_same_bits",
    "bits",
    "from_case",
    "leaves",
    "loss_of",
    "network",
    "run",
    "set_gradients",
    "take_step",
    "train",
    "values",
]

Arrays = Mapping[str, Any]


def leaves(arrays: Arrays, dtype: Any = np.float32) -> dict[str, Tensor]:
    """A leaf tensor for each array, over a copy of it."""
    return {name: Tensor(np.array(value, dtype), requires_grad=True) for name, value in arrays.items()}


def set_gradients(params: Mapping[str, Tensor], grads: Arrays) -> None:
    """Give each parameter its gradient, in its own dtype; None for none."""
    for name, parameter in params.items():
        grad = grads[name]
        parameter.grad = None if grad is None else Tensor(np.array(grad, parameter.dtype))


def take_step(optimizer: optim.Optimizer, params: Mapping[str, Tensor], grads: Arrays) -> dict[str, np.ndarray]:
    """One step with these gradients; copies of the parameters after it."""
    set_gradients(params, grads)
    optimizer.step()
    return values(params)


class Chain(optim.Optimizer):
    """An optimizer of the elements given, with these options: what tests of single rules step with."""

    def __init__(self, params: Mapping[str, Tensor], *elements: Any, **options: Any) -> None:
        self.given = elements
        super().__init__(list(params.items()), options)

    def chain(self) -> list[Any]:
        return list(self.given)


def run(optimizer: optim.Optimizer, params: Mapping[str, Tensor], steps: Any) -> list[dict[str, np.ndarray]]:
    """The parameters after each step."""
    return [take_step(optimizer, params, grads) for grads in steps]


def values(params: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the parameters' values."""
    return {name: parameter.data.copy() for name, parameter in params.items()}


def from_case(case: Case, dtype: Any = np.float64, **changed: Any) -> tuple[optim.Optimizer, dict[str, Tensor]]:
    """The optimizer of a case on the case's parameters."""
    params = leaves(case.parameters(), dtype)
    given: Any = list(params.items())
    if case.groups is not None:
        given = [{"params": [(name, params[name]) for name in names], **own} for names, own in case.groups]
    optimizer = getattr(optim, case.optimizer)(given, **{**case.options, **changed})
    return (optimizer if case.lookahead is None else optim.Lookahead(optimizer, **case.lookahead)), params


def bits(value: Any) -> Any:
    """Bytes of an array, of the arrays in a dictionary or list, and everything else as it is: to compare exactly."""
    if isinstance(value, Mapping):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    if isinstance(value, Tensor):
        value = value.data
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


def assert_same_bits(actual: Any, expected: Any) -> None:
    """The same values to the last bit, in the same dtypes and shapes."""
    assert bits(actual) == bits(expected)


def loss_of(model: nn.Module, seed: int = 0) -> Tensor:
    """A loss of the network on six random rows."""
    x = np.random.default_rng(seed).normal(size=(6, 4)).astype(np.float32)
    return (model(Tensor(x)) ** 2).sum()


def network(seed: int = 0) -> nn.Module:
    """Two layers, with the same initial weights for the same seed."""
    manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def train(model: nn.Module, *optimizers: optim.Optimizer, steps: int = 3) -> dict[str, np.ndarray]:
    """The parameters after some steps of each optimizer in turn."""
    for seed in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
            loss_of(model, seed).backward()
            optimizer.step()
    return {name: value.data for name, value in model.state_dict().items()}
