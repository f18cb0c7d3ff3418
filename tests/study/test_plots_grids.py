"""Plots share a figure: each stays in its own place, whatever lays the figure out and whatever the axes share."""

import pickle
from itertools import pairwise

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from plot_tools import PLOTS, clipped, covers, lamb, recorded, words

from minigrad import optim, study
from minigrad.study import plots
from minigrad.study.plots.style import shortened


@pytest.fixture(scope="module")
def deep():
    return recorded(lamb, layers=12)


@pytest.fixture(scope="module")
def clips():
    return recorded(clipped)


def broken(recording, step):
    """The recording as it would be had all gone to NaN at a step, but for the counts."""

    def lost(value):
        if isinstance(value, dict):
            return {key: lost(each) for key, each in value.items()}
        return [float("nan")] * len(value) if isinstance(value, list) else float("nan")

    keys = ("gradient_norm", "update_ratio", "effective_rate", "signal")
    records = []
    for record in recording.records:
        if record["step"] >= step:
            layers = {
                name: {**layer, **{k: lost(layer[k]) for k in keys if k in layer}}
                for name, layer in record["layers"].items()
            }
            clips = [{**clip, "norm_before": np.nan, "norm_after": np.nan} for clip in record.get("clips", [])]
            record = {**record, "layers": layers, "clips": clips, "mean_loss": np.nan}
        records.append(record)
    return study.Recording(recording.header, records)


SHAPES = [(2, 2, (10, 7.5)), (2, 3, (13, 7.5)), (2, 3, (9, 5.5))]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("rows", "columns", "size"), SHAPES)
@pytest.mark.parametrize("layout", ["constrained", "tight"])
def test_a_grid_of_plots_keeps_every_word_within_its_own_place(deep, clips, rows, columns, size, layout):
    figure = Figure(figsize=size, layout=layout)
    axes = figure.subplots(rows, columns).ravel()
    plots.update_ratios(deep, ax=axes[0])
    plots.gradient_flow(deep, ax=axes[1])
    plots.clip_ledger(clips, ax=axes[2])
    plots.activation_health(clips, ax=axes[3])
    for ax, draw in zip(axes[4:], (plots.trust_ratios, plots.optimizer_state), strict=False):
        draw(deep, ax=ax)
    assert covers(figure) == []
    for ax in axes:
        assert ax.get_window_extent().height > 0.3 * figure.bbox.height / rows, "most of the place is for the data"


@pytest.mark.parametrize("name", PLOTS)
def test_half_the_usual_size_still_shows_the_data(name, deep, clips):
    figure = Figure(figsize=(3.75, 2.4), layout="constrained")
    ax = figure.add_subplot()
    PLOTS[name](clips if name in ("clip_ledger", "activation_health") else deep, ax=ax)
    assert covers(figure) == []
    place = ax.get_window_extent()
    assert place.width * place.height > 0.12 * figure.bbox.width * figure.bbox.height


def ends(figure, ax):
    """For each name of a line, in points, how far its leader begins from the end of the line."""
    figure.draw_without_rendering()
    found = {}
    for text in ax.texts:
        if text.get_visible():
            line = next(line for line in ax.lines if line.get_label() == text.get_text())
            x, y = line.get_data()
            last = np.flatnonzero(np.isfinite(y))[-1]
            start, end = (ax.transData.transform(each) for each in (text.xy, (x[last], y[last])))
            found[text.get_text()] = float(np.hypot(*(start - end)))
    return found


def test_names_find_their_lines_after_another_plot_has_changed_the_shared_limits(deep):
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, sharex=True)
    plots.update_ratios(deep, ax=left)
    before = left.get_ylim(), left.get_xlim()
    longer = recorded(lambda p: optim.SGD(p, lr=1e-6), layers=3, steps=30)
    plots.update_ratios(longer, ax=right)
    assert left.get_ylim() != before[0], "the other one needs more"
    assert left.get_xlim()[1] > before[1][1]
    for ax, recording in ((left, deep), (right, longer)):
        found = ends(figure, ax)
        assert set(found) == set(recording.layers)
        assert max(found.values()) < 1
    low, high = left.get_ylim()
    for line in (*left.lines, *right.lines):
        y = np.asarray(line.get_ydata(), float)
        assert low < np.nanmin(y) <= np.nanmax(y) < high, "and what was drawn first stays in view"


@pytest.mark.parametrize("name", ["trust_ratios", "optimizer_state", "activation_health"])
def test_a_plot_with_nothing_to_show_leaves_the_ticks_of_those_beside_it(name, clips):
    bare = study.Recording(clips.header, [{**r, "activations": {}} for r in clips.records])
    figure = Figure()
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    plots.losses(clips, ax=left)
    before = list(left.get_xticks()), list(left.get_yticks())
    PLOTS[name if name != "optimizer_state" else "signal"](bare, ax=right)
    assert (list(left.get_xticks()), list(left.get_yticks())) == before
    assert before[0]


def test_a_title_of_the_user_stays_or_takes_the_place(clips):
    figure = Figure()
    first, second = figure.subplots(1, 2)
    first.set_title("mine")
    plots.losses(clips, ax=first)
    plots.losses(clips, ax=second)
    second.set_title("mine too")
    figure.draw_without_rendering()
    for ax, title in ((first, "mine"), (second, "mine too")):
        assert [ax.get_title(loc=loc) for loc in ("left", "center", "right")] == ["", title, ""]


def test_axes_within_axes_keep_their_place(clips):
    figure = Figure()
    outer = figure.subplots(1, 1)
    inner = outer.inset_axes((0.5, 0.5, 0.4, 0.4))
    plots.clip_ledger(clips, ax=inner)
    figure.subplots_adjust(left=0.4, top=0.7)
    figure.draw_without_rendering()
    inside = inner.get_window_extent().transformed(outer.transAxes.inverted())
    assert inside.x0 + 1e-9 >= 0.5
    assert inside.x1 <= 0.9 + 1e-9
    assert inside.y1 <= 0.9 + 1e-9


def test_a_subfigure_is_drawn_in_and_the_whole_figure_written(clips, tmp_path):
    figure = Figure()
    left, _ = figure.subfigures(1, 2)
    assert plots.losses(clips, ax=left.subplots(), path=tmp_path / "all.png") is figure
    assert (tmp_path / "all.png").stat().st_size > 0


def test_a_figure_is_kept_and_drawn_again_and_its_axes_are_cleared_for_other_things(deep):
    figure = plots.update_ratios(deep)
    again = pickle.loads(pickle.dumps(figure))
    assert covers(again) == []
    (ax,) = figure.axes
    ax.clear()
    ax.plot([1, 2])
    plots.trust_ratios(deep, ax=ax)
    assert covers(figure) == []


def test_of_too_many_names_every_so_many_is_left_out_and_none_overlap():
    many = recorded(lamb, layers=60, steps=4)
    figure = plots.update_ratios(many)
    (ax,) = figure.axes
    assert covers(figure) == []
    shown = [text for text in ax.texts if text.get_visible()]
    assert 10 < len(shown) < 60
    boxes = sorted((Text.get_window_extent(text) for text in shown), key=lambda box: box.y0)
    assert all(above.y0 > below.y0 + 0.8 * below.height for below, above in pairwise(boxes))


def test_long_names_lose_their_middle_unless_they_would_be_alike():
    assert shortened(["encoder.block.17.weight", "a"], 12) == ["enco….weight", "a"]
    alike = ["encoder.block.17.weight", "encoder.black.17.weight"]
    assert shortened(alike, 12) == alike


# --- where values are not finite -------------------------------------------------------------------------------------

LINES = {"update_ratios": 2, "clip_ledger": 2, "losses": 1}


@pytest.mark.parametrize("name", LINES)
def test_a_cross_marks_where_lines_cease_to_be_finite(name, clips):
    figure = PLOTS[name](broken(clips, 9))
    (ax,) = figure.axes
    assert "not finite from step 9 on" in words(ax)
    cross = next(line for line in ax.lines if line.get_marker() == "X")
    assert list(cross.get_xdata()) == [6] * LINES[name], "at the last value"
    assert np.isfinite(cross.get_ydata()).all()
    assert set(covers(figure)) <= {"0", "2"}, "the names stand in the empty part, at the lines' ends"
    assert not any("not finite" in word for word in words(PLOTS[name](clips).axes[0])), "only where there is one"


def test_the_state_of_a_broken_run_is_marked_too(deep):
    (ax,) = plots.optimizer_state(broken(deep, 9), layer=deep.layers[0]).axes
    assert "not finite from step 9 on" in words(ax)
    (line,) = plots.metrics([{"train_loss": 1.0}, {"train_loss": np.inf}, {"train_loss": 2.0}]).axes[0].lines[:1]
    assert list(line.get_xdata()) == [1, 2, 3]
    (ax,) = plots.metrics([{"train_loss": 1.0}, {"train_loss": np.inf}, {"train_loss": 2.0}]).axes
    assert words(ax)[-1] == "not finite after it, first in epoch 2"


def test_the_names_of_a_broken_run_stand_at_the_ends_of_its_lines(deep):
    figure = plots.update_ratios(broken(deep, 9))
    (ax,) = figure.axes
    assert max(ends(figure, ax).values()) < 1
    edge = ax.get_window_extent()
    for text in ax.texts:
        assert Text.get_window_extent(text).x0 < edge.x0 + 0.6 * edge.width, "not at the far side of the axes"


def test_a_layer_without_a_value_says_so(clips):
    (ax,) = plots.update_ratios(broken(clips, 1)).axes
    assert sorted(text.get_text() for text in ax.texts) == ["0 (no value)", "2 (no value)"]
    assert "not finite from step 1 on" in words(ax)


def test_a_change_of_nothing_is_marked_where_the_axis_ends(clips):
    records = [
        {**r, "layers": {**r["layers"], "0": {**r["layers"]["0"], "update_ratio": 0.0}}} if r["step"] == 6 else r
        for r in clips.records
    ]
    (ax,) = plots.update_ratios(study.Recording(clips.header, records)).axes
    assert "a layer did not change" in words(ax)
    mark = next(line for line in ax.lines if line.get_marker() == "v")
    assert list(mark.get_xdata()) == [6]


def test_what_lies_beyond_the_axis_of_activations_is_counted_there(clips):
    def far(record):
        output = {**record["activations"]["0"], "low": -1000.0, "high": 1000.0, "mean": 0.0, "std": 500.0}
        output["counts"] = [10, *[0] * 10, 25, 25, *[0] * 10, 40]
        return {**record, "activations": {**record["activations"], "0": output}}

    for outputs in (lambda r: r, far):
        records = [*clips.records[:-1], outputs(clips.records[-1])]
        (ax,) = plots.activation_health(study.Recording(clips.header, records)).axes
        arrows = [line for line in ax.lines if line.get_marker() in ("<", ">")]
        beyond = [text.get_text() for text in ax.texts if "←" in text.get_text()]
    low, high = ax.get_xlim()
    assert high < 500
    # The two bins in the middle are as wide as the axis is short, and go beyond it too.
    width = 2000 / 24
    left, right = 10 + 25 * (1 - -low / width), 40 + 25 * (1 - high / width)
    assert beyond == [f"← {left / 100:.0%} to -1e+03; → {right / 100:.0%} to 1e+03"]
    assert len(arrows) == 2
    assert "arrows" in ax.get_xlabel()


def test_the_strip_of_a_clip_leaves_no_seams(clips, tmp_path):
    (ax,) = plots.clip_ledger(clips, path=tmp_path / "clip.svg").axes
    (strip,) = ax.child_axes
    (cells,) = strip.collections
    edges = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in cells.get_paths()]
    assert [left for left, _ in edges] == list(clips.steps[:-1])
    assert {right for _, right in edges} == {clips.steps[-1]}, "each reaches under those after it"
