"""The CUDA kernels of every optimiser and clip in Numba's simulator, which needs no GPU."""

import os
import subprocess
import sys
from pathlib import Path

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
