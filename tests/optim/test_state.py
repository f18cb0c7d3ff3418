"""State dicts: a resumed run has the bits of one that went on, and what does not fit is refused by name, unchanged."""

import copy
import json

import numpy as np
import pytest
from optim_cases import problem
from optim_registry import REGISTRY, VARIANTS, entry_named
from optim_tools import assert_same_bits, bits, leaves, run, take_step, values

from minigrad import Tensor, nn, optim

EVERY_OPTIMIZER = pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
EVERY_VARIANT = pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))


def built(entry, params, variant="default", **changed):
    return entry.make(list(params.items()), **{**entry.variants[variant].options, **changed})


def trained(name="Adam", variant="default", steps=3, dtype=np.float32):
    arrays, given = problem()
    params = leaves(arrays, dtype)
    optimizer = built(entry_named(name), params, variant)
    run(optimizer, params, given[:steps])
    return optimizer, params


# Resuming


@EVERY_VARIANT
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_run_resumed_at_any_step_has_the_bits_of_the_run_that_went_on(entry, variant, dtype):
    """Lookahead synchronizes every three steps, so that most of these resumes are between two synchronizations."""
    arrays, steps = problem()
    params = leaves(arrays, dtype)
    optimizer = built(entry, params, variant)
    for t, grads in enumerate(steps[:8]):
        steady = dict(grads)
        if t in (2, 5):
            steady["0.bias"] = None  # ages differ from here on
        twins = leaves(values(params), dtype)
        resumed = built(entry, twins, variant)
        resumed.load_state_dict(optimizer.state_dict())
        take_step(resumed, twins, steady)
        take_step(optimizer, params, steady)
        assert_same_bits(values(twins), values(params))
        assert bits(resumed.state_dict()) == bits(optimizer.state_dict())


@EVERY_OPTIMIZER
def test_resuming_restores_the_options_of_each_group(entry):
    params = leaves(problem()[0])
    optimizer = built(entry, params)
    optimizer.param_groups[0]["lr"] = 0.0625
    optimizer.param_groups[0]["weight_decay"] = 0.5
    other = built(entry, leaves(problem()[0]))
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == 0.0625
    assert other.param_groups[0]["weight_decay"] == 0.5


def test_resuming_into_other_options_takes_those_of_the_state_dict_with_their_chain():
    """One with momentum and L2, loaded by one that was made without either."""
    arrays, steps = problem()
    params, twins = leaves(arrays), leaves(arrays)
    optimizer = optim.SGD(list(params.items()), lr=0.05, momentum=0.7, weight_decay=0.1)
    run(optimizer, params, steps[:2])
    for name, parameter in twins.items():
        parameter.data = params[name].data
    plain = optim.SGD(list(twins.items()))
    plain.load_state_dict(optimizer.state_dict())
    assert_same_bits(run(plain, twins, steps[2:5]), run(optimizer, params, steps[2:5]))


def test_a_resumed_nadam_has_the_product_of_all_its_momenta():
    """Also after so many steps that it cannot be computed step by step from the start each time, or recursively."""
    params = leaves({"w": np.ones(3)}, np.float64)
    optimizer = optim.NAdam(list(params.items()))
    saved = optimizer.state_dict()
    saved["state"]["w"]["step"] = 500_000
    optimizer.load_state_dict(saved)
    assert np.all(np.isfinite(take_step(optimizer, params, {"w": np.ones(3)})["w"]))


def test_loading_twice_is_loading_once():
    steps = problem()[1]
    optimizer, params = trained("RMSprop", "centered")
    saved, start = optimizer.state_dict(), values(params)
    first = run(optimizer, params, steps[3:6])
    for name, parameter in params.items():
        parameter.data = start[name]
    optimizer.load_state_dict(saved)
    assert_same_bits(run(optimizer, params, steps[3:6]), first)


# A state dict is a copy, by name


@EVERY_VARIANT
def test_a_state_dict_is_a_copy_that_later_steps_leave_alone(entry, variant):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry, params, variant)
    run(optimizer, params, steps[:2])
    saved = optimizer.state_dict()
    before = bits(copy.deepcopy(saved))
    run(optimizer, params, steps[2:5])
    optimizer.param_groups[0]["lr"] = 0.5
    assert bits(saved) == before


def test_a_loaded_state_dict_is_copied_in():
    steps = problem()[1]
    optimizer, params = trained()
    saved = optimizer.state_dict()
    before = bits(copy.deepcopy(saved))
    optimizer.load_state_dict(saved)
    run(optimizer, params, steps[:2])
    assert bits(saved) == before


@EVERY_VARIANT
def test_a_state_dict_names_the_optimizer_every_parameter_and_its_slots(entry, variant):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry, params, variant)
    for taken in (0, 1):
        saved = optimizer.state_dict()
        assert list(saved["state"]) == list(arrays)
        for name, slots in saved["state"].items():
            assert set(slots) == {"step", *entry.variants[variant].slots}
            assert slots["step"] == taken
            assert all(slots[slot].shape == arrays[name].shape for slot in entry.variants[variant].slots)
        assert [group["params"] for group in saved["param_groups"]] == [list(arrays)]
        assert saved["optimizer"] == entry.textbook
        take_step(optimizer, params, steps[0])


def test_the_groups_of_a_state_dict_are_plain_values():
    """They can be written as JSON: no function and no array is among them."""
    for entry in REGISTRY:
        saved = built(entry, leaves(problem()[0])).state_dict()
        assert json.loads(json.dumps(saved["param_groups"]))


def test_state_is_matched_by_name_in_whatever_order_parameters_and_groups_come():
    arrays, steps = problem()
    names = list(arrays)
    optimizer, params = trained()
    twins = leaves(values(params))
    other = optim.Adam([(name, twins[name]) for name in reversed(names)])
    other.load_state_dict(optimizer.state_dict())
    assert_same_bits(run(other, twins, steps[3:6]), run(optimizer, params, steps[3:6]))

    groups = [
        {"params": [("a", leaves({"a": np.ones(2)})["a"])], "lr": 0.1},
        {"params": [("b", leaves({"b": np.ones(3)})["b"])]},
    ]
    saved = optim.Adam(groups).state_dict()
    swapped = optim.Adam(list(reversed(groups)))
    swapped.load_state_dict(saved)
    assert [group["lr"] for group in swapped.param_groups] == [0.001, 0.1]


# What does not fit is refused, and nothing has changed


def without(saved, name):
    del saved["state"][name]


def misshapen(saved, name):
    saved["state"][name]["exp_avg"] = np.zeros((7, 7), np.float32)


def other_dtype(saved, name):
    saved["state"][name]["exp_avg"] = saved["state"][name]["exp_avg"].astype(np.float64)


def without_slot(saved, name):
    del saved["state"][name]["exp_avg_sq"]


def extra_slot(saved, name):
    saved["state"][name]["momentum_buffer"] = saved["state"][name]["exp_avg"]


def extra_parameter(saved, name):
    saved["state"]["9.weight"] = saved["state"][name]


def negative_step(saved, name):
    saved["state"][name]["step"] = -1


def fractional_step(saved, name):
    saved["state"][name]["step"] = 1.5


def other_optimizer(saved, name):
    saved["optimizer"] = "AdamW"


def other_groups(saved, name):
    saved["param_groups"][0]["params"] = saved["param_groups"][0]["params"][:-1]


def more_groups(saved, name):
    saved["param_groups"].append({**saved["param_groups"][0], "params": ["9.weight"]})


def unknown_option(saved, name):
    saved["param_groups"][0]["momentum"] = 0.9


def missing_option(saved, name):
    del saved["param_groups"][0]["eps"]


def impossible_option(saved, name):
    saved["param_groups"][0]["lr"] = -1.0


def without_groups(saved, name):
    del saved["param_groups"]


def extra_key(saved, name):
    saved["epoch"] = 3


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (without, "0.bias"),
        (misshapen, r"0\.bias.*exp_avg.*\(7, 7\)"),
        (other_dtype, r"0\.bias.*float64.*float32"),
        (without_slot, "0.bias.*missing 'exp_avg_sq'"),
        (extra_slot, "0.bias.*unexpected 'momentum_buffer'"),
        (extra_parameter, "unexpected '9.weight'"),
        (negative_step, "0.bias.*step.*-1"),
        (fractional_step, "0.bias.*step.*1.5"),
        (other_optimizer, "of AdamW, not of Adam"),
        (other_groups, "param group 0"),
        (more_groups, "2 param groups, not 1"),
        (unknown_option, "momentum"),
        (missing_option, "missing 'eps'"),
        (impossible_option, "lr must be"),
        (without_groups, "missing 'param_groups'"),
        (extra_key, "unexpected 'epoch'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_state_dict_that_does_not_fit_is_refused_by_name_and_nothing_changes(damage, named):
    optimizer, params = trained()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["weight_decay"] = 0.25  # would show if options were taken over before the error
    for name in saved["state"]:
        saved["state"][name]["step"] = 77
    damage(saved, "0.bias")
    before, start = bits(optimizer.state_dict()), values(params)
    with pytest.raises((ValueError, TypeError), match=named):
        optimizer.load_state_dict(saved)
    assert bits(optimizer.state_dict()) == before
    assert_same_bits(values(params), start)


def test_the_state_of_another_model_and_of_another_dtype_is_refused():
    optimizer, _ = trained()
    other = optim.Adam([("0.weight", Tensor(np.ones((4, 3), np.float32), requires_grad=True))])
    with pytest.raises(ValueError, match=r"unexpected .*0\.bias"):
        other.load_state_dict(optimizer.state_dict())
    double, _ = trained(dtype=np.float64)
    with pytest.raises(ValueError, match=r"float64.*float32"):
        optimizer.load_state_dict(double.state_dict())


@pytest.mark.parametrize("name", [entry.name for entry in REGISTRY if entry.name not in ("Adam", "Lookahead")])
def test_the_state_of_another_optimizer_is_refused(name):
    optimizer, _ = trained("Adam")
    other, _ = trained(name)
    with pytest.raises(ValueError, match=f"of Adam, not of {name}"):
        other.load_state_dict(optimizer.state_dict())


def test_lookahead_and_its_base_do_not_take_each_others_state():
    arrays, _ = problem()
    bare = optim.SGD(list(leaves(arrays).items()), lr=0.05, momentum=0.7)
    wrapped = built(entry_named("Lookahead"), leaves(arrays))
    with pytest.raises(ValueError, match="unexpected 'lookahead'"):
        bare.load_state_dict(wrapped.state_dict())
    with pytest.raises(ValueError, match=r"Lookahead: the state dict has no 'lookahead'.*without Lookahead"):
        wrapped.load_state_dict(bare.state_dict())


@pytest.mark.parametrize(
    ("key", "value"), [("k", 4), ("alpha", 0.9), ("momentum", "keep"), ("counter", -1), ("counter", "x")]
)
def test_lookahead_refuses_the_state_of_another_cycle_and_nothing_changes(key, value):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry_named("Lookahead"), params)
    run(optimizer, params, steps[:2])
    before = bits(optimizer.state_dict())
    saved = optimizer.state_dict()
    saved["lookahead"][key] = value
    saved["param_groups"][0]["lr"] = 0.5
    with pytest.raises(ValueError, match=f"Lookahead.*{key}"):
        optimizer.load_state_dict(saved)
    assert bits(optimizer.state_dict()) == before


def test_a_state_dict_taken_after_an_option_was_switched_on_can_be_loaded():
    """The options and the state in it belong together, also before the next step makes the new state."""
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = optim.SGD(list(params.items()), lr=0.05)
    run(optimizer, params, steps[:2])
    optimizer.param_groups[0]["momentum"] = 0.9
    twins = leaves(values(params))
    resumed = optim.SGD(list(twins.items()))
    resumed.load_state_dict(optimizer.state_dict())
    assert_same_bits(run(resumed, twins, steps[2:5]), run(optimizer, params, steps[2:5]))


def test_a_model_and_its_optimizer_resume_by_the_names_of_the_model():
    def model():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def step(net, optimizer, seed):
        optimizer.zero_grad()
        (net(Tensor(np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float32))) ** 2).sum().backward()
        optimizer.step()

    net = model()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    for seed in range(3):
        step(net, optimizer, seed)
    twin = model()
    twin.load_state_dict(net.state_dict())
    resumed = optim.Adam(twin.parameters(), lr=0.01)
    resumed.load_state_dict(optimizer.state_dict())
    assert list(optimizer.state_dict()["state"]) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for seed in range(3, 6):
        step(net, optimizer, seed)
        step(twin, resumed, seed)
    assert_same_bits(twin.state_dict(), net.state_dict())


def test_a_state_dict_of_an_optimizer_made_otherwise_is_refused():
    def made(**options):
        return optim.LARS([Tensor(np.ones((2, 2)), requires_grad=True)], **options)

    saved = made(lr_in_momentum=False).state_dict()
    with pytest.raises(ValueError, match="LARS: lr_in_momentum was False in the saved run, and is True here"):
        made().load_state_dict(saved)
    made(lr_in_momentum=False).load_state_dict(saved)
    with pytest.raises(TypeError, match="needs a state dict, not NoneType"):
        made().load_state_dict(None)
