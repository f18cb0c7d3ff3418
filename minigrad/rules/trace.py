"""Source for a rule that has none: run it on symbols and write down what it computes.

Python's plain prompt keeps no text of what was typed. Where `inspect` finds no source, the function is called with
symbols that write down the arithmetic done with them. A condition asks for the truth of a symbol: each question is
answered both ways, in one run each, and becomes a conditional expression.
"""

from __future__ import annotations

import dis
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .functions import FUNCTIONS

_MAX_RUNS = 256
# A loop over a condition asks without end.
_MAX_QUESTIONS = 64


class _Recording:
    """What the runs have written so far: one name per expression, and the questions asked in the current run."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.names: dict[str, str] = {}
        self.answers: list[bool] = []
        self.questions: list[str] = []

    def name(self, expression: str) -> str:
        if expression not in self.names:
            name = f"t{len(self.names)}"
            while name in self.taken:
                name += "_"
            self.names[expression] = name
        return self.names[expression]

    def ask(self, question: str) -> bool:
        self.questions.append(question)
        if len(self.questions) > _MAX_QUESTIONS:
            raise TypeError(f"asks more than {_MAX_QUESTIONS} conditions; a rule has no loops")
        if len(self.questions) > len(self.answers):
            self.answers.append(True)
        return self.answers[len(self.questions) - 1]


_recording = _Recording(set())


class Symbol:
    """A value known only by the name of the expression that computes it."""

    def __init__(self, text: object) -> None:
        self.text = str(text)

    def __bool__(self) -> bool:
        return _recording.ask(self.text)

    def __neg__(self) -> Symbol:
        return _symbol(f"-{self.text}")

    def __abs__(self) -> Symbol:
        return _symbol(f"abs({self.text})")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        """NumPy's functions: those that a rule may call become its own; the others are refused."""
        name = FUNCTIONS.get(ufunc)
        if name is None or method != "__call__" or keywords:
            raise TypeError(f"np.{ufunc.__name__}() cannot be called in a rule")
        return _symbol(f"{name}({', '.join(i.text if isinstance(i, Symbol) else repr(i) for i in inputs)})")

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        raise TypeError(f"np.{function.__name__}() cannot be called in a rule")

    __hash__ = None  # type: ignore[assignment]  # equality makes an expression, so a symbol is no key


def _symbol(expression: str) -> Symbol:
    return Symbol(_recording.name(expression))


def _binary(operator: str, swapped: bool) -> Callable[[Symbol, Any], Any]:
    def method(self: Symbol, other: Any) -> Any:
        if not isinstance(other, Symbol) and type(other) not in (int, float):
            return NotImplemented
        text = other.text if isinstance(other, Symbol) else f"({other!r})" if other < 0 else repr(other)
        left, right = (text, self.text) if swapped else (self.text, text)
        return _symbol(f"{left} {operator} {right}")

    return method


for _name, _operator in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**"}.items():
    setattr(Symbol, f"__{_name}__", _binary(_operator, False))
    setattr(Symbol, f"__r{_name}__", _binary(_operator, True))
for _name, _operator in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _binary(_operator, False))


def traced_source(function: Callable[..., Any]) -> str:
    """The source of a function equivalent to ``function``, which computes on scalars.

    Raises:
        TypeError: if it does something that a rule cannot do, or asks too many questions.
    """
    global _recording
    parameters = inspect.signature(function).parameters.values()
    positional = [Symbol(p.name) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: Symbol(p.name) for p in parameters if p.kind is p.KEYWORD_ONLY}
    _refuse_outside(function)
    names = _returned_names(function)
    runs: list[tuple[list[tuple[str, bool]], tuple[str, ...]]] = []
    _recording = recording = _Recording({*inspect.signature(function).parameters})
    while True:
        recording.questions = []
        result = function(*positional, **keywords)
        values = result if isinstance(result, tuple) else (result,)
        if len(values) != len(names):
            raise TypeError("return the names that the rule sets, in one return statement")
        texts = tuple(v.text if isinstance(v, Symbol) else repr(v) for v in values)
        runs.append((list(zip(recording.questions, recording.answers, strict=True)), texts))
        if len(runs) > _MAX_RUNS:
            raise TypeError(f"more than {_MAX_RUNS} combinations of its conditions; use fewer")
        while recording.answers and not recording.answers[-1]:
            recording.answers.pop()
        if not recording.answers:
            break
        recording.answers[-1] = False
    return _written(function, names, runs, recording.names)


def _refuse_outside(function: Callable[..., Any]) -> None:
    """Refuse what a run would freeze or hide: from outside, a rule may use numbers and the functions of rules."""
    variables = inspect.getclosurevars(function)
    if variables.unbound - set(dir(np)) - set(dir(math)):
        raise TypeError(f"{sorted(variables.unbound)[0]!r} is not defined")
    for name, value in {**variables.nonlocals, **variables.globals, **variables.builtins}.items():
        if value in (np, math) or type(value) in (int, float):
            continue
        if not callable(value) or value not in FUNCTIONS:
            known = ", ".join(sorted(set(FUNCTIONS.values())))
            raise TypeError(f"{name!r} cannot be used in a rule; there are {known}")


def _returned_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names in the function's last ``return a, b, c``, read from its bytecode."""
    names: list[str] = []
    for instruction in reversed(list(dis.get_instructions(function))):
        if instruction.opname.startswith("LOAD_FAST"):
            loaded = instruction.argval
            names[:0] = loaded if isinstance(loaded, tuple) else (loaded,)
        elif instruction.opname not in ("RETURN_VALUE", "BUILD_TUPLE", "CACHE", "NOP"):
            break
    return tuple(names)


def _written(
    function: Callable[..., Any],
    names: tuple[str, ...],
    runs: list[tuple[list[tuple[str, bool]], tuple[str, ...]]],
    expressions: dict[str, str],
) -> str:
    lines = [f"def {function.__name__}{_bare_signature(function)}:"]
    lines += [f"    {name} = {expression}" for expression, name in expressions.items()]
    for place, name in enumerate(names):
        lines.append(f"    new_{name}_ = {_choice(runs, place, 0)}")
    lines += [f"    {name} = new_{name}_" for name in names]
    return "\n".join([*lines, f"    return {', '.join(names)}", ""])


def _choice(runs: list[tuple[list[tuple[str, bool]], tuple[str, ...]]], place: int, depth: int) -> str:
    """The value at ``place`` as a conditional expression over the questions from ``depth`` on."""
    texts = {values[place] for _, values in runs}
    if len(texts) == 1:
        return texts.pop()
    question = runs[0][0][depth][0]
    yes = [run for run in runs if run[0][depth][1]]
    no = [run for run in runs if not run[0][depth][1]]
    return f"({_choice(yes, place, depth + 1)} if {question} else {_choice(no, place, depth + 1)})"


def _bare_signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))
