"""Chains: rules and norms in order, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..clipping import Clip
from ..kernels.plan import Element, Plan
from ..kernels.program import backend
from ..rules import Norm, Rule


class PlanText:
    """A plan to read: printing it shows passes, bytes per parameter and source.

    Attributes:
        plan: the `Plan`.
        sources: the kernel source for each dtype.
        later: plans of chains that run after every k-th update, by name and k.
    """

    def __init__(
        self,
        plan: Plan,
        dtypes: Iterable[np.dtype[Any]],
        device: str = "cpu",
        later: Mapping[tuple[str, int], PlanText] | None = None,
    ) -> None:
        self.plan, self.later = plan, dict(later or {})
        self.sources = [backend(device).source(plan, dtype) for dtype in dtypes]

    def bytes_per_parameter(self, itemsize: int = 4) -> int:
        """The bytes that one update moves, per parameter."""
        return self.plan.bytes_per_parameter(itemsize)

    def __repr__(self) -> str:
        later = [
            f"{name}, after every {f'{k} updates' if k > 1 else 'update'}\n\n{plan!r}"
            for (name, k), plan in self.later.items()
        ]
        return "\n\n".join([str(self.plan), *self.sources, *later])


class Chain(tuple[Element, ...]):
    """Rules and norms in order; a tuple of them, which a longer chain can contain. Made by `chain`."""

    __slots__ = ()

    def plan(self, dtype: npt.DTypeLike = np.float32, device: str = "cpu") -> PlanText:
        """How the chain runs on parameters of ``dtype``: its passes, the bytes each moves, the source for a device."""
        return PlanText(Plan(self), [np.dtype(dtype)], device)

    def __repr__(self) -> str:
        return f"chain({', '.join(e.name for e in self)})"


def checked_element(element: Any) -> Element:
    """Return a rule or a norm; raise TypeError for anything else, with the remedy."""
    if isinstance(element, Rule | Norm):
        return element
    if hasattr(element, "chain"):
        raise TypeError("chain: an optimizer is not a part of a chain; pass what its chain() returns")
    function = callable(element) and not isinstance(element, type)
    shown = f"the function {getattr(element, '__name__', element)!r}" if function else repr(element)[:80]
    raise TypeError(f"chain: {shown} is neither a rule nor a norm; @optim.rule makes a rule of a function")


def chain(*parts: Rule | Norm | Clip | Iterable[Element]) -> Chain:
    """Rules, norms, clips and other chains, one after the other.

    >>> from minigrad.optim import minimum
    >>> @optim.rule
    ... def shorten(update, update_norm, *, longest):
    ...     update = update * minimum(1.0, longest / update_norm)
    ...     return update
    >>> descent = optim.chain(optim.norm("update", "global"), shorten, optim.apply_update)
    >>> weight = nn.Parameter([3.0, 4.0])
    >>> optimizer = optim.Optimizer([weight], {"lr": 0.5, "longest": 1.0}, chain=descent)
    >>> (weight**2 / 2).sum().backward()
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [2.7, 3.6]

    A rule reads earlier norms by name, and changes ``update``, which begins as the gradient, or ``param``. The rules
    between two norms are fused into one pass over memory.

    Raises:
        TypeError: for something that cannot be part of a chain.
        ValueError: if a rule reads a norm that no earlier part takes, two parts keep state under one name, or no rule
            returns ``param``.
    """
    elements: list[Element] = []
    for part in parts:
        if isinstance(part, Clip):
            raise TypeError("chain: a clip goes to the optimizer, Optimizer(..., clip=...), which acts on it first")
        grouped = isinstance(part, Iterable) and not isinstance(part, str | Mapping | type)
        given: Iterable[Any] = part if grouped else [part]  # type: ignore[assignment]  # as a caller may give it
        elements += map(checked_element, given)
    Plan(elements)
    return Chain(elements)
