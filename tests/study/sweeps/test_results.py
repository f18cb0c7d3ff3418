"""What is concluded from the runs of a sweep: groups, selection, times to a target, sentences."""

import math

import numpy as np
import pytest
from sweep_tools import EPOCHS, RATES, STEPS, made_up

from minigrad import random, study
from minigrad.recipes import recipe
from minigrad.study.sweeps import results as module
from minigrad.study.sweeps import statistics
from minigrad.study.sweeps.results import Results
from minigrad.study.sweeps.statistics import Estimate
from minigrad.study.sweeps.sweep import Sweep
from minigrad.training import evaluate

INF, NAN = math.inf, math.nan


def table(values, metric="validation_accuracy", curves=None, **settings):
    """Results with an optimizer for each name, and its values for each seed."""
    rows = []
    for optimizer, each in values.items():
        for seed, value in enumerate(each):
            status = "diverged" if value == "diverged" else "failed" if value == "failed" else "finished"
            numbers = {metric: value, metric.replace("validation", "test"): value} if status == "finished" else {}
            row = {"run": len(rows), "optimizer": optimizer, "seed": seed, "status": status, "epochs": 4, "steps": 40}
            rows.append({**row, "seconds": 2.0, "train_loss": 0.5, **settings, **numbers})
    return Results(["optimizer", *settings], rows, (curves or {}).__getitem__)


# --- cells and groups ------------------------------------------------------------------------------------------------


def test_a_cell_has_a_run_for_each_seed_and_only_what_varies_is_a_setting():
    found = made_up(("SGD", "Adam"), seeds=3)
    assert found.varied == ["optimizer", "lr"]
    assert len(found.cells) == 2 * len(RATES)
    assert found.seeds == [0, 1, 2]
    assert found.cells[9].settings == {"optimizer": "Adam", "lr": 1e-4}
    assert list(found.cells[9].runs) == [0, 1, 2]


def test_groups_are_made_by_what_is_not_a_number_or_by_what_is_asked_for():
    found = made_up(("SGD", "Adam"), settings=(("weight_decay", (0.0, 0.1)),))
    assert found.numeric == ["lr", "weight_decay"]
    assert [len(cells) for cells in found.groups().values()] == [18, 18]
    assert list(found.groups(["optimizer", "weight_decay"])) == [
        "SGD, weight_decay 0", "SGD, weight_decay 0.1", "Adam, weight_decay 0", "Adam, weight_decay 0.1",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="unknown setting 'weight'; did you mean 'weight_decay'"):
        found.groups(["weight"])


def test_an_option_that_some_optimizers_do_not_have_is_still_a_number():
    rows = made_up(("SGD", "Adam")).table
    rows = [{**row, "momentum": 0.9 if row["optimizer"] == "SGD" else None} for row in rows]
    rows += [{**row, "momentum": 0.0} for row in rows if row["optimizer"] == "SGD"]
    found = Results(["optimizer", "lr", "momentum"], rows, {}.get)
    assert found.numeric == ["lr", "momentum"]
    assert list(found.groups()) == ["SGD", "Adam"]
    assert found.profile(found.groups()["Adam"], "momentum", "validation_loss") == []


def test_a_setting_that_each_optimizer_has_its_own_value_of_is_not_tuned():
    rows = [
        {**row, "momentum": {"SGD": 0.9, "Adam": None, "LAMB": 0.5}[row["optimizer"]]}
        for row in made_up(("SGD", "Adam", "LAMB")).table
    ]
    found = Results(["optimizer", "lr", "momentum"], rows, {}.get)
    assert found.numeric == ["lr"]
    assert list(found.groups()) == ["SGD", "Adam", "LAMB"]
    rates = {"SGD": 0.1, "Adam": 0.01, "LAMB": 0.01}
    fixed = Results(["optimizer", "lr"], [row for row in rows if row["lr"] == rates[row["optimizer"]]], {}.get)
    assert fixed.numeric == []
    assert len(fixed.selected()) == 3


def test_other_settings_are_at_their_best_for_each_rate():
    found = made_up(("SGD",), settings=(("weight_decay", (0.0, 0.1)),), noise=0.0)
    points = found.profile(found.cells, "lr", "validation_loss")
    assert [rate for rate, _ in points] == RATES
    assert {cell.settings["weight_decay"] for rate, cell in points if 1e-3 < rate < 0.2} == {0.0}


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_diverged_run_is_the_worst_and_a_failed_one_is_not_there():
    found = table({"SGD": [0.9, "diverged", "failed", NAN]})
    assert np.array_equal(found.values(found.cells[0], "validation_accuracy"), [0.9, -INF, NAN, -INF], equal_nan=True)
    losses = table({"SGD": [0.9, "diverged"]}, "validation_loss")
    assert losses.values(losses.cells[0], "validation_loss").tolist() == [0.9, INF]
    assert found.cells[0].diverged == pytest.approx(1 / 3)


def test_the_summary_has_the_median_and_band_of_each_cell():
    found = made_up(("SGD", "LAMB"))
    rows = found.summary("validation_loss")
    cell = found.cells[12]
    expected = statistics.median_band([row["validation_loss"] for row in cell.runs.values()])
    assert rows[12] == {
        "optimizer": "LAMB", "lr": 3.162e-3, "runs": 5, "diverged": 0.0,
        "median": expected.value, "low": expected.low, "high": expected.high,
    }  # fmt: skip
    assert rows[17]["diverged"] == 1.0
    assert rows[17]["median"] == INF
    with pytest.raises(ValueError, match="sweep: unknown metric 'loss'"):
        found.summary("loss")


# --- selection -------------------------------------------------------------------------------------------------------


def test_the_selected_cell_is_the_best_by_validation_and_the_test_is_that_of_this_cell():
    found = made_up(("SGD", "Adam", "LAMB"))
    selected = found.selected()
    assert [each.label for each in selected] == ["Adam", "SGD", "LAMB"]
    assert [each.cell.settings["lr"] for each in selected] == [0.03162, 0.1, 0.01]
    adam = selected[0]
    assert (adam.swept, adam.best.value, adam.at_edge) == ("lr", 0.03162, False)
    assert adam.best.low <= 0.03162 <= adam.best.high
    assert adam.test == statistics.median_band([row["test_accuracy"] for row in adam.cell.runs.values()])
    assert adam.train_loss == statistics.median_band([row["train_loss"] for row in adam.cell.runs.values()])
    assert adam.diverged < selected[2].diverged


def test_a_best_rate_at_an_end_of_those_tried_is_marked():
    selected = made_up(("Adam",), rates=RATES[:5]).selected()
    assert selected[0].at_edge
    assert selected[0].width.is_open


def test_the_sensitivity_is_of_the_validation_loss_capped_at_the_loss_before_training():
    found = made_up(("SGD",))
    losses = np.array([found.values(cell, "validation_loss") for cell in found.cells])
    assert found.selected()[0].sensitivity == statistics.sensitivity(losses, 2.3)
    without = Results(["optimizer", "lr"], found.table, found.curve)
    assert without.selected()[0].sensitivity is None


def test_without_a_rate_that_varies_there_is_nothing_to_tune():
    selected = made_up(rates=[0.01]).selected()
    assert [each.best for each in selected] == [None] * 3
    assert {each.cell.settings["optimizer"] for each in selected} == {"SGD", "Adam", "LAMB"}


def test_without_labels_the_loss_selects():
    found = made_up(accuracy=False)
    assert (found.metric, found.final_metric) == ("validation_loss", "test_loss")
    assert found.selected()[0].label == "Adam"


def test_a_group_in_which_everything_diverged_comes_last():
    found = table({"SGD": ["diverged"] * 5, "Adam": [0.5] * 5})
    assert [each.label for each in found.selected()] == ["Adam", "SGD"]
    assert found.verdicts() == ["SGD has a lower test accuracy or diverges, seed by seed, than Adam"]
    nowhere = made_up(("LAMB",), rates=[0.99, 1.0]).selected()
    assert nowhere[0].best is None
    assert nowhere[0].diverged == 1.0


# --- targets ---------------------------------------------------------------------------------------------------------


def test_the_time_to_a_target_ends_with_the_first_epoch_that_reaches_it():
    curves = {
        0: [{"validation_accuracy": each} for each in (0.5, 0.8, 0.7, 0.9)],
        1: [{"validation_accuracy": 0.1}] * 4,
    }
    found = table({"SGD": [0.9, 0.1, "failed"]}, curves=curves)
    cell = found.cells[0]
    for unit, each in (("steps", 10), ("epochs", 1), ("seconds", 0.5)):
        times = found.reached(cell, 0.75, "validation_accuracy", unit)
        assert np.array_equal(times, [2 * each, INF, NAN], equal_nan=True)
    with pytest.raises(ValueError, match="unknown unit 'hours'"):
        found.reached(cell, 0.75, "validation_accuracy", "hours")


def test_the_target_in_common_is_reached_by_each_selected_cell():
    found = made_up(("SGD", "Adam", "LAMB"))
    selected = found.selected()
    target = found.common_target(selected)
    times = [found.reached(each.cell, target, found.metric) for each in selected]
    assert all(statistics.medians(each) <= EPOCHS * STEPS for each in times)
    assert any(np.isinf(found.reached(each.cell, target + 0.001, found.metric)).sum() > 2 for each in selected)


def test_costs_of_several_problems_make_profiles():
    found = made_up(("SGD", "Adam"), data=("digits", "moons"))
    problems = found.split("data")
    assert list(problems) == ["digits", "moons"]
    assert problems["moons"].varied == ["optimizer", "lr"]
    assert list(found.problems()) == ["digits", "moons"]
    assert list(problems["digits"].problems().values()) == [problems["digits"]]
    costs = module.costs(problems)
    assert set(costs) == {"digits", "moons"}
    assert set(costs["moons"]) == {"SGD", "Adam"}
    assert all(math.isfinite(cost) for each in costs.values() for cost in each.values())
    hard = module.costs(problems, {"digits": 0.99, "moons": 0.5})
    assert set(hard["digits"].values()) == {INF}
    assert max(hard["moons"].values()) < INF


# --- sentences -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_told_apart_is_said_and_what_can_is_said_with_an_interval():
    found = table({
        "SGD": [0.95, 0.96, 0.94, 0.95, 0.96],
        "Adam": [0.94, 0.96, 0.95, 0.96, 0.94],
        "LAMB": [0.90, 0.91, 0.89, 0.91, 0.90],
    })  # fmt: skip
    assert found.verdicts() == [
        "SGD and Adam cannot be told apart with 5 seeds: the 90% interval in test accuracy includes 0",
        "LAMB has a test accuracy 5 points lower (4.3 to 5.7 points) than SGD",
        "each interval is one of 90%: of 2 comparisons, 0.2 are expected to differ by chance alone",
    ]


def test_several_alike_are_one_sentence():
    rng = np.random.default_rng(0)
    found = table({name: rng.normal(0.95, 0.01, 5).tolist() for name in ("SGD", "Adam", "Lion")})
    first, *others = found.selected()
    assert found.verdicts([first, *others]) == [
        f"{first.label}, {others[0].label} and {others[1].label} cannot be told apart with 5 seeds: the 90% interval "
        "of each difference from the first in test accuracy includes 0"
    ]
    assert found.verdicts([first]) == []


def test_a_loss_has_its_own_words():
    found = table({"SGD": [0.1] * 5, "Adam": [0.21, 0.2, 0.2, 0.2, 0.2]}, "validation_loss")
    assert found.verdicts() == ["Adam has a test loss 0.1 higher (0.1 to 0.11) than SGD"]


def test_medians_and_bands_as_text():
    assert module.text_of("test_loss", Estimate(0.12345, 0.1, INF)) == "0.123 (0.1 to diverged)"
    assert module.text_of("test_accuracy", Estimate(-INF, -INF, -INF)) == "diverged"
    assert module.text_of("test_loss", Estimate(NAN, NAN, NAN)) == ""


def test_the_overview_is_a_table_of_the_selected_cells_without_empty_columns():
    found = made_up(("SGD", "LAMB"), settings=(("weight_decay", (0.0, 0.1)),))
    titles, *rows = found.overview()
    assert titles == [
        "name", "best lr", "weight_decay", "training loss", "validation accuracy", "test accuracy", "diverged",
    ]  # fmt: skip
    sgd = found.selected()[0]
    assert rows[0][:3] == ["SGD", module.text_of("lr", sgd.best), "0"]
    assert rows[0][5] == module.text_of("test_accuracy", sgd.test)
    assert [row[0] for row in rows] == ["SGD", "LAMB"]
    few = table({"SGD": [0.9] * 5, "Adam": [0.8] * 5})
    assert few.overview()[0] == ["name", "training loss", "validation accuracy", "test accuracy"]


# --- of a sweep ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept():
    return study.sweep(["SGD", "Adam"], lr="0.01,0.1", seeds=2, data="moons:samples=60", model="mlp:4", epochs=2)


def test_the_results_of_a_sweep_know_the_loss_before_training(swept):
    run = swept.table[0]["run"]
    arguments = swept.arguments(run)
    asked = recipe.problem(arguments)
    made = recipe.make_run(arguments, asked)
    for part, rows in (("train", asked.train), ("validation", asked.held_out), ("test", asked.test)):
        assert swept.results.initial(run, part) == evaluate(made.model, rows, asked.loss)["loss"]
    assert all(each.sensitivity.value >= 0 for each in swept.results.selected())


def test_no_number_of_the_user_changes_when_a_sweep_is_looked_at(swept):
    random.manual_seed(5)
    before = random.get_state()
    fresh = Sweep(swept._store)
    fresh.results.selected()
    assert str(random.get_state()) == str(before)


def test_the_best_run_is_one_of_the_best_cell(swept):
    best, selected = swept.best(), swept.results.selected()[0]
    assert best == selected.cell.runs[0]
    assert swept.best("train_loss")["lr"] == swept.results.selected("train_loss")[0].cell.settings["lr"]
    with pytest.raises(ValueError, match="unknown metric 'loss'"):
        swept.best("loss")
