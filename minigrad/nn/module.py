"""Module: a part of a model, with its parameters, its mode, its hooks and its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from .. import devices
from ..autograd.hooks import RemovableHandle
from ..autograd.tensor import Tensor
from .parameter import join
from .registry import Registry
from .state import read_state

if TYPE_CHECKING:
    from .summary import Summary

PreHook = Callable[["Module", tuple[Any, ...]], Any]
Hook = Callable[["Module", tuple[Any, ...], Any], Any]


class LoadResult(NamedTuple):
    """What `Module.load_state_dict` found missing and unexpected; both are empty after a strict load."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Registry):
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
        training: whether the module is in training mode; dropout and batch normalization depend on it.
    """

    def __init__(self) -> None:
        """Nothing to do; refuses arguments that a subclass does not know."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. A subclass defines it; call the module itself, which also runs its hooks."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    # --- changing all parts at once --------------------------------------------------------------------------------

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on every module in this one, then on this one, for instance to initialize weights."""
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
            minigrad.devices.cuda.DeviceError: if the GPU cannot be used or has too little memory; nothing has changed.
        """
        return self._convert("to", *devices.target(f"{type(self).__name__}.to", to, device, dtype))

    def cpu(self) -> Self:
        """Move to the CPU, in place."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move to the GPU, in place."""
        return self.to("cuda")

    def _convert(self, method: str, device: str | None, dtype: np.dtype[Any] | None) -> Self:
        """Bring parameters and buffers to a device and a dtype. All copies are made before any takes its place."""
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
        """Call ``hook(module, args)`` before ``forward``; what it returns, unless ``None``, replaces the arguments."""
        return RemovableHandle(self._forward_pre_hooks, _checked("register_forward_pre_hook", hook))

    def register_forward_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns, unless ``None``, is the output."""
        return RemovableHandle(self._forward_hooks, _checked("register_forward_hook", hook))

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Copies, because a hook may remove itself.
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
        """Copies of all parameters and persistent buffers by name, in order, on the device where they are.

        The names are PyTorch's. ``{name: torch.from_numpy(t.numpy()) for name, t in model.state_dict().items()}``
        loads in the PyTorch model of the same layers, and a PyTorch state dict loads here as it is.
        """
        return {name: Tensor(value.data.copy()) for name, value in self._named_state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name, from any device. Nothing is changed unless everything fits.

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
