"""Signals: a command finishes its step, saves, says how it ended, and can be gone on with to the same bytes."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_tools import SMALL, run, train
from kill_harness import no_fsync

from minigrad import cli, data, study, training
from minigrad.study.sweeps.store import Store
from minigrad.training._run_directory import RunDirectory

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
]
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
REASONS = {signal.SIGINT: "by Ctrl-C", signal.SIGTERM: "by SIGTERM", signal.SIGHUP: "by SIGHUP"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What takes most of the time is not looked at here: nothing is flushed, and no picture drawn."""
    monkeypatch.setattr(os, "fsync", no_fsync)
    monkeypatch.setattr(study.plots, "metrics", lambda history, path: Path(path).write_bytes(b""))


@pytest.fixture(autouse=True)
def harmless():
    """A signal that the command does not handle fails a test, and does not end the tests."""

    def unhandled(number, frame):
        raise RuntimeError(f"{signal.Signals(number).name} was not handled")

    before = {number: signal.signal(number, unhandled) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(*numbers, apart=0.0):
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(apart)


@pytest.fixture
def in_step(monkeypatch):
    """Does something when a run of the command has taken a step of that number, once; a stretch of steps ends there."""

    def at(step, act):
        before = {name: getattr(training.RunLog, name) for name in ("stretch", "after_step", "after_stretch")}

        def call(name):
            def then(self, run, *steps):
                before[name](self, run, *steps)
                if run.progress.step == step:
                    for each, function in before.items():
                        monkeypatch.setattr(training.RunLog, each, function)
                    act()

            return then

        monkeypatch.setattr(training.RunLog, "stretch", lambda self, run: max(step - run.progress.step, 0) or None)
        for name in ("after_step", "after_stretch"):
            monkeypatch.setattr(training.RunLog, name, call(name))

    return at


def bytes_of(path):
    directory = RunDirectory(path)
    files = [directory.path / name for name in ("steps.jsonl", "metrics.csv", "end.json")]
    return [file.read_bytes() for file in [*files, directory.weights, directory.last_checkpoint()]]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_a_run_after_its_step_with_a_checkpoint_an_end_and_the_usual_status(capsys, in_step, number):
    train(capsys, "--name", "whole")
    before = [signal.getsignal(each) for each in NUMBERS]
    in_step(7, lambda: send(number))
    status, _, err = run(capsys, "train", *SMALL, "--name", "cut")
    assert status == 128 + number
    by = "" if number == signal.SIGINT else f" {REASONS[number]}"
    assert err == f"interrupted{by} after step 7; continue with: minigrad resume runs/cut-1\n"
    directory = RunDirectory("runs/cut-1")
    assert directory.last_checkpoint().name == "step-000000007.safetensors"
    ending = directory.ending()
    assert (ending.state, ending.step, ending.reason) == ("interrupted", 7, REASONS[number])
    assert directory.weights.exists()
    assert [signal.getsignal(each) for each in NUMBERS] == before
    in_step(13, lambda: send(number))
    assert run(capsys, "resume", "runs/cut-1")[0] == 128 + number
    assert directory.ending().step == 13
    assert run(capsys, "resume", "runs/cut-1")[0] == 0
    assert bytes_of("runs/cut-1") == bytes_of("runs/whole-1")


@pytest.mark.parametrize("second", NUMBERS)
def test_a_second_signal_ends_it_at_once_and_the_run_goes_on_from_its_checkpoint(capsys, in_step, second):
    train(capsys, "--name", "whole")
    in_step(7, lambda: send(signal.SIGTERM, second, apart=0.15))
    status, _, err = run(capsys, "train", *SMALL, "--name", "cut")
    assert status == 128 + second
    assert re.fullmatch(r"interrupted( by SIG\w+)?; continue with: minigrad resume runs/cut-1\n", err)
    directory = RunDirectory("runs/cut-1")
    assert directory.last_checkpoint().name == "step-000000000.safetensors"
    assert (directory.ending().state, directory.ending().reason) == ("interrupted", REASONS[second])
    assert run(capsys, "resume", "runs/cut-1")[0] == 0
    assert bytes_of("runs/cut-1") == bytes_of("runs/whole-1")


def test_a_signal_that_comes_twice_at_once_is_one(capsys, in_step):
    """A wrapper passes on the Ctrl-C that the terminal has sent to its whole group."""
    in_step(7, lambda: send(signal.SIGINT, signal.SIGINT))
    assert run(capsys, "train", *SMALL)[0] == 130
    assert RunDirectory("runs/moons-sgd-1").last_checkpoint().name == "step-000000007.safetensors"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_before_training_ends_the_command_and_leaves_nothing(capsys, monkeypatch, number):
    monkeypatch.setattr(data, "stratified_split", lambda *_: send(number))
    status, _, err = run(capsys, "train")
    assert (status, err) == (128 + number, "interrupted\n")
    assert os.listdir(".") == []


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(capsys, in_step, number):
    """As SIGINT in a script's background, and SIGHUP under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        in_step(7, lambda: send(number))
        assert run(capsys, "train", *SMALL)[0] == 0
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_the_command_runs_in_another_thread_and_touches_no_handler_there(in_step):
    before = [signal.getsignal(each) for each in NUMBERS]
    seen, found = [], []
    in_step(7, lambda: seen.extend(signal.getsignal(each) for each in NUMBERS))
    thread = threading.Thread(target=lambda: found.append(cli.main(["train", *SMALL, "--quiet"])))
    thread.start()
    thread.join()
    assert found == [0]
    assert seen == before


def test_a_signal_while_the_weights_are_written_leaves_a_run_that_resumes(capsys, monkeypatch):
    save = training.save_weights

    def interrupted(path, model):
        monkeypatch.setattr(training, "save_weights", save)
        send(signal.SIGTERM)

    train(capsys, "--name", "whole")
    monkeypatch.setattr(training, "save_weights", interrupted)
    assert run(capsys, "train", *SMALL, "--name", "cut")[0] == 143
    assert RunDirectory("runs/cut-1").ending().state == "interrupted"
    assert run(capsys, "resume", "runs/cut-1")[0] == 0
    assert bytes_of("runs/cut-1") == bytes_of("runs/whole-1")


def test_a_comparison_says_how_to_go_on_with_all_of_it(capsys, monkeypatch):
    words = ["SGD", "Adam:lr=0.01,betas=(0.8,0.9)", "RAdam", *SMALL, "--weight-decay", "0.01", "--threads", "1"]
    words += ["--seeds", "1"]
    assert run(capsys, "compare", *words, "--name", "whole")[0] == 0
    add = Store.add

    def then_stop(self, results):
        add(self, results)
        send(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", then_stop)
        status, _, err = run(capsys, "compare", *words, "--name", "my compare")
    assert status == 143
    again = re.fullmatch(r"interrupted; 1 of 3 runs are done and stored; continue with: minigrad (.*)\n", err)[1]
    status, _, err = run(capsys, *shlex.split(again))
    assert (status, err) == (0, "")
    whole, parts = (study.load_sweep(f"runs/{name}") for name in ("whole-1", "my compare-1"))
    assert [{**row, "seconds": 0} for row in whole.table] == [{**row, "seconds": 0} for row in parts.table]


# --- in processes of their own ---------------------------------------------------------------------------------------


def started(*before, **options):
    """A run in a process, after its first epoch."""
    process = subprocess.Popen(
        [*before, sys.executable, "-u", "-m", "minigrad", "train", *SMALL, "--epochs", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("    1 "):
            return process
    raise AssertionError(process.stderr.read())


def test_sigterm_ends_a_process_with_its_status():
    process = started()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert re.fullmatch(
        r"interrupted by SIGTERM after step \d+; continue with: minigrad resume runs/moons-sgd-1\n", err
    )


def test_the_first_process_of_a_container_ends_by_sigterm():
    """The kernel drops what process 1 does not handle."""
    unshare = [shutil.which("unshare") or "", "--pid", "--fork", "--kill-child"]
    if not unshare[0] or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs unshare, and the right to make a PID namespace")
    process = started(*unshare)
    inner = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    os.kill(inner, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert RunDirectory("runs/moons-sgd-1").ending().reason == "by SIGTERM"


@pytest.mark.slow
def test_a_terminal_that_closes_ends_a_run_as_a_signal_does(tmp_path):
    import pty

    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "minigrad", "train", *SMALL, "--epochs", "1000000", "--quiet"])
    steps = Path("runs/moons-sgd-1/checkpoints/step-000000010.safetensors")
    for _ in range(600):
        if steps.exists():
            break
        time.sleep(0.1)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert RunDirectory("runs/moons-sgd-1").ending().reason == "by SIGHUP"
