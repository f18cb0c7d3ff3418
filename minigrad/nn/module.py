"""Module: a part of a model that owns parameters, buffers and other modules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..tensor import RemovableHandle, Tensor
from .parameter import Parameter, join
from .state import read_state

if TYPE_CHECKING:
    from .summary import Summary

PreHook = Callable[["Module", tuple[Any, ...]], Any]
Hook = Callable[["Module", tuple[Any, ...], Any], Any]


class LoadResult(NamedTuple):
    """What `Module.load_state_dict` found missing and unexpected; both are empty after a strict load."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of every layer and model. Derive from it, set parameters and modules as attributes, write ``forward``.

    ::

        class Net(nn.Module):
            def __init__(self):
                self.hidden = nn.Linear(64, 32)
                self.out = nn.Linear(32, 10)

            def forward(self, x):
                return self.out(self.hidden(x).relu())

    An attribute that is a `Parameter` or a `Module` is registered under its name, in the order of assignment.

    Attributes:
        training: whether the module is in training mode; dropout and batch normalisation depend on it.
    """

    training: bool
    _path: str
    _parameters: dict[str, Parameter]
    _modules: dict[str, Module]
    _buffers: dict[str, bool]
    _forward_hooks: dict[int, Hook]
    _forward_pre_hooks: dict[int, PreHook]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # The registries are made here, so that a subclass need not call super().__init__() first.
        self = super().__new__(cls)
        vars(self).update(
            training=True,
            _path="",
            _parameters={},
            _modules={},
            _buffers={},  # name to whether it is persistent; the value is the attribute
            _forward_hooks={},
            _forward_pre_hooks={},
        )
        return self

    def __init__(self) -> None:
        """Nothing to do; refuses arguments that a subclass does not know."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. A subclass defines it; call the module itself, which also runs its hooks."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    # --- registering ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = vars(self)
        registered = name in self._parameters or name in self._modules or name in self._buffers
        if isinstance(value, Parameter | Module):
            self._register(name, value)
        elif registered and value is not None and not (name in self._buffers and isinstance(value, Tensor)):
            kind = "parameter" if name in self._parameters else "module" if name in self._modules else "buffer"
            needed = {"parameter": "a Parameter", "module": "a Module", "buffer": "a Tensor"}[kind]
            raise TypeError(
                f"{type(self).__name__}.{name} is a {kind}: it can be set to {needed} or None, not to "
                f"{type(value).__name__}; del it first to reuse the name"
            )
        elif registered and name not in self._buffers:
            self._forget(name)
            attributes[name] = None
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._forget(name)
        object.__delattr__(self, name)

    def _register(self, name: str, value: Parameter | Module) -> None:
        """Enter a parameter or module under ``name`` and tell it its place."""
        if not name or "." in name:
            raise ValueError(f"{type(self).__name__}: {name!r} is no name for a parameter or module (no dots)")
        if hasattr(Module, name):
            raise ValueError(f"{type(self).__name__}.{name}: every Module has {name!r}; choose another name")
        if isinstance(value, Module) and any(part is self for part in value.modules()):
            raise ValueError(f"{type(self).__name__}.{name}: a module cannot contain itself")
        if vars(self).get(name) is not value:
            self._forget(name, keep_place=True)
        object.__setattr__(self, name, value)
        if isinstance(value, Module):
            self._parameters.pop(name, None)
            self._modules[name] = value
            value._move(join(self._path, name))
        else:
            self._modules.pop(name, None)
            self._parameters[name] = value
            # A parameter shared with another module keeps the name it got first.
            if not value.name:
                value._label(self._path, name)
        self._buffers.pop(name, None)

    def _forget(self, name: str, keep_place: bool = False) -> None:
        """Take ``name`` out of the registries; what had its own name from here loses it."""
        value = vars(self).get(name)
        path = join(self._path, name)
        if isinstance(value, Parameter) and value.name == path:
            value._label("", "")
        elif isinstance(value, Module) and value._path == path:
            value._move("")
        if not keep_place:
            for registry in (self._parameters, self._modules, self._buffers):
                registry.pop(name, None)  # type: ignore[attr-defined]  # three dicts of different values

    def _move(self, path: str) -> None:
        """Rename the parameters of this module and of all in it: the module is now at ``path``."""
        for name, parameter in self._parameters.items():
            if parameter.name == join(self._path, name):
                parameter._label(path, name)
        vars(self)["_path"] = path
        for name, module in self._modules.items():
            module._move(join(path, name))

    def _check_free(self, method: str, name: str) -> None:
        if name in vars(self) and name not in {*self._parameters, *self._modules, *self._buffers}:
            raise ValueError(f"{type(self).__name__}.{method}: the attribute {name!r} exists already")
        if hasattr(type(self), name):
            raise ValueError(f"{type(self).__name__}.{method}: {name!r} is part of the class; choose another name")

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set a parameter by name, as ``setattr`` does; ``None`` is an attribute without a parameter."""
        self._check_free("register_parameter", name)
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter, not {type(parameter).__name__}")
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module) -> None:
        """Set a module by name, as ``setattr`` does."""
        self._check_free("add_module", name)
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module, not {type(module).__name__}")
        setattr(self, name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set a tensor that belongs to the module's state but is not learned.

        Args:
            name: the attribute.
            tensor: the value; ``None`` is a buffer that is switched off.
            persistent: whether it is part of the state dict.
        """
        self._check_free("register_buffer", name)
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(f"register_buffer: {name!r} must be a Tensor or None, not {type(tensor).__name__}")
        if not name or "." in name:
            raise ValueError(f"register_buffer: {name!r} is no name for a buffer (no dots)")
        self._forget(name)
        self._buffers[name] = persistent
        vars(self)[name] = tensor

    if not TYPE_CHECKING:  # a type checker should report an unknown attribute itself

        def __getattr__(self, name: str) -> Any:
            message = f"{type(self).__name__} has no attribute {name!r}"
            if not name.startswith("__"):
                close = difflib.get_close_matches(name, [*vars(self), *dir(type(self))], n=1)
                message += f"; did you mean {close[0]!r}?" if close else ""
            raise AttributeError(message)

    # --- looking around ------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all in it, each once, with its path; outer ones first."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack.extend((join(path, name), child) for name, child in reversed(module._modules.items()))

    def modules(self) -> Iterator[Module]:
        """This module and all in it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly in this one, each once, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly in this one, each once."""
        return (module for _, module in self.named_children())

    def named_layers(self) -> Iterator[tuple[str, Module]]:
        """The modules that own parameters themselves, with their paths, in order."""
        return ((path, module) for path, module in self.named_modules() if module._parameters)

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their names, each once: a shared one comes under the first name met."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, parameter in module._parameters.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield join(path, name), parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their names, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name in module._buffers:
                buffer = vars(module)[name]
                if buffer is not None and id(buffer) not in seen:
                    seen.add(id(buffer))
                    yield join(path, name), buffer

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # --- changing all parts at once --------------------------------------------------------------------------------

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on every module in this one, then on this one, for instance to initialise weights."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Put this module and all in it into training mode (or not)."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all in it into evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train the parameters (or freeze them)."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set those that there are to 0."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if set_to_none or gradient is None:
                parameter.grad = None
            elif gradient.requires_grad:
                parameter.grad = Tensor(np.zeros_like(gradient.data))
            else:
                gradient.zero_()

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Convert floating-point parameters, their gradients and buffers to float32 or float64, in place."""
        wanted = np.dtype(dtype)
        if wanted not in (np.float32, np.float64):
            raise TypeError(f"{type(self).__name__}.astype: parameters are float32 or float64, not {wanted}")
        for parameter in self.parameters():
            if parameter.dtype != wanted and parameter.dtype.kind == "f":
                parameter._rebind(parameter.data.astype(wanted))
        for module in self.modules():
            for name in module._buffers:
                buffer = vars(module)[name]
                if buffer is not None and buffer.dtype != wanted and buffer.dtype.kind == "f":
                    vars(module)[name] = Tensor(buffer.data.astype(wanted))
        return self

    def float(self) -> Self:
        """Convert to float32, in place."""
        return self.astype(np.float32)

    def double(self) -> Self:
        """Convert to float64, in place."""
        return self.astype(np.float64)

    # --- hooks -----------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: PreHook) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns, unless ``None``, replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, _checked("register_forward_pre_hook", hook))

    def register_forward_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns, unless ``None``, is the output."""
        return RemovableHandle(self._forward_hooks, _checked("register_forward_hook", hook))

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Copies, because a hook may remove itself.
        for pre_hook in list(self._forward_pre_hooks.values()):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    # --- state -----------------------------------------------------------------------------------------------------

    def _named_state(self) -> dict[str, Tensor]:
        """Every parameter and persistent buffer under each of its names."""
        state: dict[str, Tensor] = dict(self._parameters)
        state.update((name, vars(self)[name]) for name, kept in self._buffers.items() if kept)
        state = {name: value for name, value in state.items() if value is not None}
        for name, module in self._modules.items():
            state.update((join(name, key), value) for key, value in module._named_state().items())
        return state

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all parameters and persistent buffers by name, in order.

        The names are PyTorch's. ``{name: torch.from_numpy(t.numpy()) for name, t in model.state_dict().items()}``
        loads in the PyTorch model of the same layers, and a PyTorch state dict loads here as it is.
        """
        return {name: Tensor(value.data.copy()) for name, value in self._named_state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name. Nothing is changed unless everything fits.

        Args:
            state_dict: arrays, tensors, PyTorch tensors or numbers by name.
            strict: whether names that are missing or unexpected are an error. Shapes must fit in any case.

        Returns:
            The names that were missing and unexpected.

        Raises:
            ValueError: naming every missing, unexpected and misshapen key, and those of an unfit dtype.
        """
        own = self._named_state()
        values, missing, unexpected = read_state(type(self).__name__, own, state_dict, strict)
        for name, array in values.items():
            own[name].data = array
        return LoadResult(missing, unexpected)

    # --- showing ---------------------------------------------------------------------------------------------------

    def summary(self, example: Any = None) -> Summary:
        """A table of the layers; see `minigrad.nn.summary`."""
        from .summary import summary

        return summary(self, example)

    def extra_repr(self) -> str:
        """The settings of the module, as its ``repr`` shows them."""
        return ""

    def __repr__(self) -> str:
        settings = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({settings})"
        lines = [settings] if settings else []
        for name, module in self._modules.items():
            text = repr(module).replace("\n", "\n  ")
            lines.append(f"({name}): {text}")
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _checked(method: str, hook: Any) -> Any:
    if not callable(hook):
        raise TypeError(f"{method}: needs a function, not {type(hook).__name__}")
    return hook
