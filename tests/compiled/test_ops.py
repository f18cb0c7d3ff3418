"""Every primitive in a compiled step: forward, first and second gradients have eager's bits, on other values too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from op_cases import CASES, numbers
from traced_steps import TracedStep, difference

import minigrad
from minigrad import ops
from minigrad.autograd.gradients import grad
from minigrad.autograd.tensor import Tensor
from minigrad.compiled import UntraceableError
from minigrad.compiled.bound import GuardError
from minigrad.ops import PRIMITIVES

pytestmark = pytest.mark.sample(1)

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-42, 3e38]

# Those that Python decides about by their values, so that a compiled step may have to be made eagerly for others:
# whether a norm has overflowed, whether labels, targets and indices are in range.
BRANCHES = {
    "norm", "std", "embedding", "cross_entropy", "nll_loss", "one_hot", "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
}  # fmt: skip
# Those that need numbers from a traced array even in their plain case.
UNTRACEABLE: set[str] = set()


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> Any:
    """Keep the code of thousands of programs out of the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGRAD_CACHE_DIR", "")
        yield


def dropout_mask(draw: Any) -> Any:
    """Without a seed: `TracedStep` sets it, outside of the step."""
    p = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return lambda x: ops.dropout_mask(x, p=p), [numbers(draw, draw(st.sampled_from([(), (3,), (2, 3)])))]


OWN_CASES = {**CASES, "dropout_mask": dropout_mask}


def with_gradients(f: Callable[..., Any]) -> Callable[..., Any]:
    """A step that returns a result, its gradients, and the gradients of these."""

    def weights(like: Any) -> Tensor:
        return Tensor(np.linspace(-1.5, 2, like.data.size).reshape(like.shape).astype(like.dtype))

    def step(*inputs: Tensor) -> list[Tensor]:
        out = f(*inputs)
        wanted = [x for x in inputs if x.requires_grad]
        if not out.requires_grad:
            return [out]
        first = grad(out, wanted, weights(out), create_graph=True, allow_unused=True)
        found = [g for g in first if g is not None]
        again = [g for g in found if g.requires_grad]
        second = grad(again, wanted, [weights(g) for g in again], allow_unused=True) if again else ()
        return [out, *found, *(g for g in second if g is not None)]

    return step


def others(arrays: Sequence[Any], seed: int) -> list[Any]:
    """Other values within the range of those of a case; special ones beside them if the seed is odd."""
    rng = np.random.default_rng(seed)
    made = []
    for a in arrays:
        if a.dtype == np.bool_:
            b = rng.random(a.shape) < 0.5
        elif a.dtype.kind == "f":
            b = np.asarray(rng.permutation(a.reshape(-1)).reshape(a.shape) * rng.uniform(0.9, 1, a.shape))
            if seed % 2 and a.size:
                b.reshape(-1)[rng.integers(0, a.size, 2)] = rng.choice(SPECIAL, 2)
        else:
            b = rng.permutation(a.reshape(-1)).reshape(a.shape)
        made.append(np.asarray(b, a.dtype))
    return made


def results(run: Callable[[], Any]) -> Any:
    """What a run gives, or its error."""
    try:
        with np.errstate(all="ignore"):
            return run()
    except (ValueError, IndexError, RuntimeError) as error:
        return error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(name for name in PRIMITIVES if not name.startswith("test_")))
@given(data=st.data())
@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])  # shrinking takes minutes
def test_compiled_primitives_have_the_bits_of_eager_ones(name: str, dtype: type, data: st.DataObject) -> None:
    f, arrays = OWN_CASES[name](data.draw)
    arrays = [np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]
    try:
        step = TracedStep(with_gradients(f), arrays)
    except UntraceableError:
        assert name in UNTRACEABLE
        return
    assert name not in UNTRACEABLE
    draws = [arrays, *(others(arrays, seed) for seed in range(6))]
    compiled = 0
    for values in draws:
        expected = results(lambda values=values: step.eager(values))
        try:
            found = step.machine(values)
        except GuardError:
            assert name in BRANCHES
            continue
        compiled += 1
        assert not isinstance(expected, Exception), f"eager raises {expected!r}"
        assert not difference(found, expected)
    assert not difference(step.traced, results(lambda: step.eager(arrays)))
    assert compiled > (0 if name in BRANCHES else 6)


def mask_as_key(x: Tensor) -> Tensor:
    return x[x > 0]


def mask_in_place(x: Tensor) -> Tensor:
    y = x.detach().clone()
    y[x > 0] = 0
    return y


def mask_to_place(x: Tensor) -> Tensor:
    return ops.place(x[:2], key=(x > 0)._data, shape=x.shape)


@pytest.mark.parametrize(("step", "below"), [(mask_as_key, 1), (mask_in_place, 2), (mask_to_place, 1)])
def test_a_mask_that_is_computed_is_refused_as_an_index_with_line_and_remedy(step: Any, below: int) -> None:
    x = Tensor(np.array([1.0, -2.0, 3.0]), requires_grad=True)
    line = step.__code__.co_firstlineno + below
    with pytest.raises(UntraceableError, match=rf"test_ops\.py:{line}: a mask as an index .* use where\(mask, x, 0\)"):
        minigrad.compile(step)(x)
    assert type(x._data) is np.ndarray


@pytest.mark.parametrize(
    "look",
    [lambda x: x.item(), float, int, lambda x: x.tolist(), np.asarray, lambda x: range(3)[x]],
    ids=["item", "float", "int", "tolist", "asarray", "index"],
)
def test_a_step_that_looks_at_numbers_is_refused_with_line_and_remedy(look: Any) -> None:
    def step(x: Tensor) -> Tensor:
        look(x.astype(np.int64).sum())
        return x

    line = look.__code__.co_firstlineno if hasattr(look, "__code__") else step.__code__.co_firstlineno + 1
    with pytest.raises(UntraceableError, match=rf"test_ops\.py:{line}: .* return the tensor from the compiled step"):
        minigrad.compile(step)(Tensor(np.ones(3)))
