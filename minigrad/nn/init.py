"""Initializers: functions that fill a tensor in place with a distribution's values, and return it.

A weight of shape ``(out, in, *window)`` has ``fan_in = in · |window|`` inputs per output and ``fan_out = out ·
|window|`` outputs per input. Each function draws from `minigrad.random`'s generator, which `manual_seed` sets, or
from a given ``generator``; values are drawn in float64 and rounded to the tensor's dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import random
from ..autograd.tensor import Tensor
from ..checks import choice, number

Generator = np.random.Generator

_GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


# --- scales of distributions ---------------------------------------------------------------------------------------


def fan_in(tensor: Tensor) -> int:
    """Return the number of inputs that each output of a weight sums over; it needs at least two axes."""
    return _fans(tensor)[0]


def fan_out(tensor: Tensor) -> int:
    """Return the number of outputs that each input of a weight feeds; it needs at least two axes."""
    return _fans(tensor)[1]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the scale of activations through ``nonlinearity``, as PyTorch recommends.

    ``"linear"``, ``"identity"`` and ``"sigmoid"`` 1, ``"tanh"`` 5/3, ``"relu"`` √2, ``"leaky_relu"``
    √(2 / (1 + slope²)) with ``param`` as slope (0.01 by default), ``"selu"`` 3/4.

    Raises:
        ValueError: for an unknown name, or a ``param`` that is not finite or not used by the function.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number("calculate_gain", "param", param)
        return math.sqrt(2.0 / (1.0 + slope**2))
    choice("calculate_gain", "nonlinearity", nonlinearity, [*_GAINS, "leaky_relu"])
    if param is not None:
        raise ValueError(f"calculate_gain: {nonlinearity!r} has no parameter, got {param!r}")
    return _GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"fan_in and fan_out need a weight of at least 2 axes (out, in), not shape {tensor.shape}; "
            "fill a bias with zeros_() or uniform_()"
        )
    window = math.prod(tensor.shape[2:])
    fans = tensor.shape[1] * window, tensor.shape[0] * window
    if 0 in fans:
        raise ValueError(f"fan_in and fan_out of an empty weight of shape {tensor.shape} are 0")
    return fans


# --- plain distributions -------------------------------------------------------------------------------------------


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``."""
    return _fill(tensor, np.broadcast_to(np.float64(val), tensor.shape))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from the uniform distribution on [a, b)."""
    a, b = number("uniform_", "a", a), number("uniform_", "b", b)
    if a > b:
        raise ValueError(f"uniform_: the interval [a, b) = [{a}, {b}) is empty; swap a and b")
    return _fill(tensor, _source(generator).uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from the normal distribution N(mean, std²)."""
    mean, std = number("normal_", "mean", mean), number("normal_", "std", std, low=0)
    return _fill(tensor, mean + std * _source(generator).standard_normal(tensor.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill from N(mean, std²) restricted to [a, b]; a and b are values, not multiples of std, as in PyTorch.

    Values are drawn by rejection: from the normal distribution itself, or for a narrow interval from the uniform
    one on it, whichever is accepted more often.

    Raises:
        ValueError: for a > b, std ≤ 0, or an interval so far out that less than one draw in 1,000 falls into it.
    """
    mean, std = number("trunc_normal_", "mean", mean), number("trunc_normal_", "std", std, above=0)
    if not a < b:
        raise ValueError(f"trunc_normal_: needs a < b, got a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    mass = _mass(low, high)
    mode = min(max(0.0, low), high)
    # Beyond 37 the peak underflows, and so does the mass.
    accepted = mass * math.sqrt(2 * math.pi) * math.exp(0.5 * mode**2) / (high - low) if abs(mode) < 37 else 0.0
    if max(mass, accepted) < 1e-3:
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] is too far out in the tail of N({mean}, {std}²); move or narrow it"
        )
    source = _source(generator)
    count = tensor.size
    chosen = np.empty(0)
    while chosen.size < count:
        wanted = int((count - chosen.size) / max(mass, accepted) * 1.1) + 16
        if mass >= accepted:
            drawn = source.standard_normal(wanted)
            kept = drawn[(low <= drawn) & (drawn <= high)]
        else:
            drawn = source.uniform(low, high, wanted)
            kept = drawn[source.random(wanted) < np.exp(0.5 * (mode**2 - drawn**2))]
        chosen = np.concatenate([chosen, kept])
    values = np.clip(mean + std * chosen[:count].reshape(tensor.shape), a, b)
    return _fill(tensor, values)


def _mass(low: float, high: float) -> float:
    """The probability that a standard normal number is in [low, high], exact also far out in the tails."""
    if low < 0 < high:
        return 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    near, far = sorted((abs(low), abs(high)))
    return 0.5 * (math.erfc(near / math.sqrt(2)) - math.erfc(far / math.sqrt(2)))


# --- distributions scaled by fan -----------------------------------------------------------------------------------


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from U(−bound, bound) with bound = gain · √(3 / fan): He et al. 2015, arXiv 1502.01852.

    Args:
        tensor: a weight of at least two axes.
        a: the negative slope of a leaky ReLU; other nonlinearities do not use it.
        mode: ``"fan_in"`` keeps the scale of the forward pass, ``"fan_out"`` of the backward pass.
        nonlinearity: a name that `calculate_gain` knows.
        generator: the source of randomness.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from N(0, gain² / fan), with the arguments of `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from U(−bound, bound), bound = gain · √(6 / (fan_in + fan_out)): Glorot and Bengio 2010."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from N(0, gain² · 2 / (fan_in + fan_out)): Glorot and Bengio 2010."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def lecun_uniform_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Fill from U(−bound, bound) with bound = √(3 / fan_in): LeCun et al. 1998, Efficient BackProp."""
    bound = math.sqrt(3.0 / fan_in(tensor))
    return uniform_(tensor, -bound, bound, generator)


def lecun_normal_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Fill from N(0, 1 / fan_in): LeCun et al. 1998, Efficient BackProp."""
    return normal_(tensor, 0.0, math.sqrt(1.0 / fan_in(tensor)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with gain times a random matrix with orthonormal rows or columns, whichever are fewer.

    Axes after the first are taken as one. The matrix is the Q of a QR decomposition of a normal matrix, with the
    signs that make it uniformly distributed: Saxe et al. 2013, arXiv 1312.6120.
    """
    gain = number("orthogonal_", "gain", gain)
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: needs at least 2 axes, not shape {tensor.shape}")
    if not tensor.size:
        return tensor
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    normal = _source(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    q *= np.sign(np.diagonal(r))
    return _fill(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    choice("kaiming", "mode", mode, ("fan_in", "fan_out"))
    fan = fan_in(tensor) if mode == "fan_in" else fan_out(tensor)
    return calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" or a else None) / math.sqrt(fan)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return number("xavier", "gain", gain) * math.sqrt(2.0 / (fan_in(tensor) + fan_out(tensor)))


def _source(generator: Generator | None) -> Generator:
    return random.generator() if generator is None else generator


def _fill(tensor: Tensor, values: npt.NDArray[Any]) -> Tensor:
    if tensor.dtype.kind != "f":
        raise TypeError(f"initializers fill floating-point tensors, not {tensor.dtype}")
    tensor.data = values
    return tensor
