"""draw_graph: every operation is drawn or counted, nothing overlaps, and the text says what the picture shows."""

import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, study
from minigrad.autograd.graph import collect
from minigrad.nn import functional as F
from minigrad.study.graphs._picture import layered

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def mlp():
    mg.manual_seed(0)
    return nn.MLP([4, 16, 16, 3])


@pytest.fixture
def loss(mlp):
    with study.trace():
        loss = F.cross_entropy(mlp(mg.randn(8, 4)), mg.tensor([0, 1] * 4))
        loss.backward(retain_graph=True)
    return loss


class Cell(nn.Module):
    def __init__(self):
        self.inp = nn.Linear(4, 8)
        self.hid = nn.Linear(8, 8, bias=False)

    def forward(self, x, h):
        return (self.inp(x) + self.hid(h)).tanh()


def recurrent(steps=3):
    cell, h = Cell(), mg.zeros((2, 8))
    with study.trace():
        for _ in range(steps):
            h = cell(mg.randn(2, 4), h)
        return (h * h).mean()


def titles(drawing, kind):
    return [box.title for box in drawing.boxes if box.kind == kind]


def texts(drawing):
    """All text in the picture, which must be well-formed."""
    return ["".join(each.itertext()) for each in ET.fromstring(drawing.svg).iter(f"{SVG}text")]


def outlines(drawing):
    """The rectangle of each box in the picture."""
    found = []
    for group in ET.fromstring(drawing.svg).iter(f"{SVG}g"):
        if group.get("class") in (None, "edges"):
            continue
        polygon = group.find(f"{SVG}polygon")
        if polygon is not None:
            x, y = zip(*(map(float, point.split(",")) for point in polygon.get("points").split()), strict=True)
            found.append((min(x), min(y), max(x), max(y)))
        else:
            x, y, w, h = (float(group.findall(f"{SVG}rect")[-1].get(key)) for key in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
    return found


def overlapping(rectangles):
    return [
        (a, b)
        for i, a in enumerate(rectangles)
        for b in rectangles[:i]
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


# --- what is drawn -------------------------------------------------------------------------------------------------


def test_a_model_and_an_input_are_drawn_by_layer(mlp):
    drawing = study.draw_graph(mlp, mg.randn(8, 4))
    assert titles(drawing, "layer") == ["Linear '0'", "ReLU '1'", "Linear '2'", "ReLU '3'", "Linear '4'"]
    assert titles(drawing, "input") == ["x"]
    assert titles(drawing, "parameter") == titles(drawing, "operation") == []
    assert [part[0] for part in drawing.boxes[1].parts] == ["weight", "bias"]
    assert "weight (16, 4)" in texts(drawing)


def test_opened_every_operation_and_parameter_is_a_box(mlp, loss):
    drawing = study.draw_graph(loss, open=True)
    nodes = collect([loss._node])
    assert titles(drawing, "operation") == [node.primitive.name for node in nodes]
    assert sorted(titles(drawing, "parameter")) == sorted(name for name, _ in mlp.named_parameters())
    assert len(outlines(drawing)) == len(drawing.boxes) == 14
    operations = [box for box in drawing.boxes if box.kind == "operation"]
    numbers = {id(node): box for node, box in zip(nodes, operations, strict=True)}
    for node in nodes:
        expected = [numbers[id(edge)] for edge in node.edges if id(edge) in numbers]
        assert [box for box in numbers[id(node)].inputs if box.kind == "operation"] == expected


def test_some_layers_are_opened_by_name(loss):
    drawing = study.draw_graph(loss, open="2")
    assert titles(drawing, "layer") == ["Linear '0'", "ReLU '1'", "ReLU '3'", "Linear '4'"]
    assert titles(drawing, "operation") == ["linear", "cross_entropy"]
    assert sorted(titles(drawing, "parameter")) == ["2.bias", "2.weight"]
    assert titles(study.draw_graph(loss, open=["0", "1"]), "operation") == ["linear", "relu", "cross_entropy"]


def test_modules_at_a_depth_are_one_box():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.Tanh()))
    drawing = study.draw_graph(model, mg.randn(1, 2), depth=1)
    assert titles(drawing, "layer") == ["Sequential '0'", "Sequential '1'"]
    assert [box.operations for box in drawing.boxes if box.kind == "layer"] == [2, 2]


def test_each_call_of_a_layer_is_a_box_of_its_own():
    drawing = study.draw_graph(recurrent(3))
    assert titles(drawing, "layer").count("Linear 'inp'") == titles(drawing, "layer").count("Linear 'hid'") == 3
    assert titles(drawing, "operation") == ["add", "tanh"] * 3 + ["multiply", "mean"]


def test_an_input_used_twice_leads_there_twice():
    h = mg.tensor([1.0, 2.0], requires_grad=True)
    drawing = study.draw_graph((h * h).sum())
    assert [len(box.inputs) for box in drawing.boxes] == [0, 2, 1]
    assert drawing.svg.count("marker-end") == 3


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_layer_over_a_sequence_has_one_input_whatever_it_takes_from_it(layer):
    x = mg.tensor(np.ones((5, 2, 3)))
    drawing = study.draw_graph(layer(3, 4, dtype=np.float64), x)
    assert [(box.kind, box.title, box.shape) for box in drawing.boxes[:-1]] == [("input", "x", "float64 (5, 2, 3)")]
    opened = study.draw_graph(layer(3, 4, dtype=np.float64), x, open=True, limit=200)
    inputs = [box for box in opened.boxes if box.kind == "input" and box.shape == "float64 (5, 2, 3)"]
    assert [box.title for box in inputs] == ["x"]
    assert sum(inputs[0] in box.inputs for box in opened.boxes) == 5


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("make", [mg.tensor, np.float32], ids=["tensors", "arrays"])
def test_opened_the_state_that_a_layer_begins_with_is_called_what_its_forward_calls_it(layer, make):
    drawing = study.draw_graph(layer(3, 4), make(np.ones((5, 2, 3), "f")), open=True, limit=200)
    inputs = [(box.title, box.shape) for box in drawing.boxes if box.kind == "input"]
    assert inputs == [("x", "float32 (5, 2, 3)"), ("h", "float32 (2, 4)")]


def test_without_a_trace_the_steps_of_a_sequence_are_one_input():
    drawing = study.draw_graph(nn.GRU(3, 4)(mg.ones((5, 2, 3)))[0], limit=200)
    assert [box.shape for box in drawing.boxes if box.kind == "input"] == ["float32 (5, 2, 3)", "float32 (2, 4)"]
    batches = mg.ones((6, 3))
    drawing = study.draw_graph(nn.Linear(3, 1)(batches[:2]).sum())  # a part that stands alone is drawn as it is
    assert [box.shape for box in drawing.boxes if box.kind == "input"] == ["float32 (2, 3)"]


def test_tensors_outside_of_layers_are_called_what_the_user_calls_them():
    slope, offset, wanted = mg.ones(3, requires_grad=True), mg.ones(3), np.zeros(3, np.float32)
    with study.trace():
        loss = F.mse_loss(slope * offset, wanted) + mg.where([True, False, True], slope, 0.0).sum()
    assert titles(study.draw_graph(loss), "input") == ["slope", "offset", "wanted", "condition"]


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)

    def forward(self, x):
        z = self.body(x).tanh()
        return {"one": self.one(z), "more": [self.two(z), x > 0, None]}


def test_every_output_of_a_model_is_drawn_and_outlined():
    drawing = study.draw_graph(Heads(), mg.ones((2, 3)))
    assert [box.title for box in drawing.boxes if box.drawn] == ["Linear 'one'", "Linear 'two'"]
    assert drawing.svg.count('stroke-width="1.5"') == 2
    assert drawing.remarks == ("1 more output not computed from a tensor that requires a gradient",)
    assert not overlapping(outlines(drawing))


def test_a_layer_with_several_outputs_shows_the_first_and_says_so():
    lstm, x = nn.LSTM(3, 4), mg.ones((5, 2, 3))
    with study.trace():
        output, (h, c) = lstm(x)
        every, first = output.sum() + h.sum() + c.sum(), output.sum()
    for drawn, note in (
        (every, "the first of 3 outputs; then float32 (1, 2, 4), float32 (1, 2, 4)"),
        (first, ""),
    ):
        (box,) = (box for box in study.draw_graph(drawn).boxes if box.kind == "layer")
        assert (box.shape, box.note, box.drawn) == ("float32 (5, 2, 4)", note, False)
        assert box.value.high == output.data.max()


def test_a_pair_of_states_is_two_inputs():
    states = (mg.zeros(1, 2, 4), mg.ones(1, 2, 4))
    drawing = study.draw_graph(nn.LSTM(3, 4), mg.ones(5, 2, 3), states)
    assert [box.title for box in drawing.boxes if box.kind == "input"] == ["x", "initial[0]", "initial[1]"]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, left, right):
        return self.a(left) + self.b(right) + self.a(right)


@pytest.mark.parametrize("make", [mg.tensor, np.float32], ids=["tensors", "arrays"])
def test_inputs_have_the_names_that_the_model_has_for_them(make):
    drawing = study.draw_graph(Two(), make(np.zeros((2, 3), "f")), make(np.ones((2, 3), "f")))
    named = {box.title: box for box in drawing.boxes if box.kind == "input"}
    assert list(named) == ["left", "right"]
    assert (named["left"].value.low, named["right"].value.low) == (0, 1)
    calls = [box.inputs[0].title for box in drawing.boxes if box.kind == "layer"]
    assert sorted(calls) == ["left", "right", "right"]


def test_values_and_gradients_are_those_of_the_tensors(mlp, loss):
    drawing = study.draw_graph(loss, open=True)
    by_title = {box.title: box for box in drawing.boxes}
    assert by_title["cross_entropy"].value.low == np.float32(loss.item())
    weight = mlp[2].weight
    assert by_title["2.weight"].value.high == weight.data.max()
    assert by_title["2.weight"].gradient.std == np.std(weight.grad.data, dtype=np.float64)
    first = next(box for box in drawing.boxes if box.title == "linear")
    # The gradient of a bias is the sum over the rows of that of the linear map's output.
    assert np.isclose(first.gradient.mean * first.gradient.shape[0], mlp[0].bias.grad.data.mean(), rtol=1e-5)


def test_without_a_trace_values_that_were_saved_and_kept_gradients_are_shown():
    x = mg.tensor([1.0, 4.0], requires_grad=True)
    y = x.sqrt()
    z = y * 3.0
    y.retain_grad()
    loss = z.sum()
    loss.backward(retain_graph=True)
    drawing = study.draw_graph(loss)
    _, root, product, total = drawing.boxes
    assert (root.value.low, root.value.high, root.gradient.low) == (1, 2, 3)
    assert product.value is None
    assert product.shape == "float32 (2,)"
    assert product.note == "b = 3"
    assert total.value.low == 9
    assert any("study.trace()" in remark for remark in drawing.remarks)


def test_a_graph_that_backward_has_freed_says_so():
    loss = (mg.tensor(2.0, requires_grad=True) * 3.0).exp()
    loss.backward()
    drawing = study.draw_graph(loss)
    assert titles(drawing, "operation") == ["exp"]
    assert "retain_graph=True" in drawing.remarks[0]
    assert any("retain_graph=True" in text for text in texts(drawing))


def test_a_tensor_without_history_is_one_box_that_says_so():
    drawing = study.draw_graph(mg.tensor([1.0, 2.0]))
    assert len(drawing.boxes) == 1
    assert "not computed" in drawing.remarks[0]


def test_values_that_are_not_finite_are_counted_and_stand_out():
    x = mg.tensor([1.0, np.nan, -np.inf], requires_grad=True)
    drawing = study.draw_graph(x * 2)
    assert "value 2, 1 NaN, 1 -inf" in str(drawing)
    red = [each for each in ET.fromstring(drawing.svg).iter(f"{SVG}text") if each.get("fill") == "#b00020"]
    assert len(red) == 2


# --- large graphs --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_thousand_operations_are_counted_and_the_last_are_drawn():
    x = y = mg.tensor(1.0, requires_grad=True)
    for _ in range(100_000):
        y = y * 1.0
    drawing = study.draw_graph(y)
    shown = sum(box.operations for box in drawing.boxes if box.kind == "operation")
    assert shown + drawing.left_out == 100_000
    assert len(drawing.boxes) <= 61
    assert drawing.boxes[0].kind == "left out"
    assert f"{drawing.left_out:,} more operations" in texts(drawing)
    assert f"{drawing.left_out:,} left out" in str(drawing)
    assert x.grad is None


@pytest.mark.parametrize("limit", [1, 2, 5, 17, 100])
def test_whatever_the_limit_every_operation_is_drawn_or_counted(limit):
    with study.trace():
        loss = nn.MLP([4, 8, 8, 8, 2], norm="batch")(mg.randn(8, 4)).sum()
    drawing = study.draw_graph(loss, limit=limit)
    shown = sum(box.operations for box in drawing.boxes if box.kind in ("operation", "layer"))
    assert shown + drawing.left_out == len(collect([loss._node]))
    assert not overlapping(outlines(drawing))


# --- the picture ---------------------------------------------------------------------------------------------------


def drawings():
    mg.manual_seed(1)
    yield study.draw_graph(recurrent(), open=True)
    yield study.draw_graph(recurrent())
    yield study.draw_graph(nn.GRU(4, 8, bidirectional=True), mg.randn(2, 1, 4), open=True, limit=200)
    yield study.draw_graph(nn.LSTM(3, 2), mg.randn(2, 1, 3), open=True)
    yield study.draw_graph(nn.MLP([4, 8, 8, 8, 2], norm="batch", dropout=0.5), mg.randn(8, 4))
    yield study.draw_graph(nn.MLP([4, 8, 8, 8, 2], norm="batch"), mg.randn(8, 4), open=True)


@pytest.mark.parametrize("number", range(6))
def test_boxes_do_not_overlap_and_lie_within_the_picture(number):
    drawing = list(drawings())[number]
    boxes = outlines(drawing)
    assert len(boxes) == len(drawing.boxes)
    assert not overlapping(boxes)
    width, height = (float(ET.fromstring(drawing.svg).get(key)) for key in ("width", "height"))
    assert all(x >= 0 and y >= 0 and right <= width and bottom <= height for x, y, right, bottom in boxes)
    for box, (left, _, right, _) in zip(drawing.boxes, boxes, strict=True):
        assert len(box.title) * 13 * 0.6 <= right - left


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_random_graphs_are_laid_out_without_overlaps_and_edges_go_down_past_the_boxes(data):
    count = data.draw(st.integers(1, 20))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    edges = data.draw(st.lists(pairs, max_size=30)) if count > 1 else []
    sizes = data.draw(st.lists(st.tuples(st.floats(20, 200), st.floats(20, 90)), min_size=count, max_size=count))
    layout = layered(sizes, edges)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]
    shrunk = [(a + 1e-6, b + 1e-6, c - 1e-6, d - 1e-6) for a, b, c, d in boxes]
    assert not overlapping(shrunk)
    assert all(a >= -1e-6 and c <= layout.width + 1e-6 and d <= layout.height + 1e-6 for a, _, c, d in boxes)
    for (u, v), route in zip(edges, layout.routes, strict=True):
        assert route[0][1] == boxes[u][3]
        assert route[-1][1] == boxes[v][1]
        assert all(below[1] >= above[1] - 1e-6 for above, below in itertools.pairwise(route))
        others = [box for i, box in enumerate(shrunk) if i not in (u, v)]
        for (x, top), (_, bottom) in zip(route[::2], route[1::2], strict=True):  # straight down, beside the boxes
            assert not any(a < x < c and b < bottom and top < d for a, b, c, d in others)


def test_names_are_escaped():
    class Odd(nn.Module):
        def __init__(self):
            self.add_module('<b>&"', nn.Linear(2, 2))

        def forward(self, x):
            return self._modules['<b>&"'](x)

    for open in (False, True):
        drawing = study.draw_graph(Odd(), mg.randn(1, 2), open=open)
        assert any('<b>&"' in text for text in texts(drawing))
        assert "<b>" not in drawing.svg


def test_the_kinds_that_are_drawn_are_in_the_legend_and_no_others(loss):
    assert {"input", "layer", "operation"} <= set(texts(study.draw_graph(loss)))
    assert "parameter" not in texts(study.draw_graph(loss))
    assert "parameter" in texts(study.draw_graph(loss, open=True))


def test_the_background_is_light_whatever_the_page():
    first = ET.fromstring(study.draw_graph(recurrent(1)).svg).find(f"{SVG}rect")
    assert first.get("fill") == "#ffffff"


# --- the text ------------------------------------------------------------------------------------------------------


def test_the_text_has_a_row_for_each_box_with_the_numbers_of_its_inputs():
    drawing = study.draw_graph(recurrent(), open=True)
    rows = [line for line in str(drawing).splitlines() if re.match(r" *\d+  (input|parameter|operation)", line)]
    assert len(rows) == len(drawing.boxes)
    for number, (row, box) in enumerate(zip(rows, drawing.boxes, strict=True), 1):
        assert int(row.split()[0]) == number
        assert row.split()[1:3] == [box.kind, box.title]
        listed = re.search("← ([0-9, ]*[0-9])", row)
        inputs = [drawing.boxes[int(n) - 1] for n in listed[1].split(", ")] if listed else []
        assert inputs == box.inputs
        assert box.shape in row
        assert all(int(n) < number for n in listed[1].split(", ")) if listed else not box.inputs


@pytest.mark.parametrize("columns", [80, 100, 400])
def test_what_is_printed_fits_the_terminal_and_has_the_same_boxes(monkeypatch, loss, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    drawing = study.draw_graph(loss, open=True)
    lines = str(drawing).splitlines()
    assert max(map(len, lines)) <= min(columns, 118) < max(map(len, drawing.text.splitlines()))
    assert [line.split()[2] for line in lines if re.match(r" *\d+  ", line)] == [box.title for box in drawing.boxes]
    for box in drawing.boxes:
        for name, seen in (("value", box.value), ("grad", box.gradient)):
            assert seen is None or f"{name} {seen.values}" in str(drawing)
    assert str(drawing).count("in Linear") == 3


# --- files and wrong arguments -------------------------------------------------------------------------------------


def test_the_picture_and_the_text_are_written_and_shown_by_notebooks(tmp_path, loss):
    drawing = study.draw_graph(loss, path=tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text("utf-8") == drawing.svg == drawing._repr_svg_()
    drawing.save(tmp_path / "graph.txt")
    assert (tmp_path / "graph.txt").read_text("utf-8") == f"{drawing.text}\n"


def test_drawing_changes_nothing(mlp, loss):
    before = [p.grad.data.copy() for p in mlp.parameters()]
    study.draw_graph(loss, open=True)
    assert all((p.grad.data == g).all() for p, g in zip(mlp.parameters(), before, strict=True))
    loss.backward()


def test_wrong_arguments_are_refused(mlp):
    with pytest.raises(TypeError, match="needs a tensor, or a model and its inputs, not list"):
        study.draw_graph([1.0])
    with pytest.raises(TypeError, match="inputs go with a model"):
        study.draw_graph(mg.tensor(1.0), "graph.svg")
    with pytest.raises(ValueError, match="limit must be a whole number of 1 or more"):
        study.draw_graph(mg.tensor(1.0), limit=0)
    with pytest.raises(TypeError, match="'pth'; did you mean 'path'"):
        study.draw_graph(mg.tensor(1.0), pth="graph.svg")
    with pytest.raises(ValueError, match="unknown layer '22'"):
        study.draw_graph(mlp, mg.randn(1, 4), open="22")
    with pytest.raises(ValueError, match=r"no layers are known.*study\.trace"):
        study.draw_graph(mlp(mg.randn(1, 4)), open="2")


def test_drawing_a_model_changes_nothing_of_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    x = mg.randn(5, 3)
    generator, before = mg.random.get_state(), {name: b.data.copy() for name, b in model.named_buffers()}
    study.draw_graph(model, x)
    assert mg.random.get_state() == generator
    assert model.training
    for name, buffer in model.named_buffers():
        np.testing.assert_array_equal(buffer.data, before[name])


def test_a_picture_is_not_written_under_the_name_of_another_kind(tmp_path):
    x = mg.randn(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"must end with \.svg"):
        study.draw_graph(x.exp(), path=tmp_path / "graph.png")
    with pytest.raises(ValueError, match=r"must end with \.svg"):
        study.draw_graph(x.exp()).save(tmp_path / "graph")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opened", [3, None, [0], ["0", 1]])
def test_layers_to_open_that_are_no_paths_are_refused(opened):
    with pytest.raises(TypeError, match="open must be True, False, or paths of layers such as '0', not"):
        study.draw_graph(nn.MLP([2, 3, 1]), mg.ones((1, 2)), open=opened)


def test_a_module_that_is_called_again_says_which_call_it_is():
    same = nn.Linear(4, 4)
    boxes = study.draw_graph(nn.Sequential(same, nn.ReLU(), same), mg.ones((1, 4))).boxes
    assert [box.note for box in boxes if box.title.startswith("Linear")] == [
        "call 1 of 2, one module",
        "call 2 of 2, one module",
    ]


def test_a_weight_of_two_layers_stands_in_both_with_its_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    boxes = study.draw_graph(model, mg.ones((1, 4))).boxes
    assert [[name for name, *_ in box.parts] for box in boxes if box.title.startswith("Linear")] == [
        ["weight", "bias"],
        ["weight = 0.weight", "bias"],
    ]
    assert not [box for box in boxes if box.kind == "parameter"]


def test_a_module_drawn_as_one_counts_the_parameters_in_it():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2))
    boxes = study.draw_graph(model, mg.ones((1, 4)), depth=1).boxes
    assert [(box.kind, box.note) for box in boxes] == [
        ("input", ""),
        ("layer", "4 parameters, 40 numbers"),
        ("layer", ""),
    ]
