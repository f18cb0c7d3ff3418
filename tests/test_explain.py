"""Explained updates: every optimiser's terms reproduce what the compiled step has stored, and their parts add up."""

import copy
import json
import math

import numpy as np
import pytest
from optim_cases import problem
from optim_registry import VARIANTS
from optim_tools import Chain, assert_same_bits, leaves, loss_of, network, set_gradients, take_step, values

from minigrad import clipping, nn, optim, schedulers, study
from minigrad.optim import apply_update, exp, log, rule
from minigrad.study.explanation import ulps


def corners(shape):
    """The first, the last, and a middle index of a shape."""
    if not shape or 0 in shape:
        return [] if shape else [()]
    return [tuple(0 for _ in shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_the_terms_reproduce_the_stored_change_and_state_to_the_last_bit_and_the_parts_add_up(entry, variant, dtype):
    arrays, steps = problem()
    params = leaves(arrays, dtype)
    optimizer = entry.make(list(params.items()), **entry.variants[variant].options)
    optimizer.watch()
    for t, grads in enumerate(steps[:7]):
        before = values(params)
        take_step(optimizer, params, grads)
        for name, parameter in params.items():
            for index in corners(parameter.shape):
                e = optimizer.explain(name, index)
                if grads[name] is None:
                    assert e.outcome == "no gradient"
                    continue
                assert e.outcome == "updated"
                assert e.exact, str(e)
                assert e.checks[0].name == "param"
                assert {check.name for check in e.checks} == {"param", *entry.variants[variant].slots}
                assert e.after == parameter.data[index]
                assert e.before == before[name][index]
                assert e.change == float(parameter.data[index]) - float(before[name][index])
                assert math.fsum(e.parts.values()) == pytest.approx(e.change, rel=1e-13, abs=1e-300)
                size = sum(map(abs, e.parts.values())) + abs(e.before)
                assert abs(e.parts["rounding"]) <= 20 * np.finfo(dtype).eps * size, (t, str(e))
