"""The sections about the run as a whole: findings, summary, curves, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...text import metric_text, metric_title, plural
from ...training.metrics import best_of
from .. import plots
from .drawable import drawable_rows, spread
from .markup import Html, Part, folded, join, table, tag, terms
from .outcome import status
from .pictures import picture
from .source import Source, step_curve
from .wording import brief, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Section(NamedTuple):
    """A part of the page: the name of its place, its heading, what a reader asks, and the answer."""

    place: str
    title: str
    question: str
    body: Html


SHOWN_EPOCHS = 40


# --- summary ---------------------------------------------------------------------------------------------------------


def summary_section(source: Source) -> Section:
    """What was trained on what, by what, how far, and how well."""
    return Section("summary", "Summary", "What was trained, and how well?", terms(_facts(source), class_="facts"))


def headline(source: Source) -> list[tuple[str, Part]]:
    """The few numbers that one wants first: the name and the value of each."""
    tiles: list[tuple[str, Part]] = []
    if source.monitor and source.rows:
        tiles.append((_metric(source.monitor), _value(source.monitor, source.rows[-1][source.monitor])))
        if "train_loss" in source.rows[-1] and source.monitor != "train_loss":
            tiles.append(("training loss", number(source.rows[-1]["train_loss"])))
    elif source.steps:
        tiles.append(("last loss", number(source.steps[-1].loss)))
    elif source.recording:
        loss = source.recording.values("mean_loss")
        if np.isfinite(loss).any():
            tiles.append(("last loss", number(loss[np.isfinite(loss)][-1])))
    tiles.append(("steps", f"{source.last_step:,}"))
    count = _parameters(source)
    if count is not None:
        tiles.append(("parameters", number(count)))
    return tiles


def _parameters(source: Source) -> Any:
    if source.recording:
        counts = [layer.get("parameters") for layer in source.recording.header["layers"].values()]
        if counts and all(type(count) is int for count in counts) and not source.config:
            return sum(counts)
    model = source.config.get("model")
    return model.get("parameters") if isinstance(model, dict) else None


def _facts(source: Source) -> Iterator[tuple[str, Part]]:
    arguments = source.arguments
    yield "state", status(source)
    if source.monitor and source.rows:
        values = [row[source.monitor] for row in source.rows]
        found = best_of(source.direction, (v if np.isfinite(v) else np.nan for v in values))
        if found is not None:
            place, best = found
            last = _value(source.monitor, values[-1])
            yield (
                _metric(source.monitor),
                f"{_value(source.monitor, best)} at best, after epoch {place + 1:,}; {last} at the end",
            )
    data = source.config.get("data")
    if isinstance(data, dict):
        rows = f"{number(data.get('train_rows'))} rows to train, {number(data.get('held_out_rows'))} held out"
        sizes = f"{number(data.get('features'))} features, {number(data.get('outputs'))} outputs"
        yield "data", f"{brief(data.get('name'))}: {rows}, {sizes}"
    if "model" in arguments or "data" in arguments:
        count = _parameters(source)
        counted = "" if count is None else f", {number(count)} parameters"
        yield (
            "model",
            f"{brief(arguments.get('model', 'mlp:64, the default'))}{counted}, {brief(arguments.get('dtype'))}",
        )
    yield "optimizer", _optimizer(source)
    if source.is_run:
        yield "schedule", _schedule(arguments)
        clips = arguments.get("clip", [])
        yield "clipping", ", ".join(map(brief, clips)) if isinstance(clips, list) and clips else "none"
        size = f"batches of {number(arguments.get('batch_size'))} rows"
        together = arguments.get("accumulate", 1)
        yield "batches", size + (f", {number(together)} of them to a step" if together != 1 else "")
        yield "seed", number(arguments.get("seed"))
    if source.recording:
        r = source.recording
        every = r.header.get("every")
        interval = ""
        if type(every) is int:
            interval = ", at every step" if every == 1 else f", every {number(every)} steps at first"
        yield (
            "recording",
            f"{plural(len(r), 'record')} of {plural(len(r.layers), 'layer')}{interval}, up to step {r.steps[-1]:,}",
        )
    else:
        yield "recording", "none"


def _optimizer(source: Source) -> str:
    arguments = source.arguments
    if not source.is_run:
        return brief(source.recording.optimizer if source.recording else "")
    known = [
        n for n in ("lr", "momentum", "betas", "beta", "alpha", "weight_decay", "trust_coefficient") if n in arguments
    ]
    settings = ", ".join(f"{name} {number(arguments[name])}" for name in known)
    around = arguments.get("lookahead")
    name = brief(arguments.get("optimizer"))
    slow = "" if around is None else f", inside Lookahead{f' ({brief(around)})' if around else ''}"
    return f"{name}{f' with {settings}' if settings else ''}{slow}"


def _schedule(arguments: Mapping[str, Any]) -> str:
    schedule, warmup = arguments.get("schedule"), arguments.get("warmup", 0)
    words = "none, a constant learning rate" if schedule is None else brief(schedule)
    return words + (f", after a warm-up of {number(warmup)}" if warmup else "")


def _metric(name: str) -> str:
    return brief(metric_title(name))


def _value(name: str, value: float) -> str:
    return metric_text(name, value, number)


# --- curves ----------------------------------------------------------------------------------------------------------


def curves_section(source: Source) -> Section | None:
    """Loss and metrics by epoch, loss by step, learning rate, and the table of epochs."""
    shown = [_by_epoch(source), _by_step(source), _by_rate(source), _epochs(source) if source.rows else None]
    if not any(shown):
        return None
    return Section("curves", "Curves", "How did loss and metrics go?", join(*shown))


def _by_epoch(source: Source) -> Html | None:
    metrics = source.metrics
    if not metrics or not metrics[0]:
        return None
    last = ", ".join(f"{_metric(name)} {_value(name, value)}" for name, value in metrics[-1].items())
    alt = f"Line charts of loss and metrics over {plural(len(metrics), 'epoch')}. At the end: {last}."
    drawn = drawable_rows(metrics)
    return picture(lambda: plots.metrics(drawn), alt, "Training data dashed, data held out solid, epoch by epoch.")


def _by_step(source: Source) -> Html | None:
    steps = step_curve(source)
    loss = np.empty(0) if steps is None else steps.values("mean_loss")
    finite = loss[np.isfinite(loss)]
    if steps is None or not finite.size:
        return None
    reach = f"from {number(finite[0])} to {number(finite[-1])}, lowest {number(finite.min())}"
    alt = f"Line chart of the training loss step by step: {reach}."
    return picture(
        lambda: plots.losses(steps), alt, "The loss step by step; each point is the mean since the one before."
    )


def _by_rate(source: Source) -> Html | None:
    rates = np.array([each.lr for each in source.steps])
    if not rates.size or rates.min() == rates.max():
        return None
    reach = f"from {number(rates.min())} to {number(rates.max())}"
    alt = f"Line chart of the learning rate over {plural(len(rates), 'step')}, {reach}."
    return picture(lambda: _rates(source), alt, "The learning rate, as the schedule set it (first param group).")


def _rates(source: Source) -> Figure:
    from ..plots.style import COLORS, canvas, finish, steps_axis, tidy

    figure, ax = canvas(None, 7.5, 2.8)
    # A line of the log has the rate for the step after it.
    steps, rates = (np.array([each[i] for each in source.steps]) for i in (0, 3))
    changes = np.unique([0, len(rates) - 1, *np.flatnonzero(np.diff(rates)), *np.flatnonzero(np.diff(rates)) + 1])
    ax.step(steps[changes] + 1, rates[changes], where="post", color=COLORS[0], linewidth=1.6)
    steps_axis(ax, steps + 1)
    ax.set_ylim(bottom=0.0)
    tidy(ax, "Learning rate", "step", "learning rate")
    return finish(figure, None)


def _epochs(source: Source) -> Html:
    rows, names = source.rows, [name for name in source.rows[0] if name != "epoch"]
    cells = [[number(row["epoch"]), *(_value(name, row[name]) for name in names)] for row in spread(rows, SHOWN_EPOCHS)]
    some = "" if len(cells) == len(rows) else f" ({len(cells)} of them, evenly spread; metrics.csv has all)"
    shown = table(f"Metrics by epoch{some}", ["epoch", *map(_metric, names)], cells, words=0)
    return folded("Every epoch in numbers", shown)


# --- settings --------------------------------------------------------------------------------------------------------


def settings_section(source: Source) -> Section | None:
    """Everything that ``config.json`` holds."""
    if not source.is_run:
        return None
    parts: list[Part] = []
    for title, name in (("Options", "arguments"), ("Data", "data"), ("Versions", "versions")):
        values = source.config.get(name)
        if isinstance(values, dict) and values:
            rows = [[tag("code", brief(key)), _setting(value)] for key, value in list(values.items())[:200]]
            parts.append(table(title, ["name", "value"], rows, words=2))
    model = source.config.get("model")
    if isinstance(model, dict) and isinstance(model.get("layers"), str):
        text = model["layers"]
        shown = text if len(text) <= 6000 else f"{text[:6000]}\n… ({len(text):,} characters)"
        parts.append(tag("div", tag("pre", shown), class_="scroll", tabindex=0, role="region", aria_label="The model"))
    names = ", ".join(name for name in ("seed", "device", "threads") if name in source.config)
    again = f"minigrad train --config {source.place}/config.json"
    parts.append(
        tag("p", "The same run again: ", tag("code", again), f". config.json also has {names}." if names else ".")
    )
    return Section("settings", "Settings", "With which options, on which data, by which versions?", join(*parts))


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return brief(", ".join(map(str, value)))
    return brief(json.dumps(value) if isinstance(value, bool | int | float | None) else value)
