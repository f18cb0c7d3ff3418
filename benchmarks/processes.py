"""Programs that are measured in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300  # seconds


def run(program: str, **environment: str) -> dict[str, Any]:
    """Run a program, and return what it prints as JSON in its last line.

    Raises:
        RuntimeError: with its output on stderr, if it fails or takes longer than `LONGEST`.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"a program was still running after {LONGEST} s") from None
    if done.returncode:
        raise RuntimeError(f"a program failed with status {done.returncode}:\n{done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def columns(runs: list[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the values of several runs by name."""
    return {name: [run[name] for run in runs] for name in runs[0]}
