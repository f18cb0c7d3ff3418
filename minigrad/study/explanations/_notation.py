"""Notation: the statements of a rule as a paper writes them, and the meanings of the names in rules."""

from __future__ import annotations

import ast

from ...rules import Norm, Rule

# The letters of the papers, and of the docstrings of the optimizers.
SYMBOLS = {
    "param": "θ",
    "update": "u",
    "grad": "g",
    "lr": "η",
    "weight_decay": "λ",
    "momentum": "μ",
    "beta1": "β₁",
    "beta2": "β₂",
    "eps": "ε",
    "alpha": "α",  # noqa: RUF001 - the Greek letter is meant
    "exp_avg": "m",
    "exp_avg_sq": "v",
    "momentum_buffer": "b",
    "slow": "s",
    "param_norm": "‖θ‖",
    "update_norm": "‖u‖",
    "grad_norm": "‖g‖",
}
_SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "≤",
    ast.Gt: ">",
    ast.GtE: "≥",
    ast.Eq: "=",
    ast.NotEq: "≠",
    ast.Add: "+",
    ast.Sub: "-",
}
# The precedence of each kind of expression, from the loosest.
_CHOICE, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _MINUS, _POWER, _ATOM = range(10)


# The meaning of a name, shown next to its number in an explained update.
MEANINGS = {
    "along_gradient": "1 where Nesterov's gradient comes before the buffer",
    "adapted": "0 where the parameter is left out of the adaptation",
    "ahead": "how much of the buffer Nesterov's momentum adds",
    "clipped": "0 where the clip excludes the parameter",
    "debias1": "bias correction 1 / (1 - beta1^t)",
    "debias2": "bias correction 1 / (1 - beta2^t)",
    "decayed_lr": "lr / (1 + (t - 1) lr_decay)",
    "factor": "of the clip: 1 within the threshold",
    "from_average": "share of the average, by the momentum schedule",
    "from_gradient": "share of the gradient, by the momentum schedule",
    "kept": "share that is kept: of the parameter under decay, or of the momentum buffer",
    "l2": "weight decay that enters the gradient",
    "rectification": "r_t √(1 - β₂ᵗ), with the rectification term r_t of the paper; 0 where not rectified",
    "rectified": "1 where rho is above the threshold, and the step is rectified",
    "rho": "length of the average that the second moment amounts to",
    "schedule_factor": "the learning rate over its first value",
    "taken": "what is taken of the new gradient: 1 for the first buffer, then 1 - dampening",
    "mu_product": "product of the momentum schedule up to this step",
    "momentum_begun": "1 once the momentum buffer has begun",
    "trust_ratio": "norm of the parameter over norm of the update; 1 where it is not adapted",
}


def formula(rule: Rule) -> list[str]:
    """A line for each assignment of a rule."""
    names = _letters(rule)
    return [f"{names.get(a.target, a.target)} ← {_text(a.value, names)[0]}" for a in rule.body]


def expression(node: ast.expr) -> str:
    """An expression of a rule in the same notation, with every name written out."""
    return _text(node, {})[0]


def norm_line(norm: Norm) -> str:
    """A norm in the same notation."""
    order = {2.0: "", 1.0: "₁", float("inf"): "∞"}.get(norm.order, f"_{norm.order:g}")
    where = "everything" if norm.scope == "global" else f"each {norm.scope}"
    name, taken = SYMBOLS.get(norm.name, norm.name), f"‖{SYMBOLS[norm.of]}‖{order}"
    return f"{taken} over {where}" if name == taken else f"{name} = {taken} over {where}"


def legend(rules: list[Rule]) -> str:
    """The letter that stands for each name."""
    used: dict[str, str] = {}
    for rule in rules:
        names = (*rule.inputs, *rule.hypers, *(a.target for a in rule.body))
        used |= {name: _letters(rule)[name] for name in names if name in _letters(rule)}
    plain = ("param", "update", "grad", "param_norm", "update_norm", "grad_norm")
    return ", ".join(f"{letter} {name}" for name, letter in used.items() if name not in plain)


def meaning(name: str) -> str:
    """The meaning of a name, or an empty text; the names of a chain's second clip end in 2."""
    return MEANINGS.get(name) or MEANINGS.get(name.rstrip("0123456789"), "")


def _letters(rule: Rule) -> dict[str, str]:
    """Letters for the arguments of the rule; a local of the same name keeps its name."""
    outer = {*rule.inputs, *rule.hypers}
    return {name: letter for name, letter in SYMBOLS.items() if name in outer}


def _text(node: ast.expr, names: dict[str, str]) -> tuple[str, int]:
    """An expression, and its precedence."""

    def inside(part: ast.expr, hold: int) -> str:
        text, own = _text(part, names)
        return text if own >= hold else f"({text})"

    match node:
        case ast.Name(id=name):
            return names.get(name, name), _ATOM
        case ast.Constant(value=float() | int() as number):
            return f"{number:g}", _ATOM
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return f"not {inside(operand, _NOT)}", _NOT
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _text(operand, names)
        case ast.UnaryOp(operand=operand):
            return f"-{inside(operand, _MINUS)}", _MINUS
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            return f"{inside(left, _SUM)} {_SIGNS[type(op)]} {inside(right, _PRODUCT)}", _SUM
        case ast.BinOp(op=ast.Mult()):
            factors = _factors(node)
            return _product([inside(factor, _MINUS) for factor in factors]), _PRODUCT
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"{inside(left, _PRODUCT)} / {inside(right, _MINUS)}", _PRODUCT
        case ast.BinOp(left=left, right=right):
            exponent = inside(right, _ATOM)
            return f"{inside(left, _ATOM)}{'²' if exponent == '2' else f'^{exponent}'}", _POWER
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"{inside(left, _SUM)} {_SIGNS[type(op)]} {inside(right, _SUM)}", _COMPARE
        case ast.BoolOp(op=op, values=values):
            hold, word = (_AND, " and ") if isinstance(op, ast.And) else (_OR, " or ")
            return word.join(inside(value, hold + 1) for value in values), hold
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return f"{inside(body, _OR)} if {inside(test, _OR)}, else {inside(orelse, _CHOICE)}", _CHOICE
        case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
            text, own = _text(x, names)
            return f"√{text}" if own == _ATOM else f"√({text})", _ATOM
        case ast.Call(func=ast.Name(id="abs"), args=[x]):
            return f"|{_text(x, names)[0]}|", _ATOM
        case ast.Call(func=ast.Name(id=name), args=args):
            short = {"maximum": "max", "minimum": "min"}.get(name, name)
            return f"{short}({', '.join(_text(arg, names)[0] for arg in args)})", _ATOM
    raise AssertionError(f"{ast.dump(node)} was let through by the rule parser")


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), node.right]
    return [node]


def _product(factors: list[str]) -> str:
    """A product, with dots next to long names; two equal neighbors become a square."""
    text, before = "", ""
    for factor in factors:
        if factor == before:
            text, before = f"{text}²", ""
            continue
        dot = any(each.isidentifier() and len(each) > 2 for each in (before, factor))
        text += f"{' · ' if dot else ' '}{factor}" if text else factor
        before = factor
    return text
