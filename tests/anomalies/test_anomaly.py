"""detect_anomaly: planted faults are found and named, healthy training is left alone, and off means off."""

import gc
import inspect
import linecache
import math
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from nn_cases import CASES, draw_inputs, draw_upstream

import minigrad as mg
from minigrad import data, nn, optim, study, training
from minigrad.anomalies import calls
from minigrad.autograd import observers
from minigrad.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def line_of(function, part):
    """The number of the line of ``function`` that contains ``part``."""
    lines, first = inspect.getsourcelines(function)
    (found,) = [first + i for i, line in enumerate(lines) if part in line]
    return found


def caught(function, *args, **options):
    with pytest.raises(study.AnomalyError) as error, study.detect_anomaly(**options):
        function(*args)
    return error.value


def leaf(*values):
    return mg.tensor(np.array(values, np.float32), requires_grad=True)


class LogScale(nn.Module):
    """Takes the logarithm of its input."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        shifted = x - 1.0
        return self.scale * (shifted.log() + 1.0)


# --- forward -------------------------------------------------------------------------------------------------------


def test_log_of_zero_in_a_layer_of_a_sequential_is_named_with_line_layer_and_ranges():
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Identity(), LogScale()))
    model[0].weight.data[...] = 0
    model[0].bias.data[...] = [1, 2, 4]
    error = caught(model, mg.ones((2, 3)))
    assert (error.op, error.phase, error.layer, error.anomaly.layer_class) == ("log", "forward", "1.1", "LogScale")
    assert error.source.file == __file__
    assert error.source.line == line_of(LogScale.forward, "shifted.log()")
    assert error.source.text == "return self.scale * (shifted.log() + 1.0)"
    start, end = error.source.columns
    assert error.source.text[start:end] == "shifted.log()"
    assert set(error.ranges) == {"x"}
    seen = error.ranges["x"]
    assert (seen.low, seen.high, seen.shape, seen.dtype, seen.finite) == (0.0, 3.0, (2, 3), "float32", True)
    assert error.anomaly.output.negative_infinity == 2
    assert (error.anomaly.index, error.anomaly.at_index) == ((0, 0), {"x": 0.0})
    for part in ("log gave -inf in the forward pass", "test_anomaly.py", "layer '1.1' (LogScale)", "0 … 3", "1e-8"):
        assert part in str(error)


def test_a_function_outside_of_any_module_is_named_without_a_layer():
    def ratio(a, b):
        return (a / b).sum()

    error = caught(ratio, leaf(1.0, 0.0), leaf(2.0, 0.0))
    assert (error.op, error.layer, error.anomaly.layer_class) == ("divide", None, None)
    assert error.source.line == line_of(ratio, "(a / b)")
    assert error.source.function == "ratio"
    assert error.anomaly.at_index == {"a": 0.0, "b": 0.0}


def test_the_line_of_the_user_is_named_and_not_that_of_the_layer_it_calls():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data[...] = 3e38

    def run():
        return model(mg.ones((2, 3)) * 100.0)

    error = caught(run)
    assert (error.op, error.layer, error.anomaly.layer_class) == ("linear", "1", "Linear")
    assert error.source.line == line_of(run, "model(mg.ones")
    assert error.ranges["weight '1.weight'"].high == np.float32(3e38)


def test_exp_that_overflows_and_numbers_among_the_inputs():
    error = caught(lambda: leaf(1.0, 100.0).exp())
    assert (error.op, error.anomaly.at_index) == ("exp", {"x": 100.0})
    error = caught(lambda: leaf(3e38) * 2)
    assert error.ranges["b"].dtype == "number"
    assert error.ranges["b"].low == 2


def test_infinity_minus_infinity_is_named_with_where_the_infinity_came_from():
    def run():
        a = mg.tensor([math.inf, 1.0])
        b = a * 2
        return b - a

    error = caught(run)
    assert (error.op, error.anomaly.index) == ("subtract", (0,))
    assert error.anomaly.origin.op == "multiply"
    assert error.anomaly.origin.source.line == line_of(run, "a * 2")
    assert "from infinite a and b" in str(error)
    assert "the infinity comes from an earlier operation: multiply" in str(error)


def test_an_operation_under_no_grad_is_looked_at_too():
    def run():
        with mg.no_grad():
            return mg.tensor([-1.0]).sqrt()

    error = caught(run)
    assert (error.op, error.source.line) == ("sqrt", line_of(run, ".sqrt()"))


def test_nan_that_no_operation_made_is_named_where_it_enters():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[1].bias.data[1] = math.nan
    error = caught(model, mg.ones((4, 3)))
    assert (error.layer, error.anomaly.made, error.anomaly.nonfinite) == ("1", False, ("bias '1.bias'",))
    assert "do not come from an operation in this block" in " ".join(str(error).split())
    error = caught(model, mg.full((4, 3), math.nan))
    assert (error.layer, error.anomaly.nonfinite) == ("0", ("x",))


def test_infinities_put_in_on_purpose_pass():
    mask = np.array([[0.0, -math.inf], [0.0, 0.0]], np.float32)
    scores = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    with study.detect_anomaly():
        weights = (scores + mask).softmax(axis=-1)
        kept = mg.where(mask == 0, scores, -math.inf).max()
        (weights[0, 0] * kept).backward()
    assert weights.data[0].tolist() == [1.0, 0.0]


def test_only_the_element_that_was_made_of_finite_ones_counts_beside_infinite_ones():
    error = caught(lambda: mg.tensor([math.inf, 0.0, 1.0]).log())
    assert error.anomaly.index == (1,)


def test_a_row_of_nothing_but_masked_scores_is_nan():
    error = caught(lambda: (leaf(1.0, 2.0) + mg.tensor([-math.inf, -math.inf])).softmax())
    assert error.op == "softmax"
    assert error.anomaly.origin.op == "add"


def test_infinities_may_pass_by_choice_and_the_nan_of_them_does_not():
    x = leaf(0.0, 1.0)
    with study.detect_anomaly(infinities=False):
        assert x.log().data[0] == -math.inf

    def run():
        return (x.log() * 0).sum()

    error = caught(run, infinities=False)
    assert (error.op, error.anomaly.origin.op) == ("multiply", "log")


# --- backward ------------------------------------------------------------------------------------------------------


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


def test_the_infinite_slope_of_a_root_at_zero_is_named_by_its_call():
    model, x = nn.Sequential(nn.Identity(), Root()), leaf(0.0, 4.0)
    error = caught(lambda: model(x).sum().backward())
    assert (error.op, error.phase, error.layer) == ("sqrt", "backward", "1")
    assert error.source.line == line_of(Root.forward, "x.sqrt()")
    assert error.ranges["gradient"].low == 1
    assert (error.ranges["output"].low, error.ranges["output"].high) == (0, 2)
    assert error.anomaly.at_index == {"gradient": 1.0, "output": 0.0}
    assert "the gradient rule of sqrt for x gave inf in the backward pass" in str(error)
    assert x.grad is None


def test_zero_by_zero_in_the_backward_pass_alone_is_found():
    x = leaf(0.0, 1.0)

    def run():
        loss = mg.where(x > 0, x.log(), 0.0).sum()
        loss.backward()

    error = caught(run, infinities=False)
    assert (error.op, error.phase, error.source.line) == ("log", "backward", line_of(run, "x.log()"))
    assert error.anomaly.at_index == {"gradient": 0.0, "x": 0.0}
    assert "choose the input with where() before the log" in str(error)


def test_gradients_that_overflow_when_they_are_added_are_found():
    x = leaf(0.1)
    error = caught(lambda: (x * 3e38 + x * 3e38).sum().backward())
    assert (error.op, error.phase) == ("multiply", "backward")
    assert "gradient so far" in error.ranges


def test_grad_and_recorded_walks_are_looked_at():
    x = leaf(0.0)

    def run(create_graph):
        y = x.sqrt().sum()
        mg.grad(y, x, create_graph=create_graph)

    for create_graph in (False, True):
        error = caught(run, create_graph)
        assert (error.op, error.phase, error.source.line) == ("sqrt", "backward", line_of(run, "x.sqrt()"))


def test_an_operation_that_a_gradient_was_computed_with_belongs_to_the_line_of_the_forward_pass():
    x = leaf(4e-20)

    def run():
        y = x.log().sum()
        (slope,) = mg.grad(y, x, create_graph=True)
        slope.sum().backward()

    error = caught(run)
    assert (error.op, error.phase, error.source.line) == ("divide", "backward", line_of(run, "x.log()"))


def test_an_infinite_gradient_given_by_the_caller_passes_and_nan_does_not():
    x = leaf(1.0)
    with study.detect_anomaly():
        (x * 2).backward(mg.tensor([math.inf]))
    error = caught(lambda: (x * 2).backward(mg.tensor([math.nan])))
    assert (error.phase, error.anomaly.made, error.anomaly.nonfinite) == ("backward", False, ("gradient",))


def test_a_forward_pass_outside_of_the_block_is_told_so():
    loss = leaf(0.0).sqrt().sum()
    error = caught(loss.backward)
    assert (error.op, error.source, error.layer) == ("sqrt", None, None)
    assert "run the forward pass inside detect_anomaly() too" in str(error)


def test_a_loss_that_is_not_finite_is_not_differentiated():
    x = leaf(math.nan, 1.0)
    error = caught(lambda: x.reshape(2, 1)[0, 0].backward())  # views move values and make none
    assert error.op == "reshape"
    error = caught(lambda: (leaf(math.inf) * 2).sum().backward())
    assert error.op == "multiply"


# --- off means off -------------------------------------------------------------------------------------------------


def nan():
    return mg.tensor([-1.0]).log()


def test_nothing_is_left_behind():
    before = dict(observers.observers)
    with study.detect_anomaly():
        assert observers.watching()
    with pytest.raises(KeyError), study.detect_anomaly():
        raise KeyError
    caught(nan)
    assert before == observers.observers == {}
    assert np.isnan(nan().data).all()


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, "float32 above 88.7"), (np.float64, "float64 above 709.8")])
def test_the_remedy_for_exp_names_the_limit_of_the_dtype(dtype, limit):
    assert limit in str(caught(lambda: mg.tensor([800.0], dtype).exp()))


@pytest.mark.parametrize("x", [0.0, math.nan])
def test_remedies_are_read_in_80_columns(x):
    lines = str(caught(lambda: leaf(x).log())).splitlines()
    assert len(lines) > 6
    assert max(map(len, lines)) <= 80


def test_looking_at_large_numbers_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = caught(lambda: mg.tensor([1e308, -1e308, math.nan], np.float64) + 0.0)
    assert "-1e+308 … 1e+308" in str(error)


def test_what_is_known_of_a_graph_goes_with_it():
    gc.collect()  # graphs that earlier tests have left in cycles
    before = len(calls.places)
    with study.detect_anomaly():
        y = leaf(1.0).exp().sum()
        assert len(calls.places) == before + 2
    del y
    assert len(calls.places) == before


def test_blocks_nest_and_the_innermost_decides():
    zero = leaf(0.0)
    with study.detect_anomaly():
        with study.detect_anomaly(infinities=False):
            zero.log()
        with pytest.raises(study.AnomalyError):
            zero.log()
    with study.detect_anomaly(infinities=False):
        with pytest.raises(study.AnomalyError), study.detect_anomaly():
            zero.log()
        zero.log()


def test_other_threads_are_not_looked_at():
    results = []
    with study.detect_anomaly():
        thread = threading.Thread(target=lambda: results.append(nan()))
        thread.start()
        thread.join()
    assert len(results) == 1


def test_it_decorates_functions_and_generators():
    @study.detect_anomaly
    def bare():
        nan()

    @study.detect_anomaly(infinities=False)
    def called(n):
        return nan() if n == 0 else called(n - 1)

    @study.detect_anomaly()
    def steps():
        yield 1
        yield nan()

    for function in (bare, lambda: called(3)):
        with pytest.raises(study.AnomalyError):
            function()
        assert not observers.observers
    generator = steps()
    assert next(generator) == 1
    nan()
    with pytest.raises(study.AnomalyError):
        next(generator)
    assert not observers.observers


def test_a_value_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(TypeError, match="infinities must be True or False"):
        study.detect_anomaly(infinities=1)
    with pytest.raises(TypeError, match=r"detect_anomaly: decorates functions, not True$"):
        study.detect_anomaly(True)


def test_a_power_without_a_real_value_says_what_helps():
    assert "keep the base positive" in " ".join(str(caught(lambda: leaf(-1.0) ** 0.5)).split())


def test_the_error_survives_pickling():
    error = caught(nan)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.source == error.source


def test_the_line_in_a_notebook_cell_is_named():
    cell, name = "x = mg.tensor(0.0)\ny = 1.0 + x.log()\n", "<ipython-input-3-5f8e>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)  # as IPython does
    error = caught(exec, compile(cell, name, "exec"), {"mg": mg})
    assert (error.source.line, error.source.text) == (2, "y = 1.0 + x.log()")
    assert "called at line 2 of a notebook cell\n      y = 1.0 + x.log()\n                ^^^^^^^\n" in str(error)


def test_the_line_at_the_prompt_is_named():
    program = "import minigrad as mg\nfrom minigrad import study\nwith study.detect_anomaly(): mg.tensor(0.0).log()\n\n"
    ran = subprocess.run([sys.executable, "-i", "-q"], input=program, capture_output=True, text=True, timeout=60)
    assert "called at line 1 at the prompt" in ran.stderr


# --- healthy training ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_layer_and_loss_is_healthy(case):
    layer = getattr(nn, case.kind)(*case.args, **case.options)
    layer.train(case.training)
    first, *rest = [
        mg.tensor(x.astype(np.float32) if x.dtype.kind == "f" else x, requires_grad=x.dtype.kind == "f")
        for x in draw_inputs(case)
    ]
    with study.detect_anomaly():
        result = layer(first, tuple(rest)) if case.paired and rest else layer(first, *rest)
        outputs = [result] if isinstance(result, mg.Tensor) else [out for out in result if isinstance(out, mg.Tensor)]
        total = sum(
            (out * mg.tensor(np.float32(g))).sum() for out, g in zip(outputs, draw_upstream(case, outputs), strict=True)
        )
        if total.requires_grad:
            total.backward()


def test_looking_on_changes_no_bit_of_the_training():
    weights = []
    for watched in (False, True):
        mg.manual_seed(0)
        model = nn.MLP([3, 8, 2], dropout=0.25, norm="batch")
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            if watched:
                with study.detect_anomaly(), study.trace():
                    F.cross_entropy(model(mg.randn(6, 3)), mg.tensor([0, 1] * 3)).backward()
            else:
                F.cross_entropy(model(mg.randn(6, 3)), mg.tensor([0, 1] * 3)).backward()
            optimizer.step()
        weights.append([p.data.tobytes() for p in model.parameters()])
    assert weights[0] == weights[1]


# --- in the training loop ------------------------------------------------------------------------------------------


class Power(nn.Module):
    def forward(self, x):
        return (x * 50.0).exp()


def fit(model, loss=F.cross_entropy):
    rows = data.Dataset(np.ones((4, 2), np.float32), np.zeros(4, np.int64))
    with pytest.raises(training.NonFiniteLossError) as error:
        training.fit(model, optim.SGD(model.parameters(), lr=0.1), data.DataLoader(rows, 2), 1, loss=loss)
    assert not observers.observers
    return error.value


def test_a_loss_that_is_nan_names_operation_line_and_layer():
    model = nn.Sequential(nn.Linear(2, 2), Power())
    model[0].weight.data[...] = 3
    error = fit(model)
    assert (error.step, error.layer, error.anomaly.op) == (1, "1", "exp")
    assert error.anomaly.source.line == line_of(Power.forward, ".exp()")
    assert f"exp gave inf in the forward pass, from finite input ({error.anomaly.source.title})" in str(error)
    assert "\n" not in str(error)


def test_a_layer_of_the_package_is_named_with_its_own_line_rather_than_the_call_of_fit():
    model = nn.MLP([2, 3, 2])
    model[0].weight.data[...] = 1e38
    model[2].weight.data[...] = 1e38
    error = fit(model)
    assert (error.layer, error.anomaly.op) == ("2", "linear")
    assert "layers.py:" in str(error)


def test_an_infinite_weight_is_found_behind_the_loss_that_shows_it():
    model = nn.MLP([2, 3, 2])
    model[2].bias.data[0] = math.inf
    error = fit(model)
    assert error.layer == "2"
    assert "whose bias '2.bias' had become so" in str(error)


def test_a_loss_function_of_the_user_is_named_with_its_line():
    def loss(output, labels):
        return (output.sum() * 0).log()

    error = fit(nn.MLP([2, 3, 2]), loss)
    assert (error.layer, error.anomaly.op) == (None, "log")
    assert error.anomaly.source.line == line_of(loss, ".log()")


def test_what_a_hook_of_the_backward_pass_computes_is_named_so():
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    doubled = w * 2
    doubled.register_hook(lambda g: (g - 1).log())
    with pytest.raises(study.AnomalyError) as error, study.detect_anomaly(), np.errstate(all="ignore"):
        doubled.sum().backward()
    assert error.value.anomaly.summary == "log gave -inf in a hook of the backward pass, from finite input"
    with pytest.raises(study.AnomalyError) as error, study.detect_anomaly(), np.errstate(all="ignore"):
        (w - 1).log()
    assert error.value.anomaly.summary == "log gave -inf in the forward pass, from finite input"


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match=r"^detect_anomaly: unknown argument 'check_nan'; known are infinities"):
        study.detect_anomaly(check_nan=True)


def test_infinities_that_may_pass_are_told_rightly_and_end_at_the_loss(recwarn):
    with np.errstate(all="ignore"):
        with study.detect_anomaly(infinities=False):
            infinite = mg.tensor([0.0]).log()
            with pytest.raises(study.AnomalyError) as error:
                infinite - infinite
        assert error.value.anomaly.origin.summary == "log gave -inf in the forward pass, from finite input"
        x = mg.tensor([0.0, 1.0], requires_grad=True)
        with study.detect_anomaly(infinities=False):
            loss = x.log().sum()
            with pytest.raises(study.AnomalyError, match="log gave -inf in the forward pass"):
                loss.backward()
    assert x.grad is None
