"""A rule on float64 arrays: its statements made into one function of NumPy calls, for those who study many elements.

It is what `minigrad.rules.interpret` computes in float64, without its look at every value on the way.
"""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .functions import ON_ARRAYS, root, where

if TYPE_CHECKING:
    from .language import Rule

_CALLED: dict[str, Callable[..., Any]] = {
    **ON_ARRAYS, "where": where, "root": root, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not
}  # fmt: skip


def run_on_arrays(rules: Sequence[Rule], values: Mapping[str, Any]) -> dict[str, Any]:
    """What a chain of rules makes of arrays and numbers, by name: ``update``, ``param``, state, norms, scalars.

    Everything is float64; arrays broadcast, so that a value that is the same for all elements can be a number.
    """
    found = {name: np.asarray(value, np.float64)[()] for name, value in values.items()}
    with np.errstate(all="ignore"):
        for rule in rules:
            given = (found[name] for name in (*rule.inputs, *rule.hypers))
            found |= zip(rule.outputs, compiled(rule)(*given), strict=True)
    return found


@functools.cache
def compiled(rule: Rule) -> Callable[..., tuple[Any, ...]]:
    """The rule as a function of its inputs and then its hyper-parameters, by position, that returns its outputs."""
    tree = ast.parse(f"def made({', '.join((*rule.inputs, *rule.hypers))}): return ({', '.join(rule.outputs)},)")
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body[:0] = [
        ast.Assign([ast.Name(each.target, ast.Store())], _OnArrays().visit(copy.deepcopy(each.value)))
        for each in rule.body
    ]
    namespace: dict[str, Any] = {_name(called): each for called, each in _CALLED.items()}
    exec(compile(ast.fix_missing_locations(tree), f"<rule {rule.name} on arrays>", "exec"), namespace)
    made: Callable[..., tuple[Any, ...]] = namespace["made"]
    return made


class _OnArrays(ast.NodeTransformer):
    """Writes what Python would ask of one number as calls that ask it of every element."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(float(node.value))  # type: ignore[arg-type]  # the parser of rules lets numbers pass alone

    def visit_Call(self, node: ast.Call) -> ast.expr:
        assert isinstance(node.func, ast.Name)
        return self._call(node.func.id, *node.args)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return self._call("where", node.test, node.body, node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        word = "and" if isinstance(node.op, ast.And) else "or"
        return functools.reduce(lambda a, b: _calling(word, a, b), map(self.visit, node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return self._call("not", node.operand) if isinstance(node.op, ast.Not) else self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        match node:
            case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=0.5)):
                return self._call("root", base)
        return self.generic_visit(node)

    def _call(self, word: str, *arguments: ast.expr) -> ast.Call:
        return _calling(word, *map(self.visit, arguments))


def _calling(word: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(_name(word), ast.Load()), list(arguments), [])


def _name(word: str) -> str:
    """What a function is called in the text, which no name of a rule can be."""
    return f"{word}()"
