"""Declared: a constructor made from annotated fields, so that each option is written once, with default and range."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import KW_ONLY
from inspect import Parameter
from typing import Any, ClassVar, dataclass_transform

from .. import attributes
from ..rules.options import Option, check_option

# The remedy for setting an argument of the constructor as an attribute.
_REMEDIES = {"params": "use add_param_group()", "clip": attributes.RENEW}


@dataclass_transform(eq_default=False)
class Declared:
    """The base of `Optimizer`, whose subclasses declare the arguments of their constructor as annotated fields.

    As in a dataclass, fields after ``_: KW_ONLY`` are keyword-only, and a class inherits fields. A class that defines
    ``__init__``, or inherits one that was not made here, is not changed. The fields of `Optimizer` are arguments of
    every subclass; type checkers ignore fields of the class that ``dataclass_transform`` decorates, so that this
    cannot be `Optimizer` itself.

    Attributes:
        declared: the options by name, each with its default and range; not ``params`` and ``clip``.
    """

    declared: ClassVar[dict[str, Option]] = {}
    # The parameters that the constructor has for the fields.
    _fields: ClassVar[tuple[Parameter, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = {field.name: field for field in _own_fields(cls)}
        root = next(each for each in cls.__mro__ if Declared in each.__bases__)
        if cls is not root:
            inherited = inspect.getattr_static(cls, "__init__")
            made = inherited is vars(root)["__init__"] or hasattr(inherited, "__signature__")
            if not own or "__init__" in vars(cls) or not made:
                return
        fields = [*(field for field in cls._fields if field.name not in own), *own.values()]
        cls._fields = tuple(sorted(fields, key=lambda field: field.kind))
        cls.declared = {field.name: field.default for field in cls._fields if isinstance(field.default, Option)}
        for name in own:
            attribute = _attribute(name, cls.declared.get(name))
            setattr(cls, name, attribute)
            attribute.__set_name__(cls, name)
        if cls is not root:
            shown = [f.replace(default=f.default.value) if isinstance(f.default, Option) else f for f in cls._fields]
            attributes.make_constructor(cls, shown, lambda self, arguments: _initialize(self, arguments, cls, root))


def _own_fields(cls: type) -> Iterator[Parameter]:
    """The fields that a class itself declares."""
    kind: Any = Parameter.POSITIONAL_OR_KEYWORD
    for name, annotation in inspect.get_annotations(cls).items():
        if annotation in (KW_ONLY, "KW_ONLY"):
            kind = Parameter.KEYWORD_ONLY
        elif not name.startswith("_") and "ClassVar" not in str(annotation):
            default = vars(cls).get(name, Parameter.empty)
            if default is not Parameter.empty and not isinstance(default, Option) and name not in _REMEDIES:
                default = Option(default)
            yield Parameter(name, kind, default=default, annotation=annotation)


def _attribute(name: str, option: Option | None) -> Any:
    """The descriptor of a field: a read-only attribute, or one whose error names where to set the option."""
    if option is None or not option.fixed:
        groups = f"set it in the groups: optimizer.param_groups[i][{name!r}] = ..."
        return attributes.argument(_REMEDIES.get(name, groups))
    return attributes.fixed(lambda owner, name, value: check_option(type(owner).__name__, name, value, option.range))


def _initialize(self: Any, arguments: dict[str, Any], cls: type[Declared], root: Any) -> None:
    """Set the fixed options, and pass those of the groups to the constructor of ``root``."""
    options = {}
    for name, declared in cls.declared.items():
        if declared.fixed:
            setattr(self, name, arguments[name])
        else:
            options[name] = Option(arguments[name], declared.range)
    root.__init__(self, arguments["params"], options, clip=arguments["clip"])
