"""A rule, a chain or an optimizer shown whole: formula, source, plan, kernel."""

from __future__ import annotations

import contextlib
import html
import inspect
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import optim
from ...autograd.tensor import Tensor
from ...checks import spelled
from ...clipping import Clip, clip
from ...kernels.plan import Element, Plan
from ...optim import Lookahead, Optimizer, apply_update
from ...optim.chain import PlanText
from ...rules import Norm, Rule, norm
from ...rules.elements import VALUES
from ._notation import formula, legend, norm_line


@dataclass(frozen=True)
class Algorithm:
    """An update shown whole; print it. Made by `explain`.

    Attributes:
        name: of the rule, the chain or the optimizer.
        about: its docstring up to the arguments, and a remark if elements were added to make it run.
        formula: a line per norm and assignment.
        source: the text of the rules.
        plan: the passes over memory.
        kernel: the generated source, one text per dtype.
    """

    name: str
    about: str
    formula: tuple[str, ...]
    source: str
    plan: str
    kernel: str

    def _parts(self) -> list[tuple[str, str]]:
        parts = [
            ("formula", "\n".join(self.formula)),
            ("source", self.source),
            ("plan", self.plan),
            ("kernel", self.kernel),
        ]
        return [(title, text.strip("\n")) for title, text in parts]

    def __str__(self) -> str:
        about = f"\n{self.about}" if self.about else ""
        sections = [f"{title}\n\n{_indented(text)}" for title, text in self._parts()]
        return "\n\n".join([self.name + about, *sections])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for notebooks, with the kernel folded away."""
        parts = [
            f"<p><b>{html.escape(self.name)}</b></p>",
            f"<pre>{html.escape(self.about)}</pre>" if self.about else "",
        ]
        for title, text in self._parts():
            opened = "" if title == "kernel" else " open"
            parts.append(f"<details{opened}><summary>{title}</summary><pre>{html.escape(text)}</pre></details>")
        return "".join(parts)


def explain(what: Any, *, dtype: npt.DTypeLike = np.float32) -> Algorithm:
    """The formula, the source, the plan and the kernel of an update.

    >>> study.explain(optim.SGD).formula[0]
    'θ ← θ - η u'

    Args:
        what: a rule, a clip, a chain or list of rules and norms, an optimizer, or the class of one, then with its
            defaults; or the name of an optimizer or a rule of minigrad, in any case. For a single step of an
            optimizer, see ``optimizer.explain``.
        dtype: of the parameters; ignored for an optimizer, which has its own.

    Raises:
        TypeError: for anything else.
        ValueError: for a name that is neither an optimizer nor a rule; the message suggests the nearest.
    """
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"explain: dtype must be float32 or float64, not {dtype!r:.40}") from None
    if isinstance(what, str):
        what = _named(what)
    if isinstance(what, Rule):
        return _of_rule(what, dtype)
    if isinstance(what, Clip):
        return _of_elements(what.rule.name, _doc(what.rule.function), _complete(what.elements), dtype)
    if isinstance(what, type) and issubclass(what, Optimizer):
        return _of_optimizer(_with_defaults(what, dtype))
    if isinstance(what, Optimizer):
        return _of_optimizer(what)
    if isinstance(what, list | tuple) and what and all(isinstance(e, Rule | Norm) for e in what):
        return _of_elements("chain", "", _complete(what), dtype)
    hint = "; a function becomes a rule by @optim.rule" if inspect.isfunction(what) else ""
    needed = "needs a rule, a clip, a chain, or an optimizer, its class or its name"
    raise TypeError(f"explain: {needed}, not {type(what).__name__}{hint}")


def _named(name: str) -> type[Optimizer] | Rule:
    """An optimizer, by its name on the command line, or a rule of an optimizer or a clip."""
    public = {each: getattr(optim, each) for each in optim.__all__}
    optimizers = {each: kind for each, kind in public.items() if isinstance(kind, type) and issubclass(kind, Optimizer)}
    del optimizers["Optimizer"]
    modules = [sys.modules[kind.__module__] for kind in optimizers.values()] + [clip]
    rules = {each.name: each for module in modules for each in vars(module).values() if isinstance(each, Rule)}
    kind, known = ("rule", rules) if "_" in name else ("optimizer", optimizers)  # rules are verbs with their objects
    try:
        return known[spelled(kind, name, known)]
    except ValueError as error:
        raise ValueError(f"explain: {error}") from None


def _of_rule(rule: Rule, dtype: np.dtype[Any]) -> Algorithm:
    elements = _complete([rule])
    added = [e.name for e in elements if e is not rule]
    about = f"To run by itself, it is planned here with {', '.join(added)}." if added else ""
    made = _of_elements(rule.name, "\n".join(filter(None, [_doc(rule.function), about])), elements, dtype)
    lines = [*formula(rule), *_where([rule])]
    return Algorithm(made.name, made.about, tuple(lines), _source([rule]), made.plan, made.kernel)


def _of_optimizer(optimizer: Optimizer) -> Algorithm:
    """The chain of an optimizer, followed by chains with a period."""
    text = optimizer.plan()
    return _made(optimizer.title, _doc(type(optimizer)), [text, *text.later.values()])


def _of_elements(name: str, about: str, elements: Sequence[Element], dtype: np.dtype[Any]) -> Algorithm:
    return _made(name, about, [PlanText(Plan(elements), [dtype])])


def _made(name: str, about: str, texts: Sequence[PlanText]) -> Algorithm:
    elements = [element for text in texts for element in text.plan.elements]
    rules = [element for element in elements if isinstance(element, Rule)]
    lines: list[str] = []
    for element in elements:
        lines += [norm_line(element)] if isinstance(element, Norm) else formula(element)
    return Algorithm(
        name,
        about,
        (*lines, *_where(rules)),
        _source(rules),
        "\n\n".join(str(text.plan) for text in texts),
        "\n\n".join(source for text in texts for source in text.sources),
    )


def _source(rules: Iterable[Rule]) -> str:
    """The text of the rules, each after the function that computes its scalars from the step."""
    texts: list[str] = []
    for rule in rules:
        if rule.scalars is not None:
            with contextlib.suppress(OSError, TypeError):  # written where Python keeps no source
                texts.append(textwrap.dedent(inspect.getsource(rule.scalars)))
        texts.append(rule.source)
    return "\n\n".join(dict.fromkeys(text.strip() for text in texts))


def _where(rules: Iterable[Rule]) -> list[str]:
    letters = legend(list(rules))
    return ["", f"with {letters}"] if letters else []


def _complete(elements: Sequence[Element]) -> list[Element]:
    """The elements, with the norms that they read and a final step by the update if these are missing."""
    taken = {e.name for e in elements if isinstance(e, Norm)}
    found: list[Element] = []
    for element in elements:
        for name in element.norms if isinstance(element, Rule) else ():
            if name not in taken:
                of = name.removesuffix("_norm")
                found.append(norm(of if of in VALUES else "update", "global", name=name))
                taken.add(name)
        found.append(element)
    changes = any(isinstance(e, Rule) and {"param", "grad"} & {*e.outputs} for e in found)
    return found if changes else [*found, apply_update]


def _with_defaults(kind: type[Optimizer], dtype: np.dtype[Any]) -> Optimizer:
    weight = ("weight", Tensor(np.ones((2, 2), dtype), requires_grad=True))
    if issubclass(kind, Lookahead):
        return kind(optim.SGD([weight]))
    try:
        return kind([weight])  # type: ignore[call-arg]  # as every optimizer of this package can be made
    except TypeError as error:
        remedy = "give an optimizer instead of its class"
        raise TypeError(f"explain: {kind.__name__} cannot be made with its defaults ({error}); {remedy}") from None


def _doc(thing: Any) -> str:
    """A docstring up to its arguments."""
    return (inspect.getdoc(thing) or "").partition("\n\nArgs:")[0].strip().replace("::\n", ":\n")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
