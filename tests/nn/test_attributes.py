"""Public attributes of layers obey, refuse or are read-only: nothing that is set later is ignored."""

import inspect

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn
from minigrad.attributes import Argument, Setting

NAN = float("nan")
# For each class the arguments that it needs, an input, and for each other value of an argument what may be set.
ROWS = Tensor(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
SEQUENCE = Tensor(np.random.default_rng(1).standard_normal((4, 4, 3)).astype(np.float32))
SCORES = (ROWS, np.array([0, 2, 1, 2]))
CHANCES = (Tensor([[0.2, 0.9], [0.5, 0.4]]), Tensor([[0.0, 1.0], [0.5, 1.0]]))
RECURRENT = {"batch_first": [True], "dropout": [0.5]}
REDUCED = {"reduction": ["sum", "none"]}
LAYERS = {
    "Linear": ({"in_features": 3, "out_features": 2}, (ROWS,), {}),
    "Flatten": ({}, (SEQUENCE,), {"start_dim": [0], "end_dim": [1]}),
    "Embedding": ({"num_embeddings": 5, "embedding_dim": 2}, (np.array([1, 4]),), {"padding_idx": [1, -1]}),
    "LeakyReLU": ({}, (ROWS,), {"negative_slope": [0.3]}),
    "ELU": ({}, (ROWS,), {"alpha": [0.3]}),
    "GELU": ({}, (ROWS,), {"approximate": ["tanh"]}),
    "Softplus": ({}, (ROWS,), {"beta": [2.0], "threshold": [0.1]}),
    "Softmax": ({}, (ROWS,), {"axis": [0]}),
    "LogSoftmax": ({}, (ROWS,), {"axis": [0]}),
    "Dropout": ({}, (ROWS,), {"p": [0.0, 0.9, 1]}),
    "LayerNorm": ({"normalized_shape": 3}, (ROWS,), {"eps": [0.5]}),
    "RMSNorm": ({"normalized_shape": 3}, (ROWS,), {"eps": [0.5]}),
    "BatchNorm1d": ({"num_features": 3}, (ROWS,), {"eps": [0.5], "momentum": [0.9, None]}),
    "RNN": ({"input_size": 3, "hidden_size": 3, "num_layers": 2}, (SEQUENCE,), RECURRENT | {"nonlinearity": ["relu"]}),
    "GRU": ({"input_size": 3, "hidden_size": 3, "num_layers": 2}, (SEQUENCE,), RECURRENT),
    "LSTM": ({"input_size": 3, "hidden_size": 3, "num_layers": 2}, (SEQUENCE,), RECURRENT),
    "MLP": ({"sizes": [3, 2, 1]}, (ROWS,), {}),
    "CrossEntropyLoss": ({}, SCORES, REDUCED | {"ignore_index": [2], "label_smoothing": [0.2]}),
    "NLLLoss": ({}, SCORES, REDUCED | {"ignore_index": [2]}),
    "BCELoss": ({}, CHANCES, REDUCED),
    "BCEWithLogitsLoss": ({}, CHANCES, REDUCED),
    "MSELoss": ({}, CHANCES, REDUCED),
    "L1Loss": ({}, CHANCES, REDUCED),
    "HuberLoss": ({}, CHANCES, REDUCED | {"delta": [0.1]}),
    "SmoothL1Loss": ({}, CHANCES, REDUCED | {"beta": [0.1]}),
}
# What neither the constructor nor the attribute takes.
REFUSED = {
    "p": [2, -0.1, NAN, "0.5", None],
    "dropout": [2, -0.1, NAN], "eps": [0.0, -1.0, NAN, "small"], "momentum": [1.5, NAN],
    "reduction": ["avg", None], "label_smoothing": [-0.1, 2.0], "delta": [0.0, NAN], "ignore_index": ["two", 1.5],
    "padding_idx": [5, -6], "axis": [1.5, None], "start_dim": ["1"], "end_dim": [0.5], "approximate": ["exact"],
    "nonlinearity": ["relu6"], "batch_first": ["yes", 1], "negative_slope": [NAN, "0.1"], "alpha": [NAN, "1"],
    "threshold": [NAN], "track_running_stats": ["no"],
}  # fmt: skip
CLASSES = {
    name: kind
    for name in nn.__all__
    if inspect.isclass(kind := getattr(nn, name))
    and issubclass(kind, nn.Module)
    and len(inspect.signature(kind).parameters)
}


def arguments(kind):
    """The arguments of a class, but for modules given one by one or as a list."""
    return [
        p.name for p in inspect.signature(kind).parameters.values() if p.name != "modules" and p.kind != p.VAR_KEYWORD
    ]


def made(name, **options):
    minigrad.manual_seed(0)
    return CLASSES[name](**LAYERS[name][0] | options)


def output(layer, name):
    minigrad.manual_seed(1)
    found = layer(*LAYERS[name][1])
    found = found[0] if isinstance(found, tuple) else found
    return found.tolist(), {key: value.tolist() for key, value in layer.state_dict().items()}


SETTABLE = [
    (name, key, value) for name, (_, _, keys) in LAYERS.items() for key, values in keys.items() for value in values
]
ARGUMENTS = [(name, key) for name, kind in CLASSES.items() for key in arguments(kind)]


@pytest.mark.parametrize(("name", "key"), ARGUMENTS)
def test_every_argument_of_a_constructor_is_declared(name, key):
    layer, found = made(name), inspect.getattr_static(CLASSES[name], key, None)
    assert isinstance(found, Setting | Argument) or key in layer._buffers, (
        f"declare {name}.{key} with setting() or fixed()"
    )


@pytest.mark.parametrize(("name", "key", "value"), SETTABLE)
def test_what_is_set_later_acts_as_if_it_had_been_given_at_first(name, key, value):
    layer = made(name)
    before = output(made(name), name)
    setattr(layer, key, value)
    assert getattr(layer, key) == getattr(made(name, **{key: value}), key)
    if key not in ("padding_idx",):  # whose row starts at 0 if it is given at first
        assert output(layer, name) == output(made(name, **{key: value}), name)
        if (key, value) != ("batch_first", True):
            assert output(layer, name) != before


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (name, key, value)
        for name, key in ARGUMENTS
        for value in REFUSED.get(key, ())
        if key not in ("bias",) and name != "MLP"
    ],
)
def test_what_the_constructor_refuses_is_refused_later(name, key, value):
    with pytest.raises((ValueError, TypeError)) as first:
        made(name, **{key: value})
    layer = made(name)
    before = getattr(layer, key)
    with pytest.raises(type(first.value)) as later:
        setattr(layer, key, value)
    assert str(later.value) == str(first.value)
    assert key in str(later.value)
    assert getattr(layer, key) == before


OTHER = {
    "in_features": 4, "out_features": 4,
    "num_embeddings": 4, "embedding_dim": 4, "normalized_shape": (4,), "affine": False,
    "num_features": 4, "elementwise_affine": False,
    "input_size": 4, "hidden_size": 4, "num_layers": 4, "bidirectional": True,
}  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [pair for pair in ARGUMENTS if pair[1] in OTHER or pair == ("RNN", "bias")])
def test_what_shapes_follow_from_is_fixed(name, key):
    layer = made(name)
    before = getattr(layer, key)
    with pytest.raises(AttributeError, match=rf"{name}\.{key} is .* and cannot be changed to .*; make a new {name}"):
        setattr(layer, key, OTHER.get(key, False))
    setattr(layer, key, before)
    with pytest.raises(AttributeError, match="cannot be deleted"):
        delattr(layer, key)
    assert getattr(layer, key) == before


@pytest.mark.parametrize("key", ["dtype", "device"])
@pytest.mark.parametrize("name", ["Linear", "Embedding", "LayerNorm", "RMSNorm", "BatchNorm1d", "RNN", "GRU", "LSTM"])
def test_dtype_and_device_are_arguments_alone(name, key):
    layer = made(name)
    with pytest.raises(AttributeError, match=rf"{name}\.{key} is an argument of the constructor; use \.to\(\)"):
        setattr(layer, key, "cuda")
    assert not hasattr(layer, key)


def test_a_subclass_may_use_the_name_of_an_argument():
    class Mine(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.device = "here"

    layer = Mine()
    assert layer.device == "here"
    del layer.device
    assert not hasattr(layer, "device")


@pytest.mark.parametrize("key", ["sizes", "activation", "dropout", "norm", "bias"])
def test_the_arguments_of_an_mlp_are_not_attributes(key):
    with pytest.raises(AttributeError, match=f"MLP.{key} is an argument of the constructor; change the modules in it"):
        setattr(nn.MLP([2, 3, 1]), key, 0.5)


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.LayerNorm(2), nn.BatchNorm1d(2)])
@pytest.mark.parametrize("value", [True, False, Tensor([1.0, 1.0])])
def test_a_bias_is_a_parameter_or_none(layer, value):
    before = layer.bias
    with pytest.raises(TypeError, match="bias must be a Parameter or None"):
        layer.bias = value
    assert layer.bias is before


def test_a_bias_that_is_taken_away_or_given_later_counts():
    layer = nn.Linear(2, 2)
    layer.bias = None
    np.testing.assert_array_equal(layer(ROWS[:, :2]).data, (ROWS[:, :2] @ layer.weight.T).data)
    layer.bias = nn.Parameter([1.0, 2.0])
    assert [p.name for p in layer.parameters()] == ["weight", "bias"]
    np.testing.assert_allclose(
        layer(ROWS[:, :2]).data, (ROWS[:, :2] @ layer.weight.T + Tensor([1.0, 2.0])).data, rtol=1e-6
    )


def test_running_statistics_can_stand_still_as_in_pytorch():
    layer = nn.BatchNorm1d(3)
    layer(ROWS)
    before = layer.state_dict()
    layer.track_running_stats = False
    layer(ROWS * 2 + 1)
    assert {k: v.tolist() for k, v in layer.state_dict().items()} == {k: v.tolist() for k, v in before.items()}
    # In evaluation they are still used: torch.nn.BatchNorm1d, whose forward passes them on where they exist.
    expected = (ROWS.data - layer.running_mean.data) / np.sqrt(layer.running_var.data + 1e-5)
    np.testing.assert_allclose(layer.eval()(ROWS).data, expected, rtol=1e-5, atol=1e-6)
    layer.track_running_stats = True
    layer.train()(ROWS)
    assert layer.num_batches_tracked.item() == 2


def test_running_statistics_cannot_be_switched_on_where_there_are_none():
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    with pytest.raises(ValueError, match="made without running statistics; make a new one"):
        layer.track_running_stats = True
    assert layer.track_running_stats is False


def test_dropout_between_layers_needs_two_of_them():
    layer = nn.GRU(2, 2)
    with pytest.raises(ValueError, match="dropout acts between layers"):
        layer.dropout = 0.5


@pytest.mark.parametrize("value", ["eval", 1, None])
def test_the_mode_is_a_flag(value):
    layer = nn.Dropout()
    with pytest.raises(TypeError, match=f"Dropout: training must be True or False, not {value!r}"):
        layer.training = value
    layer.training = False
    assert layer(ROWS) is ROWS


# --- names ---------------------------------------------------------------------------------------------------------

KINDS = {
    "register_parameter": lambda: nn.Parameter([1.0]),
    "register_buffer": lambda: Tensor([1.0]),
    "add_module": nn.ReLU,
}


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_a_registered_name_is_not_taken_over(first, second):
    # PyTorch raises KeyError: "attribute 'a' already exists".
    module = nn.Module()
    value, other = KINDS[first](), KINDS[second]()
    getattr(module, first)("a", value)
    if first == second:
        getattr(module, second)("a", other)
        assert module.a is other
        return
    for error in (KeyError, ValueError):
        with pytest.raises(error, match=rf"Module\.{second}: 'a' already exists, as a \w+; del it first"):
            getattr(module, second)("a", other)
    assert module.a is value
    assert len([*module.parameters(), *module.buffers(), *module.children()]) == 1
    del module.a
    getattr(module, second)("a", other)
    assert module.a is other
    assert len([*module.parameters(), *module.buffers(), *module.children()]) == 1


@pytest.mark.parametrize("value", [Tensor([1.0]), 3, [nn.ReLU()], print, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_name_holds_its_kind(kind, value):
    module = nn.Module()
    getattr(module, kind)("a", KINDS[kind]())
    before = module.a
    if kind == "register_buffer" and isinstance(value, Tensor):
        module.a = value
        return
    with pytest.raises(TypeError, match=r"Module\.a must be a \w+ or None, not .*; del it first to reuse the name"):
        module.a = value
    assert module.a is before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("", ValueError, "'' cannot be registered: a name must not be empty or contain dots"),
        ("a.b", ValueError, "'a.b' cannot be registered: a name must not be empty or contain dots"),
        (3, TypeError, "a name must be a string, not 3"),
        ("forward", ValueError, "'forward' already exists"),
        ("parameters", ValueError, "'parameters' already exists"),
        ("training", ValueError, "'training' already exists"),
        ("_parameters", ValueError, "'_parameters' already exists"),
        ("mine", ValueError, "'mine' already exists"),
    ],
)
@pytest.mark.parametrize("empty", [False, True])
def test_impossible_names_are_refused(kind, name, error, message, empty):
    module = nn.Module()
    module.mine = 3
    if kind == "add_module" and empty:
        pytest.skip("a module is never None")
    with pytest.raises(error, match=message):
        getattr(module, kind)(name, None if empty else KINDS[kind]())
    assert module.mine == 3
    assert module.training is True
    assert not [*module.parameters(), *module.buffers(), *module.children()]


@pytest.mark.parametrize("name", ["parameters", "forward", "train", "modules"])
@pytest.mark.parametrize("value", [{}, [nn.ReLU()], 3, Tensor([1.0]), None])
def test_a_value_cannot_hide_a_method(name, value):
    module = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=f"Linear.{name} is a method; choose another name"):
        setattr(module, name, value)
    module.forward = lambda x: x * 0  # a function may, as in PyTorch
    assert module(Tensor([1.0])).item() == 0.0


@pytest.mark.parametrize("name", ["register", "mro"])
def test_what_only_the_metaclass_defines_is_a_free_name(name):
    model = nn.Sequential()
    setattr(model, name, 3)
    setattr(model, name, nn.Parameter([1.0]))
    assert [p.name for p in model.parameters()] == [name]


def test_a_default_of_a_users_class_may_be_replaced():
    class Net(nn.Module):
        act = nn.ReLU

    net = Net()
    net.act = None
    assert net.act is None


@pytest.mark.parametrize("name", ["training", "_modules", "_path"])
def test_the_tables_of_a_module_cannot_be_replaced_by_a_part(name):
    module = nn.Module()
    with pytest.raises(ValueError, match="already exists, in every module"):
        setattr(module, name, nn.ReLU())
    assert module.training is True
