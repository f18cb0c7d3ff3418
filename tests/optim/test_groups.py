"""Whatever is done to param_groups, to a group or to the state, the optimizer follows it or says what to do instead."""

import copy
import gc

import numpy as np
import pytest
from optim_tools import bits, leaves, set_gradients

from minigrad import Tensor, nn, optim

RATES = {"a": 0.1, "b": 0.2, "c": 0.4}


def three_groups():
    """Three groups with a rate each, after one step with momentum: the buffers are 1."""
    params = leaves({name: np.zeros(2) for name in RATES}, np.float64)
    optimizer = optim.SGD([{"params": [(n, params[n])], "lr": lr} for n, lr in RATES.items()], momentum=0.5)
    set_gradients(params, dict.fromkeys(RATES, np.ones(2)))
    optimizer.step()
    return optimizer, params


def moves(optimizer, params):
    """How far each parameter goes in a step with gradients of 1, in units of its first rate."""
    before = {name: p.data.copy() for name, p in params.items()}
    set_gradients(params, dict.fromkeys(params, np.ones(2)))
    optimizer.step()
    return {name: round(float((before[name] - p.data)[0] / RATES[name]), 12) for name, p in params.items()}


def new(name="d"):
    return {"params": [(name, nn.Parameter(np.zeros(2)))], "lr": 0.3}


def assigned(optimizer, groups):
    optimizer.param_groups = groups


# The list


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        pytest.param(lambda g: g.reverse(), "cba", id="reverse"),
        pytest.param(lambda g: g.sort(key=lambda group: -group["lr"]), "cba", id="sort"),
        pytest.param(lambda g: g.pop(), "ab", id="pop"),
        pytest.param(lambda g: g.pop(0), "bc", id="pop_first"),
        pytest.param(lambda g: g.remove(g[1]), "ac", id="remove"),
        pytest.param(lambda g: g.__delitem__(1), "ac", id="del"),
        pytest.param(lambda g: g.__delitem__(slice(None, None, 2)), "b", id="del_slice"),
        pytest.param(lambda g: g.append(new()), "abcd", id="append"),
        pytest.param(lambda g: g.extend([new(), new("e")]), "abcde", id="extend"),
        pytest.param(lambda g: g.insert(0, new()), "dabc", id="insert"),
        pytest.param(lambda g: g.__iadd__([new()]), "abcd", id="iadd"),
        pytest.param(lambda g: g.__setitem__(slice(None), [g[2], g[0]]), "ca", id="slice"),
        pytest.param(lambda g: g.__setitem__(1, new()), "adc", id="setitem"),
        pytest.param(lambda g: g.append(g.pop(0)), "bca", id="pop_and_append"),
    ],
)
def test_every_operation_on_the_list_of_groups_is_obeyed(operation, left):
    """The momentum of 1 is kept where the parameter is: a step of 1.5 rates; those taken out stay where they are."""
    optimizer, params = three_groups()
    operation(optimizer.param_groups)
    assert [name for group in optimizer.param_groups for name, _ in group.named] == list(left)
    found = moves(optimizer, params)
    assert found == {name: 1.5 if name in left else 0.0 for name in RATES}
    assert set(optimizer.state) == set(left)


def test_a_group_taken_out_and_put_in_again_continues_with_its_state():
    optimizer, params = three_groups()
    group = optimizer.param_groups.pop()
    assert moves(optimizer, params) == {"a": 1.5, "b": 1.5, "c": 0.0}
    group["lr"] = 0.8
    optimizer.add_param_group(group)
    assert optimizer.param_groups[2] is group
    assert moves(optimizer, params) == {"a": 1.75, "b": 1.75, "c": 3.0}
    assert optimizer.state["c"]["step"] == 2


def test_a_step_after_a_change_of_the_groups_has_the_bits_of_a_fresh_optimizer_of_such_groups():
    arrays = {name: np.linspace(-1, 1, 5) * i for i, name in enumerate(RATES, 1)}
    ours, theirs = leaves(arrays), leaves(arrays)
    optimizer = optim.Adam([{"params": [pair], "lr": RATES[pair[0]]} for pair in ours.items()])
    optimizer.param_groups.reverse()
    del optimizer.param_groups[0]
    other = optim.Adam([{"params": [(n, theirs[n])], "lr": RATES[n]} for n in "ba"])
    for params, each_optimizer in ((ours, optimizer), (theirs, other)):
        set_gradients(params, {name: np.cos(value) for name, value in arrays.items()})
        each_optimizer.step()
    assert bits({n: p.data for n, p in ours.items()}) == bits({n: p.data for n, p in theirs.items()})
    assert bits(optimizer.state_dict()) == bits(other.state_dict())


def test_assigning_param_groups_replaces_them():
    optimizer, params = three_groups()
    optimizer.param_groups = [{"params": [params["c"], params["a"]], "lr": 0.1}]
    assert [name for group in optimizer.param_groups for name, _ in group.named] == ["c", "a"]
    assert moves(optimizer, params) == {"a": 1.5, "b": 0.0, "c": 0.375}


def test_a_group_can_get_other_parameters_by_being_replaced():
    optimizer, params = three_groups()
    group = optimizer.param_groups[0]
    optimizer.param_groups[0] = {**group, "params": [*group["params"], ("d", nn.Parameter(np.zeros(2)))]}
    assert [name for name, _ in optimizer.param_groups[0].named] == ["a", "d"]
    assert moves(optimizer, params) == {"a": 1.5, "b": 1.5, "c": 1.5}


@pytest.mark.parametrize(
    ("operation", "error", "named"),
    [
        pytest.param(lambda o, p: o.param_groups.clear(), ValueError, "no param group would be left", id="clear"),
        pytest.param(lambda o, p: assigned(o, []), ValueError, "no param group would be left", id="assign_none"),
        pytest.param(lambda o, p: o.param_groups.__imul__(2), ValueError, "'a' is given twice", id="imul"),
        pytest.param(
            lambda o, p: o.param_groups.__setitem__(0, o.param_groups[1]), ValueError, r"param_groups\[:\] =", id="swap"
        ),
        pytest.param(lambda o, p: o.param_groups.append({"params": p["a"]}), ValueError, "'a' is given", id="twice"),
        pytest.param(lambda o, p: o.param_groups.append(3), TypeError, "dictionary with the key 'params'", id="number"),
        pytest.param(
            lambda o, p: o.param_groups.append({**new(), "lrr": 1}), TypeError, "did you mean 'lr'", id="misspelled"
        ),
        pytest.param(lambda o, p: o.param_groups.extend([new(), {**new(), "lr": -1}]), ValueError, "lr must", id="one"),
        pytest.param(lambda o, p: o.param_groups.sort(), TypeError, "not supported between", id="sort_without_key"),
        pytest.param(lambda o, p: o.param_groups.pop(7), IndexError, "out of range", id="pop_out_of_range"),
        pytest.param(lambda o, p: o.param_groups[0].clear(), TypeError, "cannot be removed", id="clear_group"),
        pytest.param(lambda o, p: o.param_groups[0].popitem(), TypeError, "cannot be removed", id="popitem"),
        pytest.param(lambda o, p: o.param_groups[0].pop("lr"), KeyError, "'lr' cannot be removed", id="pop_option"),
        pytest.param(lambda o, p: o.param_groups[0].pop("params"), KeyError, "del optimizer", id="pop_params"),
        pytest.param(
            lambda o, p: o.param_groups[0].update(lr=0.7, bogus=1), TypeError, "unknown option 'bogus'", id="update"
        ),
        pytest.param(lambda o, p: o.param_groups[0].setdefault("x", 1), TypeError, "unknown option", id="setdefault"),
        pytest.param(
            lambda o, p: o.param_groups[0].__ior__({"lr": 0.7, "momentum": -1}), ValueError, "momentum must", id="ior"
        ),
        pytest.param(lambda o, p: o.param_groups[0]["params"].append(p["a"]), AttributeError, "fixed", id="add_param"),
        pytest.param(lambda o, p: o.param_groups[0]["params"].clear(), AttributeError, "fixed", id="clear_params"),
        pytest.param(
            lambda o, p: o.param_groups[0]["params"].__setitem__(0, p["b"]), TypeError, "fixed", id="set_param"
        ),
        pytest.param(
            lambda o, p: o.param_groups[0].__setitem__("params", [p["a"]]), ValueError, "add_param", id="set_params"
        ),
        pytest.param(lambda o, p: o.state.clear(), TypeError, "reset_state", id="state_clear"),
        pytest.param(lambda o, p: o.state.pop("a"), TypeError, "reset_state", id="state_pop"),
        pytest.param(lambda o, p: o.state.__delitem__("a"), TypeError, "reset_state", id="state_del"),
        pytest.param(lambda o, p: o.state.update(a={}), TypeError, "load_state_dict", id="state_update"),
        pytest.param(lambda o, p: o.state["a"].__setitem__("step", 0), TypeError, "read-only", id="state_step"),
        pytest.param(lambda o, p: o.state[p["a"]].clear(), TypeError, "read-only", id="state_of_one"),
        pytest.param(lambda o, p: setattr(o, "state", {}), AttributeError, "reset_state", id="state_assign"),
        pytest.param(lambda o, p: o.reset_state(["a", "x"]), ValueError, "unknown parameter 'x'", id="reset"),
        pytest.param(lambda o, p: o.reset_state([]), ValueError, "names is empty", id="reset_none"),
        pytest.param(lambda o, p: o.reset_state(iter({})), ValueError, "names is empty", id="reset_exhausted"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_the_remedy_and_nothing_changes(operation, error, named):
    (optimizer, params), (other, twins) = three_groups(), three_groups()
    with pytest.raises(error, match=named):
        operation(optimizer, params)
    assert bits(optimizer.state_dict()) == bits(other.state_dict())
    assert moves(optimizer, params) == moves(other, twins)


def test_a_group_of_another_optimizer_is_copied():
    """If both had one group, a change of its options would reach only the one that steps first."""
    (optimizer, _), (other, _) = three_groups(), three_groups()
    optimizer.param_groups.append(other.param_groups[0])
    assert [name for name, _ in optimizer.param_groups[3].named] == ["a@2"]
    other.param_groups[0]["lr"] = 0.7
    assert optimizer.param_groups[3]["lr"] == 0.1


def test_the_groups_of_a_copied_optimizer_are_its_own():
    optimizer, params = three_groups()
    twin = copy.deepcopy(optimizer)
    twin.param_groups.pop()
    twin.param_groups.append(optimizer.param_groups[0])
    assert twin.param_groups[2] is not optimizer.param_groups[0]
    assert moves(optimizer, params) == dict.fromkeys(RATES, 1.5)


def test_a_copy_of_the_list_is_a_plain_list():
    groups = three_groups()[0].param_groups
    for plain in (copy.copy(groups), groups[:], list.copy(groups)):
        assert type(plain) is list
        plain.clear()
    assert len(groups) == 3


def test_param_groups_do_not_keep_their_optimizer_alive():
    optimizer, _ = three_groups()
    groups = optimizer.param_groups
    gc.disable()
    try:
        del optimizer
        with pytest.raises(ReferenceError, match="no longer exists"):
            groups.append(new())
    finally:
        gc.enable()


def test_a_group_adds_and_compares_as_a_dictionary_and_its_parameters_as_a_list():
    optimizer, params = three_groups()
    group = optimizer.param_groups[0]
    group |= {"lr": 0.7}
    assert group["lr"] == 0.7
    assert (group | {"x": 1})["x"] == ({"x": 1} | group)["x"] == 1
    assert group == dict(group) == group.copy()
    assert group != optimizer.param_groups[1]
    assert optimizer.param_groups.index(optimizer.param_groups[2]) == 2
    two = [*optimizer.param_groups[1]["params"]] + group["params"] + optimizer.param_groups[2]["params"]
    assert all(a is params[name] for a, name in zip(two, "bac", strict=True))


@pytest.mark.parametrize("kind", [optim.AdamW, optim.Lookahead])
def test_groups_of_what_does_more_when_a_group_is_added(kind):
    first, second = nn.Parameter([1.0]), nn.Parameter([2.0])
    if kind is optim.AdamW:
        optimizer = optim.AdamW([first], decay_coupling="schedule")
        optimizer.param_groups.append({"params": second, "lr": 0.5})
        assert optimizer.param_groups[1]["max_lr"] == 0.5
    else:
        optimizer = optim.Lookahead(optim.SGD([first], lr=1.0), k=1, alpha=0.5)
        optimizer.param_groups.append({"params": [("second", second)]})
        first.grad = second.grad = Tensor(np.ones(1, np.float32))
        optimizer.step()
        assert second.item() == 1.5


# The state


def test_the_state_is_found_by_name_or_parameter_and_follows_the_optimizer():
    optimizer, params = three_groups()
    state = optimizer.state[params["a"]]
    assert optimizer.state["a"]["step"] == state["step"] == 1
    assert list(state) == ["step", "momentum_buffer"]
    moves(optimizer, params)
    assert state["step"] == 2
    assert params["a"] in optimizer.state
    assert "a" in optimizer.state
    assert nn.Parameter([1.0]) not in optimizer.state
    assert dict(optimizer.state).keys() == RATES.keys()


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("d", "unknown parameter 'd'; known are a, b, c"),
        (nn.Parameter(np.ones((30, 30))), r"a tensor of shape \(30, 30\) is not a parameter of this optimizer"),
        (0, "unknown parameter '0'"),
    ],
    ids=["name", "parameter", "number"],
)
def test_the_state_of_what_the_optimizer_does_not_have_is_an_error_that_names_what_it_has(key, named):
    with pytest.raises(KeyError, match=named) as error:
        three_groups()[0].state[key]
    assert len(str(error.value)) < 200
    with pytest.raises(KeyError, match="unknown slot 'exp_avg'; known are step, momentum_buffer"):
        three_groups()[0].state["a"]["exp_avg"]


def test_an_array_of_the_state_can_be_written_in_place():
    optimizer, params = three_groups()
    optimizer.state["a"]["momentum_buffer"][...] = 4.0
    assert moves(optimizer, params)["a"] == 3.0


@pytest.mark.parametrize("which", ["name", "parameter", "list", "all"])
def test_reset_state_makes_the_next_step_the_first(which):
    params = leaves({name: np.ones(3) for name in "ab"}, np.float64)
    optimizer = optim.Adam(params.items(), lr=0.5, amsgrad=True, eps=0.0)
    for _ in range(3):
        set_gradients(params, {name: np.array([1.0, -2.0, 3.0]) for name in "ab"})
        optimizer.step()
    optimizer.reset_state({"name": "a", "parameter": params["a"], "list": ["a"], "all": None}[which])
    assert [optimizer.state[name]["step"] for name in "ab"] == [0, 0 if which == "all" else 3]
    before = params["a"].data.copy()
    set_gradients(params, {name: np.array([-1.0, 5.0, 7.0]) for name in "ab"})
    optimizer.step()
    np.testing.assert_allclose(before - params["a"].data, [-0.5, 0.5, 0.5], rtol=1e-15)


def test_reset_state_begins_at_the_first_value_of_the_state():
    weight = nn.Parameter(np.zeros(2))
    optimizer = optim.Adagrad([("w", weight)], lr=0.5, initial_accumulator_value=0.25)
    weight.grad = Tensor(np.ones(2))
    optimizer.step()
    optimizer.reset_state()
    assert optimizer.state["w"]["sum"].tolist() == [0.25, 0.25]


def test_a_group_added_after_loading_begins_at_the_first_value_of_its_state():
    first, second = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2))
    optimizer = optim.Adagrad([("a", first)], initial_accumulator_value=0.25)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": [("b", second)]})
    assert optimizer.state["b"]["sum"].tolist() == [0.25, 0.25]


# Parameters


@pytest.mark.parametrize(
    ("make", "named"),
    [
        pytest.param(lambda m: m, "not the model itself", id="model"),
        pytest.param(lambda m: "weights", "needs a list of parameters, such as model.parameters", id="string"),
        pytest.param(lambda m: ["0.weight"], "must be a tensor, not str", id="names"),
        pytest.param(lambda m: dict(m.named_parameters()), r"not a dictionary; pass its pairs, \.items\(\)", id="dict"),
        pytest.param(lambda m: {"params": m.parameters()}, "a list of param groups, ", id="one_group"),
        pytest.param(lambda m: [m], r"not Sequential; pass its parameters\(\)", id="modules"),
        pytest.param(lambda m: [(3, m[0].weight)], "name of a parameter must be a string, not 3", id="number_as_name"),
        pytest.param(lambda m: optim.SGD(m.parameters()), "not SGD", id="optimizer"),
    ],
)
def test_what_is_not_a_list_of_parameters_is_refused_with_what_to_pass(make, named):
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(TypeError, match=named):
        optim.SGD(make(model))


def test_an_exhausted_iterator_of_parameters_is_refused_everywhere():
    model = nn.Sequential(nn.Linear(2, 2))
    used = model.parameters()
    optimizer = optim.SGD(used)
    for attempt in (
        lambda: optim.SGD(used),
        lambda: optim.SGD([{"params": used}]),
        lambda: optim.SGD([{"params": model.parameters()}, {"params": used}]),
        lambda: optimizer.add_param_group({"params": used}),
        lambda: optimizer.param_groups.append({"params": used}),
        lambda: optimizer.watch(name for name in used),
        lambda: optimizer.reset_state(used),
    ):
        with pytest.raises(ValueError, match="is empty"):
            attempt()
    assert len(optimizer.param_groups) == 1
