"""Runs that fail while they are resumed, what killed processes leave behind, and commands that meet on one run."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_tools import SMALL, run, train
from kill_harness import at_moment, no_fsync
from training_cases import Case

from minigrad import files, study, training
from minigrad.training._run_directory import RunDirectory
from minigrad.training.logs import AppendedFile, ShortFileError

pytestmark = pytest.mark.usefixtures("own_folder")
posix = pytest.mark.skipif(os.name != "posix", reason="locks files")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What takes most of the time is not looked at here: nothing is flushed, and no picture drawn."""
    monkeypatch.setattr(os, "fsync", no_fsync)
    monkeypatch.setattr(study.plots, "metrics", lambda history, path: Path(path).write_bytes(b""))


LOGS = ("steps.jsonl", "metrics.csv", "record.jsonl")


def lengths(path):
    """What the last checkpoint says that the logs hold."""
    found = {}
    for each in training.read_checkpoint(RunDirectory(path).last_checkpoint())["callbacks"]:
        found |= each.get("lengths", {})
        found |= {"record.jsonl": each["length"]} if "length" in each else {}
    return found


def contents(path):
    path = Path(path)
    return {name: (path / name).read_bytes() for name in (*LOGS, "model.safetensors") if (path / name).exists()}


# --- logs that were cut ----------------------------------------------------------------------------------------------


def test_a_file_that_was_cut_has_the_length_that_it_was_cut_to(tmp_path):
    (tmp_path / "log").write_bytes(b"0123456789")
    file = AppendedFile(tmp_path / "log")
    file.cut(4)
    assert file.synced() == 4
    file.write("ab")
    assert file.synced() == 6
    file.close()
    assert (tmp_path / "log").read_bytes() == b"0123ab"


@pytest.mark.parametrize("name", LOGS)
def test_a_run_resumed_and_stopped_before_its_first_step_still_resumes(capsys, name):
    words = ("--record", "4", "--epochs", "2")
    train(capsys, *words, "--name", "whole", "--epochs", "3")
    train(capsys, *words, "--name", "cut")
    with Path("runs/cut-1", name).open("ab") as file:
        file.write(b'{"step": 21, "what a kill": "after the last checkpoint has left"}\n')
    assert run(capsys, "resume", "runs/cut-1")[0] == 0
    assert {each: Path("runs/cut-1", each).stat().st_size for each in LOGS} == lengths("runs/cut-1")
    status, _, err = run(capsys, "resume", "runs/cut-1", "--epochs", "3")
    assert (status, err) == (0, "")
    assert contents("runs/cut-1") == contents("runs/whole-1")


def test_a_fit_that_goes_on_and_ends_at_once_saves_the_lengths_of_its_logs(tmp_path):
    case = Case(tmp_path / "run")
    case.go(2)
    for name in ("steps.jsonl", "metrics.csv"):
        with (tmp_path / "run" / name).open("ab") as file:
            file.write(b"more")
    for _ in range(3):
        again = Case(tmp_path / "run")
        again.go(2, resume=again.last())
    whole = Case(tmp_path / "whole")
    whole.go(4)
    again = Case(tmp_path / "run")
    again.go(4, resume=again.last())
    assert again.files() == whole.files()


def test_a_recorder_that_goes_on_and_ends_at_once_keeps_its_file(tmp_path):
    def recorded(folder, epochs, resume=None):
        case = Case(folder)
        recorder = study.Recorder(case.model, case.optimizer, 2, path=folder / "record.jsonl")
        case.go(epochs, resume=resume, callbacks=[recorder])
        return case

    case = recorded(tmp_path / "run", 2)
    with (tmp_path / "run" / "record.jsonl").open("ab") as file:
        file.write(b"more")
    for epochs in (2, 2, 4):
        recorded(tmp_path / "run", epochs, case.last())
    recorded(tmp_path / "whole", 4)
    both = [(tmp_path / name / "record.jsonl").read_bytes() for name in ("run", "whole")]
    assert both[0] == both[1]


@pytest.mark.parametrize("moment", range(1, 12, 2))
def test_an_error_at_any_moment_of_resuming_leaves_a_run_that_resumes(capsys, moment):
    """Twice, with different errors, before the first step and a little after it."""
    train(capsys, "--record", "4", "--name", "whole", "--epochs", "2", "--quiet")
    train(capsys, "--record", "4", "--name", "cut", "--epochs", "1", "--quiet")
    for name in LOGS:
        with Path("runs/cut-1", name).open("ab") as file:
            file.write(b"more")

    def fail():
        raise OSError(5, "Input/output error")

    def interrupt():
        raise KeyboardInterrupt

    for act, status in ((fail, 1), (interrupt, 130)):
        with at_moment(moment, act):
            assert run(capsys, "resume", "runs/cut-1", "--epochs", "2", "--quiet")[0] in (0, 1, 2, status)
    assert run(capsys, "resume", "runs/cut-1", "--epochs", "2", "--quiet")[0] == 0
    assert contents("runs/cut-1") == contents("runs/whole-1")
    assert list(Path("runs").glob("**/.*")) == []


def shortened(capsys, *words):
    """A run whose last checkpoint says that a log held more than it does, as an older minigrad has left them."""
    train(capsys, *words, "--name", "short")
    path = Path("runs/short-1")
    steps = path / "steps.jsonl"
    with steps.open("ab") as file:
        file.write(b"x" * 100)
    tell = AppendedFile._size
    AppendedFile._size = lambda self: self._file.tell()  # the fault that it had
    try:
        resumed = run(capsys, "resume", str(path))
    finally:
        AppendedFile._size = tell
    assert resumed[0] == 0
    assert lengths(path)["steps.jsonl"] == steps.stat().st_size + 100
    return path


def test_a_refused_checkpoint_says_how_to_go_on_and_what_is_lost(capsys):
    train(capsys, "--name", "whole", "--epochs", "4")
    path = shortened(capsys)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    status, _, err = run(capsys, "resume", str(path), "--epochs", "4")
    last, older = RunDirectory(path).last_checkpoint(), path / "checkpoints/step-000000020.safetensors"
    assert status == 2
    assert "steps.jsonl: holds " in err
    assert f"; the steps since {older.name} can be trained again bit for bit; " in err
    assert err.endswith(f"; delete {last} to continue from {older.name}\n")
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    last.unlink()
    assert run(capsys, "resume", str(path), "--epochs", "4")[0] == 0
    assert contents(path) == contents("runs/whole-1")


def test_where_only_the_best_checkpoint_is_left_a_run_goes_on_from_that(capsys):
    train(capsys, "--name", "whole", "--epochs", "4")
    path = shortened(capsys, "--keep", "1")
    last = RunDirectory(path).last_checkpoint()
    assert f"delete {last} to continue from best.safetensors\n" in run(capsys, "resume", str(path), "--epochs", "4")[2]
    last.unlink()
    assert run(capsys, "resume", str(path), "--epochs", "4")[0] == 0
    assert contents(path) == contents("runs/whole-1")


def test_where_no_checkpoint_fits_the_way_out_is_to_train_again(capsys):
    train(capsys, "--output", "a b")
    (Path("a b/moons-sgd-1") / "steps.jsonl").write_text("")
    status, _, err = run(capsys, "resume", "a b/moons-sgd-1", "--epochs", "4")
    assert status == 2
    assert err.endswith("train the run again with: minigrad train --config 'a b/moons-sgd-1/config.json'\n")


def test_a_checkpoint_that_is_whole_but_does_not_fit_is_not_to_be_deleted(capsys):
    train(capsys, "--schedule", "CosineAnnealingLR")
    _, _, err = run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "5")
    assert "the schedule of lr was" in err
    assert "delete" not in err


def test_no_log_is_cut_where_another_one_is_too_short(tmp_path):
    case = Case(tmp_path / "run")
    case.go(2)
    (tmp_path / "run" / "metrics.csv").write_text("")
    with (tmp_path / "run" / "steps.jsonl").open("a") as file:
        file.write("more")
    before = (tmp_path / "run" / "steps.jsonl").read_bytes()
    again = Case(tmp_path / "run")
    with pytest.raises(ShortFileError, match=r"metrics\.csv: holds 0 bytes"):
        again.go(3, resume=again.last())
    assert (tmp_path / "run" / "steps.jsonl").read_bytes() == before


def test_a_complete_run_is_left_as_it_is(capsys):
    train(capsys, "--record", "5")
    before = {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*") if file.is_file()}
    status, out, _ = run(capsys, "resume", "runs/moons-sgd-1")
    assert status == 0
    assert out.splitlines() == ["runs/moons-sgd-1 is complete after 3 epochs; give --epochs for more"]
    assert {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*") if file.is_file()} == before
    run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "2")  # which it cannot be brought back to
    assert json.loads(Path("runs/moons-sgd-1/config.json").read_text())["arguments"]["epochs"] == 3


def test_an_interrupted_run_is_not_finished_by_asking_for_fewer_epochs(capsys, monkeypatch):
    evaluation, calls = training.Run.evaluation, []

    def interrupted(self):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluation(self)

    monkeypatch.setattr(training.Run, "evaluation", interrupted)
    assert run(capsys, "train", *SMALL, "--epochs", "9")[0] == 130
    monkeypatch.setattr(training.Run, "evaluation", evaluation)
    before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
    for fewer in ("1", "2"):
        status, _, err = run(capsys, "resume", "runs/moons-sgd-1", "--epochs", fewer)
        assert status == 2
        assert f"is in epoch 3 of 9, which --epochs {fewer} would not let it finish; give 3 or more" in err
        assert {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()} == before
    assert run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "3")[0] == 0


# --- temporary files and folders -------------------------------------------------------------------------------------


def test_the_same_process_number_as_that_of_a_killed_process_is_no_obstacle(capsys, monkeypatch):
    """In a container every process is number 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    Path("runs/.moons-sgd.1.tmp/checkpoints").mkdir(parents=True)
    Path("runs/.moons-sgd.1.tmp/config.json").write_text("{}")
    train(capsys)
    assert os.listdir("runs") == ["moons-sgd-1"]


@posix
@pytest.mark.parametrize("number", ["1", "0123456789abcdef"])
def test_what_killed_processes_have_left_is_cleared_in_every_folder_of_a_run(capsys, number):
    train(capsys)
    path = Path("runs/moons-sgd-1")
    names = ["config.json", "end.json", "model.safetensors", "curves.png", "report.html"]
    names += [f"checkpoints/{name}" for name in ("step-000000030.safetensors", "best.safetensors")]
    for name in names:
        (path / name).with_name(f".{Path(name).name}.{number}.tmp").write_text("half")
    assert run(capsys, "resume", str(path), "--epochs", "4")[0] == 0
    assert list(Path("runs").glob("**/.*")) == []


@posix
def test_a_folder_that_another_process_is_making_is_left_alone(capsys):
    """And one that holds something else."""
    other = Path("runs/.moons-sgd.0123456789abcdef.tmp")
    foreign = Path("runs/.cache.123.tmp")
    for folder, name in ((other, "config.json"), (foreign, "precious")):
        folder.mkdir(parents=True)
        (folder / name).write_text("")
    handle = os.open(other, os.O_RDONLY)
    assert files.lock(handle)
    train(capsys)
    assert (other / "config.json").exists()
    os.close(handle)
    train(capsys)
    assert not other.exists()
    assert (foreign / "precious").exists()


@posix
def test_a_file_that_another_process_is_writing_is_left_alone_and_a_stale_one_is_deleted(tmp_path):
    path = tmp_path / "model.safetensors"
    with files.temporary_for(path) as living:
        (tmp_path / ".model.safetensors.77.tmp").write_text("stale")
        (tmp_path / ".other.77.tmp").write_text("of another file")
        files.write_atomically(path, b"new")
        assert living.exists()
    assert sorted(os.listdir(tmp_path)) == [".other.77.tmp", "model.safetensors"]


def test_where_the_system_has_no_locks_only_old_temporary_files_are_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    new, old = (tmp_path / f".x.{number}.tmp" for number in (1, 2))
    for path, age in ((new, 60), (old, 7200)):
        path.write_text("")
        os.utime(path, (time.time() - age,) * 2)
    files.write_atomically(tmp_path / "x", b"data")
    assert sorted(os.listdir(tmp_path)) == [".x.1.tmp", "x"]


def test_threads_that_write_one_file_at_once_do_not_meet(tmp_path):
    """Each clears what it takes for stale while the others are between making a temporary file and locking it."""
    problems = []

    def write(number):
        try:
            for _ in range(50):
                files.write_atomically(tmp_path / "x", bytes([number]) * 1000)
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert os.listdir(tmp_path) == ["x"]
    assert len(set((tmp_path / "x").read_bytes())) == 1


# --- two commands on one run -----------------------------------------------------------------------------------------


@pytest.fixture
def training_now():
    """A run that another process is writing."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "minigrad", "train", *SMALL, "--epochs", "1000000", "--name", "busy"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("    1 "):
            break
    yield Path("runs/busy-1")
    process.kill()
    process.communicate(timeout=60)


@posix
def test_a_run_that_another_process_writes_is_refused_before_anything_is_changed(capsys, training_now):
    before = (training_now / "config.json").read_bytes()
    for words in (("--epochs", "7"), ("--device", "cpu"), ()):
        status, out, err = run(capsys, "resume", str(training_now), *words)
        assert (status, out) == (2, "")
        assert err == f"minigrad resume: {training_now}: another process is writing this run\n"
    assert (training_now / "config.json").read_bytes() == before
    # Those that only read it are not refused.
    assert run(capsys, "evaluate", str(training_now))[0] == 0
    assert run(capsys, "list", "runs")[0] == 0


@posix
@pytest.mark.parametrize("name", ["steps.jsonl", "metrics.csv", "record.jsonl"])
def test_a_run_whose_log_another_program_writes_keeps_its_configuration_and_its_end(capsys, name):
    import fcntl

    train(capsys, "--record", "5")
    path = Path("runs/moons-sgd-1")
    before = {each: (path / each).read_bytes() for each in ("config.json", "end.json", *LOGS)}
    with (path / name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, _, err = run(capsys, "resume", str(path), "--epochs", "9")
    assert status == 2
    assert f"{name}: another process is writing this run" in err
    assert {each: (path / each).read_bytes() for each in before} == before


@posix
def test_a_run_stays_locked_until_its_end_is_written(capsys, monkeypatch):
    train(capsys)
    save = training.save_weights
    seen = []

    def save_and_look(path, model):
        with (
            pytest.raises(ValueError, match="another process is writing this run"),
            RunDirectory(path.parent).writing(),
        ):
            pass
        seen.append(path)
        return save(path, model)

    monkeypatch.setattr(training, "save_weights", save_and_look)
    train(capsys)
    assert run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "4")[0] == 0
    assert len(seen) == 2
    with RunDirectory("runs/moons-sgd-1").writing():
        pass


def test_a_configuration_that_cannot_be_written_leaves_the_run_as_it_was(capsys, monkeypatch):
    train(capsys)
    before = contents("runs/moons-sgd-1") | {"end": Path("runs/moons-sgd-1/end.json").read_bytes()}

    def full(self, config):
        raise OSError(28, "No space left on device", "config.json")

    monkeypatch.setattr(RunDirectory, "write_config", full)
    assert run(capsys, "resume", "runs/moons-sgd-1", "--epochs", "4")[0] == 1
    assert contents("runs/moons-sgd-1") | {"end": Path("runs/moons-sgd-1/end.json").read_bytes()} == before


def test_compare_writes_nothing_where_it_refuses_a_run(capsys):
    train(capsys)
    shutil.rmtree("runs/moons-sgd-1/checkpoints")
    status, _, err = run(capsys, "compare", "Adam", "runs/moons-sgd-1", *SMALL)
    assert status == 2
    assert "has no checkpoint" in err
    assert os.listdir("runs") == ["moons-sgd-1"]
