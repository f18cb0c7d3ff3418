"""The section with a panel for each layer: everything that was recorded of it, each quantity in a row."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ...text import plural
from ..records.recording import Recording
from ..updates.glossary import words
from .markup import Html, Part, folded, join, table, tag
from .sections import Section
from .series import Series, median, middle, says_something, spreads
from .source import Source, tensors_of
from .sparks import bars, spark
from .wording import brief, number

# How many layers have a panel of their own, and how many panels are open from the beginning.
PANELS, OPEN = 24, 3

# The quantities of a layer with their names, what they are, and where they stand in a record.
QUANTITIES = (
    ("gradient", "2-norm, before any clip", "gradient_norm"),
    ("weights", "2-norm", "parameter_norm"),
    ("update", "2-norm of the change that was made", "update_norm"),
    ("update / weights", "per step; about 0.001 is usual", "update_ratio"),
    ("from gradients", "2-norm of this part of the change, momentum included", "gradient_part"),
    ("from decay", "2-norm of this part of the change", "decay_part"),
    ("from slow weights", "2-norm of this part of the change", "slow_part"),
    ("to the slow weights", "2-norm of the distance", "slow_distance"),
)
MEANINGS = {"lr": "learning rate of the step", "eps": "added to √v̂"}


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
        if says_something(values):
            yield title, meaning, values
    for title, meaning, name in (
        ("effective rate", "median over the weights", "effective_rate"),
        ("signal", "median of |m̂| / √v̂ over the weights", "signal"),
    ):
        bands = recording.layer(layer, name)
        if spreads(bands) and says_something(middle(bands)):
            yield title, meaning, middle(bands)
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


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _three(values: Series) -> list[Part]:
    known = values[~np.isnan(values)]
    return [number(known[0]), number(median(values)), number(values[-1])] if known.size else ["", "", "NaN"]


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
