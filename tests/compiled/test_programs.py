"""Random programs: their graph has eager's bits, evaluated by NumPy (the tracer) and as machine code (the emitter).

A program draws what it does by its seed and the shapes that it meets, so that each run of it does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from traced_steps import TracedStep, difference

from minigrad import ops
from minigrad.autograd.gradients import grad
from minigrad.autograd.tensor import Tensor

pytestmark = pytest.mark.slow

Rng = np.random.Generator
LARGEST = 600  # elements of a value
TOGETHER = 20  # programs in a test
EVERY = 4  # one of so many is compiled


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> Any:
    """Keep the code of thousands of programs out of the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGRAD_CACHE_DIR", "")
        yield


# --- what a program can do: each takes the generator, a value, and a function that returns another value -------------

UNARY: list[Callable[[Any], Any]] = [
    ops.tanh, ops.sigmoid, ops.exp, ops.abs, ops.negative, ops.relu, ops.sin, ops.cos, ops.sign, ops.round, ops.clone,
    ops.floor, ops.softplus, ops.silu, ops.gelu, ops.leaky_relu, ops.elu, lambda x: x**2, lambda x: x**3.0,
    lambda x: x**0.5, lambda x: x**-1, lambda x: x**1, lambda x: ops.sqrt(abs(x)), lambda x: ops.log1p(abs(x)),
    lambda x: ops.clip(x, -0.5, 0.5), lambda x: x * 1.0, lambda x: x + 0, lambda x: 1 - x, lambda x: 2 / (x * x + 1),
    lambda x: x / 3, lambda x: x % 0.7, lambda x: x // 0.3, lambda x: ops.expm1(-x), lambda x: x.detach(),
    lambda x: x.astype(np.float64).astype(x.dtype), lambda x: (x > 0).astype(x.dtype), lambda x: x - x, lambda x: x * x,
]  # fmt: skip
BINARY: list[Callable[[Any, Any], Any]] = [
    ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum, lambda x, y: x / (y * y + 0.5),
    lambda x, y: ops.where(x > y, x, y * 2), lambda x, y: ops.where(y >= 0, x, 0.0), lambda x, y: ops.masked(x, y < x),
    lambda x, y: x * ops.logical_or(x > 0, y > 0), lambda x, y: ops.power(abs(x) + 0.1, y), ops.add, ops.multiply,
]  # fmt: skip


def unary(rng: Rng, x: Any, other: Any) -> Any:
    return UNARY[rng.integers(len(UNARY))](x)


def binary(rng: Rng, x: Any, other: Any) -> Any:
    function, y = BINARY[rng.integers(len(BINARY))], other()
    try:
        size = np.prod(np.broadcast_shapes(x.shape, y.shape))
    except ValueError:
        y, size = y.sum(), 0
    return function(x, y if size <= LARGEST else y.sum())


def axes(rng: Rng, x: Any) -> Any:
    """Some axes of a value, or None for all of them."""
    count = rng.integers(0, x.ndim + 1)
    return tuple(int(a) for a in rng.permutation(x.ndim)[:count]) or None


def reduction(rng: Rng, x: Any, other: Any) -> Any:
    names = ["sum", "mean", "max", "min", "logsumexp", "prod", "sum", "any", "argmax"]
    name = names[rng.integers(len(names))]
    along, keepdims = axes(rng, x), bool(rng.integers(2))
    if name == "argmax":
        return x.argmax(axis=None if along is None else along[0]).astype(x.dtype)
    if name == "any":
        return (x > 0.5).any(axis=along, keepdims=keepdims).astype(x.dtype)
    return getattr(x, name)(axis=along, keepdims=keepdims)


def view(rng: Rng, x: Any, other: Any) -> Any:
    if not x.ndim:
        return x.reshape(1)
    axis = int(rng.integers(x.ndim))
    match rng.integers(9):
        case 0:
            return x.reshape(-1)
        case 1:
            return x.transpose(0, x.ndim - 1)
        case 2:
            return ops.permute(x, axes=tuple(int(a) for a in rng.permutation(x.ndim)))
        case 3:
            return ops.flip(x, axis=axis)
        case 4:
            n = x.shape[axis]
            start, step = int(rng.integers(n)), int(rng.integers(1, 4))
            return x[(slice(None),) * axis + (slice(start, None, step),)]
        case 5:
            return x[(slice(None),) * axis + (int(rng.integers(-x.shape[axis], x.shape[axis])),)]
        case 6:
            return ops.unsqueeze(x, axis=axis)
        case 7:
            return ops.expand(x, shape=(2, *x.shape)) if x.data.size * 2 <= LARGEST else x
        case _:
            shape = (x.shape[0], -1) if rng.integers(2) else (-1, x.shape[-1])
            return x.reshape(shape)


def joined(rng: Rng, x: Any, other: Any) -> Any:
    if x.data.size * 2 > LARGEST:
        return x
    y = other()
    y = y if y.shape == x.shape else x * 0.5
    if rng.integers(2) or not x.ndim:
        return ops.stack(x, y, axis=int(rng.integers(x.ndim + 1)))
    if rng.integers(2):
        return ops.concatenate(x, y, x, axis=int(rng.integers(x.ndim)))
    return ops.pad(x, widths=[(int(rng.integers(2)), int(rng.integers(3))) for _ in x.shape], value=0.25)


def looked_up(rng: Rng, x: Any, other: Any) -> Any:
    if not x.ndim:
        return x
    axis = int(rng.integers(x.ndim))
    shape = [(3,), (2, 2), ()][rng.integers(3)]
    n = x.shape[axis]
    indices = rng.integers(-n, n, shape)
    match rng.integers(4):
        case 0:
            return ops.take(x, indices, axis=axis)
        case 1:
            return ops.take(x, Tensor(indices) % x.data.size, axis=None)
        case 2:
            return x[(slice(None),) * axis + (indices,)]
        case _:
            rows = rng.integers(x.shape[0], size=3)
            return x[(rows, ..., rng.integers(x.shape[-1], size=3))] if x.ndim > 1 else x[rows]


def chosen(rng: Rng, x: Any, other: Any) -> Any:
    """Look up at indices that are computed."""
    if not x.ndim:
        return x
    y = other()
    n = x.shape[0]
    indices = (abs(y.detach()).reshape(-1)[:4] * 10).clip(0, 1000).astype(np.int64) % n
    return x[indices - n * int(rng.integers(2))]


def product(rng: Rng, x: Any, other: Any) -> Any:
    if not x.ndim:
        return x
    y = other()
    if y.ndim > 1 and x.shape[-1] == y.shape[-2] and x.ndim <= 2 and y.ndim == 2:
        return x @ y
    if x.ndim == 1:
        return ops.outer(x, x) if x.shape[0] ** 2 <= LARGEST else ops.dot(x, x)
    if np.prod(x.shape[:-1]) * x.shape[-2] <= LARGEST:
        return (x / 4) @ x.transpose(-1, -2)
    return x


def changed(rng: Rng, x: Any, other: Any) -> Any:
    """Change a copy in place."""
    y, z = x.detach().clone(), other().detach().sum()
    part = y
    for _ in range(rng.integers(3)):
        seen = view(rng, part, other)
        part = seen if getattr(seen._data.flags, "writeable", True) else part
    match rng.integers(4):
        case 0:
            part += 1.5
        case 1:
            part[...] = z
        case 2 if y.ndim:
            y[rng.integers(y.shape[0], size=2)] = z
        case _:
            y *= z
    return y + part.sum() * x


def along(rng: Rng, x: Any, other: Any) -> Any:
    if not x.ndim:
        return x
    axis = int(rng.integers(x.ndim))
    functions: list[Callable[..., Any]] = [ops.softmax, ops.log_softmax, ops.cumsum]
    return functions[rng.integers(3)](x, axis=axis)


def dropped(rng: Rng, x: Any, other: Any) -> Any:
    return ops.dropout(x, ops.dropout_mask(x, p=0.3), p=0.3)


KINDS = [
    unary, unary, unary, unary, binary, binary, binary, binary, reduction, reduction, view, view, view, joined,
    looked_up, chosen, product, changed, along, dropped,
]  # fmt: skip


class Program:
    """The program of a seed.

    Attributes:
        step: the function of tensors.
        arrays: the values for its first call.
        outside: a tensor that it changes.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.dtype = np.dtype([np.float32, np.float64][seed % 2])
        self.shapes = [tuple(rng.integers(1, 6, rng.integers(0, 4)).tolist()) for _ in range(rng.integers(1, 4))]
        self.arrays = self.values(0)
        self.outside = [Tensor(rng.standard_normal((2, 3)).astype(self.dtype))]

    def values(self, draw: int) -> list[Any]:
        """Other values of its arguments; some of them 0, -0, infinite or NaN in every third draw."""
        rng = np.random.default_rng([self.seed, draw])
        arrays = []
        for shape in self.shapes:
            values = rng.standard_normal(shape)
            if draw % 3 == 2:
                values = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0, np.inf, np.nan, 1.0]), values)
            arrays.append(np.asarray(values, self.dtype))
        return arrays

    def step(self, *inputs: Tensor) -> list[Tensor]:
        rng = np.random.default_rng(self.seed)
        pool = list(inputs)

        def other() -> Tensor:
            return pool[rng.integers(len(pool))]

        for _ in range(rng.integers(3, 9)):
            x = pool[-1] if rng.integers(3) else other()
            made = KINDS[rng.integers(len(KINDS))](rng, x, other)
            pool.append(made if made.data.size else x)
        if rng.integers(2):
            (outside,) = self.outside
            outside[int(rng.integers(2)), 1:] = pool[-1].detach().sum()
            outside *= 0.5
            pool.append(pool[-1] * outside.sum())
        out = pool[-1].sum() + pool[len(pool) // 2].mean()
        results = [out, *pool[-3:]]
        if out.requires_grad:
            again = bool(rng.integers(2))
            found = [g for g in grad(out, list(inputs), create_graph=again, allow_unused=True) if g is not None]
            results += found
            slopes = [g for g in found if g.requires_grad]
            if slopes:
                total = sum((g * g).sum() for g in slopes)
                results += [g for g in grad(total, list(inputs), allow_unused=True) if g is not None]
        return results


@pytest.mark.parametrize("start", range(0, 2000, TOGETHER))
def test_random_programs_have_the_bits_of_eager_ones(start: int) -> None:
    for seed in range(start, start + TOGETHER):
        program = Program(seed)
        with np.errstate(all="ignore"):
            step = TracedStep(program.step, program.arrays, program.outside)
            for draw in range(4):
                values = program.values(draw)
                expected = step.eager(values)
                assert not difference(step.reference(values), expected), f"tracer: seed {seed}, draw {draw}"
                if seed % EVERY:
                    continue
                assert not difference(step.machine(values), expected), f"emitter: seed {seed}, draw {draw}"
            assert not difference(step.traced, step.eager(program.arrays)), f"trace: seed {seed}"


# --- what random programs have found -----------------------------------------------------------------------------


def check(step: Callable[..., Any], *arrays: Any) -> None:
    """Compare a step of tensors, run in three ways."""
    traced = TracedStep(step, arrays)
    expected = traced.eager(arrays)
    assert not difference(traced.traced, expected)
    assert not difference(traced.reference(arrays), expected)
    assert not difference(traced.machine(arrays), expected)


X = np.random.default_rng(0).standard_normal((4, 5, 3))


def test_an_element_is_a_copy_and_not_a_view() -> None:
    def step(x: Tensor) -> list[Tensor]:
        y = x.detach().clone()
        element, row = y[1, 2, 0], y[1, 2]
        y[1] = 7.0
        return [element, row]

    check(step, X)


def test_an_array_keeps_its_layout_when_it_is_changed_in_place() -> None:
    def step(x: Tensor) -> list[Tensor]:
        y = ops.permute(x.detach().clone(), axes=(2, 0, 1))
        z = Tensor(np.zeros((3, 4, 5)))
        z[...] = y * 2
        y[...] = x.sum().detach()
        z[:, 1][...] = z.mean()
        return [z[1], z.sum(axis=0), y]

    check(step, X)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: ops.permute(x, axes=(2, 0, 1))[np.array([2, 0, 2])],
        lambda x: ops.take(ops.permute(x, axes=(2, 0, 1)), np.array([2, 0]), axis=1),
        lambda x: ops.masked(x, ops.expand(x[..., :1] > 0, shape=x.shape)),
        lambda x: ops.masked(x, (ops.permute(x, axes=(0, 2, 1)) > 0).transpose(1, 2)),
        lambda x: ops.expand(x[:1], shape=x.shape),
        lambda x: ops.expand(Tensor(0.1), shape=x.shape),
    ],
)  # fmt: skip
def test_values_have_the_layout_that_decides_how_later_sums_add(step: Any) -> None:
    check(
        lambda x: [
            y := step(x) * 1.1,
            y.sum(),
            step(x).sum(axis=(0, 2)),
            step(x).sum(axis=0),
            step(x) @ step(x).transpose(-1, -2),
        ],
        X[:, :4],
    )
