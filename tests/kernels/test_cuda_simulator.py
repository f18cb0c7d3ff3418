"""The CUDA kernels of every optimizer and clip in Numba's simulator, which needs no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optim_registry import entry_named
from test_cuda_device import assert_close, run

from minigrad import optim, tensor
from minigrad.devices import cuda as gpu
from minigrad.kernels import cpu

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_updates_norms_and_launches_in_the_simulator():
    """In a process of its own: Numba asks for the simulator when it is imported, and the kernels here are compiled."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "MINIGRAD_CACHE_DIR": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(TESTS / "cuda_simulated.py")],
        cwd=TESTS.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout or "100%" in run.stdout


@pytest.mark.parametrize(("name", "variant"), [("RMSprop", "centered"), ("SGD", "nesterov")])
def test_what_is_tolerated_of_a_gpu_covers_fused_multiplications_and_additions(monkeypatch, name, variant):
    """A GPU's compiler fuses them; here the CPU's does, which otherwise may not. These two differ most by it."""
    entry = entry_named(name)

    def states():
        make = lambda params: entry.make(params, **entry.variants[variant].options)
        return run("cpu", make, np.float32, missing={("a.bias", 1), ("b.weight", 2)})[0]

    expected, load_source = states(), cpu.load_source
    fusing = f'{cpu._OPTIONS}, fastmath={{"contract"}}'
    monkeypatch.setattr(cpu, "load_source", lambda source: load_source(source.replace(cpu._OPTIONS, fusing)))
    found = states()
    if all((found[key] == expected[key]).all() for key in expected):
        pytest.skip("this processor does not fuse multiplications and additions")
    assert_close(found, expected, np.float32)


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
