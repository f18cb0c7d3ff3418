"""Evaluate the statements of a rule on numbers or arrays, in the arithmetic of its kernels.

A value that depends only on hyper-parameters, norms and constants is *uniform*: it is computed in float64. A value that
depends on the parameter *varies*: it is computed in the parameter's dtype. Where a uniform value meets a varying one,
it is rounded to that dtype first. So every spelling of a function (``math.sqrt``, ``np.sqrt``, ``sqrt``) means the same
here and in a kernel (`minigrad.kernels.lower`), and the two agree to the last bit; only ``exp``, ``log`` and powers
other than 2 and 0.5 come from another library, and may differ by 2 units in the last place.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .functions import BY_NAME, root, where

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
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}
# A kernel divides by zero, and takes the root of a negative number.
_errors_ignored = functools.partial(np.errstate, all="ignore")

_DOUBLE = np.dtype(np.float64)

# An expression as a function of the values that its names have, and whether it varies.
Run = Callable[["Reading"], Any]
Read = tuple[Run, bool]


class Statements:
    """The statements of a rule, each made into a function once.

    Args:
        body: the target and the expression of each assignment, in order.
        varying: the names of the inputs that vary.

    Attributes:
        body, varying: the arguments.
        read: for each expression and each part of one, its function, and whether it varies.

    Raises:
        ValueError: for an expression that is not in the notation of rules; the rule parser lets none through.
    """

    def __init__(self, body: Iterable[tuple[str, ast.expr]], varying: Iterable[str]) -> None:
        self.body, self.varying = tuple(body), frozenset(varying)
        self.read: dict[ast.expr, Read] = {}
        self._vary = set(self.varying)  # the names that vary before the next statement
        for target, value in self.body:
            _, varies = self._read(value)
            (self._vary.add if varies else self._vary.discard)(target)

    def _read(self, node: ast.expr) -> Read:
        self.read[node] = found = self._made(node)
        return found

    def _made(self, node: ast.expr) -> Read:
        match node:
            case ast.Name(id=name):
                return (lambda at: at.values[name]), name in self._vary
            case ast.Constant(value=float() | int() as number):
                constant = np.float64(number)
                return (lambda at: constant), False
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                holds, varies = self._read(operand)
                return (lambda at: np.logical_not(holds(at))), varies
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return self._applied(_OPERATORS[type(op)], operand)
            # The compiler makes a product or a root of these two powers.
            case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=2)):
                return self._applied(lambda x: x * x, base)
            case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=0.5)):
                return self._applied(root, base)
            case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
                return self._applied(np.power, base, exponent)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._applied(_OPERATORS[type(op)], left, right)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._applied(_OPERATORS[type(op)], left, right)
            case ast.BoolOp(op=op, values=values):
                parts, join = [self._read(each) for each in values], _OPERATORS[type(op)]
                return (lambda at: functools.reduce(join, [part(at) for part, _ in parts])), any(v for _, v in parts)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                # Both branches are computed, since both determine the precision of the result.
                holds, varies = self._read(test)
                (yes, no), varies = self._aligned([body, orelse], varies)
                return (lambda at: where(holds(at), yes(at), no(at))), varies
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in BY_NAME and len(args) in (1, 2):
                return self._applied(BY_NAME[name], *args)
        raise ValueError(f"{ast.unparse(node)} is not in the notation of rules")

    def _applied(self, function: Callable[..., Any], *nodes: ast.expr) -> Read:
        runs, varies = self._aligned(nodes)
        if len(runs) == 1:
            (x,) = runs
            return (lambda at: function(x(at))), varies
        a, b = runs
        return (lambda at: function(a(at), b(at))), varies

    def _aligned(self, nodes: Iterable[ast.expr], varies: bool = False) -> tuple[list[Run], bool]:
        """Functions for expressions that meet: if any of them varies, the others are rounded."""
        parts = [self._read(node) for node in nodes]
        varies = varies or any(varies for _, varies in parts)
        return [run if own or not varies else _rounded(run) for run, own in parts], varies


def _rounded(run: Run) -> Run:
    return lambda at: at.rounded(run(at))


class Reading:
    """The values of a rule's names while its statements are run one after the other.

    Values are numbers, or arrays that broadcast; conditions then hold element by element.

    Args:
        name: the rule's name, for error messages.
        statements: its statements.
        given: a value for every input and hyper-parameter.

    Attributes:
        dtype: the parameter's dtype; float64 if everything that varies was given as Python numbers.
        values: every name, with its value so far.

    Raises:
        TypeError: for a value that is not a number.
    """

    def __init__(self, name: str, statements: Statements, given: Mapping[str, Any]) -> None:
        self._statements = statements
        kinds = [getattr(given[each], "dtype", None) for each in statements.varying]
        floating = [kind for kind in kinds if kind is not None and kind.kind == "f"]
        self._plain = not floating
        self.dtype: np.dtype[Any] = np.result_type(*floating) if floating else _DOUBLE
        with _errors_ignored():
            self.values = {
                each: _cast(_number(name, each, value), self.dtype if each in statements.varying else _DOUBLE)
                for each, value in given.items()
            }

    def rounded(self, value: Any) -> Any:
        """Numbers as numbers of the parameter's dtype."""
        return _cast(value, self.dtype)

    def run(self) -> None:
        """Run all statements."""
        read = self._statements.read
        with _errors_ignored():
            for target, value in self._statements.body:
                self.values[target] = read[value][0](self)

    def assign(self, target: str, value: ast.expr) -> Any:
        """Run one statement, and return its value; a uniform number as one of Python's."""
        found = self.values[target] = self.value(value)
        varies = self._statements.read[value][1]
        return found if varies or isinstance(found, np.ndarray) else found.item()

    def value(self, node: ast.expr) -> Any:
        """The value of an expression of the rule, or of a part of one, with the current values of the names."""
        with _errors_ignored():
            return self._statements.read[node][0](self)

    def results(self, names: Iterable[str]) -> list[Any]:
        """The values of names in the parameter's dtype; as Python numbers if what varies was given so."""
        with _errors_ignored():
            found = [self.rounded(self.values[name]) for name in names]
        return [each.item() if self._plain and not isinstance(each, np.ndarray) else each for each in found]


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    return value.astype(dtype, copy=False) if isinstance(value, np.ndarray) else dtype.type(value)


def _number(rule: str, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"rule {rule!r}: {name} must be a number, not {value!r:.80}") from None
