"""The table of a model."""

import io

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, data, nn, training


def test_a_row_per_layer_with_shape_parameters_and_std():
    model = nn.MLP([64, 32, 10], norm="batch")
    table = model.summary((5, 64))
    assert [(row.name, row.kind, row.output_shapes, row.parameters) for row in table.rows] == [
        ("0", "Linear", ((5, 32),), 64 * 32 + 32),
        ("1", "BatchNorm1d", ((5, 32),), 64),
        ("2", "ReLU", ((5, 32),), 0),
        ("3", "Linear", ((5, 10),), 32 * 10 + 10),
    ]
    assert table.parameters == table.trainable == 64 * 32 + 32 + 64 + 330
    assert table.rows[0].std == pytest.approx(model[0].weight.data.std())
    assert [row.std for row in table.rows[1:3]] == [None, None]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()
    before = {name: x.data.copy() for name, x in model.state_dict().items()}
    nn.summary(model, (2, 3))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_the_model_is_left_as_it_was_when_the_example_does_not_fit():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    with pytest.raises(ValueError, match="last axis 4"):
        model.summary((1, 4))
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_the_example_is_not_recorded():
    model = nn.Linear(3, 2)
    recorded = []
    model.register_forward_hook(lambda module, args, output: recorded.append(output.requires_grad))
    model.summary((1, 3))
    assert recorded == [False]


def test_without_an_example_there_are_no_shapes():
    table = nn.Linear(3, 2).summary()
    assert [(row.name, row.output_shapes, row.parameters) for row in table.rows] == [("", (), 8)]


def test_an_example_may_be_an_input():
    model = nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 3))
    table = model.summary(np.zeros((5, 2), int))
    assert table.rows[0].output_shapes == ((5, 2, 4),)
    assert table.rows[1].output_shapes == ((5, 2, 3), (1, 2, 3), (1, 2, 3))
    assert model.summary(Tensor(np.zeros((5, 2), int))).rows == table.rows


def test_a_shape_becomes_an_input_of_the_models_dtype():
    assert nn.Linear(3, 2).double().summary((1, 3)).rows[0].output_shapes == ((1, 2),)


def test_shared_and_frozen_parameters_are_counted_right():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad = False
    table = model.summary()
    assert [row.parameters for row in table.rows] == [6, 2]
    assert (table.parameters, table.trainable) == (8, 6)
    assert str(table).endswith("8 parameters, 2 of them frozen")


def test_the_example_must_be_one():
    with pytest.raises(TypeError, match="the example must be a Tensor, an array, or a shape"):
        nn.Linear(3, 2).summary(3)


def test_text_and_rich_show_the_same_cells():
    rich = pytest.importorskip("rich.console")
    table = nn.MLP([3, 4, 2]).summary((1, 3))
    console = rich.Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    drawn = console.export_text()
    text = str(table)
    for cell in ("layer", "output shape", "(1, 4)", "16", f"{table.rows[2].std:.4f}", "26 parameters"):
        assert cell in text
        assert cell in drawn
    assert len({line.index("Linear") for line in text.splitlines() if "Linear" in line}) == 1


# --- looking at a model leaves no trace ----------------------------------------------------------------------------


class Counting(nn.Module):
    """Counts its calls in a buffer, draws a random number, and puts itself into training mode."""

    def __init__(self):
        self.layer = nn.Linear(3, 2)
        self.register_buffer("calls", minigrad.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.train()
        return self.layer(x) * minigrad.random.generator().random()


def look_by_summary(model, rows):
    nn.summary(model, rows.features)


def look_by_evaluation(model, rows):
    training.evaluate(model, rows, nn.functional.cross_entropy)


def look_and_fail(model, rows):
    with pytest.raises(ValueError, match="needs input with last axis 3"):
        nn.summary(model, rows.features[:, :2])


@pytest.mark.parametrize("look", [look_by_summary, look_by_evaluation, look_and_fail])
def test_modes_buffers_and_random_numbers_are_as_before(look):
    model = Counting()
    model.layer.eval()
    minigrad.manual_seed(3)
    expected = minigrad.random.generator().random()
    minigrad.manual_seed(3)
    look(model, data.Dataset(np.zeros((4, 3), np.float32), np.zeros(4, int)))
    assert minigrad.random.generator().random() == expected
    assert model.calls.item() == 0
    assert [module.training for module in model.modules()] == [True, False]
