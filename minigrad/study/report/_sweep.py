"""The page of a sweep: the values of its sections."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...text import metric_title, plural
from .. import plots
from ..plots._sweeps import results_of, setting_title
from ..sweeps import results as analysis
from ..sweeps import statistics
from ..sweeps.results import Results, Selected, is_accuracy, text_of
from ..sweeps.sweep import Sweep
from ._page import template
from ._pictures import picture
from ._sections import Values, options
from ._text import Table, brief, number, readable, sentence

ROWS = 400  # of the table of cells
REASONS = 12  # that are listed
FEW_SEEDS = statistics.SEEDS_NEEDED


def build(sweep: Sweep) -> str:
    """Return the whole page.

    Raises:
        ValueError: if no run of the sweep is done.
    """
    results = results_of("report", sweep)
    selected = results.selected()
    done = len(results.table)
    sections: dict[str, Values | None] = {
        "result": _result(sweep, selected),
        "sensitivity": _sensitivity(results),
        "two": _two(results),
        "curves": _curves(results, selected),
        "target": _target(results, selected),
        "profiles": _profiles(results),
        "lost": _lost(results),
        "cells": _cells(results),
        "settings": {"table": options(_shared(sweep))},
    }
    text = template("sweep.html").render(
        name="sweep" if sweep.folder is None else sweep.folder.resolve().name,
        status=plural(done, "run") if done == sweep.asked else f"{done:,} of {plural(sweep.asked, 'run')} done",
        headline=list(_headline(results, selected)),
        sections={place: values for place, values in sections.items() if values is not None},
    )
    return readable(text)


def _shared(sweep: Sweep) -> dict[str, Any]:
    """The options that have the same value in all runs."""
    first, *others = (sweep.arguments(row["run"]) for row in sweep.results.table)
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


def _headline(results: Results, selected: Sequence[Selected]) -> Iterator[tuple[str, str]]:
    yield "best median", brief(selected[0].label)
    yield metric_title(results.final_metric), text_of(results.final_metric, selected[0].test).split(" (")[0]
    yield "cells", f"{len(results.cells):,}"
    yield "seeds", f"{len(results.seeds):,}"
    diverged = sum(row["status"] == "diverged" for row in results.table)
    yield "runs that diverged", f"{diverged:,}"


def _result(sweep: Sweep, selected: Sequence[Selected]) -> Values:
    results = sweep.results
    metric, final = results.metric, results.final_metric
    swept = next((each.swept for each in selected if each.swept), "")
    titles, *rows = results.overview(selected, functools.partial(number, digits=2))
    titles = ["", *(title.replace(" lr", " rate") for title in titles[1:])]
    robust = {
        "": [brief(each.label) for each in selected],
        "good region": [_width(each) for each in selected],
        "sensitivity": [_estimate(each.sensitivity) for each in selected],
    }
    best = next(iter(selected[0].cell.runs.values()))["run"]
    within = f"{100 * analysis.GOOD_ACCURACY:.0f} point" if is_accuracy(metric) else f"{analysis.GOOD_LOSS:.0%}"
    return {
        "sentences": [sentence(each) for each in results.verdicts(selected)],
        "few": len(results.seeds) if len(results.seeds) < FEW_SEEDS else 0,
        "needed": FEW_SEEDS,
        "table": Table(titles, [[brief(cell) for cell in row] for row in rows]),
        "robust": Table.of(robust, words=1) if any(each.width for each in selected) else None,
        "within": within,
        "metric": metric_title(metric),
        "tested": metric_title(final) if final != metric else "",
        "edges": [brief(each.label) for each in selected if each.at_edge],
        "swept": setting_title(swept) if swept else "",
        "command": shlex.join(sweep.command(best)),
    }


def _width(selected: Selected) -> str:
    if selected.width is None:
        return ""
    value, low, high, is_open = selected.width
    least = "\N{GREATER-THAN OR EQUAL TO} " if is_open else ""
    return f"{least}{value:.1f} ({low:.1f} to {high:.1f}) decades"


def _estimate(estimate: statistics.Estimate | None) -> str:
    return "" if estimate is None else f"{number(estimate[0])} ({number(estimate[1])} to {number(estimate[2])})"


def _sensitivity(results: Results) -> Values | None:
    swept = results.swept(results.cells)
    if not swept:
        return None
    return {
        "picture": picture(lambda: plots.sensitivity(results)),
        "metric": metric_title(results.metric),
        "swept": setting_title(swept),
        "groups": list(map(brief, results.groups())),
    }


def _two(results: Results) -> Values | None:
    if len(results.numeric) < 2:
        return None
    names = [setting_title(name) for name in results.numeric[:2]]
    return {"picture": picture(lambda: plots.heat_map(results)), "names": names, "metric": metric_title(results.metric)}


def _curves(results: Results, selected: Sequence[Selected]) -> Values | None:
    if not any(results.curve(row["run"]) for each in selected for row in each.cell.runs.values()):
        return None
    return {"picture": picture(lambda: plots.learning_curves(results)), "metric": metric_title(results.metric)}


def _target(results: Results, selected: Sequence[Selected]) -> Values | None:
    target = results.common_target(selected)
    if math.isnan(target):
        return None
    units = ("steps", "seconds")
    times = {unit: [results.reached(each.cell, target, results.metric, unit) for each in selected] for unit in units}
    if not np.isfinite(np.concatenate(times["steps"])).any():
        return None
    columns = {"": [brief(each.label) for each in selected]}
    columns |= {unit: [_time(statistics.median_band(each)) for each in times[unit]] for unit in units}
    columns["never"] = [f"{np.isinf(each).sum()} of {(~np.isnan(each)).sum()}" for each in times["steps"]]
    metric = results.metric
    return {
        "picture": picture(lambda: plots.time_to_target(results)),
        "table": Table.of(columns),
        "target": f"{metric_title(metric)} of {text_of(metric, statistics.Estimate(target, 0, 0)).split(' (')[0]}",
    }


def _time(band: statistics.Estimate) -> str:
    texts = ["never" if math.isinf(each) else number(each) for each in band]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _profiles(results: Results) -> Values | None:
    """Profiles over the datasets or models of a sweep that has several."""
    setting = next((name for name in ("data", "model") if name in results.varied), None)
    if setting is None:
        return None
    found = analysis.costs(results.split(setting))
    if len({frozenset(each) for each in found.values()}) > 1 or len(next(iter(found.values()))) < 2:
        return None
    return {"picture": picture(lambda: plots.performance_profiles(found)), "problems": list(map(brief, found))}


def _lost(results: Results) -> Values | None:
    """The runs that did not finish, with their reasons."""
    counts: dict[tuple[str, str], int] = {}
    for row in results.table:
        if row["status"] != "finished":
            key = row["status"], str(row["reason"] or "")
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return None
    listed = sorted(counts.items(), key=lambda each: -each[1])
    rows = [[status, brief(reason), f"{count:,}"] for (status, reason), count in listed[:REASONS]]
    return {"table": Table(["status", "reason", "runs"], rows, words=2), "others": max(len(listed) - REASONS, 0)}


def _cells(results: Results) -> Values:
    metric = results.metric
    rows = []
    losses = results.summary("train_loss")
    for row, loss in list(zip(results.summary(), losses, strict=True))[:ROWS]:
        bands = [statistics.Estimate(each["median"], each["low"], each["high"]) for each in (loss, row)]
        settings = [brief("none" if row[name] is None else number(row[name])) for name in results.varied]
        texts = [text_of(name, band) for name, band in zip(("train_loss", metric), bands, strict=True)]
        rows.append([*settings, f"{row['runs']}", f"{row['diverged']:.0%}" if row["diverged"] else "", *texts])
    titles = [*map(setting_title, results.varied), "runs", "diverged", "training loss", metric_title(metric)]
    return {"table": Table(titles, rows), "all": len(results.cells), "shown": len(rows)}
