"""Public attributes that obey or refuse: what is set later goes through the checks of the constructor.

::

    from minigrad.nn import Module
    from minigrad.nn.checks import probability

    class Dropout(Module):
        p = setting(probability)

        def __init__(self, p=0.5):
            self.p = p
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# Of the owner, the attribute's name and its value; it returns the value to keep, or raises.
Check = Callable[[Any, str, Any], Any]

PACKAGE = __name__.partition(".")[0]

# What to do in place of setting an argument that nothing else changes.
RENEW = "make a new one with it"


class Setting:
    """An attribute that is checked whenever it is set. It is read from the instance, at the usual speed."""

    def __init__(self, check: Check, fixed: bool = False) -> None:
        self._check, self._fixed, self._name = check, fixed, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, owner: Any, value: Any) -> None:
        name, values = self._name, vars(owner)
        value = self._check(owner, name, value)
        if self._fixed and name in values and values[name] is not value and values[name] != value:
            kind = type(owner).__name__
            raise AttributeError(
                f"{kind}.{name} is {values[name]!r} and cannot be changed to {value!r}; make a new {kind}"
            )
        values[name] = value

    def __delete__(self, owner: Any) -> None:
        raise AttributeError(f"{type(owner).__name__}.{self._name} cannot be deleted")


class Argument:
    """The name of an argument that the constructor alone takes; setting it later would change nothing.

    A subclass outside of the package may use the name for itself.
    """

    def __init__(self, remedy: str) -> None:
        self._remedy, self._name = remedy, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self
        if self._name not in vars(owner):
            raise AttributeError(f"{kind.__name__} has no attribute {self._name!r}")
        return vars(owner)[self._name]

    def __set__(self, owner: Any, value: Any) -> None:
        kind = type(owner)
        if kind.__module__.partition(".")[0] == PACKAGE:
            raise AttributeError(f"{kind.__name__}.{self._name} is an argument of the constructor; {self._remedy}")
        vars(owner)[self._name] = value

    def __delete__(self, owner: Any) -> None:
        try:
            del vars(owner)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None


def setting(check: Check) -> Any:
    """An attribute that may be set at any time, to what ``check`` lets pass."""
    return Setting(check)


def fixed(check: Check) -> Any:
    """An attribute that is set once, because others follow from it, such as the shapes of parameters."""
    return Setting(check, fixed=True)


def argument(remedy: str) -> Any:
    """An argument of the constructor that is not an attribute; ``remedy`` says what to do in place of setting it."""
    return Argument(remedy)


# --- checks ----------------------------------------------------------------------------------------------------------


def flag(owner: Any, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{type(owner).__name__}: {name} must be True or False, not {value!r}")
    return bool(value)


def unchecked(owner: Any, name: str, value: Any) -> Any:
    """Anything; the constructor has checked it."""
    return value
