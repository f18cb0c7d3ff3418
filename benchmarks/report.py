"""Results as files: one JSON file for each group, and one page of Markdown tables made from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigrad.files import read_bounded, write_atomically

from .timing import Measure

PAGE = "results.md"
_LARGEST = 10_000_000
_KEYS = {"group", "command", "started", "effort", "machine", "versions", "threads", "skipped", "load", "tables"}

Row = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of one measurement.

    Attributes:
        name: the key for plots and the README; unique in its group.
        title: one line.
        rows: values by column: numbers, text, `Measure` or ``None``.
        notes: explanations for the reader.
        detail: whether it is written only to the JSON file, as too detailed for the page.
    """

    name: str
    title: str
    rows: Sequence[Row]
    notes: str = ""
    detail: bool = False


# --- JSON ------------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return asdict(value) if isinstance(value, Measure) else value


def write(result: Result, tables: Sequence[Table], folder: Path) -> Path:
    """Write a group's file atomically: whatever happens, the old or the new results are complete.

    Raises:
        OSError: naming the file, for example if the disk is full.
    """
    content = result | {
        "tables": [
            asdict(table) | {"rows": [{column: plain(value) for column, value in row.items()} for row in table.rows]}
            for table in tables
        ]
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomically(folder / f"{result['group']}.json", text.encode())


def read(path: str | os.PathLike[str]) -> Result:
    """Read a group's results, as `write` wrote them.

    Raises:
        ValueError: naming the file, if it does not contain results.
    """
    try:
        content = json.loads(read_bounded(path, _LARGEST))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(content, dict) or not content.keys() >= _KEYS:
        raise ValueError(f"{path}: does not contain results of python -m benchmarks")
    for table in content["tables"]:
        table["rows"] = [
            {column: Measure(**value) if isinstance(value, dict) else value for column, value in row.items()}
            for row in table["rows"]
        ]
    return content


def read_all(folder: Path, order: Sequence[str]) -> list[Result]:
    """Read the results in a folder, in the order of the groups."""
    return [read(folder / f"{name}.json") for name in order if (folder / f"{name}.json").exists()]


def rows_of(result: Result, name: str) -> list[dict[str, Any]]:
    """Return the rows of a table by its name; none if the group did not make it."""
    for table in result["tables"]:
        if table["name"] == name:
            rows: list[dict[str, Any]] = table["rows"]
            return rows
    return []


# --- Markdown --------------------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row]) -> str:
    """Write a table: columns in order of first appearance, numbers aligned to the right."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numeric = {column: all(not isinstance(row.get(column), str) for row in rows) for column in columns}
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---:" if numeric[column] else "---" for column in columns) + "|",
    ]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Write a value with three digits; a measure with its quartiles."""
    if value is None:
        return ""
    if isinstance(value, Measure):
        if value.count == 1:
            return number(value.median)
        return f"{number(value.median)} ({number(value.q1)} to {number(value.q3)})"
    if isinstance(value, bool | str):
        return str(value).replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int) else number(value)


def number(value: float) -> str:
    """Write a number with three significant digits, without an exponent."""
    if value == 0 or not abs(value) < float("inf"):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    decimals = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}"


def page(results: Sequence[Result]) -> str:
    """Write all results as one page."""
    parts = [
        "# Measurements",
        "Written by `python -m benchmarks`; do not edit. A cell is a median, with the quartiles in brackets. "
        "Times faster: the median over pairs of neighboring bursts of calls. µs: microseconds per call.",
    ]
    for result in results:
        parts.append(f"## {result['title']}")
        parts.append(_conditions(result))
        picture = result.get("picture")
        if picture:
            parts.append(f"![{result['title']}]({picture})")
        for table in result["tables"]:
            if table["detail"]:
                continue
            parts.append(f"**{table['title']}**")
            parts.append(markdown(table["rows"]) if table["rows"] else "Nothing was measured.")
            if table["notes"]:
                parts.append(table["notes"])
    return "\n\n".join(parts) + "\n"


def _conditions(result: Result) -> str:
    """Write where, with what and how a group was measured, in a sentence or two."""
    where = ", ".join(
        f"{value}" if name == "processor" else f"{name} {value}" for name, value in result["machine"].items()
    )
    what = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    threads = ", ".join(f"{name} {value}" for name, value in result["threads"].items())
    lines = [f"`{result['command']}`, {result['started']}. {where}. {what}. Threads: {threads}."]
    if result["load"][0] is not None:
        lines.append(f"Load of the machine before and after: {result['load'][0]}, {result['load'][1]}.")
    if result["skipped"]:
        lines.append(f"Not installed, so not compared: {', '.join(result['skipped'])}.")
    return " ".join(lines)
