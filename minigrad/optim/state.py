"""Taking an optimizer's state out and putting it back, matched by parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..devices import is_array
from ..kernels.plan import Plan
from ..nn.state import plain_array
from .groups import ParamGroup

if TYPE_CHECKING:
    from .optimizer import Optimizer


def export_state(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's class, the state of each parameter, and the groups with the names of their parameters."""
    optimizer.prepare()  # makes the state that the options ask for, if there was no step yet
    return {
        "optimizer": type(optimizer).__name__,
        "settings": _settings(optimizer),
        "state": {
            name: {key: value.copy() if is_array(value) else value for key, value in slots.items()}
            for name, slots in optimizer.state.items()
        },
        "param_groups": [_exported(group) for group in optimizer.param_groups],
    }


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """What was chosen when the optimizer was made and is no option of a group."""
    clips = [[clip.rule.name, *([norm.scope, norm.order] for norm in clip.norms)] for clip in optimizer.clips]
    return {**optimizer.settings, "clips": clips}


def _exported(group: ParamGroup) -> dict[str, Any]:
    options = {name: value for name, value in group.items() if name != "params" and not callable(value)}
    return {**options, "params": [name for name, _ in group.named]}


def import_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Check a state dict against the optimizer, then take it over; nothing changes if it does not fit."""
    kind = type(optimizer).__name__
    if not isinstance(saved, Mapping):
        raise TypeError(f"load_state_dict: needs a state dict, not {type(saved).__name__}")
    same_keys("state dict", saved, ("optimizer", "settings", "state", "param_groups"))
    if saved["optimizer"] != kind:
        raise ValueError(f"the state dict is of {saved['optimizer']}, not of {kind}")
    settings = _settings(optimizer)
    same_keys("settings", saved["settings"], settings)
    for name, value in settings.items():
        if saved["settings"][name] != value:
            raise ValueError(f"{kind} was made with {name}={saved['settings'][name]!r} there, and {value!r} here")
    same_keys("state", saved["state"], optimizer.store.entries)
    matched = _matched_groups(optimizer, saved["param_groups"])
    before = [dict(group) for group, _ in matched]
    for group, options in matched:
        _set_options(group, options)
    try:
        # The options decide which state is kept.
        slots = (*Plan(optimizer._elements()).state, *optimizer.extra_slots)
        for name, values in saved["state"].items():
            _check_slots(name, values, optimizer, slots)
    except Exception:
        for (group, _), options in zip(matched, before, strict=True):
            _set_options(group, options)
        raise
    optimizer._restore({name: dict(values) for name, values in saved["state"].items()}, slots)


def _set_options(group: ParamGroup, options: Mapping[str, Any]) -> None:
    for name in [name for name in group if name not in (*options, *group.known, "params")]:
        del group[name]
    for name, value in options.items():
        if name != "params":
            group[name] = value


def _check_slots(name: str, slots: Mapping[str, Any], optimizer: Optimizer, expected: Iterable[str]) -> None:
    same_keys(f"state of {name!r}", slots, ("step", *expected))
    whole_number(f"state of {name!r}: step", slots["step"])
    parameter = optimizer.store.entries[name].parameter
    for slot, value in slots.items():
        if slot == "step":
            continue
        array = value if is_array(value) else plain_array(value)
        if array.shape != parameter.shape or array.dtype != parameter.dtype:
            raise ValueError(
                f"state of {name!r}: {slot} is {array.dtype} {array.shape}, but the parameter is {parameter.dtype} "
                f"{parameter.shape}"
            )


def _matched_groups(
    optimizer: Optimizer, saved: Iterable[Mapping[str, Any]]
) -> list[tuple[ParamGroup, dict[str, Any]]]:
    """Pairs of a group and the options saved for the same set of parameters, in whatever order they come."""
    by_names = {frozenset(options["params"]): options for options in saved}
    if len(by_names) != len(optimizer.param_groups):
        raise ValueError(f"the state dict has {len(by_names)} param groups, not {len(optimizer.param_groups)}")
    matched = []
    for number, group in enumerate(optimizer.param_groups):
        names = frozenset(name for name, _ in group.named)
        if names not in by_names:
            raise ValueError(
                f"param group {number} ({', '.join(sorted(names)[:3])}, ...) is not in the state dict: its parameters "
                "were grouped otherwise"
            )
        options = {name: value for name, value in by_names[names].items() if name != "params"}
        missing = [name for name in group.known if name not in options and not callable(group[name])]
        if missing:
            raise ValueError(f"param group {number} of the state dict: missing {', '.join(map(repr, missing))}")
        trial = ParamGroup(type(optimizer).__name__, {k: v for k, v in group.items() if k != "params"}, [])
        for name, value in options.items():
            trial[name] = value
        matched.append((group, options))
    return matched


def whole_number(what: str, value: Any) -> int:
    """The value as an int, or ValueError if it is none of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{what} must be a whole number of 0 or more, not {value!r}")
    return int(value)


def same_keys(what: str, found: Mapping[str, Any], expected: Iterable[str]) -> None:
    """Raise ValueError naming the keys of ``found`` that are missing or unexpected."""
    wanted = list(expected)
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing or unexpected:
        parts = [f"missing {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"unexpected {', '.join(map(repr, unexpected))}"] if unexpected else []
        raise ValueError(f"{what}: {'; '.join(parts)}")
