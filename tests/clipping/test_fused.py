"""A clip in an optimizer's chain is the function followed by the optimizer, bit for bit, for every optimizer."""

from __future__ import annotations

import numpy as np
import pytest
from clipping_cases import run_steps, two_groups

from minigrad import clipping, optim

OPTIMIZERS = [
    name
    for name, value in vars(optim).items()
    if isinstance(value, type) and issubclass(value, optim.Optimizer) and name not in ("Optimizer", "Lookahead")
]


def global_norm(parameters):
    clipping.clip_grad_norm_(parameters, 0.5)


def test_every_optimizer_is_there():
    assert {"SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "RAdam", "LAMB", "LARS"} <= set(OPTIMIZERS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_clips_as_the_function_does(name, dtype):
    fused = run_steps(dtype, two_groups(name, clip=clipping.by_global_norm(0.5)))
    assert fused == run_steps(dtype, two_groups(name), global_norm)


def test_clipping_makes_a_difference_to_what_is_compared():
    assert run_steps(np.float64, two_groups("SGD"), global_norm) != run_steps(np.float64, two_groups("SGD"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_a_clip_by_unit_does_not_change_how_the_wider_norms_of_an_optimizer_are_summed(name, dtype):
    fused = run_steps(dtype, two_groups(name, clip=clipping.adaptive(0.05)))
    assert fused == run_steps(dtype, two_groups(name), lambda p: clipping.adaptive_clip_grad_(p, 0.05))
    fused = run_steps(dtype, two_groups(name, clip=clipping.by_norm(0.5, "unit")))
    assert fused == run_steps(dtype, two_groups(name), lambda p: clipping.clip_grad_norm_(p, 0.5, scope="unit"))


def test_a_clip_by_unit_and_a_global_one_are_the_two_functions():
    def both(parameters):
        parameters = list(parameters)
        clipping.adaptive_clip_grad_(parameters, 0.05)
        clipping.clip_grad_norm_(parameters, 0.1)

    clips = [clipping.adaptive(0.05), clipping.by_global_norm(0.1)]
    assert run_steps(np.float64, two_groups("Adam", clip=clips)) == run_steps(np.float64, two_groups("Adam"), both)
