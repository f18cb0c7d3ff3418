"""The memory rule: which tensors share memory, and where parameters and their gradients are stored.

The rule: **tensors and arrays that share memory keep sharing it, and values that are still referenced are never
overwritten by new ones.**

- A view, ``detach()``, ``.data`` and ``.numpy()`` share the memory of their tensor for as long as both exist. An
  optimizer therefore moves a parameter into its flat buffer only if nothing else refers to the parameter's memory;
  otherwise the parameter stays where it is, and is a buffer by itself. A parameter moves at most once: later optimizers
  and clips work where it is.
- ``p.grad`` is one gradient until it is replaced. Until then everything derived from it shares its memory and changes
  with it, as further gradients are added or clipped in place. A gradient that is kept in any form (the tensor, a view,
  an array) keeps its values when a new gradient replaces it.
- What ``backward`` needs from the forward pass is either memory that has a version counter, which all tensors that
  share the memory have in common, or a copy. A change in place through any tensor raises in ``backward``; a change of a
  copy, or of an array that a tensor does not share, never matters. Writing through a NumPy array that shares a tensor's
  memory is not counted, as in PyTorch.

"Nothing else refers to it" is decided by Python's reference counts. NumPy gives every view of an array a reference to
the array that the view was made from, or to that array's own base; here each parameter and each gradient is an array
that NumPy takes for the base of its views (`_window`), so its count tells whether any view exists.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from sys import getrefcount
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import devices

Array = npt.NDArray[Any]
Tensor: TypeAlias = Any  # a name for the reader: its module imports this one


class _Owner(np.ndarray[Any, Any]):
    """Memory for windows. A separate type, because NumPy collapses chains of views of one type."""


def _allocate(size: int, dtype: Any, device: str) -> Any:
    """Flat memory for windows, not initialized."""
    return np.ndarray.__new__(_Owner, (size,), dtype) if device == "cpu" else devices.library().empty(size, dtype)


def _window(owner: Any, start: int, shape: tuple[int, ...]) -> Array:
    """Part of allocated memory, as an array that becomes the base of all views of it."""
    if type(owner) is _Owner:
        return np.ndarray(shape, owner.dtype, owner, start * owner.itemsize)
    array: Array = devices.library().ndarray(shape, owner.dtype, owner.data + start * owner.itemsize)
    return array


class _Slot:
    __slots__ = ("array",)
    array: Array


def _count_of_one() -> int:
    slot = _Slot()
    slot.array = np.empty(0)
    return getrefcount(slot.array)


# The reference count of an array that nothing but one attribute refers to, read through that attribute.
UNSHARED = _count_of_one()


class Place:
    """Where the values and the gradient of one parameter are stored.

    Attributes:
        memory: the flat arrays.
        start: the index of its first element there.
        window: the array, in the parameter's shape, that `backward` writes the gradient into.
        clips: tables of ``clip_grad_`` calls whose first parameter is this one.
    """

    __slots__ = ("__weakref__", "clips", "memory", "shape", "start", "window")

    def __init__(self, memory: Memory, start: int, shape: tuple[int, ...]) -> None:
        self.memory, self.start, self.shape = memory, start, shape
        self.clips: dict[Any, Any] = {}
        self.window: Array


class Memory:
    """A flat array of values and one of gradients, of one dtype and on one device.

    Attributes:
        data: the values.
        grad: the gradients. `renew` replaces the array.
    """

    def __init__(self, data: Any) -> None:
        self.data: Array = data
        self.grad: Array
        self._places: list[weakref.ref[Place]] = []
        self._followers: list[weakref.ref[Any]] = []
        self.renew()

    def follow(self, follower: Any) -> None:
        """Call ``follower.renewed()`` whenever the array of the gradients is replaced."""
        self._followers = [*(ref for ref in self._followers if ref() is not None), weakref.ref(follower)]

    def settle(self, parameter: Tensor, start: int) -> None:
        """Assign its place to a parameter whose values are already in this memory."""
        place = parameter._place = Place(self, start, parameter.shape)
        place.window = _window(self._gradients, start, place.shape)
        self._places.append(weakref.ref(place))
        parameter._settle_grad()

    def renew(self) -> None:
        """Allocate new memory for the next gradients, and leave the old memory to its other references."""
        self._gradients = _allocate(self.data.size, self.data.dtype, devices.device_of(self.data))
        self._gradients[...] = 0
        self.grad = _plain(self._gradients)
        for place in filter(None, (ref() for ref in self._places)):
            place.window = _window(self._gradients, place.start, place.shape)
        for follower in filter(None, (ref() for ref in self._followers)):
            follower.renewed()


def _plain(owner: Any) -> Any:
    return owner.view(np.ndarray) if type(owner) is _Owner else owner


def settle(parameters: Iterable[Tensor]) -> None:
    """Assign a `Place` to each parameter without one.

    Parameters that share their memory with nothing else move, in this order, into common memory, one for each dtype.

    Raises:
        ValueError: for a parameter that can neither move nor stay; no parameter has moved then.
    """
    moving: dict[Any, list[Tensor]] = {}
    staying = []
    for parameter in parameters:
        if parameter._place is not None:
            continue
        if _is_unshared(parameter):
            moving.setdefault(parameter.dtype, []).append(parameter)
        elif parameter._data.flags.c_contiguous:
            staying.append(parameter)
        else:
            raise ValueError(
                f"parameter {getattr(parameter, 'name', '') or parameter.shape} is a non-contiguous view of memory "
                "that is used elsewhere too; create it from a copy, as in nn.Parameter(x.clone())"
            )
    for group in moving.values():
        values = _allocate(sum(p._data.size for p in group), group[0].dtype, group[0].device)
        memory = Memory(_plain(values))
        start = 0
        for parameter in group:
            moved = _window(values, start, parameter.shape)
            moved[...] = parameter._data
            parameter._data = moved
            memory.settle(parameter, start)
            start += moved.size
    for parameter in staying:
        Memory(parameter._data.reshape(-1)).settle(parameter, 0)


def _is_unshared(parameter: Tensor) -> bool:
    """Whether a parameter can move unnoticed: nothing else refers to its array, or to the bases of that array.

    A read-only array must move in any case.
    """
    if not getattr(parameter._data.flags, "writeable", True):
        return True
    if getrefcount(parameter._data) > UNSHARED:
        return False
    array = parameter._data
    while (base := array.base) is not None:
        if getrefcount(array.base) > UNSHARED + 1:  # one more is the name here
            return False
        if isinstance(base, memoryview):  # of the bytes that an array was unpickled from
            return isinstance(base.obj, bytes | bytearray) and getrefcount(base.obj) <= UNSHARED
        if type(base) is not type(array):  # such as a memory map, which others may use too
            return False
        array = base
    return True


def placed(parameter: Tensor) -> Place:
    """The place that `settle` assigned to a parameter."""
    assert parameter._place is not None
    return parameter._place


def gather(bound: Sequence[tuple[Tensor, Place]]) -> list[int]:
    """Copy gradients that are stored elsewhere into their places: assigned ones, and results of create_graph=True.

    Returns:
        The numbers of the parameters that have no gradient.
    """
    missing, elsewhere = [], []
    for number, (parameter, place) in enumerate(bound):
        grad = parameter._grad
        if grad is None:
            missing.append(number)
        elif grad._data is not place.window:
            elsewhere.append((place, grad._data))
    kept = {place.memory for place, _ in elsewhere if getrefcount(place.window) > UNSHARED}
    if kept:  # somebody holds an earlier gradient
        for memory in kept:
            memory.renew()
        return gather(bound)
    for place, array in elsewhere:
        place.window[...] = array
    return missing
