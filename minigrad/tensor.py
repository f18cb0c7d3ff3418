"""Tensor: an array, maybe a gradient, maybe the node that made it. Recording happens here."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from . import devices
from .arguments import named_arguments
from .array_like import ArrayLike
from .arrays import DEFAULT_DTYPE, Array, as_array
from .devices import DEVICE_ARRAYS
from .gpu import translated
from .graph import NO_VERSION, RETAIN, Edge, Node, tick, walk
from .hooks import Hooks, RemovableHandle
from .methods import plain_index
from .modes import enable_grad, is_grad_enabled, mode
from .observers import observers, watching
from .ops.primitive import ALL_SHAPES, ALL_VALUES, Primitive, Recipe
from .promotion import completed, explained, promote

T = TypeVar("T", bound="Tensor")

# Numbers that take the dtype of the tensors they meet.
_WEAK = (float, int)


class Tensor(ArrayLike):
    """A multi-dimensional array that can record what is computed from it.

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
        "_grad_given",
        "_grad_view",
        "_hooks",
        "_node",
        "_requires_grad",
        "_version",
    )

    # NumPy leaves ``array + tensor`` to the tensor.
    __array_ufunc__ = None

    def __init__(self, data: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> None:
        self._data = as_array(data, dtype)
        self._grad: Tensor | None = None
        self._grad_view: Array | None = None  # where a ParameterStore wants the gradient
        self._grad_given: weakref.ref[Tensor] | None = None  # the last tensor that stood there
        self._hooks: Hooks | None = None
        self._node: Node | None = None
        self._requires_grad = False
        self._version = [0]
        if requires_grad:
            self.requires_grad = True

    @staticmethod
    def _make(data: Array, node: Node | None = None) -> Tensor:
        """A tensor around ``data``, which must be an array; the fast way that every operation takes."""
        self = Tensor.__new__(Tensor)
        self._data = data
        self._grad = None
        self._grad_view = None
        self._grad_given = None
        self._hooks = None
        self._node = node
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
            self._data[...] = array
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
        version = _counters.setdefault(id(self._version), _Counter(self._version))
        return attributes, slots | {"_grad": grad, "_grad_view": None, "_grad_given": None, "_version": version}

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        attributes, slots = state
        for name, value in (slots | {"_version": slots["_version"].version}).items():
            setattr(self, name, value)
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
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: must be a Tensor or None, not {type(value).__name__}")
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(
                    f"grad: {value.dtype} {value.shape} is no gradient for a tensor of {self.dtype} {self.shape}"
                )
            if value.device != self.device:
                raise ValueError(f"grad: a gradient on {value.device} is none for a tensor on {self.device}")
        self._grad = value

    def _accumulate(self, g: Any) -> None:
        """Add ``g``, an array or (when the walk is recorded) a tensor, to the gradient of this leaf."""
        if isinstance(g, Tensor):
            self._grad = g.clone() if self._grad is None else self._grad + g
        elif self._grad is None:
            view = self._grad_view
            if view is None:
                self._grad = Tensor._make(devices.own(g))
            else:
                self._grad = self._stand_in(view)
                view[...] = g
        else:
            earlier = self._grad
            if earlier._node is not None:
                self._grad = Tensor._make(devices.settled(earlier._data + g))
            else:
                np.add(earlier._data, g, out=earlier._data)
                earlier._version[0] = tick()

    def _stand_in(self, view: Array) -> Tensor:
        """A tensor around the gradient's place in the store. An earlier one that somebody has kept keeps its values."""
        kept = None if self._grad_given is None else self._grad_given()
        if kept is not None and kept._data is view:
            kept._data = view.copy()
        tensor = Tensor._make(view)
        self._grad_given = weakref.ref(tensor)
        return tensor

    def _bind(self, data: Array, grad_view: Array) -> None:
        """Move into a `ParameterStore`: the values into ``data``, gradients from now on into ``grad_view``."""
        data[...] = self._data
        self._data = data
        self._grad_view = grad_view
        if self._grad is not None and self._grad._node is None:
            earlier = self._grad._data
            self._grad = self._stand_in(grad_view)
            grad_view[...] = earlier

    def detach(self) -> Tensor:
        """The same array without history: no gradient flows through the result. Shares memory."""
        new = Tensor._make(self._data)
        new._version = self._version
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
        """``self op= other``: in place where nothing is recorded; on a recorded result, a new tensor."""
        if self._node is not None and is_grad_enabled():
            return primitive(self, other)
        self._refuse_recorded(op, other, instead=f"total = total {op[:-1]} other in place of total {op} other")
        result = primitive(self, other)
        if not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"{op}: the result is {result.dtype}, which a tensor of {self.dtype} cannot hold; compute a new "
                f"tensor, as in x = x {op[:-1]} other, or convert this one first with .float()"
            )
        return self.copy_(result)

    def copy_(self, source: Any) -> Self:
        """Copy values in, from any device, broadcast to this shape; not recorded."""
        self._refuse_recorded("copy_", source)
        self._data[...] = devices.beside(source._data if isinstance(source, Tensor) else source, self._data)
        self._version[0] = tick()
        return self

    def fill_(self, value: float) -> Self:
        """Set every element; not recorded."""
        return self.copy_(value)

    def zero_(self) -> Self:
        """Set every element to 0; not recorded."""
        return self.copy_(0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse_recorded("assignment to an element", value)
        key = plain_index(key)
        if type(self._data) in DEVICE_ARRAYS:
            devices.refuse_outside("assignment to an element", self.shape, key)
        self._data[key] = devices.beside(value._data if isinstance(value, Tensor) else value, self._data)
        self._version[0] = tick()


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
    result = Tensor._make(out)
    if required and mode.enabled and primitive.differentiable and out.dtype.kind in "fc":
        recipe = primitive.recipe(len(arrays), required)
        if recipe.needs_settings:
            settings = {**primitive.defaults, **settings}
        saved, versions = _saved(recipe, args, arrays, result, extras)
        result._node = Node(primitive, recipe, settings, edges, saved, versions, out)
        result._requires_grad = True
    if primitive.view and out.base is not None and isinstance(args[0], Tensor):
        result._version = args[0]._version
    if observers:
        for observer in watching():
            observer.computed(primitive, args, arrays, result)
    return result


def _saved(
    recipe: Recipe, args: tuple[Any, ...], arrays: list[Any], result: Tensor, extras: Sequence[Any]
) -> tuple[list[Any], list[list[int]]]:
    """The values that the gradient rules asked for, and the cells that tell when they change."""
    arity = recipe.arity
    saved: list[Any] = []
    versions: list[list[int]] = []
    for source in recipe.sources:
        if 0 <= source < arity:
            saved.append(arrays[source])
            arg = args[source]
            versions.append(arg._version if isinstance(arg, Tensor) else NO_VERSION)
        elif source == arity:
            saved.append(result._data)
            versions.append(result._version)
        elif source > 2 * arity:
            saved.append(extras[source - 2 * arity - 1])
        elif source > arity:
            saved.append(np.shape(arrays[source - arity - 1]))
        elif source == ALL_VALUES:
            saved.append(tuple(arrays))
            versions.extend(arg._version if isinstance(arg, Tensor) else NO_VERSION for arg in args)
        else:
            assert source == ALL_SHAPES
            saved.append(tuple(np.shape(array) for array in arrays))
    return saved, versions


# --- differentiating -------------------------------------------------------------------------------------------------


def seed_gradient(op: str, output: Tensor, gradient: Any, traced: bool) -> Any:
    """The gradient that a walk starts with at ``output``: checked, as a tensor if the walk is recorded."""
    if gradient is None:
        if output.size != 1:
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
    """`minigrad.graph.walk` with tensors: on arrays, or recorded (``traced``) on tensors."""
    if not traced:
        return walk(seeds, wanted, retain, None, _run_hooks)
    with enable_grad():
        return walk(seeds, wanted, retain, _with_history, _run_hooks)


def _with_history(value: Any, edge: Edge, version: list[int]) -> Any:
    if isinstance(edge, Tensor) or version is NO_VERSION:
        return value if edge is None else edge
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
