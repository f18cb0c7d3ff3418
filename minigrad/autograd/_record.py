"""Recording: computes a primitive on tensors, and makes the node that its gradient needs.

A tensor is known here by its attributes only (``_data``, ``_node``, ``_version``, ``_requires_grad``) and by ``_make``,
which makes another one; the class is in `minigrad.autograd.tensor`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from sys import getrefcount
from types import EllipsisType
from typing import Any

import numpy as np

from .. import devices
from ..devices.arrays import DEVICE_ARRAYS, RECORDING
from ..devices.cuda import translated
from ..ops.primitive import ALL_SHAPES, ALL_VALUES, Primitive, Recipe, Traced
from ._promotion import completed, explained, promote
from .graph import NO_VERSION, Edge, Node, Version, tick
from .modes import mode
from .observers import observers, watching
from .tracing import tracer, tracers

# Numbers that take the dtype of the tensors they meet.
WEAK = (float, int)

# Shared by all nodes without settings: each container in a long graph is one more for the garbage collector.
NO_SETTINGS: dict[str, Any] = {}

# Types of settings that cannot be changed in place.
_UNCHANGING = {int, float, bool, str, slice, EllipsisType, type(None)}

# The highest reference count of an array that only a name refers to, while it is looked at.
_NEW = 2


def record(primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Compute a primitive on ``args``, at least one of which is a tensor; and record it if one requires a gradient.

    Returns:
        A tensor.

    Raises:
        TypeError, ValueError, IndexError: if the inputs do not fit; the text names the op, the inputs and the remedy.
        DeviceError: if the GPU fails.
    """
    if tracers:
        args = tracer().computing(args)
    if len(args) != primitive.arity:
        args = completed(primitive, args)
    arrays: list[Any] = []
    edges: list[Edge] = []
    tensor: Any = None
    required, bit, dtype, uniform = 0, 1, None, True
    for arg in args:
        edge = None
        if isinstance(arg, Traced):
            tensor = arg
            data = tensor._data
            if tensor._requires_grad:
                required |= bit
                edge = tensor._node or tensor
            kind = data.dtype
            if kind is not dtype and not (kind.kind in "iub" and primitive.is_discrete(len(arrays))):
                uniform = uniform and dtype is None
                dtype = kind
            arrays.append(data)
        else:
            if arg is not None and (type(arg) not in WEAK or primitive.variadic or primitive.is_discrete(len(arrays))):
                uniform = False
            arrays.append(arg)
        edges.append(edge)
        bit += bit
    try:
        if not uniform or dtype is None or dtype.kind != "f":
            arrays = promote(primitive, args, arrays)
        out = primitive.forward(*arrays, **settings) if settings else primitive.forward(*arrays)
        extras: Sequence[Any] = ()
        if primitive.extras:
            out, *extras = out
    except (TypeError, ValueError, IndexError) as error:
        raise explained(primitive, arrays, settings, error) from error
    except Exception as error:
        raise translated(error, primitive.name) from error
    if type(out) is not np.ndarray:
        if type(out) in DEVICE_ARRAYS:
            devices.refuse_mixed(primitive.name, arrays)  # CuPy accepts some mixtures, such as labels on the CPU
        elif type(out) not in RECORDING:
            out = np.asarray(out)
    # A new array has no base, and nothing else refers to it.
    shared = out.base is not None or getrefcount(out) > _NEW
    result = tensor._make(out)
    if shared:
        source: Any = args[0] if out.base is arrays[0] else _memory_of(out, args, arrays)
        if isinstance(source, Traced):
            if primitive.in_place:
                result = tensor = source
                tensor._version[0] = tick()
            else:
                share_version(source, result)
    if required and mode.enabled and primitive.differentiable and out.dtype.kind in "fc":
        # Looked up here, as the call of a method would take longer than the look-up.
        recipe = primitive.recipes.get((len(arrays), required)) or primitive.recipe(len(arrays), required)
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


def share_version(source: Any, result: Any) -> None:
    """Count a change in place of either tensor as a change of both, and let each know of the other while it exists."""
    version = result._version = source._version
    if len(version) == 1:
        version.append(weakref.ref(source))
    elif not len(version) & (len(version) - 1):  # rarely, so that many views of one tensor cost little
        version[1:] = [other for other in version[1:] if other() is not None]
    version.append(weakref.ref(result))


def _memory_of(array: Any, values: Sequence[Any], arrays: Sequence[Any]) -> Any:
    """The one among ``values``, tensors and arrays, whose memory an array shares; ``arrays`` are their arrays."""
    base = array.base
    for value, own in zip(values, arrays, strict=True):
        if own is array or (base is not None and (base is own or base is getattr(own, "base", array))):
            return value
        if base is not None and type(array) is type(own) is np.ndarray and np.may_share_memory(array, own):
            return value
    return None


# --- saved values --------------------------------------------------------------------------------------------------


def _saved(
    recipe: Recipe, args: tuple[Any, ...], arrays: list[Any], result: Any, extras: Sequence[Any]
) -> tuple[list[Any], list[Version]]:
    """The values that the gradient rules asked for, and the version cells that show when they change.

    An array that is not a tensor's has no such cell, so it is saved as a copy.
    """
    arity = recipe.arity
    saved: list[Any] = []
    versions: list[Version] = []
    shared: list[Version] = []
    for source in recipe.sources:
        if 0 <= source < arity:
            value, arg = arrays[source], args[source]
            tensor: Any = arg
            if isinstance(arg, Traced) and tensor._data is value:
                versions.append(tensor._version)
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
            versions += [_version_of(arg, value) for value, arg in pairs]
        else:
            assert source == ALL_SHAPES
            saved.append(tuple(np.shape(array) for array in arrays))
    versions += shared
    return saved, versions


def _version_of(arg: Any, value: Any) -> Version:
    """The cell of an input's tensor, unless ``value`` is a converted copy of its array."""
    tensor: Any = arg
    return tensor._version if isinstance(arg, Traced) and tensor._data is value else NO_VERSION


def _kept(value: Any) -> Any:
    """A value that a gradient rule needs later and that has no version cell: mutable ones are copied."""
    if type(value) is tuple:
        for item in value:
            if type(item) not in _UNCHANGING:
                return tuple(map(_kept, value))
        return value
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return devices.own(value) if devices.is_array(value) else value


def _is_one_of(array: Any, arrays: Sequence[Any]) -> bool:
    for other in arrays:  # noqa: SIM110 - a generator would take three times as long
        if other is array:
            return True
    return False


def _kept_extra(extra: Any, values: Sequence[Any], arrays: Sequence[Any], versions: list[Version]) -> Any:
    """An extra, or the arrays in a tuple, for saving; adds the cells of tensors whose memory it shares."""
    if type(extra) is tuple:
        return tuple([_kept_extra(one, values, arrays, versions) for one in extra])
    source: Any = _memory_of(extra, values, arrays) if devices.is_array(extra) else None
    if isinstance(source, Traced):
        tensor: Any = source
        versions.append(tensor._version)
        return extra
    return extra if source is None else devices.own(extra)
