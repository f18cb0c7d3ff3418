"""Tensor: an array, maybe a gradient, maybe the node that made it."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from sys import getrefcount
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from .. import devices, ops
from ..checks import by_position, named_arguments
from ..devices.arrays import DEVICE_ARRAYS
from ..ops.elementwise import to_device
from ..ops.indexing import as_indices, assign, getitem
from ..ops.primitive import Primitive, Traced
from ._numpy import Size, apply_function, apply_ufunc, array_of, bool_only
from ._record import NO_SETTINGS, WEAK, record, share_version
from .as_array import DEFAULT_DTYPE, Array, as_array
from .graph import NO_VERSION, RETAIN, Edge, Node, Version, tick, walk
from .hooks import Hooks, RemovableHandle
from .memory import UNSHARED, Place
from .modes import enable_grad, is_grad_enabled
from .observers import observers
from .tracing import changes, tracer, tracers

T = TypeVar("T", bound="Tensor")
Axis = int | tuple[int, ...] | None
Method = Callable[..., "Tensor"]


# --- methods and operators from the op table: each calls `record` itself, at one frame less than the primitive -------


def _method(op: Primitive) -> Method:
    """The method that applies ``op`` to the tensor; its arguments are the settings of the op, also by position."""
    names = op.settings

    def method(self: Tensor, *args: Any, **settings: Any) -> Any:
        if args:
            settings |= by_position(op.name, args, names, settings)
        if type(settings.get("axis")) is list:
            settings["axis"] = tuple(settings["axis"])
        return record(op, (self,), settings)

    def method_without_settings(self: Tensor) -> Any:
        return record(op, (self,), NO_SETTINGS)

    return _named(method if names else method_without_settings, op)


def _named(method: Any, op: Primitive, other: str = "") -> Method:
    kind: Any = inspect.Parameter
    forward = inspect.signature(op.forward).parameters if op.settings else {}
    method.__name__, method.__qualname__, method.__doc__ = op.name, f"Tensor.{op.name}", op.__doc__
    method.__signature__ = inspect.Signature(
        [kind("self", kind.POSITIONAL_ONLY)]
        + [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in other.split()]
        + [forward[name].replace(kind=kind.POSITIONAL_OR_KEYWORD) for name in op.settings],
        return_annotation="Tensor",
    )
    return method


def _with_other(op: Primitive) -> Method:
    """The method, or the operator, that applies ``op`` to the tensor and another value."""

    def method(self: Tensor, other: Any) -> Any:
        return record(op, (self, other), NO_SETTINGS)

    return _named(method, op, "other")


def _reflected(op: Primitive) -> Method:
    """The operator that applies ``op`` to another value and the tensor."""

    def method(self: Tensor, other: Any) -> Any:
        return record(op, (other, self), NO_SETTINGS)

    return _named(method, op, "other")


def _equality(op: Primitive) -> Method:
    """The operator ``==`` or ``!=``: element by element, but not against None and text."""

    def method(self: Tensor, other: Any) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else record(op, (self, other), NO_SETTINGS)

    return _named(method, op, "other")


def _logical(op: Primitive, symbol: str) -> Method:
    """The operator of two tensors of bools."""

    def method(self: Tensor, other: Any) -> Any:
        return record(op, (bool_only(symbol, self), bool_only(symbol, other)), NO_SETTINGS)

    return _named(method, op, "other")


def _augmented(op: Primitive, symbol: str) -> Method:
    """The operator that changes the array itself, unless the tensor is the result of a recorded operation."""

    def method(self: Tensor, other: Any) -> Any:
        if symbol in ("&=", "|=", "^="):
            bool_only(symbol, self)
            bool_only(symbol, other)
        return self._change(symbol, op, other)

    return _named(method, op, "other")


class Tensor(Traced):
    """A multi-dimensional array that can record the operations on it.

    Numbers, lists and NumPy arrays that meet a tensor of float32 or float64 adopt its dtype, on either side of an
    operator; tensors of the two do not mix (`minigrad.autograd._promotion` has the whole rule). Views, ``detach()``,
    ``.data`` and ``.numpy()`` share memory for good, and a gradient that is kept in any form keeps its values
    (`minigrad.autograd.memory`).

    Args:
        data: numbers, nested lists, an array or a tensor. An array of the right dtype is shared, not copied; use
            `minigrad.tensor` for a copy.
        dtype: float32, float64, an integer type or bool. By default that of an array; Python's floats become
            float32 and its integers int64.
        requires_grad: whether gradients with respect to this tensor are wanted.

    A leaf can be copied and pickled, with its gradient and hooks. In one pickle or deep copy a tensor and its `detach`
    keep sharing their memory; a slice becomes independent.

    Raises:
        TypeError: for data that is not numeric, or an integer tensor with ``requires_grad=True``.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "_hooks",
        "_node",
        "_place",
        "_requires_grad",
        "_version",
    )

    def __init__(self, data: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> None:
        self._data = as_array(data, dtype)
        self._grad: Tensor | None = None
        self._hooks: Hooks | None = None
        self._node: Node | None = None
        self._place: Place | None = None  # in the flat memory of a ParameterStore
        self._requires_grad = False
        self._version: Version = [0]
        if isinstance(data, Tensor) and self._data is data._data:
            share_version(data, self)
        if requires_grad:
            self.requires_grad = True

    @staticmethod
    def _make(data: Array, node: Node | None = None) -> Tensor:
        """A tensor around ``data``, which must be an array; the fast way that every operation takes."""
        self = Tensor.__new__(Tensor)
        self._data = data
        self._grad = None
        self._hooks = None
        self._node = node
        self._place = None
        self._requires_grad = node is not None
        self._version = [0]
        return self

    apply_primitive = staticmethod(record)  # what a primitive calls: the function itself, to save a frame per op

    # --- the array -----------------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array itself, without history. Assigning copies the values in, from any device; the shape must fit."""
        if tracers:
            tracer().reading(self)
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if value is not self._data:
            array = devices.beside(value._data if isinstance(value, Tensor) else value, self._data)
            if array.shape != self._data.shape:
                raise ValueError(f"data: cannot assign shape {array.shape} to a tensor of shape {self.shape}")
            self._write("data", ..., array)
        else:
            self._version[0] = tick()

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements, as NumPy names it."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> Size:
        """The number of elements, as in NumPy; ``size()`` and ``size(axis)`` are the shape and one size of it."""
        size = Size(self._data.size)
        size.shape = self._data.shape
        return size

    @property
    def device(self) -> str:
        """Where the array lives: ``"cpu"`` or ``"cuda"``."""
        return devices.device_of(self._data)

    def numel(self) -> int:
        """The number of elements, under PyTorch's name."""
        return self._data.size

    def numpy(self) -> Array:
        """The array, sharing memory. A tensor that requires a gradient must be detached first, one on a GPU copied.

        Raises:
            RuntimeError: if it requires a gradient.
            TypeError: if it lives on a GPU.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, which an array cannot hold; use .detach().numpy() or .data, "
                "or for a list of tensors stack()"
            )
        if self.device != "cpu":
            raise TypeError(f"numpy: this tensor is on {self.device}; copy it to the CPU first, with .cpu().numpy()")
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self._data.size != 1:
            raise ValueError(f"item: needs a tensor of one element, not of shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """The elements as (nested lists of) Python numbers."""
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iub":
            raise TypeError(f"only integer tensors can be used as an index, not {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(self.data)

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("len() of a tensor without dimensions")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self.data == array_of(value)).any())

    def __repr__(self) -> str:
        text = np.array2string(devices.to_host(self._data), separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (DEFAULT_DTYPE, np.int64, np.bool_) else f", dtype={self.dtype}"
        dtype += "" if self.device == "cpu" else f", device={self.device!r}"
        if self._node is not None:
            return f"tensor({text}{dtype}, made by {self._node.primitive.name})"
        return f"tensor({text}{dtype}{', requires_grad=True' if self._requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return apply_ufunc(ufunc, method, inputs, options)

    def __array_function__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        return apply_function(function, args, options)

    # --- copies: `copy.copy`, `copy.deepcopy` and `pickle` ---------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self._node is not None:
            raise RuntimeError(
                f"copy or pickle: only a leaf tensor can be copied, but this one was made by "
                f"{self._node.primitive.name}; use .detach() first"
            )
        # The array goes first, so that objects in the rest of the state can already use the tensor.
        return _leaf, (type(self), self._data), self.__getstate__()

    def __getstate__(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """All attributes, including those of subclasses, except the place in flat memory, which is not copied."""
        state: Any = super().__getstate__()  # a pair, as there are slots
        attributes, slots = state
        grad = self._grad if self._grad is None or self._grad._node is None else self._grad.detach()
        if len(self._version) == 1:
            self._version.append(weakref.ref(self))  # for a shallow copy, which shares the memory
        version = _counters.setdefault(id(self._version), _Counter(self._version))
        return attributes, slots | {"_grad": grad, "_place": None, "_version": version}

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        attributes, slots = state
        for name, value in (slots | {"_version": slots["_version"].version}).items():
            setattr(self, name, value)
        self._version.append(weakref.ref(self))
        if attributes:
            vars(self).update(attributes)

    # --- gradients -----------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted: set on a leaf, inherited by whatever is computed from it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._node is not None and not value:
            raise RuntimeError("requires_grad: this tensor was computed from others; use .detach() to cut it off")
        if value and self._data.dtype.kind not in "fc":
            raise TypeError(
                f"requires_grad: a tensor of {self.dtype} has no gradient; make it float32 with .float() first"
            )
        self._requires_grad = bool(value)
        changes[0] += 1

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user, not by a recorded operation."""
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated, or ``None``."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if tracers:
            tracer().clearing(self) if value is None else tracer().reading(self)
        if value is None or value is self._grad:
            self._grad = value
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"grad: must be a Tensor or None, not {type(value).__name__}")
        given, own = value._data, self._data
        if given.shape != own.shape or given.dtype != own.dtype:
            raise ValueError(
                f"grad: a tensor of {own.dtype} {own.shape} needs a gradient of that dtype and shape, not "
                f"{given.dtype} {given.shape}"
            )
        if type(given) is not type(own):
            raise ValueError(
                f"grad: the gradient is on {value.device}, but the tensor on {self.device}; move one of them"
            )
        if value._node is None and not getattr(given.flags, "writeable", True):
            value._data = devices.own(given)  # later gradients are added to it in place, and it may be clipped
        del given
        self._grad = value
        self._settle_grad()

    def _accumulate(self, g: Any) -> None:
        """Add ``g``, an array or (when the walk is recorded) a tensor, to the gradient of this leaf."""
        if isinstance(g, Tensor):
            self._grad = g.clone() if self._grad is None else self._grad + g
        elif self._grad is None:
            place = self._place
            if place is None or getrefcount(place.window) > UNSHARED:  # or an earlier gradient is kept there
                self._grad = Tensor._make(devices.own(g))
            else:
                self._grad = Tensor._make(place.window)
                place.window[...] = g
        else:
            earlier = self._grad
            if earlier._node is not None:
                self._grad = Tensor._make(devices.settled(earlier._data + g))
            else:
                np.add(earlier._data, g, out=earlier._data)
                earlier._version[0] = tick()

    def _settle_grad(self) -> None:
        """Move a gradient that was assigned into its place, unless something else refers to either memory."""
        grad, place = self._grad, self._place
        if (
            grad is not None
            and place is not None
            and getrefcount(grad._data) <= UNSHARED
            and grad._data.base is None
            and getrefcount(place.window) <= UNSHARED
        ):
            place.window[...] = grad._data
            grad._data = place.window

    def detach(self) -> Tensor:
        """The same array without history: no gradient flows through the result. Shares memory."""
        new = Tensor._make(self.data)
        share_version(self, new)
        return new

    @named_arguments
    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to the ``grad`` of every leaf that it depends on.

        Args:
            gradient: the gradient that arrives here, of this tensor's shape; 1 by default for a single number.
            retain_graph: keep what the graph saved, to walk it again; by default as ``create_graph``.
            create_graph: record the walk itself, so that the gradients can be differentiated in turn.

        Raises:
            RuntimeError: if nothing requires a gradient, if a gradient is needed and missing, if the graph was
                freed by an earlier walk, or if a value it needs was changed in place. No ``grad`` has changed then.
        """
        if not self._requires_grad:
            raise RuntimeError(
                "backward: this tensor does not depend on any tensor with requires_grad=True, or it was computed "
                "under no_grad()"
            )
        seed = seed_gradient("backward", self, gradient, create_graph)
        retain = create_graph if retain_graph is None else retain_graph
        for place, g in differentiate([(edge_of(self), seed)], None, retain, create_graph).items():
            tensor = place.tensor() if type(place) is Node else place
            if tensor is not None:
                tensor._accumulate(g)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook`` with this tensor's complete gradient during a walk; a tensor it returns replaces it."""
        if not self._requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient, so none will arrive")
        if not callable(hook):
            raise TypeError(f"register_hook: needs a function, not {type(hook).__name__}")
        place: Any = self if self._node is None else self._node
        if place._hooks is None:
            place._hooks = Hooks()
        return RemovableHandle(place._hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its ``grad`` too."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor does not require a gradient, so none will arrive")
        if self._node is None:
            return
        if self._node._hooks is None:
            self._node._hooks = Hooks()
        self._node._hooks[RETAIN] = weakref.ref(self)

    # --- changes in place ------------------------------------------------------------------------------------------

    def _refuse_recorded(self, op: str, *others: Any, instead: str = "where()") -> None:
        if is_grad_enabled() and (
            self._requires_grad or any(isinstance(o, Tensor) and o._requires_grad for o in others)
        ):
            raise RuntimeError(
                f"{op}: cannot change a tensor in place while its gradient is being recorded; do it under "
                f"no_grad(), or compute a new tensor instead, for instance with {instead}"
            )

    def _change(self, op: str, primitive: Primitive, other: Any) -> Tensor:
        """``self op= other``: in place if nothing is recorded; otherwise this tensor becomes the result.

        As in PyTorch, a leaf that requires a gradient is refused. So is a tensor that shares its memory with another
        one, say as a view: PyTorch would change both, but here the other would keep its values.
        """
        recorded = is_grad_enabled() and (self._requires_grad or (isinstance(other, Tensor) and other._requires_grad))
        if recorded and (type(self) is not Tensor or (self._node is None and self._requires_grad)):
            self._refuse_recorded(op, other, instead=f"total = total {op[:-1]} other in place of total {op} other")
        result = primitive(self, other)
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"{op}: the result is {result.dtype}, which a tensor of {self.dtype} cannot hold; compute a new "
                f"tensor, as in x = x {op[:-1]} other, or convert this one first with .float()"
            )
        return self._become(op, result) if recorded else self.copy_(result)

    def _become(self, op: str, result: Tensor) -> Tensor:
        """Take the place of a recorded result, which nothing else refers to."""
        if result.shape != self.shape:
            raise ValueError(
                f"{op}: the result has shape {result.shape}, which a tensor of shape {self.shape} cannot hold; compute "
                f"a new tensor, as in x = x {op[:-1]} other"
            )
        if any(other() is not None and other() is not self for other in self._version[1:]):
            raise RuntimeError(self._shared_memory(op, "another tensor, as a view or by detach()"))
        # A node that saved the memory refers to its version too, so further references are from arrays.
        if getrefcount(self._data) > getrefcount(self._version):
            if getrefcount(self._version) > UNSHARED:
                raise RuntimeError(self._shared_memory(op, "an array, and a gradient needs what it holds"))
            self._data[...] = result._data
            result._data = self._data
        retained = self._node is not None and self._node._hooks is not None and self._node._hooks.pop(RETAIN, None)
        self._data, self._node, self._version = result._data, result._node, result._version
        self._requires_grad = True
        if retained:
            self.retain_grad()
        return self

    def _shared_memory(self, op: str, other: str) -> str:
        return (
            f"{op}: this tensor shares its memory with {other}, which would not change while the gradient is recorded; "
            f"compute a new tensor, as in x = x {op[:-1]} other, and put changed parts together with where(), stack() "
            "or concatenate()"
        )

    def copy_(self, source: Any) -> Self:
        """Copy values in, from any device, broadcast to this shape; not recorded."""
        self._refuse_recorded("copy_", source)
        self._write("copy_", ..., source)
        return self

    def _write(self, op: str, key: Any, value: Any) -> None:
        """Assign at ``key``. Numbers are passed on unconverted: NumPy refuses those that the dtype cannot hold."""
        if not getattr(self._data.flags, "writeable", True):
            raise RuntimeError(
                f"{op}: this tensor's memory cannot be written to: it is expanded, or shared with an array that is "
                "read-only; change a copy, made with .clone()"
            )
        if isinstance(value, Tensor):
            value = value.data
        if type(value) not in WEAK:
            value = devices.beside(value, self._data)
        try:
            if observers or tracers:
                record(assign, (self, value), {"key": key})
            else:  # the same in a third of the time
                assign.forward(self._data, value, key=key)
                self._version[0] = tick()
        except (OverflowError, ValueError) as error:
            text = f"{op}: cannot assign to a tensor of {self.dtype} {self.shape}: {error.__cause__ or error}"
            raise type(error)(text) from None

    def fill_(self, value: float) -> Self:
        """Set every element; not recorded."""
        self._refuse_recorded("fill_", value)
        self._write("fill_", ..., value)
        return self

    def zero_(self) -> Self:
        """Set every element to 0; not recorded."""
        return self.copy_(0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse_recorded("assignment to an element", value)
        key = plain_index(key)
        if type(self._data) in DEVICE_ARRAYS:
            devices.refuse_outside("assignment to an element", self.shape, key)
        self._write("assignment to an element", key, value)

    # --- operators -------------------------------------------------------------------------------------------------

    __add__ = __radd__ = _with_other(ops.add)
    __sub__, __rsub__ = _with_other(ops.subtract), _reflected(ops.subtract)
    __mul__ = __rmul__ = _with_other(ops.multiply)
    __truediv__, __rtruediv__ = _with_other(ops.divide), _reflected(ops.divide)
    __floordiv__, __rfloordiv__ = _with_other(ops.floor_divide), _reflected(ops.floor_divide)
    __mod__, __rmod__ = _with_other(ops.remainder), _reflected(ops.remainder)
    __pow__, __rpow__ = _with_other(ops.power), _reflected(ops.power)
    __matmul__, __rmatmul__ = _with_other(ops.matmul), _reflected(ops.matmul)
    __and__ = __rand__ = _logical(ops.logical_and, "&")
    __or__ = __ror__ = _logical(ops.logical_or, "|")
    __xor__ = __rxor__ = _logical(ops.logical_xor, "^")

    __neg__ = _method(ops.negative)
    __pos__ = _method(ops.clone)
    __abs__ = _method(ops.abs)

    def __invert__(self) -> Tensor:
        return ops.logical_not(bool_only("~", self))

    __eq__, __ne__ = _equality(ops.equal), _equality(ops.not_equal)  # type: ignore[assignment]  # of elements, as in NumPy
    __lt__, __le__ = _with_other(ops.less), _with_other(ops.less_equal)
    __gt__, __ge__ = _with_other(ops.greater), _with_other(ops.greater_equal)
    __hash__ = object.__hash__

    __iadd__ = _augmented(ops.add, "+=")
    __isub__ = _augmented(ops.subtract, "-=")
    __imul__ = _augmented(ops.multiply, "*=")
    __itruediv__ = _augmented(ops.divide, "/=")
    __ifloordiv__ = _augmented(ops.floor_divide, "//=")
    __imod__ = _augmented(ops.remainder, "%=")
    __ipow__ = _augmented(ops.power, "**=")
    __iand__ = _augmented(ops.logical_and, "&=")
    __ior__ = _augmented(ops.logical_or, "|=")
    __ixor__ = _augmented(ops.logical_xor, "^=")

    def __getitem__(self, key: Any) -> Tensor:
        return record(getitem, (self,), {"key": plain_index(key)})

    # --- methods: where an ``axis`` may be None, None means all axes -----------------------------------------------

    exp, expm1, log, log1p = _method(ops.exp), _method(ops.expm1), _method(ops.log), _method(ops.log1p)
    sqrt, sin, cos, abs = _method(ops.sqrt), _method(ops.sin), _method(ops.cos), _method(ops.abs)
    sign, floor, ceil, round = _method(ops.sign), _method(ops.floor), _method(ops.ceil), _method(ops.round)
    isnan, isinf, isfinite = _method(ops.isnan), _method(ops.isinf), _method(ops.isfinite)
    maximum, minimum = _with_other(ops.maximum), _with_other(ops.minimum)
    clone = _method(ops.clone)

    tanh, sigmoid, relu, silu = _method(ops.tanh), _method(ops.sigmoid), _method(ops.relu), _method(ops.silu)
    softplus, leaky_relu, elu = _method(ops.softplus), _method(ops.leaky_relu), _method(ops.elu)
    gelu, softmax, log_softmax = _method(ops.gelu), _method(ops.softmax), _method(ops.log_softmax)

    sum, mean, prod, cumsum = _method(ops.sum), _method(ops.mean), _method(ops.prod), _method(ops.cumsum)
    max, min, argmax, argmin = _method(ops.max), _method(ops.min), _method(ops.argmax), _method(ops.argmin)
    var, std, norm, logsumexp = _method(ops.var), _method(ops.std), _method(ops.norm), _method(ops.logsumexp)
    any, all = _method(ops.any), _method(ops.all)

    matmul, dot, outer = _with_other(ops.matmul), _with_other(ops.dot), _with_other(ops.outer)
    squeeze, unsqueeze, flip, pad = _method(ops.squeeze), _method(ops.unsqueeze), _method(ops.flip), _method(ops.pad)

    def pow(self, exponent: Any) -> Tensor:
        """Each element to the power ``exponent``, a number or a tensor."""
        return ops.power(self, exponent)

    @named_arguments
    def clip(self, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
        """Limit to the range from ``low`` to ``high``: numbers, tensors or None. At a bound the gradient passes.

        ``min`` and ``max`` are PyTorch's names of the same bounds.
        """
        for ours, theirs in ((low, min), (high, max)):
            if ours is not None and theirs is not None:
                raise TypeError("clip: a bound is given twice; low and min mean the same, as do high and max")
        return ops.clip(self, low if min is None else min, high if max is None else max)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """``value`` where ``mask`` is true, else the element itself."""
        return ops.where(bool_only("masked_fill", mask), value, self)

    @named_arguments
    def take(self, indices: Any, axis: int | None = None) -> Tensor:
        """The slices at ``indices`` along ``axis``; elements of the flattened tensor by default."""
        return ops.take(self, indices, axis=axis)

    @named_arguments
    def gather(self, axis: int, indices: Any) -> Tensor:
        """out[i, j] = x[indices[i, j], j] for axis 0, and so on, as ``torch.gather``."""
        return ops.gather(self, indices, axis=axis)

    def reshape(self, *sizes: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, shape=_numbers(sizes))

    view = reshape

    @named_arguments
    def flatten(self, start: int = 0, end: int = -1) -> Tensor:
        """The axes from ``start`` to ``end``, both included, as one."""
        if not self.ndim:
            return ops.reshape(self, shape=(1,))
        first, last = (a + self.ndim if a < 0 else a for a in (start, end))
        if not 0 <= first <= last < self.ndim:
            raise ValueError(f"flatten: no axes from {start} to {end} in shape {self.shape}")
        return ops.reshape(
            self, shape=(*self.shape[:first], math.prod(self.shape[first : last + 1]), *self.shape[last + 1 :])
        )

    @named_arguments
    def transpose(self, axis0: int, axis1: int) -> Tensor:
        """Two axes exchanged."""
        return ops.transpose(self, axis0=axis0, axis1=axis1)

    def permute(self, *axes: Any) -> Tensor:
        """The axes in another order."""
        return ops.permute(self, axes=_numbers(axes))

    @property
    def T(self) -> Tensor:  # noqa: N802 - named as in PyTorch and NumPy
        """The axes in reverse order."""
        return ops.permute(self, axes=tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:  # noqa: N802 - named as in PyTorch and NumPy
        """The last two axes exchanged."""
        return ops.transpose(self, axis0=-2, axis1=-1)

    def expand(self, *sizes: Any) -> Tensor:
        """Repeat axes of size 1, or new first axes, without copying; -1 keeps a size."""
        sizes = _numbers(sizes)
        new = len(sizes) - self.ndim
        shape = tuple(self.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(sizes))
        return ops.expand(self, shape=shape)

    @named_arguments
    def split(self, sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        """Cut along ``axis`` into parts of the given sizes, or of one size (the last part may be smaller)."""
        return ops.split(self, sizes, axis)

    # --- conversions; last, as they hide Python's types of their names from annotations ------------------------------

    @named_arguments
    def to(self, *to: Any, device: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
        """On a device, ``"cpu"`` or ``"cuda"``, as a dtype, or both; ``to(other)`` uses another tensor's.

        The tensor itself if nothing changes. A copy is recorded: the gradient comes back to this device.

        >>> x.to("cuda")  # doctest: +SKIP
        >>> minigrad.ones(2).to(np.float64)
        tensor([1., 1.], dtype=float64)

        Raises:
            minigrad.devices.cuda.DeviceError: if no GPU can be used; the text has the reason.
        """
        wanted, kind = devices.target("to", to, device, dtype)
        moved = self if kind is None else self.astype(kind)
        return moved if wanted in (None, moved.device) else to_device(moved, device=wanted, source=moved.device)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """On the GPU."""
        return self.to("cuda")

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """The elements as another type; itself if they have that type. Gradients are cast back."""
        wanted = np.dtype(dtype)
        if wanted.kind not in "fiub" or wanted in (np.float16, np.longdouble):
            raise TypeError(f"astype: no tensor can hold {wanted}; supported are float32, float64, integers and bool")
        return self if wanted == self.dtype else ops.astype(self, dtype=wanted)

    def float(self) -> Tensor:
        """As float32."""
        return self.astype(np.float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.astype(np.float64)

    def int(self) -> Tensor:
        """As int32, truncated toward zero."""
        return self.astype(np.int32)

    def long(self) -> Tensor:
        """As int64, truncated toward zero."""
        return self.astype(np.int64)

    def bool(self) -> Tensor:
        """True where not zero."""
        return self.astype(np.bool_)


def _numbers(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(numbers[0]) if len(numbers) == 1 and isinstance(numbers[0], tuple | list) else numbers


def plain_index(key: Any) -> Any:
    """An index as NumPy takes it, with copies of arrays: they may change before the gradient is computed."""
    if type(key) is int or type(key) is slice:  # the most frequent kinds
        return key
    if isinstance(key, tuple):
        return tuple(plain_index(k) for k in key)
    if isinstance(key, Tensor):
        return plain_index(key.data)
    if devices.is_array(key):
        if key.dtype.kind not in "iub":
            raise TypeError(f"indexing: an index must be integer or bool, not {key.dtype}; convert it with .long()")
        return key.copy()
    return as_indices(key) if isinstance(key, list) else key


class _Counter:
    """The version counter of tensors that share memory, while they are copied: the copy starts from 0, shared too."""

    def __init__(self, version: list[int] | None = None) -> None:
        self.version = [0] if version is None else version

    def __reduce__(self) -> tuple[Any, ...]:
        return _Counter, ()


# The counters in pickles and copies that are being made, which keep them alive.
_counters: weakref.WeakValueDictionary[int, _Counter] = weakref.WeakValueDictionary()


def _leaf(kind: type[T], array: Array) -> T:
    """A leaf around an array; the rest of its state is set next."""
    self = kind.__new__(kind)
    Tensor.__init__(self, array)
    return self


# --- making tensors --------------------------------------------------------------------------------------------------


@named_arguments
def tensor(
    data: Any, dtype: npt.DTypeLike | None = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of ``data``.

    Args:
        data: numbers, nested lists, an array or a tensor.
        dtype: float32, float64, an integer type or bool. By default that of an array; Python's floats become
            float32 and its integers int64.
        device: ``"cpu"`` or ``"cuda"``; by default where ``data`` is.
        requires_grad: whether gradients with respect to this tensor are wanted.

    >>> tensor([[1.0, 2.0], [3.0, 4.0]]).sum(axis=0)
    tensor([4., 6.])
    """
    array = as_array(data, dtype)
    target = devices.device_of(array) if device is None else devices.as_device(device)
    copy = devices.own(array) if devices.device_of(array) == target else devices.to_device(array, target)
    return Tensor(copy, requires_grad=requires_grad)


def edge_of(tensor: Tensor) -> Edge:
    """The place in the graph whose gradient is this tensor's: its node, or for a leaf the tensor itself."""
    return tensor if tensor._node is None else tensor._node


# --- differentiating -------------------------------------------------------------------------------------------------


def seed_gradient(op: str, output: Tensor, gradient: Any, traced: bool) -> Any:
    """The gradient that a walk starts with at ``output``: checked, as a tensor if the walk is recorded."""
    if gradient is None:
        if output._data.size != 1:
            raise RuntimeError(
                f"{op}: a tensor of shape {output.shape} needs a gradient of that shape; pass one, or reduce it to a "
                "single number first, for instance with .sum() or .mean()"
            )
        if output.shape or traced or type(output._data) is not np.ndarray:
            array = devices.namespace(output).ones(output.shape, output.dtype)
        else:
            array = output.dtype.type(1)
        return Tensor._make(array) if traced else array
    if isinstance(gradient, Tensor) and gradient.device != output.device:
        raise ValueError(f"{op}: the gradient is on {gradient.device}, the output on {output.device}; move one of them")
    given = gradient.data if isinstance(gradient, Tensor) else devices.to_device(as_array(gradient), output.device)
    array = devices.namespace(output).asarray(given).astype(output.dtype, copy=False)
    if array.shape != output.shape:
        raise ValueError(f"{op}: the gradient has shape {array.shape}, the output {output.shape}; they must be equal")
    if traced:
        return gradient if isinstance(gradient, Tensor) and gradient.dtype == output.dtype else Tensor._make(array)
    return array


def differentiate(
    seeds: list[tuple[Edge, Any]], wanted: set[Edge] | None, retain: bool, traced: bool
) -> dict[Edge, Any]:
    """`minigrad.autograd.graph.walk` with tensors: on arrays, or recorded (``traced``) on tensors."""
    if not traced:
        return walk(seeds, wanted, retain, None, _run_hooks)
    with enable_grad():
        return walk(seeds, wanted, retain, _with_history, _run_hooks)


def _with_history(value: Any, edge: Edge, version: Version) -> Any:
    if version is NO_VERSION:  # an array in place of a tensor decides the dtype of what rules compute, as one would
        return Tensor._make(value) if devices.is_array(value) else value
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor._make(value, edge)
    tensor._version = version
    return tensor


def _run_hooks(place: Edge, g: Any) -> Any:
    """Run the hooks of a node or leaf in the order of registration."""
    traced = isinstance(g, Tensor)
    # A copy, since a hook may change it in place, while others may have been given the same array.
    given = g if traced else Tensor._make(devices.own(g))
    for key, hook in tuple(place._hooks.items()):
        replaced = None if key == RETAIN else hook(given)
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor) or replaced.shape != place.shape or replaced.dtype != place.dtype:
            raise ValueError(
                f"a hook must return None or a gradient of {place.dtype} {place.shape}, not {_kind(replaced)}"
            )
        given = replaced
    return given if traced else given._data


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, Tensor) else type(value).__name__
