"""A rule run as plain Python: its parsed statements, one after the other, in the arithmetic of the kernels.

What depends on hyper-parameters, norms and numbers alone is computed in float64; what depends on the parameter, in
the parameter's dtype; where one meets the other, it is rounded to that dtype first. So every spelling of a function
(``math.sqrt``, ``np.sqrt``, ``sqrt``) means the same here and in a kernel, and the two agree to the last bit; only
``exp``, ``log`` and powers other than 2 and 0.5 come from another library, and may differ by 2 units in the last place.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import unknown
from .functions import ON_ARRAYS, root, where

if TYPE_CHECKING:
    from .language import Assignment, Rule

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARRAYS = (np.ndarray, np.generic)

Choice = tuple[ast.expr, bool]


@dataclass(frozen=True)
class Computed:
    """One assignment of a rule, with the value that it gave.

    Attributes:
        assignment: the statement.
        value: what it computed.
        choices: each condition that was asked, ``a if condition else b``, and whether it held; none for arrays.
    """

    assignment: Assignment
    value: Any
    choices: tuple[Choice, ...]


class Reading:
    """The values of a rule's names, as its statements go by.

    Values are numbers, or arrays of one shape; conditions then hold element by element.

    Args:
        rule: the rule.
        given: a value for every input and hyper-parameter.

    Attributes:
        rule: the rule.
        values: every name, with what it holds now.
    """

    def __init__(self, rule: Rule, given: Mapping[str, Any]) -> None:
        self.rule = rule
        varying = [name for name in rule.inputs if name not in rule.norms]
        kinds = [v.dtype for v in (given[n] for n in varying) if isinstance(v, _ARRAYS) and v.dtype.kind == "f"]
        self.dtype: np.dtype[Any] | None = np.result_type(*kinds) if kinds else None
        self.values = {name: self._number(name, given[name]) for name in (*rule.inputs, *rule.hypers)}
        for name in varying:
            self.values[name] = self.rounded(self.values[name])
        self._choices: list[Choice] = []

    def _number(self, name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.ndim:
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(f"rule {self.rule.name!r}: {name} must be a number, not {value!r:.80}") from None

    def rounded(self, value: Any) -> Any:
        """The value as a number of the parameter's dtype."""
        if self.dtype is None:
            return value
        with np.errstate(all="ignore"):
            return value.astype(self.dtype) if isinstance(value, np.ndarray) else self.dtype.type(value)

    def run(self) -> list[Computed]:
        """Every assignment with its value, in order; the names hold what the rule leaves then."""
        computed = [self.assign(assignment) for assignment in self.rule.body]
        self.finish()
        return computed

    def assign(self, assignment: Assignment) -> Computed:
        """Run one statement."""
        self._choices = []
        value = self.values[assignment.target] = self.value(assignment.value)
        return Computed(assignment, value, tuple(self._choices))

    def finish(self) -> None:
        """Round what the rule leaves to the parameter's dtype, where it is no number of that dtype yet."""
        for name in self.rule.outputs:
            self.values[name] = self.rounded(self.values[name])

    def value(self, node: ast.expr) -> Any:
        """What an expression is, with the names as they are now."""
        match node:
            case ast.Name(id=name):
                return self.values[name]
            case ast.Constant(value=number):
                return number
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._condition(np.logical_not, self.value(operand))
            case ast.UnaryOp(op=op, operand=operand):
                return self._apply(_OPERATORS[type(op)], self.value(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self.value(left), right)
            case ast.BinOp(left=left, op=op, right=right):
                return self._apply(_OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._apply(_OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return self._condition(lambda *v: functools.reduce(join, v), *map(self.value, values))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(test, body, orelse)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._apply(ON_ARRAYS[name], *map(self.value, args))
        raise AssertionError(f"{ast.dump(node)} was let through by the rule parser")

    def varies(self, value: Any) -> bool:
        """Whether a value is one of the parameter's dtype, or a condition on such; others are float64 or flags."""
        return isinstance(value, _ARRAYS) and value.dtype in (self.dtype, np.bool_)

    def _aligned(self, values: Sequence[Any]) -> list[Any]:
        return [self.rounded(v) for v in values] if any(map(self.varies, values)) else list(values)

    @np.errstate(all="ignore")
    def _apply(self, function: Callable[..., Any], *values: Any) -> Any:
        aligned = self._aligned(values)
        if any(isinstance(value, _ARRAYS) for value in aligned):
            return function(*aligned)
        # NumPy divides by zero, and takes the root of a negative number, as kernels do.
        return function(*map(np.float64, aligned)).item()

    def _condition(self, function: Callable[..., Any], *values: Any) -> Any:
        """A condition made of conditions, each of which may be a number."""
        found = function(*values)
        return found if any(map(self.varies, values)) else bool(found)

    def _power(self, base: Any, exponent: ast.expr) -> Any:
        # The compiler makes a product or a root of these two.
        if isinstance(exponent, ast.Constant) and exponent.value == 2:
            return self._apply(operator.mul, base, base)
        if isinstance(exponent, ast.Constant) and exponent.value == 0.5:
            return self._apply(root, base)
        return self._apply(np.power, base, self.value(exponent))

    def _choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Any:
        """Both ways are computed, since both have a say in the precision of the result."""
        holds, asked = self.value(test), self._choices
        left, yes = self._apart(body)
        right, no = self._apart(orelse)
        self._choices = asked
        if any(map(self.varies, (holds, left, right))):
            left, right = self.rounded(left), self.rounded(right)
        if isinstance(holds, np.ndarray):
            return where(holds, left, right)
        self._choices += [(test, bool(holds)), *(yes if holds else no)]
        return left if holds else right

    def _apart(self, node: ast.expr) -> tuple[Any, list[Choice]]:
        """The value of an expression, and the conditions that it asked."""
        self._choices = []
        return self.value(node), self._choices


def bound(rule: Rule, args: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of a rule by name.

    Raises:
        TypeError: for a missing, an unknown, or a repeated argument.
    """
    if len(args) > len(rule.inputs):
        raise TypeError(f"rule {rule.name!r} takes {', '.join(rule.inputs)} by position, not {len(args)} values")
    given = dict(zip(rule.inputs, args, strict=False))
    known = (*rule.inputs, *rule.hypers)
    for name, value in keywords.items():
        if name in given:
            raise TypeError(f"rule {rule.name!r}: {name} is given twice")
        if name not in known:
            raise TypeError(f"rule {rule.name!r}: {unknown('argument', name, known)}")
        given[name] = value
    missing = [name for name in known if name not in given]
    if missing:
        raise TypeError(f"rule {rule.name!r}: {' and '.join(missing)} must be given")
    return given
