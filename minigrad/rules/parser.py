"""rule: parse a scalar Python function, and refuse any line that a kernel cannot run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .elements import VALUES, Assignment, Rule
from .functions import BY_NAME, NAMES

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class RuleError(TypeError):
    """A rule cannot be compiled; the message names the line of its source."""


def rule(
    function: Callable[..., Any] | None = None,
    *,
    state: Sequence[str] = (),
    scalars: Callable[..., Mapping[str, float]] | None = None,
    init: Mapping[str, float | str] | None = None,
) -> Any:
    """Make a rule from a scalar function; used as ``@rule`` or ``@rule(state=("momentum_buffer",))``.

    Args:
        function: the update. Its body is assignments (with ``+ - * /``, powers, comparisons, ``a if c else b`` and
            the functions sqrt, exp, log, abs, sign, minimum, maximum) and, last, a ``return`` of the names it sets.
        state: names of values kept per element from step to step; each is an argument and is returned.
        scalars: a function of ``step`` (from 1, the parameter's own count) and options by name, which returns
            hyper-parameters by name. It runs once a step, in float64, outside the kernel. Its keyword-only arguments
            are numbers that it carries from step to step, and returns by name: each is kept for every parameter, like
            the count of steps, and is ``None`` until it is known.
        init: for each state slot that does not start at 0, its first value, the option that holds it, or ``"param"``.

    Raises:
        RuleError: with the line, for anything that cannot be compiled.
    """

    if isinstance(state, str):
        raise RuleError(f"rule: state is a tuple of names, ({state!r},), not one name")

    def make(f: Callable[..., Any]) -> Rule:
        return _Parser(f, tuple(state), scalars, dict(init or {})).rule()

    return make if function is None else make(function)


class _Parser:
    """Reads a rule's source, and refuses code that a kernel cannot run."""

    def __init__(
        self,
        function: Callable[..., Any],
        state: tuple[str, ...],
        scalars: Callable[..., Mapping[str, float]] | None,
        init: dict[str, float | str],
    ) -> None:
        self.function, self.state, self.scalars, self.init = function, state, scalars, init
        self.name = getattr(function, "__name__", repr(function))
        try:
            lines, self.first = inspect.getsourcelines(function)
            self.source = textwrap.dedent("".join(lines))
            self.file = inspect.getsourcefile(function) or "?"
        except (OSError, TypeError):
            raise RuleError(
                f"rule {self.name!r}: a rule is compiled from its source, which Python has not kept; write it in a "
                "file, in a notebook or in IPython (the plain prompt keeps the source from Python 3.13 on)"
            ) from None
        tree = ast.parse(self.source).body[0]
        if not isinstance(tree, ast.FunctionDef):
            raise RuleError(f"rule {self.name!r}: must be a function written with def, not {type(tree).__name__}")
        self.tree = tree
        self.globals = inspect.getclosurevars(function)

    def fail(self, node: ast.AST, problem: str) -> RuleError:
        number = getattr(node, "lineno", 1)
        text = self.source.splitlines()[number - 1].strip()
        return RuleError(f"rule {self.name!r}, line {self.first + number - 1} of {self.file}: {problem}\n    {text}")

    def rule(self) -> Rule:
        arguments = self.tree.args
        if arguments.vararg or arguments.kwarg or arguments.defaults or any(arguments.kw_defaults):
            raise self.fail(self.tree, "arguments cannot have defaults, and *args and **kwargs are not allowed")
        self.inputs = tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args))
        self.hypers = tuple(a.arg for a in arguments.kwonlyargs)
        self._check_arguments()
        self.known = {*self.inputs, *self.hypers}
        self.conditions: set[str] = set()
        body: list[Assignment] = []
        outputs: tuple[str, ...] | None = None
        for statement in self.tree.body:
            if outputs is not None:
                raise self.fail(statement, "nothing can follow the return")
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # the docstring
            if isinstance(statement, ast.Return):
                outputs = self._outputs(statement)
            else:
                body.append(self._assignment(statement))
        if outputs is None:
            raise self.fail(self.tree.body[-1], "the return is missing; return the names that the rule sets")
        self._check_outputs(outputs)
        return Rule(
            self.name,
            self.function,
            self.source,
            self.inputs,
            self.state,
            self.hypers,
            tuple(body),
            outputs,
            self.scalars,
            self.init,
        )

    def _check_arguments(self) -> None:
        if len({*self.state}) != len(self.state):
            raise self.fail(self.tree, "state names one slot twice")
        for name in self.state:
            if name in (*VALUES, "step"):
                raise self.fail(self.tree, f"state cannot be named {name!r}, which means something else")
            if name not in self.inputs:
                raise self.fail(self.tree, f"state {name!r} is not among the arguments ({', '.join(self.inputs)})")
        for name in self.inputs:
            if name not in VALUES and name not in self.state and not name.endswith("_norm"):
                raise self.fail(
                    self.tree,
                    f"the argument {name!r} is neither update, param or grad, nor declared as state, nor a norm; "
                    "options of the param group come after the *",
                )
        for name, first in self.init.items():
            if name not in self.state:
                raise self.fail(self.tree, f"init names {name!r}, which is not a state of this rule")
            if isinstance(first, bool) or not isinstance(first, int | float | str):
                raise self.fail(self.tree, f"init of {name!r} must be a number or the name of an option, not {first!r}")
        if self.scalars is not None and not (
            callable(self.scalars) and next(iter(inspect.signature(self.scalars).parameters), None) == "step"
        ):
            raise self.fail(self.tree, "scalars must be a function whose first argument is step")

    def _outputs(self, statement: ast.Return) -> tuple[str, ...]:
        value = statement.value
        items = value.elts if isinstance(value, ast.Tuple) else [value]
        names = []
        for item in items:
            if not isinstance(item, ast.Name):
                raise self.fail(statement, "return plain names: assign the expression to update, param or state first")
            if item.id not in (*self.state, *VALUES):
                known = "neither a state nor update, param or grad"
                raise self.fail(statement, f"{item.id!r} cannot be returned: it is {known}")
            if item.id not in self.known:
                raise self.fail(statement, f"{item.id!r} is returned but never set")
            self._check_number(item)
            names.append(item.id)
        return tuple(names)

    def _check_outputs(self, outputs: tuple[str, ...]) -> None:
        missing = [name for name in self.state if name not in outputs]
        if missing:
            raise self.fail(self.tree.body[-1], f"state {missing[0]!r} is not returned, so it would never change")
        if len(set(outputs)) != len(outputs):
            raise self.fail(self.tree.body[-1], "a name is returned twice")

    def _assignment(self, statement: ast.stmt) -> Assignment:
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            target = statement.target.id
            before = ast.copy_location(ast.Name(target, ast.Load()), statement)
            value: ast.expr = ast.copy_location(ast.BinOp(before, statement.op, statement.value), statement)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            if not isinstance(statement.targets[0], ast.Name):
                raise self.fail(statement, "assign to one name at a time")
            target, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.If):
            raise self.fail(statement, "write a choice as an expression: name = a if condition else b")
        else:
            raise self.fail(statement, f"a rule consists of assignments and a return, not {_kind(statement)}")
        is_condition = self._is_condition(value)
        checked = self._condition(value) if is_condition else self._expression(value)
        self.known.add(target)
        (self.conditions.add if is_condition else self.conditions.discard)(target)
        text = " ".join((ast.get_source_segment(self.source, statement) or "").split())
        return Assignment(target, checked, self.first + statement.lineno - 1, text)

    def _is_condition(self, node: ast.expr) -> bool:
        negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        return (
            negation
            or isinstance(node, ast.Compare | ast.BoolOp)
            or (isinstance(node, ast.Name) and node.id in self.conditions)
        )

    def _check_number(self, node: ast.expr) -> None:
        if self._is_condition(node):
            raise self.fail(node, f"{ast.unparse(node)!r} is a condition, not a number; write 1.0 if ... else 0.0")

    def _condition(self, node: ast.expr) -> ast.expr:
        """A condition, checked. A number is one too, false if it is 0."""
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _COMPARISONS):
            return ast.Compare(self._expression(node.left), node.ops, [self._expression(node.comparators[0])])
        if isinstance(node, ast.BoolOp):
            return ast.BoolOp(node.op, [self._condition(value) for value in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ast.UnaryOp(node.op, self._condition(node.operand))
        if isinstance(node, ast.Name) and node.id in self.conditions:
            return node
        return self._expression(node)

    def _expression(self, node: ast.expr) -> ast.expr:
        """A number, checked, with functions under minigrad's names and outer constants as numbers."""
        if isinstance(node, ast.Compare) and (len(node.ops) > 1 or not isinstance(node.ops[0], _COMPARISONS)):
            raise self.fail(node, f"{_kind(node)} cannot be used in a rule")
        self._check_number(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return ast.Constant(float(node.value))
        if isinstance(node, ast.Name):
            return node if node.id in self.known else self._constant(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
            return ast.BinOp(self._expression(node.left), node.op, self._expression(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, _OPERATORS):
            return ast.UnaryOp(node.op, self._expression(node.operand))
        if isinstance(node, ast.IfExp):
            return ast.IfExp(self._condition(node.test), self._expression(node.body), self._expression(node.orelse))
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self.fail(node, f"{_kind(node)} cannot be used in a rule")

    def _call(self, node: ast.Call) -> ast.expr:
        called = self._resolve(node.func)
        name = NAMES.get(called) if callable(called) else None
        if name is None:
            known = ", ".join(sorted({*BY_NAME} - {"max", "min"}))
            raise self.fail(node, f"{ast.unparse(node.func)}() cannot be called in a rule; a rule may call {known}")
        arity = 2 if name in ("minimum", "maximum", "min", "max") else 1
        if node.keywords or len(node.args) != arity:
            raise self.fail(node, f"{ast.unparse(node.func)}() takes {arity} argument{'s'[: arity - 1]} here")
        return ast.Call(ast.Name(name, ast.Load()), [self._expression(arg) for arg in node.args], [])

    def _resolve(self, node: ast.expr) -> Any:
        """The object that a name or a dotted name refers to outside of the rule, or ``None``."""
        if isinstance(node, ast.Attribute):
            return getattr(self._resolve(node.value), node.attr, None)
        if isinstance(node, ast.Name):
            for scope in (self.globals.nonlocals, self.globals.globals, self.globals.builtins):
                if node.id in scope:
                    return scope[node.id]
        return None

    def _constant(self, node: ast.Name) -> ast.expr:
        value = self._resolve(node)
        if type(value) in (int, float) and value == value:
            return ast.Constant(float(value))
        raise self.fail(node, f"{node.id!r} is not defined here: it is neither an argument nor a number outside")


def _kind(node: ast.AST) -> str:
    names = {"Constant": "this literal", "Compare": "a chain of comparisons", "Attribute": "an attribute"}
    return names.get(type(node).__name__, f"{type(node).__name__.lower()!r}")
