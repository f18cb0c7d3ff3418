"""What cannot be drawn or written is refused by name, and leaves axes and folders as they were."""

import errno
import os

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from plot_tools import PLOTS, clipped, recorded, texts

from minigrad import nn, optim, schedulers, study
from minigrad.study import plots


@pytest.fixture(scope="module")
def clips():
    return recorded(clipped)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("what", [5, None, True, [1, 2], object(), 1.5, b"record.jsonl"])
def test_what_is_no_recording_is_refused_by_every_plot(name, what):
    with pytest.raises(TypeError, match=r"^\w+: needs a Recording, a Recorder or the path of a record\.jsonl, not "):
        PLOTS[name](what)


@pytest.mark.parametrize("name", PLOTS)
def test_an_empty_recording_is_refused_and_one_without_layers_says_so(name, clips):
    with pytest.raises(ValueError, match=r"^\w+: nothing to draw: no records$"):
        PLOTS[name](study.Recording())
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        PLOTS[name]("gone.jsonl")
    bare = study.Recording({**clips.header, "layers": {}}, [{**r, "layers": {}, "clips": []} for r in clips.records])
    (ax,) = PLOTS[name](bare).axes
    if name in ("update_ratios", "gradient_flow", "optimizer_state", "signal"):
        assert texts(ax) == ["no layers were recorded"]


def test_plots_of_one_recording_refuse_several_and_those_of_several_name_the_wrong_one(clips):
    for name in ("gradient_flow", "clip_ledger", "trust_ratios", "optimizer_state", "activation_health"):
        with pytest.raises(TypeError, match=f"^{name} draws one recording, not a dictionary of 2"):
            PLOTS[name]({"a": clips, "b": clips})
    for name in ("update_ratios", "losses"):
        with pytest.raises(TypeError, match=f"^{name}, 'b': needs a Recording"):
            PLOTS[name]({"a": clips, "b": 3})
        with pytest.raises(ValueError, match=f"^{name}, 'b': nothing to draw: no records"):
            PLOTS[name]({"a": clips, "b": study.Recording()})
        with pytest.raises(ValueError, match=f"^{name}: nothing to draw: no recordings"):
            PLOTS[name]({})


def test_metrics_refuse_what_are_no_rows():
    for what, words in (
        (5, "needs the rows of a run .*, not int"),
        (None, "not NoneType"),
        ([5], "a row must be a dictionary of numbers by name, not int"),
        ([{"train_loss": "low"}], "'train_loss' must be a number, not 'low'"),
        ([{"train_loss": [1.0]}], r"'train_loss' must be a number, not \[1\.0\]"),
    ):
        with pytest.raises(TypeError, match=f"^metrics: .*{words}"):
            plots.metrics(what)
    with pytest.raises(TypeError, match=r"^metrics, 'b': needs the rows"):
        plots.metrics({"a": [{"train_loss": 1.0}], "b": 3})
    with pytest.raises(ValueError, match=r"^metrics: nothing to draw: no rows"):
        plots.metrics({})
    with pytest.raises(ValueError, match="no run has 5, but loss"):
        plots.metrics([{"train_loss": 1.0}], 5)


def test_metrics_draw_a_metric_that_some_rows_lack():
    (ax,) = plots.metrics([{"train_loss": 3.0}, {"train_loss": 2.0, "held_out_loss": 4.0}]).axes
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 2], [2]]


def test_schedules_refuse_what_is_no_scheduler():
    optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    for what, kind in ((5, "int"), (optimizer, "SGD"), (schedulers.StepLR, "StepLR"), ({"a": None}, "NoneType")):
        with pytest.raises(TypeError, match=f"^schedule: needs a scheduler of an optimizer, .* not {kind}$"):
            plots.schedule(what, 5)
    with pytest.raises(ValueError, match=r"^schedule: nothing to draw: no schedulers"):
        plots.schedule({}, 5)
    scheduler = schedulers.StepLR(optimizer, 3)
    for steps in (0, -1, "many", None, 1.5):
        with pytest.raises((TypeError, ValueError), match="steps"):
            plots.schedule(scheduler, steps)


def test_clips_quantities_and_layers_are_named_where_they_are_wrong(clips):
    for clip in ("first", 0.0, True, None):
        with pytest.raises((TypeError, ValueError), match="clip_ledger: clip must be a whole number"):
            plots.clip_ledger(clips, clip)
    with pytest.raises(IndexError, match="there is no clip 3; SGD has 1"):
        plots.clip_ledger(clips, 3)
    for quantity in (5, None, "lr"):
        with pytest.raises(ValueError, match=r"unknown quantity .*; known are effective_rate, signal"):
            plots.optimizer_state(clips, quantity)
    with pytest.raises(KeyError, match="unknown layer 'first'"):
        plots.optimizer_state(clips, layer="first")
    with pytest.raises(TypeError, match="layers are given by name, such as '0', not 0"):
        plots.optimizer_state(clips, layer=0)
    with pytest.raises(TypeError, match="layers are given by name, such as '0', not 0"):
        clips.layer(0, "update_ratio")
    plateau = schedulers.ReduceLROnPlateau(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))
    with pytest.raises(TypeError, match=r"ReduceLROnPlateau.preview: needs the supposed metrics, not 30"):
        plots.schedule(plateau, 30)


@pytest.mark.parametrize("name", [*PLOTS, "metrics", "schedule"])
def test_axes_and_paths_that_are_none_are_refused_before_anything_is_drawn(name, clips, tmp_path):
    def draw(**options):
        if name == "metrics":
            return plots.metrics([{"train_loss": 1.0}], **options)
        if name == "schedule":
            return plots.schedule(schedulers.StepLR(optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1), 3), 5, **options)
        return PLOTS[name](clips, **options)

    figure = Figure()
    grid = figure.subplots(1, 2)
    for ax, words in ((grid, "not ndarray, of which it takes one"), (figure, "not Figure$"), (5, "not int$")):
        with pytest.raises(TypeError, match=f"^ax must be matplotlib's Axes, {words}"):
            draw(ax=ax)
    for path, error, words in (
        (5, TypeError, "path must be a str or a path, not int"),
        ("", ValueError, "path '' does not name a file"),
        (tmp_path / "a.gifx", ValueError, r"cannot write a picture as \.gifx"),
    ):
        with pytest.raises(error, match=words):
            draw(ax=grid[0], path=path)
    assert not grid[0].has_data()
    assert grid[0].get_title() == ""
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_picture_from_before(clips, tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"from before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write: No space left on device.*loss\.png"):
        plots.losses(clips, path=path)
    assert path.read_bytes() == b"from before"
    assert [each.name for each in tmp_path.iterdir()] == ["loss.png"]
