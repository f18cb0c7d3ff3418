"""The rules of a chain read on arrays: the text that is compiled, evaluated once more with NumPy, in float64.

It tells what the compiled step did apart into what came from the gradient and what from decay: with every norm as it
was, the change of an element of value 0 is the gradient's part, whatever the rules are, and the rest is decay.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...rules import Rule

Array = npt.NDArray[Any]

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: np.power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: np.logical_not,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "max": lambda a, b: np.where(b > a, b, a),
    "min": lambda a, b: np.where(b < a, b, a),
}


def run_on_arrays(rules: Sequence[Rule], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the rules make of arrays and numbers by name: ``update``, ``param``, ``grad``, state, norms and scalars."""
    found = {name: np.asarray(value, np.float64)[()] for name, value in values.items()}
    with np.errstate(all="ignore"):
        for rule in rules:
            names = dict(found)
            for assignment in rule.body:
                names[assignment.target] = _value(assignment.value, names)
            found |= {name: names[name] for name in rule.outputs}
    return found


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Constant(value=number):
            return np.float64(number)  # type: ignore[arg-type]  # the parser of rules lets numbers pass alone
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.BoolOp(op=op, values=values):
            result = _value(values[0], names)
            for value in values[1:]:
                result = _OPERATORS[type(op)](result, _value(value, names))
            return result
        case ast.IfExp(test=test, body=body, orelse=orelse):
            condition = _value(test, names)
            if np.ndim(condition) == 0:
                return _value(body if condition else orelse, names)
            return np.where(condition, _value(body, names), _value(orelse, names))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_value(argument, names) for argument in args))
    raise TypeError(f"{ast.unparse(node)} is nothing that a rule has")


def decays(rules: Sequence[Rule], scalars: Mapping[str, float]) -> bool:
    """Whether a rule uses the parameter for more than to add to it, under these scalars: only then there is decay."""
    return any("param" in rule.inputs and not _only_moves(rule) and not _is_inert(rule, scalars) for rule in rules)


def _is_inert(rule: Rule, scalars: Mapping[str, float]) -> bool:
    """Whether a rule without state and norms gives the same for every parameter, as with a decay of 0."""
    if rule.state or rule.norms:
        return False
    hypers = {name: scalars[name] for name in rule.hypers}
    changes = set()
    for param in (0.0, 1e-3, -1e-3, 1.0, -1.0, 1e3, -1e3):
        returned = rule.function(*(param if name == "param" else 1.0 for name in rule.inputs), **hypers)
        values = returned if isinstance(returned, tuple) else (returned,)
        changes.add(tuple(v - param if n == "param" else v for n, v in zip(rule.outputs, values, strict=True)))
    return len(changes) == 1


@functools.cache
def _only_moves(rule: Rule) -> bool:
    """Whether the parameter stands in the rule once, as ``param = param - ...`` or ``param + ...``."""
    uses = sum(isinstance(n, ast.Name) and n.id == "param" for a in rule.body for n in ast.walk(a.value))
    moved = any(
        isinstance(a.value, ast.BinOp)
        and isinstance(a.value.op, ast.Add | ast.Sub)
        and isinstance(a.value.left, ast.Name)
        and a.target == a.value.left.id == "param"
        for a in rule.body
    )
    return uses == 1 and moved


def split_change(rules: Sequence[Rule], values: Mapping[str, Any]) -> tuple[Array, Array]:
    """The change that the rules make to ``param``, in two parts: from the gradient, and from decay.

    Decay that enters the update (L2) and from there a moment counts at the step in which it enters; what a moment
    holds of earlier decay is part of the moment, and moves the parameter as the gradients in it do.
    """
    param = np.asarray(values["param"], np.float64)
    # The element as it is and one of value 0, side by side.
    both = np.stack([param, np.zeros_like(param)])
    moved = np.broadcast_to(run_on_arrays(rules, {**values, "param": both})["param"], both.shape)
    from_gradient = moved[1]
    decay = moved[0] - param - from_gradient
    # Where nothing decays, rounding is left.
    decay[np.abs(decay) <= 1e-14 * (np.abs(param) + np.abs(from_gradient))] = 0.0
    return from_gradient, decay
