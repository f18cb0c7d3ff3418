"""``minigrad sweep``: new sweeps, continued and extended ones, and what is refused."""

import csv
import os
import re
import shlex
import signal
from pathlib import Path

import pytest
from cli_tools import SMALL, run

from minigrad import study
from minigrad.study.sweeps.store import Store


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(folder):
    with Path(folder, "runs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_is_shown_stored_continued_and_extended(capsys):
    status, out, err = run(capsys, "sweep", "SGD", "--lr", "0.1,1", *SMALL, "Adam:betas=(0.8,0.9)", "--seeds", "2")
    assert (status, err) == (0, "")
    assert out.startswith("8 runs; writing runs/sweep-1\n8 runs: 8 finished\n")
    assert re.search(r"^name +best lr +training loss +validation accuracy +test accuracy$", out, re.MULTILINE)
    assert "cannot be told apart with 2 seeds" in out or " than " in out
    assert "wrote runs/sweep-1: sweep.json, runs.csv, curves.csv, sensitivity.png" in out
    assert len(rows("runs/sweep-1")) == 8
    again = re.search(r"^a run of the best setting again, as a run directory: minigrad (.*)$", out, re.MULTILINE)[1]
    assert run(capsys, *shlex.split(again))[0] == 0
    (winner,) = Path("runs").glob("moons-*")
    assert (winner / "record.jsonl").exists()
    last = list(csv.DictReader((winner / "metrics.csv").read_text().splitlines()))[-1]
    assert float(last["held_out_loss"]) in [float(row["validation_loss"]) for row in rows("runs/sweep-1")]

    before = rows("runs/sweep-1")
    assert "8 runs, 8 of them done before" in run(capsys, "sweep", "runs/sweep-1")[1]
    assert rows("runs/sweep-1") == before
    assert "12 runs, 8 of them done before" in run(capsys, "sweep", "runs/sweep-1", "--seeds", "0,1,5")[1]
    assert "3 runs;" in run(capsys, "sweep", "runs/sweep-1", "Lion", "--lr", "0.01", "--seeds", "3")[1]
    found = rows("runs/sweep-1")
    assert found[:8] == before
    assert [(row["optimizer"], row["seed"]) for row in found[12:]] == [("Lion", seed) for seed in "012"]
    assert {row["epochs"] for row in found} == {"3"}


def test_quiet_prints_only_the_results(capsys):
    status, out, _ = run(capsys, "sweep", "SGD", *SMALL, "--seeds", "1", "--quiet", "--no-output")
    assert status == 0
    assert out.startswith("1 run: 1 finished\n")
    assert os.listdir() == []


def test_options_in_a_file(capsys):
    Path("sweep.toml").write_text(
        'optimizers = ["SGD", "Adam:lr=0.01,0.02"]\nlr = "0.1..1:3"\nbetas = [0.8, 0.9]\nbatch_size = [16, 32]\n'
        'seeds = 1\nepochs = 1\ndata = "moons"\nmodel = "mlp:8"\nclip = "by_global_norm:1"\n'
    )
    assert run(capsys, "sweep", "--config", "sweep.toml")[0] == 0
    assert len(rows("runs/sweep-1")) == (3 + 2) * 2
    assert {row["betas"] for row in rows("runs/sweep-1")} == {"", "0.8,0.9"}
    assert run(capsys, "sweep", "Lion", "--config", "sweep.toml", "--lr", "0.01")[0] == 0
    assert [row["optimizer"] for row in rows("runs/sweep-2")] == ["Lion", "Lion"]


def test_the_options_of_a_run(capsys):
    words = ["--clip", "by_global_norm:1", "--clip", "by_value:-1,1", "--betas", "0.8,0.9", "--optimizer", "Adam"]
    assert run(capsys, "train", *SMALL, *words, "--quiet")[0] == 0
    words = ["--config", "runs/moons-adam-1/config.json", "--seeds", "1", "--validation", "0"]
    assert run(capsys, "sweep", "Adam", *words)[0] == 0
    last = list(csv.DictReader(Path("runs/moons-adam-1/metrics.csv").read_text().splitlines()))[-1]
    assert rows("runs/sweep-1")[0]["validation_loss"] == last["held_out_loss"]


def test_random_draws_and_hopeless_cells(capsys):
    words = ["--lr", "1e-4..1", "--random", "6", "--seeds", "3", "--stop-hopeless"]
    status, out, _ = run(capsys, "sweep", "SGD", *SMALL, *words)
    assert status == 0
    assert "18 runs: 15 finished, 3 stopped" in out
    assert len({row["lr"] for row in rows("runs/sweep-1")}) == 6


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "name the optimizers, such as SGD Adam, or the folder of a sweep"),
        (["Adm"], "unknown optimizer 'Adm'; did you mean 'Adam'?"),
        (["Adam", "--lrr", "1"], "unknown argument '--lrr'; did you mean '--lr'?"),
        (["Adam", "--lr", "0.1,x"], "argument --lr: must be a finite number of 0 or more, not '0.1,x'"),
        (["Adam", "--lr", "1e-4..1"], "lr: how many values? write 0.0001..1:9 for nine of them"),
        (["Adam", "--seeds", "0"], "argument --seeds: must be 1 or more"),
        (["Adam", "--seeds", "1,-2"], "argument --seeds: must be a whole number of 0 or more, not '-2'"),
        (["Adam", "--validation", "1"], "argument --validation: must be a fraction"),
        (["Adam", "--momentum", "0.9"], "none of the optimizers has the option momentum"),
        (["Adam", "--schedule", "StepLR"], "StepLR needs step_size"),
        (["Adam", "--executor", "dusk"], "unknown executor 'dusk'; known are processes"),
        (["Adam", "--seed", "3"], "did you mean '--seeds'?"),
        (["runs/nothing"], "runs/nothing: is not the folder of a sweep"),
        (["Adam", "--loss", "mse_loss"], "mse_loss needs numbers as labels"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_runs(capsys, words, problem):
    status, out, err = run(capsys, "sweep", *words, *SMALL)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert problem in err
    assert not list(Path().rglob("*.json"))


def test_another_problem_in_the_same_folder_is_refused(capsys):
    assert run(capsys, "sweep", "SGD", *SMALL, "--seeds", "1")[0] == 0
    status, _, err = run(capsys, "sweep", "runs/sweep-1", "--epochs", "4")
    assert status == 2
    assert "runs/sweep-1: holds a sweep with epochs 3, not 4" in err


def test_a_signal_leaves_what_is_done_and_says_how_to_continue(capsys, monkeypatch):
    words = ["sweep", "SGD", "--lr", "0.1,0.2", *SMALL, "--seeds", "3", "--threads", "1"]
    add = Store.add

    def then_stop(self, results):
        add(self, results)
        if len(self.results) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", then_stop)
        status, _, err = run(capsys, *words)
    assert (status, err) == (
        130, "interrupted; 4 of 6 runs are done and stored; continue with: minigrad sweep runs/sweep-1\n"
    )  # fmt: skip
    assert len(study.load_sweep("runs/sweep-1").table) == 4


def test_a_full_disk_leaves_what_is_done(capsys, monkeypatch):
    add = Store.add

    def full(self, results):
        if len(self.results) == 2:
            raise OSError(28, "No space left on device", "runs.csv")
        add(self, results)

    monkeypatch.setattr(Store, "add", full)
    status, _, err = run(capsys, "sweep", "SGD", *SMALL, "--seeds", "3")
    assert (status, err) == (
        1,
        "minigrad sweep: runs.csv: No space left on device; 2 of 3 runs are done and stored; continue with: minigrad "
        "sweep runs/sweep-1\n",
    )
