"""Lower the statements of rules to the statements of a loop.

Each expression of a rule has a binding time. If it depends only on hyper-parameters, norms and constants, it is
*uniform*: it is computed once per block, in float64, before the loop. Otherwise it is *varying*: it is computed per
element, in the parameter's dtype. Where a uniform value meets a varying one, it is rounded to that dtype once, before
the loop. The evaluator of rules (`minigrad.rules._evaluate`) computes the same, so the two agree to the last bit.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..rules.elements import VALUES, Assignment, Rule
from ..rules.functions import BY_NAME

_INLINE = {"sqrt": "math.sqrt", "exp": "math.exp", "log": "math.log", "abs": "abs"}
_CALLED = (*_INLINE.values(), "math.pow")
# Names that generated code uses for itself.
_RESERVED = (
    *("i", "b", "start", "stop", "row", "first", "last", "blocks", "origin", "scalars", "norms", "partials", "lanes"),
    *("real", "math", "np", "njit", "range", "fold_sum"),
    *("accumulate_1", "accumulate_2", "accumulate_inf", "accumulate_p"),
    *("cuda", "unsigned", "thread", "end", "tile", "old", "parts", "stopped", "offset", "constants", "rounded"),
    *("add_1", "add_2", "add_inf", "add_p", "fold_inf"),
    *(f"{name}_{number}" for name in ("i", "element", "old", "new", "total") for number in range(1, 9)),
    *BY_NAME,
)


@dataclass
class Lowered:
    """The statements of one element-wise loop.

    Attributes:
        hypers: the scalars it needs, in order of first use.
        norms: the norms it needs.
        prologue: statements before the loop, in float64 unless wrapped in ``real()``.
        loop: statements for one element.
        reads: the element-wise quantities that must be loaded first.
        writes: the quantities that must be stored afterwards.
        code: the names in these statements, by kind (``"value"``, ``"norm"``, ``"hyper"``) and name in the rules.
    """

    hypers: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    prologue: list[str] = field(default_factory=list)
    loop: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    code: dict[tuple[str, str], str] = field(default_factory=dict)


def flat(name: str) -> str:
    """The name in code of the array that holds a quantity of every element."""
    return f"{name}_flat"


def piece(name: str) -> str:
    """The name in code of a block of that array."""
    return f"{name}_"


def lower(rules: Sequence[Rule]) -> Lowered:
    """The loop that runs ``rules`` one after the other on each element."""
    lowering = _Lowering(rules)
    for rule in rules:
        lowering.add(rule)
    return lowering.result


def _kind(rule: Rule, name: str) -> str:
    if name in rule.hypers:
        return "hyper"
    return "norm" if name in rule.norms else "value"


class _Lowering:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self.result = Lowered()
        self.rounded: dict[str, str] = {}
        self.truth: dict[str, str] = {}
        self.uniform: set[str] = set()
        outer = [(rule, name) for rule in rules for name in (*rule.inputs, *rule.hypers, *rule.outputs)]
        arrays = {*VALUES, *(name for _, name in outer)}
        self.used = {*_RESERVED, *map(flat, arrays), *map(piece, arrays)}
        # Arguments get their names before any local of a rule can take them.
        for rule, name in outer:
            kind = _kind(rule, name)
            if (kind, name) not in self.result.code:
                self.result.code[kind, name] = self._fresh(name)
                if kind != "value":
                    self.uniform.add(self.result.code[kind, name])

    def add(self, rule: Rule) -> None:
        self.names = {name: self.result.code[_kind(rule, name), name] for name in (*rule.inputs, *rule.hypers)}
        for name in self.names:
            kind = _kind(rule, name)
            if kind == "hyper":
                self._once(self.result.hypers, name)
            elif kind == "norm":
                self._once(self.result.norms, name)
            elif name not in self.result.writes:
                self._once(self.result.reads, name)
        self.result.loop.append(f"# {rule.name}")
        for statement in rule.body:
            self._assign(statement, rule)
        for name in rule.outputs:
            self._once(self.result.writes, name)
            code = self.names[name]
            if code in self.uniform:
                code = self._round(code)
            target = self.result.code["value", name]
            if code != target:
                self.result.loop.append(f"{target} = {code}")

    def _once(self, names: list[str], name: str) -> None:
        if name not in names:
            names.append(name)

    def _fresh(self, name: str) -> str:
        code, number = name, 2
        while code in self.used:
            code, number = f"{name}_{number}", number + 1
        self.used.add(code)
        return code

    def _assign(self, statement: Assignment, rule: Rule) -> None:
        value = self._expression(statement.value)
        target = statement.target
        if self._is_uniform(value):
            code = self._fresh(target)
            self.uniform.add(code)
            self.result.prologue.append(f"{code} = {ast.unparse(value)}")
        else:
            # A quantity that the loop carries keeps its name; a local one gets a new name.
            code = self.result.code["value", target] if target in rule.outputs else self._fresh(target)
            self.result.loop.append(f"{code} = {ast.unparse(value)}")
        self.names[target] = code

    def _is_uniform(self, node: ast.expr) -> bool:
        """Whether an expression in generated names depends on nothing that varies in the loop."""
        return all(n.id in self.uniform or n.id in _CALLED for n in ast.walk(node) if isinstance(n, ast.Name))

    def _expression(self, node: ast.expr) -> ast.expr:
        """The expression in generated names, with every uniform part that meets a varying one rounded."""
        match node:
            case ast.Name(id=name):
                return ast.Name(self.names[name])
            case ast.Constant():
                return node
            case ast.UnaryOp(op=op, operand=operand):
                return ast.UnaryOp(op, self._expression(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(self._expression(left), self._expression(right))
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self._aligned(self._expression(left), self._expression(right))
                return ast.BinOp(a, op, b)
            case ast.Compare(left=left, ops=ops, comparators=[right]):
                a, b = self._aligned(self._expression(left), self._expression(right))
                return ast.Compare(a, ops, [b])
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self._expression(value) for value in values])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self._expression(test), self._expression(body), self._expression(orelse))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._call(name, [self._expression(arg) for arg in args])
        raise AssertionError(f"{ast.dump(node)} was let through by the rule parser")

    def _aligned(self, *nodes: ast.expr) -> list[ast.expr]:
        """The expressions unchanged if all are uniform; otherwise the uniform ones rounded to the dtype."""
        if all(self._is_uniform(node) for node in nodes):
            return list(nodes)
        return [ast.Name(self._round(ast.unparse(n))) if self._is_uniform(n) else n for n in nodes]

    def _round(self, code: str) -> str:
        if code not in self.rounded:
            name = self._fresh(f"{code}_r" if code.isidentifier() else "k")
            self.rounded[code] = name
            self.result.prologue.append(f"{name} = real({code})")
        return self.rounded[code]

    def _choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> ast.expr:
        if self._is_uniform(test) and not (self._is_uniform(body) and self._is_uniform(orelse)):
            code = ast.unparse(test)
            if code not in self.truth:
                self.truth[code] = self._fresh("chosen")
                self.result.prologue.append(f"{self.truth[code]} = {code}")
            self.uniform.add(self.truth[code])
            test = ast.Name(self.truth[code])
        if not self._is_uniform(test):
            body, orelse = (ast.Name(self._round(ast.unparse(n))) if self._is_uniform(n) else n for n in (body, orelse))
        else:
            body, orelse = self._aligned(body, orelse)
        return ast.IfExp(test, body, orelse)

    def _atom(self, node: ast.expr) -> ast.expr:
        """A name for the expression, so that it can be written twice."""
        if isinstance(node, ast.Name | ast.Constant):
            return node
        uniform = self._is_uniform(node)
        code = self._fresh("t")
        (self.result.prologue if uniform else self.result.loop).append(f"{code} = {ast.unparse(node)}")
        if uniform:
            self.uniform.add(code)
        return ast.Name(code)

    def _power(self, base: ast.expr, exponent: ast.expr) -> ast.expr:
        if self._is_uniform(base) and self._is_uniform(exponent):
            return ast.BinOp(base, ast.Pow(), exponent)
        if isinstance(exponent, ast.Constant) and exponent.value == 2:
            x = self._atom(base)
            return ast.BinOp(x, ast.Mult(), x)
        a, b = self._aligned(base, exponent)
        return ast.Call(ast.Name("math.pow"), [a, b], [])

    def _call(self, name: str, args: list[ast.expr]) -> ast.expr:
        if name in _INLINE:
            return ast.Call(ast.Name(_INLINE[name]), args, [])
        a, *rest = (self._atom(arg) for arg in self._aligned(*args))
        if name == "sign":
            one, zero = self._aligned(a, ast.Constant(1.0), ast.Constant(0.0))[1:]
            below = ast.IfExp(ast.Compare(a, [ast.Lt()], [zero]), ast.UnaryOp(ast.USub(), one), a)
            return ast.IfExp(ast.Compare(a, [ast.Gt()], [zero]), one, below)
        (b,) = rest
        if name in ("max", "min"):
            return ast.IfExp(ast.Compare(b, [ast.Gt() if name == "max" else ast.Lt()], [a]), b, a)
        order = ast.Compare(a, [ast.Gt() if name == "maximum" else ast.Lt()], [b])
        if isinstance(a, ast.Constant):
            return ast.IfExp(order, a, b)
        nan = ast.Compare(a, [ast.NotEq()], [a])
        return ast.IfExp(ast.BinOp(order, ast.BitOr(), nan), a, b)
