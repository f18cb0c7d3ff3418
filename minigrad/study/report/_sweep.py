"""The page of a sweep: the values of its sections."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Iterator, Mapping
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
    problems = results.problems()
    done = len(results.table)
    of_problems = {
        place: [{"problem": brief(name), **values} for name, part in problems.items() if (values := make(part))]
        for place, make in (
            ("result", functools.partial(_result, sweep)),
            ("sensitivity", _sensitivity),
            ("two", _two),
            ("curves", _curves),
            ("target", _target),
        )
    }
    sections = {
        **of_problems,
        "profiles": _profiles(problems),
        "lost": _lost(results),
        "cells": _cells(results),
        "settings": {"table": options(_shared(sweep))},
    }
    text = template("sweep.html").render(
        name="sweep" if sweep.folder is None else sweep.folder.resolve().name,
        status=plural(done, "run") if done == sweep.asked else f"{done:,} of {plural(sweep.asked, 'run')} done",
        headline=list(_headline(results)),
        sections={place: values for place, values in sections.items() if values},
    )
    return readable(text)


def _shared(sweep: Sweep) -> dict[str, Any]:
    """The options that have the same value in all runs."""
    first, *others = (sweep.arguments(row["run"]) for row in sweep.results.table)
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


def _headline(results: Results) -> Iterator[tuple[str, str]]:
    for name, part in list(results.problems().items())[:2]:
        best = part.selected()[0]
        metric = metric_title(part.final_metric)
        yield (
            f"{metric} of {brief(best.label)}{f', {brief(name)}' if name else ''}",
            _value(part.final_metric, best.test[0]),
        )
    yield "cells", f"{len(results.cells):,}"
    yield "seeds", f"{len(results.seeds):,}"
    diverged = sum(row["status"] == "diverged" for row in results.table)
    yield "runs that diverged", f"{diverged:,}"


def _value(metric: str, value: float) -> str:
    return text_of(metric, statistics.Estimate(value, value, value))


def _result(sweep: Sweep, results: Results) -> Values:
    selected = results.selected()
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
    return f"{least}{value:.1f} decades ({low:.1f} to {high:.1f})"


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


def _curves(results: Results) -> Values | None:
    selected = results.selected()
    if not any(results.curve(row["run"]) for each in selected for row in each.cell.runs.values()):
        return None
    return {"picture": picture(lambda: plots.learning_curves(results)), "metric": metric_title(results.metric)}


def _target(results: Results) -> Values | None:
    selected = results.selected()
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
        "target": f"{metric_title(metric)} of {_value(metric, target)}",
    }


def _time(band: statistics.Estimate) -> str:
    texts = ["never" if math.isinf(each) else number(each) for each in band]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _profiles(problems: Mapping[str, Results]) -> Values | None:
    if len(problems) < 2:
        return None
    found = analysis.costs(problems)
    if len({frozenset(each) for each in found.values()}) > 1 or len(next(iter(found.values()))) < 2:
        return None
    return {"picture": picture(lambda: plots.performance_profiles(found)), "problems": list(map(brief, found))}


def _lost(results: Results) -> Values | None:
    """The runs that did not finish, by their status and the beginning of the reason, with a reason in full."""
    counts: dict[tuple[str, str], list[str]] = {}
    for row in results.table:
        if row["status"] != "finished":
            reason = str(row["reason"] or "")
            counts.setdefault((row["status"], reason.partition(":")[0]), []).append(reason)
    if not counts:
        return None
    listed = sorted(counts.items(), key=lambda each: -len(each[1]))
    rows = [[status, brief(reasons[0]), f"{len(reasons):,}"] for (status, _), reasons in listed[:REASONS]]
    return {"table": Table(["status", "reason, as in", "runs"], rows, 2), "others": max(len(listed) - REASONS, 0)}


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
