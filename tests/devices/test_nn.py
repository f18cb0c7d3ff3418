"""Layers, losses, parameters and their stores on the device "cuda"."""

from __future__ import annotations

import copy
import pickle

import cupy_standin
import numpy as np
import pytest
from device_tools import assert_on_gpu, assert_same
from nn_cases import CASES, draw_inputs, draw_upstream
from test_layers import build, call

import minigrad
from minigrad import Tensor, nn, optim
from minigrad.autograd.memory import gather, placed
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu_module
from minigrad.kernels.store import ParameterStore
from minigrad.random import manual_seed


def computed(case, device, dtype):
    """Outputs, gradients and buffers of a layer or loss on a device."""
    manual_seed(3)
    module = build(case, dtype).to(device)
    inputs = [Tensor(x.astype(dtype) if x.dtype.kind == "f" else x).to(device) for x in draw_inputs(case)]
    for x in inputs:
        x.requires_grad = x.dtype.kind == "f"
    outputs = call(case, module, inputs)
    total = None
    for out, g in zip(outputs, draw_upstream(case, [np.empty(x.shape) for x in outputs]), strict=True):
        if out.requires_grad:
            term = (out * minigrad.tensor(np.asarray(g, dtype), device=device)).sum()
            total = term if total is None else total + term
    total.backward()
    results = {f"out{i}": x for i, x in enumerate(outputs)}
    results |= {f"in{i}": x.grad for i, x in enumerate(inputs) if x.grad is not None}
    results |= {f"grad/{name}": p.grad for name, p in module.named_parameters()}
    return results | {f"buffer/{name}": b for name, b in module.named_buffers()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_layers_and_losses_are_those_of_the_cpu(gpu, name, dtype):
    found, expected = computed(CASES[name], "cuda", dtype), computed(CASES[name], "cpu", dtype)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert_on_gpu(value)
        assert_same(value, expected[key], key)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: nn.Linear(3, 2, **o),
        lambda **o: nn.LSTM(3, 2, num_layers=2, bidirectional=True, **o),
        lambda **o: nn.GRU(3, 2, **o),
        lambda **o: nn.RNN(3, 2, nonlinearity="relu", **o),
        lambda **o: nn.Embedding(5, 2, padding_idx=1, **o),
        lambda **o: nn.LayerNorm(4, **o),
        lambda **o: nn.RMSNorm(4, **o),
        lambda **o: nn.BatchNorm1d(4, **o),
    ],
)
def test_a_layer_made_on_the_gpu_begins_with_the_numbers_of_the_cpu(gpu, make):
    states = []
    for device in ("cuda", "cpu"):
        manual_seed(1)
        layer = make(device=device, dtype=np.float64)
        assert all(p.device == device for p in [*layer.parameters(), *layer.buffers()])
        states.append(layer.state_dict())
    for name, value in states[0].items():
        assert_on_gpu(value)
        np.testing.assert_array_equal(value.cpu().numpy(), states[1][name].numpy())


def test_dropout_draws_the_same_mask_on_every_device(gpu):
    outputs = []
    for device in ("cpu", "cuda"):
        manual_seed(5)
        outputs.append(nn.functional.dropout(minigrad.ones(50, device=device), 0.4))
    assert_same(outputs[1], outputs[0])


# --- moving modules --------------------------------------------------------------------------------------------------


def model():
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    net(Tensor(np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32))).sum().backward()
    return net


def contents(net):
    """Everything in a model, as host arrays."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    values = {name: devices.to_host(x.data).copy() for name, x in tensors.items()}
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return values | {f"{name}.grad": devices.to_host(g.data).copy() for name, g in grads.items()}


def test_a_module_moves_with_gradients_and_buffers_and_comes_back_bit_for_bit(gpu):
    net = model()
    before, parameters = contents(net), list(net.parameters())
    assert net.to("cuda") is net
    assert all(x is y for x, y in zip(parameters, net.parameters(), strict=True))
    for tensor in [*net.parameters(), *net.buffers(), *(p.grad for p in net.parameters())]:
        assert_on_gpu(tensor)
    assert net.cuda().cpu() is net
    after = contents(net)
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    net.to("cuda", np.float64)
    assert {(p.device, str(p.dtype)) for p in net.parameters()} == {("cuda", "float64")}
    assert net[1].num_batches_tracked.dtype == np.int64


def test_a_module_that_finds_no_room_on_the_gpu_stays_as_it_was(gpu, monkeypatch):
    net = model()
    before, arrays = contents(net), [p.data for p in net.parameters()]
    asarray, calls = gpu.asarray, []

    def full(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise cupy_standin.OutOfMemoryError("Out of memory allocating 512 bytes")
        return asarray(*args, **kwargs)

    monkeypatch.setattr(gpu, "asarray", full)
    with pytest.raises(gpu_module.DeviceError, match="copying to the GPU: the GPU ran out of memory; use smaller"):
        net.to("cuda")
    assert all(p.data is array for p, array in zip(net.parameters(), arrays, strict=True))
    for name, value in contents(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_state_dict_stays_on_the_device_and_loads_on_any(gpu):
    net, other = model().cuda(), model()
    with minigrad.no_grad():
        for p in net.parameters():
            p.data = p.data * 2
    state = net.state_dict()
    for value in state.values():
        assert_on_gpu(value)
    other.load_state_dict(state)
    assert all(p.device == "cpu" for p in other.parameters())
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert_same(p, q)
    net.load_state_dict({name: value.data for name, value in model().state_dict().items()})
    assert_on_gpu(net[0].weight)
    assert_same(net[0].weight, model()[0].weight)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copy_of_a_model_is_where_the_model_is(gpu, again):
    net = model().cuda()
    twin, store = again((net, ParameterStore(net.named_parameters())))
    assert store.device == "cuda"
    assert_on_gpu(twin[0].weight)
    assert_same(twin[0].weight, net[0].weight)
    twin[0].weight.data = twin[0].weight.data * 0
    assert net[0].weight.data.any()


def test_the_table_of_a_model_needs_no_copy_of_it_on_the_cpu(gpu):
    table = model().cuda().summary((1, 3))
    assert [row.output_shapes for row in table.rows][-1] == ((1, 2),)
    assert str(table) == str(model().summary((1, 3)))


# --- the store -------------------------------------------------------------------------------------------------------


def test_parameters_and_gradients_are_views_of_buffers_on_the_gpu(gpu):
    net = model().cuda()
    store = ParameterStore(net.named_parameters())
    assert store.device == "cuda"
    (buffer,) = store.buffers
    x = minigrad.tensor(np.ones((2, 3), np.float32), device="cuda")
    for p in net.parameters():
        p.grad = None
    net(x).sum().backward()
    once = contents(net)
    bound = [(parameter, placed(parameter)) for parameter in net.parameters()]
    for entry in buffer.entries:
        assert entry.parameter.grad.data is placed(entry.parameter).window
        assert_same(buffer.grad[entry.start : entry.stop], once[f"{entry.name}.grad"].ravel())
        assert_same(buffer.data[entry.start : entry.stop], once[entry.name].ravel())
    assert gather(bound) == []
    net(x).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad.data is placed(p).window
        np.testing.assert_allclose(devices.to_host(p.grad.data), 2 * once[f"{name}.grad"], rtol=1e-5, atol=1e-5)
    net[0].weight.grad = Tensor(np.ones((4, 3), np.float32)).cuda()
    net[3].bias.grad = None
    assert [bound[number][0].name for number in gather(bound)] == ["3.bias"]
    assert devices.to_host(buffer.grad[:12]).tolist() == [1.0] * 12
    net.zero_grad(set_to_none=False)
    assert not net[0].weight.grad.any()
    assert not devices.to_host(buffer.grad[12:-2]).any()


def test_a_gradient_that_is_kept_on_the_gpu_keeps_its_values(gpu):
    weight = nn.Parameter(np.ones((2, 3), np.float32)).to("cuda").detach().requires_grad_()
    optim.SGD([weight])
    kept = []
    for k in (1.0, 2.0, 3.0):
        weight.grad = None
        (weight * k).sum().backward()
        kept += [weight.grad, weight.grad.flatten(), weight.grad.T[1:], weight.grad.data[0]]
        gather([(weight, placed(weight))])
    assert [float(devices.to_host(getattr(g, "data", g) if isinstance(g, Tensor) else g).max()) for g in kept] == [
        k for k in (1.0, 2.0, 3.0) for _ in range(4)
    ]


def test_a_handle_on_the_gpu_goes_on_sharing_its_parameter(gpu):
    weight = nn.Parameter(np.ones((2, 3), np.float32)).to("cuda").detach().requires_grad_()
    handle = weight.detach().T
    optim.SGD([weight])
    weight.data = np.full((2, 3), 5.0, np.float32)
    assert handle.tolist() == [[5.0, 5.0]] * 3


def test_a_gradient_of_another_device_is_refused(gpu):
    weight = nn.Parameter(np.ones(2, np.float32)).to("cuda").detach().requires_grad_()
    with pytest.raises(ValueError, match="the gradient is on cpu, but the tensor on cuda"):
        weight.grad = Tensor([1.0, 1.0])
    with pytest.raises(ValueError, match="the gradient is on cpu, the output on cuda"):
        (weight * 2).backward(Tensor([1.0, 1.0]))


def test_an_optimizer_refuses_a_model_that_has_moved_and_one_that_is_in_two_places(gpu):
    net = nn.Linear(2, 1)
    optimizer = optim.SGD(net.named_parameters(), lr=0.1)
    net(Tensor([[1.0, 2.0]])).sum().backward()
    net.cuda()
    with pytest.raises(TypeError, match=r"'weight' is now on cuda, but was on cpu .* move a model before making its"):
        optimizer.step()
    net.cpu()
    optimizer.step()
    net = nn.Sequential(nn.Linear(2, 2, device="cuda"), nn.Linear(2, 1))
    with pytest.raises(
        ValueError, match=r"parameter '1\.weight' is on cpu, but '0\.weight' on cuda; move the whole model"
    ):
        optim.SGD(net.named_parameters(), lr=0.1)


def test_state_of_an_optimizer_lives_with_its_parameters_and_loads_on_any_device(gpu):
    net, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = optim.Adam(net.named_parameters())
    net(Tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    other.cuda()
    moved = optim.Adam(other.named_parameters())
    moved._restore(saved["state"], ("exp_avg", "exp_avg_sq"), {})
    for name, values in moved.state.items():
        assert values["step"] == 1
        for slot in ("exp_avg", "exp_avg_sq"):
            assert devices.device_of(values[slot]) == "cuda"
            assert_same(values[slot], saved["state"][name][slot])
