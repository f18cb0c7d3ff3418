"""A stand-in for CuPy: arrays on a simulated GPU that behave like CuPy's, with the same refusals.

It is as strict as CuPy 14.2, whose files are named at each rule, so that what runs here has a fair chance on a GPU:

- no implicit copy to NumPy, and no NumPy array as an operand (cupy/_core/core.pyx, ``__array__``; _kernel.pyx,
  ``_preprocess_args``);
- NumPy's ufuncs are handed over by name, with the methods that CuPy's ufuncs have: ``reduce`` only of
  add and multiply (core.pyx, ``__array_ufunc__``; _kernel.pyx, ``ufunc.reduce``);
- NumPy's other functions are handed over if CuPy has one of that name, with its own arguments (core.pyx,
  ``__array_function__``); here those in `FUNCTIONS`, whose arguments a test compares with CuPy's where it is installed;
- an index that is out of range wraps around, one array of bools may index, and a value assigned to a slice is one of
  CuPy's arrays or a number (cupy/_core/_routines_indexing.pyx);
- reductions give arrays, also of no axes, never numbers.

Copies in a stream happen when the stream is waited for, so reading too early, or reusing memory that is still to
be copied from, gives wrong numbers here as it may on a GPU.
"""

from __future__ import annotations

import inspect
import types
from typing import Any

import numpy as np

__version__ = "14.2.0"
bool_ = np.bool_

_SCALARS = (int, float, complex, bool, np.generic)
_COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}
_REDUCED = {"add": "sum", "multiply": "prod"}


class MemoryPointer:
    """A place in memory (cupy/cuda/memory.pyx); adding to it moves it by that number of bytes."""

    def __init__(self, memory: np.ndarray, offset: int = 0) -> None:
        self.memory, self.offset = memory, offset

    def __add__(self, offset):
        return MemoryPointer(self.memory, self.offset + offset)


class ndarray:  # noqa: N801 - CuPy's name
    __array_priority__ = 100

    def __init__(
        self, host: np.ndarray | tuple[int, ...], base: Any = None, memptr: MemoryPointer | None = None
    ) -> None:
        if memptr is not None:  # CuPy's own arguments: a shape, a dtype, and where the memory is (core.pyx, _init)
            base, host = None, np.ndarray(host, base, memptr.memory.data, memptr.offset)
        assert isinstance(host, np.ndarray)
        self._host, self.base = host, base

    # --- protocols (core.pyx) ----------------------------------------------------------------------------------------

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        if method not in ("__call__", "outer", "at", "reduce", "accumulate", "reduceat"):
            return NotImplemented
        if not all(isinstance(x, ndarray | np.ndarray | np.generic) or type(x) in _SCALARS for x in inputs):
            return NotImplemented
        if ufunc.__name__ in _COMPARISONS:
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        if method == "__call__":
            return _call(ufunc, inputs, **kwargs)
        if method == "reduce" and ufunc.__name__ in _REDUCED:
            kwargs.setdefault("axis", 0)
            return getattr(inputs[0], _REDUCED[ufunc.__name__])(**kwargs)
        raise NotImplementedError(f"`cupy_{ufunc.__name__}.{method}` is not supported yet")

    def __array_function__(self, func, kinds, args, kwargs):
        module = func.__module__.partition(".")[2]
        own = globals().get(func.__name__) if not module else getattr(globals().get(module), func.__name__, None)
        if own is None or not all(issubclass(kind, ndarray | np.ndarray) for kind in kinds):
            return NotImplemented
        return own(*args, **kwargs)

    # --- what it is --------------------------------------------------------------------------------------------------

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    data = property(lambda self: MemoryPointer(self._host))
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    device = property(lambda self: "<CUDA Device 0>")
    T = property(lambda self: _view(self, self._host.T))
    real = property(lambda self: _view(self, self._host.real))
    imag = property(lambda self: _view(self, self._host.imag))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __complex__(self):
        return complex(self._host)

    def __repr__(self):
        return repr(self._host)

    # --- copies ------------------------------------------------------------------------------------------------------

    def get(self, stream=None, order="C", out=None, blocking=True):
        return self._host.copy()

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype or self.shape != arr.shape:
            raise TypeError(f"{arr.dtype} {arr.shape} array cannot be set to {self.dtype} {self.shape} array")
        (stream or _current).put(lambda: np.copyto(self._host, arr))

    def item(self):
        return self._host.item()

    def tolist(self):
        return self._host.tolist()

    def tobytes(self):
        return self._host.tobytes()

    def copy(self, order="C"):
        return ndarray(self._host.copy(order))

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return ndarray(self._host.astype(dtype, order))

    def fill(self, value):
        if np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._host.fill(value)

    def view(self, dtype=None):
        return _view(self, self._host.view(dtype or self.dtype))

    # --- shapes ------------------------------------------------------------------------------------------------------

    def reshape(self, *shape, order="C"):
        return _view(self, self._host.reshape(*shape, order=order))

    def ravel(self, order="C"):
        return _view(self, self._host.ravel(order))

    def squeeze(self, axis=None):
        return _view(self, self._host.squeeze(axis))

    def transpose(self, *axes):
        return _view(self, self._host.transpose(*axes))

    # --- indexing (_routines_indexing.pyx) ---------------------------------------------------------------------------

    def __getitem__(self, key):
        found = np.asarray(self._host[_key(key, self.shape)])
        return ndarray(found, self) if np.shares_memory(found, self._host) else ndarray(found)

    def __setitem__(self, key, value):
        plain = _key(key, self.shape)
        if isinstance(value, ndarray):
            self._host[plain] = value._host
        elif any(isinstance(k, np.ndarray) for k in plain):
            self._host[plain] = np.asarray(value)
        elif np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        else:
            self._host[plain] = value


def _view(array: ndarray, host: np.ndarray) -> ndarray:
    return ndarray(host, array if array.base is None else array.base)


def _key(key: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A key for NumPy, with indices that are out of range wrapped around as `_take_kernel` does."""
    items = list(key) if isinstance(key, tuple) else [key]
    if sum(isinstance(i, ndarray | np.ndarray | list) and np.asarray(_plain(i)).dtype == bool for i in items) > 1:
        raise IndexError("boolean arrays as indices: one at most")
    used = sum(_axes_of(item) for item in items)
    axis, found = 0, []
    for item in items:
        if isinstance(item, ndarray | np.ndarray | list):
            array = np.asarray(_plain(item))
            if array.dtype.kind not in "iub":
                raise IndexError("arrays used as indices must be of integer or boolean type")
            found.append(array if array.dtype == bool else array % max(shape[axis], 1))
            axis += _axes_of(item)
        else:
            found.append(item)
            axis += len(shape) - used if item is Ellipsis else _axes_of(item)
    return tuple(found)


def _axes_of(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    array = np.asarray(_plain(item)) if isinstance(item, ndarray | np.ndarray | list) else None
    return array.ndim if array is not None and array.dtype == bool else 1


def _plain(value: Any) -> Any:
    return value._host if isinstance(value, ndarray) else value


# --- ufuncs and operators (_kernel.pyx) ------------------------------------------------------------------------------


def _call(ufunc, inputs, out=None, dtype=None, casting="same_kind", **unknown):
    if unknown:
        raise TypeError(f"Wrong arguments {unknown}")
    for x in (*inputs, *(() if out is None else (out,))):
        if not isinstance(x, ndarray) and not (isinstance(x, _SCALARS) and x is not out):
            raise TypeError(f"Unsupported type {type(x)}")
    options = {} if dtype is None else {"dtype": dtype}
    result = np.asarray(ufunc(*map(_plain, inputs), casting=casting, **options))
    if out is None:
        return ndarray(result)
    np.copyto(out._host, result, casting=casting)
    return out


def _operators() -> None:
    def binary(ufunc, swapped=False):
        def method(self, other):
            if getattr(other, "__array_ufunc__", self) is None:
                return NotImplemented
            inputs = (other, self) if swapped else (self, other)
            return _call(ufunc, inputs) if isinstance(other, (ndarray, *_SCALARS)) else ufunc(*inputs)

        return method

    def in_place(ufunc):
        return lambda self, other: _call(ufunc, (self, other), out=self)

    names = {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
        "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }  # fmt: skip
    for name, ufunc in names.items():
        setattr(ndarray, f"__{name}__", binary(ufunc))
        setattr(ndarray, f"__r{name}__", binary(ufunc, swapped=True))
        setattr(ndarray, f"__i{name}__", in_place(ufunc))
    comparisons = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
                   "ne": np.not_equal}  # fmt: skip
    for name, ufunc in comparisons.items():
        setattr(ndarray, f"__{name}__", binary(ufunc))
    for name, ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
        setattr(ndarray, f"__{name}__", lambda self, ufunc=ufunc: _call(ufunc, (self,)))
    ndarray.__hash__ = None


_operators()


def _reductions() -> None:
    """Methods with CuPy's arguments, without NumPy's additional ones (``where``, ``initial``)."""
    add_up = lambda self, axis=None, dtype=None, out=None, keepdims=False: None
    choose = lambda self, axis=None, out=None, keepdims=False: None
    place = lambda self, axis=None, out=None, dtype=None, keepdims=False: None
    methods = {
        "sum": add_up, "prod": add_up, "mean": add_up, "max": choose, "min": choose, "any": choose, "all": choose,
        "argmax": place, "argmin": place, "cumsum": lambda self, axis=None, dtype=None, out=None: None,
        "var": lambda self, axis=None, dtype=None, out=None, ddof=0, keepdims=False: None,
    }  # fmt: skip
    for name, arguments in methods.items():
        signature = inspect.signature(arguments)

        def method(self, *args, name=name, signature=signature, **kwargs):
            bound = signature.bind(self, *args, **kwargs).arguments
            return ndarray(np.asarray(getattr(self._host, name)(**{k: v for k, v in bound.items() if k != "self"})))

        setattr(ndarray, name, method)


_reductions()

# --- functions -------------------------------------------------------------------------------------------------------

# With CuPy's arguments; the first is an array, or a sequence of arrays.
FUNCTIONS = {
    "concatenate": lambda tup, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "stack": lambda tup, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "reshape": lambda a, newshape, order="C", *, copy=None: None,
    "broadcast_to": lambda array, shape: None,
    "swapaxes": lambda a, axis1, axis2: None,
    "transpose": lambda a, axes=None: None,
    "squeeze": lambda a, axis=None: None,
    "expand_dims": lambda a, axis: None,
    "flip": lambda a, axis=None: None,
    "full_like": lambda a, fill_value, dtype=None, order="K", subok=None, shape=None: None,
    "zeros_like": lambda a, dtype=None, order="K", subok=None, shape=None: None,
    "take": lambda a, indices, axis=None, out=None: None,
    "argmax": lambda a, axis=None, dtype=None, out=None, keepdims=False: None,
    "argmin": lambda a, axis=None, dtype=None, out=None, keepdims=False: None,
    "argsort": lambda a, axis=-1, kind=None: None,
    "cumsum": lambda a, axis=None, dtype=None, out=None: None,
    "round": lambda a, decimals=0, out=None: None,
    "unravel_index": lambda indices, dims, order="C": None,
    "count_nonzero": lambda a, axis=None: None,
    "flatnonzero": lambda a: None,
    "clip": lambda a, a_min, a_max, out=None: None,
}


def _functions() -> None:
    for name, arguments in FUNCTIONS.items():
        signature = inspect.signature(arguments)

        def function(*args, name=name, signature=signature, **kwargs):
            bound = list(signature.bind(*args, **kwargs).arguments.values())
            arrays = bound[0] if isinstance(bound[0], list | tuple) else [bound[0]]
            if not all(isinstance(a, ndarray) for a in arrays):
                raise TypeError(f"{name}: only cupy arrays")
            given = {k: _unwrapped(v) for k, v in signature.bind(*args, **kwargs).arguments.items()}
            first, *rest = given.items()
            # NumPy has other names for some arguments, so those up to the last positional one go by position.
            keywords = {k: v for k, v in rest if k in ("dtype", "shape", "keepdims", "casting", "kind", "out")}
            result = getattr(np, name)(first[1], *(v for k, v in rest if k not in keywords), **keywords)
            return tuple(map(_wrapped, result)) if isinstance(result, tuple) else _wrapped(result, arrays[0])

        globals()[name] = function


def _unwrapped(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(v, ndarray) for v in value):
        return type(value)(map(_plain, value))
    return _plain(value)


def _wrapped(result: Any, source: ndarray | None = None) -> Any:
    host = np.asarray(result)
    return _view(source, host) if source is not None and np.shares_memory(host, source._host) else ndarray(host)


_functions()


def where(condition, x=None, y=None):
    """cupy/_sorting/search.py: the condition must be an array, the others arrays or numbers."""
    condition = condition.astype("?", copy=False)
    for value in (condition, x, y):
        if not isinstance(value, (ndarray, *_SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}")
    return ndarray(np.asarray(np.where(*map(_plain, (condition, x, y)))))


def einsum(subscripts, *operands, optimize=False, dtype=None):
    """cupy/linalg/_einsum.py."""
    if not all(isinstance(x, ndarray) for x in operands):
        raise TypeError("einsum: only cupy arrays")
    return ndarray(np.asarray(np.einsum(subscripts, *map(_plain, operands), optimize=optimize)))


def shape(a):
    return a.shape


def iscomplexobj(x):
    return x.dtype.kind == "c"


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    host = np.asarray(a, dtype)
    if host.dtype.kind not in "fiubc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    return ndarray(host.copy())


def _made(name: str, arguments: Any) -> None:
    signature = inspect.signature(arguments)

    def function(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        return ndarray(getattr(np, name)(*bound.args, **bound.kwargs))

    globals()[name] = function


_made("zeros", lambda shape, dtype=float, order="C": None)
_made("ones", lambda shape, dtype=float, order="C": None)
_made("empty", lambda shape, dtype=float, order="C": None)
_made("full", lambda shape, fill_value, dtype=None, order="C": None)
_made("eye", lambda N, M=None, k=0, dtype=float, order="C": None)
_made("arange", lambda start, stop=None, step=1, dtype=None: None)


class _Grid:
    def __getitem__(self, key):
        grid = np.ogrid[key]
        return tuple(map(ndarray, grid)) if isinstance(grid, tuple) else ndarray(grid)


ogrid = _Grid()

# --- streams and what there is ---------------------------------------------------------------------------------------


class Stream:
    """Work that is done when somebody waits for it."""

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.waiting: list[Any] = []

    def put(self, work):
        self.waiting.append(work)
        if self is _current:
            self.synchronize()

    def synchronize(self):
        while self.waiting:
            self.waiting.pop(0)()

    def record(self, event=None):
        return _Event(self)

    def wait_event(self, event):
        self.waiting.append(event.synchronize)


class _Event:
    def __init__(self, stream):
        self.stream, self.until = stream, len(stream.waiting)

    def synchronize(self):
        self.stream.synchronize()


_current = Stream()


class CUDARuntimeError(RuntimeError):
    __module__ = "cupy_backends.cuda.api.runtime"


class OutOfMemoryError(MemoryError):
    __module__ = "cupy.cuda.memory"


runtime = types.SimpleNamespace(
    driverGetVersion=lambda: 13010,
    runtimeGetVersion=lambda: 12090,
    getDeviceCount=lambda: 1,
    getDeviceProperties=lambda number: {"name": b"Pretended GPU"},
)
cuda = types.SimpleNamespace(
    runtime=runtime,
    Stream=Stream,
    get_current_stream=lambda: _current,
    alloc_pinned_memory=lambda size: bytearray(size),
)
linalg = types.SimpleNamespace()
