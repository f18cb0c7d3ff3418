"""The elements of a chain: rules, which are parsed updates, and norms."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..checks import choice, unknown
from ._evaluate import Reading, Statements

# The values that a rule works on in addition to its state, and that a norm can be taken of.
VALUES = ("update", "param", "grad")
# The ranges that a norm can be taken over, from the narrowest to the widest.
SCOPES = ("unit", "tensor", "layer", "global")


@dataclass(frozen=True)
class Assignment:
    """One statement of a rule.

    Attributes:
        target: the name that is set.
        value: the expression, with outer constants as numbers and functions under minigrad's names.
        line: its line in the file.
        text: its source text.
    """

    target: str
    value: ast.expr
    line: int
    text: str


@dataclass(frozen=True, eq=False)
class Rule:
    """An element-wise update, parsed and checked. Made by `rule`.

    Attributes:
        name: the function's name.
        function: the function from which it was made.
        source: its text.
        inputs: the positional arguments, in order.
        state: the names of its state slots, one value per parameter element each.
        hypers: the keyword-only arguments.
        body: its statements.
        outputs: the names it returns: its state, and whichever of ``update``, ``param`` and ``grad`` it changes.
        scalars: computes step-dependent hyper-parameters, or ``None``.
        init: the value that a state slot starts with: a number, the name of an option, or ``"param"`` for the
            parameter itself; slots that are not listed start at 0.
    """

    name: str
    function: Callable[..., Any]
    source: str
    inputs: tuple[str, ...]
    state: tuple[str, ...]
    hypers: tuple[str, ...]
    body: tuple[Assignment, ...]
    outputs: tuple[str, ...]
    scalars: Callable[..., Mapping[str, float]] | None = None
    init: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def norms(self) -> tuple[str, ...]:
        """The names of the norms that it reads."""
        return tuple(name for name in self.inputs if name not in VALUES and name not in self.state)

    @property
    def options(self) -> tuple[str, ...]:
        """The hyper-parameters that the param group must have, apart from those that ``scalars`` computes."""
        return (*self.hypers, *(name for name in self.scalar_options if name not in self.hypers))

    @property
    def scalar_options(self) -> tuple[str, ...]:
        """The options that ``scalars`` takes, in order."""
        return () if self.scalars is None else _arguments(self.scalars, carried=False)[1:]

    @property
    def carry(self) -> tuple[str, ...]:
        """The keyword-only arguments of ``scalars``: numbers that it returned for the step before."""
        return () if self.scalars is None else _arguments(self.scalars, carried=True)

    # --- evaluation ----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Run the rule as plain Python, in the arithmetic of the kernels (`minigrad.rules._evaluate`).

        Inputs are NumPy scalars of the parameter's dtype, or arrays of one shape; hyper-parameters and norms are
        Python floats. Returns the rule's results, in the dtype of the inputs.

        Raises:
            TypeError: for a missing, unknown or repeated argument, or one that is not a number.
        """
        reading = self.reading(self._bound(args, keywords))
        reading.run()
        found = reading.results(self.outputs)
        return tuple(found) if len(found) > 1 else found[0]

    def reading(self, given: Mapping[str, Any]) -> Reading:
        """The rule about to be run, statement by statement or at once, on a value for every argument."""
        return Reading(self.name, self._statements, given)

    @functools.cached_property
    def _statements(self) -> Statements:
        varying = [name for name in self.inputs if name not in self.norms]
        return Statements([(each.target, each.value) for each in self.body], varying)

    def _bound(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name."""
        if len(args) > len(self.inputs):
            raise TypeError(f"rule {self.name!r} takes {', '.join(self.inputs)} by position, not {len(args)} values")
        given = dict(zip(self.inputs, args, strict=False))
        known = (*self.inputs, *self.hypers)
        for name, value in keywords.items():
            if name in given:
                raise TypeError(f"rule {self.name!r}: {name} is given twice")
            if name not in known:
                raise TypeError(f"rule {self.name!r}: {unknown('argument', name, known)}")
            given[name] = value
        missing = [name for name in known if name not in given]
        if missing:
            raise TypeError(f"rule {self.name!r}: {' and '.join(missing)} must be given")
        return given

    def factor(self, norms: Mapping[str, Any], scalars: Mapping[str, Any]) -> Any:
        """The result for an update of 1: the factor of a rule that is linear in the update, as clips by norm are.

        Args:
            norms: a value for each norm that the rule reads.
            scalars: a value for each hyper-parameter; others are ignored, also among the norms.

        Returns:
            The factor in float64; an array if any value is one, of the shape to which they broadcast.

        Raises:
            KeyError: if a norm or a hyper-parameter of the rule has no value.

        >>> from minigrad.clipping.clip import clip_by_norm
        >>> clip_by_norm.factor({"clip_norm": np.array([4.0, 0.5])}, {"max_norm": 1.0})
        array([0.24999994, 1.        ])
        """
        given = {name: norms[name] for name in self.norms} | {name: scalars[name] for name in self.hypers}
        factor = run_on_arrays([self], {**given, "update": 1.0})["update"]
        shape = np.broadcast_shapes(*map(np.shape, given.values()))
        return np.broadcast_to(factor, shape) if shape else float(factor)

    def renamed(self, names: Mapping[str, str]) -> Rule:
        """The same rule with other names for some norms, hyper-parameters or state, as for a second use in a chain."""

        class Renaming(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.Name:
                return ast.Name(names.get(node.id, node.id), node.ctx)

        def renamed(a: Assignment) -> Assignment:
            target, value = names.get(a.target, a.target), Renaming().visit(copy.deepcopy(a.value))
            return Assignment(target, value, a.line, f"{target} = {ast.unparse(value)}")

        body = tuple(map(renamed, self.body))
        inputs, state, hypers, outputs = (
            tuple(names.get(name, name) for name in each)
            for each in (self.inputs, self.state, self.hypers, self.outputs)
        )
        init = {names.get(name, name): first for name, first in self.init.items()}
        return replace(self, inputs=inputs, state=state, hypers=hypers, body=body, outputs=outputs, init=init)

    # --- copies and pickles --------------------------------------------------------------------------------------

    def __copy__(self) -> Rule:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Rule:
        return self  # a rule never changes; so one that cannot be pickled can be copied

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the name of the function: as the rule found there, with the fields that `renamed` has changed."""
        module, name = self.function.__module__, self.function.__qualname__
        found = _found(module, name)
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        if isinstance(found, Rule) and found.function is self.function:
            if found is self:
                return _rule_at, (module, name)
            del own["function"], own["scalars"]
            return _variant, (found, own)
        if found is self.function:
            return _variant, (None, own)
        raise pickle.PicklingError(
            f"rule {self.name!r} cannot be pickled, because {module}.{name} is something else; define it with def at "
            "the top level of a module"
        )

    def __repr__(self) -> str:
        return f"<rule {self.name}({', '.join(self.inputs)}; {', '.join(self.hypers)})>"


def run_on_arrays(rules: Sequence[Rule], values: Mapping[str, Any]) -> dict[str, Any]:
    """Run a chain of rules on arrays and numbers, in float64.

    Args:
        rules: the rules, in order.
        values: by name, ``update``, ``param``, state, norms and scalars; arrays broadcast.

    Returns:
        The values after the last rule.
    """
    found = {name: np.asarray(value, np.float64)[()] for name, value in values.items()}
    for rule in rules:
        reading = rule.reading({name: found[name] for name in (*rule.inputs, *rule.hypers)})
        reading.run()
        found |= zip(rule.outputs, reading.results(rule.outputs), strict=True)
    return found


def _arguments(function: Callable[..., Any], carried: bool) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if (p.kind is p.KEYWORD_ONLY) == carried)


def _found(module: str, name: str) -> Any:
    """The object of this name, such as ``"Class.method"``, in a module; ``None`` if the module has none."""
    try:
        found: Any = importlib.import_module(module)
    except (ImportError, TypeError, AttributeError):
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _rule_at(module: str, name: str) -> Rule:
    found = _found(module, name)
    if not isinstance(found, Rule):
        raise pickle.UnpicklingError(f"cannot find the rule {module}.{name}")
    return found


def _variant(rule: Rule | None, own: dict[str, Any]) -> Rule:
    """A rule with some fields replaced."""
    return Rule(**own) if rule is None else replace(rule, **own)


@dataclass(frozen=True)
class Norm:
    """A norm over a range, which later rules read by name. Made by `norm`.

    Attributes:
        of: ``"param"``, ``"grad"``, or ``"update"`` with the value that it has at this point of the chain.
        scope: the range: ``"unit"``, ``"tensor"``, ``"layer"`` or ``"global"``.
        order: 1, 2, any positive number or infinity.
        name: the name by which rules read it.
        where: an option; parameters for which it is 0 are excluded from the norm.
        nonfinite: the action if it is NaN or infinite: ``"propagate"`` computes on, ``"raise"`` and ``"skip"`` stop
            the step before anything is changed.
    """

    of: str
    scope: str
    order: float
    name: str
    where: str | None = None
    nonfinite: str = "propagate"


def norm(
    of: str,
    scope: str,
    order: float = 2,
    name: str | None = None,
    where: str | None = None,
    nonfinite: str = "propagate",
) -> Norm:
    """A norm of ``"param"``, ``"grad"`` or ``"update"`` over each unit, tensor, layer, or over everything (global).

    Later rules of the chain read it under ``name``, by default ``of`` followed by ``_norm``. It is accumulated in
    float64, over fixed blocks combined in a fixed order, so that the result does not depend on the number of threads.

    Raises:
        ValueError: for an unknown quantity or scope, or an order that is not positive.
    """
    choice("norm", "of", of, VALUES)
    choice("norm", "scope", scope, SCOPES)
    choice("norm", "nonfinite", nonfinite, ("raise", "skip", "propagate"))
    if isinstance(order, bool) or not isinstance(order, int | float) or not order > 0:
        raise ValueError(f"norm: the order must be a number above 0, not {order!r}")
    name = name or f"{of}_norm"
    if not name.endswith("_norm"):
        raise ValueError(f"norm: the name must end with _norm, by which rules know it, but it is {name!r}")
    if where is not None and not isinstance(where, str):
        raise ValueError(f"norm: where must be the name of an option, not {where!r}")
    return Norm(of, scope, float(order), name, where, nonfinite)
