"""Param groups: which parameters share which options, and which values are refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..suggest import unknown
from ..tensor import Tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

Check = Callable[[Any], bool]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _at_least_zero(value: Any) -> bool:
    return _number(value) and 0 <= value < math.inf


def _above_zero(value: Any) -> bool:
    return _number(value) and value > 0


def _fraction(value: Any) -> bool:
    return _number(value) and 0 <= value < 1


# What a value must be, in words and as a test, for options by the names that optimisers share.
_CHECKS: dict[str, tuple[str, Check]] = {
    "lr": ("a finite number of 0 or more", _at_least_zero),
    "betas": ("a pair of numbers in [0, 1)", lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(_fraction, v))),
    "eps": ("a finite number of 0 or more", _at_least_zero),
    "weight_decay": ("a finite number of 0 or more", _at_least_zero),
    "momentum": ("a finite number of 0 or more", _at_least_zero),
    "dampening": ("a number", lambda v: _number(v) and math.isfinite(v)),
    "alpha": ("a number in [0, 1]", lambda v: _number(v) and 0 <= v <= 1),
    "rho": ("a number in [0, 1]", lambda v: _number(v) and 0 <= v <= 1),
    "lr_decay": ("a finite number of 0 or more", _at_least_zero),
    "initial_accumulator_value": ("a finite number of 0 or more", _at_least_zero),
    "momentum_decay": ("a finite number of 0 or more", _at_least_zero),
    "max_norm": ("a number above 0", _above_zero),
    "clip_factor": ("a number above 0", _above_zero),
    "clip_eps": ("a number above 0", _above_zero),
    "clip_low": ("a number", _number),
    "clip_high": ("a number", _number),
    "threshold": ("a number of 4 or more", lambda v: _number(v) and v >= 4),
    **dict.fromkeys(
        ("maximize", "nesterov", "amsgrad", "centered", "eps_in_sqrt", "decoupled_weight_decay"),
        ("True or False", lambda v: v in (0, 1)),
    ),
    "trust_coefficient": ("a finite number of 0 or more", _at_least_zero),
}


def check_option(owner: str, name: str, value: Any) -> Any:
    """The value as it is stored: lists become tuples, NumPy's numbers Python's.

    Raises:
        ValueError: for NaN, or a value outside the option's range.
        TypeError: for something that is no number, flag, name, tuple or function.
    """
    if isinstance(value, list):
        value = tuple(value)
    elif isinstance(value, np.generic):
        value = value.item()
    known = name if name in _CHECKS else name.removeprefix("initial_").rstrip("0123456789")
    words, test = _CHECKS.get(known, ("", lambda _: True))
    if not test(value):
        raise ValueError(f"{owner}: {name} must be {words}, not {value!r}")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{owner}: {name} must not be NaN")
    if not (value is None or isinstance(value, bool | int | float | str | tuple) or callable(value)):
        raise TypeError(f"{owner}: {name} must be a number, a flag, a name, a tuple or a function, not {value!r}")
    return value


def _same_structure(before: Any, value: Any) -> bool:
    """Whether both are numbers, or tuples of them, that are switched on or off alike."""
    if isinstance(value, tuple) and isinstance(before, tuple) and len(value) == len(before):
        return all(map(_same_structure, before, value))
    return type(value) in (int, float) and type(before) in (int, float) and bool(before) == bool(value)


class ParamGroup(MutableMapping[str, Any]):
    """The options of some parameters: a dictionary that refuses unknown names and impossible values.

    ``group["params"]`` is the tuple of its parameters. A key that begins with ``initial_`` or ``max_`` or ``min_``
    and ends with an option's name may be added; schedulers keep an option's range there.

    Attributes:
        named: the parameters with their names.
        known: the names of the options that every group has.
        changed: an option was set since the optimizer last looked.
        restructured: the change can mean another chain: an option was switched on or off.
    """

    def __init__(self, owner: str, options: Mapping[str, Any], named: list[tuple[str, Tensor]]) -> None:
        self._owner = owner
        self.named = named
        self._options: dict[str, Any] = {"params": tuple(parameter for _, parameter in named)}
        self.known = tuple(options)
        self.changed = self.restructured = True
        for name, value in options.items():
            self[name] = value

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: a shallow copy has its own options."""
        return {**vars(self), "_options": dict(self._options)}

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "params":
            raise ValueError(f"{self._owner}: the parameters of a group are fixed; use add_param_group() for more")
        if not _is_option(name, self.known):
            raise TypeError(f"{self._owner}: {unknown('option', name, self.known)}")
        value = check_option(self._owner, name, value)
        if name in self._options and self._options[name] is value:
            return
        before = self._options.get(name)
        self._options[name] = value
        self.changed = True
        if not _same_structure(before, value):
            self.restructured = True

    def __delitem__(self, name: str) -> None:
        if name in self.known or name == "params":
            raise KeyError(f"{self._owner}: the option {name!r} cannot be removed")
        del self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self._options.items() if k != "params")
        return f"ParamGroup({len(self['params'])} parameters; {options})"

    def scalars(self) -> dict[str, float]:
        """The numeric options by the names that rules know: ``betas`` becomes ``beta1`` and ``beta2``."""
        found: dict[str, float] = {}
        for name, value in self._options.items():
            if isinstance(value, bool | int | float):
                found[name] = float(value)
            elif isinstance(value, tuple) and name.endswith("s") and name != "params":
                found |= {f"{name[:-1]}{i}": float(v) for i, v in enumerate(value, 1)}
        return found


def named_groups(optimizer: Optimizer, params: Iterable[Any]) -> list[ParamGroup]:
    """Groups made of what an optimizer was given, with a name for every parameter; the optimizer is unchanged.

    Raises:
        ValueError: for no parameters, or one given twice.
        TypeError: for something that is no tensor, or an unknown option.
    """
    owner = type(optimizer).__name__
    if isinstance(params, Tensor):
        raise TypeError(f"{owner}: needs a list of parameters, such as model.parameters(), not one tensor")
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{owner}: needs a list of parameters, not {type(params).__name__}; a model's are model.parameters()"
        )
    given = list(params)
    if not given:
        raise ValueError(f"{owner}: the list of parameters is empty")
    if not isinstance(given[0], Mapping):
        given = [{"params": given}]
    before = [pair for group in optimizer.param_groups for pair in group.named]
    names = {name for name, _ in before}
    owners = {id(parameter): name for name, parameter in before}
    groups = []
    for options in given:
        if not isinstance(options, Mapping) or "params" not in options:
            raise TypeError(f"{owner}: a param group is a dictionary with the key 'params', not {options!r:.80}")
        for name in options:
            if name != "params" and not _is_option(name, optimizer.defaults):
                raise TypeError(f"{owner}: {unknown('option', name, optimizer.defaults)}")
        pairs = _named(owner, options["params"], names, owners)
        if not pairs:
            raise ValueError(f"{owner}: a param group has no parameters")
        chosen = {name: options.get(name, default) for name, default in optimizer.defaults.items()}
        group = ParamGroup(owner, chosen, pairs)
        for name in options:
            if name != "params" and name not in chosen:
                group[name] = options[name]
        groups.append(group)
    return groups


def _is_option(name: str, known: Container[str]) -> bool:
    """Whether a key is an option, or where a scheduler keeps one's range."""
    ranges = ("initial_", "max_", "min_")
    return name in known or (name.startswith(ranges) and name.partition("_")[2] in known)


def _named(owner: str, params: Any, names: set[str], owners: dict[int, str]) -> list[tuple[str, Tensor]]:
    """Pairs of name and parameter. A name that is taken already gets ``@2``, ``@3`` behind it."""
    items = [params] if isinstance(params, Tensor) else list(params)
    pairs = []
    for item in items:
        name, parameter = item if isinstance(item, tuple) and len(item) == 2 else (getattr(item, "name", ""), item)
        if not isinstance(parameter, Tensor):
            raise TypeError(f"{owner}: a parameter must be a tensor, not {type(parameter).__name__}")
        if id(parameter) in owners:
            raise ValueError(f"{owner}: the parameter {owners[id(parameter)]!r} is given twice")
        name = name or f"param{len(names)}"
        number, full = 2, name
        while full in names:
            full, number = f"{name}@{number}", number + 1
        names.add(full)
        owners[id(parameter)] = full
        pairs.append((full, parameter))
    return pairs
