"""Interleaved timing, and a table of the results with what is needed to read them."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# How long one function runs before it is the next one's turn: long enough to find its own data in cache again, as it
# does in a training loop.
BURST = 2e-3


def interleaved(functions: Mapping[str, Callable[[], Any]], seconds: float = 1.0) -> dict[str, float]:
    """The median time in microseconds of a call of each function, in bursts by turns, about ``seconds`` each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    calls = {}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        calls[name] = max(1, int(BURST / (time.perf_counter() - start)))
    ends = time.perf_counter() + seconds * len(functions)
    while time.perf_counter() < ends or len(next(iter(times.values()))) < 3:
        for name, function in functions.items():
            for _ in range(calls[name]):
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) * 1e6 for name, values in times.items()}


def machine() -> dict[str, str]:
    """What the figures depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found["processor"] = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        found["processor"] = platform.processor()
    for package in ("numpy", "numba", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def report(title: str, command: str, rows: Sequence[Mapping[str, Any]], output: str | None) -> None:
    """Print a Markdown table, and write it as JSON with machine and versions where ``output`` says."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(name, "")) for name in columns) + " |")
    if output:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"title": title, "command": command, "machine": machine(), "rows": list(rows)}
        path.write_text(json.dumps(content, indent=1) + "\n")


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
