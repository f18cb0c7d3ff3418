"""Tensor: an array, maybe a gradient, maybe the node that made it. Recording happens here."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from sys import getrefcount
from types import EllipsisType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from .. import devices
from ..checks import named_arguments
from ..devices.arrays import DEVICE_ARRAYS
from ..devices.cuda import translated
from ..ops.indexing import assign
from ..ops.primitive import ALL_SHAPES, ALL_VALUES, Primitive, Recipe
from .array_like import ArrayLike
from .as_array import DEFAULT_DTYPE, Array, as_array
from .graph import NO_VERSION, RETAIN, Edge, Node, Version, tick, walk
from .hooks import Hooks, RemovableHandle
from .memory import UNSHARED, Place
from .methods import plain_index
from .modes import enable_grad, is_grad_enabled, mode
from .observers import observers, watching
from .promotion import completed, explained, promote

T = TypeVar("T", bound="Tensor")

# Numbers that take the dtype of the tensors they meet.
_WEAK = (float, int)


class Tensor(ArrayLike):
    """A multi-dimensional array that can record what is computed from it.

    Numbers, lists and NumPy arrays that meet a tensor of float32 or float64 adopt its dtype, on either side of an
    operator; tensors of the two do not mix (`minigrad.autograd.promotion` has the whole rule). Views, ``detach()``,
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
            _share_version(data, self)
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

    def apply_primitive(self, primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]) -> Tensor:
        """Record ``primitive``; called by the primitive itself."""
        return record(primitive, args, settings)

    # --- the array -----------------------------------------------------------------------------------------------

    @property
    def data(self) -> Array:
        """The array itself, without history. Assigning copies the values in, from any device; the shape must fit."""
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

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        text = np.array2string(devices.to_host(self._data), separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (DEFAULT_DTYPE, np.int64, np.bool_) else f", dtype={self.dtype}"
        dtype += "" if self.device == "cpu" else f", device={self.device!r}"
        if self._node is not None:
            return f"tensor({text}{dtype}, made by {self._node.primitive.name})"
        return f"tensor({text}{dtype}{', requires_grad=True' if self._requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    # --- copies: `copy.copy`, `copy.deepcopy` and `pickle` ---------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self._node is not None:
            raise RuntimeError(
                f"copy or pickle: only a leaf tensor can be copied, but this one was made by "
                f"{self._node.primitive.name}; use .detach() first"
            )
        # The array goes first: whatever is met on the way to the rest of the state can use the tensor already.
        return _leaf, (type(self), self._data), self.__getstate__()

    def __getstate__(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """All attributes, also those of subclasses, but the place in a `ParameterStore`, which is not copied."""
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
        new = Tensor._make(self._data)
        _share_version(self, new)
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
            raise RuntimeError("register_hook: this tensor requires no gradient, so none will arrive")
        if not callable(hook):
            raise TypeError(f"register_hook: needs a function, not {type(hook).__name__}")
        place: Any = self if self._node is None else self._node
        if place._hooks is None:
            place._hooks = Hooks()
        return RemovableHandle(place._hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its ``grad`` too."""
        if not self._requires_grad:
            raise RuntimeError("retain_grad: this tensor requires no gradient, so none will arrive")
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
        """``self op= other``: in place where nothing is recorded; otherwise this tensor becomes the result.

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
        # A node that saved the memory refers to its version too, so more references are those of arrays.
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
        """Assign at ``key``; numbers as they are, since NumPy refuses those that the dtype cannot hold."""
        if not getattr(self._data.flags, "writeable", True):
            raise RuntimeError(
                f"{op}: this tensor's memory cannot be written to: it is expanded, or shared with an array that is "
                "read-only; change a copy, made with .clone()"
            )
        if isinstance(value, Tensor):
            value = value._data
        if type(value) not in _WEAK:
            value = devices.beside(value, self._data)
        try:
            assign(self, value, key=key)
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


class _Counter:
    """The version counter of tensors that share memory, on its way: a copy counts anew, and is shared as well."""

    def __init__(self, version: list[int] | None = None) -> None:
        self.version = [0] if version is None else version

    def __reduce__(self) -> tuple[Any, ...]:
        return _Counter, ()


# Those of the pickles and copies that are being made, which keep them alive.
_counters: weakref.WeakValueDictionary[int, _Counter] = weakref.WeakValueDictionary()


def _leaf(kind: type[T], array: Array) -> T:
    """A leaf around an array, whose further state is set next."""
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


# --- recording -------------------------------------------------------------------------------------------------------


def edge_of(tensor: Tensor) -> Edge:
    """The place in the graph whose gradient is this tensor's: its node, or for a leaf the tensor itself."""
    return tensor if tensor._node is None else tensor._node


# Types of settings that cannot be changed in place.
_UNCHANGING = {int, float, bool, str, slice, EllipsisType, type(None)}

# The highest reference count of an array that only a name refers to, while it is looked at.
_NEW = 2

# One for all nodes that have none: in a long graph, every container is one more for the garbage collector to visit.
_NO_SETTINGS: dict[str, Any] = {}


def record(primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]) -> Tensor:
    """Compute a primitive on tensors, and make the node that its gradient needs."""
    if len(args) != primitive.arity:
        args = completed(primitive, args)
    arrays: list[Any] = []
    edges: list[Edge] = []
    required, bit, dtype, uniform = 0, 1, None, True
    for arg in args:
        edge = None
        if isinstance(arg, Tensor):
            data = arg._data
            if arg._requires_grad:
                required |= bit
                edge = arg._node or arg
            if data.dtype is not dtype and not (data.dtype.kind in "iub" and primitive.is_discrete(len(arrays))):
                uniform = uniform and dtype is None
                dtype = data.dtype
            arrays.append(data)
        else:
            if arg is not None and (type(arg) not in _WEAK or primitive.variadic or primitive.is_discrete(len(arrays))):
                uniform = False
            arrays.append(arg)
        edges.append(edge)
        bit += bit
    try:
        if not uniform or dtype is None or dtype.kind != "f":
            arrays = promote(primitive, args, arrays)
        out = primitive.forward(*arrays, **settings)
        extras: Sequence[Any] = ()
        if primitive.extras:
            out, *extras = out
    except (TypeError, ValueError, IndexError) as error:
        raise explained(primitive, arrays, settings, error) from error
    except Exception as error:
        raise translated(error, primitive.name) from error
    if type(out) is not np.ndarray:
        if type(out) in DEVICE_ARRAYS:
            devices.refuse_mixed(primitive.name, arrays)  # what CuPy lets pass, such as labels on the CPU
        else:
            out = np.asarray(out)
    # An array of its own has no base, and nothing else refers to it.
    shared = out.base is not None or getrefcount(out) > _NEW
    result = Tensor._make(out)
    if shared:
        source = args[0] if out.base is arrays[0] else _memory_of(out, args, arrays)
        if isinstance(source, Tensor):
            if primitive.in_place:
                source._version[0] = tick()
                result = source
            else:
                _share_version(source, result)
    if required and mode.enabled and primitive.differentiable and out.dtype.kind in "fc":
        recipe = primitive.recipe(len(arrays), required)
        if recipe.settings:
            settings = {**primitive.defaults, **settings}
            for name in recipe.settings:
                value = settings[name]
                if type(value) not in _UNCHANGING:
                    settings[name] = _kept(value)
        saved, versions = _saved(recipe, args, arrays, result, extras)
        result._node = Node(primitive, recipe, settings, edges, saved, versions, out)
        result._requires_grad = True
    if observers:
        for observer in watching():
            observer.computed(primitive, args, arrays, settings, result)
    return result


def _memory_of(array: Any, values: Sequence[Any], arrays: Sequence[Any]) -> Any:
    """The one among ``values``, tensors and arrays, whose memory an array shares; ``arrays`` are their arrays."""
    base = array.base
    for value, own in zip(values, arrays, strict=True):
        if own is array or (base is not None and (base is own or base is getattr(own, "base", array))):
            return value
        if base is not None and type(array) is type(own) is np.ndarray and np.may_share_memory(array, own):
            return value
    return None


def _share_version(source: Tensor, result: Tensor) -> None:
    """Let a change in place of either be seen as a change of both, and each know of the other while it exists."""
    version = result._version = source._version
    if len(version) == 1:
        version.append(weakref.ref(source))
    elif not len(version) & (len(version) - 1):  # now and then, so that many views of one tensor cost little
        version[1:] = [other for other in version[1:] if other() is not None]
    version.append(weakref.ref(result))


def _kept(value: Any) -> Any:
    """A value that a gradient rule needs later and that has no version, so that nobody else can change it."""
    if type(value) is tuple:
        for item in value:
            if type(item) not in _UNCHANGING:
                return tuple(map(_kept, value))
        return value
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return devices.own(value) if devices.is_array(value) else value


def _saved(
    recipe: Recipe, args: tuple[Any, ...], arrays: list[Any], result: Tensor, extras: Sequence[Any]
) -> tuple[list[Any], list[Version]]:
    """The values that the gradient rules asked for, and the cells that tell when they change.

    An array that is not a tensor's has no such cell, so what is saved of it is a copy.
    """
    arity = recipe.arity
    saved: list[Any] = []
    versions: list[Version] = []
    shared: list[Version] = []
    for source in recipe.sources:
        if 0 <= source < arity:
            value, arg = arrays[source], args[source]
            if isinstance(arg, Tensor) and value is arg._data:
                versions.append(arg._version)
            else:
                versions.append(NO_VERSION)
                value = _kept(value) if value is arg else value
            saved.append(value)
        elif source == arity:
            saved.append(result._data)
            versions.append(result._version)
        elif source > 2 * arity:
            extra = extras[source - 2 * arity - 1]
            if type(extra) is not float and (
                type(extra) is not np.ndarray or extra.base is not None or _is_one_of(extra, arrays)
            ):
                extra = _kept_extra(extra, (result, *args), (result._data, *arrays), shared)
            saved.append(extra)
        elif source > arity:
            saved.append(np.shape(arrays[source - arity - 1]))
        elif source == ALL_VALUES:
            pairs = list(zip(arrays, args, strict=True))
            saved.append(tuple(_kept(value) if value is arg else value for value, arg in pairs))
            versions += [
                arg._version if isinstance(arg, Tensor) and value is arg._data else NO_VERSION for value, arg in pairs
            ]
        else:
            assert source == ALL_SHAPES
            saved.append(tuple(np.shape(array) for array in arrays))
    versions += shared
    return saved, versions


def _is_one_of(array: Any, arrays: Sequence[Any]) -> bool:
    for other in arrays:  # noqa: SIM110 - a generator would take three times as long
        if other is array:
            return True
    return False


def _kept_extra(extra: Any, values: Sequence[Any], arrays: Sequence[Any], versions: list[Version]) -> Any:
    """An extra, or the arrays in a tuple, as it is saved; the cells of tensors whose memory it shares are added."""
    if type(extra) is tuple:
        return tuple([_kept_extra(one, values, arrays, versions) for one in extra])
    source = _memory_of(extra, values, arrays) if devices.is_array(extra) else None
    if isinstance(source, Tensor):
        versions.append(source._version)
        return extra
    return extra if source is None else devices.own(extra)


# --- differentiating -------------------------------------------------------------------------------------------------


def seed_gradient(op: str, output: Tensor, gradient: Any, traced: bool) -> Any:
    """The gradient that a walk starts with at ``output``: checked, as a tensor if the walk is recorded."""
    if gradient is None:
        if output._data.size != 1:
            raise RuntimeError(
                f"{op}: a tensor of shape {output.shape} needs a gradient of that shape; pass one, or reduce it to a "
                "single number first, for instance with .sum() or .mean()"
            )
        if output.shape or traced or output.device != "cpu":
            array = devices.namespace(output).ones(output.shape, output.dtype)
        else:
            array = output.dtype.type(1)
        return Tensor._make(array) if traced else array
    if isinstance(gradient, Tensor) and gradient.device != output.device:
        raise ValueError(f"{op}: the gradient is on {gradient.device}, the output on {output.device}; move one of them")
    given = gradient._data if isinstance(gradient, Tensor) else devices.to_device(as_array(gradient), output.device)
    array = given.astype(output.dtype, copy=False)
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
