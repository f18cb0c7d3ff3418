"""Chains with a period that only keep state: averages of the weights, which leave the weights alone."""

import copy
import pickle

import numpy as np
import pytest
from optim_tools import assert_same_bits, bits, leaves, network, run, take_step, train, values

from minigrad import optim, study

SHAPES = {"a.weight": (3, 4), "a.bias": (3,), "b": ()}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@optim.rule(state=("average",))
def average_weights(param, average, *, decay):
    average = decay * average + (1 - decay) * param
    return average


@optim.rule(state=("mean", "count"))
def take_mean(param, mean, count):
    count = count + 1
    mean = mean + (param - mean) / count
    return mean, count


@optim.rule(state=("exp_avg",))
def forget_momentum(exp_avg):
    exp_avg = 0.0
    return exp_avg


def looking_ahead(params, **options):
    return optim.Lookahead(optim.Adam(params, **options), k=5)


def draws(count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(count)]


def averaged(params, k=1, make=optim.Adam, decay=0.99, **options):
    optimizer = make(params.items(), **{"lr": 0.1, **options})
    optimizer.every(k, [average_weights], name="average", state={"average": "param"}, decay=decay)
    return optimizer


def averages(optimizer):
    return {name: state["average"].copy() for name, state in optimizer.state.items()}


# What is computed


@DTYPES
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("make", [optim.Adam, optim.SGD, looking_ahead])
def test_an_exponential_average_has_the_bits_of_numpys_and_moves_no_parameter(make, k, dtype):
    (start,) = draws(1, seed=1)
    params, plain = leaves(start, dtype), leaves(start, dtype)
    optimizer, bare = averaged(params, k, make), make(plain.items(), lr=0.1)
    wanted = values(params)
    decay, rest = dtype(0.99), dtype(1 - 0.99)
    for step, grads in enumerate(draws(20), 1):
        after = take_step(optimizer, params, grads)
        assert_same_bits(after, take_step(bare, plain, grads))
        if step % k == 0:
            wanted = {name: np.asarray(decay * wanted[name] + rest * after[name]) for name in SHAPES}
        assert_same_bits(averages(optimizer), wanted)


def test_the_mean_of_the_weights_after_every_kth_update():
    """Stochastic weight averaging: the slot that begins at a number counts the weights in the mean."""
    params = leaves(draws(1, seed=1)[0], np.float64)
    optimizer = optim.SGD(params.items(), lr=0.1)
    optimizer.every(5, [take_mean], name="Mean", state={"mean": "param", "count": 0.0})
    after = run(optimizer, params, draws(20))
    for name in SHAPES:
        np.testing.assert_allclose(optimizer.state[name]["mean"], np.mean([each[name] for each in after[4::5]], axis=0))
        assert (optimizer.state[name]["count"] == 4).all()


def test_a_parameter_without_a_gradient_keeps_its_average():
    params = leaves(draws(1, seed=1)[0])
    optimizer = averaged(params, decay=0.5)
    steps = [{**grads, "b": None if t in (0, 2) else grads["b"]} for t, grads in enumerate(draws(4))]
    for grads in steps:
        before, held = averages(optimizer), values(params)
        after = take_step(optimizer, params, grads)
        for name in SHAPES:
            moved = grads[name] is not None
            wanted = np.float32(0.5) * (before[name] + after[name]) if moved else before[name]
            np.testing.assert_array_equal(optimizer.state[name]["average"], wanted)
            assert moved or after[name] == held[name]


# State dicts, copies, forgetting


@pytest.mark.parametrize("k", [1, 5])
def test_a_resumed_average_has_the_bits_of_the_one_that_went_on(k):
    params = leaves(draws(1, seed=1)[0])
    optimizer = averaged(params, k)
    for t, grads in enumerate(draws(12)):
        steady = {**grads, "b": None if t in (0, 3) else grads["b"]}
        twins = leaves(values(params))
        resumed = averaged(twins, k)
        resumed.load_state_dict(optimizer.state_dict())
        copied, own = pickle.loads(pickle.dumps((optimizer, params)))
        wanted = take_step(optimizer, params, steady)
        assert_same_bits(take_step(resumed, twins, steady), wanted)
        assert_same_bits(take_step(copied, own, steady), wanted)
        assert bits(resumed.state_dict()) == bits(copied.state_dict()) == bits(optimizer.state_dict())
    assert optimizer.state_dict()["average"] == {"k": k, "decay": 0.99, "counter": 12}


def test_the_average_of_another_decay_is_refused():
    params = leaves(draws(1)[0])
    optimizer = averaged(params, decay=0.9)
    run(optimizer, params, draws(2))
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"average: decay was 0\.5 in the saved run, and is 0\.9 here"):
        optimizer.load_state_dict(averaged(leaves(draws(1)[0]), decay=0.5).state_dict())
    assert bits(optimizer.state_dict()) == bits(before)


def test_an_average_begins_where_the_weights_are_when_it_joins_and_again_when_it_is_forgotten():
    params = leaves(draws(1, seed=1)[0])
    optimizer = optim.Adam(params.items(), lr=0.1)
    run(optimizer, params, draws(3))
    optimizer.every(1, [average_weights], name="average", state={"average": "param"}, decay=0.5)
    assert_same_bits(averages(optimizer), values(params))
    run(optimizer, params, draws(3))
    assert averages(optimizer)["b"] != params["b"].data
    optimizer.reset_state()
    assert_same_bits(averages(optimizer), values(params))


# What is seen of it


def test_the_plan_shows_every_chain_also_those_of_the_same_period():
    optimizer = averaged(leaves(draws(1)[0]), 5, looking_ahead)
    plan = optimizer.plan()
    assert plan.later.keys() == {("Lookahead", 5), ("average", 5)}
    average = plan.later["average", 5].plan
    assert (average.passes[0].loads, average.passes[0].stores) == (("param", "average"), ("average",))
    assert average.bytes_per_parameter() == 12
    assert "average, after every 5 updates" in repr(plan)
    assert optimizer.title == "average around Lookahead around Adam"
    assert pickle.loads(pickle.dumps(average)).outputs == ("average",)


def test_an_explanation_shows_the_average_but_no_part_of_it_in_the_change():
    params = leaves(draws(1, seed=1)[0])
    optimizer = averaged(params, 2)
    optimizer.watch()
    first, second = draws(2)
    take_step(optimizer, params, first)
    e = optimizer.explain("a.weight", (1, 2))
    assert "average: update 1 of 2; its rules follow in 1" in e.notes
    assert "average_weights" not in {term.rule for term in e.terms}
    take_step(optimizer, params, second)
    e = optimizer.explain("a.weight", (1, 2))
    assert e["average"].value == optimizer.state["a.weight"]["average"][1, 2]
    assert "average" in {check.name for check in e.checks}
    assert all(check.ulps == 0 for check in e.checks)
    assert e.parts.keys() == {"gradient", "earlier steps", "decay", "rounding"}


# What is refused


def test_a_chain_may_forget_the_optimizers_own_state_but_one_that_keeps_nothing_is_refused():
    params = leaves(draws(1)[0])
    optimizer = optim.Adam(params.items(), lr=0.1)
    optimizer.every(2, [forget_momentum], name="Restart")
    run(optimizer, params, draws(2))
    assert all(not state["exp_avg"].any() and state["exp_avg_sq"].any() for state in optimizer.state.values())

    @optim.rule
    def halve(update):
        update = update / 2
        return update

    optimizer.every(1, [halve], name="Nothing")
    with pytest.raises(ValueError, match="no rule returns param, so nothing would change"):
        optimizer.plan()


def test_a_rule_that_computes_numbers_from_the_step_is_refused():
    @optim.rule(state=("average",), scalars=lambda step: {"decay": 1 - 1 / step})
    def average_evenly(param, average, *, decay):
        average = decay * average + (1 - decay) * param
        return average

    params = leaves(draws(1)[0])
    optimizer = optim.Adam(params.items())
    optimizer.every(1, [average_evenly], name="even", state={"average": "param"})
    before = values(params)
    with pytest.raises(ValueError, match="even: rule 'average_evenly' computes numbers from the step"):
        take_step(optimizer, params, draws(1)[0])
    assert_same_bits(values(params), before)


@pytest.mark.parametrize(("make", "k"), [(optim.Adam, 0), (looking_ahead, 5)])
def test_a_recording_counts_only_chains_that_move_parameters_as_slow_steps(make, k):
    model = network()
    optimizer = make(model.named_parameters(), lr=0.1)
    optimizer.every(3, [average_weights], name="average", state={"average": "param"}, decay=0.5)
    with study.Recorder(model, optimizer) as recorder:
        train(model, optimizer, steps=1)
    assert recorder.recording.header["slow_every"] == k


@pytest.mark.parametrize("name", ["Average", "state", "carried"])
def test_two_chains_cannot_have_one_name_nor_that_of_another_part_of_a_state_dict(name):
    optimizer = averaged(leaves(draws(1)[0]))
    with pytest.raises(ValueError, match=f"{name}: the state dict of Adam already has a key '{name.lower()}'"):
        optimizer.every(1, [take_mean], name=name, state={"mean": "param", "count": 0.0})
    assert len(optimizer.periodic) == 1
    assert "mean" not in optimizer.state["b"]
