"""Products have NumPy's bits also where its library has a way of its own: for a matrix and its transpose."""

import numpy as np
import pytest

import minigrad


def twice(x):
    """Two values that are equal, but not the same memory, so that NumPy takes the general way."""
    return x.relu() @ x.relu().T


def once(x):
    a = x.relu()
    return a @ a.T


def of_an_argument(x):
    return x @ x.T


@pytest.mark.parametrize("function", [twice, once, of_an_argument])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_and_its_transpose(function, dtype):
    rng = np.random.default_rng(0)
    compiled = minigrad.compile(function)
    for _ in range(4):
        x = minigrad.tensor(rng.standard_normal((37, 53)).astype(dtype))
        assert compiled(x).data.tobytes() == function(x).data.tobytes()
    assert not compiled.reason
