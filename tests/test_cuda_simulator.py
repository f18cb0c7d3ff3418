"""The CUDA kernels of every optimiser and clip in Numba's simulator, which needs no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minigrad import gpu, optim, tensor

TESTS = Path(__file__).parent


def test_updates_norms_and_launches_in_the_simulator():
    """In a process of its own: Numba asks for the simulator when it is imported, and the kernels here are compiled."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "MINIGRAD_CACHE_DIR": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(TESTS / "cuda_simulated.py")],
        cwd=TESTS.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout or "100%" in run.stdout


def test_without_a_gpu_the_benchmark_says_so(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TESTS.parent))
    from benchmarks import cuda_step

    monkeypatch.setattr(cuda_step.gpu, "cuda_status", lambda: gpu.CudaStatus(problem="gone", remedy="get one"))
    assert cuda_step.main([]) == 1
    assert capsys.readouterr().err == "no GPU was found, so nothing was measured: gone; get one\n"


@pytest.mark.parametrize("name", ["Adam", "LAMB"])
def test_a_plan_shows_the_kernels_of_a_gpu_that_is_not_there(name):
    optimizer = getattr(optim, name)([tensor([1.0, 2.0], requires_grad=True)])
    text = str(optimizer.plan(device="cuda"))
    assert str(optimizer.plan().plan) in text
    assert "@cuda.jit(cache=CACHE)\ndef pass_1(" in text
    assert "njit" not in text
    assert optim.chain(*optimizer.chain()).plan(device="cuda").sources == optimizer.plan("cuda").sources
    with pytest.raises(ValueError, match="'cuda'"):
        optimizer.plan(device="cudda")
