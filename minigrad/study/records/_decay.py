"""Split a change into the gradient's part and decay, by evaluating the rules again, on arrays.

With the norms unchanged, the change of an element of value 0 is the gradient's part under any rules, and the rest is
decay.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...rules import Rule
from ...rules.elements import run_on_arrays

Array = npt.NDArray[Any]


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


def split_change(rules: Sequence[Rule], values: Mapping[str, Any]) -> tuple[Array, Array]:
    """The change that the rules make to ``param``, in two parts: from the gradient, and from decay.

    Decay that enters the update (L2) and from there a moment counts at the step in which it enters; what a moment
    holds of earlier decay is part of the moment, and moves the parameter as the gradients in it do.
    """
    param = np.asarray(values["param"], np.float64)
    # Each element, next to one of value 0.
    both = np.stack([param, np.zeros_like(param)])
    moved = np.broadcast_to(run_on_arrays(rules, {**values, "param": both})["param"], both.shape)
    from_gradient = moved[1]
    decay = moved[0] - param - from_gradient
    # Where nothing decays, rounding is left.
    decay[np.abs(decay) <= 1e-14 * (np.abs(param) + np.abs(from_gradient))] = 0.0
    return from_gradient, decay
