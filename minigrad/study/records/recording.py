"""Recording: the measurements of a recorder, in memory and as a file of JSON lines.

A recording has a header and records, which are dictionaries. The header holds ``format``, ``version``, ``optimizer``
(its name), ``effective_rate`` and ``signal`` (how they are computed for it), ``layers`` (by name ``parameters``, the
count, ``tensors``, the names, and ``frozen``, whether none requires a gradient), ``activations`` (by name ``kind``,
the module's class or the op), ``every``, ``quantiles``, ``probe_rows``, ``maximize``, ``scale_free``
(whether the steps are the same for gradients twice as long) and ``slow_every`` (steps from one slow step to the next;
0 without).

A record holds ``step`` and the other quantities of a record, ``layers`` and ``activations`` by name, and ``clips`` in
order. `minigrad.study.records.quantities` lists and explains every quantity.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ...checks import unknown
from ...files import write_atomically
from ...training._run_directory import RECORD
from ._file import Record, RecordingError, line, read
from .quantities import QUANTITIES

__all__ = ["Record", "Recording", "RecordingError"]


class Recording:
    """The records of a training, a dictionary each; see the text at the top of this file.

    Attributes:
        header: the facts shared by all records.
        records: in the order of their steps.
    """

    def __init__(self, header: Record | None = None, records: Iterable[Record] = ()) -> None:
        self.header: Record = dict(header or {})
        self.records = list(records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        steps = f"steps {self.records[0]['step']:,} to {self.records[-1]['step']:,}" if self.records else "no steps"
        return f"<Recording of {self.optimizer}: {len(self.records)} records, {steps}, {len(self.layers)} layers>"

    # --- questions -----------------------------------------------------------------------------------------------

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
        """The names of the outputs that were measured, in order."""
        return list(dict.fromkeys(name for record in self.records for name in record.get("activations", {})))

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The recorded steps, counted from 1."""
        return np.array([record["step"] for record in self.records], np.int64)

    def values(self, name: str) -> npt.NDArray[np.float64]:
        """A number of each record, such as ``"loss"``; NaN if a record does not have it.

        Raises:
            KeyError: for a name that no record has.
        """
        _check_quantity("record", name, self.records)
        return np.array([_number(record.get(name)) for record in self.records])

    def layer(self, layer: str, quantity: str) -> npt.NDArray[np.float64]:
        """A quantity of one layer over the records, such as ``"update_ratio"``; NaN if a record does not have it.

        A path such as ``"scalars.lr"``, ``"state_norm.exp_avg"`` or ``"trust.0.weight.ratio"`` leads into a table.
        Quantiles have a row per record.

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
            raise TypeError(f"{part} are given by name, such as '0', not {name!r:.40}")
        if name not in known:
            raise KeyError(unknown(part.removesuffix("s"), name, known))
        tables = (table for record in self.records for table in record.get(part, {}).values())
        _check_quantity(part.removesuffix("s"), quantity, tables)
        found = [_inside(record.get(part, {}).get(name), quantity) for record in self.records]
        width = next((len(value) for value in found if isinstance(value, list)), 0)
        rows = [_row(value, width) if width else _number(value) for value in found]
        return np.array(rows, np.float64)

    def clips(self, number: int = 0) -> list[Record]:
        """The records of the clip ``number``, each with its ``step``, a ``share`` and a ``title``.

        The share is the part of the steps since the record before in which the clip acted; the title is the clip's name
        in `minigrad.clipping`. For an optimizer that does not clip, the list of clip 0 is empty.

        Raises:
            IndexError: if the optimizer does not have this clip.
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
        """The trust ratios over the records by parameter; empty for an optimizer without them."""
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
        """Write the recording to a file, atomically.

        Raises:
            OSError: naming the path, whose file is then as before.
        """
        return write_atomically(path, "".join(map(line, [self.header, *self.records])).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str], length: int | None = None) -> Self:
        """Read a recording, or the first ``length`` bytes of one; an incomplete last line is left out.

        Raises:
            FileNotFoundError: if the file does not exist.
            RecordingError: naming the line, if it is damaged, foreign, or of a newer version.
        """
        return cls(*read(path, length))


class HasRecording(Protocol):
    """An object that makes a recording, such as a `Recorder`."""

    recording: Recording


Source = Recording | HasRecording | str | os.PathLike[str]


def opened(source: Source) -> Recording:
    """A recording, a recorder's, or the one in a file or in the folder of a run.

    Raises:
        TypeError: for anything else.
        FileNotFoundError, RecordingError: as `Recording.load`.
    """
    if isinstance(source, str | os.PathLike):
        return Recording.load(Path(source, RECORD) if Path(source).is_dir() else source)
    recording = source if isinstance(source, Recording) else getattr(source, "recording", None)
    if not isinstance(recording, Recording):
        raise TypeError(f"needs a Recording, a Recorder or the path of a record.jsonl, not a {type(source).__name__}")
    return recording


def _check_quantity(of: str, quantity: str, tables: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a name, or a path of names, that is not a quantity and occurs in none of the tables.

    A quantity that an optimizer, a model or a loop does not have is not a misspelling.
    """
    name, _, rest = str(quantity).partition(".")
    kind = f"quantity of a {of}" if of != "activation" else "quantity"
    entries = {each.name: each for each in QUANTITIES[of]}
    if name not in entries:
        known = list(dict.fromkeys([*entries, *(each for table in tables for each in table)]))
        if name not in known:
            raise KeyError(unknown(kind, name, known))
    within = entries[name].within if name in entries else None
    if rest or within is not None:
        inner = dict.fromkeys(within or ())
        for table in tables:
            inner |= dict.fromkeys(_paths(table.get(name, {})))
            if name == "nonfinite":  # of slots of the state, too
                inner |= dict.fromkeys(table.get("state_norm", {}))
        # An optimizer without state or trust ratios has no names to compare with.
        if rest not in inner and (inner or within is None):
            raise KeyError(unknown(kind, str(quantity), [f"{name}.{each}" for each in inner] or [name]))


def _paths(table: Any) -> Iterator[str]:
    """The paths of names that lead to values in a table of tables."""
    for name, value in table.items() if isinstance(table, dict) else ():
        yield from (f"{name}.{path}" for path in _paths(value)) if isinstance(value, dict) else (name,)


def _inside(table: Any, path: str) -> Any:
    """The value at a path of names; a name, such as a parameter's, may itself have dots."""
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
