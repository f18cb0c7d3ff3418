"""Applied: a layer that applies one function, and has its arguments, defaults and docstring from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..attributes import Setting, make_constructor
from ..autograd.as_array import as_array
from ..autograd.tensor import Tensor
from .module import Module


class Applied(Module):
    """Base of a layer that applies one function: ``class LeakyReLU(Applied, function=leaky_relu)``.

    The function's arguments without a default, ``x`` or ``x`` and ``target``, become the arguments of ``forward``. Its
    other arguments become the constructor's, with the same defaults, and attributes of the layer. The class declares
    each of them by `minigrad.attributes.setting` with its check; one without such a declaration is a tensor, such as a
    weight per class, and becomes a buffer. The function's docstring comes before the class's.
    """

    _arguments: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:

        def __init__(self, *args: Any, **arguments: Any) -> None: ...

    def __init_subclass__(cls, function: Callable[..., Any] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if function is None:  # the class derives from a layer, or is itself a base
            return
        cls.__doc__ = "\n\n".join(filter(None, [inspect.getdoc(function), inspect.cleandoc(cls.__doc__ or "")]))
        parameters = inspect.signature(function).parameters.values()
        arguments = [p for p in parameters if p.default is not p.empty]
        cls._arguments = tuple(p.name for p in arguments)
        forward = _forward(function, len(parameters) - len(arguments), cls._arguments)
        forward.__name__, forward.__qualname__ = "forward", f"{cls.__qualname__}.forward"
        forward.__module__ = cls.__module__
        cls.forward = forward  # type: ignore[method-assign]  # that is its purpose
        if arguments:
            make_constructor(cls, arguments, cls._set)

    def _set(self, arguments: dict[str, Any]) -> None:
        for name, value in arguments.items():
            if isinstance(getattr(type(self), name, None), Setting):
                setattr(self, name, value)
            else:  # a copy, of the value's own dtype
                self.register_buffer(name, None if value is None else Tensor(np.array(as_array(value))))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._arguments)


def _forward(function: Callable[..., Any], inputs: int, arguments: Sequence[str]) -> Callable[..., Any]:
    function = inspect.unwrap(function)  # a wrapper is for misspelled names, and here all arguments go by position
    get: Any = attrgetter(*arguments) if arguments else None
    # For one name, attrgetter gives the value itself instead of a tuple.
    values = get if len(arguments) > 1 else lambda module: (get(module),)

    def forward_alone(self: Module, x: Any) -> Tensor:
        return function(x)

    def forward_with_arguments(self: Module, x: Any) -> Tensor:
        return function(x, *values(self))

    def forward_to_target(self: Module, x: Any, target: Any) -> Tensor:
        return function(x, target, *values(self))

    return forward_to_target if inputs == 2 else forward_with_arguments if arguments else forward_alone
