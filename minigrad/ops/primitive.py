"""Primitives: the entries of the op table.

A primitive is one entry: a name, a forward function on arrays, and one gradient rule per input. A rule is
written in terms of operators and other primitives, so the same text runs on raw arrays (the fast path of
``backward``), on tensors (gradients of gradients), and on anything else that derives from `Traced`.

A rule names what it needs, and the engine keeps nothing else alive::

    multiply = primitive(
        "multiply", np.multiply, inputs="a b",
        vjps=(lambda g, b: g * b, lambda g, a: g * a),
    )

The first argument is the gradient that arrives at the output (the cotangent). The others are

- an input's name: its value;
- an input's name followed by ``_shape``: only its shape, so the value itself can be freed;
- ``out``: the value that forward returned;
- an extra: an intermediate value that forward returned after its output, see ``extras``;
- the name of a setting (a keyword of forward, such as ``axis``), as a keyword-only argument.

Positional arguments of a primitive are arrays; keywords are settings. If an input was broadcast, a rule returns a
gradient of the output's shape, and the engine sums it back to the input's, once for all ops.

A rule reaches arrays only through operators and primitives, and never calls NumPy itself: an array that it made so
would be a constant to whatever records or compiles the rule.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any, NamedTuple

from ..checks import refuse_unknown

Rule = Callable[..., Any]
PRIMITIVES: dict[str, Primitive] = {}


class Traced:
    """Base of values that take over the application of a primitive, such as tensors, which record it."""

    __slots__ = ()

    @staticmethod
    def apply_primitive(primitive: Primitive, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """Apply ``primitive`` to ``args``, at least one of which is traced."""
        raise NotImplementedError


ALL_VALUES = -1
ALL_SHAPES = -2


class BoundRule(NamedTuple):
    """A gradient rule, with the places of its arguments among the values that a node saved.

    ``position`` is the number of the input whose gradient it gives, or of the extra that it recomputes.
    """

    position: int
    rule: Rule
    places: tuple[int, ...]
    settings: tuple[str, ...]

    def run(self, g: Any, saved: Sequence[Any], settings: Mapping[str, Any]) -> Any:
        """Call the rule with the values and settings that it names."""
        places, names = self.places, self.settings
        if names:
            return self.rule(g, *[saved[place] for place in places], **{name: settings[name] for name in names})
        if len(places) == 1:  # the most frequent kind, without a list
            return self.rule(g, saved[places[0]])
        return self.rule(g, *[saved[place] for place in places])


@dataclass(frozen=True)
class Recipe:
    """The values that a node saves and the rules that it runs, for a given set of inputs that require a gradient.

    ``sources`` lists where the saved values come from: ``i`` is the value of input ``i``, ``arity`` the output,
    ``arity + 1 + i`` the shape of input ``i``, ``2 * arity + 1 + i`` the extra ``i``; `ALL_VALUES` and `ALL_SHAPES` are
    the tuples over all inputs. ``recomputed`` has, by place among the saved values, how an extra that depends on
    inputs is computed again when the walk itself is recorded.
    """

    arity: int
    sources: tuple[int, ...]
    rules: tuple[BoundRule, ...]
    recomputed: dict[int, BoundRule]

    @functools.cached_property
    def settings(self) -> tuple[str, ...]:
        """The settings that the rules name."""
        bounds = (*self.rules, *self.recomputed.values())
        return tuple(dict.fromkeys(name for bound in bounds for name in bound.settings))


class Primitive:
    """An operation, usually differentiable. Called on arrays it computes; called on tensors it is also recorded.

    Attributes:
        name: the op's name, as errors and drawings show it.
        forward: the function on arrays (NumPy's, or any library's that follows NumPy's protocols).
        inputs: the names of the positional inputs. A variadic primitive has one name for all of them.
        vjps: a gradient rule per input, ``None`` for an input that has no gradient (labels, indices, masks).
        arity: the number of inputs, -1 for any number.
        variadic: takes any number of inputs, one by one or as one iterable. Its single rule is
            ``rule(index, g, ...)``, whose first argument is the input's position, and may name ``values`` or
            ``shapes``, the tuples over all inputs.
        to_float: integer inputs are computed in float32, as for ``exp`` or ``divide``.
        view: the output may share the input's memory.
        in_place: forward changes its first input and returns it, and a tensor keeps its dtype.
        extras: intermediate values of forward that a gradient rule needs. Forward then returns a tuple: its output,
            then one value per entry. The entry is a function that computes the value from the inputs, in primitives
            and with arguments named as in a rule, or ``None`` if the value depends on no input that has a gradient.
        analytic: complex differentiable, so a gradient can be checked by a complex step.
        add_at: the rule of an op that selects elements, as a change in place: ``add_at(total, g, **settings)`` adds to
            the gradient that has arrived at the input, and returns False if it cannot. Without it, the gradient of each
            piece of a tensor would cost an array of zeros of the size of the whole.
        hint: the remedy at the end of an error about the shapes of the inputs.
        settings: the names of the keywords.
        module: the name of the module that made it, which unpickling imports.
        required: how many inputs must be given; the others have a default in ``forward`` and may be absent.
        recipes: those that `recipe` has made so far, by its arguments.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        inputs: str,
        vjps: Sequence[Rule | None],
        *,
        variadic: bool = False,
        to_float: bool = False,
        view: bool = False,
        in_place: bool = False,
        extras: Mapping[str, Rule | None] | None = None,
        analytic: bool = True,
        add_at: Callable[..., bool] | None = None,
        hint: str = "",
        doc: str | None = None,
        module: str = __name__,
    ) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        self.forward = forward
        self.inputs = tuple(inputs.split())
        self.vjps = tuple(vjps) or (None,) * len(self.inputs)
        self.variadic = variadic
        self.to_float = to_float
        self.view = view
        self.in_place = in_place
        self.extras = dict(extras or {})
        self.analytic = analytic
        self.add_at = add_at
        self.hint = hint
        self.module = module
        self.__doc__ = doc or forward.__doc__
        self.differentiable = any(rule is not None for rule in self.vjps)
        self.settings, self.defaults = _settings(forward)
        self.arity = -1 if variadic else len(self.inputs)
        self.required = 0 if variadic else len(self.inputs) - _count_optional(forward)
        self.__signature__ = self._signature()
        self.recipes: dict[tuple[int, int], Recipe] = {}
        if len(self.vjps) != (1 if variadic else len(self.inputs)) and self.differentiable:
            raise ValueError(f"{name}: {len(self.inputs)} inputs need as many gradient rules, not {len(self.vjps)}")

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """Compute on arrays; if an argument is traced, let it apply the primitive."""
        for arg in args:
            if isinstance(arg, Traced):
                return arg.apply_primitive(self, args, settings)
        if self.variadic and args and not hasattr(args[0], "dtype"):
            if len(args) == 1 and isinstance(args[0], Iterable) and not isinstance(args[0], str | Mapping):
                return self(*args[0], **settings)
            if not isinstance(args[0], list | tuple | Number):
                raise TypeError(f"{self.name}: joins arrays and tensors, not {type(args[0]).__name__}")
            if isinstance(args[0], list | tuple) and any(isinstance(item, Traced) for item in args[0]):
                self.check_call(args, settings)
        try:
            out = self.forward(*args, **settings)
        except (TypeError, ValueError):
            self.check_call(args, settings)
            raise
        return out[0] if self.extras else out

    def _signature(self) -> inspect.Signature:
        """The signature for ``help`` and ``inspect``: the inputs by position, the settings by keyword."""
        kind: Any = inspect.Parameter
        if self.variadic:
            parameters = [kind(self.inputs[0], kind.VAR_POSITIONAL)]
        else:
            parameters = [
                kind(name, kind.POSITIONAL_ONLY, default=kind.empty if i < self.required else None)
                for i, name in enumerate(self.inputs)
            ]
        parameters += [
            kind(name, kind.KEYWORD_ONLY, default=self.defaults.get(name, kind.empty)) for name in self.settings
        ]
        return inspect.Signature(parameters)

    def __copy__(self) -> Primitive:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Primitive:
        return self  # it never changes

    def __reduce__(self) -> tuple[Any, ...]:
        if PRIMITIVES.get(self.name) is not self:
            raise pickle.PicklingError(f"{self!r} cannot be pickled: the op table has another primitive of this name")
        return _from_table, (self.module, self.name)

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.inputs)})>"

    def check_call(self, args: Sequence[Any], settings: Mapping[str, Any]) -> None:
        """Check the number of inputs and the names of settings.

        Raises:
            TypeError: for a name that is not a setting, and for inputs that are missing or too many.
            ValueError: for a variadic primitive without inputs.
        """
        for name in settings:
            if name in self.inputs and not self.variadic:
                raise TypeError(f"{self.name}: inputs go by position: {self.name}({', '.join(self.inputs)})")
        refuse_unknown(self.name, settings, [*self.settings, *(() if self.variadic else self.inputs)])
        if self.variadic:
            if not args:
                raise ValueError(f"{self.name}: needs at least one input")
            if isinstance(args[0], list | tuple) and len(args) > 1:
                raise TypeError(
                    f"{self.name}: takes its inputs one by one or as one sequence, not both; "
                    f"{self._by_keyword(args[1:])}"
                )
        elif len(args) > self.arity:
            raise TypeError(
                f"{self.name}: {len(args)} positional arguments for {self.arity} inputs "
                f"({', '.join(self.inputs)}); {self._by_keyword(args[self.arity :])}"
            )
        elif len(args) < self.required:
            raise TypeError(
                f"{self.name}: {len(args)} of its inputs ({', '.join(self.inputs)}) given, of which "
                f"{self.required} are required"
            )

    def _by_keyword(self, values: Sequence[Any]) -> str:
        written = ", ".join(f"{k}={v!r}" for k, v in zip(self.settings, values, strict=False))
        return f"settings go by keyword: {written}" if written else "it has no settings"

    def is_discrete(self, position: int) -> bool:
        """Whether an input is labels, indices or a mask, whose dtype has no influence on the other inputs."""
        return self.differentiable and not self.variadic and self.vjps[position] is None

    def input_name(self, position: int) -> str:
        """The name of an input: of a variadic primitive such as ``"values[2]"``."""
        return f"{self.inputs[0]}[{position}]" if self.variadic else self.inputs[position]

    def recipe(self, arity: int, required: int) -> Recipe:
        """The recipe for ``arity`` inputs, if the ones in the bit set ``required`` require a gradient.

        Raises:
            TypeError: if one of them has no gradient rule.
        """
        key = (arity, required)
        found = self.recipes.get(key)
        if found is None:
            found = self.recipes[key] = self._make_recipe(arity, required)
        return found

    def _make_recipe(self, arity: int, required: int) -> Recipe:
        sources: list[int] = []
        rules = []
        for position in (i for i in range(arity) if required >> i & 1):
            rule = self.vjps[0 if self.variadic else position]
            if rule is None:
                raise TypeError(f"{self.name}: no gradient with respect to input {self.inputs[position]!r}")
            if self.variadic:
                rule = functools.partial(rule, position)
            rules.append(self._bind(position, rule, 1, arity, sources))
        recomputed = {}
        for number, function in enumerate(self.extras.values()):
            source = 2 * arity + 1 + number
            if source in sources and function is not None:
                recomputed[sources.index(source)] = self._bind(number, function, 0, arity, sources)
        return Recipe(arity, tuple(sources), tuple(rules), recomputed)

    def _bind(self, position: int, rule: Rule, skip: int, arity: int, sources: list[int]) -> BoundRule:
        """Find the sources of the rule's arguments after the first ``skip``, and add new ones to ``sources``."""
        places, settings = [], []
        for argument in list(inspect.signature(rule).parameters.values())[skip:]:
            if argument.kind is argument.KEYWORD_ONLY:
                settings.append(argument.name)
                continue
            source = self._source(argument.name, arity)
            if source not in sources:
                sources.append(source)
            places.append(sources.index(source))
        return BoundRule(position, rule, tuple(places), tuple(settings))

    def _source(self, name: str, arity: int) -> int:
        """Where the rule argument ``name`` comes from, in the numbering of `Recipe`."""
        if name == "out":
            return arity
        if self.variadic and name in ("values", "shapes"):
            return ALL_VALUES if name == "values" else ALL_SHAPES
        if name in self.inputs:
            return self.inputs.index(name)
        if name in self.extras:
            return 2 * arity + 1 + list(self.extras).index(name)
        base = name.removesuffix("_shape")
        if base in self.inputs:
            return arity + 1 + self.inputs.index(base)
        raise TypeError(
            f"{self.name}: a gradient rule asks for {name!r}, which is not an input ({', '.join(self.inputs)}), an "
            "input's shape, an extra, or 'out'; settings must be keyword-only"
        )


def _settings(forward: Callable[..., Any]) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The names of the keyword-only settings of ``forward``, and their defaults; empty for ufuncs."""
    settings = [p for p in _parameters(forward) if p.kind is p.KEYWORD_ONLY]
    return tuple(p.name for p in settings), {p.name: p.default for p in settings if p.default is not p.empty}


def _count_optional(forward: Callable[..., Any]) -> int:
    """The number of inputs that may be absent, since ``forward`` has a default for them."""
    return sum(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty for p in _parameters(forward))


def _parameters(forward: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    # NumPy's functions have further arguments after the inputs, which are not settings of a primitive.
    if not inspect.isfunction(forward) or (forward.__module__ or "").startswith("numpy"):
        return ()
    return list(inspect.signature(forward).parameters.values())


def _from_table(module: str, name: str) -> Primitive:
    """The primitive that a pickle names."""
    if name not in PRIMITIVES:
        importlib.import_module(module)
    if name not in PRIMITIVES:
        raise pickle.UnpicklingError(f"unknown primitive {name!r}; first import the module that defines it, {module}")
    return PRIMITIVES[name]


def primitive(
    name: str,
    forward: Callable[..., Any],
    inputs: str,
    vjps: Sequence[Rule | None] = (),
    **options: Any,
) -> Primitive:
    """Make a primitive and enter it in the op table.

    Without ``vjps`` the op is not differentiable (comparisons, ``argmax``): its output never requires a gradient.

    A module or notebook that defines a name a second time replaces its earlier primitive, so a cell can be run again.

    Raises:
        ValueError: if the name is taken by minigrad or another module, or the number of rules is not the number of
            inputs.
    """
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    before = PRIMITIVES.get(name)
    if before is not None and (before.module != module or module.partition(".")[0] == __name__.partition(".")[0]):
        raise ValueError(f"a primitive named {name!r} already exists, from {before.module}; choose another name")
    entry = Primitive(name, forward, inputs, vjps, module=module, **options)
    # Bind the rules now, so that one that names something unknown is refused when it is defined.
    for index, rule in enumerate(entry.vjps):
        if rule is not None:
            entry.recipe(index + 1 if entry.variadic else len(entry.inputs), 1 << index)
    PRIMITIVES[name] = entry
    return entry
