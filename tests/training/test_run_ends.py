"""How runs ended: what ``end.json`` says of it, what resume and list tell, and runs that could not say anything."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import SMALL, run, train

from minigrad import training
from minigrad.training._run_directory import Ending, RunDirectory

pytestmark = pytest.mark.usefixtures("own_folder")


def test_a_finished_run_says_so_and_one_that_stopped_early_says_why(capsys):
    train(capsys)
    assert RunDirectory("runs/moons-sgd-1").ending() == Ending("finished", 3, 30)
    train(capsys, "--patience", "1", "--epochs", "90")
    ending = RunDirectory("runs/moons-sgd-2").ending()
    assert ending.state == "stopped"
    assert ending.reason == "held_out_accuracy has not improved for 1 epoch"
    assert 0 < ending.epoch < 90
    assert ending.step == 10 * ending.epoch


def test_a_run_whose_loss_is_not_finite_says_where_it_became_so(capsys):
    _, _, err = run(capsys, "train", *SMALL, "--lr", "1e30")
    ending = RunDirectory("runs/moons-sgd-1").ending()
    assert (ending.state, ending.error) == ("diverged", "NonFiniteLossError")
    assert ending.reason.startswith("the loss is ")
    assert ending.reason in err
    status, out, _ = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 1
    assert f"runs/moons-sgd-1: {ending}; the same steps lead to the same end" in out


def test_an_error_that_is_no_message_is_in_the_run_directory_too(capsys, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(training.Run, "evaluation", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(capsys, "train", *SMALL)
    assert RunDirectory("runs/moons-sgd-1").ending() == Ending("failed", 0, 10, "out of luck", "RuntimeError")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_run_that_was_killed_has_no_end_even_where_it_had_one_before(capsys):
    train(capsys)
    path = RunDirectory("runs/moons-sgd-1")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minigrad", "resume", str(path.path), "--epochs", "100000"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(" +5 ", line):
            break
    process.kill()
    process.communicate(timeout=60)
    assert path.ending() is None
    out = run(capsys, "list", "runs")[1]
    assert re.search(r"^moons-sgd-1 .* ended without a word: killed, or still running$", out, re.MULTILINE)
    status, out, _ = run(capsys, "resume", str(path.path), "--epochs", "100")
    assert status == 0
    assert "runs/moons-sgd-1: ended without a word: killed, or still running" in out


@pytest.mark.skipif(os.name != "posix", reason="locks files")
def test_a_run_that_another_process_writes_keeps_its_end(capsys):
    import fcntl

    train(capsys)
    before = RunDirectory("runs/moons-sgd-1").ending()
    with Path("runs/moons-sgd-1/steps.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another process" in run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "9")[2]
    assert RunDirectory("runs/moons-sgd-1").ending() == before


def ending_with(**values):
    """The text of an end that says something else in places."""
    good = {"format": "minigrad end", "version": 1, "state": "failed", "epoch": 1, "step": 1, "reason": "", "error": ""}
    return json.dumps(good | values)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[" * 100_000, '{"format": "minigrad end"}', ending_with(format="minigrad run")),
        *(ending_with(version=2), ending_with(state="happy"), ending_with(epoch=-1), ending_with(step=True)),
        *(ending_with(reason=7), ending_with(error=None)),
    ],
)
def test_a_damaged_end_is_an_error_of_one_line_and_nothing_needs_it(capsys, text):
    train(capsys)
    path = Path("runs/moons-sgd-1/end.json")
    path.write_text(text)
    status, _, err = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 2
    assert err.startswith("minigrad resume: runs/moons-sgd-1/end.json: ")
    assert err.count("\n") == 1
    assert "runs/moons-sgd-1/end.json: " in run(capsys, "list", "runs")[1]
    path.unlink()
    status, out, _ = run(capsys, "list", "runs")
    assert status == 0
    assert out.splitlines()[1].endswith("finished")  # as a run of an older minigrad, which had no such file
    assert run(capsys, "resume", "runs/moons-sgd-1")[0] == 0


def test_list_shows_the_runs_of_a_folder_in_order_and_those_of_folders_in_it(capsys):
    for number in (1, 2, 10):
        train(capsys, "--quiet")
        Path("runs/moons-sgd-1").rename(f"runs/r-{number}")
    train(capsys, "--quiet", "--output", "runs/more")
    Path("runs/notes").mkdir()
    status, out, _ = run(capsys, "list", "runs")
    assert status == 0
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["more/moons-sgd-1", "r-1", "r-2", "r-10"]
    metrics = list(csv.DictReader(Path("runs/r-1/metrics.csv").read_text().splitlines()))
    best = max(float(row["held_out_accuracy"]) for row in metrics)
    assert rows[1][1:] == ["SGD", "3/3", "held-out", "accuracy", f"{best:.2%}", "finished"]
    assert run(capsys, "list", "runs/r-10")[1].splitlines()[1].startswith("r-10 ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["runs"], "runs: no such folder"),
        (["some/where"], "some/where: no such folder"),
        (["optimisers"], "did you mean 'optimizers'?"),
        (["empty"], "empty: contains no run"),
        (["optimizers", "empty"], "empty is a folder of runs; list it by itself"),
    ],
)
def test_list_refuses_what_is_neither_section_nor_folder_of_runs(capsys, words, problem):
    Path("empty").mkdir()
    status, _, err = run(capsys, "list", *words)
    assert status == 2
    assert problem in err
