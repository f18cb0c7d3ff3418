"""Module: a part of a model, with its parameters, its mode, its hooks and its state."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .. import devices
from ..attributes import PACKAGE, Setting, setting
from ..autograd.hooks import Hooks, RemovableHandle
from ..autograd.tensor import Tensor
from ..autograd.tracing import changes, tracer, tracers
from ..checks import flag, parameters_of, refuse_unknown
from ..provided import provided_by
from ._state import read_state
from .parameter import Parameter, join
from .summary import Summary

__all__ = ["Module"]

# The remedy for setting the arguments ``dtype`` and ``device`` of a layer.
CONVERT = "use .to(), .float() or .double() to convert the layer"

PreHook = Callable[["Module", tuple[Any, ...]], Any]
Hook = Callable[["Module", tuple[Any, ...], Any], Any]

# The entries of every module's __dict__ besides its attributes; these names cannot be registered.
_TABLES = ("_parameters", "_modules", "_buffers", "_forward_hooks", "_forward_pre_hooks")
_RESERVED = {"training", "_path", *_TABLES}


class RegistrationError(ValueError, KeyError):
    """A name that cannot be registered, or is taken; in PyTorch that is a KeyError."""

    __str__ = Exception.__str__


class LoadResult(NamedTuple):
    """The missing and the unexpected keys that `Module.load_state_dict` found; both are empty after a strict load."""

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

    An attribute that is a `Parameter` or a `Module` is registered under its name, in the order of assignment. Every
    parameter learns its full name then, and again when its module becomes part of another.

    Attributes:
        training: whether the module is in training mode; dropout and batch normalization depend on it.
    """

    training: bool = setting(flag)
    _path: str  # where the module is in the model, such as "encoder.0"
    _parameters: dict[str, Parameter]
    _modules: dict[str, Module]
    _buffers: dict[str, bool]  # the name, and whether it is part of the state dict; the attribute has the value
    _forward_hooks: Hooks
    _forward_pre_hooks: Hooks

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = parameters_of(cls.__init__) if kwargs else None
        if known is not None:
            refuse_unknown(cls.__name__, kwargs, known)
        # The tables are made here, so that a subclass need not call super().__init__() first.
        self = super().__new__(cls)
        vars(self).update(
            training=True,
            _path="",
            _parameters={},
            _modules={},
            _buffers={},
            _forward_hooks=Hooks(),
            _forward_pre_hooks=Hooks(),
        )
        return self

    def __copy__(self) -> Self:
        """Return a module with the same parts and its own tables."""
        new = type(self).__new__(type(self))
        for name, value in vars(self).items():
            vars(new)[name] = copy(value) if name in _TABLES else value
        return new

    def __init__(self) -> None:
        """Take no arguments. A subclass need not call this."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output. A subclass defines this; call the module itself, which also runs its hooks."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if tracers:
            tracer().entering(self)
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    # --- registering -----------------------------------------------------------------------------------------------

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set a parameter by name, as ``setattr`` does; ``None`` is an attribute without a parameter."""
        self._check_free("register_parameter", name, "a Parameter")
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"register_parameter: {name!r} must be a Parameter, not {type(parameter).__name__}")
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module) -> None:
        """Set a module by name, as ``setattr`` does."""
        self._check_free("add_module", name, "a Module")
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module, not {type(module).__name__}")
        setattr(self, name, module)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set a tensor that belongs to the module's state but is not learned.

        Args:
            name: the attribute.
            tensor: the value; ``None`` for a buffer that is switched off.
            persistent: whether it is part of the state dict.
        """
        self._check_free("register_buffer", name, "a Tensor")
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(f"register_buffer: {name!r} must be a Tensor or None, not {type(tensor).__name__}")
        self._forget(name)
        self._buffers[name] = persistent
        vars(self)[name] = tensor

    # --- the parts -------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all modules in it, each once, with their paths; outer ones first."""
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
        """Yield this module and all modules in it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly in this one, each once, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the modules directly in this one, each once."""
        return (module for _, module in self.named_children())

    def named_layers(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules that own parameters themselves, in order, with their paths."""
        return ((path, module) for path, module in self.named_modules() if module._parameters)

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters with their names, each once: a shared one under the first name met."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, parameter in module._parameters.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield join(path, name), parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers with their names, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name in module._buffers:
                buffer = vars(module)[name]
                if buffer is not None and id(buffer) not in seen:
                    seen.add(id(buffer))
                    yield join(path, name), buffer

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # --- changing all parts at once --------------------------------------------------------------------------------

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on every module in this one, then on this one; for example to initialize weights."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode, or evaluation mode for ``False``, in this module and all modules in it."""
        mode = flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode in this module and all modules in it."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Make all parameters trainable, or freeze them for ``False``."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to ``None``, or fill the existing ones with 0."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if set_to_none or gradient is None:
                parameter.grad = None
            elif gradient.requires_grad:
                parameter.grad = gradient.detach().clone().zero_()
            else:
                gradient.zero_()

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Convert floating-point parameters, their gradients and buffers to float32 or float64, in place."""
        return self._convert("astype", None, np.dtype(dtype))

    def to(self, *to: Any, device: str | None = None, dtype: npt.DTypeLike | None = None) -> Self:
        """Move to a device, ``"cpu"`` or ``"cuda"``, convert to float32 or float64, or both, in place.

        Parameters, their gradients and buffers move. An optimizer keeps arrays where the parameters were when it was
        made, so move a model before making its optimizer.

        Raises:
            minigrad.devices.cuda.DeviceError: if the GPU cannot be used or has too little memory; nothing is changed.
        """
        return self._convert("to", *devices.target(f"{type(self).__name__}.to", to, device, dtype))

    def cpu(self) -> Self:
        """Move to the CPU, in place."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move to the GPU, in place."""
        return self.to("cuda")

    def _convert(self, method: str, device: str | None, dtype: np.dtype[Any] | None) -> Self:
        """Convert parameters and buffers. All copies are made first, so that an error changes nothing."""
        if dtype not in (None, np.float32, np.float64):
            raise TypeError(f"{type(self).__name__}.{method}: parameters are float32 or float64, not {dtype}")

        def converted(tensor: Tensor) -> Any:
            array = tensor.data if device is None else devices.to_device(tensor.data, device)
            return array.astype(dtype, copy=False) if dtype is not None and array.dtype.kind == "f" else array

        parameters = [(parameter, converted(parameter)) for parameter in self.parameters()]
        places = [(vars(module), name) for module in self.modules() for name in module._buffers]
        buffers = [
            (where, name, where[name], converted(where[name])) for where, name in places if where[name] is not None
        ]
        for parameter, array in parameters:
            if array is not parameter.data:
                parameter._rebind(array)
        for where, name, buffer, array in buffers:
            if array is not buffer.data:
                where[name] = Tensor(array)
        return self

    def float(self) -> Self:
        """Convert to float32, in place."""
        return self.astype(np.float32)

    def double(self) -> Self:
        """Convert to float64, in place."""
        return self.astype(np.float64)

    # --- hooks -----------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook: PreHook) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; a result other than ``None`` replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, _checked("register_forward_pre_hook", hook))

    def register_forward_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; a result other than ``None`` replaces the output."""
        return RemovableHandle(self._forward_hooks, _checked("register_forward_hook", hook))

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Tuples, because a hook may remove itself while they run.
        for pre_hook in tuple(self._forward_pre_hooks.values()):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
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
        """Return copies of all parameters and persistent buffers by name, in order, on the device where they are.

        The names are PyTorch's. ``{name: torch.from_numpy(t.numpy()) for name, t in model.state_dict().items()}``
        loads in the PyTorch model of the same layers, and a PyTorch state dict loads here unchanged.
        """
        return {name: Tensor(value.data.copy()) for name, value in self._named_state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name, from any device. Unless everything fits, nothing is changed.

        Args:
            state_dict: arrays, tensors, PyTorch tensors or numbers by name.
            strict: whether missing and unexpected names are an error. Shapes must always fit.

        Returns:
            The missing and the unexpected names.

        Raises:
            ValueError: naming every key that is missing, unexpected, or of a wrong shape or dtype.
        """
        own = self._named_state()
        values, missing, unexpected = read_state(type(self).__name__, own, state_dict, strict)
        for name, array in values.items():
            own[name].data = array
        return LoadResult(missing, unexpected)

    # --- showing ---------------------------------------------------------------------------------------------------

    @provided_by("minigrad.nn.inspection")
    def summary(self, example: Any = None) -> Summary:
        """Return a table of the layers; see `minigrad.nn.summary`."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the settings that the ``repr`` shows between the parentheses."""
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

    # --- setting attributes ------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        changes[0] += 1
        if isinstance(value, Parameter | Module):
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
        """The class that defines a method ``name``, if one does."""
        if not callable(getattr(type(self), name, None)):
            return None
        return next((kind for kind in type(self).__mro__ if name in vars(kind)), None)

    def _kind(self, name: str) -> str:
        """The kind of entry under ``name``: "a Parameter", "a Module", "a Tensor" (a buffer), or "" for nothing."""
        if name in self._parameters:
            return "a Parameter"
        if name in self._modules:
            return "a Module"
        return "a Tensor" if name in self._buffers else ""

    def __delattr__(self, name: str) -> None:
        if isinstance(getattr(type(self), name, None), Setting):
            raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted; set it to another value")
        changes[0] += 1
        self._forget(name)
        object.__delattr__(self, name)

    def _register(self, name: str, value: Any) -> None:
        """Register a parameter or module under ``name``, and update the full names that follow from it."""
        self._check_name(type(self).__name__, name)
        if self._owner_of_method(name) is not None:
            raise ValueError(f"{type(self).__name__}.{name} is a method; choose another name")
        if isinstance(value, Module):
            self._check_part(f"{type(self).__name__}.{name}", value)
        before = vars(self).get(name)
        object.__setattr__(self, name, value)
        self._release(name, before)
        if isinstance(value, Parameter):
            self._modules.pop(name, None)
            self._parameters[name] = value
            # A parameter that another module has too keeps the name it got there.
            if not value.name:
                value._label(self._path, name)
        else:
            self._parameters.pop(name, None)
            self._modules[name] = value
            value._move(join(self._path, name))
        self._buffers.pop(name, None)

    def _check_part(self, where: str, module: Any) -> None:
        """Raise unless ``module`` can be a part of this one."""
        if not isinstance(module, Module):
            raise TypeError(f"{where}: needs a Module, not {type(module).__name__}")
        if any(part is self for part in module.modules()):
            raise ValueError(f"{where}: a module cannot contain itself")

    def _release(self, name: str, value: Any) -> None:
        """Take the name that ``value`` has from being registered under ``name`` away from it."""
        path = join(self._path, name)
        if isinstance(value, Parameter) and value.name == path:
            value._label("", "")
        elif isinstance(value, Module) and value._path == path:
            value._move("")

    def _forget(self, name: str) -> None:
        """Unregister ``name``."""
        self._release(name, vars(self).get(name))
        self._parameters.pop(name, None)
        self._modules.pop(name, None)
        self._buffers.pop(name, None)

    def _move(self, path: str) -> None:
        """Set the path of this module, and with it the names of all parameters in it."""
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
            raise RegistrationError(f"{where}: {name!r} cannot be registered: a name must not be empty or contain dots")
        if name in _RESERVED:
            raise RegistrationError(f"{where}: {name!r} already exists, in every module; choose another name")

    def _check_free(self, method: str, name: Any, kind: str) -> None:
        """Raise if ``name`` is not allowed, or taken by something other than ``kind``."""
        where = f"{type(self).__name__}.{method}"
        self._check_name(where, name)
        taken = self._kind(name)
        if taken and taken != kind:
            raise RegistrationError(f"{where}: {name!r} already exists, as {taken}; del it first to reuse the name")
        # Not getattr(self, name), which would search for the nearest name.
        if not taken and vars(self).get(name, getattr(type(self), name, None)) is not None:
            raise RegistrationError(f"{where}: the attribute {name!r} already exists")

    if not TYPE_CHECKING:  # a type checker should report an unknown attribute itself

        def __getattr__(self, name: str) -> Any:
            message = f"{type(self).__name__} has no attribute {name!r}"
            if not name.startswith("__"):
                close = difflib.get_close_matches(name, [*vars(self), *dir(type(self))], n=1)
                message += f"; did you mean {close[0]!r}?" if close else ""
            raise AttributeError(message)


# For a class without its own __init__, `inspect.signature` would otherwise show the (*args, **kwargs) of __new__.
vars(Module.__new__)["__signature__"] = inspect.signature(Module.__init__)


def _checked(method: str, hook: Any) -> Any:
    if not callable(hook):
        raise TypeError(f"{method}: needs a function, not {type(hook).__name__}")
    return hook
