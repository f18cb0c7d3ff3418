"""What the processor computes itself has NumPy's bits: functions of elements, reductions, gathers and scatters."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from traced_steps import TracedStep, difference

import minigrad
from minigrad import ops
from minigrad.autograd.tensor import Tensor
from minigrad.compiled.elementwise import is_native

pytestmark = pytest.mark.sample(1)

DTYPES = [np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.bool_]


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> Any:
    """Keep the code of many programs out of the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGRAD_CACHE_DIR", "")
        yield


def check(step: Callable[..., Any], draws: Sequence[Sequence[Any]]) -> None:
    """Compare the machine code of a step of arrays, traced on the first of several draws, with NumPy on all."""
    with np.errstate(all="ignore"):
        traced = TracedStep(step, draws[0], given=list)
        for arrays in draws:
            assert not difference(traced.machine(arrays), traced.eager(arrays))


def special(dtype: Any) -> Any:
    """The values of a dtype at which functions behave unlike elsewhere."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([True, False])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1, info.max // 2], dtype)
    tiny = np.finfo(dtype)
    positive = [
        0.0, tiny.smallest_subnormal, tiny.smallest_subnormal * 3, tiny.tiny, tiny.tiny * (1 - tiny.eps), 0.3, 0.5, 1.0,
        1 + tiny.eps, 1.5, 2.5, 3.7, 2.0**23 - 0.5, 2.0**31, tiny.max, np.inf, np.nan,
    ]  # fmt: skip
    values = np.array(positive, dtype)
    return np.concatenate([values, -values])


def draws_of(dtype: Any, size: int, seed: int) -> Any:
    """Special values, and others between them."""
    rng = np.random.default_rng([seed, size])
    values = rng.choice(special(dtype), size)
    if values.dtype.kind == "f":
        values = np.where(rng.random(size) < 0.4, rng.standard_normal(size) * 3, values)
    return values.astype(dtype)


def functions(dtype: Any) -> list[Any]:
    """The functions that are native for some dtype and that NumPy has for this one."""
    found = []
    for function in {f.__name__: f for f in vars(np).values() if isinstance(f, np.ufunc)}.values():
        if not any(is_native(function.__name__, np.dtype(each)) for each in DTYPES):
            continue
        one = np.ones(1, dtype)
        try:
            result = function(*[one] * function.nin)
        except TypeError:
            continue
        if result.dtype.kind != "f" or np.dtype(dtype).kind == "f":  # not native for integers
            found.append(function)
    return found


def apply(a: Any, b: Any, mask: Any) -> list[Any]:
    """All functions of two arrays."""
    results = [function(*(a, b)[: function.nin]) for function in functions(a.dtype)]
    return [*results, np.where(mask, a, b), np.where(a, b, a)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_have_the_bits_of_ufuncs_on_all_pairs_of_special_values(dtype: Any) -> None:
    a, b = (x.reshape(-1).copy() for x in np.meshgrid(special(dtype), special(dtype)))
    mask = np.arange(a.size) % 3 == 0
    check(apply, [(b, b, ~mask), (a, b, mask)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("width", range(1, 41))
def test_functions_have_the_bits_of_ufuncs_at_every_width_and_stride(width: int, dtype: Any) -> None:
    def drawn(seed: int) -> list[Any]:
        a, b, mask = draws_of(dtype, 3 * width, seed), draws_of(dtype, 2 * width, seed + 1), draws_of(bool, width, seed)
        return [a, b, mask]

    layouts = [
        lambda a, b: (a[:width], b[:width]),
        lambda a, b: (a[::3], b[::2]),
        lambda a, b: (a[::-1][:width], b[width:]),
        lambda a, b: (a[5 % width : 5 % width + 1], b[:width]),
        lambda a, b: (a.reshape(3, width).T, b[:3]),
    ]

    def step(a: Any, b: Any, mask: Any) -> list[Any]:
        x, y = layouts[width % len(layouts)](a, b)
        return apply(x, y, mask[: len(y)] if x.ndim == 1 else mask[:, None])

    if width < 2:
        layouts[-1] = layouts[0]
    check(step, [drawn(seed) for seed in range(3)])


@pytest.mark.parametrize("source", DTYPES)
def test_casts_have_the_bits_of_numpys(source: Any) -> None:
    values = special(source)
    if values.dtype.kind == "f":  # beyond the range of the target the processor decides
        values = np.concatenate([values[np.abs(values) < 2**31], np.linspace(-3, 3, 40).astype(source)])

    def step(x: Any, floats: Any) -> list[Any]:
        small = np.clip(floats, 0, 100)
        whole = [small.astype(dtype) for dtype in DTYPES] if x.dtype.kind == "f" else []
        return [
            *whole,
            *(x.astype(dtype) for dtype in DTYPES if values.dtype.kind != "f" or np.dtype(dtype).kind in "fb"),
        ]

    check(step, [(np.roll(values, n), np.roll(values, n)) for n in range(3)])


# --- reductions --------------------------------------------------------------------------------------------------


REDUCTIONS = [np.add, np.multiply, np.maximum, np.minimum, np.logical_or, np.logical_and]


def reduced(x: Any) -> list[Any]:
    """All reductions over all sets of axes."""
    axes = [each for n in range(x.ndim + 1) for each in itertools.combinations(range(x.ndim), n)][: 1 << 3]
    return [f.reduce(x, axis=each, keepdims=len(each) == 1) for f in REDUCTIONS for each in axes]


SHAPES = [(), (1,), (7,), (16,), (33,), (1, 9), (17, 5), (3, 24), (2, 130), (2, 3, 4), (4, 1, 20), (2, 2, 3, 2)]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *((shape, np.float32) for shape in SHAPES),
        *((shape, np.float64) for shape in SHAPES[1::2]),
        *((shape, dtype) for shape in SHAPES[::5] for dtype in (np.int32, np.bool_)),
    ],
)
def test_reductions_have_numpys_bits_over_all_axes_of_all_layouts(shape: Any, dtype: Any) -> None:
    ndim = len(shape)
    layouts: list[Callable[[Any], Any]] = [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[..., ::-1] if ndim else x,
        lambda x: x[..., ::2] if ndim else x,
        lambda x: np.broadcast_to(x, (3, *shape)),
        lambda x: np.broadcast_to(x[..., None], (*shape, 2)) if ndim < 4 else x,
        lambda x: x.swapaxes(0, 1) if ndim > 2 else x,
    ]

    def step(x: Any) -> list[Any]:
        return [result for layout in layouts for result in reduced(layout(x))]

    size = int(np.prod(shape))
    draws = [draws_of(dtype, size, seed).reshape(shape) for seed in range(2)]
    if np.dtype(dtype).kind == "f":
        rng = np.random.default_rng(0)
        zeros = [rng.choice([0.0, -0.0, *others], shape) for others in ([], [-1.0], [1.0])]
        draws = [rng.standard_normal(shape), np.full(shape, -0.0), *zeros, *draws]
    check(step, [(np.asarray(x, dtype),) for x in draws])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", range(1, 302, 30))
def test_reductions_have_numpys_bits_at_every_length(start: int, dtype: Any) -> None:
    lengths = range(start, start + 30, 1 if dtype == np.float32 else 4) if start < 300 else [1000, 4099]
    columns = 2 if start < 300 else 33

    def step(*xs: Any) -> list[Any]:
        return [f.reduce(x, axis=axis) for x in xs for f in REDUCTIONS[:3] for axis in (0, 1)]

    rng = np.random.default_rng(start)
    draws = []
    for _ in range(2):
        rows = [rng.standard_normal((n, columns)).astype(dtype) for n in lengths]
        draws.append([*rows, *(np.ascontiguousarray(x.T) for x in rows)])
    check(step, draws)


# --- indices ---------------------------------------------------------------------------------------------------------


KEYS: list[tuple[Any, Callable[[Any, Any], Any]]] = [
    ((6,), lambda i, j: i),
    ((6,), lambda i, j: (i,)),
    ((6, 5), lambda i, j: i),
    ((5, 6), lambda i, j: (slice(None), i)),
    ((6, 5), lambda i, j: (i, slice(None, None, 2))),
    ((6, 5), lambda i, j: (i, slice(None, None, -1))),
    ((6, 4), lambda i, j: (i, j)),
    ((6, 3, 4), lambda i, j: (i, slice(None), j)),
    ((3, 6, 4), lambda i, j: (slice(1, None), i, j)),
    ((3, 6, 2, 4), lambda i, j: (..., i, slice(None), j)),
    ((6, 4, 20), lambda i, j: (i[:, None], j)),
    ((6, 4, 3), lambda i, j: (i, 2)),
    ((6, 5), lambda i, j: (i, None)),
]


def indices(seed: int, count: int = 7) -> list[Any]:
    """Positions along axes of 6 and 4 elements, counted from both ends, with repetitions."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-6, 6, count), rng.integers(-4, 4, count)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("case", range(len(KEYS)))
def test_elements_are_looked_up_assigned_and_added_as_by_numpy(case: int, dtype: Any) -> None:
    shape, make = KEYS[case]

    def step(x: Any, i: Any, j: Any) -> list[Any]:
        found = []
        for y in (x, x[::-1] if shape[0] == 3 else x.swapaxes(0, -1).copy().swapaxes(0, -1)):
            key = make(i, j)
            found.append(y[key])
            new = y[key] == 0 if dtype is np.bool_ else y[key] * 2 + 1
            for values in (new, new[..., :1]):
                z = y.copy()
                z[key] = values
                found.append(z)
                if dtype is not np.bool_:
                    z = y.copy()
                    np.add.at(z, key, values)
                    found.append(z)
        return found

    draws = [(draws_of(dtype, int(np.prod(shape)), seed).reshape(shape), *indices(seed)) for seed in range(4)]
    check(step, draws)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x, i: x[i], "getitem: .*index 9 is out of bounds for axis 0 with size 6"),
        (lambda x, i: ops.take(x, i, axis=0), "take: .*index 9 is out of bounds for axis 0 with size 6"),
        (lambda x, i: ops.gather(x, i, axis=0), "gather: .*index 9 is out of bounds for axis 0 with size 6"),
        (lambda x, i: ops.scatter(x[:2], i, axis=0, shape=(6,)), "scatter: .*index 9 is out of bounds"),
        (
            lambda x, i: ops.embedding(abs(i), x.reshape(6, 1)),
            "embedding: index 9 is out of range for a table of 6 rows",
        ),
    ],
)
def test_an_index_out_of_range_is_eagers_own_error_and_changes_nothing(change: Any, text: str) -> None:
    seen = Tensor(np.zeros(6))

    @minigrad.compile
    def step(x: Tensor, i: Tensor) -> Tensor:
        seen[...] = seen + 1
        return change(x + seen, i)

    x, right = Tensor(np.arange(6.0)), Tensor(np.array([2, -1]))
    for _ in range(3):
        step(x, right)
    np.testing.assert_array_equal(seen.data, np.full(6, 3.0))
    with pytest.raises(IndexError, match=text):
        step(x, Tensor(np.array([2, 9])))
    np.testing.assert_array_equal(seen.data, np.full(6, 4.0))  # by the step in Python, which has raised
    np.testing.assert_array_equal(step(x, right).data, change(x + 5, right).data)
