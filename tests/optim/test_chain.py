"""Chains without a class of their own: made of parts, checked as a whole, run like any optimizer."""

import numpy as np
import pytest
from optim_tools import assert_same_bits, leaves, set_gradients

from minigrad import clipping, optim
from minigrad.optim.adam import scale_by_adam


@optim.rule
def shorten(update, update_norm, *, longest):
    update = update * (longest / update_norm) if update_norm > longest else update
    return update


@optim.rule(state=("momentum_buffer",))
def heavy_ball(update, momentum_buffer, *, momentum):
    momentum_buffer = momentum * momentum_buffer + update
    update = momentum_buffer
    return update, momentum_buffer


def test_an_optimizer_of_a_chain_is_the_named_one_of_the_same_rules():
    start = {"w": np.array([[1.0, -2.0], [3.0, 0.5]]), "b": np.array([0.1, 0.2])}
    ours, named = leaves(start, np.float32), leaves(start, np.float32)
    parts = optim.chain(heavy_ball, optim.apply_update)
    by_chain = optim.Optimizer(ours.items(), {"lr": 0.1, "momentum": 0.9}, chain=parts)
    by_name = optim.SGD(named.items(), lr=0.1, momentum=0.9)
    for step in range(4):
        gradients = {name: np.cos(value + step) for name, value in start.items()}
        for params, optimizer in ((ours, by_chain), (named, by_name)):
            set_gradients(params, gradients)
            optimizer.step()
    for name in start:
        assert_same_bits(ours[name].data, named[name].data)


def test_chains_are_parts_of_longer_chains_and_show_their_plan():
    head = [optim.norm("update", "global"), shorten]
    whole = optim.chain(head, scale_by_adam, [optim.apply_update])
    assert repr(whole) == "chain(update_norm, shorten, scale_by_adam, apply_update)"
    assert whole.plan().bytes_per_parameter() == 32
    assert "float64" in str(whole.plan(np.float64))


def test_a_chain_of_parts_that_do_not_fit_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="reads 'update_norm', but no earlier norm has that name"):
        optim.chain(shorten, optim.apply_update)
    with pytest.raises(ValueError, match="both keep 'momentum_buffer'"):
        optim.chain(heavy_ball, heavy_ball, optim.apply_update)
    with pytest.raises(ValueError, match="no rule returns param"):
        optim.chain(heavy_ball)
    with pytest.raises(TypeError, match="is neither a rule nor a norm"):
        optim.chain([lambda update: update], optim.apply_update)
    with pytest.raises(TypeError, match=r"the function '<lambda>' is neither a rule nor a norm; @optim\.rule makes"):
        optim.chain(lambda update: update, optim.apply_update)
    for wrong, named in (
        (3, "3 is neither a rule"),
        ("abc", "'abc' is neither a rule"),
        (int, "<class 'int'> is neither a rule"),
        (optim.SGD(leaves({"w": np.ones(2)}).items()), r"pass what its chain\(\) returns"),
    ):
        with pytest.raises(TypeError, match=named):
            optim.chain(wrong, optim.apply_update)
    with pytest.raises(TypeError, match="a clip goes to the optimizer"):
        optim.chain(clipping.by_global_norm(1.0), optim.apply_update)


def test_the_parameters_of_a_group_cannot_be_changed_behind_the_optimizers_back():
    params = leaves({"w": np.ones(2)}, np.float32)
    group = optim.SGD(params.items()).param_groups[0]
    assert group["params"] == (params["w"],)
    assert not hasattr(group["params"], "append")


def test_a_chain_method_that_returns_one_rule_is_told_to_return_a_list():
    class Own(optim.Optimizer):
        def chain(self):
            return optim.apply_update

    with pytest.raises(
        TypeError, match=r"Own: chain\(\) must return a list of rules and norms, not <rule apply_update"
    ):
        Own(leaves({"w": np.ones(2)}).items(), {"lr": 0.1}).prepare()
