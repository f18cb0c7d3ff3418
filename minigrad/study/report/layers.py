"""The sections about layers: updates, gradients, activations and the state of the optimizer."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...text import plural
from .. import plots
from ..records.recording import Recording
from .drawable import LAYERS, of_layers
from .markup import Html, Part, join, link, table, tag
from .panels import PANELS
from .pictures import picture
from .sections import Section
from .series import Series, median, middle, says_something, spreads
from .wording import brief, number

ROWS = 200  # layers in a table
# How many layers have their bands drawn; drawing takes the most time of all.
BANDS = 12


def updates_section(recording: Recording, drawn: Recording) -> Section:
    """Update-to-weight ratios, and what the changes are made of."""
    ratios = {layer: recording.layer(layer, "update_ratio") for layer in recording.layers}
    lines = f"a line for each of {plural(len(ratios), 'layer')}"
    alt = f"Line chart of update-to-weight ratios, {lines}. At the end: {_ends(ratios)}."
    shown = picture(
        lambda: plots.update_ratios(drawn),
        alt,
        "How large each step is beside the weights that it changes; the band marks what is usual.",
    )
    rows = []
    for i, layer in enumerate(recording.layers[:ROWS]):
        parts = [recording.layer(layer, name) for name in ("gradient_part", "decay_part", "slow_part")]
        ratio = ratios[layer]
        rows.append(
            [_linked(recording, i), number(ratio[0]), number(median(ratio)), number(ratio[-1])]
            + [_of(p) for p in parts]
        )
    headings = ["layer", "first", "median", "last", "from gradients", "from decay", "from slow weights"]
    kept = [i for i in range(len(headings)) if i < 5 or any(row[i] for row in rows)]
    caption = (
        "Update over weights per step; and the 2-norms of the parts of the change, medians over the records. What "
        "momentum carries over counts as from gradients"
    )
    ledger = table(caption, [headings[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return Section(
        "updates",
        "Updates",
        "How large is a step beside the weights that it changes?",
        join(shown, _slow(recording), ledger, _cut(recording)),
    )


def _slow(recording: Recording) -> Html | None:
    """What is to be known of records that all fall on steps of the slow weights."""
    k, every = recording.header.get("slow_every"), recording.header.get("every")
    if not k or not every or every % k:
        return None
    told = (
        f"The slow weights take a step every {k} steps, and every record but the first is of such a step: between them "
        "updates are smaller, and nothing comes from slow weights. Record at an interval that "
        f"{k} does not divide to see both."
    )
    return tag("p", told)


def gradients_section(recording: Recording, drawn: Recording) -> Section:
    """Gradient norms from the first layer to the last."""
    norms = {layer: recording.layer(layer, "gradient_norm") for layer in recording.layers}
    alt = (
        f"Line chart of the gradient by layer, from the first of {plural(len(norms), 'layer')} to the last. "
        f"Norms at the end: {_ends(norms)}."
    )
    shown = picture(
        lambda: plots.gradient_flow(drawn),
        alt,
        "The gradient per weight, so that layers of all sizes compare. Even is good; a slope vanishes or explodes.",
    )
    return Section("gradients", "Gradients", "Does the gradient reach every layer?", shown)


def activations_section(recording: Recording, drawn: Recording) -> Section | None:
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
        lambda: plots.activation_health(drawn),
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


def state_section(recording: Recording, drawn: Recording) -> Section | None:
    """Effective rates and the signal of the gradient, where the optimizer keeps second moments; bias corrections."""
    shown, few = [], of_layers(drawn, BANDS)
    trust = ", before the trust ratio" if recording.trust_ratios() else ""
    for quantity, title, meaning in (
        ("effective_rate", "effective learning rates", f"The rates that the weights of each layer really have{trust}"),
        ("signal", "the signal of the gradient", "1 where all gradients agree, near 0 where they are noise"),
    ):
        bands = {layer: recording.layer(layer, quantity) for layer in recording.layers}
        if not any(spreads(each) for each in bands.values()):
            continue
        medians = {layer: middle(each) for layer, each in bands.items()}
        told = recording.header.get(quantity)
        caption = f"{meaning}{f': {brief(told)}' if isinstance(told, str) else ''}. "
        caption += "Bands hold half and nine tenths of the weights."
        caption += "" if few is drawn else f" {BANDS} of {len(recording.layers)} layers, evenly spread."
        alt = f"Bands of {title}, a panel for each layer. Medians at the end: {_ends(medians)}."
        shown.append(picture(partial(plots.optimizer_state, few, quantity), alt, caption))
    if not shown:
        return None
    question = "What does the optimizer's state make of the learning rate, and how sure is it of its direction?"
    return Section("state", "Optimizer state", question, join(*shown))


# --- words -----------------------------------------------------------------------------------------------------------


def _linked(recording: Recording, number_: int) -> Part:
    name = brief(recording.layers[number_])
    return link(f"layer-{number_}", name) if len(recording.layers) <= PANELS else name


def _cut(recording: Recording) -> Html | None:
    """What of a recording with very many layers is not shown."""
    count = len(recording.layers)
    if count <= LAYERS:
        return None
    rows = f", tables the first {ROWS}" if count > ROWS else ""
    return tag("p", f"Pictures show {LAYERS} of {count:,} layers, evenly spread{rows}; the recording has all.")


def _of(values: Series) -> str:
    """A median, nothing where nothing was ever there."""
    return number(median(values)) if says_something(values) else ""


def _ends(series: dict[str, Series]) -> str:
    """The last values of the first few, in words."""
    told = [f"layer {brief(name)} {number(values[-1])}" for name, values in list(series.items())[:12] if len(values)]
    return ", ".join(told) + (f" and {len(series) - 12} more" if len(series) > 12 else "")
