"""Clips of every form, several in a row, under Lookahead, maximizing and on threads: what the functions compute."""

from __future__ import annotations

import numpy as np
import pytest
from clipping_cases import RANDOM, grads_of, make_model, random_arrays, run_steps, snapshot, two_groups

from minigrad import clipping, optim
from minigrad.kernels import layout, threads

FORMS = {
    "norm per tensor": (
        clipping.by_norm(0.3, "tensor"),
        lambda p: clipping.clip_grad_norm_(p, 0.3, scope="tensor"),
    ),
    "norm per layer, order 1": (
        clipping.by_norm(3.0, "layer", 1),
        lambda p: clipping.clip_grad_norm_(p, 3.0, 1, scope="layer"),
    ),
    "norm per unit, order 3.5": (
        clipping.by_norm(0.3, "unit", 3.5),
        lambda p: clipping.clip_grad_norm_(p, 0.3, 3.5, scope="unit"),
    ),
    "largest value": (
        clipping.by_global_norm(0.3, np.inf),
        lambda p: clipping.clip_grad_norm_(p, 0.3, np.inf),
    ),
    "value": (clipping.by_value(0.02), lambda p: clipping.clip_grad_value_(p, 0.02)),
    "adaptive": (
        clipping.adaptive(0.05, exclude=["1"]),
        lambda p: clipping.adaptive_clip_grad_(p, 0.05, exclude=["1"]),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_clip_is_its_function(form):
    dtype = np.float32
    clip, function = FORMS[form]
    fused = run_steps(dtype, two_groups("SGD", momentum=0.7, clip=clip))
    separate = run_steps(dtype, two_groups("SGD", momentum=0.7), function)
    assert fused == separate
    assert fused != run_steps(dtype, two_groups("SGD", momentum=0.7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_clips_in_a_row_are_the_functions_in_that_order(dtype):
    clips = [clipping.by_value(0.5), clipping.by_norm(1.0, "tensor"), clipping.by_global_norm(0.9)]
    functions = [
        lambda p: clipping.clip_grad_value_(p, 0.5),
        lambda p: clipping.clip_grad_norm_(p, 1.0, scope="tensor"),
        lambda p: clipping.clip_grad_norm_(p, 0.9),
    ]

    def one_after_the_other(order):
        def clip(parameters):
            kept = list(parameters)
            for function in order:
                function(kept)

        return clip

    fused = run_steps(dtype, two_groups("Adam", clip=clips))
    assert fused == run_steps(dtype, two_groups("Adam"), one_after_the_other(functions))
    assert fused != run_steps(dtype, two_groups("Adam"), one_after_the_other(functions[::-1]))


def test_a_norm_per_unit_before_one_over_all_leaves_that_sum_as_it_is():
    """The sum over all is added up tensor by tensor, as in the function, although the units are clipped one by one."""
    models = [make_model(random_arrays(RANDOM, seed=2), random_arrays(RANDOM, seed=1)) for _ in range(2)]
    fused, separate = models
    clips = [clipping.adaptive(0.2), clipping.by_global_norm(0.5)]
    optim.SGD(fused.parameters(), lr=1.0, clip=clips).step()
    holder = optim.SGD(separate.parameters(), lr=1.0)
    clipping.adaptive_clip_grad_(separate.parameters(), 0.2)
    clipping.clip_grad_norm_(separate.parameters(), 0.5)
    holder.step()
    for a, b in zip(fused.parameters(), separate.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize(("momentum", "dtype"), [("keep", np.float32), ("pullback", np.float64)])
def test_lookahead_clips_its_fast_steps(momentum, dtype):
    def ahead(**options):
        inner = two_groups("SGD", momentum=0.7, **options)
        return lambda named: optim.Lookahead(inner(named), k=2, momentum=momentum)

    fused = run_steps(dtype, ahead(clip=clipping.by_global_norm(0.5)))
    assert fused == run_steps(dtype, ahead(), lambda p: clipping.clip_grad_norm_(p, 0.5))
    assert fused != run_steps(dtype, ahead())


def test_maximizing_climbs_along_the_clipped_gradient():
    grads = random_arrays(RANDOM, seed=1)
    up = make_model(random_arrays(RANDOM, seed=2), grads)
    down = make_model(random_arrays(RANDOM, seed=2), {name: -grad for name, grad in grads.items()})
    bounds = clipping.by_value(-0.1, 0.4), clipping.by_value(-0.4, 0.1)
    for model, maximize, bound in zip((up, down), (True, False), bounds, strict=True):
        optim.SGD(model.parameters(), lr=1.0, maximize=maximize, clip=bound).step()
    assert snapshot(up) == snapshot(down)


# Threads

LARGE = {"0.weight": (300, 500), "0.bias": (300,), "1.weight": (3, 40_000)}


@pytest.fixture
def with_threads(monkeypatch):
    monkeypatch.setattr(threads, "PARALLEL_FROM", 1)
    monkeypatch.setattr(layout, "PARALLEL_FROM", 1)
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


@pytest.mark.parametrize(
    "clip",
    [
        clipping.by_global_norm(0.5),
        clipping.adaptive(0.05),
        [clipping.by_norm(0.5, "tensor", 3.5), clipping.by_global_norm(0.5, np.inf)],
    ],
    ids=["global", "adaptive", "two"],
)
def test_the_number_of_threads_does_not_show(clip, with_threads, monkeypatch):
    started, run_blocks = [], layout.run_blocks
    monkeypatch.setattr(layout, "run_blocks", lambda *a: (started.append(threads.get_num_threads()), run_blocks(*a)))
    results = []
    for number in (1, 2, 4):
        with_threads(number)
        results.append(run_steps(np.float32, two_groups("SGD", momentum=0.7, clip=clip), shapes=LARGE))
    assert results[0] == results[1] == results[2]
    assert {2, 4} <= set(started)


def test_the_functions_use_threads_with_the_same_bits(with_threads):
    results = []
    for number in (1, 2, 4):
        with_threads(number)
        model = make_model(random_arrays(LARGE, seed=2), random_arrays(LARGE, seed=1), np.float32)
        norm = clipping.clip_grad_norm_(model.parameters(), 0.5).item()
        clipping.adaptive_clip_grad_(model.parameters(), 0.001)
        results.append((norm, [grad.tobytes() for grad in grads_of(model)]))
    assert results[0] == results[1] == results[2]
