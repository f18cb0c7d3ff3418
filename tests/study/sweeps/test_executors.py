"""Sweeps in batches on executors: the bits of this process, whatever dies."""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad import study
from minigrad.study.sweeps import executors
from minigrad.study.sweeps.executors import Connection, connected, results, run_batch
from minigrad.study.sweeps.store import Store

SETTINGS = {"lr": [0.1, 0.01, 1e30], "seeds": 3, "data": "moons:samples=100", "model": "mlp:8", "epochs": 2}
SPAWN = multiprocessing.get_context("spawn")


def table(found):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found.table]


def curves(found):
    return [found.curve(row["run"]) for row in found.table]


@pytest.fixture(scope="module")
def here():
    """The sweep in this process."""
    return study.sweep(["SGD", "Adam"], **SETTINGS)


def batch_or_death(folder, batch):
    """`run_batch`, but the worker dies once at each of some runs."""
    for number in (2, 7, 11):
        if number in batch and not (mark := Path(folder, str(number))).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return run_batch(batch)


def batch_or_always_death(batch):
    """`run_batch`, but the worker dies whenever it gets one run."""
    if 7 in batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_batch(batch)


def broken_batch(batch):
    """As where minigrad is not installed on a worker."""
    raise ModuleNotFoundError("No module named 'minigrad'")


@pytest.mark.slow
def test_processes_have_the_bits_of_threads(here, tmp_path):
    found = study.sweep(["SGD", "Adam"], executor="processes:2", folder=tmp_path / "s", **SETTINGS)
    assert table(found) == table(here)
    assert curves(found) == curves(here)
    assert table(study.load_sweep(tmp_path / "s")) == table(here)


def test_any_executor_takes_batches(here):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = study.sweep(["SGD", "Adam"], executor=pool, **SETTINGS)
        assert pool.submit(int).result() == 0  # it is not shut down
    assert table(found) == table(here)


@pytest.mark.slow
def test_batches_of_workers_that_die_are_made_again(here, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "run_batch", functools.partial(batch_or_death, str(tmp_path)))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        found = study.sweep(["SGD", "Adam"], executor=pool, folder=tmp_path / "s", **SETTINGS)
    assert {path.name for path in tmp_path.iterdir()} == {"2", "7", "11", "s"}
    assert table(found) == table(here)
    lines = (tmp_path / "s" / "runs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(number) for number in range(18)]


@pytest.mark.slow
def test_a_run_that_kills_its_worker_fails_without_the_others(here, monkeypatch):
    monkeypatch.setattr(executors, "run_batch", batch_or_always_death)
    monkeypatch.setattr(executors, "_BATCHES", 2)  # batches of several runs
    found = study.sweep(["SGD", "Adam"], executor="processes:2", **SETTINGS)
    assert [row["run"] for row in found.table if row["status"] == "failed"] == [7]
    assert "its worker was lost 3 times: BrokenProcessPool" in found.table[7]["reason"]
    assert [row for row in table(found) if row["run"] != 7] == [row for row in table(here) if row["run"] != 7]


def test_an_executor_that_runs_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "run_batch", broken_batch)
    with (
        pytest.raises(RuntimeError, match="runs no batch: ModuleNotFoundError"),
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        study.sweep(["SGD", "Adam"], executor=pool, folder=tmp_path / "s", **SETTINGS)
    assert study.load_sweep(tmp_path / "s").table == []


def test_a_lost_executor_that_cannot_be_replaced_ends_the_sweep():
    class Lost(concurrent.futures.Executor):
        def submit(self, *args):
            raise concurrent.futures.BrokenExecutor("gone")

    with pytest.raises(concurrent.futures.BrokenExecutor, match="gone"):
        list(results({0: {}}, connection=Connection(Lost(), 1)))


@pytest.mark.parametrize("name", ["process", "processes:0", "processes:x", "dask", "dask:", "mpi:3", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="unknown executor"), connected(name):
        pass


@pytest.mark.parametrize(("name", "package"), [("dask:127.0.0.1:1", "distributed"), ("mpi", "mpi4py")])
def test_a_missing_package_is_named(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"pip install {package}"), connected(name):
        pass


# --- with packages that are not installed everywhere -----------------------------------------------------------------


def kill_once(folder, batch):
    """`run_batch`, but the first worker that gets a batch in the middle of the sweep dies."""
    mark = Path(folder, "killed")
    if 9 in batch and not mark.exists():
        mark.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return run_batch(batch)


def test_a_dask_cluster_loses_a_worker(here, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(executors, "run_batch", functools.partial(kill_once, str(tmp_path)))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, local_directory=str(tmp_path / "dask")
    ) as cluster:
        found = study.sweep(
            ["SGD", "Adam"], executor=f"dask:{cluster.scheduler_address}", folder=tmp_path / "s", **SETTINGS
        )
        with distributed.Client(cluster) as client:
            again = study.sweep(["SGD", "Adam"], executor=client.get_executor(), **SETTINGS)
    assert (tmp_path / "killed").exists()
    assert table(found) == table(again) == table(here)
    assert len((tmp_path / "s" / "runs.csv").read_text().splitlines()) == 19


def mpiexec(*words):
    pytest.importorskip("mpi4py.futures")
    program = Path(sys.executable).with_name("mpiexec")
    if not program.exists():
        pytest.skip("no mpiexec")
    return subprocess.run([program, "-n", "3", sys.executable, *words], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("before", [[], ["-m", "mpi4py.futures"]], ids=["mpiexec", "mpi4py.futures"])
def test_mpi_has_the_bits_of_threads(here, tmp_path, before):
    words = ["--lr", "0.1,0.01,1e30", "--seeds", "3", "--data", "moons:samples=100", "--model", "mlp:8"]
    done = mpiexec(
        *before, "-m", "minigrad", "sweep", "SGD", "Adam", *words, "--epochs", "2", "--executor", "mpi",
        "--output", str(tmp_path), "--name", "s",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["s-1"]
    assert table(study.load_sweep(tmp_path / "s-1")) == table(here)
    assert Store.read(tmp_path / "s-1").base["model"] == "mlp:8"
