"""The sections about the run as a whole, as values for the template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...optim.explanation import Explanation
from ...text import metric_text, metric_title, plural
from ...training.evaluation import best_of
from .. import plots
from ..graphs.drawing import Drawing
from ..records.recording import Record, Recording
from ._pictures import LARGEST_SVG, data_url, learning_rate, picture, short_names, spread
from ._run_data import RunData
from ._text import Table, brief, number, readable

Values = dict[str, Any]  # the values of a section for the template

EPOCHS = 40  # rows of the table
POINTS = 500  # of the loss curve
# The options of optimizers that the summary shows, in this order.
HYPERPARAMETERS = ("lr", "momentum", "betas", "beta", "alpha", "weight_decay", "trust_coefficient")


# --- summary ---------------------------------------------------------------------------------------------------------


def headline(data: RunData) -> Iterator[tuple[str, str]]:
    """The few numbers that a reader wants first: the name and the value of each."""
    if data.monitor and data.rows:
        yield _title(data.monitor), _value(data.monitor, data.rows[-1][data.monitor])
        if "train_loss" in data.rows[-1] and data.monitor != "train_loss":
            yield "training loss", number(data.rows[-1]["train_loss"])
    elif data.steps:
        yield "last loss", number(data.steps[-1].loss)
    elif data.recording:
        loss = data.recording.values("mean_loss")
        if np.isfinite(loss).any():
            yield "last loss", number(loss[np.isfinite(loss)][-1])
    yield "steps", f"{data.last_step:,}"
    count = _parameters(data)
    if count is not None:
        yield "parameters", number(count)


def summary(data: RunData) -> Values:
    """The model, the data, the optimizer, the progress and the results."""
    return {"facts": list(_facts(data))}


def _facts(data: RunData) -> Iterator[tuple[str, str]]:
    arguments = data.arguments
    yield "state", data.status
    if data.monitor and data.rows:
        values = [row[data.monitor] for row in data.rows]
        found = best_of(data.direction, (v if np.isfinite(v) else np.nan for v in values))
        if found is not None:
            place, best = found
            texts = [_value(data.monitor, value) for value in (best, values[-1])]
            yield _title(data.monitor), f"{texts[0]} at best, after epoch {place + 1:,}; {texts[1]} at the end"
    about = data.config.get("data")
    if isinstance(about, dict):
        rows = f"{number(about.get('train_rows'))} rows to train, {number(about.get('held_out_rows'))} held out"
        sizes = f"{number(about.get('features'))} features, {number(about.get('outputs'))} outputs"
        yield "data", f"{brief(about.get('name'))}: {rows}, {sizes}"
    if "model" in arguments or "data" in arguments:
        model = brief(arguments.get("model", "mlp:64, the default"))
        count = _parameters(data)
        counted = "" if count is None else f", {number(count)} parameters"
        yield "model", f"{model}{counted}, {brief(arguments.get('dtype'))}"
    yield "optimizer", _optimizer(data)
    if data.is_run:
        yield "schedule", _schedule(arguments)
        clips = arguments.get("clip", [])
        yield "clipping", ", ".join(map(brief, clips)) if isinstance(clips, list) and clips else "none"
        batches = arguments.get("accumulate", 1)
        per_step = f", {number(batches)} batches per step" if batches != 1 else ""
        yield "batches", f"{number(arguments.get('batch_size'))} rows each{per_step}"
        yield "seed", number(arguments.get("seed"))
    yield "recording", "none" if data.recording is None else _recorded(data.recording)


def _parameters(data: RunData) -> Any:
    if data.recording and not data.config:
        counts = [layer.get("parameters") for layer in data.recording.header["layers"].values()]
        if counts and all(type(count) is int for count in counts):
            return sum(counts)
    model = data.config.get("model")
    return model.get("parameters") if isinstance(model, dict) else None


def _optimizer(data: RunData) -> str:
    arguments = data.arguments
    if not data.is_run:
        return brief(data.recording.optimizer if data.recording else "")
    options = [f"{name} {number(arguments[name])}" for name in HYPERPARAMETERS if name in arguments]
    around = arguments.get("lookahead")
    chosen = f" with {', '.join(options)}" if options else ""
    lookahead = "" if around is None else f", inside Lookahead{f' ({brief(around)})' if around else ''}"
    return f"{brief(arguments.get('optimizer'))}{chosen}{lookahead}"


def _schedule(arguments: Mapping[str, Any]) -> str:
    schedule, warmup = arguments.get("schedule"), arguments.get("warmup", 0)
    name = "none, a constant learning rate" if schedule is None else brief(schedule)
    return name + (f", after a warm-up of {number(warmup)}" if warmup else "")


def _recorded(recording: Recording) -> str:
    every = recording.header.get("every")
    interval = ""
    if type(every) is int:
        interval = ", at every step" if every == 1 else f", every {number(every)} steps at first"
    counts = f"{plural(len(recording), 'record')} of {plural(len(recording.layers), 'layer')}"
    return f"{counts}{interval}, up to step {recording.steps[-1]:,}"


def _title(metric: str) -> str:
    return brief(metric_title(metric))


def _value(metric: str, value: float) -> str:
    return metric_text(metric, value, number)


# --- curves ----------------------------------------------------------------------------------------------------------


def curves(data: RunData) -> Values | None:
    """Loss and metrics per epoch, loss per step, learning rate, and the table of epochs."""
    shown = {"metrics": _metrics(data), "loss": _loss(data), "rate": _rate(data), "epochs": _epochs(data)}
    return shown if any(shown.values()) else None


def _metrics(data: RunData) -> Values | None:
    rows = data.metrics
    if not rows or not rows[0]:
        return None
    last = [f"{_title(name)} {_value(name, value)}" for name, value in rows[-1].items()]
    drawn = short_names(rows)
    return {"picture": picture(lambda: plots.metrics(drawn)), "epochs": len(rows), "last": last}


def _loss(data: RunData) -> Values | None:
    """The loss per step: from the log means of consecutive steps, otherwise the means of the recording."""
    if data.steps:
        every = -(-len(data.steps) // POINTS)
        chunks = [data.steps[i : i + every] for i in range(0, len(data.steps), every)]
        means = [(chunk[-1].step, float(np.mean([each.loss for each in chunk]))) for chunk in chunks]
    elif data.recording:
        means = list(zip(data.recording.steps.tolist(), data.recording.values("mean_loss").tolist(), strict=True))
    else:
        return None
    loss = np.array([each for _, each in means])
    loss = loss[np.isfinite(loss)]
    if not loss.size:
        return None
    records: list[Record] = [{"step": step, "mean_loss": mean, "layers": {}} for step, mean in means]
    curve = Recording({"optimizer": "", "layers": {}}, records)
    drawn = picture(lambda: plots.losses(curve))
    return {"picture": drawn, "first": loss[0], "last": loss[-1], "lowest": loss.min()}


def _rate(data: RunData) -> Values | None:
    rates = np.array([each.lr for each in data.steps])
    if not rates.size or rates.min() == rates.max():
        return None
    steps = np.array([each.step for each in data.steps]) + 1  # a line of the log has the rate for the step after it
    drawn = picture(lambda: learning_rate(steps, rates))
    return {"picture": drawn, "steps": len(rates), "least": rates.min(), "most": rates.max()}


def _epochs(data: RunData) -> Values | None:
    if not data.rows:
        return None
    names = [name for name in data.rows[0] if name != "epoch"]
    rows = [[number(row["epoch"]), *(_value(name, row[name]) for name in names)] for row in spread(data.rows, EPOCHS)]
    return {"table": Table(["epoch", *map(_title, names)], rows, words=0), "all": len(data.rows)}


# --- model -----------------------------------------------------------------------------------------------------------


def model(data: RunData) -> Values:
    """The graph of the model, or the reason why it is missing."""
    if data.draw_model is None:
        return {"graph": None, "problem": ""}
    try:
        graph, rows, when = data.draw_model()
    except Exception as error:  # whatever it is, the rest of the page does not depend on it
        return {"graph": None, "problem": " ".join(str(error).split()) or type(error).__name__}
    return {"graph": graph, "problem": "", "source": _graph_source(graph), "rows": rows, "when": when}


def _graph_source(graph: Drawing) -> str | None:
    data = readable(graph.svg).encode()
    return data_url("svg+xml", data) if len(data) <= LARGEST_SVG else None


# --- explained updates -----------------------------------------------------------------------------------------------


def weights(explanations: Sequence[Explanation], notes: Sequence[str]) -> Values | None:
    """Every term of the update of each explained weight.

    Args:
        explanations: as `minigrad.optim.Optimizer.explain` makes them.
        notes: remarks about them, such as why the list is empty.
    """
    if not explanations and not notes:
        return None
    return {"explanations": explanations, "notes": notes}


# --- settings --------------------------------------------------------------------------------------------------------


def settings(data: RunData) -> Values | None:
    """Everything that ``config.json`` holds."""
    if not data.is_run:
        return None
    about = data.config.get("model")
    layers = about.get("layers") if isinstance(about, dict) else None
    if isinstance(layers, str) and len(layers) > 6000:
        layers = f"{layers[:6000]}\n… ({len(layers):,} characters)"
    return {
        "tables": {
            title: options(data.config[name])
            for title, name in (("Options", "arguments"), ("Data", "data"), ("Versions", "versions"))
            if isinstance(data.config.get(name), dict) and data.config[name]
        },
        "layers": layers if isinstance(layers, str) else None,
        "others": [name for name in ("seed", "device", "threads") if name in data.config],
        "folder": data.folder,
    }


def options(values: Mapping[str, Any]) -> Table:
    """The names and values of options."""
    return Table(["name", "value"], [[brief(key), _option(value)] for key, value in list(values.items())[:200]], 2)


def _option(value: Any) -> str:
    if isinstance(value, list):
        return brief(", ".join(map(str, value)))
    return brief(json.dumps(value) if isinstance(value, bool | int | float | None) else value)
