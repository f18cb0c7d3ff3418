"""Every plot answers its question: axes with units, logarithms where they belong, labels that cover no data."""

import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure
from plot_tools import PLOTS, clipped, covers, lamb, recorded, texts, words

import minigrad
from minigrad import clipping, nn, optim, schedulers, study
from minigrad.study import _spacing, plots


@pytest.fixture(scope="module")
def adam():
    return recorded(lambda p: optim.Adam(p, lr=0.01))


@pytest.fixture(scope="module")
def deep():
    return recorded(lamb, layers=12)


@pytest.fixture(scope="module")
def clips():
    return recorded(clipped)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("which", ["adam", "deep", "clips"])
def test_every_plot_draws_every_recording_with_labels(name, which, request, tmp_path):
    figure = PLOTS[name](request.getfixturevalue(which), path=tmp_path / "picture.png")
    assert isinstance(figure, Figure)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    for ax in figure.axes:
        if not ax.axison:
            continue
        assert ax.get_title()
        assert ax.get_xlabel() or any(other.get_xlabel() for other in figure.axes)
        assert name == "activation_health" or ax.get_ylabel() or figure.get_supylabel()


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_covers_the_data_with_twelve_layers(name, deep, clips):
    if name in ("clip_ledger", "losses"):
        deep = clips
    assert covers(PLOTS[name](deep)) == []


@pytest.mark.parametrize("name", PLOTS)
def test_a_style_of_the_user_changes_no_line(name, deep, clips):
    recording = clips if name in ("clip_ledger", "losses") else deep

    def lines():
        return [
            (line.get_linestyle(), line.get_marker())
            for ax in PLOTS[name](recording).axes
            if ax.axison
            for line in ax.lines
        ]

    usual = lines()
    with matplotlib.rc_context({"axes.prop_cycle": cycler(linestyle=[":", "--"], marker=["s", "D"])}):
        assert lines() == usual
    assert usual


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_global_is_touched(name, adam):
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    PLOTS[name](adam)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_goes_into_axes_that_are_given(name, adam):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert PLOTS[name](adam, ax=right) is figure
    assert right.get_title()
    assert not left.has_data()
    assert len([ax for ax in figure.axes if ax in (left, right)]) == 2


@pytest.mark.parametrize("name", PLOTS)
def test_a_single_record_is_drawn_too(name, tmp_path):
    recording = recorded(lamb, steps=1)
    PLOTS[name](recording, path=tmp_path / "one.svg")
    assert b"<svg" in (tmp_path / "one.svg").read_bytes()
    with pytest.raises(ValueError, match="nothing to draw: no records"):
        PLOTS[name](study.Recording())


def test_a_file_stands_for_its_recording(adam, tmp_path):
    path = adam.save(tmp_path / "record.jsonl")
    figure = plots.update_ratios(path)
    assert len(figure.axes[0].lines) == 2


def test_a_recorder_stands_for_its_recording_and_another_thing_is_refused(adam):
    model = nn.Linear(2, 1)
    recorder = study.Recorder(model, optim.SGD(model.parameters(), lr=0.1))
    recorder.recording = adam
    assert len(plots.update_ratios({"a": recorder}).axes[0].lines) == 2
    with pytest.raises(TypeError, match="needs a Recording, a Recorder or the path"):
        plots.gradient_flow(3)


def test_a_picture_of_an_unknown_kind_is_refused_and_a_folder_named(adam, tmp_path):
    with pytest.raises(ValueError, match=r"cannot write a picture as \.gifx; the formats are .*png"):
        plots.losses(adam, path=tmp_path / "loss.gifx")
    with pytest.raises(OSError, match="nowhere"):
        plots.losses(adam, path=tmp_path / "nowhere" / "loss.png")
    assert list(tmp_path.iterdir()) == []


# --- what each shows ------------------------------------------------------------------------------------------------


def test_update_ratios_have_a_line_per_layer_and_a_band_of_those_that_replace_the_weights_once(deep):
    (ax,) = plots.update_ratios(deep).axes
    assert ax.get_yscale() == "log"
    lines = {line.get_label(): line for line in ax.lines}
    for layer in deep.layers:
        np.testing.assert_array_equal(lines[layer].get_ydata(), deep.layer(layer, "update_ratio"))
        np.testing.assert_array_equal(lines[layer].get_xdata(), deep.steps)
    assert sorted(texts(ax)) == sorted(deep.layers), "each line is named at its end"
    low, high = ax.get_ylim()
    last = deep.steps[-1]
    assert low < 1 / last < last**-0.5 < high
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((1 / last, last**-0.5))


def test_update_ratios_of_several_optimizers_have_a_band_each(adam, deep):
    (ax,) = plots.update_ratios({"Adam": adam, "LAMB": deep}).axes
    assert sorted(texts(ax)) == ["Adam", "LAMB"]
    line = next(line for line in ax.lines if line.get_label() == "LAMB")
    table = np.array([deep.layer(layer, "update_ratio") for layer in deep.layers])
    np.testing.assert_allclose(line.get_ydata(), np.median(table, 0))
    assert len(ax.collections) == 2


def test_labels_keep_their_distance_and_their_order():
    def apart(places, gap):
        return _spacing.apart(places, [gap] * (len(places) - 1), low=0.0, high=1.0)

    for places in ([0.5] * 12, [0.0, 0.0, 0.01, 0.9, 0.91, 1.0], [0.1, 0.12, 0.5, 0.52], list(np.linspace(0, 1, 12))):
        heights = apart(places, 0.058)
        assert min(np.diff(heights)) >= 0.058 - 1e-9
        assert heights[0] >= -1e-9
        assert heights[-1] <= 1 + 1e-9
    assert apart([0.2, 0.8], 0.058) == [0.2, 0.8]
    assert np.mean(apart([0.5] * 4, 0.1)) == pytest.approx(0.5), "they spread to both sides"
    assert apart([], 0.1) == []


def test_gradient_flow_goes_from_the_first_layer_to_the_last(deep):
    (ax,) = plots.gradient_flow(deep).axes
    assert ax.get_yscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == deep.layers
    last = next(line for line in ax.lines if line.get_label() == f"step {deep.steps[-1]:,}")
    counts = [deep.header["layers"][layer]["parameters"] for layer in deep.layers]
    expected = [deep.layer(layer, "gradient_norm")[-1] / n**0.5 for layer, n in zip(deep.layers, counts, strict=True)]
    np.testing.assert_allclose(last.get_ydata(), expected)


def test_gradient_flow_marks_layers_that_no_gradient_reaches():
    def kill(model):
        model[2].bias.data = model[2].bias.data - 100

    dead = recorded(lambda p: optim.SGD(p, lr=0.1), layers=3, change=kill)
    (ax,) = plots.gradient_flow(dead).axes
    marks = next(line for line in ax.lines if line.get_label() == f"0 in step {dead.steps[-1]}")
    assert list(marks.get_xdata()) == [0, 1]


def test_the_clip_ledger_shows_before_after_threshold_and_share(clips):
    (ax,) = plots.clip_ledger(clips).axes
    lines = {line.get_label(): line for line in ax.lines}
    entries = clips.clips()
    assert list(lines["before"].get_ydata()) == [e["norm_before"] for e in entries]
    assert list(lines["after"].get_ydata()) == [e["norm_after"] for e in entries]
    assert set(lines["threshold"].get_ydata()) == {0.5}
    share = entries[-1]["acted_steps"] / entries[-1]["steps"]
    assert ax.get_title() == f"by_global_norm (max_norm 0.5) acted on {share:.0%} of 12 steps"
    (strip,) = ax.child_axes
    assert list(strip.collections[0].get_array().ravel()) == [e["share"] for e in entries[1:]]


def test_plots_say_so_where_there_is_nothing(adam):
    assert texts(plots.clip_ledger(adam).axes[0]) == ["Adam does not clip"]
    assert texts(plots.trust_ratios(adam).axes[0]) == ["Adam has no trust ratios"]
    sgd = recorded(lambda p: optim.SGD(p, lr=0.1))
    assert texts(plots.optimizer_state(sgd, "signal").axes[0]) == ["SGD does not keep both moments"]
    bare = study.Recording(sgd.header, [{**r, "activations": {}} for r in sgd.records])
    assert texts(plots.activation_health(bare).axes[0]) == ["no activations were recorded"]


def test_a_loss_that_was_never_noted_is_asked_for(adam):
    silent = study.Recording(adam.header, [{k: v for k, v in r.items() if "loss" not in k} for r in adam.records])
    assert texts(plots.losses(silent).axes[0]) == ["no loss was recorded; call recorder.note(loss)"]


@pytest.mark.slow
def test_a_dollar_in_a_name_is_no_formula_wherever_it_stands(adam, clips, tmp_path):
    name = "costs $_5^^$"

    def renamed(value):
        if isinstance(value, dict):
            return {renamed(key): renamed(each) for key, each in value.items()}
        return f"{name} {value}" if value in ("0", "2", "0.weight", "2.weight", "LAMB", "clip_by_norm") else value

    rows = [{f"train_{name}": 1.0, f"held_out_{name}": 2.0}]
    scheduler = schedulers.StepLR(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 3, 0.5)
    r = recorded(lambda p: optim.LAMB(p, lr=0.01, clip=clipping.by_global_norm(0.5)))
    drawn = [plot(study.Recording(renamed(r.header), map(renamed, r.records))) for plot in PLOTS.values()]
    drawn += [plots.losses({name: adam, "b": clips}), plots.update_ratios({name: adam, "b": clips})]
    drawn += [plots.metrics(rows), plots.metrics({name: rows, "b": rows}), plots.schedule({name: scheduler}, 5)]
    drawn += [plots.schedule({name: scheduler, "b": scheduler}, 5)]
    for number, figure in enumerate(drawn):
        path = tmp_path / f"{number}.svg"
        with matplotlib.rc_context({"svg.fonttype": "none"}):  # a formula would raise, or be drawn as one
            figure.savefig(path)
        text = path.read_text(encoding="utf-8")
        assert "costs $_5^^$" in text or "costs" not in text, "letter by letter, nothing before the dollar"


def test_metrics_are_read_from_their_file(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss\n1,5,0.5\n2,10,0.25\n")
    (line,) = plots.metrics(str(path)).axes[0].lines
    assert list(line.get_ydata()) == [0.5, 0.25]
    with pytest.raises(FileNotFoundError, match=r"no such file; give the metrics\.csv"):
        plots.metrics(tmp_path / "other.csv")


def test_trust_ratios_have_a_line_per_adapted_tensor_and_mark_clamps(deep):
    (ax,) = plots.trust_ratios(deep).axes
    lines = {line.get_label(): line for line in ax.lines}
    for name, values in deep.trust_ratios().items():
        np.testing.assert_array_equal(lines[name].get_ydata(), values)
    crosses = sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "x")
    clamped = sum(t["clamped"] for r in deep.records for layer in r["layers"].values() for t in layer["trust"].values())
    assert crosses == clamped > 0
    assert words(ax) == ["norm of the weights was clamped"]


def test_optimizer_state_has_a_panel_per_layer_or_one(deep):
    figure = plots.optimizer_state(deep)
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in shown] == [f"layer {layer}" for layer in deep.layers]
    assert len({ax.get_ylim() for ax in shown}) == 1, "panels share their scale"
    np.testing.assert_array_equal(shown[3].lines[0].get_ydata(), deep.layer(deep.layers[3], "effective_rate")[:, 2])
    (ax,) = plots.optimizer_state(deep, "signal", deep.layers[1]).axes
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), deep.layer(deep.layers[1], "signal")[:, 2])
    with pytest.raises(ValueError, match="unknown quantity 'momentum'; known are effective_rate, signal"):
        plots.optimizer_state(deep, "momentum")
    with pytest.raises(KeyError, match="unknown layer"):
        plots.optimizer_state(deep, layer="nine")


def test_activation_health_names_every_output_and_counts_the_dead():
    def dull(model):
        model[0].bias.data[:3] = -100

    recording = recorded(lambda p: optim.SGD(p, lr=0.01), change=dull)
    (ax,) = plots.activation_health(recording).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2  Linear", "1  ReLU", "0  Linear"]
    dead = next(text for text in ax.texts if "dead" in text.get_text())
    assert dead.get_text() == "3 of 4 dead"
    assert dead.get_fontweight() == "bold"
    assert len(ax.patches) == 6, "a histogram for the first record and the last, of each output"


def test_losses_are_compared_by_name(adam, clips):
    (ax,) = plots.losses({"Adam": adam, "clipped": clips}).axes
    assert ax.get_yscale() == "linear", "they do not fall far"
    assert sorted(texts(ax)) == ["Adam", "clipped"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), adam.values("mean_loss"))


def test_metrics_have_a_panel_each_and_runs_are_compared_on_held_out_data():
    rows = [
        {"train_loss": 1 / e, "train_accuracy": 0.5, "held_out_loss": 2 / e, "held_out_accuracy": 0.4}
        for e in (1, 2, 3)
    ]
    figure = plots.metrics(rows)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "accuracy"]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "linear"]
    assert [line.get_label() for line in figure.axes[1].lines] == ["train", "held out"]
    assert covers(figure) == []
    (ax,) = plots.metrics({"a": rows, "b": rows[:2]}, "loss").axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[2, 1, 2 / 3], [2, 1]]
    with pytest.raises(ValueError, match="no run has 'los', but loss, accuracy"):
        plots.metrics(rows, "los")
    with pytest.raises(ValueError, match="nothing to draw: no rows"):
        plots.metrics([])


def test_a_schedule_is_drawn_before_training_and_changes_nothing():
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = schedulers.StepLR(optimizer, 3, 0.5)
    (ax,) = plots.schedule(scheduler, 7).axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025])
    assert scheduler.last_epoch == 0
    assert ax.get_ylabel() == "learning rate"
    both = plots.schedule({"steps": scheduler, "flat": schedulers.ConstantLR(optim.SGD(model.parameters(), lr=0.1))}, 7)
    assert [t.get_text() for t in both.axes[0].get_legend().get_texts()] == ["steps", "flat"]
    with pytest.raises(ValueError, match="StepLR does not set 'momentum', but lr"):
        plots.schedule(scheduler, 7, "momentum")


def of_layers(*records):
    """A recording of layers a and b, made of a dictionary by layer for each record."""
    header = {"layers": {name: {"parameters": 4, "tensors": []} for name in ("a", "b")}, "optimizer": "Adam"}
    return study.Recording(header, [{"step": 10 * i + 1, "layers": each} for i, each in enumerate(records)])


def test_gradients_of_zero_count_in_the_middle_and_have_their_mark():
    norms = [(0.0, 1.0)] * 6 + [(2.0, 1.0)] * 3
    r = of_layers(*({"a": {"gradient_norm": a}, "b": {"gradient_norm": b}} for a, b in norms))
    (ax,) = plots.gradient_flow(r).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["median 0"].get_xdata().tolist() == [0]
    np.testing.assert_array_equal(lines["median"].get_ydata(), [np.nan, 0.5])
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(min(ax.get_ylim())), "from the lower end of the axis"


def test_no_median_of_the_state_leaves_the_axis_and_bands_that_do_are_marked():
    low, high = [1e-3, 1e-2, 1e-1, 1.0, 1e5], [1e2, 1e3, 1e4, 1e5, 1e8]
    r = of_layers(*({"a": {"effective_rate": low}, "b": {"effective_rate": high}} for _ in range(3)))
    figure = plots.optimizer_state(r)
    for ax, middle in zip(figure.axes, (0.1, 1e4), strict=True):
        assert min(ax.get_ylim()) < middle < max(ax.get_ylim()) < 1e5
        (mark,) = (line for line in ax.lines if line.get_marker() == "^")
        assert mark.get_label().startswith("continues above")


@pytest.mark.parametrize("layers", [2, 6, 12])
def test_a_long_title_of_the_state_stays_in_the_picture(layers):
    minigrad.manual_seed(0)
    model = nn.MLP([4, *[4] * (layers - 1), 2])
    optimizer = optim.RAdam(model.parameters())
    with study.Recorder(model, optimizer, every=1, probe=False) as recorder:
        for _ in range(3):
            model(np.ones((2, 4), "f")).sum().backward()
            optimizer.step()
    figure = plots.optimizer_state(recorder)
    figure.canvas.draw()
    title = figure._suptitle.get_window_extent()
    assert 0 <= title.x0 < title.x1 <= figure.bbox.width


def test_a_schedule_of_one_step_is_a_dot_and_values_hold_until_the_next_step():
    made = schedulers.CosineAnnealingLR(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), T_max=50)
    assert plots.schedule(made, 1).axes[0].lines[0].get_marker() == "o"
    (line,) = plots.schedule(made, 30).axes[0].lines
    assert (line.get_marker(), line.get_drawstyle()) == ("", "steps-post")


def test_losses_that_fall_far_have_an_axis_by_factors():
    def scale(*values):
        r = of_layers(*({} for _ in values))
        for record, value in zip(r.records, values, strict=True):
            record["mean_loss"] = value
        return plots.losses(r).axes[0].get_yscale(), plots.metrics([{"train_loss": v} for v in values]).axes[
            0
        ].get_yscale()

    assert scale(2.3, 1.9, 1.8) == ("linear", "linear")
    assert scale(2.3, 0.5, 0.1) == ("log", "log")


def test_outputs_that_are_not_finite_are_told_of_how_many():
    few = {"mean": -1e9, "std": 3e9, "low": -7e10, "high": -0.2, "counts": [1] * 23 + [873], "nan": 128, "inf": 0}
    none = {"nan": 0, "inf": 1024, "units": 32, "dead": 0}
    fine = {"mean": 0.0, "std": 0.3, "low": -1.0, "high": 1.0, "counts": [1] * 24}
    r = of_layers({}, {})
    r.records[0]["activations"] = {"a": fine, "b": fine}
    r.records[1]["activations"] = {"a": few, "b": none}
    (ax,) = plots.activation_health(r).axes
    words = [text for text in texts(ax) if text]
    assert words == ["128 of 1,024 NaN; ← 87% to -7e+10", "all 1,024 infinite"]
    black = [line for line in ax.lines if line.get_color() == "black"]
    assert all(np.abs(line.get_xdata()).max() < 2 for line in black), "no bar to where the axis does not reach"


def test_a_clip_that_is_looked_at_in_recorded_steps_alone_says_so():
    minigrad.manual_seed(0)
    model = nn.Linear(4, 2)
    clips = [clipping.by_value(1e-3), clipping.by_norm(1e-3, "layer"), clipping.adaptive(0.01)]
    optimizer = optim.SGD(model.parameters(), lr=0.1, clip=clips)
    with study.Recorder(model, optimizer, every=5, probe=False) as recorder:
        for _ in range(10):
            optimizer.zero_grad()
            model(np.ones((2, 4), "f")).sum().backward()
            optimizer.step()
    titles = [plots.clip_ledger(recorder, i).axes[0].get_title() for i in range(3)]
    assert titles[0].startswith("by_value (")
    assert titles[0].endswith(" of 3 recorded steps")
    assert titles[1].startswith("by_norm per layer (")
    assert titles[1].endswith(" of 10 steps")
    assert titles[2].startswith("adaptive (")
    assert titles[2].endswith(" of 10 steps")
