"""The shape of the lines of a recording: which names hold numbers, lists and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """A value that is not what its place holds, what it should be, and the names that lead to it."""

    value: Any
    wanted: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.value!r:.40} is no {self.wanted}" + (f" ({', '.join(self.path)})" if self.path else "")


Shape = Callable[[Any, tuple[str, ...]], Iterator[Fault]]


def _is(wanted: str, test: Callable[[Any], bool]) -> Shape:
    def shape(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
        if not test(value):
            yield Fault(value, wanted, path)

    return shape


def _list(of: Shape, length: int | None = None) -> Shape:
    def shape(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            yield Fault(value, "list" if length is None else f"list of {length}", path)
            return
        for i, each in enumerate(value):
            yield from of(each, (*path, str(i)))

    return shape


def _table(of: Shape) -> Shape:
    """Any names, all with values of the same shape."""

    def shape(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield Fault(value, "table", path)
            return
        for name, each in value.items():
            yield from of(each, (*path, name))

    return shape


def _record(needed: Mapping[str, Shape], known: Mapping[str, Shape], other: Shape | None = None) -> Shape:
    """Names that must be there and names that can be, each with its shape; what others hold, if they are looked at."""
    shapes = {**needed, **known}

    def shape(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield Fault(value, "table", path)
            return
        for name in needed:
            if name not in value:
                yield Fault(None, "value", (*path, name))
        for name, each in value.items():
            of = shapes.get(name, other)
            if of is not None:
                yield from of(each, (*path, name))

    return shape


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    """Numbers, however deep: what a newer recorder may have added."""
    if isinstance(value, dict):
        yield from _table(_leaves)(value, path)
    elif isinstance(value, list):
        yield from _list(_leaves)(value, path)
    else:
        yield from _number(value, path)


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 53


# Larger whole numbers than a float holds exactly are no measurement, and arrays cannot hold them all.
_number = _is("number", lambda value: type(value) is float or _is_whole(value))
_finite = _is("finite number", lambda value: _is_whole(value) or (type(value) is float and math.isfinite(value)))
_count = _is("count", lambda value: _is_whole(value) and value >= 0)
_some = _is("count of 1 or more", lambda value: _is_whole(value) and value > 0)
_text = _is("text", lambda value: isinstance(value, str))
_flag = _is("yes or no", lambda value: isinstance(value, bool))
_words = _is("text", lambda value: value is None or isinstance(value, str))

_NORMS = ("gradient_norm", "parameter_norm", "update_norm", "update_ratio", "gradient_part", "decay_part", "slow_part")
_LAYER = _record(
    {},
    {
        **dict.fromkeys((*_NORMS, "slow_distance"), _number),
        "effective_rate": _list(_number),
        "signal": _list(_number),
        "state_norm": _table(_number),
        "scalars": _table(_number),
        "nonfinite": _table(_list(_count, 2)),
        "trust": _table(_record({"ratio": _number}, {"clamped": _flag}, _number)),
    },
    _leaves,
)
_SPREAD = ("mean", "std", "low", "high")
_COUNTS = {**dict.fromkeys(("units", "dead", "saturated", "nan", "inf"), _count), "counts": _list(_count)}
_OUTPUT = _record(dict.fromkeys(_SPREAD, _finite), _COUNTS, _number)
_NOTHING_FINITE = _record({}, _COUNTS, _number)


def _activation(value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    """Mean, spread and range are there together, or none of them where no value is finite."""
    some = isinstance(value, dict) and any(name in value for name in _SPREAD)
    yield from (_OUTPUT if some else _NOTHING_FINITE)(value, path)


_CLIP = _record(
    {
        **dict.fromkeys(("clip", "scope", "range"), _text),
        **dict.fromkeys(("norm_before", "norm_after", "factor"), _number),
        **dict.fromkeys(("ranges", "acted_ranges", "steps", "acted_steps"), _count),
        "thresholds": _table(_number),
    },
    {"by_range": _table(_list(_number, 3)), "sampled": _flag},
)

HEADER = _record(
    {
        "optimizer": _text,
        "layers": _table(_record({}, {"parameters": _some, "tensors": _list(_text), "frozen": _flag})),
    },
    {
        "activations": _table(_record({}, {"kind": _text})),
        "effective_rate": _words,
        "signal": _words,
        "every": _count,
        "slow_every": _count,
        "quantiles": _list(_number),
        "probe_rows": _count,
        "maximize": _flag,
    },
)
RECORD = _record(
    {"step": _count, "layers": _table(_LAYER)},
    {
        "loss": _number,
        "mean_loss": _number,
        "stepped": _flag,
        "taken": _flag,
        "activations": _table(_activation),
        "clips": _list(_CLIP),
        "left_out": _list(_text),
        "gradient_kept": _flag,
        "reason": _text,
    },
)


def fault(shape: Shape, value: Any) -> Fault | None:
    """The first thing that is not as the shape has it."""
    return next(shape(value, ()), None)
