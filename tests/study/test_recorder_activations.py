"""What a recorder says of activations: the spread of each output, dead and saturated units, on a fixed batch."""

import math

import numpy as np
import pytest

from minigrad import Tensor, manual_seed, nn, optim, study
from minigrad.study.records._activations import BINS, _histogram, observe


def record(model, probe):
    """The activations of a single record of an untrained model."""
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    with study.Recorder(model, optimizer, every=1, probe=probe) as recorder:
        for p in model.parameters():
            p.grad = Tensor(np.zeros_like(p.data))
        optimizer.step()
    return recorder.recording


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_spread_is_that_of_the_outputs_before_the_step():
    manual_seed(0)
    model = nn.MLP([5, 7, 3])
    x = normal(40, 5)
    hidden = x @ model[0].weight.data.T + model[0].bias.data
    recording = record(model, x)
    assert recording.activations == ["0", "1", "2"]
    assert [a["kind"] for a in recording.header["activations"].values()] == ["Linear", "ReLU", "Linear"]
    found = recording.records[0]["activations"]["0"]
    assert found["mean"] == pytest.approx(hidden.mean(), rel=1e-5)
    assert found["std"] == pytest.approx(hidden.std(), rel=1e-5)
    assert (found["low"], found["high"]) == pytest.approx((hidden.min(), hidden.max()))
    assert found["gain"] == pytest.approx(math.sqrt(hidden.var(0).mean() / x.var(0).mean()), rel=1e-5)
    counts, _ = np.histogram(hidden, len(found["counts"]))
    assert sum(found["counts"]) == hidden.size
    assert np.abs(np.subtract(found["counts"], counts)).sum() <= 4, "values on an edge may fall to either side"
    assert "gain" not in recording.records[0]["activations"]["1"]


@pytest.mark.parametrize("functional", [False, True])
def test_dead_units_are_those_that_no_row_wakes(functional):
    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(4, 6)
            self.act = nn.ReLU()
            self.out = nn.Linear(6, 2)

        def forward(self, x):
            hidden = self.hidden(x)
            return self.out(hidden.relu() if functional else self.act(hidden))

    manual_seed(0)
    model = Net()
    model.hidden.bias.data = np.array([-100, -100, 0, 0, -100, 0], np.float32)
    x = normal(50, 4)
    # A unit that a single row wakes is not dead.
    x[7] = 0
    model.hidden.weight.data[3] = 0
    model.hidden.weight.data[3, 0] = -1
    x[:, 0] = 1
    x[7, 0] = -1
    recording = record(model, x)
    name = "hidden.relu" if functional else "act"
    assert name in recording.activations
    found = recording.records[0]["activations"][name]
    assert (found["dead"], found["units"]) == (3, 6)
    assert found["low"] == 0


@pytest.mark.parametrize(("kind", "slope"), [("tanh", lambda z: 1 - np.tanh(z) ** 2), ("sigmoid", None)])
def test_saturated_units_have_a_slope_below_a_twentieth_on_most_rows(kind, slope):
    slope = slope or (lambda z: 4 * np.exp(-z) / (1 + np.exp(-z)) ** 2)
    manual_seed(1)
    model = nn.MLP([4, 30, 2], activation=kind)
    model[0].weight.data = model[0].weight.data * np.linspace(0.1, 60, 30, dtype=np.float32)[:, None]
    x = normal(64, 4)
    before = (x @ model[0].weight.data.T + model[0].bias.data).astype(np.float64)
    flat = slope(before) < 0.05
    found = record(model, x).records[0]["activations"]["1"]
    assert 0 < (flat.mean(0) >= 0.9).sum() < 30, "the test needs units of both kinds"
    assert found["saturated"] == (flat.mean(0) >= 0.9).sum()
    assert found["saturated_share"] == pytest.approx(flat.mean(), abs=1e-3)
    assert "dead" not in found


def test_values_that_are_not_finite_are_counted_and_left_out_of_the_rest():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model[0].weight.data = np.array([[1, 0], [0, 1]], np.float32)
    model[0].bias.data = np.zeros(2, np.float32)
    x = np.array([[1.0, 2.0], [np.nan, 3.0], [np.inf, 4.0]], np.float32)
    found = record(model, x).records[0]["activations"]["0"]
    # NaN and infinity times 0 are NaN, also in the other unit.
    assert (found["nan"], found["inf"]) == (3, 1)
    assert (found["low"], found["high"]) == (1.0, 2.0)
    assert sum(found["counts"]) == 2
    assert "gain" not in found


def test_an_output_that_is_one_number_everywhere_has_a_histogram_too():
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].weight.data = np.zeros((3, 2), np.float32)
    model[0].bias.data = np.full(3, 2.0, np.float32)
    found = record(model, normal(4, 2)).records[0]["activations"]["0"]
    assert found["std"] == 0
    assert found["gain"] == 0
    assert found["counts"] == [12] + [0] * 23


def test_frozen_recurrent_and_shared_modules_are_looked_at():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared).requires_grad_(False)
    outputs = observe(model, (Tensor(normal(4, 3)),))
    assert list(outputs) == ["0", "1", "0@2"]
    rnn = nn.RNN(3, 5)
    outputs = observe(rnn, (Tensor(normal(2, 4, 3)),))
    assert list(outputs) == ["tanh", "RNN"]
    assert sorted(outputs["tanh"].values.ravel()) == sorted(outputs["RNN"].values.ravel()), "all steps together"
    embedding = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    outputs = observe(embedding, (Tensor(np.arange(6)),))
    assert outputs["0"].arriving is None, "what is looked up has no scale"
    assert outputs["1"].arriving is outputs["0"].values


def test_the_first_batch_in_training_is_the_probe_where_none_is_given():
    manual_seed(0)
    model = nn.MLP([2, 4, 2])
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    batches = [normal(200, 2, seed=s) for s in range(3)]
    with study.Recorder(model, optimizer, every=1) as recorder:
        model.eval()(Tensor(normal(5, 2, seed=9)))
        model.train()
        for x in batches:
            optimizer.zero_grad()
            (model(Tensor(x)) ** 2).mean().backward()
            optimizer.step()
    assert recorder.recording.header["probe_rows"] == 128
    (probe,) = recorder.probe
    np.testing.assert_array_equal(probe.data[[0, -1]], batches[0][[0, -1]])
    assert not model._forward_pre_hooks


def test_evaluation_mode_is_what_is_looked_at():
    manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 400), nn.Dropout(0.5))
    found = record(model, normal(10, 3)).records[0]["activations"]
    assert found["1"]["counts"] == found["0"]["counts"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", ["largest", "smallest", "tiny"])
def test_values_at_the_ends_of_what_numbers_reach_are_counted(dtype, size):
    info = np.finfo(dtype)
    one = {"largest": info.max, "smallest": info.smallest_subnormal, "tiny": info.tiny}[size]
    values = np.array([-1, -1, -1, 1, 1], dtype) * one
    assert _histogram(values, float(-one), float(one)) == [3] + [0] * (BINS - 2) + [2]
    assert _histogram(np.array([0, one], dtype), 0.0, float(one)) == [1] + [0] * (BINS - 2) + [1]
