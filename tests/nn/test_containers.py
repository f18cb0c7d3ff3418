"""Sequential, ModuleList and MLP."""

from collections import OrderedDict

import numpy as np
import pytest

from minigrad import Tensor, nn


def x(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def names(module):
    return [name for name, _ in module.named_children()]


# --- Sequential ----------------------------------------------------------------------------------------------------


def test_sequential_applies_its_modules_in_order():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    np.testing.assert_array_equal(model(x(5, 3)).data, model[2](model[1](model[0](x(5, 3)))).data)
    assert nn.Sequential()(3) == 3


def test_sequential_takes_names():
    model = nn.Sequential(OrderedDict(hidden=nn.Linear(3, 4), act=nn.ReLU()))
    assert names(model) == ["hidden", "act"]
    assert model[0] is model.hidden is model[-2]
    assert model(x(2, 3)).shape == (2, 4)


def test_sequential_behaves_as_a_list():
    first, second, third = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)
    model = nn.Sequential(first, third)
    model.insert(1, second)
    assert list(model) == [first, second, third]
    assert (len(model), names(model), model[-1]) == (3, ["0", "1", "2"], third)
    model[1] = fourth = nn.Tanh()
    assert model[1] is fourth
    del model[0]
    assert list(model) == [fourth, third]
    assert names(model) == ["0", "1"]
    assert [p.name for p in model.parameters()] == ["1.weight", "1.bias"]
    model.append(first).extend([second])
    assert list(model) == [fourth, third, first, second]


def test_a_slice_holds_the_same_modules_and_leaves_their_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    part = model[1:]
    assert isinstance(part, nn.Sequential)
    assert not part.training
    assert list(part) == [model[1], model[2]]
    assert model[2].weight.name == "2.weight"
    np.testing.assert_array_equal(part(x(1, 2)).data, model[2](model[1](x(1, 2))).data)
    assert isinstance(nn.MLP([2, 3, 4])[:1], nn.Sequential)


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError, match=f"Sequential: index {index} is out of range for 3 modules"):
        nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())[index]


def test_sequential_takes_modules_only():
    with pytest.raises(TypeError, match=r"unpack it with Sequential\(\*modules\)"):
        nn.Sequential([nn.ReLU()])
    with pytest.raises(TypeError, match="'1' must be a Module, not type"):
        nn.Sequential(nn.ReLU(), nn.ReLU)
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match="insert: needs a Module, not int"):
        model.insert(0, 3)
    assert len(model) == 1


# --- ModuleList ----------------------------------------------------------------------------------------------------


def test_a_module_list_registers_what_it_holds():
    net = nn.Module()
    net.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    net.layers += [nn.Linear(2, 3)]
    assert [p.name for p in net.parameters()][-1] == "layers.2.bias"
    assert len(net.layers) == 3
    assert isinstance(net.layers[:2], nn.ModuleList)
    with pytest.raises(NotImplementedError):
        net.layers(x(2, 2))


# --- every list operation, compared with a list --------------------------------------------------------------------

OPERATIONS = {
    "del one": "del seq[2]",
    "del from the end": "del seq[-1]",
    "del a slice": "del seq[1::2]",
    "del a part": "del seq[1:3]",
    "del backwards": "del seq[::-2]",
    "del nothing": "del seq[3:1]",
    "set one": "seq[1] = new[0]",
    "set from the end": "seq[-2] = new[0]",
    "set a slice": "seq[1:3] = new",
    "set a longer slice": "seq[:1] = new",
    "set every second": "seq[::2] = [new[0], new[1], new[2]]",
    "insert": "seq.insert(1, new[0])",
    "insert from the end": "seq.insert(-1, new[0])",
    "insert far behind": "seq.insert(99, new[0])",
    "insert far before": "seq.insert(-99, new[0])",
    "append": "seq.append(new[0])",
    "extend": "seq.extend(new)",
    "extend by a generator": "seq.extend(each for each in new)",
    "extend by itself": "seq.extend(seq)",
    "+=": "seq += new",
    "+": "seq = seq + new",
    "pop": "popped = seq.pop()",
    "pop the first": "popped = seq.pop(0)",
    "pop from the end": "popped = seq.pop(-2)",
    "remove": "seq.remove(old[1])",
    "reverse": "seq.reverse()",
    "clear": "seq.clear()",
    "index": "popped = seq.index(old[2])",
    "in": "popped = (old[2] in seq, new[0] in seq)",
    "reversed": "popped = list(reversed(seq))",
    "count": "popped = seq.count(old[0])",
}


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_of_a_list(kind, operation):
    old, new = [nn.Linear(2, 2) for _ in range(5)], [nn.Linear(2, 2) for _ in range(3)]
    ours = {"seq": nn.Sequential(*old) if kind is nn.Sequential else nn.ModuleList(old), "old": old, "new": new}
    theirs = {"seq": list(old), "old": old, "new": new}
    exec(operation, ours)
    exec(operation, theirs)
    seq = ours["seq"]
    assert type(seq) is kind
    assert list(seq) == theirs["seq"]
    assert ours.get("popped") == theirs.get("popped")
    assert list(seq._modules) == [str(i) for i in range(len(seq))]
    assert [getattr(seq, str(i)) for i in range(len(seq))] == theirs["seq"]
    if operation != "seq.extend(seq)":
        assert [p.name for p in seq.parameters()] == [f"{i}.{n}" for i in range(len(seq)) for n in ("weight", "bias")]
    left = [module for module in [*old, *new] if module not in theirs["seq"]]
    assert all(module.weight.name == "weight" for module in left)


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        ("seq[1:2] = [1]", TypeError, "assignment to a slice: needs a Module, not int"),
        ("seq[::2] = [nn.ReLU()]", ValueError, "sequence of size 1 to extended slice of size 2"),
        ("seq[5] = nn.ReLU()", IndexError, "index 5 is out of range for 3 modules"),
        ("seq[0] = 3", TypeError, "'0' must be a Module, not int"),
        ("seq[0] = None", TypeError, "'0' must be a Module, not NoneType"),
        ("del seq[3]", IndexError, "index 3 is out of range for 3 modules"),
        ("seq.pop(-4)", IndexError, "index -4 is out of range for 3 modules"),
        ("seq.extend([nn.ReLU(), 1])", TypeError, "'4' must be a Module, not int"),
        ("seq += [nn.ReLU(), seq]", ValueError, "a module cannot contain itself"),
        ("seq.insert(0, seq)", ValueError, "a module cannot contain itself"),
        ("seq.append(nn.ReLU)", TypeError, "insert: needs a Module, not type"),
    ],
)
def test_a_refused_operation_changes_nothing(kind, operation, error, message):
    parts = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)]
    seq = nn.Sequential(*parts) if kind is nn.Sequential else nn.ModuleList(parts)
    with pytest.raises(error, match=message):
        exec(operation, {"seq": seq, "nn": nn})
    assert list(seq) == parts
    assert list(seq._modules) == ["0", "1", "2"]
    assert [p.name for p in seq.parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_names_that_were_given_are_kept():
    first, second, third = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)
    model = nn.Sequential({"first": first, "1": second})
    model.append(third)
    assert list(model) == [first, second, third]  # "1" is not taken over by the new one, as it is in PyTorch
    assert names(model) == ["first", "1", "2"]
    del model[1]
    assert names(model) == ["first", "1"]
    assert third.weight.name == "1.weight"
    model.reverse()
    assert names(model) == ["0", "first"]
    assert list(model) == [third, first]


def test_a_list_inside_a_model_is_renamed_with_it():
    net = nn.Module()
    net.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
    del net.layers[1::2]
    assert [p.name for p in net.layers.parameters()] == [f"layers.{i}.{n}" for i in (0, 1) for n in ("weight", "bias")]


# --- MLP -----------------------------------------------------------------------------------------------------------


def test_an_mlp_is_a_sequential_with_the_names_of_one():
    model = nn.MLP([64, 32, 10])
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [type(module).__name__ for module in model] == ["Linear", "ReLU", "Linear"]
    assert model(x(5, 64)).shape == (5, 10)


def test_an_mlp_with_everything():
    model = nn.MLP([8, 6, 4, 2], activation="gelu", dropout=0.1, norm="layer", bias=False)
    block = ["Linear", "LayerNorm", "GELU", "Dropout"]
    assert [type(module).__name__ for module in model] == [*block, *block, "Linear"]
    assert all(module.bias is None for module in model if isinstance(module, nn.Linear))
    assert model(x(3, 8)).shape == (3, 2)


def test_an_mlp_takes_any_activation():
    model = nn.MLP([2, 3, 1], activation=lambda: nn.LeakyReLU(0.3))
    assert model[1].negative_slope == 0.3


def test_an_mlp_without_hidden_layers_is_linear():
    assert [type(module).__name__ for module in nn.MLP([3, 2])] == ["Linear"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [3]}, r"sizes of the input and the output, got \[3\]"),
        ({"sizes": [3, 0, 2]}, "Linear: out_features must be a whole number of 1 or more, not 0"),
        ({"sizes": [3, 2, 1], "activation": "rleu"}, "unknown activation 'rleu'; did you mean 'relu'"),
        ({"sizes": [3, 2, 1], "norm": "group"}, "unknown norm 'group'"),
        ({"sizes": [3, 2, 1], "dropout": -0.1}, "MLP: dropout must be a number in"),
    ],
)
def test_an_mlp_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.MLP(**arguments)
