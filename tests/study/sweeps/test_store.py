"""The folder of a sweep: what a kill, a full disk or a second writer leaves behind."""

import csv
import multiprocessing
import random
import subprocess
import sys
import time

import pytest

from minigrad import study
from minigrad.study.sweeps import store as store_module
from minigrad.study.sweeps.store import CURVES, RUNS, Result, Store

SETTINGS = {"lr": [0.1, 0.01, 1e30], "seeds": 2, "data": "moons:samples=100", "model": "mlp:8", "epochs": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a complete sweep."""
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    study.sweep("SGD", folder=folder, **SETTINGS)
    return folder


def table(found):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found.table]


def curves(found):
    return [found.curve(row["run"]) for row in found.table]


def test_the_files_are_tables_with_a_row_per_run_and_epoch(whole):
    with (whole / RUNS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "run", "optimizer", "lr", "seed", "status", "epochs", "steps", "step_diverged", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy", "test_loss", "test_accuracy", "seconds", "reason",
    ]  # fmt: skip
    assert [row["run"] for row in rows] == list("012345")
    found = study.load_sweep(whole)
    assert [float(row["train_loss"] or "nan") for row in rows[:4]] == [row["train_loss"] for row in found.table[:4]]
    with (whole / CURVES).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["run"], line["epoch"]) for line in lines] == [(str(run), e) for run in range(4) for e in "12"]
    assert float(lines[3]["validation_loss"]) == found.table[1]["validation_loss"]


def test_pandas_reads_the_tables(whole):
    pandas = pytest.importorskip("pandas")
    runs = pandas.read_csv(whole / RUNS)
    assert runs["lr"].tolist() == [0.1, 0.1, 0.01, 0.01, 1e30, 1e30]
    assert runs["train_loss"].isna().tolist() == [False] * 4 + [True] * 2


@pytest.mark.parametrize("kept", range(5))
def test_a_sweep_cut_at_any_byte_ends_with_the_same_table(whole, tmp_path, kept):
    """A kill leaves a beginning of what is written: curves first, then rows; the last line may be torn."""
    draw = random.Random(kept)
    folder = tmp_path / "cut"
    folder.mkdir()
    (folder / "sweep.json").write_bytes((whole / "sweep.json").read_bytes())
    runs, lines = ((whole / name).read_bytes() for name in (RUNS, CURVES))
    ends = [i + 1 for i, byte in enumerate(runs) if byte == 10]
    done = draw.randrange(len(ends) - 1)  # complete rows after the titles
    # Of the next run either a part of the curve is there, or the curve and a part of the row.
    whole_curves = [line for line in lines.splitlines(True)[1:] if int(line.split(b",")[0]) < done]
    next_curve = b"".join(line for line in lines.splitlines(True)[1:] if int(line.split(b",")[0]) == done)
    torn_row = draw.random() < 0.5
    part = next_curve if torn_row else next_curve[: draw.randrange(len(next_curve) + 1)]
    (folder / CURVES).write_bytes(lines[: lines.index(b"\n") + 1] + b"".join(whole_curves) + part)
    rest = runs[: draw.randrange(ends[done], ends[done + 1]) if torn_row else ends[done]]
    (folder / RUNS).write_bytes(rest)
    assert len(study.load_sweep(folder).table) == done
    made = []
    found = study.sweep("SGD", folder=folder, progress=lambda *about: made.append(about[2]), **SETTINGS)
    assert len([result for result in made if result is not None]) == 6 - done
    assert table(found) == table(study.load_sweep(whole))
    assert curves(found) == curves(study.load_sweep(whole))
    assert (folder / CURVES).read_bytes() == lines
    assert (folder / RUNS).read_text().count("\n") == 7


def test_a_run_without_its_curve_is_made_again(whole, tmp_path):
    """After a power failure the later write may be on the disk without the earlier one."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / CURVES).read_text()
    (tmp_path / CURVES).write_text("".join(line for line in text.splitlines(True) if not line.startswith("1,")))
    assert [row["run"] for row in study.load_sweep(tmp_path).table] == [0, 2, 3, 4, 5]
    assert table(study.sweep("SGD", folder=tmp_path, **SETTINGS)) == table(study.load_sweep(whole))


def test_results_that_cannot_be_written_are_not_stored(tmp_path, monkeypatch):
    append, calls = store_module._append, []

    def full(path, text):
        calls.append(path.name)
        if len(calls) > 3:
            raise OSError(28, "cannot write: No space left on device", str(path))
        append(path, text)

    monkeypatch.setattr(store_module, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        study.sweep("SGD", folder=tmp_path / "s", **SETTINGS)
    assert calls == [CURVES, RUNS, CURVES, RUNS]
    monkeypatch.undo()
    assert len(study.load_sweep(tmp_path / "s").table) == 1
    assert len(study.sweep("SGD", folder=tmp_path / "s", **SETTINGS).table) == 6


def _hold(folder, held, free):
    with Store.open(folder):
        held.set()
        free.wait(60)


def test_a_second_writer_is_refused(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, free = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "s", held, free))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(ValueError, match="another process is writing this sweep"):
            study.sweep("SGD", folder=tmp_path / "s", **SETTINGS)
    finally:
        free.set()
        other.join()


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        study.sweep("SGD", folder=tmp_path, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(FileNotFoundError, match="is not the folder of a sweep"):
        study.load_sweep(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[", '{"format": "minigrad sweep", "version": 1, "arguments": []}'])
def test_a_damaged_description_is_refused(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(ValueError, match=r"sweep\.json: is"):
        study.load_sweep(tmp_path)


def test_a_reason_with_commas_and_quotes_reads_back():
    store = Store()
    store.ask({}, [{"optimizer": "SGD"}], [0])
    store.add({0: Result("failed", reason='it said "no", twice')})
    assert next(csv.reader([store._rows([0])]))[-1] == 'it said "no", twice'


@pytest.mark.slow
@pytest.mark.parametrize("executor", [[], ["--executor", "processes:2"]], ids=["threads", "processes"])
def test_a_sweep_killed_at_any_moment_ends_with_the_same_table(tmp_path, executor):
    words = ["SGD", "Adam", "--lr", "0.01..1:3", "--seeds", "20", "--data", "moons:samples=100", "--model", "mlp:8"]
    whole = study.sweep(
        ["SGD", "Adam"], lr="0.01..1:3", seeds=20, data="moons:samples=100", model="mlp:8", folder=tmp_path / "whole"
    )
    folder, draw, done = tmp_path / "cut-1", random.Random(repr(executor)), 0
    words += ["--output", str(tmp_path), "--name", "cut"]
    for _ in range(3):
        command = [sys.executable, "-m", "minigrad", "sweep", *words, "--quiet", *executor]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wanted = draw.randrange(done, done + 25)
        while process.poll() is None and (not (folder / RUNS).exists() or _rows(folder) < wanted):
            time.sleep(draw.random() * 0.003)
        assert process.poll() is None
        process.kill()
        process.wait()
        done, words = len(study.load_sweep(folder).table), [str(folder)]
    assert done < 100
    found = study.sweep(folder=folder)
    assert table(found) == table(whole)
    assert curves(found) == curves(whole)
    assert (folder / CURVES).read_bytes() == (tmp_path / "whole" / CURVES).read_bytes()


def _rows(folder):
    return (folder / RUNS).read_bytes().count(b"\n") - 1
