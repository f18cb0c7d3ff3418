"""The example of exploding gradients: without clipping the network is lost, with it the network learns to add."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "exploding_gradients.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("exploding_gradients", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [0, 3])
def test_without_clipping_the_gradient_explodes_and_nothing_is_learned_any_more(example, seed):
    with np.errstate(all="ignore"):
        losses, norms = example.train(math.inf, steps=400, seed=seed)
    assert not np.max(norms) < 1e4  # also where it has become NaN
    assert not np.max(losses) < 1e2
    assert not np.mean(losses[-100:]) < 0.85 * example.MEAN_ANSWER


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_with_clipping_the_network_learns_to_add(example, seed):
    losses, norms = example.train(0.25, steps=1000, seed=seed)
    assert np.max(losses) < 10
    assert np.max(norms) < 1e3
    assert np.mean(norms) > 1  # the clip acts: most gradients are several times as long as it lets through
    assert np.mean(losses[-100:]) < 0.6 * example.MEAN_ANSWER


def test_the_same_seed_gives_the_same_run(example):
    assert example.train(0.25, steps=5, seed=1) == example.train(0.25, steps=5, seed=1)
    assert example.train(0.25, steps=5, seed=1) != example.train(0.25, steps=5, seed=2)


def test_a_batch_marks_one_number_in_each_half_and_asks_for_their_sum(example):
    x, y = example.batch(np.random.default_rng(0), size=50)
    numbers, marks = x[..., 0], x[..., 1]
    half = example.LENGTH // 2
    assert (marks[:half].sum(axis=0) == 1).all()
    assert (marks[half:].sum(axis=0) == 1).all()
    np.testing.assert_array_equal(y[:, 0], (numbers * marks).sum(axis=0))
    assert x.dtype == y.dtype == np.float32


def test_the_picture_is_a_png_with_both_runs(example, tmp_path):
    runs = {"one": ([1.0, 2.0], [3.0, 4.0]), "other": ([2.0, np.inf], [4.0, np.nan])}
    example.draw(runs, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
