"""``python -m benchmarks.readme``: write the README's figures from the files in benchmarks/results.

``--check`` writes nothing and fails if the README differs; the tests do the same.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad.files import write_atomically

from .effort import QUICK
from .report import Result, markdown, number, read, rows_of
from .suite import RESULTS
from .timing import Measure

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN = "<!-- speed: written by python -m benchmarks.readme -->"
END = "<!-- end of speed -->"
SIZES = (300, 10_000, 100_000, 1_000_000, 30_000_000)
MODELS = ("2-16-16-1", "64-32-10", "784-128-10", "784-1024-1024-10")
# The row whose time the text gives in seconds.
WARM = "minigrad, kernels in the cache"


def speed(folder: Path) -> str:
    """Return the text between the marks.

    Raises:
        ValueError: if results are missing; the message explains how to make them.
    """
    names = ("step_by_size", "training_step", "bandwidth", "startup", "graph_depth")
    steps, training, bandwidth, startup, depth = (_read(folder, name) for name in names)
    rows = [_row(_step_title(row), row, "optax") for row in rows_of(steps, "adam") if row["parameters"] in SIZES]
    rows += [_row(_model_title(row), row, "JAX") for row in rows_of(training, "models") if row["model"] in MODELS]
    measured = [steps, training]
    remarks = _remarks(training, bandwidth, startup, depth)
    if (folder / "compiled.json").exists():
        compiled = _read(folder, "compiled")
        rows += [_row(_call_title(row), row, "jax.jit", "compiled call") for row in rows_of(compiled, "calls")]
        rows += [_row(_epoch_title(row), row, "lax.scan", "compiled epoch") for row in rows_of(compiled, "epochs")]
        measured.append(compiled)
        remarks = (remarks[0], _on_compilation(compiled), *remarks[1:])
    rows = [{"": row[""], **{column: row.get(column) for column in _COLUMNS}} for row in rows]
    return "\n\n".join([_wrapped(_introduction(measured)), markdown(rows), *map(_wrapped, remarks)])


_COLUMNS = ("minigrad", "PyTorch", "times faster", "JAX, optax", "times faster than those")


def _row(title: str, row: dict[str, Any], jax: str, own: str = "minigrad") -> dict[str, Any]:
    def value(column: str) -> float | str:
        found = row.get(column)
        return found.median if isinstance(found, Measure) else "not installed"

    return {
        "": title,
        "minigrad": value(f"{own} (µs)"),
        "PyTorch": value("PyTorch (µs)"),
        "times faster": value("times faster than PyTorch"),
        "JAX, optax": value(f"{jax} (µs)"),
        "times faster than those": value(f"times faster than {jax}"),
    }


def _wrapped(text: str) -> str:
    """Wrap to lines of at most 120 columns, never inside a piece of code."""
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def _step_title(row: dict[str, Any]) -> str:
    return f"Adam step, {row['parameters']:,} parameters in 6 tensors"


def _model_title(row: dict[str, Any]) -> str:
    return f"eager training step with Adam, MLP {row['model']}, batch {row['batch']}"


def _call_title(row: dict[str, Any]) -> str:
    return f"compiled training step with Adam, MLP {row['model']}, batch {row['batch']}"


def _epoch_title(row: dict[str, Any]) -> str:
    return f"compiled epoch with Adam, per step, MLP {row['model']}, batch {row['batch']}"


def _introduction(measured: Sequence[Result]) -> str:
    steps = measured[0]
    commands = list(dict.fromkeys(f"`{result['command']}`" for result in measured))
    listed = " and ".join([", ".join(commands[:-1]), commands[-1]] if commands[1:] else commands)
    versions, machine = steps["versions"], steps["machine"]
    return (
        f"From {listed} ({steps['started']}) on {machine['cores for this process']} cores "
        f"({machine['processor']}), compared with PyTorch {versions['torch']} in each of its implementations of the "
        f"optimizer, on one thread and on all, and JAX {versions['jax']} with optax {versions['optax']} in one jitted "
        "call with donated buffers, over tensors and flattened: the fastest variant of each, interleaved in one "
        "process. Whole calls, Python included, medians in microseconds; below 1 means slower."
    )


def _remarks(training: Result, bandwidth: Result, startup: Result, depth: Result) -> tuple[str, str]:
    small = next(row for row in rows_of(training, "models") if row["model"] == "64-32-10")
    adam = next(row for row in rows_of(bandwidth, "bandwidth") if row["what"] == "Adam")
    yardstick = max(
        (row for row in rows_of(bandwidth, "bandwidth") if row["what"].startswith(("copy", "triad"))),
        key=lambda row: row["of the fastest yardstick"].median,
    )["what"]
    operations = max(row["operations"] for row in rows_of(depth, "time"))
    start = {row["start"]: row["in all (s)"].median for row in rows_of(startup, "startup")}
    others = "; ".join(f"{name}: {number(seconds)} s" for name, seconds in start.items() if "minigrad" not in name)
    return (
        f"Of the eager step of the MLP 64-32-10, {number(small['its NumPy calls alone (µs)'].median)} µs are the "
        f"unavoidable NumPy calls. A large step of Adam reaches "
        f"{100 * adam['of the fastest yardstick'].median:.0f}% of the bandwidth of the fastest of a copy and triads "
        f"({yardstick}). From import to the end of the first step, a fresh process takes {number(start[WARM])} s when "
        f"the kernels are in the cache" + f" ({others})" * bool(others) + ".",
        f"All figures, with quartiles, every optimizer, clipping, memory and graphs of {operations:,} operations: "
        "[`benchmarks/results/results.md`](benchmarks/results/results.md). `pip install '.[bench]'` installs the "
        "peers, `python -m benchmarks` measures, with `--quick` in two minutes, and `python -m benchmarks.readme` "
        "writes this section.",
    )


def _on_compilation(compiled: Result) -> str:
    start = {(row["steps"], row["cache"]): row for row in rows_of(compiled, "starts")}
    second, whole = (
        {key: number(row[column].median) for key, row in start.items()}
        for column in ("second step (s)", "to the first step (s)")
    )
    train = rows_of(compiled, "commands")
    again = {
        (row["steps"], "folder" if "folder" in row["files"] else "none"): number(row["training again (s)"].median)
        for row in train
    }
    return (
        "A compiled epoch is one call, beside PyTorch's steps and one `jax.lax.scan`. The second call of a "
        f"step compiles it: the MLP 64-32-10 in {second['compiled', 'empty']} s, or in {second['compiled', 'filled']} "
        f"s when its code is in the cache. From import to the end of the first step, a fresh process takes "
        f"{whole['compiled', 'filled']} s if that is compiled and {whole['eager', 'filled']} s if it is eager. After "
        f"compilation, `minigrad train` takes {again['compiled', 'none']} s for {train[0]['epochs']} epochs on the "
        f"digits without files and {again['compiled', 'folder']} s with a run folder; with eager steps, "
        f"{again['eager', 'none']} s and {again['eager', 'folder']} s."
    )


def _read(folder: Path, name: str) -> Result:
    path = folder / f"{name}.json"
    if not path.exists():
        raise ValueError(f"{path} is missing: run python -m benchmarks --only {name}")
    result = read(path)
    if result["effort"] == QUICK.name:
        raise ValueError(f"{path} is of a quick run; the README's figures are of python -m benchmarks")
    return result


def replaced(text: str, new: str) -> str:
    """Return the README with another text between the marks.

    Raises:
        ValueError: if the marks are not there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the README needs the lines {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if the README differs or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description="write the README's figures")
    parser.add_argument("--check", action="store_true", help="only check whether they match the results")
    chosen = parser.parse_args(arguments)
    try:
        text = README.read_text(encoding="utf-8")
        new = replaced(text, speed(RESULTS))
        if chosen.check:
            if new != text:
                print("README.md: its figures do not match benchmarks/results; run python -m benchmarks.readme")
            return int(new != text)
        write_atomically(README, new.encode())
    except (OSError, ValueError) as error:
        print(f"python -m benchmarks.readme: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
