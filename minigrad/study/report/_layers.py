"""The sections about layers, clips and trust ratios, as values for the template."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import plots
from ..records._clips import LISTED
from ..records.quantities import quantity
from ..records.recording import Recording
from ._pictures import of_layers, picture
from ._sections import Values
from ._text import Table, brief, number, share

Series = npt.NDArray[np.float64]

ROWS = 200  # of a table
BANDS = 12  # layers whose bands are drawn, since drawing takes more time than all else
CLIPS = 4  # that have a picture
PANELS = 24  # layers that have a panel
ENDS = 12  # layers whose last value is in the text alternative of a picture


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
    """Update-to-weight ratios, and the parts of the changes."""
    ratios = {layer: recording.layer(layer, "update_ratio") for layer in recording.layers}
    layers = recording.layers[:ROWS]
    columns = {
        "layer": map(brief, layers),
        "first": [number(ratios[layer][0]) for layer in layers],
        "median": [number(median(ratios[layer])) for layer in layers],
        "last": [number(ratios[layer][-1]) for layer in layers],
    }
    for name in ("gradient_part", "decay_part", "slow_part"):
        parts = [recording.layer(layer, name) for layer in layers]
        title = quantity("layer", name).title
        columns[title] = [number(median(each)) if is_interesting(each) else "" for each in parts]
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
    """The layers' outputs, and their dead and saturated units."""
    names = recording.activations
    if not names:
        return None
    last = [record for record in recording.records if record.get("activations")][-1]
    outputs = [last["activations"].get(name, {}) for name in names[:ROWS]]
    columns = {
        "output": map(brief, names[:ROWS]),
        "kind": [brief(kind_of(recording, name)) for name in names[:ROWS]],
    }
    for name in ("mean", "std", "low", "high", "dead", "saturated", "nan", "inf"):
        cell = _of_units if name in ("dead", "saturated") else _plain
        columns[quantity("activation", name).title] = [cell(each, name) for each in outputs]
    dead = [(name, each["dead"]) for name, each in zip(names, outputs, strict=False) if each.get("dead")]
    return {
        "picture": picture(lambda: plots.activation_health(drawn)),
        "outputs": len(names),
        "dead": dead[:20],
        "probe_rows": recording.header.get("probe_rows"),
        "step": last["step"],
        "table": Table.of(columns, words=2),
    }


def kind_of(recording: Recording, name: str) -> Any:
    """The class of the module whose output has this name; empty if that is not known."""
    return recording.header.get("activations", {}).get(name, {}).get("kind", "")


def _plain(output: dict[str, Any], name: str) -> str:
    return number(output.get(name))


def _of_units(output: dict[str, Any], name: str) -> str:
    return f"{number(output[name])} of {number(output.get('units', 0))}" if name in output else ""


def state(recording: Recording, drawn: Recording) -> Values | None:
    """Effective rates and the signal of the gradient, if the optimizer keeps second moments."""
    few = of_layers(drawn, BANDS)
    shown: Values = {}
    for name in ("effective_rate", "signal"):
        quantiles = {layer: recording.layer(layer, name) for layer in recording.layers}
        if any(has_bands(each) for each in quantiles.values()):
            formula = recording.header.get(name)
            shown[name] = {
                "picture": picture(partial(plots.optimizer_state, few, name)),
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
    return {"clips": [_clip(recording, drawn, i) for i in range(count)]}


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
