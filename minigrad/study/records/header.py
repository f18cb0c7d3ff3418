"""The header of a recording: what holds for all of its records."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from ...optim import Optimizer
from .quantities import QUANTILES
from .recording import FORMAT, Record
from .state_names import describe
from .step_arrays import scalars_of


def header(
    optimizer: Optimizer, layers: Container[str] | None, every: int, probe_rows: int, kinds: Mapping[str, str]
) -> Record:
    """The header for an optimizer that is prepared.

    Args:
        optimizer: as it was given to the recorder.
        layers: those that are recorded, by default all.
        every: the interval between records.
        probe_rows: how many rows the probe has.
        kinds: by the name of an activation, the module's class or the op.
    """
    base = optimizer.innermost
    layout, entries = base._layout, base.store.entries.values()
    known = scalars_of(layout.cohorts[0], layout, base) if layout is not None and layout.cohorts else {}
    name = type(base).__name__
    found: dict[str, dict[str, Any]] = {
        layer: {"parameters": 0, "tensors": [], "frozen": True}
        for layer in base.store.layers
        if layers is None or layer in layers
    }
    for entry in entries:
        if entry.layer in found:
            own = found[entry.layer]
            own["parameters"] += entry.parameter.size
            own["tensors"].append(entry.name)
            own["frozen"] = own["frozen"] and not entry.parameter.requires_grad
    return FORMAT.stamped(
        {
            "optimizer": name if base is optimizer else f"{type(optimizer).__name__}({name})",
            "maximize": base.uses("maximize"),
            **describe(base.prepare().plan.state, known),
            "every": every,
            "slow_every": getattr(optimizer, "k", 0),
            "quantiles": list(QUANTILES),
            "probe_rows": probe_rows,
            "activations": {name: {"kind": kind} for name, kind in kinds.items()},
            "layers": found,
        }
    )
