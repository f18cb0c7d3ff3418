"""The sections about layers, clips and trust ratios: what they show, as values for the template."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import plots
from ..explanations._notation import meaning as meaning_of
from ..records._clips import LISTED
from ..records.quantities import LAYER
from ..records.recording import Recording
from ._pictures import bars, of_layers, picture, spark
from ._run_data import tensors_of
from ._sections import Values
from ._text import Table, brief, number, share

Series = npt.NDArray[np.float64]

ROWS = 200  # of a table
BANDS = 12  # layers whose bands are drawn, since drawing takes more time than all else
CLIPS = 4  # that have a picture
PANELS, OPEN = 24, 3  # layers that have a panel, and how many layers there may be for all panels to be unfolded
ENDS = 12  # layers whose last value is in the text alternative of a picture

MEANINGS = {"lr": "learning rate of the step", "eps": "added to √v̂"}


# --- series of a quantity over the records ---------------------------------------------------------------------------


def median(values: Series) -> float:
    """The median of the values that are not NaN."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def is_interesting(values: Series) -> bool:
    """Whether a series of single numbers has a value other than 0."""
    known = values[~np.isnan(values)]
    return bool(values.ndim == 1 and known.size and (known != 0).any())


def has_bands(quantiles: Series) -> bool:
    """Whether the quantiles of any record differ."""
    if quantiles.ndim != 2:
        return False
    finite = quantiles[np.isfinite(quantiles).all(1)]
    return bool(finite.size and (finite.max(1) > finite.min(1)).any())


def middle(quantiles: Series) -> Series:
    """The medians of quantiles, a row per record; empty if there are no quantiles."""
    return quantiles[:, quantiles.shape[1] // 2] if quantiles.ndim == 2 and quantiles.shape[1] else np.empty(0)


def _ends(series: dict[str, Series]) -> Values:
    """The last values of the first few layers, and the number of others."""
    shown = [(name, values[-1]) for name, values in list(series.items())[:ENDS] if len(values)]
    return {"shown": shown, "others": max(len(series) - ENDS, 0), "all": len(series)}


# --- updates, gradients, activations, optimizer state ----------------------------------------------------------------


def updates(recording: Recording, drawn: Recording) -> Values:
    """Update-to-weight ratios, and what the changes consist of."""
    ratios = {layer: recording.layer(layer, "update_ratio") for layer in recording.layers}
    layers = recording.layers[:ROWS]
    columns = {
        "layer": map(brief, layers),
        "first": [number(ratios[layer][0]) for layer in layers],
        "median": [number(median(ratios[layer])) for layer in layers],
        "last": [number(ratios[layer][-1]) for layer in layers],
    }
    for heading, name in (
        ("from gradients", "gradient_part"),
        ("from decay", "decay_part"),
        ("from slow weights", "slow_part"),
    ):
        parts = [recording.layer(layer, name) for layer in layers]
        columns[heading] = [number(median(each)) if is_interesting(each) else "" for each in parts]
    links = [f"layer-{i}" for i in range(len(layers))] if len(recording.layers) <= PANELS else []
    k, every = recording.header.get("slow_every"), recording.header.get("every")
    return {
        "picture": picture(lambda: plots.update_ratios(drawn)),
        "ends": _ends(ratios),
        "slow_every": k if k and every and every % k == 0 else None,
        "table": Table.of(columns, links=links),
        "layers": len(recording.layers),
    }


def gradients(recording: Recording, drawn: Recording) -> Values:
    """Gradient norms from the first layer to the last."""
    norms = {layer: recording.layer(layer, "gradient_norm") for layer in recording.layers}
    return {"picture": picture(lambda: plots.gradient_flow(drawn)), "ends": _ends(norms)}


def activations(recording: Recording, drawn: Recording) -> Values | None:
    """What the layers output, and their dead and saturated units."""
    names = recording.activations
    if not names:
        return None
    last = [record for record in recording.records if record.get("activations")][-1]
    outputs = [last["activations"].get(name, {}) for name in names[:ROWS]]
    columns = {
        "output": map(brief, names[:ROWS]),
        "kind": [brief(_kind(recording, name)) for name in names[:ROWS]],
        "mean": [number(each.get("mean")) for each in outputs],
        "std": [number(each.get("std")) for each in outputs],
        "lowest": [number(each.get("low")) for each in outputs],
        "highest": [number(each.get("high")) for each in outputs],
        "dead": [_of_units(each, "dead") for each in outputs],
        "saturated": [_of_units(each, "saturated") for each in outputs],
        "NaN": [number(each.get("nan")) for each in outputs],
        "infinite": [number(each.get("inf")) for each in outputs],
    }
    dead = [(name, each["dead"]) for name, each in zip(names, outputs, strict=False) if each.get("dead")]
    return {
        "picture": picture(lambda: plots.activation_health(drawn)),
        "outputs": len(names),
        "dead": dead[:20],
        "probe_rows": recording.header.get("probe_rows"),
        "step": last["step"],
        "table": Table.of(columns, words=2),
    }


def _kind(recording: Recording, name: str) -> Any:
    return recording.header.get("activations", {}).get(name, {}).get("kind", "")


def _of_units(output: dict[str, Any], what: str) -> str:
    return f"{number(output[what])} of {number(output.get('units', 0))}" if what in output else ""


def state(recording: Recording, drawn: Recording) -> Values | None:
    """Effective rates and the signal of the gradient, if the optimizer keeps second moments."""
    few = of_layers(drawn, BANDS)
    shown: Values = {}
    for quantity in ("effective_rate", "signal"):
        quantiles = {layer: recording.layer(layer, quantity) for layer in recording.layers}
        if any(has_bands(each) for each in quantiles.values()):
            formula = recording.header.get(quantity)
            shown[quantity] = {
                "picture": picture(partial(plots.optimizer_state, few, quantity)),
                "formula": formula if isinstance(formula, str) else None,
                "ends": _ends({layer: middle(each) for layer, each in quantiles.items()}),
            }
    if not shown:
        return None
    some = None if few is drawn else BANDS
    return {"quantities": shown, "some": some, "layers": len(recording.layers), "trust": bool(recording.trust_ratios())}


# --- ledgers of clips and trust ratios -------------------------------------------------------------------------------


def clips(recording: Recording, drawn: Recording) -> Values | None:
    """Each clip: how often it acted, and how much it took away."""
    count = max(len(record.get("clips", [])) for record in recording.records)
    if not count:
        return None
    shown = [_clip(recording, drawn, i) for i in range(count)]
    columns = {
        "clip": [each["title"] for each in shown],
        "per": [each["scope"] for each in shown],
        "threshold": [each["threshold"] for each in shown],
        "acted on steps": [each["acted"] for each in shown],
        "norm before": [each["before"] for each in shown],
        "norm after": [each["after"] for each in shown],
        "factor": [each["factor"] for each in shown],
    }
    return {"table": Table.of(columns, words=4), "clips": shown}


def _clip(recording: Recording, drawn: Recording, which: int) -> Values:
    entries = recording.clips(which)
    last = entries[-1]
    before, after, factor = (
        number(np.median([each[name] for each in entries])) for name in ("norm_before", "norm_after", "factor")
    )
    steps = f"{number(last['acted_steps'])} of {number(last['steps'])}{' recorded' if last.get('sampled') else ''}"
    ranges = last.get("by_range")
    return {
        "title": brief(last["title"]),
        "scope": brief(last["scope"]),
        "threshold": ", ".join(f"{brief(name)} {number(value)}" for name, value in last["thresholds"].items()),
        "acted": f"{share(last['acted_steps'], last['steps'])} ({steps})",
        "before": before,
        "after": after,
        "factor": factor,
        "picture": picture(lambda: plots.clip_ledger(drawn, which)) if which < CLIPS else None,
        "step": last["step"],
        "ranges": _ranges(brief(last["scope"]), ranges) if isinstance(ranges, dict) else None,
    }


def _ranges(scope: str, ranges: dict[str, Any]) -> Table:
    rows = [
        [brief(name), *(number(value) for value in values[:3])]
        for name, values in list(ranges.items())[:LISTED]
        if isinstance(values, list)
    ]
    return Table([scope, "norm before", "norm after", "factor"], rows)


def trust(recording: Recording, drawn: Recording) -> Values | None:
    """The trust ratio of every tensor."""
    ratios = recording.trust_ratios()
    if not ratios:
        return None
    clamped = dict.fromkeys(ratios, 0)
    for record in recording.records:
        for layer in record["layers"].values():
            for name, entry in layer.get("trust", {}).items():
                clamped[name] += bool(entry.get("clamped"))
    names = list(ratios)[:ROWS]
    finite = {name: values[np.isfinite(values)] for name, values in ratios.items()}
    columns = {
        "tensor": map(brief, names),
        "least": [number(finite[name].min()) if finite[name].size else "NaN" for name in names],
        "median": [number(median(finite[name])) for name in names],
        "most": [number(finite[name].max()) if finite[name].size else "NaN" for name in names],
        "last": [number(ratios[name][-1]) for name in names],
        "norm clamped in": [f"{clamped[name]} of {len(ratios[name])}" if clamped[name] else "" for name in names],
    }
    together = np.concatenate(list(finite.values()))
    return {
        "picture": picture(lambda: plots.trust_ratios(drawn)),
        "tensors": len(ratios),
        "reach": (together.min(), together.max()) if together.size else None,
        "table": Table.of(columns),
    }


# --- a panel for each layer ------------------------------------------------------------------------------------------


def panels(recording: Recording, marked: Collection[str | None]) -> Values:
    """Everything that was recorded of each layer; of many layers, first those that findings are about.

    Args:
        recording: of the run.
        marked: the places of the panels of these layers, which are unfolded.
    """
    layers = recording.layers
    places = [f"layer-{i}" for i in range(len(layers))]
    # Sorting is stable: the first layers come after those that are marked. Then again in their order.
    chosen = sorted(sorted(range(len(places)), key=lambda i: places[i] not in marked)[:PANELS])
    shown = [
        {
            "place": places[i],
            "layer": layers[i],
            "open": len(places) <= OPEN or places[i] in marked,
            "parameters": recording.header["layers"][layers[i]].get("parameters"),
            "tensors": tensors_of(recording, layers[i]),
            "rows": [_row(*each) for each in _quantities(recording, layers[i])],
            "outputs": [_output(recording, name) for name in _outputs_after(recording, layers[i])],
        }
        for i in chosen
    ]
    return {
        "panels": shown,
        "others": len(places) - len(shown),
        "first": recording.steps[0],
        "last": recording.steps[-1],
    }


def _row(title: str, meaning: str, values: Series) -> Values:
    known = values[~np.isnan(values)]
    texts = [number(known[0]), number(median(values)), number(values[-1])] if known.size else ["", "", "NaN"]
    return {"title": title, "meaning": meaning, "spark": spark(values), "numbers": texts}


def _quantities(recording: Recording, layer: str) -> Iterator[tuple[str, str, Series]]:
    """Title, meaning and values of everything that was recorded of a layer and is not always 0."""
    for entry in LAYER:
        if entry.within is not None:  # a table of values
            continue
        values = recording.layer(layer, entry.name)
        values = middle(values) if values.ndim == 2 and has_bands(values) else values
        if is_interesting(values):
            yield entry.title, entry.meaning, values
    for group, meaning in (("state_norm", "2-norm of the state"), ("scalars", "")):
        for name in _names_in(recording, layer, group):
            values = recording.layer(layer, f"{group}.{name}")
            if "." not in name and np.isfinite(values).any():
                yield name, meaning or meaning_of(name) or MEANINGS.get(name, ""), values
    trusted = _names_in(recording, layer, "trust")
    ratios = recording.trust_ratios() if trusted else {}
    for name in trusted:
        yield f"trust ratio of {name}", "", ratios[name]


def _names_in(recording: Recording, layer: str, group: str) -> list[str]:
    """The names of a layer's states, scalars or trust ratios, of all records."""
    found = (record["layers"].get(layer, {}).get(group) for record in recording.records)
    return list(dict.fromkeys(name for each in found if isinstance(each, dict) for name in each))


def _outputs_after(recording: Recording, layer: str) -> list[str]:
    """The layer's own output and those of the activations after it, up to the next layer."""
    names = recording.activations
    if layer not in names:
        return []
    after = names[names.index(layer) + 1 :]
    end = next((i for i, name in enumerate(after) if name in recording.layers), len(after))
    return [layer, *after[:end]]


def _output(recording: Recording, name: str) -> Values:
    """The output of a module at the first and at the last record."""
    outputs = [(r["step"], r["activations"][name]) for r in recording.records if name in r.get("activations", {})]
    ends = [outputs[0], outputs[-1]] if len(outputs) > 1 else outputs
    kind = _kind(recording, name)
    title = f"{name} ({kind})" if kind and kind != name else name
    return {"title": title, "ends": [_histogram(step, output) for step, output in ends]}


def _histogram(step: int, output: dict[str, Any]) -> Values:
    counts = output.get("counts")
    return {
        "step": step,
        "low": output.get("low"),
        "high": output.get("high"),
        "mean": output.get("mean"),
        "std": output.get("std"),
        "units": output.get("units"),
        "parts": [(what, output[what]) for what in ("dead", "saturated") if what in output],
        "bars": bars([float(count) for count in counts]) if isinstance(counts, list) else "",
    }
