"""Models from text: ``64-64-10``, or ``mlp:128,relu,128``."""

from __future__ import annotations

import re

from .. import nn
from ..checks import unknown
from ..nn.containers import ACTIVATIONS, NORMS

DEFAULT = "mlp:64"


def parse_model(text: str) -> list[int] | list[tuple[int, list[str]]]:
    """The sizes of all layers, or for each hidden layer its size and the words behind it.

    Raises:
        ValueError: if the text is neither.
    """
    if text.lower().startswith("mlp:"):
        return _hidden(text)
    parts = text.split("-")
    if len(parts) < 2 or not all(re.fullmatch(r"[0-9]{1,18}", part) and int(part) for part in parts):
        raise ValueError(
            f"must be sizes joined by dashes, such as 64-64-10, or hidden layers, such as mlp:128,relu, "
            f"not {text!r:.200}"
        )
    return [int(part) for part in parts]


def _hidden(text: str) -> list[tuple[int, list[str]]]:
    layers: list[tuple[int, list[str]]] = []
    for part in filter(None, (each.strip().lower() for each in text[4:].split(","))):
        if re.fullmatch(r"[0-9]{1,18}", part) and int(part):
            layers.append((int(part), []))
        elif not layers:
            raise ValueError(f"begins with the size of a hidden layer, such as mlp:128,relu, not {text!r:.200}")
        else:
            _module(part, layers[-1][0])  # raises for an unknown word
            layers[-1][1].append(part)
    return layers


def make_model(text: str | None, inputs: int, outputs: int, dataset: str) -> nn.Sequential:
    """The model that a text describes, for data with so many features and classes or targets.

    In ``mlp:128,relu,dropout=0.2,64`` numbers are hidden layers; the words behind one are what follows it: activations
    (by default that of the layer before, at first ReLU), ``batch``, ``layer`` or ``rms`` for a normalization, and
    ``dropout=p``.

    Raises:
        ValueError: for other text, or sizes that do not fit the data.
    """
    layers = parse_model(text or DEFAULT)
    hidden = [layer if isinstance(layer, tuple) else (layer, []) for layer in layers]
    if layers and isinstance(layers[0], int):
        if (layers[0], layers[-1]) != (inputs, outputs):
            raise ValueError(
                f"--model {text}: {dataset} has {inputs} features and {outputs} outputs, so the sizes must "
                f"start with {inputs} and end with {outputs}"
            )
        hidden = hidden[1:-1]
    modules: list[nn.Module] = []
    width, activation = inputs, "relu"
    for size, words in hidden:
        modules.append(nn.Linear(width, size))
        named = [word for word in words if word in ACTIVATIONS]
        activation = named[-1] if named else activation
        if not named:
            # Before dropout, behind a normalization.
            place = sum(word in NORMS for word in words)
            words = [*words[:place], activation, *words[place:]]
        modules += [_module(word, size) for word in words]
        width = size
    return nn.Sequential(*modules, nn.Linear(width, outputs))


def _module(word: str, units: int) -> nn.Module:
    name, _, value = word.partition("=")
    if name == "dropout":
        try:
            return nn.Dropout(float(value or 0.5))
        except ValueError as error:
            raise ValueError(f"{word!r}: {error}") from None
    if name in NORMS:
        return NORMS[name](units)
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]()
    raise ValueError(unknown("part of a model", word, [*ACTIVATIONS, *NORMS, "dropout"]))
