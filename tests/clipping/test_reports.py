"""What clips say that they did, against the same worked out from the gradients."""

from __future__ import annotations

import numpy as np
import pytest
from clipping_cases import (
    ORDERS_AND_SCOPES,
    RANDOM,
    clip_by_loop,
    make_model,
    norm_of,
    random_arrays,
    ranges,
    set_grads,
)

from minigrad import clipping, optim

GRADS = random_arrays(RANDOM, seed=1)


def step(clip, model=None, **second_group):
    """The reports of one SGD step, with every other parameter in a second group if that has options of its own."""
    model = make_model(random_arrays(RANDOM, seed=2), GRADS) if model is None else model
    named = list(model.named_parameters())
    groups = [{"params": named[::2]}, {"params": named[1::2], **second_group}] if second_group else named
    optimizer = optim.SGD(groups, lr=1.0, clip=clip)
    optimizer.step()
    return optimizer.clip_reports()


def moved(model):
    """The update of each parameter after a step of SGD at learning rate 1."""
    start = random_arrays(RANDOM, seed=2)
    return {name: start[name] - p.data for name, p in model.named_parameters()}


def assert_reports(report, before, after, scope, order=2.0):
    """The report is about these gradients before and after."""
    pieces = ranges(RANDOM, scope)
    assert report.scope == scope
    assert sorted(report.ranges) == sorted(pieces)
    pieces = {name: pieces[name] for name in report.ranges}  # a group's parameters stand together
    norms = [np.array([norm_of(grads, p, order) for p in pieces.values()]) for grads in (before, after)]
    np.testing.assert_allclose(report.norm_before, norms[0], rtol=1e-12)
    np.testing.assert_allclose(report.norm_after, norms[1], rtol=1e-12)
    factor = np.divide(norms[1], norms[0], out=np.ones(len(pieces)), where=norms[0] > 0)
    np.testing.assert_allclose(report.factor, factor, rtol=1e-12)
    changed = [
        any(np.any((before[n] - after[n])[i if before[n].ndim else ...] != 0) for n, i in p) for p in pieces.values()
    ]
    assert report.acted.tolist() == changed


@pytest.mark.parametrize(("order", "scope"), ORDERS_AND_SCOPES)
def test_a_clip_by_norm_reports_every_range_of_its_scope(order, scope):
    max_norm = 0.9 * np.median([norm_of(GRADS, pieces, order) for pieces in ranges(RANDOM, scope).values()])
    (report,) = step(clipping.by_norm(max_norm, scope, order))
    assert report.clip == "clip_by_norm"
    assert_reports(report, GRADS, clip_by_loop(GRADS, scope, max_norm, order), scope, order)
    assert report.acted.any()
    assert scope == "global" or not report.acted.all()


@pytest.mark.parametrize(("order", "scope"), ORDERS_AND_SCOPES)
def test_groups_with_thresholds_of_their_own_share_a_range(order, scope):
    """A range over both groups is not multiplied by one number; the norm after clipping is still the true one."""
    low, high = 0.05, 0.4
    (report,) = step(clipping.by_norm(low, scope, order), max_norm=high)
    each = [clip_by_loop(GRADS, scope, bound, order) for bound in (low, high)]
    after = {name: each[i % 2][name] for i, name in enumerate(RANDOM)}
    assert_reports(report, GRADS, after, scope, order)


def test_a_clip_by_value_reports_on_tensors():
    (report,) = step(clipping.by_value(0.02), clip_high=0.1)
    after = {n: np.clip(g, -0.02, (0.02, 0.1)[i % 2]) for i, (n, g) in enumerate(GRADS.items())}
    assert_reports(report, GRADS, after, "tensor")
    assert report.clip == "clip_by_value"


def test_a_clip_by_value_does_not_act_on_nan_nor_within_its_bounds():
    grads = {**GRADS, "0.bias": np.full(7, np.nan), "1.scale": np.array(0.5)}
    (report,) = step(clipping.by_value(0.5), make_model(random_arrays(RANDOM, seed=2), grads))
    acted = dict(zip(report.ranges, report.acted, strict=True))
    assert not acted["0.bias"]
    assert not acted["1.scale"]
    assert any(acted.values())


def test_adaptive_clipping_reports_units_and_says_where_it_was_kept_from_acting():
    params = random_arrays(RANDOM, seed=2)
    (report,) = step(clipping.adaptive(0.05, exclude=["1"]))
    after = {name: grad.copy() for name, grad in GRADS.items()}
    pieces = ranges(RANDOM, "unit")
    for unit in pieces.values():
        ((name, row),) = unit
        limit = 0.05 * max(norm_of(params, unit, 2.0), 1e-3)
        if not name.startswith("1.") and norm_of(GRADS, unit, 2.0) > limit:
            after[name][row] *= limit / norm_of(GRADS, unit, 2.0)
    assert_reports(report, GRADS, after, "unit")
    assert report.clip == "clip_to_unit"
    assert 0 < report.acted.sum() < len(pieces)


def test_clips_in_a_row_report_what_reaches_each_of_them():
    model = make_model(random_arrays(RANDOM, seed=2), GRADS)
    first, second, third, fourth = step(
        [clipping.by_norm(0.8, "unit"), clipping.by_value(0.3), clipping.by_global_norm(0.7), clipping.by_value(0.01)],
        model,
    )
    by_unit = clip_by_loop(GRADS, "unit", 0.8)
    by_value = {name: np.clip(grad, -0.3, 0.3) for name, grad in by_unit.items()}
    by_all = clip_by_loop(by_value, "global", 0.7)
    last = {name: np.clip(grad, -0.01, 0.01) for name, grad in by_all.items()}
    assert_reports(first, GRADS, by_unit, "unit")
    assert_reports(second, by_unit, by_value, "tensor")
    assert_reports(third, by_value, by_all, "global")
    assert_reports(fourth, by_all, last, "tensor")
    assert all(report.acted.any() for report in (first, second, third, fourth))
    for name, update in moved(model).items():
        np.testing.assert_allclose(update, last[name], rtol=1e-12, atol=1e-15)


def test_parameters_without_a_gradient_are_reported_with_norm_zero():
    model = make_model(random_arrays(RANDOM, seed=2), {**GRADS, "0.weight": None})
    for report in step([clipping.by_norm(0.1, "tensor"), clipping.by_value(0.01)], model):
        assert report.ranges[0] == "0.weight"
        assert (report.norm_before[0], report.norm_after[0], report.factor[0], report.acted[0]) == (0, 0, 1, False)
        assert report.norm_before[1] > 0


def test_each_report_is_of_the_last_step_and_a_copy():
    model = make_model(random_arrays(RANDOM, seed=2), GRADS)
    optimizer = optim.Adam(model.parameters(), clip=clipping.by_global_norm(1.0))
    assert optimizer.clip_reports() == []
    optimizer.step()
    (first,) = optimizer.clip_reports()
    set_grads(model, {name: grad / 1e3 for name, grad in GRADS.items()})
    optimizer.param_groups[0]["max_norm"] = 2.0
    (again,) = optimizer.clip_reports()
    assert again.norm_after[0] == first.norm_after[0]
    optimizer.step()
    (second,) = optimizer.clip_reports()
    assert first.acted[0]
    assert not second.acted[0]
    np.testing.assert_allclose(second.norm_before * 1e3, first.norm_before, rtol=1e-12)


def test_lookahead_reports_and_plans_for_the_optimizer_inside():
    model = make_model(random_arrays(RANDOM, seed=2), GRADS)
    ahead = optim.Lookahead(optim.SGD(model.parameters(), lr=1.0, clip=clipping.by_global_norm(0.5)))
    ahead.step()
    (report,) = ahead.clip_reports()
    assert_reports(report, GRADS, clip_by_loop(GRADS, "global", 0.5), "global")
    assert "clip_by_norm" in str(ahead.plan())


def test_an_optimizer_without_clips_reports_nothing():
    assert step(None) == []


def test_a_norm_that_was_let_through_is_reported_as_it_was():
    grads = {**GRADS, "0.bias": np.full(7, np.inf)}
    model = make_model(random_arrays(RANDOM, seed=2), grads)
    (report,) = step(clipping.by_norm(0.5, "tensor", nonfinite="propagate"), model)
    place = report.ranges.index("0.bias")
    assert report.norm_before[place] == np.inf
    assert report.factor[place] == 0.0
    assert np.isnan(report.norm_after[place])
    assert np.isfinite(np.delete(report.norm_after, place)).all()
