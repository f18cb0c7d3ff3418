"""What a Recorder is given, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...checks import unknown
from ...nn import Module
from ...optim import Optimizer


def check_pair(model: Any, optimizer: Any) -> None:
    """Refuse what is no model and its optimizer. A model without parameters has none that could be another's."""
    if not isinstance(model, Module) or not isinstance(optimizer, Optimizer):
        got = f"{type(model).__name__}, {type(optimizer).__name__}"
        raise TypeError(f"Recorder: takes a model and its optimizer, Recorder(model, optimizer), not ({got})")
    parameters = list(model.parameters())
    held = {id(entry.parameter) for entry in optimizer.store.entries.values()}
    if parameters and not any(id(parameter) in held for parameter in parameters):
        raise ValueError(
            f"Recorder: {type(optimizer).__name__} holds no parameter of this model, which was perhaps built anew; "
            "make the optimizer from model.parameters() of the model that is recorded"
        )


def chosen_layers(names: Iterable[str], known: Iterable[str]) -> set[str]:
    """The layers of these names, and those that lie under them."""
    if isinstance(names, str):
        raise ValueError(f"Recorder: layers is a list of names, [{names!r}], not one name")
    if not isinstance(names, Iterable):
        raise TypeError(f"Recorder: layers is a list of names, not {names!r:.40}")
    layers, chosen = list(known), set[str]()
    names = list(names)
    if not names:
        raise ValueError("Recorder: layers is an empty list; leave it out to record every layer")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"Recorder: layers are given by name, such as {layers[0]!r}, not {name!r:.40}")
        found = {layer for layer in layers if layer == name or layer.startswith(f"{name}.")}
        if not found:
            raise ValueError(f"Recorder: {unknown('layer', name, layers)}")
        chosen |= found
    return chosen


def listed(values: Any, name: str) -> list[Any]:
    """The values, which a saved state holds as a list."""
    if not isinstance(values, list):
        raise ValueError(f"Recorder: {name} must be a list, not {values!r:.40}")
    return values
