"""Meaning: the meaning of an optimizer's state, as formulas that a recorder evaluates."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..rules._evaluate import Reading, Statements

__all__ = ["Meaning"]

# After the name of a slot: its value before the step.
BEFORE = "_before"


@dataclass(frozen=True)
class Meaning:
    """The meaning of an optimizer's state (`Optimizer.meaning`), for `minigrad.study.Recorder`.

    Each part is a formula in the notation of rules. It can name any state slot, which has its value after the step, or
    before the step with ``_before`` appended; every option of the group and scalar of the rules; and ``step``, how many
    steps the parameter has taken.

    Args:
        rate: the effective learning rate of each element, usually η / (√v̂ + ε), without a trust ratio.
        mean: m̂, the unbiased mean of the gradients.
        root: √v̂, the root of their unbiased mean square. |m̂| / √v̂ is recorded as the signal of the gradient.

    Raises:
        ValueError: for a formula that cannot be read, or only one of ``mean`` and ``root``.

    >>> optim.Meaning(rate="lr / (sqrt(square_avg) + eps)")
    Meaning(rate='lr / (sqrt(square_avg) + eps)', mean=None, root=None)
    """

    rate: str
    mean: str | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.root is None):
            raise ValueError("Meaning: mean and root go together, since the signal is one divided by the other")
        for formula in (self.rate, self.mean, self.root):
            if formula is not None:
                _read(formula)


@functools.cache
def _read(formula: str) -> Statements:
    try:
        return Statements([("formula", ast.parse(formula.strip(), mode="eval").body)], varying=())
    except (SyntaxError, AttributeError, ValueError) as error:
        why = f": {error}" if type(error) is ValueError else ""
        raise ValueError(
            f"Meaning: {formula!r} is not a formula, such as 'lr / (sqrt(square_avg) + eps)'{why}"
        ) from None


def names_in(formula: str) -> set[str]:
    """The names of the state, options and scalars in a formula."""
    nodes = _read(formula).read
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def evaluate(formula: str, values: Mapping[str, Any]) -> Any:
    """The value in float64 of a formula whose names have these values."""
    reading = Reading("formula", _read(formula), {name: values[name] for name in names_in(formula)})
    reading.run()
    return reading.values["formula"]
