"""What cannot be compiled is refused when a rule is declared, with the line and what to do instead."""

import importlib.util

import pytest

from minigrad import optim
from minigrad.optim import RuleError, rule

HEADER = """import math

from minigrad.optim import rule, sqrt

TABLE, FLAG, NAN = [1.0], True, math.nan

"""


def module_of(tmp_path, source):
    path = tmp_path / "rules.py"
    path.write_text(HEADER + source)
    spec = importlib.util.spec_from_file_location("rules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def body(*lines, arguments="update, param, *, lr", decorator="@rule"):
    return "\n".join([decorator, f"def broken({arguments}):", *(f"    {line}" for line in lines)])


REFUSED = {
    "loop": (body("for i in range(3):", "    update = update + i", "return update"), 3, "not 'for'"),
    "while": (body("while update > 0:", "    update = update - 1", "return update"), 3, "not 'while'"),
    "if": (body("if update > 0:", "    update = -update", "return update"), 3, "name = a if condition else b"),
    "unknown_call": (body("update = math.sin(update)", "return update"), 3, "math.sin() cannot be called in a rule"),
    "print": (body("print(update)", "return update"), 3, "a rule consists of assignments and a return, not 'expr'"),
    "method": (body("update = update.sum()", "return update"), 3, "update.sum() cannot be called"),
    "lambda": (body("update = (lambda x: x)(update)", "return update"), 3, "cannot be called"),
    "keyword": (body("update = sqrt(x=update)", "return update"), 3, "sqrt() takes 1 argument here"),
    "arity": (body("update = max(update, param, lr)", "return update"), 3, "max() takes 2 arguments here"),
    "subscript": (body("update = update[0]", "return update"), 3, "'subscript' cannot be used"),
    "attribute": (body("update = update.T", "return update"), 3, "an attribute cannot be used"),
    "unknown_name": (body("update = update * momentum", "return update"), 3, "'momentum' is not defined here"),
    "table": (body("update = update * TABLE", "return update"), 3, "'TABLE' is not defined here"),
    "flag": (body("update = update * FLAG", "return update"), 3, "'FLAG' is not defined here"),
    "nan": (body("update = update * NAN", "return update"), 3, "'NAN' is not defined here"),
    "string": (body("update = 'x'", "return update"), 3, "this literal cannot be used"),
    "true": (body("update = True", "return update"), 3, "this literal cannot be used"),
    "floor_division": (body("update = update // 2", "return update"), 3, "'binop' cannot be used"),
    "modulo": (body("update = update % 2", "return update"), 3, "'binop' cannot be used"),
    "augmented_modulo": (body("update %= 2", "return update"), 3, "'binop' cannot be used"),
    "chained": (body("update = update if 0 < update < 1 else param", "return update"), 3, "a chain of comparisons"),
    "is": (body("update = update if param is update else param", "return update"), 3, "cannot be used"),
    "mask": (body("update = (update > 0) * param", "return update"), 3, "is a condition, not a number"),
    "mask_name": (body("mask = update > 0", "update = mask * param", "return update"), 4, "'mask' is a condition"),
    "mask_returned": (body("update = update > 0", "return update"), 4, "'update' is a condition"),
    "or": (body("update = sqrt(update or param)", "return update"), 3, "is a condition, not a number"),
    "tuple": (body("update, param = param, update", "return update"), 3, "assign to one name at a time"),
    "element": (body("update[0] = 1.0", "return update"), 3, "assign to one name at a time"),
    "walrus": (body("update = (x := update)", "return update"), 3, "'namedexpr' cannot be used"),
    "comprehension": (body("update = sum(x for x in TABLE)", "return update"), 3, "sum() cannot be called"),
    "no_return": (body("update = lr * update"), 3, "the return is missing"),
    "return_nothing": (body("update = lr * update", "return"), 4, "return plain names"),
    "return_expression": (body("return lr * update"), 3, "assign the expression to update, param or state first"),
    "return_option": (body("return lr"), 3, "'lr' cannot be returned"),
    "return_local": (body("x = update", "return x"), 4, "'x' cannot be returned"),
    "return_unset": (
        body("param = lr * param", "return update", arguments="param, *, lr"),
        4,
        "'update' is returned but never set",
    ),
    "return_twice": (body("update = lr * update", "return update, update"), 4, "a name is returned twice"),
    "after_return": (body("return update", "update = param"), 4, "nothing can follow the return"),
    "state_argument": (
        body("return update", decorator='@rule(state=("total",))'),
        2,
        "state 'total' is not among the arguments",
    ),
    "state_not_returned": (
        body("return update", arguments="update, total", decorator='@rule(state=("total",))'),
        3,
        "state 'total' is not returned",
    ),
    "undeclared_state": (
        body("return update", arguments="update, total"),
        2,
        "'total' is neither update, param or grad",
    ),
    "init": (body("return update", decorator='@rule(init={"total": 1.0})'), 2, "init names 'total'"),
    "default": (body("return update", arguments="update, *, lr=0.1"), 2, "arguments cannot have defaults"),
    "star": (body("return update", arguments="update, *rest"), 2, "*args and **kwargs are not allowed"),
    "double_star": (body("return update", arguments="update, **rest"), 2, "*args and **kwargs are not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_is_refused_when_declared_with_the_line(name, tmp_path):
    source, line, message = REFUSED[name]
    number = HEADER.count("\n") + line
    with pytest.raises(RuleError) as caught:
        module_of(tmp_path, source)
    text = str(caught.value)
    assert message in text
    assert f"rule 'broken', line {number} of " in text
    assert "rules.py" in text
    assert text.splitlines()[-1].strip() == source.splitlines()[line - 1].strip()


@pytest.mark.parametrize("wrong", [5, None, "sqrt", len, int, optim.SGD], ids=str)
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises((RuleError, TypeError)):
        rule(state=())(wrong)


def test_a_lambda_is_refused():
    with pytest.raises(RuleError, match="written with def"):
        rule(lambda update: update)
