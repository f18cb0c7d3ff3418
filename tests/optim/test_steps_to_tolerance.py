"""On a parabola and on Rosenbrock's function, as many steps to a small value as PyTorch takes, and to the same point.

For SGD (plain, with momentum, with Nesterov's), Adagrad, RMSprop (plain and with momentum), Adam, RAdam and NAdam:
from 29 steps to 8,260 the number of steps is the same, and where they end agrees to a relative 1e-9 (seen: 8e-15).
"""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minigrad import nn, optim

GOLDEN = Path(__file__).parents[1] / "golden"
spec = importlib.util.spec_from_file_location("steps_to_tolerance", GOLDEN / "steps_to_tolerance.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
RUNS = [pytest.param(case, function, id=f"{case}-{function}") for case in script.CASES for function in script.FUNCTIONS]


@cache
def ours(case, function):
    return script.steps(lambda value: nn.Parameter(np.array([value])), optim, case, function)


def assert_same(found, steps, point):
    assert found[0] == steps
    np.testing.assert_allclose(found[1], point, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("case", "function"), RUNS)
def test_as_many_steps_as_pytorch_and_to_the_same_point(case, function):
    stored = json.loads((GOLDEN / "steps_to_tolerance.json").read_text())[case][function]
    assert_same(ours(case, function), stored["steps"], stored["point"])


@pytest.mark.parametrize(("case", "function"), RUNS)
def test_as_many_steps_as_pytorch_run_now(case, function):
    pytest.importorskip("torch")
    assert_same(ours(case, function), *script.in_torch(case, function))


def test_a_slightly_different_rate_takes_another_number_of_steps(monkeypatch):
    options = {"Rosenbrock": {"lr": 0.0203}}
    monkeypatch.setitem(script.CASES, "Adam, other", ("Adam", options))
    assert ours("Adam, other", "Rosenbrock")[0] != ours("Adam", "Rosenbrock")[0]
