"""Modules: what registers under which name, the labels of parameters, modes, hooks, copies."""

import copy
import pickle

import numpy as np
import pytest

from minigrad import Tensor, nn


class Net(nn.Module):
    def __init__(self):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
        self.norm = nn.LayerNorm(3)
        self.register_buffer("offset", Tensor(np.zeros(3, np.float32)))

    def forward(self, x):
        return self.norm(self.body(x)) * self.scale + self.offset


def x(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


# --- registering ---------------------------------------------------------------------------------------------------


def test_parameters_come_in_the_order_of_assignment_own_ones_first():
    assert [name for name, _ in Net().named_parameters()] == [
        "scale",
        "body.0.weight",
        "body.0.bias",
        "body.2.weight",
        "body.2.bias",
        "norm.weight",
        "norm.bias",
    ]


def test_modules_children_layers_and_buffers():
    net = Net()
    assert [path for path, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2", "norm"]
    assert [path for path, _ in net.named_children()] == ["body", "norm"]
    assert [path for path, _ in net.named_layers()] == ["", "body.0", "body.2", "norm"]
    assert [path for path, _ in net.named_buffers()] == ["offset"]
    assert next(net.modules()) is net
    assert list(net.children()) == [net.body, net.norm]
    assert list(net.buffers()) == [net.offset]
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert next(net.named_parameters("net"))[0] == "net.scale"


def test_a_subclass_need_not_call_the_base_constructor_and_may():
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

    assert len(list(Called().parameters())) == 2


def test_replacing_a_parameter_keeps_its_place():
    layer = nn.Linear(3, 2)
    layer.weight = nn.Parameter(np.zeros((2, 3), np.float32))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert (layer.weight.data == 0).all()


def test_setting_none_and_deleting_take_a_parameter_away():
    layer = nn.Linear(3, 2)
    layer.bias = None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer(x(1, 3)).shape == (1, 2)
    layer.bias = nn.Parameter(np.zeros(2, np.float32))
    del layer.weight
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert not hasattr(layer, "weight")


def test_one_name_is_one_thing():
    net = Net()
    net.norm = nn.Parameter(np.zeros(2, np.float32))
    assert "norm" not in dict(net.named_children())
    net.norm = nn.ReLU()
    assert "norm" not in dict(net.named_parameters())


def test_setting_the_same_thing_again_changes_nothing():
    net = Net()
    net.body, net.scale = net.body, net.scale
    assert all(p.name == name for name, p in net.named_parameters())


def test_a_plain_tensor_cannot_take_the_place_of_a_parameter_or_module():
    net = Net()
    with pytest.raises(TypeError, match=r"Net\.scale must be a Parameter or None, not Tensor"):
        net.scale = Tensor(np.ones(3))
    with pytest.raises(TypeError, match=r"Net\.body must be a Module or None, not function"):
        net.body = lambda x: x
    with pytest.raises(TypeError, match=r"Net\.offset must be a Tensor or None, not float"):
        net.offset = 1.0
    assert len(list(net.parameters())) == 7


@pytest.mark.parametrize("name", ["forward", "train", "named_layers"])
def test_a_parameter_cannot_hide_a_method(name):
    with pytest.raises(ValueError, match=f"{name} is a method"):
        setattr(Net(), name, nn.Parameter(np.ones(1)))


def test_a_module_cannot_contain_itself():
    net = Net()
    with pytest.raises(ValueError, match="cannot contain itself"):
        net.body.add_module("again", net)


def test_a_name_with_a_dot_is_refused():
    with pytest.raises(ValueError, match="must not be empty or contain dots"):
        Net().add_module("a.b", nn.ReLU())
    with pytest.raises(ValueError, match="must not be empty or contain dots"):
        Net().register_buffer("a.b", Tensor([1.0]))


def test_registering_by_name_checks_what_it_gets():
    net = Net()
    with pytest.raises(TypeError, match="must be a Module, not int"):
        net.add_module("part", 3)
    with pytest.raises(TypeError, match="must be a Parameter, not Tensor"):
        net.register_parameter("part", Tensor([1.0]))
    with pytest.raises(TypeError, match="must be a Tensor or None, not list"):
        net.register_buffer("part", [1.0])
    with pytest.raises(ValueError, match="'training' already exists"):
        net.register_buffer("training", Tensor([1.0]))
    net.register_parameter("part", nn.Parameter([1.0]))
    assert net.part.name == "part"


def test_a_misspelled_attribute_is_answered_with_the_nearest_name():
    with pytest.raises(AttributeError, match="Linear has no attribute 'wieght'; did you mean 'weight'"):
        nn.Linear(2, 2).wieght  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'parameters'"):
        nn.Linear(2, 2).paramters()


# --- names, layers, roles --------------------------------------------------------------------------------------------


def labels(module):
    return {p.name: (p.layer, p.role) for p in module.parameters()}


def test_a_parameter_knows_name_layer_and_role():
    net = Net()
    assert labels(net) == {
        "scale": ("", "weight"),
        "body.0.weight": ("body.0", "weight"),
        "body.0.bias": ("body.0", "bias"),
        "body.2.weight": ("body.2", "weight"),
        "body.2.bias": ("body.2", "bias"),
        "norm.weight": ("norm", "gain"),
        "norm.bias": ("norm", "bias"),
    }
    assert all(p.name == name for name, p in net.named_parameters())


def test_recurrent_biases_are_biases():
    assert {p.role for name, p in nn.LSTM(2, 3).named_parameters() if name.startswith("bias")} == {"bias"}


def test_a_parameter_on_its_own_has_no_name():
    parameter = nn.Parameter([1.0])
    assert (parameter.name, parameter.layer, parameter.role) == ("", "", "weight")


def test_a_given_role_stays_and_must_be_known():
    layer = nn.Module()
    layer.bias_like = nn.Parameter([1.0], role="gain")
    assert layer.bias_like.role == "gain"
    with pytest.raises(ValueError, match="unknown role 'gian'"):
        nn.Parameter([1.0], role="gian")


def test_attaching_a_module_renames_all_of_its_parameters():
    inner = nn.Sequential(nn.Linear(2, 2))
    assert inner[0].weight.name == "0.weight"
    outer = nn.Module()
    outer.encoder = inner
    assert inner[0].weight.name == "encoder.0.weight"
    outermost = nn.Sequential(outer)
    assert (inner[0].weight.name, inner[0].weight.layer) == ("0.encoder.0.weight", "0.encoder.0")
    assert all(p.name == name for name, p in outermost.named_parameters())


def test_a_parameter_set_after_attaching_gets_its_full_name():
    outer = nn.Module()
    outer.inner = nn.Module()
    outer.inner.weight = nn.Parameter([1.0])
    assert outer.inner.weight.name == "inner.weight"


def test_a_shared_parameter_keeps_its_first_name_and_comes_once():
    net = nn.Module()
    net.encoder = nn.Linear(3, 3)
    net.decoder = nn.Linear(3, 3)
    net.decoder.weight = net.encoder.weight
    assert net.decoder.weight.name == "encoder.weight"
    assert [name for name, _ in net.named_parameters()] == ["encoder.weight", "encoder.bias", "decoder.bias"]
    wrapped = nn.Sequential(net)
    assert net.decoder.weight.name == "0.encoder.weight"
    assert len(list(wrapped.parameters())) == 3


def test_parameters_shared_before_attaching_are_named_by_their_first_place():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert [p.name for p in model.parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_a_shared_module_comes_once_and_the_last_place_names_it():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert [path for path, _ in model.named_modules()] == ["", "0", "1"]
    assert [path for path, _ in model.named_layers()] == ["0"]
    assert list(model.children()) == [layer, model[1]]
    assert layer.weight.name == "2.weight"


def test_what_leaves_a_module_loses_the_name_it_had_there():
    model = nn.Sequential(nn.Linear(2, 2))
    layer, weight = model[0], model[0].weight
    del model[0]
    assert layer.weight.name == "weight"
    layer.weight = None
    assert weight.name == ""


def test_results_are_tensors_not_parameters():
    parameter = nn.Parameter([1.0, 2.0])
    assert type(parameter * 2) is Tensor
    assert type(parameter.detach()) is Tensor
    assert "Parameter (weight)" in repr(parameter)


def test_integers_cannot_be_trained():
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter(np.arange(3))
    assert nn.Parameter(np.arange(3), requires_grad=False).dtype == np.int64


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_a_model_of_its_own_with_the_same_names(copied):
    net = Net()
    net(x(2, 3)).sum().backward()
    other = copied(net)
    assert labels(other) == labels(net)
    for (name, mine), (_, theirs) in zip(net.named_parameters(), other.named_parameters(), strict=True):
        assert type(theirs) is nn.Parameter
        np.testing.assert_array_equal(mine.data, theirs.data, err_msg=name)
        assert not np.shares_memory(mine.data, theirs.data)
        assert not np.shares_memory(mine.grad.data, theirs.grad.data)
    other.scale.data = np.zeros(3)
    assert (net.scale.data == 1).all()
    assert other.scale is dict(other.named_parameters())["scale"]
    np.testing.assert_array_equal(other(x(2, 3)).data, 0)


def test_a_copy_keeps_what_is_shared_shared():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    other = copy.deepcopy(net)
    assert other[1].weight is other[0].weight
    assert other[0].weight is not net[0].weight


def test_a_copy_can_be_attached_elsewhere_without_renaming_the_original():
    net = Net()
    nn.Sequential(copy.deepcopy(net))
    assert net.body[0].weight.name == "body.0.weight"


# --- modes, freezing, gradients, dtype -----------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    with pytest.raises(TypeError, match="True or False, not 'eval'"):
        net.train("eval")


def test_freezing():
    net = Net()
    net.body.requires_grad_(False)
    net(x(2, 3)).sum().backward()
    assert [p.name for p in net.parameters() if p.grad is not None] == ["scale", "norm.weight", "norm.bias"]


def test_zero_grad_drops_gradients_or_zeroes_those_there_are():
    net = Net()
    net(x(2, 3)).sum().backward()
    net.body[0].bias.grad = None
    net.zero_grad(set_to_none=False)
    assert net.body[0].bias.grad is None
    assert (net.scale.grad.data == 0).all()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_zeroing_a_recorded_gradient_forgets_its_history():
    layer = nn.Linear(2, 1)
    (layer(x(3, 2)) ** 2).sum().backward(create_graph=True)
    layer.zero_grad(set_to_none=False)
    assert (layer.weight.grad.data == 0).all()
    assert not layer.weight.grad.requires_grad


def test_apply_visits_inner_modules_first():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "LayerNorm", "Net"]


def test_converting_keeps_the_parameters_and_converts_gradients_and_buffers():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net(x(4, 3)).sum().backward()
    before = list(net.parameters())
    values = [p.data.copy() for p in before]
    assert net.double() is net
    assert list(net.parameters()) == before
    assert {p.dtype for p in before} == {p.grad.dtype for p in before} == {np.dtype(np.float64)}
    assert net[1].running_mean.dtype == np.float64
    assert net[1].num_batches_tracked.dtype == np.int64
    assert net(Tensor(np.ones((4, 3)))).dtype == np.float64
    net.float()
    for parameter, value in zip(before, values, strict=True):
        assert parameter.dtype == np.float32
        np.testing.assert_array_equal(parameter.data, value)
    with pytest.raises(TypeError, match="float32 or float64, not int64"):
        net.astype(int)


def test_converting_leaves_earlier_graphs_their_values():
    """As in PyTorch: they have the array from before, which nobody changes."""
    layer = nn.Linear(3, 2)
    loss = layer(Tensor(np.ones((1, 3), np.float32), requires_grad=True)).sum()
    layer.double()
    loss.backward()
    np.testing.assert_array_equal(layer.weight.grad.data, np.ones((2, 3)))
    assert layer.weight.grad.dtype == np.float64


def test_layers_can_be_made_in_float64():
    for layer in (nn.Linear(2, 2, dtype=np.float64), nn.GRU(2, 2, dtype="float64"), nn.BatchNorm1d(2, dtype=float)):
        assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float64)}


def test_float32_and_float64_do_not_mix():
    with pytest.raises(TypeError, match="float32 and float64"):
        nn.Linear(3, 2)(Tensor(np.ones((1, 3))))


# --- hooks ---------------------------------------------------------------------------------------------------------


def test_forward_hooks_see_and_may_replace_the_output():
    layer = nn.Linear(3, 2)
    seen = []
    layer.register_forward_hook(lambda module, args, output: seen.append((module, args[0].shape, output.shape)))
    handle = layer.register_forward_hook(lambda module, args, output: output * 0)
    assert (layer(x(4, 3)).data == 0).all()
    assert seen == [(layer, (4, 3), (4, 2))]
    handle.remove()
    handle.remove()
    assert (layer(x(4, 3)).data != 0).any()


def test_forward_pre_hooks_see_and_may_replace_the_arguments():
    layer = nn.Identity()
    with layer.register_forward_pre_hook(lambda module, args: args[0] * 2):
        assert layer(Tensor([1.0])).tolist() == [2]
        layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
        assert layer(Tensor([1.0])).tolist() == [3]
    assert layer(Tensor([1.0])).tolist() == [2]


def test_a_hook_may_remove_itself():
    layer = nn.Identity()
    calls = []

    def once(module, args, output):
        calls.append(1)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer(1), layer(2)
    assert calls == [1]


def test_a_hook_must_be_a_function():
    with pytest.raises(TypeError, match="register_forward_hook: needs a function, not int"):
        nn.ReLU().register_forward_hook(3)


# --- repr ----------------------------------------------------------------------------------------------------------


def test_repr_is_a_tree():
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=4, bias=True)\n"
        "    (1): ReLU()\n"
        "    (2): Linear(in_features=4, out_features=3, bias=True)\n"
        "  )\n"
        "  (norm): LayerNorm((3,), eps=1e-05, elementwise_affine=True)\n"
        ")"
    )


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (nn.Embedding(5, 3, padding_idx=0), "Embedding(5, 3, padding_idx=0)"),
        (nn.GRU(3, 4, 2, batch_first=True), "GRU(3, 4, num_layers=2, batch_first=True)"),
        (nn.RNN(3, 4, nonlinearity="relu", bias=False), "RNN(3, 4, bias=False, nonlinearity='relu')"),
        (nn.BatchNorm1d(3), "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
    ],
)
def test_repr_shows_the_settings(module, text):
    assert repr(module) == text
