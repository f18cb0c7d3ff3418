"""Shares: the parts of a value that come from the gradient, the parameter and each state, to divide a change by source.

A sum has the shares of its terms. A product or quotient has the shares of the factor that carries any, scaled by the
other; a sign, a maximum or a clamp scales them to its result. Roots, squares under a root and the like only scale what
carries shares, and carry none themselves. For a chain that is linear in gradient, parameter and momentum except for
such scales, the shares of a value add up to it.

A recording divides the change of a whole layer in another way (`minigrad.study.records`): it asks what the change would
be for a parameter of 0. The two agree for rules that are linear in the parameter.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ...rules._evaluate import Reading

Shares = dict[str, float]

_SCALING = ("sign", "maximum", "minimum", "max", "min")


def shares_of(node: ast.expr, reading: Reading, known: Mapping[str, Shares]) -> Shares:
    """The shares of an expression of a rule, when ``reading`` has run the statements before it.

    Args:
        node: the expression.
        reading: the values of its names.
        known: their shares.
    """

    def value(of: ast.expr) -> float:
        return float(reading.value(of))

    match node:
        case ast.Name(id=name):
            return dict(known.get(name, {}))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return scaled(shares_of(operand, reading, known), -1.0)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return shares_of(operand, reading, known)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = 1.0 if isinstance(op, ast.Add) else -1.0
            return _sum(shares_of(left, reading, known), scaled(shares_of(right, reading, known), sign))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            a, b = shares_of(left, reading, known), shares_of(right, reading, known)
            # Where both carry shares, as in param * (1 - update), each scales with the rest of the other.
            rest = value(right) - sum(b.values())
            return _sum(scaled(a, rest), scaled(b, value(left)))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            below = value(right)
            return scaled(shares_of(left, reading, known), 1 / below) if below else {}
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return shares_of(body if reading.value(test) else orelse, reading, known)
        case ast.Call(func=ast.Name(id=name), args=args) if name in _SCALING:
            whole = value(node)
            carrying = (arg for arg in args if shares_of(arg, reading, known))
            # Of two arguments that both carry, the one that was taken.
            taken = min(carrying, key=lambda arg: abs(value(arg) - whole), default=None)
            if taken is None or not value(taken):
                return {}
            return scaled(shares_of(taken, reading, known), whole / value(taken))
    return {}


def scaled(shares: Shares, by: float) -> Shares:
    """Every share times a number."""
    return {name: by * share for name, share in shares.items()}


def _sum(a: Shares, b: Shares) -> Shares:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in (*a, *(n for n in b if n not in a))}
