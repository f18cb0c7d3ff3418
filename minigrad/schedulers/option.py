"""Option: where a scheduled number lies in a param group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..optim import Optimizer
from ..optim.groups import ParamGroup
from ..suggest import unknown


class Option:
    """A numeric option of every param group, by its own name or, within a tuple, by its place: ``beta1``.

    The value that it began with stays in the group under ``initial_``, as in PyTorch, so that the optimizer's state
    dict has it too.

    Attributes:
        name: as rules know it.
        key: the key of the group: ``betas`` for ``beta1``.
        initial_key: where the first value stays: ``initial_betas``.
    """

    def __init__(self, name: str, key: str, index: int | None) -> None:
        self.name, self.key, self._index = name, key, index
        self.initial_key = f"initial_{key}"

    def read(self, group: ParamGroup) -> float:
        """The value as it is now."""
        return self._pick(group[self.key])

    def write(self, group: ParamGroup, value: float) -> None:
        """Set it; the group refuses a value outside the option's range."""
        group[self.key] = self._put(group[self.key], value)

    def initial(self, group: ParamGroup) -> float:
        """The first value, which is the value now if no scheduler has come by."""
        return self._pick(group.get(self.initial_key, group[self.key]))

    def write_initial(self, group: ParamGroup, value: float) -> None:
        """Take another value for the first one."""
        group[self.initial_key] = self._put(group.get(self.initial_key, group[self.key]), value)

    def _pick(self, value: Any) -> float:
        return float(value if self._index is None else value[self._index])

    def _put(self, before: Any, value: float) -> Any:
        if self._index is None:
            return value
        return (*before[: self._index], value, *before[self._index + 1 :])


def is_number(value: Any) -> bool:
    """Whether a group's value can be scheduled."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric_options(group: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Option]:
    """The options of a group that are numbers, by the names that rules know."""
    found = {}
    for key in known:
        value = group[key]
        if is_number(value):
            found[key] = Option(key, key, None)
        elif isinstance(value, tuple) and key.endswith("s") and all(map(is_number, value)):
            found |= {f"{key[:-1]}{i + 1}": Option(f"{key[:-1]}{i + 1}", key, i) for i in range(len(value))}
    return found


def find_option(owner: str, optimizer: Optimizer, name: str) -> Option:
    """An option by its name.

    Raises:
        ValueError: if a group has no such option, or it is no number there.
    """
    found = None
    for number, group in enumerate(optimizer.param_groups):
        options = numeric_options(group, group.known)
        if name not in options:
            told = unknown("option", str(name), options)
            raise ValueError(f"{owner}: {told} (numeric options of param group {number} of {type(optimizer).__name__})")
        found = options[name]
    assert found is not None  # an optimizer has at least one group
    return found


def momentum_option(owner: str, optimizer: Optimizer) -> str:
    """The option that ``cycle_momentum`` means: ``momentum``, or ``beta1`` where there are betas.

    Raises:
        ValueError: if there is neither.
    """
    if "betas" in optimizer.defaults:
        return "beta1"
    if "momentum" in optimizer.defaults:
        return "momentum"
    raise ValueError(f"{owner}: {type(optimizer).__name__} has neither momentum nor betas; give cycle_momentum=False")
