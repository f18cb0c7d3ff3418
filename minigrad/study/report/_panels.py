"""The panels of the layers: everything that was recorded of each of them, as values for the template."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from ..explanations._notation import meaning as meaning_of
from ..records.quantities import LAYER
from ..records.recording import Recording
from ._layers import PANELS, Series, has_bands, is_interesting, kind_of, median, middle
from ._pictures import bars, spark
from ._run_data import tensors_of
from ._sections import Values
from ._text import number

OPEN = 3  # layers that there may be for all panels to be unfolded
MEANINGS = {"lr": "learning rate of the step", "eps": "added to √v̂"}


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
    """The outputs of the layer and of the activations after it, up to the next layer."""
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
    kind = kind_of(recording, name)
    title = f"{name} ({kind})" if kind and kind != name else name
    return {"title": title, "ends": [(step, output, bars(output.get("counts") or [])) for step, output in ends]}
