"""Run directories through the command line: what is in them, resuming, evaluating, comparing, options from files."""

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_tools import SMALL, run, train

from minigrad import cli, nn, study, training
from minigrad.training._run_directory import RunDirectory, plain_name

pytestmark = pytest.mark.usefixtures("own_folder")


def files(path):
    """What must be the same for the same run."""
    names = ("metrics.csv", "steps.jsonl", "model.safetensors")
    last = RunDirectory(path).last_checkpoint()
    return [Path(path, name).read_bytes() for name in names] + [last.read_bytes()]


# --- what a run leaves behind ----------------------------------------------------------------------------------------


def test_a_run_ends_by_naming_the_files_that_it_wrote(capsys):
    out = train(capsys)
    line = out.splitlines()[-1]
    assert line.startswith("wrote runs/moons-sgd-1: ")
    named = line.partition(": ")[2].split(", ")
    there = {path.relative_to("runs/moons-sgd-1").as_posix() for path in Path("runs").rglob("*") if path.is_file()}
    assert set(named) == there
    assert {"config.json", "metrics.csv", "steps.jsonl", "model.safetensors", "curves.png"} < there
    assert Path("runs/moons-sgd-1/curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_runs_are_numbered_and_never_overwritten(capsys):
    for number in (1, 2, 3):
        assert f"wrote elsewhere/mine-{number}:" in train(capsys, "--output", "elsewhere", "--name", "mine")
    assert sorted(os.listdir("elsewhere")) == ["mine-1", "mine-2", "mine-3"]


def test_without_output_nothing_is_written(capsys):
    train(capsys, "--no-output")
    assert os.listdir(".") == []


def test_quiet_prints_nothing(capsys):
    assert train(capsys, "--quiet") == ""
    assert Path("runs/moons-sgd-1/metrics.csv").exists()


def test_the_configuration_repeats_the_run(capsys):
    train(capsys, "--optimizer", "adam", "--betas", "0.8,0.95", "--clip", "by_value:0.5", "--clip", "by_norm:1,tensor")
    config = json.loads(Path("runs/moons-adam-1/config.json").read_text())
    assert config["seed"] == 0
    assert config["device"] == "cpu"
    assert {"python", "numpy", "numba", "minigrad"} <= set(config["versions"])
    assert config["arguments"]["lr"] == cli.OPTIMIZERS["Adam"]["lr"]
    status, _, err = run(capsys, "train", "--config", "runs/moons-adam-1/config.json")
    assert (status, err) == (0, "")
    assert files("runs/moons-adam-1") == files("runs/moons-adam-2")


def test_the_weights_are_those_of_the_trained_model_under_pytorchs_names(capsys):
    train(capsys)
    arrays, _ = training.read_tensors("runs/moons-sgd-1/model.safetensors")
    assert set(arrays) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    state = training.read_checkpoint(RunDirectory("runs/moons-sgd-1").last_checkpoint())
    assert all((arrays[name] == value).all() for name, value in state["model"].items())


@pytest.mark.slow
def test_the_number_of_threads_does_not_show_in_any_byte():
    """The model is large enough for parallel kernels, and for a matrix product on several threads."""
    size = ("--epochs", "1", "--model", "mlp:1000,1000", "--batch-size", "359", "--optimizer", "LAMB")
    for number, threads in enumerate(("1", "2")):
        options = ("--output", f"threads-{number}", "--threads", threads, "--quiet")
        subprocess.run(
            [sys.executable, "-m", "minigrad", "train", *size, *options],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            check=True,
        )
    assert files("threads-0/digits-lamb-1") == files("threads-1/digits-lamb-1")


def test_a_recorded_run_says_what_it_cost_in_the_words_of_the_command_and_what_to_do_next(capsys):
    out = train(capsys, "--record", "1", "--output", "my runs")
    assert re.search(r"; --record \d+ would bring it below 5%\n", out)
    assert "every=" not in out
    assert out.splitlines()[-1] == "for an HTML page: minigrad report 'my runs/moons-sgd-1'"
    assert run(capsys, "report", "my runs/moons-sgd-1", "--no-explain")[0] == 0
    assert "report.html" in RunDirectory("my runs/moons-sgd-1").files()
    out = run(capsys, "resume", "my runs/moons-sgd-1", "--epochs", "4")[1]
    assert out.splitlines()[-1].startswith("report.html is older than this; to update it: minigrad report ")
    assert "report.html" not in out.splitlines()[-2]  # which this command has not written


# --- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_a_run_stopped_by_ctrl_c_resumes_as_it_says_and_ends_with_the_same_bytes(capsys):
    options = ("--epochs", "100", "--optimizer", "adam", "--model", "mlp:16,dropout=0.3")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minigrad", "train", *SMALL, *options], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(" +2 ", line):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    ending = RunDirectory("runs/moons-adam-1").ending()
    assert (ending.state, ending.reason, f"after step {ending.step};" in err) == ("interrupted", "by Ctrl-C", True)
    said = re.fullmatch(r"interrupted after step \d+; continue with: minigrad (resume) (\S+)\n", err)
    status, out, _ = run(capsys, *said.groups())
    assert status == 0
    assert "continuing with epoch" in out
    train(capsys, *options)
    assert files("runs/moons-adam-1") == files("runs/moons-adam-2")


def test_a_complete_run_says_so_and_goes_on_with_more_epochs(capsys):
    train(capsys)
    status, out, _ = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 0
    assert "is complete after 3 epochs; give --epochs for more" in out
    assert run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "5")[0] == 0
    train(capsys, "--epochs", "5")
    assert files("runs/moons-sgd-1") == files("runs/moons-sgd-2")
    assert json.loads(Path("runs/moons-sgd-1/config.json").read_text())["arguments"]["epochs"] == 5


def test_a_schedule_as_long_as_the_run_cannot_be_made_longer(capsys):
    train(capsys, "--schedule", "CosineAnnealingLR")
    status, _, err = run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "5")
    assert status == 2
    assert "the schedule of lr was CosineAnnealing(T_max=3" in err
    assert err.count("\n") == 1


def test_a_damaged_last_checkpoint_is_named_with_the_one_before(capsys):
    train(capsys)
    last = RunDirectory("runs/moons-sgd-1").last_checkpoint()
    last.write_bytes(last.read_bytes()[:-1])
    status, _, err = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 2
    assert re.fullmatch(
        rf"minigrad resume: {last}: is damaged: .*; delete it to continue from step-\d+.safetensors\n", err
    )
    last.unlink()
    assert run(capsys, "resume", "runs/moons-sgd-1")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not readable JSON"),
        ("[1]", "is not the configuration of a run"),
        ('{"format": "minigrad run", "version": 2}', "was written by a newer minigrad"),
        ('{"format": "minigrad run", "version": 1}', "it has no arguments"),
        ('{"format": "minigrad run", "version": 1, "arguments": {"evil": 1}, "data": {}}', "unknown option 'evil'"),
        ('{"format": "minigrad run", "version": 1, "arguments": {"lr": "fast"}, "data": {}}', "must be a finite"),
        ('{"format": "minigrad run", "version": 1, "arguments": {"quiet": 1}, "data": {}}', "must be true or false"),
        ('{"format": "minigrad run", "version": 1, "arguments": {}, "data": {}}', "the data of the run had other name"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_configuration_is_an_error_of_one_line(capsys, text, message):
    train(capsys)
    Path("runs/moons-sgd-1/config.json").write_text(text)
    for command in ("resume", "evaluate"):
        status, _, err = run(capsys, command, "runs/moons-sgd-1")
        assert status == 2
        assert message in err
        assert err.count("\n") == 1


def test_a_run_whose_data_changed_does_not_go_on(capsys):
    train(capsys)
    config = Path("runs/moons-sgd-1/config.json")
    config.write_text(config.read_text().replace('"moons"', '"moons:noise=0.3"', 1))
    status, _, err = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 2
    assert "the data of the run had other" in err


# --- evaluating and comparing ----------------------------------------------------------------------------------------


def test_evaluate_gives_the_metrics_of_the_last_row_and_of_the_best(capsys):
    train(capsys)
    rows = list(csv.DictReader(Path("runs/moons-sgd-1/metrics.csv").read_text().splitlines()))
    _, out, _ = run(capsys, "evaluate", "runs/moons-sgd-1")
    assert f"held-out loss: {float(rows[-1]['held_out_loss']):.6g}" in out
    best = max(rows, key=lambda row: float(row["held_out_accuracy"]))
    _, out, _ = run(capsys, "evaluate", "runs/moons-sgd-1", "--checkpoint", "best")
    assert f"held-out loss: {float(best['held_out_loss']):.6g}" in out


def test_evaluate_refuses_the_weights_of_another_model(capsys):
    train(capsys)
    training.save_weights("runs/moons-sgd-1/model.safetensors", nn.MLP([2, 9, 2]))
    status, _, err = run(capsys, "evaluate", "runs/moons-sgd-1")
    assert status == 2
    assert "runs/moons-sgd-1/model.safetensors: " in err
    assert "misshapen: 0.weight" in err


def test_compare_trains_from_the_same_parameters_on_the_same_batches(capsys):
    names = ["SGD", "Adam:lr=0.01,betas=(0.8,0.9)"]
    words = ["compare", *names, *SMALL, "--weight-decay", "0.01", "--seeds", "2"]
    status, out, err = run(capsys, *words)
    assert (status, err) == (0, "")
    assert "the same initial parameters and batches for all, seed by seed" in out
    assert "Adam(lr=0.01, betas=(0.8, 0.9), weight_decay=0.01)" in out
    assert "SGD and Adam:lr=0.01,betas=(0.8,0.9) cannot be told apart with 2 seeds" in out
    assert {path.name for path in Path("runs/compare-1").iterdir()} == {
        "comparison.csv", "comparison.png", "curves.csv", "runs.csv", "sweep.json",
    }  # fmt: skip
    rows = list(csv.DictReader(Path("runs/compare-1/comparison.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == names
    assert [float(row["lr"]) for row in rows] == [0.2, 0.01]
    assert [int(row["seeds"]) for row in rows] == [2, 2]
    assert 0 < float(rows[0]["test_accuracy"]) <= 1
    train(capsys, "--weight-decay", "0.01", "--validation", "0.2", "--seed", "1")
    metrics = list(csv.DictReader(Path("runs/moons-sgd-1/metrics.csv").read_text().splitlines()))
    found = study.load_sweep("runs/compare-1")
    assert [row["validation_loss"] for row in found.curve(1)] == [float(row["held_out_loss"]) for row in metrics]


def test_compare_shows_divergence_as_a_value(capsys):
    status, out, err = run(capsys, "compare", "SGD", "SGD:lr=1e30", "Adam", *SMALL, "--seeds", "1")
    assert (status, err) == (0, "")
    assert re.search(r"^SGD:lr=1e30 .* diverged .* 100%$", out, re.MULTILINE)
    rows = list(csv.DictReader(Path("runs/compare-1/comparison.csv").read_text().splitlines()))
    assert [row["diverged"] for row in rows] == ["0", "1", "0"]


def test_compare_tunes_the_rate_by_validation(capsys):
    status, out, err = run(capsys, "compare", "SGD", "Adam", *SMALL, "--tune", "--seeds", "2", "--quiet")
    assert (status, err) == (0, "")
    assert "best lr" in out
    assert "runs;" not in out  # only the results
    found = study.load_sweep("runs/compare-1")
    assert len(found.table) == 2 * 9 * 2
    rows = {row["name"]: row for row in csv.DictReader(Path("runs/compare-1/comparison.csv").read_text().splitlines())}
    for each in found.results.selected():
        assert float(rows[each.label]["lr"]) == each.cell.settings["lr"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["SGD:lr=0.1,0.2"], "SGD:lr=0.1,0.2: lr has several values, which minigrad sweep takes"),
        (["SGD", "--tune", "--lr", "0.1"], "--tune chooses the learning rate"),
        (["SGD", "SGD"], "two of the names are the same"),
        (["SGD", "runs/nothing"], "runs/nothing: no such folder"),
        (["SGD", "--executor", "dusk"], "unknown executor 'dusk'"),
    ],
)
def test_compare_refuses(capsys, words, problem):
    status, _, err = run(capsys, "compare", *words, *SMALL)
    assert (status, err.count("\n")) == (2, 1)
    assert problem in err
    assert not Path("runs").exists()


def test_compare_refuses_runs_on_other_problems(capsys):
    train(capsys)
    train(capsys, "--seed", "1")
    status, _, err = run(capsys, "compare", "runs/moons-sgd-1", "runs/moons-sgd-2")
    assert status == 2
    assert "has seed 0, but runs/moons-sgd-2 has 1; compare runs on the same problem" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "others", [[], ["--record", "5"], ["--record", "5", "--patience", "3", "--checkpoint-every", "4"]]
)
def test_every_command_reads_a_run_whatever_callbacks_it_had(capsys, others):
    train(capsys, "--name", "bare")
    train(capsys, *others, "--optimizer", "Adam", "--name", "other")
    for words in (
        *(["evaluate", "runs/other-1"], ["evaluate", "runs/other-1", "--checkpoint", "best"], ["list", "runs"]),
        *(
            ["explain", "runs/other-1", "--param", "0.weight[0,0]"],
            ["report", "runs/other-1"],
            ["resume", "runs/other-1"],
        ),
        ["compare", "runs/other-1", "runs/bare-1", "RAdam", *SMALL],
        ["resume", "runs/other-1", "--epochs", "4"],
        *(["explain", "runs/other-1", "--param", "0.weight[0,0]"], ["report", "runs/other-1"]),
    ):
        status, _, err = run(capsys, *words)
        assert (status, err) == (0, ""), words
    rows = list(csv.DictReader(Path("runs/compare-1/comparison.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["other-1", "bare-1", "RAdam"]


def test_compare_tells_runs_of_one_name_in_two_folders_apart(capsys):
    for folder in ("a", "b"):
        train(capsys, "--output", folder)
    assert run(capsys, "compare", "a/moons-sgd-1", "b/moons-sgd-1")[0] == 0
    rows = list(csv.DictReader(Path("runs/compare-1/comparison.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["a/moons-sgd-1", "b/moons-sgd-1"]
    assert "two of the names are the same" in run(capsys, "compare", "a/moons-sgd-1", "a/moons-sgd-1")[2]


def test_evaluate_reads_no_weights_from_before_a_run_went_on(capsys):
    train(capsys)
    Path("runs/moons-sgd-1/end.json").unlink()  # as where the process that resumed it was killed
    assert "step-000000030.safetensors on " in run(capsys, "evaluate", "runs/moons-sgd-1")[1]


def test_compare_refuses_a_run_that_has_finished_no_epoch_and_one_whose_data_changed(capsys, monkeypatch):
    train(capsys)
    train(capsys, "--optimizer", "Adam")
    config = Path("runs/moons-sgd-1/config.json")
    text = config.read_text()
    config.write_text(re.sub(r'"sha256": "\w+"', '"sha256": "0"', text))
    status, _, err = run(capsys, "compare", "runs/moons-sgd-1", "runs/moons-adam-1")
    assert status == 2
    assert "runs/moons-sgd-1: the data of the run had other values" in err
    config.write_text(text)
    for path in Path("runs/moons-sgd-1/checkpoints").iterdir():
        path.unlink()
    fresh = RunDirectory("runs/moons-sgd-1")
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda run, epochs: (_ for _ in ()).throw(OSError(28, "full")))
        run(capsys, "train", *SMALL, "--name", "stopped")
    shutil.copytree("runs/stopped-1/checkpoints", fresh.checkpoints, dirs_exist_ok=True)
    status, _, err = run(capsys, "compare", "runs/moons-sgd-1", "runs/moons-adam-1")
    assert status == 2
    assert "runs/moons-sgd-1: has not finished an epoch yet" in err


# --- options from files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("o.toml", 'optimizer = "adam"\nlr = 0.02\nbatch-size = 16\nbetas = [0.8, 0.9]\namsgrad = true\nquiet = false'),
        ("o.json", '{"optimizer": "adam", "lr": 0.02, "batch_size": 16, "betas": [0.8, 0.9], "amsgrad": true}'),
    ],
)
def test_options_come_from_a_file_and_the_command_line_wins(capsys, name, text):
    Path(name).write_text(text)
    out = run(capsys, "train", *SMALL[:-2], "--config", name, "--lr", "0.03", "--no-amsgrad")[1]
    assert "Adam(lr=0.03, betas=(0.8, 0.9))" in out
    config = json.loads(Path("runs/moons-adam-1/config.json").read_text())
    assert config["arguments"]["batch_size"] == 16


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("o.toml", "epocs = 3", "o.toml: unknown option 'epocs'; did you mean 'epochs'?"),
        ("o.toml", "epochs = 0", "o.toml: epochs: must be a whole number of 1 or more, not '0'"),
        ("o.toml", "epochs = ", "o.toml: cannot be read"),
        ("o.toml", "quiet = 3", "o.toml: quiet must be true or false"),
        ("o.toml", "[epochs]\nx = 1", "o.toml: epochs must be a number, a word"),
        ("o.json", "{", "o.json: cannot be read"),
        ("o.json", "[]", "o.json: must hold a table of options"),
        ("o.json", '{"config": "o.json"}', "o.json: unknown option 'config'"),
        ("o.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_file_of_options_is_named_with_what_is_wrong(capsys, name, text, message):
    Path(name).write_text(text)
    status, out, err = run(capsys, "train", "--config", name)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


# --- what goes wrong while it trains ---------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(0, 20, 2))
def test_a_full_disk_is_a_message_and_leaves_a_run_that_resumes(capsys, monkeypatch, calls):
    """The disk is full after so many files have been flushed: at the beginning, in any epoch, at the end."""
    train(capsys)
    fsync, count = os.fsync, [0]

    def full(handle):
        count[0] += 1
        if count[0] > calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = run(capsys, "train", *SMALL, "--output", "full")
    monkeypatch.setattr(os, "fsync", fsync)
    assert status in (1, 2)
    assert "No space left on device" in err
    assert err.count("\n") == 1
    assert list(Path("full").glob("**/.*")) == []
    if status == 2:  # nothing had begun
        assert os.listdir("full") == []
        return
    assert "the last good checkpoint is full/moons-sgd-1/checkpoints/step-" in err
    assert RunDirectory("full/moons-sgd-1").ending() is None  # which the full disk did not take either
    assert run(capsys, "resume", "full/moons-sgd-1")[0] == 0
    assert files("full/moons-sgd-1") == files("runs/moons-sgd-1")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_message(capsys):
    Path("locked").mkdir(mode=0o500)
    status, _, err = run(capsys, "train", *SMALL, "--output", "locked")
    assert (status, err) == (2, "minigrad train: locked: cannot write: Permission denied\n")


def test_an_output_folder_that_is_a_file_is_a_message(capsys):
    Path("file").write_text("")
    for folder in ("file", "file/below"):
        status, _, err = run(capsys, "train", *SMALL, "--output", folder)
        assert status == 2
        assert f"minigrad train: {folder}: cannot write: " in err
        assert err.count("\n") == 1


def test_a_read_only_file_system_is_a_message(capsys, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "runs")

    monkeypatch.setattr(Path, "mkdir", refuse)
    status, _, err = run(capsys, "train", *SMALL)
    assert (status, err) == (2, "minigrad train: runs: cannot write: Read-only file system\n")


def test_a_folder_without_the_files_of_mnist_says_what_it_looked_for(capsys):
    Path("empty").mkdir()
    status, _, err = run(capsys, "train", "--data", "./empty")
    assert status == 2
    assert "empty: has no train images; looked for train-images-idx3-ubyte" in err


def test_a_dataset_that_is_gone_when_a_run_is_resumed_is_a_message(capsys):
    from minigrad import data

    digits = data.load_digits()
    for part in ("train", "t10k"):
        pixels = (digits.features[:60] * 255).astype(np.uint8)
        Path("mnist").mkdir(exist_ok=True)
        Path(f"mnist/{part}-images-idx3-ubyte").write_bytes(
            bytes([0, 0, 8, 3]) + np.array([60, 8, 8], ">u4").tobytes() + pixels.tobytes()
        )
        Path(f"mnist/{part}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + np.array([60], ">u4").tobytes() + digits.labels[:60].astype(np.uint8).tobytes()
        )
    assert run(capsys, "train", "--data", "./mnist", "--epochs", "1")[0] == 0
    shutil.rmtree("mnist")
    status, _, err = run(capsys, "resume", "runs/mnist-sgd-1", "--epochs", "2")
    assert status == 2
    assert "./mnist: no such folder" in err


@pytest.mark.parametrize("rate", ["1e30", "300"])
def test_a_rate_that_diverges_ends_with_status_1_and_keeps_the_last_good_checkpoint(capsys, rate):
    status, _, err = run(capsys, "train", *SMALL, "--lr", rate, "--epochs", "50", "--optimizer-option", "momentum=0.99")
    assert status == 1
    assert re.search(r"the loss (is (nan|inf) at step \d+|has diverged: )", err)
    assert "try a smaller --lr; the last good checkpoint is runs/moons-sgd-1/checkpoints/step-" in err
    last = RunDirectory("runs/moons-sgd-1").last_checkpoint()
    assert all(np.isfinite(value).all() for value in training.read_checkpoint(last)["model"].values())


def test_list_shows_what_the_classes_themselves_take(capsys):
    import inspect

    from minigrad import optim

    out = run(capsys, "list")[1]
    for name in set(cli.OPTIMIZERS) - {"Lookahead"}:
        for parameter in inspect.signature(getattr(optim, name)).parameters.values():
            if parameter.name not in ("params", "clip") and isinstance(parameter.default, int | float):
                assert re.search(rf"  {name}\(.*\b{parameter.name}={re.escape(repr(parameter.default))}", out)
    for word in ("digits()", "StepLR(step_size, gamma=0.1)", "by_global_norm(max_norm", "Lookahead(k=5, alpha=0.5"):
        assert word in out


def test_devices_names_cores_threads_and_what_there_is_of_cuda(capsys):
    status, out, _ = run(capsys, "devices")
    assert status == 0
    assert re.search(r"cpu: \d+ cores for this process, \d+ threads", out)
    assert re.search(r"numba \d", out)
    assert re.search(r"^cuda: ", out, re.MULTILINE)


def test_a_warm_up_begins_above_zero_and_ends_at_the_rate(capsys):
    train(capsys, "--lr", "0.3", "--warmup", "2", "--epochs", "3")
    steps = [json.loads(line) for line in Path("runs/moons-sgd-1/steps.jsonl").read_text().splitlines()]
    rates = {step["epoch"]: step["lr"] for step in steps}
    assert [rates[epoch] for epoch in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.3])


def test_a_folder_of_runs_names_those_in_it(tmp_path):
    for name in ("adam-1", "sgd-1", "notes"):
        (tmp_path / name).mkdir()
    for name in ("adam-1", "sgd-1"):
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json; the runs in it are adam-1, sgd-1$"):
        RunDirectory.open(tmp_path)


def test_a_run_has_the_name_of_its_data_as_far_as_it_can_be_one():
    assert plain_name("my data-sgd") == "my-data-sgd"
    assert plain_name("../<b>x</b>-adam") == "b-x-b--adam"
    assert plain_name("…") == "run"
