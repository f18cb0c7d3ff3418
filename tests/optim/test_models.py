"""Optimizers and models: loading, sharing, freezing, converting, copying, names, gradients of every origin."""

import copy

import numpy as np
import pytest
from optim_tools import assert_same_bits, leaves, loss_of, network, take_step, train

from minigrad import Tensor, grad, nn, optim


def test_a_model_loaded_after_the_optimizer_was_made_trains_from_the_loaded_weights():
    model, source = network(), network(1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.load_state_dict(source.state_dict())
    assert_same_bits(train(model, optimizer), train(source, optim.SGD(source.parameters(), lr=0.1)))


def test_a_parameter_assigned_through_data_keeps_being_trained():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model[0].weight.data = np.zeros((5, 4))
    loss_of(model).backward()
    optimizer.step()
    assert np.any(model[0].weight.data)


class Tied(nn.Module):
    """One weight in two places."""

    def __init__(self):
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


def test_a_shared_parameter_is_updated_once_by_the_sum_of_its_gradients():
    model = Tied()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    assert [name for name, _ in optimizer.param_groups[0].named] == ["first.weight", "first.bias", "second.bias"]
    before = model.first.weight.data.copy()
    loss_of(model).backward()
    gradient = model.first.weight.grad.data.copy()
    optimizer.step()
    assert_same_bits(model.second.weight.data, before - np.float32(0.1) * gradient)


def test_a_frozen_parameter_is_left_alone_and_joins_when_it_is_thawed():
    model = network()
    model[0].requires_grad_(False)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    before = model.state_dict()
    train(model, optimizer)
    assert_same_bits(model[0].weight.data, before["0.weight"].data)
    assert optimizer.state["0.weight"]["step"] == 0
    model[0].requires_grad_(True)
    train(model, optimizer)
    assert optimizer.state["0.weight"]["step"] == 3
    assert optimizer.state["2.weight"]["step"] == 6


def test_parameters_and_gradients_are_views_of_one_buffer():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    (buffer,) = optimizer.store.buffers
    for parameter in model.parameters():
        assert np.shares_memory(parameter.data, buffer.data)
        assert np.shares_memory(parameter.grad.data, buffer.grad)


def test_a_gradient_set_by_hand_is_used_and_stays_the_callers():
    params = leaves({"w": np.zeros(3)})
    optimizer = optim.SGD(list(params.items()), lr=1.0)
    given = Tensor(np.arange(3, dtype=np.float32))
    params["w"].grad = given
    optimizer.step()
    optimizer.step()
    assert_same_bits(params["w"].data, np.float32([0, -2, -4]))
    assert params["w"].grad is given


def test_a_recorded_gradient_can_be_stepped_with_and_differentiated():
    params = leaves({"w": np.array([2.0, 3.0])})
    optimizer = optim.SGD(list(params.items()), lr=1.0)
    w = params["w"]
    (w**3).sum().backward(create_graph=True)
    second = grad(w.grad.sum(), w)
    second = second[0] if isinstance(second, tuple | list) else second
    np.testing.assert_allclose(second.data, [12.0, 18.0], rtol=1e-6)
    optimizer.step()
    np.testing.assert_allclose(w.data, [2.0 - 12.0, 3.0 - 27.0], rtol=1e-6)


def test_zero_grad_to_zeros_cuts_a_recorded_gradient_off():
    params = leaves({"w": np.array([2.0, 3.0])})
    optimizer = optim.SGD(list(params.items()), lr=1.0)
    (params["w"] ** 3).sum().backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert not params["w"].grad.requires_grad
    (params["w"] * 1.0).sum().backward()
    optimizer.step()
    assert_same_bits(params["w"].data, np.float32([1.0, 2.0]))


def test_a_model_converted_after_its_optimizer_was_made_is_refused_until_it_is_converted_back():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.double()
    x = Tensor(np.ones((2, 4)))
    model(x).sum().backward()
    before = model.state_dict()
    with pytest.raises(TypeError, match=r"0\.weight.* is now float64 .*convert a model before making its optimizer"):
        optimizer.step()
    assert_same_bits(model.state_dict(), before)
    model.float()
    twin = network()
    twin.load_state_dict(model.state_dict())
    assert_same_bits(train(model, optimizer), train(twin, optim.SGD(twin.parameters(), lr=0.1)))


def test_a_deep_copy_of_a_model_has_parameters_of_its_own():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer)
    twin = copy.deepcopy(model)
    before = twin.state_dict()
    train(model, optimizer)
    assert_same_bits(twin.state_dict(), before)
    train(twin, optim.SGD(twin.parameters(), lr=0.1))
    assert_same_bits(twin.state_dict(), model.state_dict())


def test_tensors_without_names_are_numbered():
    tensors = [Tensor(np.ones(n, np.float32), requires_grad=True) for n in (2, 3)]
    optimizer = optim.Adam(tensors, lr=0.1)
    for tensor in tensors:
        tensor.grad = Tensor(np.ones_like(tensor.data))
    optimizer.step()
    assert list(optimizer.state_dict()["state"]) == ["param0", "param1"]


def test_two_models_with_the_same_names_are_told_apart():
    first, second = network(), network()
    optimizer = optim.LARS([*first.parameters(), *second.parameters()], lr=0.1, scope="layer")
    assert list(optimizer.state_dict()["state"])[3:5] == ["2.bias", "0.weight@2"]
    alone = copy.deepcopy(second)
    loss_of(first).backward()
    loss_of(second).backward()
    loss_of(alone).backward()
    optimizer.step()
    optim.LARS(alone.parameters(), lr=0.1, scope="layer").step()
    assert_same_bits(second.state_dict(), alone.state_dict())


def test_named_parameters_of_a_part_keep_the_names_given():
    model = network()
    optimizer = optim.SGD(model[2].named_parameters("head"), lr=0.1)
    assert list(optimizer.state) == ["head.weight", "head.bias"]


def test_a_graph_recorded_before_a_step_cannot_be_differentiated_after_it():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    stale = loss_of(model)
    loss_of(model).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"^(linear|matmul).*changed in place"):
        stale.backward()


@pytest.mark.parametrize("k", [1, 2])
def test_a_graph_recorded_before_a_slow_step_is_stale_too(k):
    params = leaves({"w": np.ones(2)})
    optimizer = optim.Lookahead(optim.SGD(list(params.items()), lr=0.1), k=k)
    stale = (params["w"] * params["w"]).sum()
    take_step(optimizer, params, {"w": np.ones(2)})
    with pytest.raises(RuntimeError, match=r"^multiply.*changed in place"):
        stale.backward()


def test_a_graph_over_parameters_without_gradient_stays_fresh():
    params = leaves({"w": np.ones(2), "frozen": np.ones(2)})
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    fresh = (params["frozen"] * params["frozen"]).sum()
    take_step(optimizer, params, {"w": np.ones(2), "frozen": None})
    fresh.backward()
    assert_same_bits(params["frozen"].grad.data, np.full(2, 2.0, np.float32))


@pytest.mark.parametrize(
    "make", [lambda p: optim.Adam(p, lr=0.1), lambda p: optim.Lookahead(optim.SGD(p, 0.1, 0.9), k=2)]
)
def test_a_model_and_its_optimizer_copied_together_train_like_the_originals(make):
    source = network()
    optimizer = make(source.parameters())
    train(source, optimizer, steps=3)
    copied, copied_optimizer = copy.deepcopy((source, optimizer))
    assert_same_bits(train(copied, copied_optimizer, steps=3), train(source, optimizer, steps=3))
    assert copied_optimizer.param_groups[0]["params"] == tuple(copied.parameters())


def test_a_gradient_that_is_kept_stays_as_it_was():
    layer = nn.Linear(1, 1, bias=False)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    kept = []
    for factor in (1.0, 2.0, 3.0):
        optimizer.zero_grad()
        (layer(Tensor([[1.0]])) * factor).sum().backward()
        kept.append(layer.weight.grad)
    assert [g.item() for g in kept] == [1.0, 2.0, 3.0]
    before = layer.weight.item()
    optimizer.step()
    assert layer.weight.item() == np.float32(before) - np.float32(0.1) * np.float32(3.0)
