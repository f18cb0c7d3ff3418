"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cupy_standin
import pytest
import report_tools

from minigrad import cli, devices
from minigrad import gpu as gpu_module


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
