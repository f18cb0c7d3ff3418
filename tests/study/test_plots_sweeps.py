"""The pictures of sweeps: what is drawn is what the statistics are, and no text covers another."""

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.text import Text
from plot_tools import overlap, texts
from sweep_tools import OPTIMIZERS, RATES, made_up

from minigrad.study import plots
from minigrad.study.sweeps import statistics
from minigrad.study.sweeps.results import Results, costs

PICTURES = {
    "sensitivity": plots.sensitivity,
    "time_to_target": plots.time_to_target,
    "learning_curves": plots.learning_curves,
    "heat_map": plots.heat_map,
}


@pytest.fixture(scope="module")
def seven():
    return made_up(tuple(OPTIMIZERS), settings=(("weight_decay", (0.0, 1e-3)),))


def line_of(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def overlaps(figure):
    """Pairs of texts that cover each other, and texts outside the figure."""
    figure.draw_without_rendering()
    found = []
    for ax in figure.axes:
        parts = [*ax.texts, ax.title, ax.xaxis.label, ax.yaxis.label]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            parts += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
        shown = [text for text in parts if text.get_text() and text.get_visible()]
        boxes = [(text.get_text(), Text.get_window_extent(text)) for text in shown]
        found += [(one, other) for i, (one, a) in enumerate(boxes) for other, b in boxes[:i] if overlap(a, b)]
        found += [
            what for what, box in boxes if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1
        ]
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_covers_another_one_and_a_file_is_written(name, seven, tmp_path):
    figure = PICTURES[name](seven, path=tmp_path / "picture.svg")
    assert overlaps(figure) == []
    assert (tmp_path / "picture.svg").stat().st_size > 1000
    assert all(ax.get_title() for ax in figure.axes if ax.axison and ax.get_label() != "<colorbar>")


def test_sensitivity_draws_medians_bands_and_names():
    found = made_up(("SGD", "Adam"))
    ax = plots.sensitivity(found, "validation_loss").axes[0]
    expected = [statistics.medians(found.values(cell, "validation_loss")) for cell in found.groups()["Adam"]]
    drawn = line_of(ax, "Adam")
    assert np.array_equal(drawn.get_xdata(), RATES)
    assert np.array_equal(drawn.get_ydata(), np.where(np.isfinite(expected), expected, np.nan), equal_nan=True)
    assert {"SGD", "Adam"} <= set(texts(ax))
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert len(ax.collections) == 2
    low, high = (statistics.median_band(found.values(found.groups()["SGD"][6], "validation_loss")))[1:]
    band = ax.collections[0].get_paths()[0].vertices
    assert np.isclose(band[:, 1], low).any()
    assert np.isclose(band[:, 1], high).any()


def test_sensitivity_marks_the_best_rate_with_its_interval():
    found = made_up(("Adam",), noise=0.3)
    ax = plots.sensitivity(found, "validation_loss").axes[0]
    best, low, high = statistics.best_place([found.values(cell, "validation_loss") for cell in found.cells])
    assert low < high
    interval, dot = ax.lines[1:3]
    assert interval.get_xdata().tolist() == [RATES[low], RATES[high]]
    assert dot.get_xdata()[0] == RATES[best]


def test_the_share_of_diverged_runs_is_along_the_top_above_the_data():
    found = made_up(("SGD", "Adam", "LAMB"))
    ax = plots.sensitivity(found, "validation_accuracy").axes[0]
    bars = {}
    for bar in ax.patches:
        bars.setdefault(bar.get_facecolor(), []).append(bar.get_height())
        assert bar.get_y() > 0.8
    shares = [[cell.diverged for cell in cells] for cells in found.groups().values()]
    full = max(max(each) for each in bars.values())
    assert sorted(np.round(np.array(each) / full, 6).tolist() for each in bars.values()) == sorted(
        np.round(each, 6).tolist() for each in shares
    )
    for metric in ("validation_accuracy", "validation_loss"):
        ax = plots.sensitivity(found, metric).axes[0]
        inside = ax.transScale + ax.transLimits
        height = max(
            np.nanmax(inside.transform(line.get_xydata())[:, 1]) for line in ax.lines if line.get_marker() == "o"
        )
        assert 0.5 < height < min(bar.get_y() for bar in ax.patches)
        ticks = [*ax.get_yticks(), *ax.get_yticks(minor=True)]
        assert max(ticks) <= ax.spines["left"].get_bounds()[1] < ax.get_ylim()[1]
    assert not plots.sensitivity(made_up(("SGD",), rates=RATES[:5]), "validation_loss").axes[0].patches


def test_accuracies_near_100_percent_are_far_apart_and_100_percent_is_at_the_end():
    found = made_up(("SGD", "Adam"))
    ax = plots.sensitivity(found, "validation_accuracy").axes[0]
    assert ax.get_yscale() == "logit"
    for row in found.table:
        if row["lr"] == 0.1:
            row["validation_accuracy"] = 1.0
    ax = plots.sensitivity(found, "validation_accuracy").axes[0]
    (end,) = [
        place for place, text in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True) if text.get_text() == "100%"
    ]
    assert line_of(ax, "Adam").get_ydata()[6] == end < 1
    near = made_up(("SGD",), rates=[0.1, 0.15])
    assert plots.sensitivity(near, "validation_accuracy").axes[0].get_yscale() == "linear"


def test_two_panels_show_the_training_loss_and_the_metric_of_selection():
    figure = plots.sensitivity(made_up())
    assert [ax.get_title() for ax in figure.axes] == ["Training loss at the end", "Validation accuracy at the end"]
    assert [ax.get_title() for ax in plots.learning_curves(made_up()).axes] == ["Training loss", "Validation accuracy"]


def test_without_a_number_that_varies_there_is_no_sensitivity():
    with pytest.raises(ValueError, match="sensitivity: no numeric setting varies"):
        plots.sensitivity(made_up(rates=[0.01]))
    with pytest.raises(ValueError, match="heat_map: needs two numeric settings"):
        plots.heat_map(made_up())


def test_a_heat_map_has_a_panel_for_each_optimizer_and_frames_the_best_field(seven):
    figure = plots.heat_map(seven, metric="validation_loss")
    assert [ax.get_title() for ax in figure.axes[:7]] == list(OPTIMIZERS)
    ax = figure.axes[1]
    (image,) = ax.images
    cells = {(cell.settings["lr"], cell.settings["weight_decay"]): cell for cell in seven.groups()["Adam"]}
    for row, decay in enumerate((0.0, 1e-3)):
        for column, rate in enumerate(RATES):
            median = statistics.medians(seven.values(cells[rate, decay], "validation_loss"))
            assert np.ma.filled(image.get_array(), np.inf)[row, column] == pytest.approx(median)
    (frame,) = ax.patches
    assert frame.get_xy() == (RATES.index(0.03162) - 0.5, -0.5)
    assert "\N{MULTIPLICATION SIGN}" in texts(figure.axes[6])


@pytest.mark.parametrize(("metric", "better"), [("validation_loss", min), ("validation_accuracy", max)])
def test_a_heat_map_shows_the_best_over_all_other_settings(metric, better):
    found = made_up(("SGD",), settings=(("weight_decay", (0.0, 1e-3)), ("batch_size", (16, 64))))
    (image,) = plots.heat_map(found, "lr", "weight_decay", metric).axes[0].images
    cells = [cell for cell in found.cells if (cell.settings["lr"], cell.settings["weight_decay"]) == (0.01, 1e-3)]
    assert len(cells) == 2
    assert image.get_array()[1, RATES.index(0.01)] == better(
        statistics.medians(found.values(cell, metric)) for cell in cells
    )


def test_runs_that_never_reach_the_target_are_beyond_the_dashed_line():
    found = made_up()
    figure = plots.time_to_target(found, 0.92)
    ax = figure.axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[-1] == "LAMB"
    assert "never" in [text.get_text() for text in ax.get_xticklabels()]
    (border,) = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    lamb = found.reached(found.groups()["LAMB"][4], 0.92, "validation_accuracy")
    assert np.array_equal(dots[names.index("LAMB")].get_xdata() > border, np.isinf(lamb))
    reached = found.reached(found.selected()[0].cell, 0.92, "validation_accuracy")
    assert np.array_equal(dots[0].get_xdata(), reached)
    everyone = plots.time_to_target(found, 0.5).axes[0]
    assert "never" not in [text.get_text() for text in everyone.get_xticklabels()]
    assert texts(plots.time_to_target(found, 1.1).axes[0]) == ["no run reached the target"]


def test_profiles_are_steps_that_end_at_the_share_of_solved_problems():
    made = {"a": {"SGD": 10.0, "Adam": 20.0}, "b": {"SGD": 30.0, "Adam": 10.0}, "c": {"SGD": math.inf, "Adam": 5.0}}
    figure = plots.performance_profiles(made)
    ax = figure.axes[0]
    assert overlaps(figure) == []
    assert line_of(ax, "SGD").get_ydata().tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert line_of(ax, "Adam").get_ydata()[-1] == 1.0
    for wrong in ({}, {"a": {}}, {"a": {"SGD": 1.0}, "b": {"Adam": 1.0}}):
        with pytest.raises(ValueError, match="performance_profiles: needs"):
            plots.performance_profiles(wrong)
    assert plots.performance_profiles(costs(made_up(data=("digits", "moons")).split("data"))).axes[0].lines


def test_curves_are_those_of_the_selected_cells_and_end_where_half_of_the_runs_diverged():
    found = made_up()
    ax = plots.learning_curves(found, "validation_loss").axes[0]
    assert {"SGD, lr 0.1", "Adam, lr 0.0316", "LAMB, lr 0.01"} <= set(texts(ax))
    cell = found.selected()[0].cell
    last = [found.curve(row["run"])[-1]["validation_loss"] for row in cell.runs.values()]
    assert line_of(ax, "Adam").get_ydata()[-1] == statistics.medians(last)
    lost = made_up(("SGD", "Adam"), rates=[0.1])
    for row in lost.table[7:]:  # three of the five runs of Adam
        row["status"] = "diverged"
        del lost.curve(row["run"])[3:]
        lost.curve(row["run"])[2]["train_loss"] = 1e20
    ax = plots.learning_curves(lost, "train_loss").axes[0]
    assert np.isfinite(line_of(ax, "Adam").get_ydata()).tolist() == [True] * 3 + [False] * 7
    assert "Adam (diverged)" in texts(ax)
    assert ax.get_ylim()[1] < 10


def test_a_random_search_is_drawn_as_dots():
    rng, found = np.random.default_rng(0), made_up(("SGD",), seeds=2)
    for rate in RATES:
        decay = float(rng.random())
        for row in found.table:
            row["weight_decay"] = decay if row["lr"] == rate else row.get("weight_decay")
    drawn = Results(["optimizer", "lr", "weight_decay"], found.table, found.curve, found.initial)
    assert drawn.is_random(drawn.cells)
    assert not drawn.is_random(drawn.cells[:2])
    assert not found.is_random(found.cells)
    assert drawn.selected()[0].width is None
    figure = plots.heat_map(drawn, metric="validation_loss")
    (dots,) = figure.axes[0].collections
    medians = [statistics.medians(drawn.values(cell, "validation_loss")) for cell in drawn.cells]
    assert np.array_equal(np.sort(dots.get_array()), np.sort([each for each in medians if np.isfinite(each)]))
    assert overlaps(figure) == []
    assert line_of(plots.sensitivity(drawn, "validation_loss").axes[0], "SGD").get_linestyle() == "None"


def test_the_fastest_is_at_the_top():
    found = made_up(("LAMB", "SGD", "Adam"))
    best = {each.label: each.cell for each in found.selected()}
    for row in best["LAMB"].runs.values():
        found.curve(row["run"])[0]["validation_accuracy"] = 0.99
    ax = plots.time_to_target(found, 0.9).axes[0]
    assert ax.get_yticklabels()[0].get_text() == "LAMB"
