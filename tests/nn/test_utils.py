"""Parameters as values: modules called with others, and all of them as one vector; against PyTorch's values."""

from pathlib import Path

import numpy as np
import pytest
from derivative_cases import X, network

import minigrad
from minigrad import nn

with np.load(Path(__file__).parents[1] / "golden" / "derivatives.npz") as stored:
    GOLDEN = dict(stored)


@pytest.fixture
def model():
    model = network(nn).double()
    nn.utils.vector_to_parameters(np.linspace(-1, 1, 23), model.parameters())
    return model


def test_a_call_with_other_weights_is_pytorchs_and_changes_nothing(model):
    before = {name: (p, p.data.copy()) for name, p in model.named_parameters()}
    weights = {name: 2 * p for name, p in model.named_parameters()}
    found = minigrad.functional_call(model, weights, minigrad.tensor(X))
    np.testing.assert_allclose(found.detach().numpy(), GOLDEN["call"], rtol=1e-12)
    vector = nn.utils.parameters_to_vector(weights.values())
    np.testing.assert_array_equal(vector.detach().numpy(), GOLDEN["vector"])
    for name, parameter in model.named_parameters():
        assert parameter is before[name][0]
        np.testing.assert_array_equal(parameter.data, before[name][1])


def test_gradients_flow_to_the_given_weights(model):
    weights = {name: p.detach().requires_grad_() for name, p in model.named_parameters()}
    minigrad.functional_call(model, weights, (minigrad.tensor(X),)).sum().backward()
    assert all(w.grad is not None for w in weights.values())
    assert all(p.grad is None for p in model.parameters())


def test_a_shared_parameter_is_replaced_in_every_module():
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    tied[1].weight = tied[0].weight
    doubled = minigrad.functional_call(tied, {"0.weight": 2 * minigrad.eye(2)}, minigrad.ones(1, 2))
    np.testing.assert_array_equal(doubled.numpy(), [[4, 4]])


def test_the_statistics_of_a_call_go_to_the_given_buffer():
    layer = nn.BatchNorm1d(1, momentum=None)
    mean = minigrad.zeros(1)
    minigrad.functional_call(layer, {"running_mean": mean}, minigrad.tensor([[1.0], [3.0]]))
    assert mean.item() == 2
    assert layer.running_mean.item() == 0


def test_the_module_is_restored_after_an_error(model):
    weight = model[0].weight
    with pytest.raises(ValueError, match="got input with last axis 5"):
        minigrad.functional_call(model, {"0.weight": weight * 0}, minigrad.ones(1, 5))
    assert model[0].weight is weight


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"0.wieght": minigrad.zeros(3, 3)}, ValueError, "did you mean '0.weight'"),
        ({"0.weight": minigrad.zeros(3)}, ValueError, "has shape"),
        ({"0.weight": np.zeros((3, 3))}, TypeError, "must be a tensor"),
    ],
)
def test_a_wrong_entry_is_refused(model, given, error, message):
    with pytest.raises(error, match=message):
        minigrad.functional_call(model, given, minigrad.tensor(X))


def test_a_vector_of_another_length_changes_nothing(model):
    before = nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()
    with pytest.raises(ValueError, match="23 elements"):
        nn.utils.vector_to_parameters(np.zeros(24), model.parameters())
    np.testing.assert_array_equal(nn.utils.parameters_to_vector(model.parameters()).detach().numpy(), before)
