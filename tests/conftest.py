"""Which tests a plain ``pytest`` runs, and fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cupy_standin
import pytest
import report_tools

from minigrad import cli, training
from minigrad.devices import arrays as devices
from minigrad.devices import cuda as gpu_module
from minigrad.study.report import _pictures as pictures

# With MINIGRAD_EAGER=1, the tests run with steps that are made by Python, except for those that ask for compiled ones.
if os.environ.get("MINIGRAD_EAGER"):
    for function in (training.fit, training.Run.__init__):
        assert function.__kwdefaults__["compiled"]
        function.__kwdefaults__["compiled"] = False

# How many sets of parameters of each test a quick run keeps, unless it is marked with another number.
SAMPLE = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every test with every set of parameters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a sample of the sets of parameters of each test and leave out slow tests.

    With ``--all``, or if tests are named or selected by the user, all of them are kept.
    """
    named = config.args != config.getini("testpaths") or config.option.keyword
    if named or config.getoption("--all"):
        return
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set()
    for group in groups.values():
        marker, last = group[0].get_closest_marker("sample"), len(group) - 1
        size = SAMPLE if marker is None else marker.args[0]
        kept |= {group[round(last * k / max(size - 1, 1))] for k in range(size)}
    kept -= {item for item in kept if item.get_closest_marker("slow")}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


@pytest.fixture(scope="module", params=["stand-in", pytest.param("CuPy", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The library of the device ``"cuda"``: a strict stand-in, and CuPy itself where there is a GPU."""
    before = devices._cupy, set(devices.DEVICE_ARRAYS)
    if request.param == "stand-in":
        devices.load(cupy_standin)
    elif not gpu_module.cuda_status().usable:
        pytest.skip(f"no GPU: {gpu_module.cuda_status().problem}")
    else:
        devices.library()
    yield devices.library()
    devices._cupy = before[0]
    devices.DEVICE_ARRAYS.clear()
    devices.DEVICE_ARRAYS.update(before[1])


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A recorded run with everything that a report shows and a bare one without a recording; the first has its page."""
    folder = tmp_path_factory.mktemp("reported")
    whole = report_tools.train(folder, "whole", *report_tools.WHOLE)
    words = ["--param", "0.weight[3,1]", "--param", "2.bias[0]", "--step", "9", "--quiet"]
    assert cli.main(["report", str(whole), *words]) == 0
    return {"whole": whole, "bare": report_tools.train(folder, "bare", "--optimizer", "Adam")}


@pytest.fixture(scope="session")
def reported_hostile(reported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the recorded run that somebody has edited, with its page."""
    run = report_tools.hostile(reported["whole"], tmp_path_factory.mktemp("hostile") / "<script>alert(1)<")
    (run / "report.html").unlink()
    assert cli.main(["report", str(run), "--quiet"]) == 0
    return run


@pytest.fixture(scope="module")
def page(reported: dict[str, Path]) -> report_tools.Page:
    """The page of the recorded run, read."""
    return report_tools.Page((reported["whole"] / "report.html").read_text())


@pytest.fixture
def copied(reported: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a run, to be changed."""
    return lambda name: shutil.copytree(reported[name], tmp_path / f"{name}-1")


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not rendered: for tests that do not look at them."""
    blank = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
    monkeypatch.setattr(pictures, "_svg", lambda figure: blank)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run directories are made in the current folder, also by processes that are started there."""
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
