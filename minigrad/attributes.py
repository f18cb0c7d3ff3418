"""Attributes that are checked whenever they are set, and constructors made from declared arguments.

::

    from minigrad.attributes import setting
    from minigrad.checks import number
    from minigrad.nn import Module

    class Dropout(Module):
        p: float = setting(number, low=0, high=1)

        def __init__(self, p=0.5):
            self.p = p
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from inspect import Parameter, Signature
from typing import Any

PACKAGE = __name__.partition(".")[0]

# The remedy for setting an argument that only the constructor reads.
RENEW = "make a new one with it"


class Setting:
    """A checked attribute. The instance stores its value, so that reading it is as fast as for any other attribute."""

    def __init__(self, check: Callable[[Any, str, Any], Any], fixed: bool) -> None:
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
    """The name of an argument that only the constructor reads: setting it later would change nothing, so it raises.

    A subclass outside the package may use the name for an attribute.
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


def setting(check: Callable[..., Any], **limits: Any) -> Any:
    """Declare an attribute that may be set at any time.

    Args:
        check: called with the instance, the attribute's name and the new value, and with the limits, like the checks in
            `minigrad.checks`. It returns the value to store, or raises.
        limits: keywords for ``check``.
    """
    return Setting(functools.partial(check, **limits) if limits else check, fixed=False)


def fixed(check: Callable[..., Any] | None = None, **limits: Any) -> Any:
    """Declare an attribute that is set once, because others follow from it, such as the shapes of parameters.

    It takes the arguments of `setting`. Without a check, the constructor checks the value itself.
    """
    check = check or (lambda owner, name, value: value)
    return Setting(functools.partial(check, **limits) if limits else check, fixed=True)


def argument(remedy: str) -> Any:
    """Declare an argument of the constructor that is not an attribute; ``remedy`` names the alternative."""
    return Argument(remedy)


def make_constructor(cls: Any, arguments: Iterable[Parameter], body: Callable[[Any, dict[str, Any]], None]) -> None:
    """Give a class a constructor with the signature of the arguments, as if it had been written by hand.

    Args:
        cls: the class. Its constructor names it, and the arguments, in the TypeError for a call that does not fit.
        arguments: in order, without ``self``.
        body: called with the new instance and a dictionary of all arguments, those left out by their defaults.
    """
    arguments = list(arguments)
    signature = Signature([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *arguments], return_annotation=None)

    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807 - it becomes a method
        try:
            bound = signature.bind(self, *args, **named)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}; it takes {', '.join(each.name for each in arguments)}") from None
        bound.apply_defaults()
        del bound.arguments["self"]
        body(self, bound.arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]  # functions may have one
    __init__.__qualname__, __init__.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    cls.__init__ = __init__
