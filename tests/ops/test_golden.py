"""Every primitive against PyTorch's values and gradients: stored ones, and live ones where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest
from golden.ops_reference import DTYPES, REFERENCES, Reference, load, run_torch, upstream

from minigrad import Tensor, ops
from minigrad.autograd.gradients import grad
from minigrad.ops import PRIMITIVES

# In units of the dtype's resolution, for values of order one; sums of a few terms differ in the order of adding.
ULPS = 24


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load()


def run_ours(entry: Reference, inputs: list[np.ndarray], dtype: str) -> tuple[Tensor, list[Tensor | None]]:
    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    with np.errstate(all="ignore"):
        out = entry.ours(ops, *tensors)
        if not out.requires_grad:
            return out, [None] * len(tensors)
        wanted = [x for x in tensors if x.requires_grad]
        found = iter(grad(out, wanted, upstream(out.shape).astype(out.dtype), allow_unused=True))
    return out, [next(found) if x.requires_grad else None for x in tensors]


def assert_close(actual: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=ULPS * eps, atol=ULPS * eps)


def test_every_primitive_has_a_reference() -> None:
    named = {name for name in PRIMITIVES if not name.startswith("test_")}
    assert named == {entry.primitive for entry in REFERENCES.values()}


def test_the_store_holds_the_inputs_of_the_script(stored: dict[str, np.ndarray]) -> None:
    for key, entry in REFERENCES.items():
        for i, x in enumerate(entry.inputs):
            np.testing.assert_array_equal(stored[f"{key}/in{i}"], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("key", REFERENCES)
def test_values_and_gradients_are_those_stored_from_pytorch(
    key: str, dtype: str, stored: dict[str, np.ndarray]
) -> None:
    entry = REFERENCES[key]
    out, gradients = run_ours(entry, list(entry.inputs), dtype)
    expected = stored[f"{key}/{dtype}/out"]
    assert out.shape == expected.shape
    assert out.dtype == expected.dtype
    assert_close(out.data, expected, dtype)
    for i, g in enumerate(gradients):
        reference = stored.get(f"{key}/{dtype}/grad{i}")
        if g is not None:
            assert reference is not None, f"PyTorch has no gradient for input {i}"
            assert_close(g.data, reference, dtype)
        else:
            # An op without gradient here may have one in PyTorch, which is then 0 everywhere.
            assert reference is None or not reference.any()


@pytest.mark.parametrize("key", REFERENCES)
def test_the_store_is_what_pytorch_gives_now(key: str, stored: dict[str, np.ndarray]) -> None:
    pytest.importorskip("torch")
    for dtype in DTYPES:
        out, gradients = run_torch(REFERENCES[key], dtype)
        assert_close(out, stored[f"{key}/{dtype}/out"], dtype)
        for i, g in enumerate(gradients):
            if g is not None:
                assert_close(g, stored[f"{key}/{dtype}/grad{i}"], dtype)
