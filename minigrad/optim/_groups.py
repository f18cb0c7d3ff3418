"""Param groups: parameters that share options, and the checks of their values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn, Self

from ..autograd.tensor import Tensor
from ..checks import Range, listed, unknown
from ..rules.options import check_option


def _same_structure(before: Any, value: Any) -> bool:
    """Whether both are numbers, or tuples of numbers, and the same ones are 0: then the chain stays the same."""
    if isinstance(value, tuple) and isinstance(before, tuple) and len(value) == len(before):
        return all(map(_same_structure, before, value))
    return type(value) in (int, float) and type(before) in (int, float) and bool(before) == bool(value)


_FIXED = (
    "the parameters of a group are fixed; add_param_group() adds others, optimizer.param_groups[i] = "
    "{**group, 'params': [...]} replaces a group, and del optimizer.param_groups[i] removes one"
)


class Parameters(tuple[Tensor, ...]):
    """The parameters of a group. They are fixed: methods that would change a list raise an error with the remedy."""

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return (*self, *other) if isinstance(other, tuple) else [*self, *other]

    def __radd__(self, other: Any) -> Any:
        return [*other, *self]

    def _refuse(self, *args: Any, **keywords: Any) -> NoReturn:
        raise TypeError(_FIXED)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        if hasattr(list, name):
            raise AttributeError(f"{name}: {_FIXED}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class ParamGroup(MutableMapping[str, Any]):
    """The options of some parameters: a dictionary that refuses unknown names and impossible values.

    ``group["params"]`` is the tuple of its parameters. A key that begins with ``initial_`` or ``max_`` or ``min_``
    and ends with an option's name may be added; schedulers keep an option's range there.

    Attributes:
        named: the parameters with their names.
        known: the names of the options that every group has.
        ranges: the values that each option may have; one object for all groups of an optimizer.
        changed: whether an option was set since the optimizer last read them.
        restructured: whether an option was switched on or off, which can mean another chain.
        parted: while no optimizer has the group, the state of its parameters, by the identity of each.
    """

    def __init__(
        self, owner: str, options: Mapping[str, Any], named: list[tuple[str, Tensor]], ranges: Mapping[str, Range]
    ) -> None:
        self._owner = owner
        self.named = named
        self._options: dict[str, Any] = {"params": Parameters(parameter for _, parameter in named)}
        self.known, self.ranges = tuple(options), ranges
        self._options |= options
        self.changed = self.restructured = True
        self.parted: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: a shallow copy has its own options."""
        return {**vars(self), "_options": dict(self._options)}

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.keep(name, self.checked(name, value))

    def keep(self, name: str, value: Any) -> None:
        """Set an option to a value that was checked."""
        if name in self._options and self._options[name] is value:
            return
        before = self._options.get(name)
        self._options[name] = value
        self.changed = True
        if not _same_structure(before, value):
            self.restructured = True

    def checked(self, name: str, value: Any) -> Any:
        """Check an option and return it in its stored form.

        Raises:
            ValueError: for a value outside the option's range, or other parameters.
            TypeError: for an unknown option.
        """
        if name == "params":
            if value is self._options["params"]:
                return value
            raise ValueError(
                f"{self._owner}: the parameters of a group are fixed; use add_param_group() for more, or replace the "
                "group: optimizer.param_groups[i] = {**group, 'params': [...]}"
            )
        if not _is_option(name, self.known):
            raise TypeError(f"{self._owner}: {unknown('option', str(name), self.known)}")
        # The first value that a scheduler keeps is in the range of its option.
        key = name if name in self.known else name.removeprefix("initial_")
        return check_option(self._owner, name, value, self.ranges.get(key))

    def update(self, *args: Any, **options: Any) -> None:
        """Set several options, or none of them if one is refused."""
        wanted = {name: self.checked(name, value) for name, value in dict(*args, **options).items()}
        for name, value in wanted.items():
            self.keep(name, value)

    def __ior__(self, options: Any) -> Self:  # type: ignore[misc]  # a dictionary is what the other operator makes
        self.update(options)
        return self

    def __or__(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **options}

    def __ror__(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**options, **self}

    def copy(self) -> dict[str, Any]:
        """The parameters and options as a plain dictionary."""
        return dict(self)

    __copy__ = copy

    def __delitem__(self, name: str) -> None:
        if name in self.known or name == "params":
            remedy = "use del optimizer.param_groups[i]" if name == "params" else "set it, to 0 to switch it off"
            raise KeyError(f"{self._owner}: {name!r} cannot be removed from a param group; {remedy}")
        del self._options[name]

    def popitem(self) -> tuple[str, Any]:
        """Refuse: options cannot be removed.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self._owner}: the options of a group cannot be removed; set them")

    def clear(self) -> None:
        """Refuse: options cannot be removed.

        Raises:
            TypeError: always.
        """
        self.popitem()

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __eq__(self, other: object) -> bool:
        """Whether the options are equal, and the parameters the same objects."""
        if not isinstance(other, Mapping) or set(self) != set(other):
            return NotImplemented if not isinstance(other, Mapping) else False
        params = self["params"], other["params"]
        same = len(params[0]) == len(params[1]) and all(a is b for a, b in zip(*params, strict=True))
        return same and all(self[name] == other[name] for name in self if name != "params")

    __hash__ = None  # type: ignore[assignment]  # a dictionary has none

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self._options.items() if k != "params")
        return f"ParamGroup({len(self['params'])} parameters; {options})"

    def scalars(self) -> dict[str, float]:
        """The numeric options by the names that rules know: ``betas`` becomes ``beta1``, ``beta2`` and so on."""
        found: dict[str, float] = {}
        for name, value in self._options.items():
            if isinstance(value, int | float):
                found[name] = float(value)
            elif isinstance(value, tuple) and name.endswith("s") and name != "params":
                numbers = [float(each) for each in value if isinstance(each, int | float)]
                if len(numbers) == len(value):
                    for i, number in enumerate(numbers, 1):
                        found[f"{name[:-1]}{i}"] = number
        return found


class ParamGroups(list[ParamGroup]):
    """The param groups of an optimizer: a list whose every change the optimizer follows.

    Dictionaries that are put in become groups, as in `Optimizer.add_param_group`. Parameters that stay keep their
    state, also when they move to another group. A group that is taken out keeps its state, and continues with it if it
    is put in again. A change that would leave no group, or a parameter in two, raises ValueError and changes nothing.

    Args:
        owner: the name of the optimizer's class, for error messages.
        defaults: the options of every group, with their defaults.
        ranges: the values that each option may have.
        regroup: the optimizer's method that adopts a changed list. The optimizer is not kept alive.
    """

    def __init__(
        self,
        owner: str,
        defaults: Mapping[str, Any],
        ranges: Mapping[str, Range],
        regroup: Callable[[Iterable[Any]], None],
    ) -> None:
        super().__init__()
        self._owner, self._defaults, self._ranges = owner, defaults, ranges
        self._regroup = weakref.WeakMethod(regroup)

    def hold(self, groups: Iterable[ParamGroup]) -> None:
        """Hold these groups, which the optimizer has adopted."""
        super().__setitem__(slice(None), groups)

    def arranged(self, wanted: Iterable[Any]) -> list[ParamGroup]:
        """Make param groups of the list ``wanted`` of groups and dictionaries, without changing this one.

        Groups that this optimizer has made stay the same objects. Every parameter gets a name.

        Raises:
            ValueError: for no groups, one without parameters, or a parameter in two places.
            TypeError: for something that is not a tensor, or an unknown option.
        """
        owner, given = self._owner, list(wanted)
        if not given:
            raise ValueError(
                f"{owner}: no param group would be left; replace all of them at once, param_groups[:] = [...], or make "
                "another optimizer"
            )
        own = [group for group in given if isinstance(group, ParamGroup) and group.ranges is self._ranges]
        names: set[str] = set()
        owners: dict[int, str] = {}
        for group in own:
            for name, parameter in group.named:
                if id(parameter) in owners:
                    raise ValueError(
                        f"{owner}: the parameter {name!r} is given twice, in two param groups; to exchange groups, "
                        "assign all of them at once: param_groups[:] = [...]"
                    )
                names.add(name)
                owners[id(parameter)] = name
        return [group if any(group is each for each in own) else self._made(group, names, owners) for group in given]

    def _made(self, options: Any, names: set[str], owners: dict[int, str]) -> ParamGroup:
        owner = self._owner
        if not isinstance(options, Mapping) or "params" not in options:
            raise TypeError(f"{owner}: a param group is a dictionary with the key 'params', not {_short(options)}")
        for name in options:
            if name != "params" and not _is_option(name, self._defaults):
                raise TypeError(f"{owner}: {unknown('option', str(name), self._defaults)}")
        params = options.named if isinstance(options, ParamGroup) else options["params"]
        known = {id(parameter): name for each in self for name, parameter in each.named}
        pairs = _named(owner, params, names, owners, known)
        if not pairs:
            raise ValueError(f"{owner}: a param group has no parameters")
        group = ParamGroup(owner, self._defaults, pairs, self._ranges)
        group.update({name: options[name] for name in options if name != "params"})
        return group

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)  # a copy is a plain list, which no optimizer follows


def _followed(name: str) -> Callable[..., Any]:
    operation = getattr(list, name)

    def method(self: ParamGroups, *args: Any, **keywords: Any) -> Any:
        wanted: list[Any] = list(self)
        result = operation(wanted, *args, **keywords)
        regroup = self._regroup()
        if regroup is None:
            raise ReferenceError("param_groups: their optimizer no longer exists")
        regroup(wanted)
        return self if result is wanted else result

    method.__name__, method.__doc__ = name, operation.__doc__
    return method


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(ParamGroups, _name, _followed(_name))
for _name in ("__setitem__", "__delitem__", "__iadd__", "__imul__"):
    setattr(ParamGroups, _name, _followed(_name))


def named_groups(owner: str, params: Iterable[Any]) -> list[Mapping[str, Any]]:
    """The parameters that an optimizer was given, as dictionaries with the key ``"params"``.

    Args:
        owner: the name of its class.
        params: the argument.

    Raises:
        ValueError: for no parameters.
        TypeError: for anything but parameters, pairs of name and parameter, or dictionaries.
    """
    remedy = "such as model.parameters()"
    if isinstance(params, Tensor):
        raise TypeError(f"{owner}: needs a list of parameters, {remedy}, not one tensor")
    if isinstance(params, str) or not isinstance(params, Iterable) or hasattr(params, "parameters"):
        what = "the model itself" if hasattr(params, "parameters") else type(params).__name__
        raise TypeError(f"{owner}: needs a list of parameters, {remedy}, not {what}")
    if isinstance(params, Mapping) and params:
        put = "a list of param groups, [{'params': ...}]" if "params" in params else "its pairs, .items()"
        raise TypeError(f"{owner}: needs a list of parameters, {remedy}, not a dictionary; pass {put}")
    given = listed(owner, params)
    if not given:
        raise ValueError(f"{owner}: the list of parameters is empty")
    return given if isinstance(given[0], Mapping) else [{"params": given}]


def _is_option(name: Any, known: Container[str]) -> bool:
    """Whether a key is an option, or one that schedulers add: its first, largest or smallest value."""
    ranges = ("initial_", "max_", "min_")
    return isinstance(name, str) and (name in known or (name.startswith(ranges) and name.partition("_")[2] in known))


def _short(value: Any) -> str:
    """A value as text for an error message, without the numbers of a tensor."""
    return "a tensor" if isinstance(value, Tensor) else " ".join(repr(value).split())[:80]


def _named(
    owner: str, params: Any, names: set[str], owners: dict[int, str], known: Mapping[int, str]
) -> list[tuple[str, Tensor]]:
    """Pairs of name and parameter. ``known`` names are kept, and ``@2``, ``@3`` is appended to a name that is taken."""
    items: Sequence[Any] = [params] if isinstance(params, Tensor) else listed(owner, params)
    pairs = []
    for item in items:
        given = known.get(id(item)) or getattr(item, "name", "")
        name, parameter = item if isinstance(item, tuple) and len(item) == 2 else (given, item)
        if not isinstance(parameter, Tensor):
            hint = "; pass its parameters()" if hasattr(parameter, "parameters") else ""
            raise TypeError(f"{owner}: a parameter must be a tensor, not {type(parameter).__name__}{hint}")
        if not isinstance(name, str):
            raise TypeError(f"{owner}: the name of a parameter must be a string, not {_short(name)}")
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
