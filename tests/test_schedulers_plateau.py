"""ReduceLROnPlateau: metrics, groups added later, what would happen."""

import json
import math

import numpy as np
import pytest
from schedule_tools import parameter, sgd

from minigrad import schedulers as S
from minigrad import tensor


def test_a_metric_of_nan_counts_as_no_better():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    scheduler.step(1.0)
    for _ in range(2):
        scheduler.step(math.nan)
    assert scheduler.best == 1.0
    assert scheduler.get_last_lr() == [0.05]


def test_a_metric_may_be_a_tensor_and_a_group_added_later_is_reduced_too():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    scheduler.step(tensor(1.0))
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    scheduler.step(tensor(np.array([2.0])).sum())
    assert scheduler.get_last_lr() == [0.05, 0.2]
    assert scheduler.last_epoch == 2


def test_a_list_of_least_rates_says_that_it_has_none_for_a_group_added_later():
    optimizer = sgd(0.1)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.01])
    scheduler.step(1.0)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.4})
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="min_lr has 1 numbers for 2 param groups"):
        scheduler.step(2.0)
    assert scheduler.state_dict() == before
    scheduler.min_lr.append(0.3)
    scheduler.step(2.0)
    assert scheduler.get_last_lr() == [pytest.approx(0.01), 0.3]


def test_the_preview_of_a_plateau_is_what_happens_under_those_metrics(tmp_path):
    optimizer = sgd(0.1, 0.3)
    scheduler = S.ReduceLROnPlateau(optimizer, patience=2, factor=0.5, cooldown=1)
    scheduler.step(1.0)
    metrics = [1.0, 0.9, 0.95, math.nan, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6]
    before = json.dumps(scheduler.state_dict())
    preview = scheduler.preview(metrics, tmp_path / "plateau.png")["lr"]
    assert json.dumps(scheduler.state_dict()) == before
    rows = [scheduler.get_last_lr()]
    for metric in metrics:
        scheduler.step(metric)
        rows.append(scheduler.get_last_lr())
    np.testing.assert_array_equal(preview.T, rows)
    assert len(set(preview[0])) > 2
    assert (tmp_path / "plateau.png").stat().st_size > 1000
