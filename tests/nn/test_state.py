"""State dicts: copies out, copies in, nothing changed on any error, and PyTorch's in both directions."""

import copy

import numpy as np
import pytest
from nn_cases import LAYERS, RECURRENT, draw_inputs

from minigrad import Tensor, nn


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


NAMES = [
    *("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"),
    *("3.weight", "3.bias"),
]


def arrays(module):
    return {name: x.data.copy() for name, x in module.state_dict().items()}


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_names_come_in_order():
    assert list(model().state_dict()) == NAMES


def test_a_state_dict_is_a_copy():
    net = model()
    state = net.state_dict()
    before = {name: x.data.copy() for name, x in state.items()}
    for parameter in net.parameters():
        parameter.data = np.zeros(parameter.shape)
    net(Tensor(np.ones((2, 3), np.float32)))
    assert_equal({name: x.data for name, x in state.items()}, before)
    assert not any(x.requires_grad for x in state.values())


def test_loading_copies_the_values_into_the_same_arrays():
    source, target = model(), model()
    held = [p.data for p in target.parameters()]
    state = source.state_dict()
    result = target.load_state_dict(state)
    assert result == ([], [])
    assert_equal(arrays(target), arrays(source))
    assert all(p.data is array for p, array in zip(target.parameters(), held, strict=True))
    state["0.weight"].data = np.zeros((4, 3))
    assert_equal(arrays(target), arrays(source))


def test_loading_is_a_change_that_an_earlier_graph_notices():
    net = model()
    loss = net(Tensor(np.ones((2, 3), np.float32), requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_what_is_not_persistent_is_left_out():
    net = nn.Module()
    net.register_buffer("kept", Tensor([1.0]))
    net.register_buffer("scratch", Tensor([1.0]), persistent=False)
    net.register_buffer("off", None)
    assert list(net.state_dict()) == ["kept"]
    assert [name for name, _ in net.named_buffers()] == ["kept", "scratch"]


def test_a_shared_parameter_is_there_under_both_names():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_one_error_names_every_problem_and_nothing_is_loaded():
    net = model()
    before = arrays(net)
    state = {name: np.ones_like(value) for name, value in before.items()}
    del state["0.bias"], state["1.weight"]
    state |= {"4.weight": np.ones(2), "head": np.ones(2)}
    state["3.weight"] = np.ones((4, 2))
    state["3.bias"] = np.ones(2, int)
    state["1.num_batches_tracked"] = np.array(0.5)
    state["1.bias"] = "four"
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        net.load_state_dict(state)
    for line in (
        "missing: 0.bias, 1.weight",
        "unexpected: 4.weight, head",
        "misshapen: 3.weight is (4, 2), must be (2, 4)",
        "unfit dtype: 3.bias is int64, must be float32",
        "unfit dtype: 1.num_batches_tracked is float64, must be int64",
        "misshapen: 1.bias is (), must be (4,)",
    ):
        assert line in str(error.value)
    assert_equal(arrays(net), before)


def test_a_value_that_cannot_be_read_is_an_error_too():
    net = nn.Linear(2, 2)
    before = arrays(net)
    with pytest.raises(ValueError, match=r"unreadable: bias \(.*\n?.*"):
        net.load_state_dict({"weight": np.zeros((2, 2)), "bias": [[1.0], [1.0, 2.0]]})
    assert_equal(arrays(net), before)


def test_not_strict_allows_other_names_and_reports_them_but_no_other_shapes():
    net = nn.Linear(3, 2)
    result = net.load_state_dict({"weight": np.ones((2, 3)), "extra": 1}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["extra"]
    assert (net.weight.data == 1).all()
    with pytest.raises(ValueError, match="misshapen: weight"):
        net.load_state_dict({"weight": np.ones((3, 2))}, strict=False)


def test_a_state_dict_is_a_mapping():
    with pytest.raises(TypeError, match="mapping from names to arrays, not list"):
        nn.Linear(2, 2).load_state_dict([np.ones(2)])


def test_two_tensors_can_be_swapped():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    first, second = (layer.weight.data.copy() for layer in net)
    net.load_state_dict({"0.weight": net[1].weight.detach(), "1.weight": net[0].weight.detach()})
    np.testing.assert_array_equal(net[0].weight.data, second)
    np.testing.assert_array_equal(net[1].weight.data, first)


def test_values_are_rounded_to_the_dtype_of_the_model():
    net = nn.Linear(1, 1)
    net.load_state_dict({"weight": np.array([[1 / 3]]), "bias": [0.5]})
    assert net.weight.dtype == np.float32
    assert net.weight.item() == np.float32(1 / 3)


def test_a_copied_model_loads_what_the_original_saved():
    net = model()
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.data = np.zeros(parameter.shape)
    other.load_state_dict(net.state_dict())
    assert_equal(arrays(other), arrays(net))


PAIRS = {case.kind: case for case in [*LAYERS, *RECURRENT]}


@pytest.mark.parametrize("kind", PAIRS)
def test_pytorch_loads_ours_and_we_load_pytorchs(kind):
    torch = pytest.importorskip("torch")
    case = PAIRS[kind]
    options = {"dim" if key == "axis" else key: value for key, value in case.options.items()}
    ours = getattr(nn, kind)(*case.args, **case.options).eval()
    theirs = getattr(torch.nn, kind)(*case.args, **options).eval()
    inputs = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in draw_inputs(case)][:1]

    def same():
        mine, yours = ours(*inputs), theirs(*map(torch.from_numpy, inputs))
        mine, yours = (out[0] if isinstance(out, tuple) else out for out in (mine, yours))
        np.testing.assert_allclose(np.asarray(mine.data if isinstance(mine, Tensor) else mine),
                                   yours.detach().numpy(), rtol=1e-4, atol=1e-5)  # fmt: skip

    theirs.load_state_dict({name: torch.from_numpy(x.numpy()) for name, x in ours.state_dict().items()})
    same()
    theirs = getattr(torch.nn, kind)(*case.args, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    same()
    ours.load_state_dict(dict(theirs.named_parameters()) | dict(theirs.named_buffers()))
