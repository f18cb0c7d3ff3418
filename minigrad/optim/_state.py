"""Export and import of an optimizer's state, matched by parameter name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from ..autograd.tensor import Tensor
from ..checks import is_number, listed, same_keys, same_value, unknown, whole_number
from ..clipping.clip import Clip
from ..devices.arrays import is_array
from ..kernels.plan import Element, Plan
from ..kernels.program import Program
from ..kernels.store import ParameterStore
from ..nn._state import plain_array
from ._groups import ParamGroup
from ._periodic import Periodic
from ._slots import Slots

READ_ONLY = (
    "optimizer.state is read-only: reset_state() forgets it, for all parameters or some, and load_state_dict() "
    "replaces it; an array in it can be written in place"
)
# The keys of every state dict; "carried" is only in those of optimizers whose rules carry numbers.
KEYS = ("optimizer", "settings", "state", "carried", "param_groups")


@dataclass
class Kept:
    """The state of one parameter: its number of steps, the numbers that rules carry, and arrays by slot."""

    age: int
    carried: dict[str, float]
    arrays: dict[str, Any]


class Stateful(Protocol):
    """The members of an optimizer whose state is viewed, exported or imported here."""

    store: ParameterStore
    settings: dict[str, Any]
    periodic: tuple[Periodic, ...]
    _state: Slots

    @property
    def clips(self) -> tuple[Clip, ...]: ...
    @property
    def param_groups(self) -> list[ParamGroup]: ...
    def prepare(self) -> Program: ...
    def _elements(self) -> list[Element]: ...
    def _age(self, name: str) -> int: ...
    def _all_ages(self) -> dict[str, int]: ...
    def _kept(self, named: Iterable[tuple[str, Tensor]]) -> dict[int, Kept]: ...
    def _periodic_state(self) -> dict[str, float | str]: ...
    def _restore(
        self, state: Mapping[str, Mapping[str, Any]], slots: Iterable[str], carried: Mapping[str, Mapping[str, float]]
    ) -> None: ...


class _ReadOnly(Mapping[str, Any]):
    """A mapping on which the methods that would change a dictionary raise an error with the remedy."""

    def _refuse(self, *args: Any, **keywords: Any) -> NoReturn:
        raise TypeError(READ_ONLY)

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)  # a copy is a plain dictionary, which follows nothing

    def __repr__(self) -> str:
        return repr(dict(self))


class StateView(_ReadOnly):
    """An optimizer's state by the name of the parameter, or by the parameter itself."""

    def __init__(self, optimizer: Stateful) -> None:
        self._optimizer = optimizer

    def __getitem__(self, key: Any) -> ParameterState:
        return ParameterState(self._optimizer, name_of(self._optimizer, "optimizer.state", key, KeyError))

    def __contains__(self, key: object) -> bool:
        entries = self._optimizer.store.entries
        return any(e.parameter is key for e in entries.values()) if isinstance(key, Tensor) else key in entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizer._all_ages())

    def __len__(self) -> int:
        return len(self._optimizer.store.entries)


class ParameterState(_ReadOnly):
    """The state of one parameter: ``step``, the number of steps that it has taken, and arrays by slot."""

    def __init__(self, optimizer: Stateful, name: str) -> None:
        self._optimizer, self._name = optimizer, name

    def __getitem__(self, slot: str) -> Any:
        if slot == "step":
            return self._optimizer._age(self._name)
        if slot not in self._optimizer._state:
            raise KeyError(f"optimizer.state[{self._name!r}]: {unknown('slot', str(slot), self)}")
        return self._optimizer._state.view(slot, self._name)

    def __iter__(self) -> Iterator[str]:
        return iter(("step", *self._optimizer._state))

    def __len__(self) -> int:
        return 1 + len(self._optimizer._state)


def name_of(optimizer: Stateful, owner: str, key: Any, error: type[Exception] = ValueError) -> str:
    """The name of an optimizer's parameter, which is given by its name or itself.

    Raises:
        error: if the optimizer does not have it.
    """
    entries = optimizer.store.entries
    if isinstance(key, Tensor):
        found = next((name for name, entry in entries.items() if entry.parameter is key), None)
        if found is None:
            raise error(
                f"{owner}: a tensor of shape {key.shape} is not a parameter of this optimizer, whose parameters are "
                f"{', '.join(entries)}"
            )
        return found
    if not isinstance(key, str) or key not in entries:
        raise error(f"{owner}: {unknown('parameter', key if isinstance(key, str) else repr(key)[:80], entries)}")
    return key


def chosen_names(optimizer: Stateful, owner: str, names: Any = None) -> list[str]:
    """The names of parameters given by their names or themselves, one or several; by default of all.

    Raises:
        ValueError: for none, or for one that the optimizer does not have.
        TypeError: for anything but names and parameters.
    """
    if names is None:
        return list(optimizer.store.entries)
    given = [names] if isinstance(names, str | Tensor) else listed(owner, names, "names")
    if not given:
        raise ValueError(f"{owner}: the list of names is empty; leave it out for all parameters")
    return [name_of(optimizer, owner, each) for each in given]


def export_state(optimizer: Stateful) -> dict[str, Any]:
    """Export the optimizer's class, the state of each parameter, and the groups with their parameters' names."""
    carrying = optimizer.prepare().plan.carry  # makes the state that the options require, before the first step too
    for each in optimizer.periodic:
        each.begin(optimizer._all_ages(), optimizer._state)
    kept = optimizer._kept((name, entry.parameter) for name, entry in optimizer.store.entries.items())
    by_name = {name: kept[id(entry.parameter)] for name, entry in optimizer.store.entries.items()}
    return {
        "optimizer": type(optimizer).__name__,
        "settings": _settings(optimizer),
        "state": {
            name: {"step": each.age, **{slot: array.copy() for slot, array in each.arrays.items()}}
            for name, each in by_name.items()
        },
        **({"carried": {name: dict(each.carried) for name, each in by_name.items()}} if carrying else {}),
        "param_groups": [_exported(group) for group in optimizer.param_groups],
        **{each.key: each.exported() for each in optimizer.periodic},
    }


def _settings(optimizer: Stateful) -> dict[str, Any]:
    """The fixed settings of the optimizer that are not options of a group."""
    clips = [[clip.rule.name, *([norm.scope, norm.order] for norm in clip.norms)] for clip in optimizer.clips]
    return {**optimizer.settings, "clips": clips}


def _exported(group: ParamGroup) -> dict[str, Any]:
    options = {name: value for name, value in group.items() if name != "params" and not callable(value)}
    return {**options, "params": [name for name, _ in group.named]}


def import_state(optimizer: Stateful, saved: Mapping[str, Any]) -> None:
    """Load a state dict after checking it; nothing changes if it does not fit."""
    kind = type(optimizer).__name__
    if not isinstance(saved, Mapping):
        raise TypeError(f"load_state_dict: needs a state dict, not {type(saved).__name__}")
    for each in optimizer.periodic:
        if not isinstance(saved.get(each.key), Mapping):
            raise ValueError(
                f"{each.name}: the state dict has no {each.key!r}; it was saved by {kind} without {each.name}"
            )
    # The carried numbers are in the state dicts of some optimizers, but not in earlier versions'.
    same_keys(
        "state dict",
        [key for key in saved if key != "carried"],
        (*(key for key in KEYS if key != "carried"), *(each.key for each in optimizer.periodic)),
    )
    if saved["optimizer"] != kind:
        raise ValueError(f"the state dict is of {saved['optimizer']}, not of {kind}")
    counters = [each.checked_counter(saved[each.key]) for each in optimizer.periodic]
    settings = _settings(optimizer)
    same_keys("settings", saved["settings"], settings)
    for name, value in settings.items():
        same_value(f"{kind}: {name}", saved["settings"][name], value)
    same_keys("state", saved["state"], optimizer.store.entries)
    matched = _matched_groups(optimizer, saved["param_groups"])
    before = [dict(group) for group, _ in matched]
    for group, options in matched:
        _set_options(group, options)
    try:
        # The options decide which state is kept.
        plan = Plan(optimizer._elements())
        slots = (*plan.state, *optimizer._periodic_state())
        for name, values in saved["state"].items():
            _check_slots(name, values, optimizer, slots)
        carried = _carried(optimizer, plan, saved)
    except Exception:
        for (group, _), options in zip(matched, before, strict=True):
            _set_options(group, options)
        raise
    optimizer._restore({name: dict(values) for name, values in saved["state"].items()}, slots, carried)
    for each, counter in zip(optimizer.periodic, counters, strict=True):
        each.counter = counter


def _carried(optimizer: Stateful, plan: Plan, saved: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The numbers that rules carry, checked. State dicts of earlier versions may not have them."""
    found = saved.get("carried", {})
    same_keys("carried", found, optimizer.store.entries if found else ())
    for name, values in found.items():
        for key, value in values.items():
            if key not in plan.carry:
                raise ValueError(f"carried of {name!r}: unexpected {key!r}")
            if not is_number(value) or math.isnan(value):
                raise ValueError(f"carried of {name!r}: {key} must be a number, not {value!r:.80}")
    return {name: dict(found.get(name, {})) for name in optimizer.store.entries} if plan.carry else {}


def _set_options(group: ParamGroup, options: Mapping[str, Any]) -> None:
    for name in [name for name in group if name not in (*options, *group.known, "params")]:
        del group[name]
    for name, value in options.items():
        if name != "params":
            group.keep(name, value)


def _check_slots(name: str, slots: Mapping[str, Any], optimizer: Stateful, expected: Iterable[str]) -> None:
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


def _matched_groups(optimizer: Stateful, saved: Iterable[Mapping[str, Any]]) -> list[tuple[ParamGroup, dict[str, Any]]]:
    """Pairs of a group and the checked options that were saved for the same parameters, in any order of groups."""
    by_names = {frozenset(options["params"]): options for options in saved}
    if len(by_names) != len(optimizer.param_groups):
        raise ValueError(f"the state dict has {len(by_names)} param groups, not {len(optimizer.param_groups)}")
    matched = []
    for number, group in enumerate(optimizer.param_groups):
        names = frozenset(name for name, _ in group.named)
        if names not in by_names:
            raise ValueError(
                f"param group {number} ({', '.join(sorted(names)[:3])}, ...) is not in the state dict: its parameters "
                "were grouped differently"
            )
        options = {name: value for name, value in by_names[names].items() if name != "params"}
        missing = [name for name in group.known if name not in options and not callable(group[name])]
        if missing:
            raise ValueError(f"param group {number} of the state dict: missing {', '.join(map(repr, missing))}")
        matched.append((group, {name: group.checked(name, value) for name, value in options.items()}))
    return matched
