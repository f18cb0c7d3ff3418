"""The sections about layers: updates, gradients, activations, optimizer state, and a panel for each layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import plots
from ..glossary import words
from ..recording import Recording
from .markup import Html, Part, folded, join, link, table, tag
from .pictures import picture
from .sections import Section
from .source import Source, tensors_of
from .sparks import Series, bars, spark
from .wording import brief, number, plural

# How many layers have a panel of their own, and a row in a table.
PANELS, ROWS = 24, 200
# How many layers have their bands drawn; drawing takes the most time of all.
BANDS = 12
# As many panels as these are open from the beginning.
OPEN = 3

# The quantities of a layer with their names, what they are, and where they stand in a record.
QUANTITIES = (
    ("gradient", "2-norm, before any clip", "gradient_norm"),
    ("weights", "2-norm", "parameter_norm"),
    ("update", "2-norm of the change that was made", "update_norm"),
    ("update / weights", "per step; about 0.001 is usual", "update_ratio"),
    ("from the gradient", "2-norm of this part of the change", "gradient_part"),
    ("from decay", "2-norm of this part of the change", "decay_part"),
    ("from slow weights", "2-norm of this part of the change", "slow_part"),
    ("to the slow weights", "2-norm of the distance", "slow_distance"),
)
MEANINGS = {"lr": "learning rate of the step", "eps": "added to √v̂"}


def updates_section(recording: Recording) -> Section:
    """Update-to-weight ratios, and what the changes are made of."""
    ratios = {layer: recording.layer(layer, "update_ratio") for layer in recording.layers}
    lines = f"a line for each of {plural(len(ratios), 'layer')}"
    alt = f"Line chart of update-to-weight ratios, {lines}. At the end: {_ends(ratios)}."
    shown = picture(
        lambda: plots.update_ratios(recording),
        alt,
        "How large each step is beside the weights that it changes; the band marks what is usual.",
    )
    rows = []
    for i, layer in enumerate(recording.layers[:ROWS]):
        parts = [recording.layer(layer, name) for name in ("gradient_part", "decay_part", "slow_part")]
        ratio = ratios[layer]
        rows.append(
            [_linked(recording, i), number(ratio[0]), number(_median(ratio)), number(ratio[-1])]
            + [_of(p) for p in parts]
        )
    headings = ["layer", "first", "median", "last", "from gradient", "from decay", "from slow weights"]
    kept = [i for i in range(len(headings)) if i < 5 or any(row[i] for row in rows)]
    caption = "Update over weights per step; and the 2-norms of the parts of the change, medians over the records"
    ledger = table(caption, [headings[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return Section(
        "updates",
        "Updates",
        "How large is a step beside the weights that it changes?",
        join(shown, ledger, _cut(recording)),
    )


def gradients_section(recording: Recording) -> Section:
    """Gradient norms from the first layer to the last."""
    norms = {layer: recording.layer(layer, "gradient_norm") for layer in recording.layers}
    alt = (
        f"Line chart of the gradient by layer, from the first of {plural(len(norms), 'layer')} to the last. "
        f"Norms at the end: {_ends(norms)}."
    )
    shown = picture(
        lambda: plots.gradient_flow(recording),
        alt,
        "The gradient per weight, so that layers of all sizes compare. Even is good; a slope vanishes or explodes.",
    )
    return Section("gradients", "Gradients", "Does the gradient reach every layer?", shown)


def activations_section(recording: Recording) -> Section | None:
    """What the layers give out, dead and saturated units."""
    names = recording.activations
    if not names:
        return None
    last = [record for record in recording.records if record.get("activations")][-1]["activations"]
    dead = [f"{name} {last[name]['dead']:g}" for name in names[:ROWS] if last.get(name, {}).get("dead")]
    alt = (
        f"Histograms of {plural(len(names), 'output')} on a fixed probe batch, at the first and the last record. "
        f"{'Dead units at the end: ' + ', '.join(map(brief, dead[:20])) if dead else 'No unit is dead at the end'}."
    )
    shown = picture(
        lambda: plots.activation_health(recording),
        alt,
        "What each module gives out on the same rows at the beginning and at the end. A ReLU unit is dead if it is 0 "
        "on all of them.",
    )
    rows = [_activation_row(recording, name, last.get(name, {})) for name in names[:ROWS]]
    headings = ["output", "kind", "mean", "std", "lowest", "highest", "dead", "saturated", "NaN", "infinite"]
    kept = [i for i in range(len(headings)) if i < 6 or any(row[i] for row in rows)]
    rows_at = f"{number(recording.header.get('probe_rows'))} rows of the probe, step {last_step(recording):,}"
    ledger = table(
        f"Outputs on {rows_at}", [headings[i] for i in kept], [[row[i] for i in kept] for row in rows], words=2
    )
    return Section(
        "activations", "Activations", "What do the layers give out, and which units take no part?", join(shown, ledger)
    )


def last_step(recording: Recording) -> int:
    """The last step at which activations were looked at."""
    return int([record["step"] for record in recording.records if record.get("activations")][-1])


def _activation_row(recording: Recording, name: str, output: dict[str, Any]) -> list[Part]:
    kind = recording.header.get("activations", {}).get(name, {}).get("kind", "")
    units = output.get("units", 0)
    counted = [f"{number(output[what])} of {number(units)}" if what in output else "" for what in ("dead", "saturated")]
    values = [number(output.get(what)) for what in ("mean", "std", "low", "high")]
    return [brief(name), brief(kind), *values, *counted, *(number(output.get(what)) for what in ("nan", "inf"))]


def state_section(recording: Recording) -> Section | None:
    """Effective rates and the signal of the gradient, where the optimizer keeps second moments; bias corrections."""
    shown, few = [], _few(recording)
    for quantity, title, meaning in (
        ("effective_rate", "effective learning rates", "The rates that the weights of each layer really have"),
        ("signal", "the signal of the gradient", "1 where all gradients agree, near 0 where they are noise"),
    ):
        bands = {layer: recording.layer(layer, quantity) for layer in recording.layers}
        if not any(each.ndim == 2 and _spreads(each) for each in bands.values()):
            continue
        medians = {layer: each[:, each.shape[1] // 2] for layer, each in bands.items() if each.ndim == 2}
        told = recording.header.get(quantity)
        caption = f"{meaning}{f': {brief(told)}' if isinstance(told, str) else ''}. "
        caption += "Bands hold half and nine tenths of the weights."
        caption += "" if few is recording else f" {BANDS} of {len(recording.layers)} layers, evenly spread."
        alt = f"Bands of {title}, a panel for each layer. Medians at the end: {_ends(medians)}."
        shown.append(picture(partial(plots.optimizer_state, few, quantity), alt, caption))
    if not shown:
        return None
    question = "What does the optimizer's state make of the learning rate, and how sure is it of its direction?"
    return Section("state", "Optimizer state", question, join(*shown))


def _few(recording: Recording) -> Recording:
    """The recording, with `BANDS` of its layers where it has more."""
    layers = recording.layers
    if len(layers) <= BANDS:
        return recording
    places = np.linspace(0, len(layers) - 1, BANDS).round().astype(int)
    kept = {layers[i]: recording.header["layers"][layers[i]] for i in places}
    return Recording({**recording.header, "layers": kept}, recording.records)


def _spreads(bands: Series) -> bool:
    """Whether weights differ at all."""
    finite = bands[np.isfinite(bands).all(1)]
    return bool(finite.size and (finite.max(1) > finite.min(1)).any())


# --- panels ----------------------------------------------------------------------------------------------------------


def layers_section(source: Source, recording: Recording, marked: Collection[str]) -> Section:
    """A panel for each layer; where there are many, for those of a finding first.

    Args:
        source: where the recording is from.
        recording: of the run.
        marked: the places of the layers that findings are about.
    """
    places = [f"layer-{i}" for i in range(len(recording.layers))]
    chosen = sorted(sorted(range(len(places)), key=lambda i: places[i] not in marked)[:PANELS])
    panels = [
        _panel(source, recording, i, open_=len(places) <= OPEN or places[i] in marked) for i in chosen
    ]  # fmt: skip
    left = len(places) - len(panels)
    note = f"{plural(left, 'layer')} more are in the recording; those of findings come first." if left else None
    question = "What did each layer go through? Lines run from the first record to the last."
    return Section("layers", "Layers", question, join(*panels, tag("p", note) if note else None))


def _panel(source: Source, recording: Recording, number_: int, open_: bool) -> Html:
    layer = recording.layers[number_]
    about = recording.header["layers"][layer]
    tensors = tensors_of(source, layer)
    named = f"{', '.join(map(brief, tensors[:8]))}{', …' if len(tensors) > 8 else ''}"
    summary = join(
        tag("strong", f"Layer {brief(layer)}"),
        f" {number(about.get('parameters'))} parameters{f': {named}' if named else ''}",
    )
    rows = [
        [
            join(tag("span", title), tag("small", meaning) if meaning else None),
            spark(values, _told(title, values)),
            *_three(values),
        ]
        for title, meaning, values in _quantities(recording, layer)
    ]
    steps = recording.steps
    shown = table(
        f"Layer {brief(layer)}, steps {steps[0]:,} to {steps[-1]:,}",
        ["", "over the run", "first", "median", "last"],
        rows,
        words=2,
    )
    outputs = [_output(recording, name) for name in _outputs_of(recording, layer)]
    # The place stands inside, so that following a link to it opens what is folded.
    return folded(summary, tag("div", shown, *outputs, id=f"layer-{number_}"), open_=open_, class_="panel")


def _quantities(recording: Recording, layer: str) -> Iterator[tuple[str, str, Series]]:
    """Names, meanings and values of everything that was recorded of a layer and is not always 0."""
    for title, meaning, name in QUANTITIES:
        values = recording.layer(layer, name)
        if _says_something(values):
            yield title, meaning, values
    for title, meaning, name in (
        ("effective rate", "median over the weights", "effective_rate"),
        ("signal", "median of |m̂| / √v̂ over the weights", "signal"),
    ):
        bands = recording.layer(layer, name)
        if bands.ndim == 2 and _spreads(bands) and _says_something(middle := bands[:, bands.shape[1] // 2]):
            yield title, meaning, middle
    for group, meant in (("state_norm", "2-norm of the state"), ("scalars", "")):
        names = dict.fromkeys(
            name for record in recording.records for name in _dict(record["layers"].get(layer, {}).get(group))
        )
        for name in names:
            values = recording.layer(layer, f"{group}.{name}")
            if "." not in name and np.isfinite(values).any():
                yield name, meant or words(name) or MEANINGS.get(name, ""), values
    trusts = dict.fromkeys(
        name for record in recording.records for name in record["layers"].get(layer, {}).get("trust", {})
    )
    ratios = recording.trust_ratios() if trusts else {}
    for name in trusts:
        yield f"trust ratio of {name}", "", ratios[name]


def _says_something(values: Series) -> bool:
    known = values[~np.isnan(values)]
    return bool(values.ndim == 1 and known.size and (known != 0).any())


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _three(values: Series) -> list[Part]:
    known = values[~np.isnan(values)]
    return [number(known[0]), number(_median(values)), number(values[-1])] if known.size else ["", "", "NaN"]


def _told(title: str, values: Series) -> str:
    first, middle, last = _three(values)
    return f"{title}: {first} at first, {last} at the end, {middle} in the middle"


def _outputs_of(recording: Recording, layer: str) -> list[str]:
    """The layer's own output and the activations behind it, up to the next layer."""
    names, found = recording.activations, []
    if layer not in names:
        return []
    for name in names[names.index(layer) :]:
        if name != layer and name in recording.layers:
            break
        found.append(name)
    return found


def _output(recording: Recording, name: str) -> Html:
    """The output of a module at the first and at the last record."""
    outputs = [(r["step"], r["activations"][name]) for r in recording.records if name in r.get("activations", {})]
    kind = recording.header.get("activations", {}).get(name, {}).get("kind", "")
    titled = brief(f"{name} ({kind})" if kind and kind != name else name)
    ends = [outputs[0], outputs[-1]] if len(outputs) > 1 else outputs
    return tag(
        "div", tag("span", titled), *(_histogram(titled, step, output) for step, output in ends), class_="output"
    )


def _histogram(titled: str, step: int, output: dict[str, Any]) -> Html:
    reach = f"{number(output.get('low'))} to {number(output.get('high'))}"
    told = f"step {step:,}: {number(output.get('mean'))} ± {number(output.get('std'))}, {reach}"
    for what in ("dead", "saturated"):
        if what in output:
            told += f", {number(output[what])} of {number(output.get('units'))} units {what}"
    counts = output.get("counts")
    label = f"Histogram of the output {titled} at step {step:,}, from {reach}"
    drawn = bars([float(count) for count in counts], label) if isinstance(counts, list) else None
    return tag("div", drawn, tag("small", told))


# --- words -----------------------------------------------------------------------------------------------------------


def _linked(recording: Recording, number_: int) -> Part:
    name = brief(recording.layers[number_])
    return link(f"layer-{number_}", name) if len(recording.layers) <= PANELS else name


def _cut(recording: Recording) -> Html | None:
    left = len(recording.layers) - ROWS
    return tag("p", f"{plural(left, 'layer')} more are in the recording.") if left > 0 else None


def _median(values: Series) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def _of(values: Series) -> str:
    """A median, nothing where nothing was ever there."""
    return number(_median(values)) if _says_something(values) else ""


def _ends(series: dict[str, Series]) -> str:
    """The last values of the first few, in words."""
    told = [f"layer {brief(name)} {number(values[-1])}" for name, values in list(series.items())[:12] if len(values)]
    return ", ".join(told) + (f" and {len(series) - 12} more" if len(series) > 12 else "")
