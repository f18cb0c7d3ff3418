"""Fresh processes: what importing and the first optimizer step take, with an empty kernel cache and with a full one.

python -m benchmarks.startup [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from .timing import report

PROGRAM = """
import time
start = time.perf_counter()
import minigrad
from minigrad import nn, optim
imported = time.perf_counter()
model = nn.MLP([64, 32, 10])
optimizer = optim.Adam(model.parameters())
nn.functional.cross_entropy(model(minigrad.zeros(2, 64)), minigrad.tensor([0, 1])).backward()
built = time.perf_counter()
optimizer.step()
stepped = time.perf_counter()
print(imported - start, built - imported, stepped - built)
"""


def measure(cache: str) -> list[float]:
    """Seconds to import, to build a model and its gradients, and for the first step, in a process of its own."""
    environment = {**os.environ, "MINIGRAD_CACHE_DIR": cache}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return [float(text) for text in output.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", help="a JSON file for the results")
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind, times in (("cold: kernels are compiled", 3), ("warm: kernels are loaded", 7)):
        with tempfile.TemporaryDirectory() as folder:
            if kind.startswith("warm"):
                measure(folder)
            runs = []
            for number in range(times):
                cache = folder if kind.startswith("warm") else os.path.join(folder, str(number))
                runs.append(measure(cache))
        medians = [statistics.median(column) for column in zip(*runs, strict=True)]
        names = ("import (s)", "model and gradients (s)", "first step (s)")
        rows.append({"start": kind, **dict(zip(names, medians, strict=True)), "in all (s)": sum(medians)})
    report("Start-up of a fresh process", "python -m benchmarks.startup", rows, chosen.output)


if __name__ == "__main__":
    main()
