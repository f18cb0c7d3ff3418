"""Units that take no part: dead and saturated ones."""

from __future__ import annotations

from collections.abc import Iterator

from ..records.recording import Recording
from .finding import FEW_ROWS, MANY, MOST, Finding


def units(recording: Recording) -> Iterator[Finding]:
    """Dead ReLU units, and saturated ones where a layer follows."""
    if 0 < recording.header.get("probe_rows", 0) < FEW_ROWS:
        return
    owner = None
    for name in recording.activations:
        if name in recording.layers:
            owner = name
        kind = recording.header.get("activations", {}).get(name, {}).get("kind", "activation")
        what = f"{kind} {name}" if name != owner else str(kind)
        yield from _dead(recording, name, owner or name, what)
        if name != recording.activations[-1]:
            yield from _saturated(recording, name, owner or name, what)


def _dead(recording: Recording, name: str, layer: str, what: str) -> Iterator[Finding]:
    dead, count = (recording.activation(name, which).tolist() for which in ("dead", "units"))
    first, last, every = dead[0], dead[-1], count[-1]
    if not last >= MANY * every:
        return
    rows, is_dead = recording.header.get("probe_rows", 0), last >= MOST * every
    remedy = (
        "Look at its initial bias and weights" if first >= 0.7 * last else "Lower the learning rate, or use LeakyReLU"
    )
    sentence = (
        f"layer {layer}{' is dead' if is_dead else ''}: {last:.0f} of {every:.0f} units never active ({what}, {rows} "
        f"rows of the probe); {first:.0f} were so at first. {remedy}"
    )
    evidence = {"units": every, "rows": rows, "first_dead": first, "dead": last}
    yield Finding("error" if is_dead else "warning", "dead units", layer, sentence, evidence)


def _saturated(recording: Recording, name: str, layer: str, what: str) -> Iterator[Finding]:
    names = ("saturated", "units", "saturated_share")
    saturated, count, shares = (recording.activation(name, which).tolist() for which in names)
    first, last, every = saturated[0], saturated[-1], count[-1]
    if not last >= MANY * every:
        return
    sentence = (
        f"layer {layer}: {last:.0f} of {every:.0f} units saturated ({what}), {first:.0f} at first; hardly a gradient "
        "passes them. Make its weights or its inputs smaller, or normalize them"
    )
    evidence = {"units": every, "rows": recording.header.get("probe_rows", 0), "saturated": last}
    evidence |= {"first_saturated": first, "share_of_values": shares[-1]}
    yield Finding("error" if last >= MOST * every else "warning", "saturated units", layer, sentence, evidence)
