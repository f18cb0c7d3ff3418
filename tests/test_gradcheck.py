"""check_gradients on models and parameters: no wrong gradient is certified, and everything is as before afterwards."""

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, check_gradients, nn, ops, optim, tensor
from minigrad.gradcheck import GradientError
from minigrad.nn import functional as F
from minigrad.ops import primitive
from minigrad.random import get_state

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
Y = np.array([0, 2, 1, 1, 0, 2])


@pytest.fixture
def bad():
    """An op whose gradient is half of what it should be."""
    yield primitive(
        "test_bad", lambda x: np.tanh(x), "x", (lambda g, x: g * 0.5,), to_float=True, doc="A wrong gradient."
    )
    del ops.PRIMITIVES["test_bad"]


class Net(nn.Module):
    def __init__(self, between=ops.tanh):
        self.a, self.b, self.between = nn.Linear(4, 5), nn.Linear(5, 3), between

    def forward(self, x):
        return self.b(self.between(self.a(x)))


def snapshot(model):
    return {
        name: (id(value.data), value.data.tobytes(), value.dtype, value.requires_grad, value._version[0])
        for name, value in model._named_state().items()
    }


# --- models --------------------------------------------------------------------------------------------------------


def test_a_model_is_checked_with_its_parameters():
    model = Net()
    before = snapshot(model)
    report = check_gradients(model, X)
    assert [(e.position, e.name, e.order) for e in report.entries[:5]] == [
        (0, "", 1), (1, "a.weight", 1), (2, "a.bias", 1), (3, "b.weight", 1), (4, "b.bias", 1),
    ]  # fmt: skip
    assert report.ok
    assert {e.method for e in report.entries} == {"complex step"}
    assert "ok    input 1 (a.weight), order 1" in str(report)
    assert snapshot(model) == before
    assert all(p.grad is None for p in model.parameters())


def test_a_wrong_rule_in_a_model_is_found(bad):
    model = Net(bad)
    before = snapshot(model)
    with pytest.raises(GradientError, match=r"WRONG input 1 \(a\.weight\), order 1"):
        check_gradients(model, X)
    assert snapshot(model) == before


FORMS = {
    "a closure": lambda loss, model: check_gradients(loss, list(model.parameters()), raise_exception=False),
    "no arguments": lambda loss, model: check_gradients(lambda: loss(), model.parameters(), raise_exception=False),
    "an iterator": lambda loss, model: check_gradients(loss, model.parameters(), raise_exception=False),
    "one by one": lambda loss, model: check_gradients(loss, *model.parameters(), raise_exception=False),
    "the model": lambda loss, model: check_gradients(loss, model, raise_exception=False),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("right", [True, False])
def test_a_loss_is_checked_with_the_parameters_that_it_uses(bad, right, form):
    model = Net(ops.tanh if right else bad).double()
    report = form(lambda *given: F.cross_entropy(model(X), Y), model)
    assert report.ok is right
    assert [e.name for e in report.entries][:4] == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert [e.ok for e in report.entries][:4] == [right, right, True, True]


def test_the_arguments_may_be_given_one_by_one():
    w1, b1, w2 = RNG.standard_normal((4, 3)), RNG.standard_normal(3), RNG.standard_normal((3, 2))
    report = check_gradients(lambda w1, b1, w2: (X @ w1 + b1).tanh() @ w2, w1, b1, w2)
    assert [e.position for e in report.entries] == [0, 1, 2, 0, 1, 2]
    assert check_gradients(lambda x, axis: x.softmax(axis=axis), X, 1)


def test_a_frozen_parameter_is_not_checked_and_stays_frozen():
    model = Net()
    model.a.weight.requires_grad = False
    report = check_gradients(model, X, order=1)
    assert [e.name for e in report.entries] == ["", "a.bias", "b.weight", "b.bias"]
    assert not model.a.weight.requires_grad
    assert model.a.weight.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
def test_buffers_are_as_before(training):
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh()).train(training)
    model(X.astype(np.float32))
    before, buffers = snapshot(model), list(model.buffers())
    report = check_gradients(model, X)
    assert report.ok
    assert snapshot(model) == before
    assert all(a is b for a, b in zip(model.buffers(), buffers, strict=True))


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (nn.Embedding(5, 3), np.array([1, 4, 1])),
        (nn.LSTM(4, 3), RNG.standard_normal((3, 2, 4))),
        (nn.GRU(4, 2, bidirectional=True), RNG.standard_normal((3, 2, 4))),
        (nn.LayerNorm(4), X),
        (nn.MLP([4, 3, 2], activation="relu", norm="rms"), X),
    ],
    ids=lambda each: type(each).__name__,
)
def test_layers_are_checked_whole(model, x):
    report = check_gradients(model, x, order=1)
    assert {e.name for e in report.entries} >= {name for name, _ in model.named_parameters()}


def test_a_model_inside_an_optimizer_stays_there():
    model = Net()
    optimizer = optim.Adam(model.parameters())
    F.cross_entropy(model(X.astype(np.float32)), Y).backward()
    optimizer.step()
    before, grads = snapshot(model), [p.grad.data.copy() for p in model.parameters()]
    check_gradients(model, X, order=1)
    assert snapshot(model) == before
    for p, g in zip(model.parameters(), grads, strict=True):
        np.testing.assert_array_equal(p.grad.data, g)
    optimizer.step()
    assert snapshot(model) != before


def test_tied_parameters_are_moved_together():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    report = check_gradients(model, X)
    assert [e.name for e in report.entries][:4] == ["", "0.weight", "0.bias", "2.bias"]


@pytest.mark.parametrize("moment", [1, 2, 5, 20])
def test_everything_is_as_before_after_an_error_too(moment):
    model, x, calls = Net(), tensor(X.astype(np.float32)), []

    def f(x, *parameters):
        calls.append(1)
        if len(calls) == moment:
            raise RuntimeError("stopped")
        return model(x)

    before, data = snapshot(model), x.data
    with pytest.raises(RuntimeError, match="stopped"):
        check_gradients(f, x, *model.parameters())
    assert snapshot(model) == before
    assert x.data is data
    assert not x.requires_grad
    # A graph that was recorded before is still good.
    assert x.dtype == np.float32


def test_a_graph_recorded_before_a_check_can_be_walked_after_it():
    model = Net()
    loss = F.cross_entropy(model(X.astype(np.float32)), Y)
    check_gradients(model, X, order=1)
    loss.backward()
    assert model.a.weight.grad is not None


# --- inputs that do not take part ----------------------------------------------------------------------------------


def test_an_input_that_does_not_reach_the_output_is_named():
    model = Net().double()
    with pytest.raises(ValueError, match="input 0 does not reach the output, so there is nothing to compare"):
        check_gradients(lambda *p: F.cross_entropy(model(X), Y), [p.data.copy() for p in model.parameters()])
    with pytest.raises(ValueError, match="input 1 does not reach the output"):
        check_gradients(lambda a, b: a * 2, X, Y.astype(float))
    other = Net()
    with pytest.raises(ValueError, match=r"input 1 \(a\.weight\) does not reach the output"):
        check_gradients(lambda x, *p: model(x), X, *other.parameters())


def test_an_unused_parameter_of_a_model_is_named():
    class Forgetful(Net):
        def __init__(self):
            super().__init__()
            self.extra = nn.Parameter(np.ones(2))

    with pytest.raises(ValueError, match=r"input 1 \(extra\) does not reach the output"):
        check_gradients(Forgetful().double(), X)


def test_an_input_that_is_detached_is_wrong_rather_than_unused():
    with pytest.raises(GradientError, match="WRONG input 1"):
        check_gradients(lambda a, b: a * b.detach(), X, X)


# --- precision -----------------------------------------------------------------------------------------------------


def test_a_conversion_to_float32_is_named(bad):
    with pytest.raises(ValueError, match=r"computes in float32 \(astype\), .*compute in float64 throughout"):
        check_gradients(lambda x: bad(x.astype(np.float32)), X)


def test_a_hidden_loss_of_precision_is_no_kink(bad):
    rounded = primitive(
        "test_rounded", lambda x: np.tanh(x).astype(np.float32).astype(np.float64), "x", (lambda g, x: g * 0.5,),
        analytic=False, doc="Rounded.",
    )  # fmt: skip
    try:
        with pytest.raises(ValueError, match=r"loses precision: it has the same value when input 0 at \(0, 0\) moves"):
            check_gradients(rounded, X)
    finally:
        del ops.PRIMITIVES["test_rounded"]


@pytest.mark.parametrize("f", [ops.floor, ops.round, ops.sign] if hasattr(ops, "round") else [ops.sign])
def test_a_step_function_is_no_loss_of_precision(f):
    assert check_gradients(lambda x: f(x) + x, np.array([1e-6, 0.3, 1.0]), order=1)


def test_float32_data_beside_a_float64_check_says_what_to_convert():
    model, data = Net(), Tensor(X.astype(np.float32))
    with pytest.raises(TypeError) as caught:
        check_gradients(lambda *p: model(data), model.parameters())
    assert "model.double(), and the data" in "".join(caught.value.__notes__)


# --- kinks of complex functions ------------------------------------------------------------------------------------


def norm(x):
    return (x * x).sum().sqrt()


def test_a_norm_is_right_away_from_zero_and_a_wrong_one_is_not(bad):
    assert check_gradients(norm, X)
    with pytest.raises(GradientError, match="complex step"):
        check_gradients(lambda x: norm(bad(x)), X)


def test_the_subgradient_of_a_norm_at_zero_is_right():
    # The complex step gives 1 there, since sqrt((ih)²) = ih.
    halves = primitive(
        "test_norm", lambda x: np.sqrt((x * x).sum()), "x",
        (lambda g, x, out: g * x / ops.maximum(out, 1e-300),), doc="A norm with gradient 0 at 0.",
    )  # fmt: skip
    try:
        assert check_gradients(lambda x: x.norm(), np.zeros(3))
        report = check_gradients(halves, np.zeros(3), order=1)
        assert report.entries[0].method == "central difference"
        assert report.entries[0].numeric == 0
        wrong = lambda x: halves(x) + x.sum() * 3 - x.detach().sum() * 3
        with pytest.raises(GradientError):
            check_gradients(wrong, np.zeros(3), order=1)
    finally:
        del ops.PRIMITIVES["test_norm"]


# --- random numbers ------------------------------------------------------------------------------------------------


def test_dropout_is_detected_and_named():
    model = nn.MLP([4, 8, 3], dropout=0.5)
    before, state = get_state(), snapshot(model)
    with pytest.raises(
        ValueError, match=r"draws random numbers \(Dropout '2'\) and gave other values .*use \.eval\(\)"
    ):
        check_gradients(model, X)
    assert get_state() == before
    assert snapshot(model) == state
    with pytest.raises(ValueError, match=r"draws random numbers \(dropout\)"):
        check_gradients(lambda x: F.dropout(x, 0.5), X)
    with pytest.raises(ValueError, match=r"draws random numbers and gave"):
        check_gradients(lambda x: x * minigrad.rand(3, dtype=np.float64), np.ones(3))
    with pytest.raises(ValueError, match=r"draws random numbers \(LSTM\)"):
        check_gradients(nn.LSTM(4, 2, num_layers=2, dropout=0.5), X[:, None])
    assert check_gradients(model.eval(), X, order=1)


def test_dropout_is_detected_where_the_mask_happens_to_be_the_same():
    with pytest.raises(ValueError, match="draws random numbers"):
        check_gradients(nn.Dropout(1e-9), np.ones(2))


def test_a_function_that_seeds_itself_can_be_checked():
    def f(x):
        minigrad.manual_seed(3)
        return F.dropout(x * x, 0.5)

    before = get_state()
    assert check_gradients(f, X)
    assert get_state() == before


# --- what is given -------------------------------------------------------------------------------------------------


def test_the_same_tensor_twice_is_two_inputs():
    x = tensor([2.0, 3.0])
    report = check_gradients(lambda a, b: a * b * b, x, x)
    assert report.ok
    assert len(report.entries) == 4


def test_a_recorded_tensor_and_arrays_are_copied():
    x = tensor([2.0], requires_grad=True)
    array = np.array([3.0], np.float32)
    y = x * 2
    assert check_gradients(lambda a, b: a * b, y, array)
    assert y.dtype == np.float32
    assert array.tolist() == [3.0]
    assert y.grad_fn if hasattr(y, "grad_fn") else not y.is_leaf


def test_what_is_not_a_tensor_is_refused_by_its_type():
    with pytest.raises(TypeError, match="f must return a tensor or a tuple of them, not float"):
        check_gradients(lambda x: 3.0, X)


@pytest.mark.parametrize("form", [lambda m: dict(m.named_parameters()), lambda m: m.named_parameters()])
def test_parameters_may_be_given_with_their_names(form):
    model = nn.Linear(4, 3).double()
    report = check_gradients(lambda: F.cross_entropy(model(tensor(X)), Y), form(model))
    assert {entry.name for entry in report.entries} == {"weight", "bias"}
    assert report.ok


def test_named_inputs_are_arguments_in_their_order():
    assert check_gradients(lambda a, b: a * b * b, {"a": X, "b": X + 1.0}).ok


def test_an_iterator_that_was_used_up_is_named():
    model = nn.Linear(4, 3).double()
    for once in (model.parameters(), model.named_parameters()):
        list(once)
        with pytest.raises(ValueError, match="check_gradients: the list of inputs is empty: the iterator"):
            check_gradients(lambda: model(tensor(X)), once)


@pytest.mark.parametrize("f", [tensor([1.0], requires_grad=True), 3.0, None], ids=["tensor", "number", "none"])
def test_what_is_not_a_function_is_refused_before_anything_runs(f):
    with pytest.raises(TypeError, match=f"f must be a function.*not {type(f).__name__}; pass lambda: "):
        check_gradients(f, X)
