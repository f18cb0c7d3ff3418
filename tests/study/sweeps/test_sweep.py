"""Sweeps: each run has the bits of the run alone, and is stored once, whatever happens in between."""

import math

import numpy as np
import pytest

from minigrad import study, training
from minigrad.recipes.recipe import make_run, problem

SMALL = {"data": "moons:samples=100", "model": "mlp:8", "epochs": 3, "batch_size": 16}


def alone(arguments):
    """The rows of the run that ``minigrad train`` makes of some arguments, and its test metrics."""
    asked, patience = problem(arguments), arguments.get("patience")
    run = make_run(arguments, asked, [training.EarlyStopping(patience)] if patience else [])
    training.train(run, arguments["epochs"])
    return run.progress.history, training.evaluate(run.model, asked.test, run.loss, run.metrics)


def without_seconds(found):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found.table]


def test_every_run_has_the_bits_of_the_run_alone():
    found = study.sweep(["SGD", "Adam:weight_decay=0.01"], lr="0.01..0.1:2", seeds=[0, 7], **SMALL)
    assert found.settings == ["optimizer", "lr", "weight_decay"]
    assert len(found.table) == 8
    for row in found.table:
        history, tested = alone(found.arguments(row["run"]))
        assert row["status"] == "finished"
        assert (row["epochs"], row["steps"]) == (3, 12)
        assert found.curve(row["run"]) == [
            {name.replace("held_out", "validation"): value for name, value in each.items()} for each in history
        ]
        assert row["validation_loss"] == history[-1]["held_out_loss"]
        assert (row["test_loss"], row["test_accuracy"]) == (tested["loss"], tested["accuracy"])


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": [0.0, 0.5, 0.9], "weight_decay": [0.0, 0.1]},
        {"optimizers": ["Adam", "AdamW", "NAdam"], "weight_decay": [0.01, 0.1], "eps": [1e-8, 1e-3]},
        {"optimizers": ["Adam"], "betas": [(0.9, 0.99), (0.0, 0.9)], "amsgrad": [False, True]},
        {"optimizers": ["RAdam", "LAMB", "Lion"], "weight_decay": [0.0, 0.01], "lr": [0.01, 0.02]},
        {"optimizers": ["RMSprop"], "alpha": [0.9, 0.99], "momentum": [0.0, 0.9], "centered": [False, True]},
        {"optimizers": ["Adadelta", "Adagrad", "AdaBelief", "Adamax", "LARS", "Lookahead"], "lr": [0.1, 0.2]},
        {"schedule": [None, "CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau"], "lr": [0.1, 0.2]},
        {"clip": [None, "by_global_norm:0.1", "by_global_norm:0.1 + by_value:0.01"], "warmup": [0, 1]},
        {
            "model": ["mlp:8", "mlp:8,batch,dropout=0.5"],
            "batch_size": [16, 20],
            "accumulate": [1, 2],
        },
        {"data": ["moons:samples=100", "cubic"], "dtype": ["float32", "float64"], "epochs": [1, 2]},
        {"lookahead": [None, "k=2"], "patience": [None, 1], "loss": [None, "cross_entropy:label_smoothing=0.1"]},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_whatever_varies_each_run_has_the_bits_of_the_run_alone(settings):
    found = study.sweep(**{**SMALL, "epochs": 2, "optimizers": ["SGD"], "seeds": 2, **settings}, threads=2)
    for row in found.table:
        arguments = found.arguments(row["run"])
        history, _ = alone(arguments)
        assert row["status"] == "finished"
        assert found.curve(row["run"]) == [
            {name.replace("held_out", "validation"): value for name, value in each.items()} for each in history
        ], arguments


def test_the_test_rows_are_those_of_a_run_without_validation():
    with_it, without = problem({"validation": 0.2}), problem({})
    assert np.array_equal(with_it.test.features, without.held_out.features)
    both = np.concatenate([with_it.train.features, with_it.held_out.features])
    assert {row.tobytes() for row in both} == {row.tobytes() for row in without.train.features}
    assert (len(with_it.train), len(with_it.held_out)) == (1150, 288)
    assert with_it.fingerprint()["test_rows"] == 359
    assert "test_rows" not in without.fingerprint()


def test_divergence_is_a_value():
    found = study.sweep("SGD", lr=[0.1, 1e30], seeds=1, **SMALL)
    good, bad = found.table
    assert good["status"] == "finished"
    assert bad["status"] == "diverged"
    assert bad["step_diverged"] == 2
    assert (bad["epochs"], found.curve(1)) == (0, [])
    assert "loss is" in bad["reason"]
    assert bad["test_loss"] is None
    assert found.best()["run"] == 0


def test_a_stored_sweep_reads_back_the_same(tmp_path):
    settings = {"lr": [0.1, 1e30], "clip": [None, "by_global_norm:1.0"], "schedule": ["none", "StepLR:step_size=1"]}
    found = study.sweep(["SGD", "Adam:betas=(0.8,0.9)"], seeds=2, folder=tmp_path / "s", **settings, **SMALL)
    again = study.load_sweep(tmp_path / "s")
    assert again.table == found.table
    assert all(again.curve(row["run"]) == found.curve(row["run"]) for row in found.table)
    assert [again.arguments(row["run"]) for row in again.table] == [found.arguments(r["run"]) for r in found.table]
    assert math.isfinite(again.column("train_loss")[0])
    assert np.isnan(again.column("test_loss")).any()


def test_more_rates_seeds_and_settings_repeat_nothing(tmp_path):
    made = []

    def progress(done, asked, result):
        made.extend([] if result is None else [result])

    def run(*optimizers, **settings):
        made.clear()
        return study.sweep(optimizers, folder=tmp_path / "s", progress=progress, **{**SMALL, **settings})

    first = run("SGD", lr="0.01..1:3", seeds=2)
    assert len(made) == 6
    assert run("SGD", lr="0.01..1:3", seeds=2).table == first.table
    assert not made
    more = run("SGD", "Adam", lr="0.01..1:5", seeds=3)
    assert len(made) == 2 * 5 * 3 - 6
    assert more.table[:6] == first.table
    # A setting that varies only now: the runs before had its value too.
    wider = run("SGD", lr="0.01..1:3", seeds=2, batch_size=[16, 32])
    assert len(made) == 6
    assert [row["batch_size"] for row in wider.table[:6]] == [16] * 6
    assert len(wider.table) == 36
    with pytest.raises(ValueError, match="holds a sweep with epochs 3, not 4"):
        run("SGD", seeds=1, epochs=4)


def test_errors_are_found_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="StepLR needs step_size"):
        study.sweep("SGD", schedule=[None, "StepLR"], seeds=1, folder=tmp_path / "s", **SMALL)
    assert not list(tmp_path.rglob("*.csv"))


def test_hopeless_cells_get_no_further_seeds(tmp_path):
    settings = dict(lr=[0.1, 1e-6, 1e30], folder=tmp_path / "s", **SMALL)
    found = study.sweep("SGD", seeds=4, stop_hopeless=True, **settings)
    statuses = [row["status"] for row in found.table]
    assert statuses == ["finished"] * 8 + ["diverged"] * 2 + ["stopped"] * 2
    assert (found.table[-1]["epochs"], found.table[-1]["train_loss"]) == (0, None)
    assert study.sweep("SGD", seeds=4, stop_hopeless=True, **settings).table == found.table
    rest = study.sweep("SGD", seeds=4, **settings)
    assert [row["status"] for row in rest.table] == ["finished"] * 8 + ["diverged"] * 4


def test_the_command_makes_the_run_again(tmp_path, capsys):
    from minigrad.cli import main

    found = study.sweep("Adam", lr=[0.01], seeds=[3], clip="by_global_norm:1 + by_value:2", betas=(0.8, 0.9), **SMALL)
    program, *words = found.command(0)
    assert program == "minigrad"
    assert main([*words, "--output", str(tmp_path)]) == 0
    (metrics,) = tmp_path.glob("*/metrics.csv")
    rows = training.logs.read_metrics(metrics)
    assert [row["held_out_loss"] for row in rows] == [row["validation_loss"] for row in found.curve(0)]
    capsys.readouterr()
    assert main(["evaluate", str(metrics.parent)]) == 0
    assert f"test loss: {found.table[0]['test_loss']:.6g}" in capsys.readouterr().out
