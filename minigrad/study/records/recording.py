"""Recording: what a recorder has written down, in memory and as a file of JSON lines.

The first line is the header, each other line a record. A number that is not finite is ``{"$number": "nan"}``.

Header: ``format``, ``version``, ``optimizer`` (its name), ``effective_rate`` and ``signal`` (what they are for it),
``layers`` (by name ``parameters``, the count, ``tensors``, the names, and ``frozen``, whether none requires a
gradient), ``activations`` (by name ``kind``, the module's class or the op), ``every``, ``quantiles``, ``probe_rows``,
``maximize``, ``slow_every`` (steps from one of the slow weights to the next; 0 without).

Record: ``step``, ``loss`` and ``mean_loss`` (since the record before) where they are known, ``stepped`` (false where
a clip passed over the step), ``taken`` (false where training ended before it), ``reason`` (why, if that is known),
``layers`` and ``activations`` by name, ``clips`` in order, ``left_out`` (parameters of the model that the optimizer
does not hold, and that nobody has moved), ``gradient_kept`` (true where the next gradient was added to this one).
Gradients, parameters and activations are as the step found them, state as it left it. Norms are 2-norms.

A layer: ``gradient_norm`` (before any clip), ``parameter_norm``, ``update_norm`` and ``update_ratio`` (of the change
that was made, and over the parameter's norm), its parts ``gradient_part``, ``decay_part`` and, with slow weights,
``slow_part``; ``effective_rate`` and ``signal`` (their quantiles), ``state_norm`` by slot, ``slow_distance``,
``scalars`` (``lr``, ``debias1``, ``debias2``, ``rho``, ``rectified``, ``rectification``), ``trust`` by parameter
(``ratio``, ``clamped``, the norms it is of, and the ``update_ratio`` of that parameter alone), ``nonfinite`` (by
``gradient``, ``parameter``, ``update`` or slot the counts of NaN and of infinities). What an optimizer does not have
is not there. See `minigrad.study.records.activations.measure` for an activation.

A clip: its ``clip`` (the rule), ``scope``, ``thresholds`` by option, ``ranges`` (how many) and ``acted_ranges``;
``range``, ``norm_before``, ``norm_after`` and ``factor`` of the range that was clipped hardest; ``by_range`` the same
three for each of up to 64; and since recording began ``steps``, those that were looked at, and ``acted_steps``, those
in which it acted; ``sampled`` where only recorded steps were looked at.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...checks import unknown
from ...files import Format, read_bounded, write_atomically
from ...training.tree import put_arrays, take_arrays
from .shape import HEADER, RECORD, fault

Record = dict[str, Any]
_MAX_BYTES = 1 << 28
# What may be asked for although no record has it: an optimizer, a model or a loop without it is no misspelling.
_KNOWN = {
    "record": ("step", "loss", "mean_loss", "stepped"),
    "layer": (
        *("gradient_norm", "parameter_norm", "update_norm", "update_ratio", "gradient_part", "decay_part", "slow_part"),
        *("effective_rate", "signal", "state_norm", "slow_distance", "scalars", "trust", "nonfinite"),
    ),
    "activation": (
        *("mean", "std", "low", "high", "counts", "nan", "inf", "gain", "width", "arriving"),
        *("units", "dead", "saturated", "saturated_share"),
    ),
}
# What is itself by name, and the names in it that may be asked for in the same way.
_BY_NAME = {
    "scalars": ("lr", "debias1", "debias2", "rho", "rectified", "rectification"),
    "nonfinite": ("gradient", "parameter", "update"),
    "state_norm": (),
    "trust": (),
}


class RecordingError(ValueError):
    """A file that is damaged or no recording; the text names it and the line."""


FORMAT = Format("minigrad record", "a recording", error=RecordingError)


class Recording:
    """Records of a training, a dictionary each; the text at the top of this file says what they hold.

    Attributes:
        header: what holds for all of them.
        records: in order of their steps.
    """

    def __init__(self, header: Record | None = None, records: Iterable[Record] = ()) -> None:
        self.header: Record = dict(header or {})
        self.records = list(records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        steps = f"steps {self.records[0]['step']:,} to {self.records[-1]['step']:,}" if self.records else "no steps"
        return f"<Recording of {self.optimizer}: {len(self.records)} records, {steps}, {len(self.layers)} layers>"

    # --- asking --------------------------------------------------------------------------------------------------

    @property
    def optimizer(self) -> str:
        """The name of the optimizer's class."""
        return str(self.header.get("optimizer", "?"))

    @property
    def layers(self) -> list[str]:
        """The names of the recorded layers, in order."""
        return list(self.header.get("layers", {}))

    @property
    def activations(self) -> list[str]:
        """The names of the outputs that were looked at, in order."""
        return list(dict.fromkeys(name for record in self.records for name in record.get("activations", {})))

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The recorded steps, counted from 1."""
        return np.array([record["step"] for record in self.records], np.int64)

    def values(self, name: str) -> npt.NDArray[np.float64]:
        """A number of each record, such as ``"loss"``; NaN where it is not there.

        Raises:
            KeyError: for a name that no record has.
        """
        _check_quantity("record", name, self.records)
        return np.array([_number(record.get(name)) for record in self.records])

    def layer(self, layer: str, quantity: str) -> npt.NDArray[np.float64]:
        """A quantity of one layer over the records, such as ``"update_ratio"``; NaN where it is not there.

        A path such as ``"scalars.lr"``, ``"state_norm.exp_avg"`` or ``"trust.0.weight.ratio"`` goes into what is itself
        by name. Quantiles have a row per record.

        Raises:
            KeyError: for a layer that was not recorded, or a quantity that no layer has.
        """
        return self._series("layers", layer, self.layers, quantity)

    def activation(self, name: str, quantity: str) -> npt.NDArray[np.float64]:
        """A quantity of one activation over the records, such as ``"std"`` or ``"dead"``.

        Raises:
            KeyError: for an activation that was not recorded, or a quantity that none has.
        """
        return self._series("activations", name, self.activations, quantity)

    def _series(self, part: str, name: str, known: list[str], quantity: str) -> npt.NDArray[np.float64]:
        if not isinstance(name, str):
            raise TypeError(f"{part} have names, which are texts such as '0', not {name!r:.40}")
        if name not in known:
            raise KeyError(unknown(part.removesuffix("s"), name, known))
        tables = (table for record in self.records for table in record.get(part, {}).values())
        _check_quantity(part.removesuffix("s"), quantity, tables)
        found = [_inside(record.get(part, {}).get(name), quantity) for record in self.records]
        width = next((len(value) for value in found if isinstance(value, list)), 0)
        rows = [_row(value, width) if width else _number(value) for value in found]
        return np.array(rows, np.float64)

    def clips(self, number: int = 0) -> list[Record]:
        """What the records say of the clip ``number``, with the ``step`` of each.

        Added are ``share``, of the steps since the record before the part in which the clip acted, and ``title``, what
        `minigrad.clipping` calls the clip. An optimizer that does not clip has nothing to say of its clip 0.

        Raises:
            IndexError: for another clip that there is not.
        """
        count = max((len(record.get("clips", [])) for record in self.records), default=0)
        if not isinstance(number, int):
            raise TypeError(f"clips: needs the number of a clip, not {number!r:.40}")
        if not 0 <= number < max(count, 1):
            raise IndexError(f"there is no clip {number}; {self.optimizer} has {count}, counted from 0")
        found: list[Record] = []
        steps = acted = 0
        for record in self.records:
            if number < len(record.get("clips", [])):
                entry = record["clips"][number]
                share = (entry["acted_steps"] - acted) / max(entry["steps"] - steps, 1)
                steps, acted = entry["steps"], entry["acted_steps"]
                found.append({"step": record["step"], **entry, "share": share, "title": _clip_title(entry)})
        return found

    def trust_ratios(self) -> dict[str, npt.NDArray[np.float64]]:
        """The trust ratios over the records by parameter; empty for an optimizer without."""
        names: dict[str, str] = {}
        for record in self.records:
            for layer, found in record.get("layers", {}).items():
                names |= dict.fromkeys(found.get("trust", {}), layer)
        return {
            name: np.array([
                _number(record["layers"].get(layer, {}).get("trust", {}).get(name, {}).get("ratio"))
                for record in self.records
            ])
            for name, layer in names.items()
        }  # fmt: skip

    # --- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the recording in one step.

        Raises:
            OSError: naming the path, where the file from before stays.
        """
        return write_atomically(path, "".join(map(line, [self.header, *self.records])).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str], length: int | None = None) -> Self:
        """Read a recording, or what its first ``length`` bytes hold. A line that is not complete is left out.

        Raises:
            FileNotFoundError: if there is no such file.
            RecordingError: naming the line, if it is damaged, foreign, or of a newer version.
        """
        try:
            text = read_bounded(path, _MAX_BYTES)[:length].decode()
        except UnicodeDecodeError:
            raise RecordingError(f"{path}: is no recording: it is no text") from None
        except ValueError as error:
            raise RecordingError(str(error)) from None
        lines = text.split("\n")[:-1]  # behind the last line break stands nothing, or a line that is not complete
        if not lines:
            raise RecordingError(f"{path}: is no recording: it is empty")
        header, *records = (_read(path, number, each) for number, each in enumerate(lines, 1))
        FORMAT.check(path, header)
        if (wrong := fault(HEADER, header)) is not None:
            raise RecordingError(f"{path}, line 1: is damaged: {wrong}")
        last = 0
        for number, record in enumerate(records, 2):
            _check(path, number, record, last)
            last = record["step"]
        return cls(header, records)


def may_be_recording(path: Path) -> bool:
    """Whether a file begins as one that a Recorder wrote, or as one would that was killed at its first line."""
    first = line({"format": FORMAT.name})[:-2].encode()
    with path.open("rb") as file:
        return first.startswith(file.read(len(first)))


def line(values: Mapping[str, Any]) -> str:
    """One line of the file."""
    try:
        return json.dumps(values, allow_nan=False, separators=(",", ":")) + "\n"
    except ValueError:
        return json.dumps(take_arrays(values, {}), allow_nan=False, separators=(",", ":")) + "\n"


def _read(path: str | os.PathLike[str], number: int, text: str) -> Record:
    try:
        values = put_arrays(json.loads(text), {})
    except (ValueError, RecursionError) as error:
        reason = (
            "is nested too deeply" if isinstance(error, RecursionError) else f"is no JSON that can be read ({error})"
        )
        raise RecordingError(f"{path}, line {number}: {reason}") from None
    if not isinstance(values, dict):
        raise RecordingError(f"{path}, line {number}: is damaged: it is no record")
    return values


def _check(path: str | os.PathLike[str], number: int, record: Record, last: int) -> None:
    """Refuse what the questions above could not answer."""
    wrong: object = fault(RECORD, record)
    if wrong is None and record["step"] <= last:
        wrong = f"its step is {record['step']}, after {last}"
    if wrong is not None:
        raise RecordingError(f"{path}, line {number}: is damaged: {wrong}")


def _check_quantity(what: str, quantity: str, tables: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a name, or a path of names, that is none and occurs in none of the tables."""
    name, _, rest = str(quantity).partition(".")
    kind = f"quantity of a {what}" if what != "activation" else "quantity"
    if name not in _KNOWN[what]:
        known = list(dict.fromkeys([*_KNOWN[what], *(each for table in tables for each in table)]))
        if name not in known:
            raise KeyError(unknown(kind, name, known))
    if rest or name in _BY_NAME:
        inner = dict.fromkeys(_BY_NAME.get(name, ()))
        for table in tables:
            inner |= dict.fromkeys(_paths(table.get(name, {})))
            if name == "nonfinite":
                inner |= dict.fromkeys(table.get("state_norm", {}))
        # An optimizer without state or trust ratios has no names to compare with.
        if rest not in inner and (inner or name not in _BY_NAME):
            raise KeyError(unknown(kind, str(quantity), [f"{name}.{each}" for each in inner] or [name]))


def _paths(table: Any) -> Iterator[str]:
    """The paths of names that lead to values; none in what is itself a value."""
    for name, value in table.items() if isinstance(table, dict) else ():
        yield from (f"{name}.{path}" for path in _paths(value)) if isinstance(value, dict) else (name,)


def _inside(table: Any, path: str) -> Any:
    """What a path of names leads to; a name, such as a parameter's, may itself hold dots."""
    if not isinstance(table, dict) or path in table:
        return table.get(path) if isinstance(table, dict) else None
    within = (_inside(value, path[len(name) + 1 :]) for name, value in table.items() if path.startswith(f"{name}."))
    return next((found for found in within if found is not None), None)


def _clip_title(entry: Record) -> str:
    if entry["clip"] == "clip_by_norm":
        return "by_global_norm" if entry["scope"] == "global" else f"by_norm per {entry['scope']}"
    return {"clip_by_value": "by_value", "clip_to_unit": "adaptive"}.get(entry["clip"], str(entry["clip"]))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _row(value: Any, width: int) -> list[float]:
    values = [_number(each) for each in value] if isinstance(value, list) else []
    return (values + [math.nan] * width)[:width]
