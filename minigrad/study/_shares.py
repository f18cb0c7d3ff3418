"""Shares: the parts of a value that come from the gradient, the parameter and each state, to divide a change by source.

A sum has the shares of its terms. A product or quotient has the shares of the factor that carries any, scaled by the
other; a sign, a maximum or a clamp scales them to its result. Roots, squares under a root and the like only scale what
carries shares, and carry none themselves. For a chain that is linear in gradient, parameter and momentum except for
such scales, the shares of a value add up to it.

So L2 decay λθ inside of Adam has the part λθ / (g + λθ) of the change that g + λθ makes, with the root √v̂ that divides
both. To compare with the step that Adam would take without decay would be misleading: where the decay is much larger
than the gradient, that step is about as long, in another direction or even in the same one, although nearly all of the
step that was taken comes from decay.

Explanations divide the change of one weight, and recordings the changes of all weights of a layer, as arrays.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..rules import Rule
from ..rules._evaluate import Reading

Array = npt.NDArray[Any]
# By source; numbers, or arrays that broadcast.
Shares = dict[str, Any]

_SCALING = ("sign", "maximum", "minimum", "max", "min")


def shares_of(node: ast.expr, reading: Reading, known: Mapping[str, Shares]) -> Shares:
    """The shares of an expression of a rule, when ``reading`` has run the statements before it.

    Args:
        node: the expression.
        reading: the values of its names.
        known: their shares.
    """

    def value(of: ast.expr) -> Any:
        return np.asarray(reading.value(of), np.float64)[()]

    def shares(of: ast.expr) -> Shares:
        return shares_of(of, reading, known)

    match node:
        case ast.Name(id=name):
            return dict(known.get(name, {}))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _scaled(shares(operand), -1.0)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return shares(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = 1.0 if isinstance(op, ast.Add) else -1.0
            return _sum(shares(left), _scaled(shares(right), sign))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            a, b = shares(left), shares(right)
            # Where both carry shares, as in param * (1 - update), each scales with the rest of the other.
            return _sum(_scaled(a, value(right) - sum(b.values())) if a else a, _scaled(b, value(left)) if b else b)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            above = shares(left)
            return _scaled(above, _quotient(1.0, value(right))) if above else above
        case ast.IfExp(test=test, body=body, orelse=orelse):
            holds = reading.value(test)
            if np.ndim(holds) == 0:
                return shares(body if holds else orelse)
            return _chosen(holds, shares(body), shares(orelse))
        case ast.Call(func=ast.Name(id=name), args=args) if name in _SCALING:
            carrying = [(value(arg), own) for arg in args if (own := shares(arg))]
            if not carrying:
                return {}
            whole, ((first, own), *second) = value(node), carrying
            found = _scaled(own, _quotient(whole, first))
            for other, own in second:  # of two arguments that both carry, the one that was taken
                found = _chosen(abs(first - whole) <= abs(other - whole), found, _scaled(own, _quotient(whole, other)))
            return found
    return {}


def _scaled(shares: Shares, by: Any) -> Shares:
    return {name: by * share for name, share in shares.items()}


def _sum(a: Shares, b: Shares) -> Shares:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in (*a, *(n for n in b if n not in a))}


def _chosen(where: Any, a: Shares, b: Shares) -> Shares:
    return {name: np.where(where, a.get(name, 0.0), b.get(name, 0.0)) for name in {**a, **b}}


def _quotient(above: Any, below: Any) -> Any:
    """0 where the divisor is."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)[()]


# --- whole layers ----------------------------------------------------------------------------------------------------


def decays(rules: Sequence[Rule], scalars: Mapping[str, float]) -> bool:
    """Whether a rule uses the parameter for more than to add to it, under these scalars: only then is there decay."""
    return any(
        "param" in rule.inputs and not _only_moves(rule) and not _is_inert(rule, *map(scalars.__getitem__, rule.hypers))
        for rule in rules
    )


@functools.lru_cache(256)
def _is_inert(rule: Rule, *scalars: float) -> bool:
    """Whether a rule without state and norms gives the same for every parameter, as with a decay of 0."""
    if rule.state or rule.norms:
        return False
    hypers = dict(zip(rule.hypers, scalars, strict=True))
    changes = set()
    for param in (0.0, 1e-3, -1e-3, 1.0, -1.0, 1e3, -1e3):
        returned = rule(*(param if name == "param" else 1.0 for name in rule.inputs), **hypers)
        values = returned if isinstance(returned, tuple) else (returned,)
        changes.add(tuple(v - param if n == "param" else v for n, v in zip(rule.outputs, values, strict=True)))
    return len(changes) == 1


@functools.cache
def _only_moves(rule: Rule) -> bool:
    """Whether the parameter occurs in the rule once, as ``param = param - ...`` or ``param + ...``."""
    uses = sum(isinstance(n, ast.Name) and n.id == "param" for a in rule.body for n in ast.walk(a.value))
    moved = any(
        isinstance(a.value, ast.BinOp)
        and isinstance(a.value.op, ast.Add | ast.Sub)
        and isinstance(a.value.left, ast.Name)
        and a.target == a.value.left.id == "param"
        for a in rule.body
    )
    return uses == 1 and moved


def split_change(rules: Sequence[Rule], values: Mapping[str, Any], carried: Collection[str]) -> tuple[Array, Array]:
    """The change that the rules make to ``param``, in two parts: from decay, and all else, which is from the gradient.

    Decay that enters the update (L2) and from there a moment counts at the step in which it enters; what a moment
    holds of earlier decay is part of the moment, and moves the parameter as the gradients in it do.

    Args:
        rules: the rules, in order.
        values: by name, ``param``, ``grad``, ``update``, state, norms and scalars; arrays broadcast.
        carried: the names of those that hold gradients: ``grad``, ``update`` and the state.
    """
    shares: dict[str, Shares] = {"param": {"decay": np.asarray(values["param"], np.float64)}}
    shares |= {name: {"gradient": np.asarray(values[name], np.float64)} for name in carried}
    found, shares = run_with_shares(rules, values, shares)
    before = np.asarray(values["param"], np.float64)
    with np.errstate(all="ignore"):
        change = np.broadcast_to(found["param"] - before, before.shape)
        decay = np.broadcast_to(shares["param"].get("decay", 0.0) - before, before.shape)
        # Where nothing decays, rounding is left.
        decay = np.where(np.abs(decay) <= 1e-14 * (np.abs(before) + np.abs(change)), 0.0, decay)
        return change - decay, decay


def run_with_shares(
    rules: Sequence[Rule], values: Mapping[str, Any], shares: Mapping[str, Shares], frozen: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Shares]]:
    """Run a chain of rules on arrays and numbers, in float64.

    Args:
        rules: the rules, in order.
        values: by name, ``param``, ``grad``, ``update``, state, norms and scalars; arrays broadcast.
        shares: of those that have some.
        frozen: names of state whose values no rule changes.

    Returns:
        The values after the last rule, and their shares.
    """
    found, owned = {name: np.asarray(value, np.float64)[()] for name, value in values.items()}, dict(shares)
    with np.errstate(all="ignore"):
        for rule in rules:
            reading = rule.reading({name: found[name] for name in (*rule.inputs, *rule.hypers)})
            known = {name: owned.get(name, {}) for name in rule.inputs}
            for assignment in rule.body:
                if assignment.target not in frozen:
                    own = shares_of(assignment.value, reading, known)
                    reading.assign(assignment.target, assignment.value)
                    known[assignment.target] = own
            for name, result in zip(rule.outputs, reading.results(rule.outputs), strict=True):
                found[name], owned[name] = result, known[name]
    return found, owned
