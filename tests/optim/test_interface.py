"""The interface of optimizers, which is PyTorch's: groups, hooks, closures, options that change, several at once."""

import numpy as np
import pytest
from optim_cases import assert_same_trajectory, flat, problem
from optim_reference import make
from optim_registry import REGISTRY
from optim_tools import (
    assert_same_bits,
    leaves,
    loss_of,
    network,
    run,
    set_gradients,
    take_step,
    train,
    values,
)

from minigrad import Tensor, no_grad, optim

EVERY_OPTIMIZER = pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)


def built(entry, params, **changed):
    return entry.make(list(params.items()), **{**entry.variants["default"].options, **changed})


# Groups


@EVERY_OPTIMIZER
def test_add_param_group_in_the_middle_of_a_run_keeps_the_state_of_the_others(entry):
    arrays, steps = problem()
    old = {name: arrays[name] for name in list(arrays)[:3]}
    new = {name: arrays[name] for name in list(arrays)[3:]}
    params, alone, later = leaves(arrays), leaves(old), leaves(new)
    optimizer = built(entry, {name: params[name] for name in old})
    whole = built(entry, alone)
    if entry.lookahead:  # at a synchronization, so that those who come later are at the same place of the cycle
        run(optimizer, {name: params[name] for name in old}, steps[:3])
        run(whole, alone, steps[:3])
        steps = steps[3:]
    else:
        run(optimizer, {name: params[name] for name in old}, steps[:2])
        run(whole, alone, steps[:2])
        steps = steps[2:]
    group = {"params": [(name, params[name]) for name in new], "lr": 0.25}
    optimizer.add_param_group(group)
    together = run(optimizer, params, steps[:6])
    fresh = built(entry, later, lr=0.25)
    for row, first, second in zip(together, run(whole, alone, steps[:6]), run(fresh, later, steps[:6]), strict=True):
        assert_same_bits({name: row[name] for name in old}, first)
        assert_same_bits({name: row[name] for name in new}, second)
    assert [group["lr"] for group in optimizer.param_groups] == [entry.variants["default"].options["lr"], 0.25]


def test_a_group_added_later_begins_with_its_own_initial_state():
    first, second = leaves({"a": np.ones(2)}), leaves({"b": np.ones(2)})
    optimizer = optim.Adagrad(list(first.items()), initial_accumulator_value=0.5)
    take_step(optimizer, first, {"a": np.ones(2)})
    optimizer.add_param_group({"params": list(second.items()), "initial_accumulator_value": 0.25})
    assert_same_bits(optimizer.state["b"]["sum"], np.full(2, 0.25, np.float32))


def test_options_of_a_group_come_from_the_defaults_and_the_group_itself():
    a, b = leaves({"a": np.ones(2), "b": np.ones(2)}).items()
    optimizer = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.5, "betas": [0.5, 0.75]}], lr=0.125)
    assert optimizer.defaults["lr"] == 0.125
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.5]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.9, 0.999), (0.5, 0.75)]
    assert [group["params"] for group in optimizer.param_groups] == [(a[1],), (b[1],)]


def test_one_tensor_is_a_group_too():
    parameter = leaves({"w": np.ones(2)})["w"]
    optimizer = optim.SGD([{"params": parameter}], lr=0.5)
    take_step(optimizer, {"w": parameter}, {"w": np.ones(2)})
    assert_same_bits(parameter.data, np.full(2, 0.5, np.float32))


# Hooks, closures, zero_grad


def test_hooks_run_before_and_after_each_step_in_order_until_they_are_removed():
    params = leaves({"w": np.zeros(1)})
    optimizer = optim.SGD(list(params.items()), lr=1.0)
    seen = []
    first = optimizer.register_step_pre_hook(
        lambda o: seen.append(("before", float(params["w"].data[0]), o is optimizer))
    )
    optimizer.register_step_pre_hook(lambda o: seen.append("second"))
    last = optimizer.register_step_post_hook(
        lambda o: seen.append(("after", float(params["w"].data[0]), o is optimizer))
    )
    take_step(optimizer, params, {"w": np.ones(1)})
    assert seen == [("before", 0.0, True), "second", ("after", -1.0, True)]
    first.remove()
    last.remove()
    optimizer.step()
    assert seen[3:] == ["second"]


def test_a_watch_sees_the_step_alone_whenever_hooks_around_it_were_registered():
    params = leaves({"w": [1.0]})
    optimizer = optim.SGD(params.items(), lr=0.5)
    set_gradients(params, {"w": [2.0]})
    optimizer.register_step_post_hook(lambda o: params["w"].data.fill(9.0))
    with optimizer.watch():
        optimizer.register_step_pre_hook(lambda o: params["w"].data.fill(3.0))
        optimizer.step()
        explained = optimizer.explain("w", 0)
        assert (explained.before, explained.after) == (3.0, 2.0)


def test_a_hook_before_the_step_may_change_gradients_and_options():
    params = leaves({"w": np.zeros(2)})
    optimizer = optim.SGD(list(params.items()), lr=1.0)

    def halve(o):
        params["w"].grad = Tensor(params["w"].grad.data / 2)
        o.param_groups[0]["lr"] = 0.25

    with optimizer.register_step_pre_hook(halve):
        assert_same_bits(take_step(optimizer, params, {"w": np.ones(2)})["w"], np.full(2, -0.125, np.float32))


def test_a_closure_is_called_once_with_recording_on_and_its_loss_returned():
    model, calls = network(), []
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    before = model.state_dict()

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    with no_grad():
        loss = optimizer.step(closure)
    assert len(calls) == 1
    assert float(loss) > float(loss_of(model))
    assert not np.array_equal(before["0.weight"].data, model.state_dict()["0.weight"].data)
    assert optimizer.step() is None


@EVERY_OPTIMIZER
def test_zero_grad_forgets_the_gradients_or_makes_them_zero(entry):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry, params)
    params["0.bias"].grad = None
    set_gradients(params, {**steps[0], "0.bias": None})
    optimizer.zero_grad(set_to_none=False)
    assert params["0.bias"].grad is None
    assert not np.any(params["0.weight"].grad.data)
    optimizer.step()
    assert optimizer.state["0.weight"]["step"] == 1  # a zero gradient is one
    assert optimizer.state["0.bias"]["step"] == 0
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in params.values())


def test_gradients_accumulate_over_backward_passes_and_count_as_one_step():
    model, twin = network(), network()
    twin.load_state_dict(model.state_dict())
    one, two = optim.SGD(model.parameters(), lr=0.1), optim.SGD(twin.parameters(), lr=0.1)
    for zero in (True, False):  # zeros left by zero_grad are added to
        loss_of(model, 1).backward()
        loss_of(model, 2).backward()
        one.step()
        (loss_of(twin, 1) + loss_of(twin, 2)).backward()
        two.step()
        for name, value in model.state_dict().items():
            np.testing.assert_allclose(value.data, twin.state_dict()[name].data, rtol=1e-5, atol=1e-6)
        one.zero_grad(set_to_none=zero)
        two.zero_grad(set_to_none=zero)


# Options that change during the run


@EVERY_OPTIMIZER
def test_a_learning_rate_changed_before_every_step_as_a_scheduler_does(entry):
    arrays, steps = problem()
    params = leaves(arrays, np.float64)
    optimizer = built(entry, params)
    reference = entry.reference(arrays, **entry.variants["default"].options)
    rows, expected = [], []
    for t, grads in enumerate(steps[:8]):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (t + 1) * (t != 3)  # 0 once: switched off and on again
        reference.groups[0][1]["lr"] = 0.1 / (t + 1) * (t != 3)
        rows.append(flat(take_step(optimizer, params, grads)))
        reference.step(grads)
        expected.append(flat(reference.params))
    assert_same_trajectory(np.array(rows), np.array(expected))


@pytest.mark.parametrize(
    ("name", "start", "changes"),
    [
        ("SGD", {}, {"momentum": 0.7}),
        ("SGD", {"momentum": 0.7}, {"weight_decay": 0.1, "nesterov": True}),
        ("Adam", {}, {"amsgrad": True, "weight_decay": 0.1}),
        ("Adam", {}, {"betas": (0.5, 0.75), "eps": 1e-2}),
        ("Adam", {"weight_decay": 0.1}, {"decoupled_weight_decay": True}),
        ("AdamW", {}, {"weight_decay": 0.0, "maximize": True}),
        ("RMSprop", {}, {"momentum": 0.7}),
        ("RMSprop", {"alpha": 0.7}, {"eps_in_sqrt": True, "eps": 1e-2}),
        ("LAMB", {}, {"weight_decay": 0.1}),
        ("LARS", {}, {"momentum": 0.0, "trust_coefficient": 0.1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("company", [False, True], ids=["alone", "beside_a_group_that_has_it"])
def test_an_option_switched_on_in_the_middle_of_a_run(name, start, changes, company):
    """What another group does with the option makes no difference."""
    arrays, steps = problem()
    params = leaves(arrays, np.float64)
    other = leaves({"z.other": np.ones((2, 2))}, np.float64)
    options = {"lr": 0.05, **start}
    groups = [{"params": list(params.items()), **options}]
    if company:
        groups.append({"params": list(other.items()), **options, **changes})
    optimizer, reference = getattr(optim, name)(groups), make(name, arrays, **options)
    rows, expected = [], []
    for t, grads in enumerate(steps[:8]):
        if t == 3:
            optimizer.param_groups[0].update(changes)
            reference.groups[0][1].update(changes)
        set_gradients(other, {"z.other": np.ones((2, 2))})
        rows.append(flat(take_step(optimizer, params, grads)))
        reference.step(grads)
        expected.append(flat(reference.params))
    assert_same_trajectory(np.array(rows), np.array(expected))


def test_an_option_switched_off_lets_its_state_go():
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = optim.SGD(list(params.items()), lr=0.05, momentum=0.9)
    run(optimizer, params, steps[:2])
    optimizer.param_groups[0]["momentum"] = 0.0
    assert_same_bits(run(optimizer, params, steps[2:3])[0], values(params))
    assert set(optimizer.state["0.bias"]) == {"step"}
    plain = leaves(values(params))
    assert_same_bits(
        run(optimizer, params, steps[3:5]), run(optim.SGD(list(plain.items()), lr=0.05), plain, steps[3:5])
    )


def test_an_option_switched_on_between_preparing_and_the_first_step():
    params, others = leaves({"w": np.ones(2)}), leaves({"w": np.ones(2)})
    optimizer = optim.SGD(list(params.items()), lr=0.05)
    optimizer.prepare()
    optimizer.param_groups[0]["momentum"] = 0.9
    steps = [{"w": np.ones(2)}] * 3
    assert_same_bits(
        run(optimizer, params, steps), run(optim.SGD(list(others.items()), lr=0.05, momentum=0.9), others, steps)
    )


def test_lookahead_follows_an_option_that_replaces_the_state_inside():
    """The slow step resets the buffer that the fast step uses now, not one from before."""
    params = leaves({"w": np.ones(2)})
    optimizer = optim.Lookahead(optim.SGD(list(params.items()), lr=0.05, momentum=0.9), k=2, momentum="reset")
    for momentum in (0.9, 0.0, 0.9):
        optimizer.param_groups[0]["momentum"] = momentum
        run(optimizer, params, [{"w": np.ones(2)}] * 2)
        if momentum:
            assert not np.any(optimizer.state["w"]["momentum_buffer"])


# Several optimizers


def test_two_optimizers_over_parts_of_one_model():
    model, twin = network(), network()
    twin.load_state_dict(model.state_dict())
    head, body = optim.Adam(model[2].parameters(), lr=0.1), optim.SGD(model[0].parameters(), lr=0.01, momentum=0.9)
    grouped = optim.SGD(twin[0].parameters(), lr=0.01, momentum=0.9)
    other = optim.Adam(twin[2].parameters(), lr=0.1)
    for seed in range(4):
        for net, pair in ((model, (head, body)), (twin, (grouped, other))):
            for optimizer in pair:
                optimizer.zero_grad()
            loss_of(net, seed).backward()
            for optimizer in pair:
                optimizer.step()
    assert_same_bits(model.state_dict(), twin.state_dict())


@pytest.mark.parametrize("forget", [True, False], ids=["none", "zeros"])
def test_two_optimizers_over_the_same_parameters_in_turn(forget):
    """Each has state of its own, and the parameters go back and forth."""
    arrays, steps = problem()
    params = leaves(arrays, np.float64)
    adam, sgd = optim.Adam(list(params.items()), lr=0.05), optim.SGD(list(params.items()), lr=0.05, momentum=0.7)
    textbooks = make("Adam", arrays, lr=0.05), make("SGD", arrays, lr=0.05, momentum=0.7)
    rows, expected, current = [], [], arrays
    for t, grads in enumerate(steps[:8]):
        optimizer, reference = ((adam, textbooks[0]), (sgd, textbooks[1]))[t % 2]
        reference.params = dict(current)
        reference.step(grads)
        current = reference.params
        expected.append(flat(current))
        optimizer.zero_grad(set_to_none=forget)
        sum((params[name] * Tensor(g)).sum() for name, g in grads.items()).backward()
        optimizer.step()
        rows.append(flat(values(params)))
    assert_same_trajectory(np.array(rows), np.array(expected))


def test_an_optimizer_made_anew_on_the_same_model_goes_on_with_fresh_state():
    model, twin = network(), network()
    twin.load_state_dict(model.state_dict())
    first = train(model, optim.Adam(model.parameters(), lr=0.1))
    train(twin, optim.Adam(twin.parameters(), lr=0.1))
    for name, value in first.items():
        np.testing.assert_array_equal(value, twin.state_dict()[name].data)
    assert_same_bits(
        train(model, optim.Adam(model.parameters(), lr=0.1)), train(twin, optim.Adam(twin.parameters(), lr=0.1))
    )


def test_a_gradient_kept_from_an_earlier_optimizer_still_updates_the_parameter():
    """It is a view of that optimizer's buffer, which the parameter has left and now returns to."""
    parameter = leaves({"w": np.ones(2)})["w"]
    first = optim.SGD([("w", parameter)], lr=0.5)
    (parameter * 2.0).sum().backward()
    first.step()
    kept = parameter.grad
    optim.SGD([("w", parameter)], lr=0.5)
    parameter.grad = kept
    first.step()
    assert_same_bits(parameter.data, np.full(2, -1.0, np.float32))
