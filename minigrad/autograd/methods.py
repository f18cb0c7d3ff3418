"""The methods of a tensor, each one a primitive applied to ``self``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import devices, ops
from ..checks import named_arguments
from ..ops.primitive import Traced

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


def _numbers(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    if len(numbers) == 1 and isinstance(numbers[0], tuple | list):
        return tuple(numbers[0])
    return numbers


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


class Methods(Traced):
    """Methods of `minigrad.Tensor`. Where an ``axis`` may be None, None means all axes.

    Where ``self`` is Any, a method uses what only Tensor has.
    """

    __slots__ = ()

    # --- element-wise --------------------------------------------------------------------------------------------

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return ops.exp(self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, exact for small x."""
        return ops.expm1(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def log1p(self) -> Tensor:
        """log(1 + x), exact for small x."""
        return ops.log1p(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def abs(self) -> Tensor:
        """The absolute value; its slope at 0 is 0."""
        return ops.abs(self)

    def pow(self, exponent: Any) -> Tensor:
        """Each element to the power ``exponent``, a number or a tensor."""
        return ops.power(self, exponent)

    def sign(self) -> Tensor:
        """-1, 0 or 1; its gradient is 0."""
        return ops.sign(self)

    def floor(self) -> Tensor:
        """The next whole number below; its gradient is 0."""
        return ops.floor(self)

    def ceil(self) -> Tensor:
        """The next whole number above; its gradient is 0."""
        return ops.ceil(self)

    def round(self) -> Tensor:
        """The nearest whole number, halves to the even one; its gradient is 0."""
        return ops.round(self)

    def isnan(self) -> Tensor:
        """Where the elements are NaN."""
        return ops.isnan(self)

    def isinf(self) -> Tensor:
        """Where the elements are infinite."""
        return ops.isinf(self)

    def isfinite(self) -> Tensor:
        """Where the elements are neither NaN nor infinite."""
        return ops.isfinite(self)

    def maximum(self, other: Any) -> Tensor:
        """The larger of two, element by element; ties share the gradient evenly."""
        return ops.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two, element by element; ties share the gradient evenly."""
        return ops.minimum(self, other)

    @named_arguments
    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Limit to the range from ``min`` to ``max``: numbers, tensors or None. At a bound the gradient passes."""
        return ops.clip(self, min, max)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """``value`` where ``mask`` is true, else the element itself."""
        return ops.where(bool_only("masked_fill", mask), value, self)

    # --- activations ---------------------------------------------------------------------------------------------

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x))."""
        return ops.sigmoid(self)

    def softplus(self) -> Tensor:
        """log(1 + exp(x))."""
        return ops.softplus(self)

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return ops.relu(self)

    @named_arguments
    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        """x where positive, else ``negative_slope`` * x."""
        return ops.leaky_relu(self, negative_slope=negative_slope)

    @named_arguments
    def elu(self, alpha: float = 1.0) -> Tensor:
        """x where positive, else ``alpha`` * (exp(x) - 1)."""
        return ops.elu(self, alpha=alpha)

    @named_arguments
    def gelu(self, approximate: str = "none") -> Tensor:
        """x times the normal distribution function; ``approximate="tanh"`` is the form with tanh."""
        return ops.gelu(self, approximate=approximate)

    def silu(self) -> Tensor:
        """x * sigmoid(x)."""
        return ops.silu(self)

    @named_arguments
    def softmax(self, axis: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along ``axis``."""
        return ops.softmax(self, axis=axis)

    @named_arguments
    def log_softmax(self, axis: int = -1) -> Tensor:
        """log(softmax(x)) along ``axis``."""
        return ops.log_softmax(self, axis=axis)

    # --- reductions ----------------------------------------------------------------------------------------------

    @named_arguments
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over ``axis``."""
        return ops.sum(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The arithmetic mean over ``axis``."""
        return ops.mean(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The product over ``axis``."""
        return ops.prod(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest element over ``axis``; ties share the gradient evenly."""
        return ops.max(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest element over ``axis``; ties share the gradient evenly."""
        return ops.min(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def var(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
        """The variance over ``axis``: the divisor is the number of elements minus ``correction``."""
        return ops.var(self, axis=_axis(axis), correction=correction, keepdims=keepdims)

    @named_arguments
    def std(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
        """The standard deviation over ``axis``, the root of `var`."""
        return ops.std(self, axis=_axis(axis), correction=correction, keepdims=keepdims)

    @named_arguments
    def norm(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The Euclidean norm over ``axis``."""
        return ops.norm(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))) over ``axis``."""
        return ops.logsumexp(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def cumsum(self, axis: int) -> Tensor:
        """The running sum along ``axis``."""
        return ops.cumsum(self, axis=axis)

    @named_arguments
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The index of the largest element along ``axis``; of the flattened tensor by default."""
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    @named_arguments
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The index of the smallest element along ``axis``; of the flattened tensor by default."""
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    @named_arguments
    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any element over ``axis`` is true."""
        return ops.any(self, axis=_axis(axis), keepdims=keepdims)

    @named_arguments
    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Whether all elements over ``axis`` are true."""
        return ops.all(self, axis=_axis(axis), keepdims=keepdims)

    # --- linear algebra ------------------------------------------------------------------------------------------

    def matmul(self, other: Any) -> Tensor:
        """The matrix product, as ``@``."""
        return ops.matmul(self, other)

    def dot(self, other: Any) -> Tensor:
        """The inner product of two vectors."""
        return ops.dot(self, other)

    def outer(self, other: Any) -> Tensor:
        """The outer product of two vectors."""
        return ops.outer(self, other)

    # --- shape ---------------------------------------------------------------------------------------------------

    def reshape(self, *sizes: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return ops.reshape(self, shape=_numbers(sizes))

    view = reshape

    @named_arguments
    def flatten(self: Any, start: int = 0, end: int = -1) -> Tensor:
        """The axes from ``start`` to ``end``, both included, as one."""
        if not self.ndim:
            return ops.reshape(self, shape=(1,))
        first, last = (a + self.ndim if a < 0 else a for a in (start, end))
        if not 0 <= first <= last < self.ndim:
            raise ValueError(f"flatten: no axes from {start} to {end} in shape {self.shape}")
        size = int(np.prod(self.shape[first : last + 1]))
        return ops.reshape(self, shape=(*self.shape[:first], size, *self.shape[last + 1 :]))

    @named_arguments
    def transpose(self, axis0: int, axis1: int) -> Tensor:
        """Two axes exchanged."""
        return ops.transpose(self, axis0=axis0, axis1=axis1)

    def permute(self, *axes: Any) -> Tensor:
        """The axes in another order."""
        return ops.permute(self, axes=_numbers(axes))

    @property
    def T(self: Any) -> Tensor:  # noqa: N802 - named as in PyTorch and NumPy
        """The axes in reverse order."""
        return ops.permute(self, axes=tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:  # noqa: N802 - named as in PyTorch and NumPy
        """The last two axes exchanged."""
        return ops.transpose(self, axis0=-2, axis1=-1)

    def expand(self: Any, *sizes: Any) -> Tensor:
        """Repeat axes of size 1, or new ones in front, without copying; -1 keeps a size."""
        shape = _numbers(sizes)
        own = (1,) * (len(shape) - self.ndim) + self.shape
        return ops.expand(
            self,
            shape=tuple(
                m if n == -1 and i >= len(shape) - self.ndim else n
                for i, (n, m) in enumerate(zip(shape, own, strict=False))
            ),
        )

    @named_arguments
    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without axes of size 1: those given, or all of them."""
        return ops.squeeze(self, axis=_axis(axis))

    @named_arguments
    def unsqueeze(self, axis: int) -> Tensor:
        """With a new axis of size 1."""
        return ops.unsqueeze(self, axis=axis)

    @named_arguments
    def flip(self, axis: Axis = None) -> Tensor:
        """The elements along ``axis`` in reverse order."""
        return ops.flip(self, axis=_axis(axis))

    @named_arguments
    def pad(self, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
        """Surrounded with ``value``; ``widths`` has a pair (before, after) for each axis."""
        return ops.pad(self, widths=widths, value=value)

    @named_arguments
    def split(self, sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        """Cut along ``axis`` into parts of the given sizes, or of one size (the last part may be smaller)."""
        return ops.split(self, sizes, axis)

    # --- indexing ------------------------------------------------------------------------------------------------

    @named_arguments
    def take(self, indices: Any, axis: int | None = None) -> Tensor:
        """The slices at ``indices`` along ``axis``; elements of the flattened tensor by default."""
        return ops.take(self, indices, axis=axis)

    @named_arguments
    def gather(self, axis: int, indices: Any) -> Tensor:
        """out[i, j] = x[indices[i, j], j] for axis 0, and so on, as ``torch.gather``."""
        return ops.gather(self, indices, axis=axis)

    # --- copies and conversions ----------------------------------------------------------------------------------

    @named_arguments
    def to(self: Any, *to: Any, device: str | None = None, dtype: npt.DTypeLike | None = None) -> Tensor:
        """On a device, ``"cpu"`` or ``"cuda"``, as a dtype, or both; ``to(other)`` means those of another tensor.

        The tensor itself where there is nothing to do. A copy is recorded: the gradient comes back to this device.

        >>> x.to("cuda")  # doctest: +SKIP
        >>> minigrad.ones(2).to(np.float64)
        tensor([1., 1.], dtype=float64)

        Raises:
            minigrad.devices.cuda.DeviceError: for a GPU where there is none to use; it says why.
        """
        wanted, kind = devices.target("to", to, device, dtype)
        moved = self if kind is None else self.astype(kind)
        return moved if wanted in (None, moved.device) else ops.to_device(moved, device=wanted, source=moved.device)

    def cpu(self) -> Tensor:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self) -> Tensor:
        """On the GPU."""
        return self.to("cuda")

    def clone(self) -> Tensor:
        """A copy through which gradients flow."""
        return ops.clone(self)

    def astype(self: Any, dtype: npt.DTypeLike) -> Tensor:
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
        """As int32, cut off towards zero."""
        return self.astype(np.int32)

    def long(self) -> Tensor:
        """As int64, cut off towards zero."""
        return self.astype(np.int64)

    def bool(self) -> Tensor:
        """True where not zero."""
        return self.astype(np.bool_)


def bool_only(op: str, value: Any) -> Any:
    """``value`` if it is bool; numbers are refused, as their bits are probably not what is meant."""
    kind = getattr(value, "dtype", type(value).__name__)
    if kind not in (np.bool_, "bool"):
        raise TypeError(f"{op}: needs a bool tensor, not {kind}; compare first, as in (x > 0)")
    return value


def plain_index(key: Any) -> Any:
    """An index as NumPy takes it, with copies of arrays: they may change before the gradient is computed."""
    if type(key) is int or type(key) is slice:  # the most frequent kinds
        return key
    if isinstance(key, tuple):
        return tuple(plain_index(k) for k in key)
    if isinstance(key, Methods):
        tensor: Any = key
        return plain_index(tensor.data)
    if devices.is_array(key):
        if key.dtype.kind not in "iub":
            raise TypeError(f"indexing: an index must be integer or bool, not {key.dtype}; convert it with .long()")
        return key.copy()
    return ops.indexing.as_indices(key) if isinstance(key, list) else key
