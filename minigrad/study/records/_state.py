"""The effective rates and the signal of a step, from the formulas that the optimizer declares (`Optimizer.meaning`)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...optim.meaning import BEFORE, Meaning, evaluate, names_in

Array = npt.NDArray[Any]


class Values:
    """The values that formulas can name, for the elements of a stretch.

    Args:
        state: by slot, after the step.
        before: the same before the step.
        scalars: as the step used them, with ``step``.
        count: the number of elements.
    """

    def __init__(
        self, state: Mapping[str, Array], before: Mapping[str, Array], scalars: Mapping[str, float], count: int
    ) -> None:
        self._named = {**scalars, **state, **{slot + BEFORE: array for slot, array in before.items()}}
        self._count = count

    def of(self, formula: str) -> Array | None:
        """Evaluate a formula in float64; ``None`` if it names something that this step does not have."""
        if not names_in(formula) <= self._named.keys():
            return None
        return np.broadcast_to(evaluate(formula, self._named), self._count)


def signal(meaning: Meaning, values: Values) -> Array | None:
    """|m̂| / √v̂ of each element: 1 where equal gradients agree, small where they are noise or shrink; 0 where v is 0."""
    if meaning.mean is None or meaning.root is None:
        return None
    mean, root = values.of(meaning.mean), values.of(meaning.root)
    if mean is None or root is None:
        return None
    return np.divide(np.abs(mean), root, out=np.zeros(mean.shape), where=root != 0)


def describe(meaning: Meaning | None, slots: Container[str]) -> dict[str, str]:
    """The formulas of the recorded ``effective_rate`` and ``signal``, as text."""
    if meaning is None:
        return {}
    found = {"effective_rate": _text(meaning.rate)}
    if not any(name.removesuffix(BEFORE) in slots for name in names_in(meaning.rate)):
        found["effective_rate"] += ", the same for every element: no second moment is kept"
    if meaning.mean is not None and meaning.root is not None:
        found["signal"] = f"|{_text(meaning.mean)}| / {_text(meaning.root)}"
    return found


def _text(formula: str) -> str:
    return formula.replace("sqrt(", "√(").replace(" * ", " · ")
