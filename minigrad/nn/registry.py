"""Registry: what makes an object with attributes a tree of named parameters, buffers and modules."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any, Self

from ..attributes import PACKAGE, Setting, flag, setting
from ..autograd.hooks import Hooks
from ..autograd.tensor import Tensor
from ..checks import parameters_of, refuse_unknown
from .parameter import Parameter, join

if TYPE_CHECKING:
    from .module import Module


_TABLES = ("_parameters", "_modules", "_buffers", "_forward_hooks", "_forward_pre_hooks")
_OWN = {"training", "_path", *_TABLES}


class RegistrationError(ValueError, KeyError):
    """A name that cannot be registered, or is taken; in PyTorch that is a KeyError."""

    __str__ = Exception.__str__


class Registry:
    """The part of `Module` that knows what belongs to it, under which name.

    Setting an attribute to a `Parameter` or a `Module` registers it; every parameter learns its full name then,
    and again when the module that owns it is set as an attribute of another.
    """

    training: bool = setting(flag)
    _path: str
    _parameters: dict[str, Parameter]
    _modules: dict[str, Module]
    _buffers: dict[str, bool]
    _forward_hooks: Hooks
    _forward_pre_hooks: Hooks

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = parameters_of(cls.__init__) if kwargs else None
        if known is not None:
            refuse_unknown(cls.__name__, kwargs, known)
        # The registries are made here, so that a subclass need not call super().__init__() first.
        self = super().__new__(cls)
        vars(self).update(
            training=True,
            _path="",
            _parameters={},
            _modules={},
            _buffers={},  # name to whether it is persistent; the value is the attribute
            _forward_hooks=Hooks(),
            _forward_pre_hooks=Hooks(),
        )
        return self

    def __copy__(self) -> Self:
        """The same parts in another module, which registers for itself."""
        new = type(self).__new__(type(self))
        for name, value in vars(self).items():
            vars(new)[name] = copy(value) if name in _TABLES else value
        return new

    # --- registering ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Registry):
            self._register(name, value)
            return
        owner = None if callable(value) else self._owner_of_method(name)
        if owner is not None and owner.__module__.partition(".")[0] == PACKAGE:
            raise ValueError(f"{type(self).__name__}.{name} is a method; choose another name")
        kind = self._kind(name)
        if kind and value is not None and not (kind == "a Tensor" and isinstance(value, Tensor)):
            raise TypeError(
                f"{type(self).__name__}.{name} must be {kind} or None, not {type(value).__name__}; "
                "del it first to reuse the name"
            )
        if kind and kind != "a Tensor":
            self._forget(name)
        object.__setattr__(self, name, value)

    def _owner_of_method(self, name: str) -> type | None:
        """The class that defines a method ``name``; ``None`` if none does."""
        if not callable(getattr(type(self), name, None)):
            return None
        return next((kind for kind in type(self).__mro__ if name in vars(kind)), None)

    def _kind(self, name: str) -> str:
        """What is registered under ``name``; empty if nothing is."""
        if name in self._parameters:
            return "a Parameter"
        if name in self._modules:
            return "a Module"
        return "a Tensor" if name in self._buffers else ""

    def __delattr__(self, name: str) -> None:
        if isinstance(getattr(type(self), name, None), Setting):
            raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted; set it to another value")
        self._forget(name)
        object.__delattr__(self, name)

    def _register(self, name: str, value: Any) -> None:
        """Enter a parameter or module under ``name`` and tell it its place."""
        self._check_name(type(self).__name__, name)
        if self._owner_of_method(name) is not None:
            raise ValueError(f"{type(self).__name__}.{name} is a method; choose another name")
        if isinstance(value, Registry):
            self._check_part(f"{type(self).__name__}.{name}", value)
        before = vars(self).get(name)
        object.__setattr__(self, name, value)
        self._release(name, before)
        if isinstance(value, Parameter):
            self._modules.pop(name, None)
            self._parameters[name] = value
            # A parameter shared with another module keeps the name it got first.
            if not value.name:
                value._label(self._path, name)
        else:
            self._parameters.pop(name, None)
            self._modules[name] = value
            value._move(join(self._path, name))
        self._buffers.pop(name, None)

    def _check_part(self, where: str, module: Any) -> None:
        """Raise unless ``module`` can be a part of this one."""
        if not isinstance(module, Registry):
            raise TypeError(f"{where}: needs a Module, not {type(module).__name__}")
        if any(part is self for part in module.modules()):
            raise ValueError(f"{where}: a module cannot contain itself")

    def _release(self, name: str, value: Any) -> None:
        """Let ``value``, which was registered under ``name``, be the top of its own tree again."""
        path = join(self._path, name)
        if isinstance(value, Parameter) and value.name == path:
            value._label("", "")
        elif isinstance(value, Registry) and value._path == path:
            value._move("")

    def _forget(self, name: str) -> None:
        """Take ``name`` out of the registries."""
        self._release(name, vars(self).get(name))
        self._parameters.pop(name, None)
        self._modules.pop(name, None)
        self._buffers.pop(name, None)

    def _move(self, path: str) -> None:
        """Rename the parameters of this module and of all in it: the module is now at ``path``."""
        for name, parameter in self._parameters.items():
            if parameter.name == join(self._path, name):
                parameter._label(path, name)
        vars(self)["_path"] = path
        for name, module in self._modules.items():
            module._move(join(path, name))

    def _check_name(self, where: str, name: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{where}: a name must be a string, not {name!r}")
        if not name or "." in name:
            raise RegistrationError(f"{where}: {name!r} cannot be registered: a name is not empty and has no dots")
        if name in _OWN:
            raise RegistrationError(f"{where}: {name!r} exists already, in every module; choose another name")

    def _check_free(self, method: str, name: Any, kind: str) -> None:
        """Raise if a name is impossible, or stands for something other than ``kind``."""
        where = f"{type(self).__name__}.{method}"
        self._check_name(where, name)
        taken = self._kind(name)
        if taken and taken != kind:
            raise RegistrationError(f"{where}: {name!r} exists already, as {taken}; del it first to reuse the name")
        if not taken and getattr(self, name, None) is not None:
            raise RegistrationError(f"{where}: the attribute {name!r} exists already")

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set a parameter by name, as ``setattr`` does; ``None`` is an attribute without a parameter."""
        self._check_free("register_parameter", name, "a Parameter")
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter, not {type(parameter).__name__}")
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module) -> None:
        """Set a module by name, as ``setattr`` does."""
        self._check_free("add_module", name, "a Module")
        if not isinstance(module, Registry):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module, not {type(module).__name__}")
        setattr(self, name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set a tensor that belongs to the module's state but is not learned.

        Args:
            name: the attribute.
            tensor: the value; ``None`` is a buffer that is switched off.
            persistent: whether it is part of the state dict.
        """
        self._check_free("register_buffer", name, "a Tensor")
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(f"register_buffer: {name!r} must be a Tensor or None, not {type(tensor).__name__}")
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
        stack: list[tuple[str, Any]] = [(prefix, self)]
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
