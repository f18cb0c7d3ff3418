"""The quantities that a recording holds, an entry for each: its meaning, and how it is measured, written and drawn.

The recorder measures what is listed here, the reader of files checks it, `Recording` knows the names from here, and
findings, plots and the report take their titles and units from here. So a new quantity is one entry of a
table below (and a case in tests/study/test_recorder_quantities.py). Gradients, parameters and activations are as the
step found them, state as it left it. Norms are 2-norms. Quantities that an optimizer or a model lacks are not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._activations import BINS, FLAT, MOSTLY, Output
from ._clips import LISTED, Acted
from ._kinds import Kind, count, finite, flag, list_of, number, table, table_of, text
from ._step import Layer, ratio

# The quantiles of quantities that every weight of a layer has.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Quantity:
    """A quantity that is recorded at some steps.

    Attributes:
        name: its key in a record.
        title: its short name, where several quantities are shown together.
        meaning: its definition.
        kind: the kind of its value in a file.
        measure: computes it from a `Layer`, an `Output` or a clip's `Acted`; ``None`` if there is nothing to record.
            Without it, the recorder sets the value itself.
        within: for a table, the names that it may have; empty if they depend on the model or the optimizer.
        at_rest: whether it is measured before a step that is not taken, too.
        needed: whether a file without it is damaged; new quantities are not, since older files do not have them.
        heading: the title of its plot.
        axis: the label of the axis with its values.
    """

    name: str
    title: str
    meaning: str
    kind: Kind
    measure: Callable[[Any], Any] | None = None
    within: tuple[str, ...] | None = None
    at_rest: bool = False
    needed: bool = False
    heading: str = ""
    axis: str = ""


def measured(quantities: Iterable[Quantity], source: Any) -> dict[str, Any]:
    """The values of the quantities that a layer, an output or a clip has, by name."""
    values = ((each.name, each.measure(source)) for each in quantities if each.measure is not None)
    return {name: value for name, value in values if value is not None}


def quantiles(arrays: list[npt.NDArray[Any]]) -> list[float] | None:
    """The `QUANTILES` of the finite values, interpolated as NumPy does by default; NaN if no value is finite."""
    if not arrays:
        return None
    values = arrays[0].ravel() if len(arrays) == 1 else np.concatenate([x.ravel() for x in arrays])
    ordered = np.sort(values)
    if not math.isfinite(float(ordered[-1] if ordered.size else 0.0)) or (ordered.size and ordered[0] == -math.inf):
        ordered = ordered[np.isfinite(ordered)]
    if not ordered.size:
        return [math.nan] * len(QUANTILES)
    # np.quantile takes ten times as long for the few values of a small layer.
    places = np.array(QUANTILES) * (ordered.size - 1)
    lower = places.astype(np.intp)
    upper = np.minimum(lower + 1, ordered.size - 1)
    return (ordered[lower] + (places - lower) * (ordered[upper] - ordered[lower])).tolist()


def _scalars(layer: Layer) -> dict[str, float] | None:
    known = layer.scalars()
    return None if known is None else {name: known[name] for name in SCALARS if name in known}


# The numbers of a step that are recorded if the optimizer uses them; for their meaning see explanations/_notation.py.
SCALARS = ("lr", "debias1", "debias2", "rho", "rectified", "rectification")

LAYER = (
    Quantity(
        "gradient_norm", "gradient", "2-norm, before any clip", number,
        lambda layer: layer.norm("gradient", layer.gradients) if layer.gradients else None,
        at_rest=True, heading="Gradient by layer", axis="‖gradient‖ / √weights",
    ),
    Quantity("parameter_norm", "weights", "2-norm", number, lambda layer: layer.parameter_norm, at_rest=True),
    Quantity("update_norm", "update", "2-norm of the change that was made", number, lambda layer: layer.update_norm),
    Quantity(
        "update_ratio", "update / weights", "2-norm of the change over that of the weights, per step", number,
        lambda layer: ratio(layer.update_norm, layer.parameter_norm),
        heading="Update-to-weight ratio", axis="‖change‖ / ‖weights‖ per step",
    ),
    Quantity(
        "gradient_part", "from gradients", "2-norm of this part of the change, momentum included", number,
        lambda layer: layer.parts[0],
    ),
    Quantity("decay_part", "from decay", "2-norm of this part of the change", number, lambda layer: layer.parts[1]),
    Quantity("slow_part", "from slow weights", "2-norm of this part of the change", number, Layer.slow_part),
    Quantity(
        "effective_rate", "effective rate", "median over the weights", list_of(number),
        lambda layer: quantiles(layer.rates()),
        heading="Effective learning rate", axis="rate per weight",
    ),
    Quantity(
        "signal", "|m̂| / √v̂", "median over the weights", list_of(number),
        lambda layer: quantiles(layer.signals()),
        heading="First over second moment", axis="|m̂| / √v̂",
    ),
    Quantity(
        "state_norm", "", "2-norm of the state", table_of(number), lambda layer: layer.state_norms() or None,
        within=(),
    ),
    Quantity("slow_distance", "to the slow weights", "2-norm of the distance", number, Layer.slow_distance),
    Quantity(
        "scalars", "", "numbers that the step used for the largest parameter", table_of(number), _scalars,
        within=SCALARS,
    ),
    Quantity(
        "trust", "trust ratio",
        "by parameter: the factor, the norms it is made from, whether a norm was clamped, its own update ratio",
        table_of(table({"clamped": flag, "ratio": number}, needed=["ratio"], other=number)),
        lambda layer: layer.trust_ratios() or None,
        within=(), heading="Trust ratio of each tensor", axis="trust ratio",
    ),
    # The last, since it holds the counts made while measuring the others.
    Quantity(
        "nonfinite", "not finite", "counts of NaN and of infinities by gradient, parameter, update or slot",
        table_of(list_of(count, 2)), lambda layer: layer.nonfinite or None,
        within=("gradient", "parameter", "update"), at_rest=True,
    ),
)  # fmt: skip

ACTIVATION = (
    Quantity(
        "nan", "NaN", "count of values, with `inf` only if any is not finite", count,
        lambda o: o.lost and o.lost[0],
    ),
    Quantity("inf", "infinite", "count of values", count, lambda o: o.lost and o.lost[1]),
    Quantity(
        "mean", "mean", "of the finite values", finite, lambda o: o.moments and o.moments.mean,
        heading="Outputs", axis="value",
    ),
    Quantity("std", "spread", "standard deviation of the finite values", finite, lambda o: o.moments and o.moments.std),
    Quantity("low", "lowest", "of the finite values", finite, lambda o: o.moments and o.moments.low),
    Quantity("high", "highest", "of the finite values", finite, lambda o: o.moments and o.moments.high),
    Quantity(
        "counts", "histogram", f"of the finite values, in {BINS} equal bins from low to high", list_of(count),
        Output.histogram,
    ),
    Quantity(
        "gain", "gain", "standard deviation over the rows, of all units together, over that of the layer's input",
        number, Output.gain,
    ),
    Quantity("width", "width", "rows of the layer's matrix of weights", number, lambda o: o.arrived and o.width),
    Quantity(
        "arriving", "input spread", "standard deviation over the rows of the layer's input", number,
        lambda o: o.arrived and o.arrived.std,
    ),
    Quantity("units", "units", "elements of the last axis, for an activation", count, Output.units),
    Quantity("dead", "dead", "units that a ReLU gives as 0 on every row", count, Output.dead),
    Quantity(
        "saturated", "saturated", f"units with a slope below {FLAT:g} of the largest on {MOSTLY:.0%} of the rows",
        count, Output.saturated,
    ),
    Quantity("saturated_share", "flat values", "part of all values with such a slope", number, Output.saturated_share),
)  # fmt: skip

# The clip of an optimizer; its range is the one that was clipped hardest.
CLIP = (
    Quantity("clip", "clip", "the rule", text, lambda c: c.report.clip, needed=True),
    Quantity("scope", "scope", "the parts that have a norm each", text, lambda c: c.report.scope, needed=True),
    Quantity("thresholds", "thresholds", "by option", table_of(number), Acted.thresholds, within=(), needed=True),
    Quantity(
        "range", "range", "the range that was clipped hardest", text,
        lambda c: c.report.ranges[c.hardest], needed=True,
    ),
    Quantity(
        "norm_before", "norm before", "of that range", number, lambda c: float(c.report.norm_before[c.hardest]),
        needed=True, heading="Clipping", axis="gradient norm",
    ),
    Quantity(
        "norm_after", "norm after", "of that range", number,
        lambda c: float(c.report.norm_after[c.hardest]), needed=True,
    ),
    Quantity("factor", "factor", "of that range", number, lambda c: float(c.report.factor[c.hardest]), needed=True),
    Quantity("ranges", "ranges", "their number", count, lambda c: len(c.report.ranges), needed=True),
    Quantity("acted_ranges", "clipped ranges", "how many", count, lambda c: int(c.report.acted.sum()), needed=True),
    Quantity(
        "by_range", "by range", f"norm before, norm after and factor of each of 2 to {LISTED} ranges",
        table_of(list_of(number, 3)), Acted.by_range, within=(),
    ),
    Quantity("steps", "steps", "since recording began, those that were checked", count, lambda c: c.steps, needed=True),
    Quantity(
        "acted_steps", "clipped steps", "those of them in which it acted", count,
        lambda c: c.acted_steps, needed=True,
    ),
    Quantity("sampled", "sampled", "whether only recorded steps were checked", flag, lambda c: not c.clip.norms),
)  # fmt: skip

# The recorder sets these itself, when it comes to know them.
RECORD = (
    Quantity("step", "step", "counted from 1", count, needed=True),
    Quantity("stepped", "stepped", "false if a clip skipped the step", flag),
    Quantity("loss", "loss", "of the step", number),
    Quantity(
        "mean_loss", "loss", "mean since the record before", number,
        heading="Training loss", axis="mean loss since the record before",
    ),
    Quantity("taken", "taken", "false if training ended before the step", flag),
    Quantity("reason", "reason", "why it ended, if that is known", text),
    Quantity("left_out", "left out", "parameters that the optimizer does not hold and nothing moves", list_of(text)),
    Quantity("gradient_kept", "gradient kept", "true if the next gradient was added to this one", flag),
)  # fmt: skip

QUANTITIES = {"record": RECORD, "layer": LAYER, "activation": ACTIVATION, "clip": CLIP}
_BY_NAME = {(of, each.name): each for of, table in QUANTITIES.items() for each in table}


def quantity(of: str, name: str) -> Quantity:
    """The entry of a quantity of a ``"record"``, a ``"layer"``, an ``"activation"`` or a ``"clip"``."""
    return _BY_NAME[of, name]
