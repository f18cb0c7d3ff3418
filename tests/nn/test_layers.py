"""Every layer and loss: values and gradients against PyTorch's and against differences; float32 stays float32."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_cases import CASES, draw_inputs, draw_state, draw_upstream

from minigrad import Tensor, nn
from minigrad.gradcheck import check_gradients

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "nn_layers.npz") as file:
        return dict(file)


def flat(outputs):
    if isinstance(outputs, tuple | list):
        return [x for item in outputs for x in flat(item)]
    return [outputs]


def build(case, dtype=np.float64):
    module = getattr(nn, case.kind)(*case.args, **case.options).astype(dtype).train(case.training)
    if not case.kind.endswith("Loss"):
        module.load_state_dict(draw_state(case, {name: x.shape for name, x in module.state_dict().items()}))
    return module


def call(case, module, inputs):
    return flat(module(inputs[0], tuple(inputs[1:])) if case.paired and len(inputs) > 1 else module(*inputs))


def computed(case, dtype=np.float64):
    """What minigrad computes, under the names that the golden file uses."""
    module = build(case, dtype)
    inputs = [Tensor(x.astype(dtype) if x.dtype.kind == "f" else x) for x in draw_inputs(case)]
    for x in inputs:
        x.requires_grad = x.dtype.kind == "f"
    outputs = call(case, module, inputs)
    loss = None
    for out, g in zip(outputs, draw_upstream(case, [x.data for x in outputs]), strict=True):
        if out.requires_grad:
            term = (out * Tensor(np.asarray(g, dtype))).sum()
            loss = term if loss is None else loss + term
    loss.backward()
    results = {f"out{i}": x.data for i, x in enumerate(outputs)}
    results |= {f"in{i}": x.grad.data for i, x in enumerate(inputs) if x.grad is not None}
    for name, p in module.named_parameters():
        assert p.grad is not None, f"{case.kind}: {name} got no gradient, so its forward does not use it"
        results[f"grad/{name}"] = p.grad.data
    if not case.kind.endswith("Loss"):
        results |= {f"buffer/{name}": b.data for name, b in module.named_buffers()}
    return results


WORDS = {"out": "output ", "in": "the gradient of input ", "grad/": "the gradient of ", "buffer/": "buffer "}


def assert_same(found, expected, rtol, atol, case=""):
    assert set(found) == set(expected)
    for name, value in expected.items():
        prefix = next((prefix for prefix in WORDS if name.startswith(prefix)), "")
        what = f"{case}: {WORDS.get(prefix, '')}{name.removeprefix(prefix)} here (ACTUAL) and in PyTorch (DESIRED)"
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol, err_msg=what)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_pytorch(name, golden):
    expected = {key.removeprefix(f"{name}/"): x for key, x in golden.items() if key.startswith(f"{name}/")}
    assert_same(computed(CASES[name]), expected, rtol=1e-11, atol=1e-12, case=name)


@pytest.mark.parametrize("name", CASES)
def test_float32_gives_float32_everywhere(name, golden):
    found = computed(CASES[name], np.float32)
    assert {x.dtype for key, x in found.items() if key != "buffer/num_batches_tracked"} == {np.dtype(np.float32)}
    expected = {key.removeprefix(f"{name}/"): x for key, x in golden.items() if key.startswith(f"{name}/")}
    assert_same(found, expected, rtol=1e-4, atol=1e-5, case=f"{name} in float32")


def test_the_golden_file_is_what_this_pytorch_computes(golden):
    torch = pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("nn_layers", GOLDEN / "nn_layers.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    live = {f"{name}/{key}": x for name, case in CASES.items() for key, x in script.reference(torch, case).items()}
    assert_same(live, golden, rtol=1e-12, atol=1e-13)


def as_function(case, module):
    """The module as a function of its floating inputs and its parameters, and the point to check it at."""
    inputs = draw_inputs(case)
    names = [name for name, _ in module.named_parameters()]
    points = [*inputs, *(p.data for p in module.parameters())]

    def function(*values):
        # Straight into the attributes, because only a Parameter may take a parameter's place.
        vars(module).update(zip(names, values[len(inputs) :], strict=True))
        return tuple(call(case, module, values[: len(inputs)]))

    return function, points


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_gradients_agree_with_differences(name):
    function, points = as_function(CASES[name], build(CASES[name]))
    check_gradients(function, points)


@pytest.mark.parametrize("name", CASES)
def test_nothing_given_is_changed_or_shared(name):
    case = CASES[name]
    module, arrays = build(case), draw_inputs(case)
    inputs = [Tensor(x.copy()).requires_grad_(x.dtype.kind == "f") for x in arrays]
    output = call(case, module, inputs)[0]
    if not output.requires_grad:
        output = output + module.weight.sum()
    upstream = draw_upstream(case, [output.data])[0]
    given = Tensor(np.array(upstream))
    output.backward(given)
    np.testing.assert_array_equal(given.data, upstream)
    for x, array in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(x.data, array)
    gradients = [x.grad.data for x in [*inputs, *module.parameters()] if x.grad is not None]
    held = [given.data, output.data, *(x.data for x in inputs), *(p.data for p in module.parameters())]
    for i, gradient in enumerate(gradients):
        assert not any(np.shares_memory(gradient, other) for other in [*gradients[:i], *held])


def random_layer(kind, n, a, b):
    """A layer and its input, for random sizes."""
    rng = np.random.default_rng(n + 10 * a + 100 * b)
    if kind == "Embedding":
        return nn.Embedding(a, b), rng.integers(a, size=(n, 2))
    if kind == "BatchNorm1d":
        return nn.BatchNorm1d(a), rng.standard_normal((n + 1, a, b) if b > 1 else (n + 1, a))
    if kind in ("LayerNorm", "RMSNorm"):
        return getattr(nn, kind)((a, b) if n > 1 else b, eps=0.01), rng.standard_normal((n, a, b))
    if kind == "Linear":
        return nn.Linear(a, b, bias=n > 1), rng.standard_normal(((), (n,), (n, 2))[n - 1] + (a,))
    if kind in ("RNN", "GRU", "LSTM"):
        layer = getattr(nn, kind)(a, b, bidirectional=n == 2, bias=a > 1, batch_first=b > 1)
        return layer, rng.standard_normal((n, 2, a))
    return nn.MLP([a, b, n], activation="tanh", norm="layer"), rng.standard_normal((3, a))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["Linear", "Embedding", "BatchNorm1d", "LayerNorm", "RMSNorm", "RNN", "GRU", "LSTM", "MLP"]),
    n=st.integers(1, 3),
    a=st.integers(1, 3),
    b=st.integers(1, 3),
)
def test_gradients_at_random_sizes(kind, n, a, b):
    layer, x = random_layer(kind, n, a, b)
    owners = [(module, name) for module in layer.modules() for name in module._parameters]
    points = [x, *(vars(module)[name].data.astype(np.float64) for module, name in owners)]
    layer.double()

    def function(x, *parameters):
        for (module, name), value in zip(owners, parameters, strict=True):
            vars(module)[name] = value
        return tuple(flat(layer(x)))

    check_gradients(function, points)


@settings(max_examples=30, deadline=None)
@given(
    leading=st.lists(st.integers(0, 4), max_size=3),
    features=st.integers(1, 5),
    outputs=st.integers(1, 5),
    bias=st.booleans(),
)
def test_linear_is_the_matrix_product_at_any_shape(leading, features, outputs, bias):
    layer = nn.Linear(features, outputs, bias=bias).double()
    x = np.random.default_rng(0).standard_normal((*leading, features))
    expected = x @ layer.weight.data.T + (layer.bias.data if bias else 0)
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-12, atol=1e-14)


def test_normalized_values_have_mean_0_and_mean_square_1():
    x = np.random.default_rng(1).standard_normal((4, 6)) * 3 + 5
    np.testing.assert_allclose(nn.LayerNorm(6).double()(x).data.mean(axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose((nn.RMSNorm(6).double()(x).data ** 2).mean(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(nn.BatchNorm1d(6).double()(x).data.var(axis=0), 1, rtol=1e-4)


# --- training and evaluation ---------------------------------------------------------------------------------------


def test_dropout_zeroes_p_of_the_elements_and_keeps_the_expectation():
    layer = nn.Dropout(0.25)
    out = layer(Tensor(np.ones((200, 200), np.float32))).data
    assert set(np.unique(out)) == {np.float32(0), np.float32(4 / 3)}
    assert abs((out == 0).mean() - 0.25) < 0.01


def test_the_gradient_of_dropout_passes_where_the_value_did():
    x = Tensor(np.ones((20, 20)), requires_grad=True)
    out = nn.Dropout(0.5)(x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.data, out.data)


@pytest.mark.parametrize(("p", "expected"), [(0, 1.0), (1, 0.0)])
def test_dropout_of_nothing_and_of_everything(p, expected):
    assert (nn.Dropout(p)(Tensor(np.ones((3, 3)))).data == expected).all()


def test_dropout_does_nothing_in_evaluation():
    x = Tensor(np.ones((3, 3)))
    assert nn.Dropout(0.9).eval()(x) is x


def test_batch_norm_refuses_a_batch_of_one_in_training_and_leaves_its_statistics():
    layer = nn.BatchNorm1d(3)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r"BatchNorm1d\(3\): got input of shape \(1, 3\).*larger batch or eval"):
        layer(Tensor(np.ones((1, 3), np.float32)))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name].data)
    assert layer.eval()(Tensor(np.ones((1, 3), np.float32))).shape == (1, 3)


def test_batch_norm_counts_batches_only_in_training():
    layer = nn.BatchNorm1d(2)
    x = Tensor(np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32))
    layer(x), layer(x), layer.eval()(x)
    assert layer.num_batches_tracked.item() == 2
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_without_momentum_keeps_the_average_of_all_batches():
    layer = nn.BatchNorm1d(2, momentum=None).double()
    batches = np.random.default_rng(0).standard_normal((3, 5, 2))
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean.data, batches.mean(axis=(0, 1)))


def test_a_padding_row_starts_at_zero_and_gets_no_gradient():
    layer = nn.Embedding(4, 3, padding_idx=-1)
    assert (layer.weight.data[3] == 0).all()
    assert (layer.weight.data[:3] != 0).all()
    layer(np.array([0, 3, 3])).sum().backward()
    assert layer.weight.grad.data.sum(axis=1).tolist() == [3, 0, 0, 0]


def test_an_embedding_from_given_rows_copies_and_freezes_them():
    rows = np.arange(6.0).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(rows)
    rows[:] = 0
    assert layer(np.array(1)).tolist() == [2, 3]
    assert not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad


def test_dropout_between_recurrent_layers_acts_in_training_only():
    layer = nn.GRU(3, 4, num_layers=2, dropout=0.9)
    x = Tensor(np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32))
    assert not np.array_equal(layer(x)[0].data, layer(x)[0].data)
    layer.eval()
    assert np.array_equal(layer(x)[0].data, layer(x)[0].data)


# --- what is refused -----------------------------------------------------------------------------------------------

FLOATS = Tensor(np.zeros((2, 63), np.float32))
WRONG = {
    "Linear takes the size it was made for": (
        lambda: nn.Linear(64, 32)(FLOATS),
        ValueError,
        r"Linear\(64, 32\): got input with last axis 63 .*needs input with last axis 64",
    ),
    "Linear takes no integers": (
        lambda: nn.Linear(63, 32)(Tensor(np.zeros((2, 63), int))),
        TypeError,
        r"Linear\(63, 32\): got int64 input.*\.float\(\)",
    ),
    "Linear takes no list": (lambda: nn.Linear(2, 3)([1.0, 2.0]), TypeError, r"Linear.*not list"),
    "Linear takes no single number": (lambda: nn.Linear(2, 3)(Tensor(1.0)), ValueError, r"Linear.*shape \(\)"),
    "sizes are positive": (lambda: nn.Linear(-3, 2), ValueError, "Linear: in_features must be .* 1 or more, not -3"),
    "sizes are whole": (
        lambda: nn.Linear(3, 2.0),
        TypeError,
        r"Linear: out_features must be a whole number.*not 2\.0",
    ),
    "misspelled arguments": (lambda: nn.Linear(3, 2, bais=False), TypeError, "bais"),
    "modules without settings take none": (lambda: nn.ReLU(0.1), TypeError, "argument"),
    "p is a probability": (lambda: nn.Dropout(1.5), ValueError, r"Dropout: p must be a number in \[0, 1\], not 1\.5"),
    "p is not NaN": (lambda: nn.Dropout(float("nan")), ValueError, "Dropout"),
    "GELU has two forms": (lambda: nn.GELU("tahn"), ValueError, "did you mean 'tanh'"),
    "softplus needs a positive beta": (
        lambda: nn.Softplus(0),
        ValueError,
        "Softplus: beta must be a finite number above 0, not 0",
    ),
    "LayerNorm checks the last axes": (
        lambda: nn.LayerNorm((4, 3))(Tensor(np.zeros((2, 3, 4)))),
        ValueError,
        r"LayerNorm\(\(4, 3\)\): got input with shape \(2, 3, 4\).*last axes \(4, 3\)",
    ),
    "RMSNorm checks the last axis": (lambda: nn.RMSNorm(64)(FLOATS), ValueError, "last axis 63"),
    "a norm of nothing": (lambda: nn.LayerNorm(()), ValueError, "at least one axis"),
    "eps is positive": (
        lambda: nn.LayerNorm(3, eps=-1),
        ValueError,
        "LayerNorm: eps must be a finite number above 0, not -1",
    ),
    "BatchNorm1d checks the features": (
        lambda: nn.BatchNorm1d(3)(Tensor(np.zeros((4, 5), np.float32))),
        ValueError,
        r"BatchNorm1d\(3\): got input of shape \(4, 5\)",
    ),
    "momentum is a share": (lambda: nn.BatchNorm1d(3, momentum=2), ValueError, "momentum"),
    "an embedding takes integers": (lambda: nn.Embedding(4, 2)(np.array([0.5])), TypeError, "integers"),
    "an embedding checks its indices": (lambda: nn.Embedding(4, 2)(np.array([4])), IndexError, "index 4.*4 rows"),
    "no negative index": (lambda: nn.Embedding(4, 2)(np.array([-1])), IndexError, "index -1"),
    "padding is a row": (lambda: nn.Embedding(4, 2, padding_idx=4), ValueError, "padding_idx 4 is not a row"),
    "recurrent input": (
        lambda: nn.LSTM(3, 4)(Tensor(np.zeros((5, 2, 4), np.float32))),
        ValueError,
        r"LSTM\(3, 4\): got input of shape \(5, 2, 4\); it needs \(L, N, 3\)",
    ),
    "a sequence has steps": (lambda: nn.GRU(3, 4)(Tensor(np.zeros((0, 2, 3), np.float32))), ValueError, "empty"),
    "a state fits the input": (
        lambda: nn.GRU(3, 4)(Tensor(np.zeros((5, 2, 3))), Tensor(np.zeros((1, 3, 4)))),
        ValueError,
        r"h_0 has shape \(1, 3, 4\); input \(5, 2, 3\) needs \(1, 2, 4\)",
    ),
    "an LSTM needs two states": (
        lambda: nn.LSTM(3, 4)(Tensor(np.zeros((5, 2, 3))), Tensor(np.zeros((1, 2, 4)))),
        TypeError,
        r"a pair \(h_0, c_0\)",
    ),
    "dropout needs a second layer": (lambda: nn.RNN(3, 4, dropout=0.5), ValueError, "num_layers of at least 2"),
    "a known nonlinearity": (lambda: nn.RNN(3, 4, nonlinearity="Relu"), ValueError, "did you mean 'relu'"),
    "flatten within the shape": (lambda: nn.Flatten(1, 3)(FLOATS), ValueError, "end_dim 3 is out of range"),
    "flatten forwards": (lambda: nn.Flatten(1, 0)(FLOATS), ValueError, "start_dim 1 is after end_dim 0"),
    "a module without forward": (lambda: nn.Module()(FLOATS), NotImplementedError, "defines no forward"),
}


@pytest.mark.parametrize("what", WRONG)
def test_refused(what):
    action, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        action()
