"""ParameterStore: every parameter, unit, tensor and layer is one range of a buffer; blocks cover each element once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_tools import assert_same_bits, leaves, loss_of, network

from minigrad import Tensor, optim
from minigrad.autograd.memory import gather, placed
from minigrad.kernels.blocks import BLOCK, block_table, spans
from minigrad.kernels.plan import Plan
from minigrad.kernels.store import ParameterStore
from minigrad.optim import apply_update, norm


def store_over(shapes, dtype=np.float32):
    return ParameterStore(leaves({name: np.ones(shape) for name, shape in shapes.items()}, dtype).items())


def places(store):
    return {entry.name: (entry.start, entry.stop) for buffer in store.buffers for entry in buffer.entries}


# Ranges


def test_parameters_lie_in_order_of_layer_then_tensor():
    store = store_over({"0.weight": (3, 4), "1.weight": (2, 3), "0.bias": (3,), "1.bias": (2,)})
    assert places(store) == {"0.weight": (0, 12), "0.bias": (12, 15), "1.weight": (15, 21), "1.bias": (21, 23)}
    assert store.layers == ("0", "1")
    assert store.size == store.buffers[0].size == 23


def test_units_are_the_rows_of_a_weight_and_a_vector_is_one():
    store = store_over({"0.weight": (3, 4), "0.bias": (3,), "conv.kernel": (2, 3, 5), "scale": (), "none": (0, 4)})
    assert {entry.name: entry.units for entry in store.entries.values()} == {
        "0.weight": 3,
        "0.bias": 1,
        "conv.kernel": 2,
        "scale": 1,
        "none": 1,
    }
    assert store.counts == {"unit": 8, "tensor": 5, "layer": 4, "global": 1}
    assert store.entries["conv.kernel"].ids == {"unit": 4, "tensor": 2, "layer": 1, "global": 0}
    assert store.range_names("unit")[:5] == ["0.weight[0]", "0.weight[1]", "0.weight[2]", "0.bias", "conv.kernel[0]"]
    assert store.range_names("layer") == ["0", "conv", "scale", "none"]


def test_a_layer_stays_one_range_when_param_groups_divide_it():
    """As they do where biases are to have no weight decay."""
    model = network()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    optimizer = optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": biases}])
    assert places(optimizer.store) == {
        "0.weight": (0, 20),
        "0.bias": (20, 25),
        "2.weight": (25, 40),
        "2.bias": (40, 43),
    }


def test_each_dtype_has_a_buffer_and_numbers_of_ranges_run_through_all():
    mixed = [*leaves({"0.a": np.ones(2)}).items(), *leaves({"0.b": np.ones(3)}, np.float64).items()]
    store = ParameterStore([*mixed, *leaves({"1.c": np.ones(4)}).items()])
    assert [(str(buffer.dtype), buffer.size) for buffer in store.buffers] == [("float32", 6), ("float64", 3)]
    assert [store.entries[name].ids["tensor"] for name in ("0.a", "0.b", "1.c")] == [0, 1, 2]
    assert [store.entries[name].ids["layer"] for name in ("0.a", "0.b", "1.c")] == [0, 0, 1]
    assert repr(store) == "<ParameterStore: 3 tensors in 2 layers, 9 parameters>"


# Views


def test_parameters_keep_their_values_and_gradients_when_they_move_in():
    w = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3).T, requires_grad=True)  # not contiguous
    w.grad = Tensor(np.full((3, 2), 2.0, np.float32))
    before = w.data.copy()
    (buffer,) = ParameterStore([("w", w)]).buffers
    assert_same_bits(w.data, np.ascontiguousarray(before))
    assert np.shares_memory(w.data, buffer.data)
    assert_same_bits(buffer.grad, np.full(6, 2.0, np.float32))


def bound(parameters):
    return [(parameter, placed(parameter)) for parameter in parameters]


def test_backward_writes_straight_into_the_buffer():
    model = network()
    store = ParameterStore(model.named_parameters())
    (buffer,) = store.buffers
    for number in (1, 2):  # made, then added to
        loss_of(model).backward()
        for entry in buffer.entries:
            gradient = entry.parameter.grad.data
            assert np.shares_memory(gradient, buffer.grad)
            assert_same_bits(buffer.grad[entry.start : entry.stop], gradient.ravel())
        if number == 1:
            first = buffer.grad.copy()
    np.testing.assert_allclose(buffer.grad, 2 * first, rtol=1e-6)
    assert gather(bound(model.parameters())) == []


def test_gathering_brings_in_gradients_from_elsewhere_and_numbers_the_missing():
    params = leaves({"a": np.ones(2), "b": np.ones(3), "c": np.ones(1)})
    (buffer,) = ParameterStore(params.items()).buffers
    array = np.full(3, 7.0, np.float32)
    params["b"].grad = Tensor(array)
    array += 1
    assert gather(bound(params.values())) == [0, 2]
    assert_same_bits(buffer.grad[2:5], np.full(3, 8.0, np.float32))


def test_a_second_store_works_on_the_same_memory():
    model = network()
    first = ParameterStore(model.named_parameters())
    second = ParameterStore(reversed(list(model.named_parameters())))
    (buffer,), (other,) = first.buffers, second.buffers
    assert buffer.memory is other.memory
    assert places(first) == places(second)
    assert list(second.entries) == ["2.bias", "2.weight", "0.bias", "0.weight"]
    assert second.range_names("layer") == ["2", "0"]


def test_a_store_of_some_parameters_has_the_part_of_the_memory_that_they_are_in():
    model = network()
    ParameterStore(model.named_parameters())
    (buffer,) = ParameterStore((name, p) for name, p in model.named_parameters() if name != "0.weight").buffers
    assert [(entry.name, entry.start, entry.stop) for entry in buffer.entries] == [
        ("0.bias", 0, 5),
        ("2.weight", 5, 20),
        ("2.bias", 20, 23),
    ]
    assert_same_bits(buffer.data[:5], model[0].bias.data)


def test_parameters_of_two_stores_are_two_buffers_with_common_numbers():
    model = network()
    ParameterStore(model[0].named_parameters())
    store = ParameterStore(model.named_parameters())
    assert [[entry.name for entry in buffer.entries] for buffer in store.buffers] == [
        ["0.weight", "0.bias"],
        ["2.weight", "2.bias"],
    ]
    assert [entry.ids["layer"] for entry in store.entries.values()] == [0, 0, 1, 1]


def test_a_parameter_whose_dtype_changed_is_refused_and_nothing_moves():
    model = network()
    optimizer = optim.SGD(model.parameters())
    before = optimizer.store.buffers[0].grad.copy()
    loss_of(model).backward()
    before = optimizer.store.buffers[0].grad.copy()
    model[2].double()
    with pytest.raises(TypeError, match=r"'2\.weight' is now float64 \(3, 5\), but was float32 \(3, 5\)"):
        optimizer.step()
    assert_same_bits(optimizer.store.buffers[0].grad, before)


def test_a_model_that_was_converted_and_back_is_trained_where_it_is_now():
    model, other = network(), network()
    optimizers = [optim.Adam(each.parameters(), lr=0.1) for each in (model, other)]
    for number in range(3):
        for each, optimizer in zip((model, other), optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(each).backward()
            if number == 1 and each is model:
                model.double().float()
            optimizer.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert_same_bits(p.data, q.data)


def test_a_store_does_not_keep_parameters_alive():
    model = network()
    store = ParameterStore(model.named_parameters())
    reference = store.entries["0.weight"].ref
    del model
    assert reference() is None


# Refused


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ([], ValueError, "the list of parameters is empty"),
        ([("w", np.ones(2))], TypeError, "'w' is a ndarray, not a tensor"),
        ([("w", Tensor(np.arange(2)))], TypeError, "'w' is int64; only float32 and float64"),
        ([("w", Tensor([1.0], requires_grad=True) * 2)], ValueError, "'w' was computed from other tensors"),
        ([("w", Tensor([1.0])), ("w", Tensor([2.0]))], ValueError, "two parameters are named 'w'"),
    ],
    ids=["empty", "array", "integer", "computed", "names"],
)
def test_what_cannot_be_stored_is_refused(named, error, message):
    with pytest.raises(error, match=message):
        ParameterStore(named)


def test_a_tensor_given_twice_is_refused_and_has_not_moved():
    w = Tensor([1.0], requires_grad=True)
    data = w.data
    with pytest.raises(ValueError, match="'again' is given twice, first as 'w'"):
        ParameterStore([("w", w), ("again", w)])
    assert w.data is data


# Blocks

SHAPES = st.lists(
    st.one_of(
        st.just(()),
        st.tuples(st.integers(0, 5)),
        st.tuples(st.integers(0, 5), st.integers(0, 4)),
        st.sampled_from([(BLOCK,), (BLOCK + 1,), (2, BLOCK - 1), (3, BLOCK + 7)]),
    ),
    min_size=1,
    max_size=8,
)
SCOPES = st.lists(st.sampled_from(["unit", "tensor", "layer", "global"]), max_size=3, unique=True)


@settings(max_examples=60, deadline=None)
@given(shapes=SHAPES, scopes=SCOPES, data=st.data())
def test_blocks_cover_every_element_with_a_gradient_once_and_stay_within_their_ranges(shapes, scopes, data):
    store = store_over({f"{i // 2}.{i}": shape for i, shape in enumerate(shapes)})
    (buffer,) = store.buffers
    rows = {name: data.draw(st.integers(0, 2)) for name in store.entries if data.draw(st.booleans())}
    blocks = block_table(buffer, rows, scopes)
    covered = np.zeros(buffer.size, int)
    for start, stop, row, *ids in blocks.tolist():
        assert 0 < stop - start <= BLOCK
        covered[start:stop] += 1
        inside = [e for e in buffer.entries if e.start < min(stop, e.stop) and start < e.stop]
        assert all(rows[entry.name] == row for entry in inside)
        if scopes:
            (entry,) = inside  # so that the sum over a tensor does not depend on its neighbors
            unit = (start - entry.start) * entry.units // max(1, entry.stop - entry.start)
            wanted = [entry.ids[scope] + (unit if scope == "unit" else 0) for scope in scopes]
            assert ids == wanted
    for entry in buffer.entries:
        assert np.all(covered[entry.start : entry.stop] == (entry.name in rows))


@settings(max_examples=60, deadline=None)
@given(shapes=SHAPES, scopes=SCOPES.filter(bool))
def test_spans_are_all_blocks_in_order_and_never_divide_a_range_that_has_a_norm(shapes, scopes):
    store = store_over({f"{i // 2}.{i}": shape for i, shape in enumerate(shapes)})
    plan = Plan([*(norm("update", scope, name=f"{scope}_norm") for scope in scopes), apply_update])
    blocks = block_table(store.buffers[0], dict.fromkeys(store.entries, 0), plan.scopes)
    found = spans(blocks, plan).tolist()
    assert [block for first, last in found for block in range(first, last)] == list(range(len(blocks)))
    for column in range(3, blocks.shape[1]):
        owners = [set(blocks[first:last, column].tolist()) for first, last in found]
        assert sum(map(len, owners)) == len(set().union(*owners))
