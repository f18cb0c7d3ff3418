"""Modules that contain other modules: Sequential, ModuleList, and the MLP helper."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import Any, Self

from ..attributes import argument
from ..checks import choice, number
from .activations import ELU, GELU, Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softplus, Tanh
from .layers import Dropout, Linear
from .module import Module
from .normalization import BatchNorm1d, LayerNorm, RMSNorm

__all__ = ["MLP", "ModuleList", "Sequential"]


class _Numbered(Module, MutableSequence[Any]):
    """A list of modules named ``"0"``, ``"1"``, …; names given by the user are kept."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        """Return one module, or for a slice a container; its parameters keep the names that they have here."""
        if not isinstance(index, slice):
            return self._modules[self._name(index)]
        part = self._empty()
        for place, module in enumerate(list(self._modules.values())[index]):
            # Not through __setattr__, which would rename the parameters of the model that is sliced.
            part._modules[str(place)] = vars(part)[str(place)] = module
        part.training = self.training
        return part

    def __setitem__(self, index: int | slice, value: Any) -> None:
        if not isinstance(index, slice):
            self.add_module(self._name(index), value)
            return
        pairs = list(self._modules.items())
        pairs[index] = [("", module) for module in value]
        self._replace("assignment to a slice", pairs)

    def __delitem__(self, index: int | slice) -> None:
        pairs = list(self._modules.items())
        if not isinstance(index, slice):
            index = list(self._modules).index(self._name(index))
        del pairs[index]
        self._replace("del", pairs)

    def __add__(self, modules: Iterable[Module]) -> Self:
        new: Self = self._empty()
        return new.extend(self).extend(modules)

    def append(self, module: Module) -> Self:  # type: ignore[override]  # returns itself, as in PyTorch
        """Add a module at the end."""
        self.insert(len(self), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:  # type: ignore[override]  # as above
        """Add modules at the end."""
        added = list(modules)
        for place, module in enumerate(added, len(self)):
            if not isinstance(module, Module):
                kind = type(module).__name__
                raise TypeError(f"{type(self).__name__}: {str(place)!r} must be a Module, not {kind}")
        self._replace("extend", [*self._modules.items(), *(("", module) for module in added)])
        return self

    def insert(self, index: int, module: Module) -> None:
        """Insert a module before position ``index``; the ones after it are renumbered."""
        pairs = list(self._modules.items())
        pairs.insert(index, ("", module))
        self._replace("insert", pairs)

    def reverse(self) -> None:
        """Reverse the order."""
        self._replace("reverse", list(self._modules.items())[::-1])

    def _replace(self, method: str, pairs: list[tuple[str, Any]]) -> None:
        """Hold these modules instead: those with a name that is not a number keep it, the others are numbered."""
        for _, module in pairs:
            self._check_part(f"{type(self).__name__}.{method}", module)
        wanted = {name if not name.isdecimal() and name else str(i): module for i, (name, module) in enumerate(pairs)}
        before = dict(self._modules)
        for name, module in before.items():
            if wanted.get(name) is not module:
                delattr(self, name)
        for name, module in wanted.items():
            if before.get(name) is not module:
                setattr(self, name, module)
        ordered = {name: self._modules[name] for name in wanted}
        self._modules.clear()
        self._modules.update(ordered)

    def _empty(self) -> Any:
        raise NotImplementedError

    def _name(self, index: int) -> str:
        names = list(self._modules)
        try:
            return names[index]
        except IndexError:
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(names)} modules") from None


class Sequential(_Numbered):
    """Modules applied one after another: the output of each is the input of the next.

    >>> Sequential(Linear(4, 3), ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )

    A mapping from names to modules, as the only argument, gives them other names than ``"0"``, ``"1"``, …
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        elif len(modules) == 1 and isinstance(modules[0], list | tuple):
            raise TypeError("Sequential: takes modules, not a list of them; unpack it with Sequential(*modules)")
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        for module in self._modules.values():
            x = module(x)
        return x

    def _empty(self) -> Sequential:
        return Sequential()


class ModuleList(_Numbered):
    """A list of modules, registered under their numbers. It computes nothing itself.

    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> [name for name, _ in layers.named_parameters()][:2]
    ['0.weight', '0.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def _empty(self) -> ModuleList:
        return ModuleList()


ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "relu": ReLU,
    "relu6": ReLU6,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "tanh": Tanh,
    "identity": Identity,
}
NORMS: dict[str, Callable[[int], Module]] = {"batch": BatchNorm1d, "layer": LayerNorm, "rms": RMSNorm}


class MLP(Sequential):
    """A multi-layer perceptron: Linear, norm, activation and dropout for each hidden layer, and a last Linear.

    It is a `Sequential` and holds only the parts asked for, so ``MLP([64, 32, 10])`` has the names
    ``0.weight``, ``0.bias``, ``2.weight`` and ``2.bias``.

    Args:
        sizes: the number of inputs, of units in each hidden layer, and of outputs; at least two numbers.
        activation: a name such as ``"relu"``, ``"tanh"`` or ``"gelu"``, or a function that makes a module.
        dropout: the probability of zeroing an activation of a hidden layer.
        norm: ``"batch"``, ``"layer"``, ``"rms"`` or ``None``, between each hidden Linear and its activation.
        bias: whether the Linear layers add a bias.

    Raises:
        ValueError: for fewer than two sizes, sizes that are not positive, or an unknown name.

    >>> model = nn.MLP([64, 32, 10])
    >>> [(name, p.shape) for name, p in model.named_parameters()]
    [('0.weight', (32, 64)), ('0.bias', (32,)), ('2.weight', (10, 32)), ('2.bias', (10,))]
    """

    sizes, activation, dropout, norm, bias = (argument("change the modules in it, or make a new one") for _ in range(5))

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Callable[[], Module] = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        bias: bool = True,
    ) -> None:
        sizes = list(sizes)
        if len(sizes) < 2:
            raise ValueError(f"MLP: needs at least the sizes of the input and the output, got {sizes}")
        dropout = number("MLP", "dropout", dropout, low=0, high=1)
        if isinstance(activation, str):
            activation = ACTIVATIONS[choice("MLP", "activation", activation, ACTIVATIONS)]
        if norm is not None:
            choice("MLP", "norm", norm, NORMS)
        parts: list[Module] = []
        for inputs, units in itertools.pairwise(sizes[:-1]):
            parts.append(Linear(inputs, units, bias=bias))
            if norm is not None:
                parts.append(NORMS[norm](units))
            parts.append(activation())
            if dropout:
                parts.append(Dropout(dropout))
        parts.append(Linear(sizes[-2], sizes[-1], bias=bias))
        super().__init__(*parts)
