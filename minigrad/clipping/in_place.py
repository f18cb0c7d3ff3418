"""Functions that clip gradients in place, as PyTorch's and timm's do."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd.graph import tick
from ..autograd.memory import gather, placed
from ..autograd.tensor import Tensor
from ..autograd.tracing import run_update
from ..checks import listed
from ..devices.arrays import own
from ..kernels.cohort import Member
from ..kernels.layout import Layout
from ..kernels.plan import Plan
from ..kernels.program import Program
from ..kernels.store import ParameterStore
from ..rules import Norm
from .clip import Clip, Exclusion, Named, adaptive, by_norm, by_value, store_gradient
from .reports import nonfinite_error


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = True,
    *,
    scope: str = "global",
) -> Tensor:
    """Shorten the gradients in place, as ``torch.nn.utils.clip_grad_norm_``.

    Args:
        parameters: one or more tensors; those without a gradient are skipped.
        max_norm: the largest norm that is not clipped, above 0.
        norm_type: the order of the norm: 1, 2, any positive number, infinity.
        error_if_nonfinite: raise if the norm is NaN or infinite, before any gradient has changed. ``False``, which is
            PyTorch's default, computes as usual, which makes finite gradients 0 and infinite ones NaN.
        scope: clip the whole gradient, ``"global"``, or each ``"layer"``, ``"tensor"`` or ``"unit"`` separately.

    Returns:
        The norm before clipping, in float64: a single number, or one per layer, tensor or unit that has a gradient.

    Raises:
        FloatingPointError: for a norm that is not finite.
        ValueError: for a threshold that is not above 0.
        TypeError: for something that is not a tensor.

    A list may be empty, and its norm is 0. An iterator without items raises ValueError, since one that was used before,
    such as a ``model.parameters()`` that an optimizer was made from, is empty too.

    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = minigrad.tensor([3.0, 4.0])
    >>> clipping.clip_grad_norm_([weight], max_norm=1.0)
    tensor(5., dtype=float64)
    >>> weight.grad
    tensor([0.5999999 , 0.79999983])
    """
    policy = "raise" if error_if_nonfinite else "propagate"
    layout = _clip_in_place(parameters, by_norm(max_norm, scope, norm_type, nonfinite=policy))
    if layout is None:
        return Tensor(np.zeros(() if scope == "global" else 0))
    values = layout.norm_values(layout.plan.norms[0])
    return Tensor(own(values[0] if scope == "global" else values[sorted({n for _, n in layout.parts(scope)})]))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp the gradients in place to [-clip_value, clip_value], as ``torch.nn.utils.clip_grad_value_``.

    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = minigrad.tensor([3.0, 4.0])
    >>> clipping.clip_grad_value_([weight], 3.5)
    >>> weight.grad
    tensor([3. , 3.5])
    """
    _clip_in_place(parameters, by_value(clip_value))


def adaptive_clip_grad_(
    parameters: Tensor | Iterable[Tensor],
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    norm_type: float = 2.0,
    *,
    exclude: Exclusion = None,
    error_if_nonfinite: bool = True,
) -> None:
    """Clip the gradients in place, unit by unit, with the arguments of timm's ``adaptive_clip_grad``; see `adaptive`.

    Raises:
        ValueError: for a ``norm_type`` other than 2, a factor that is not above 0, or an excluded name that no
            parameter has.
        FloatingPointError: for a norm that is not finite, before any gradient has changed.

    >>> weight = nn.Parameter([[3.0, 4.0]])
    >>> weight.grad = minigrad.tensor([[30.0, 40.0]])
    >>> clipping.adaptive_clip_grad_([weight], clip_factor=0.1)
    >>> weight.grad
    tensor([[0.29999998, 0.39999998]])
    """
    if norm_type != 2:
        raise ValueError(f"adaptive_clip_grad_: the method is defined for the 2-norm, not for order {norm_type!r}")
    policy = "raise" if error_if_nonfinite else "propagate"
    _clip_in_place(parameters, adaptive(clip_factor, eps, exclude=exclude, nonfinite=policy))


def _clip_in_place(parameters: Tensor | Iterable[Tensor], clip: Clip) -> Layout | None:
    """Run a clip on gradients; ``None`` without gradients."""
    if hasattr(parameters, "parameters"):
        raise TypeError("clipping: needs tensors, such as model.parameters(), not the model itself")
    given = [parameters] if isinstance(parameters, Tensor) else listed("clipping", parameters)
    for parameter in given:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"clipping: needs tensors, such as model.parameters(), not {type(parameter).__name__}")
    # A parameter given twice has one gradient, which is clipped once.
    unique = {id(parameter): parameter for parameter in given if parameter._grad is not None}
    if not unique:
        return None
    update = _InPlace(clip, list(unique.values()))
    clip.check([*(getattr(parameter, "name", "") for parameter in given), *update.layout.store.entries])
    return run_update(update)


class _InPlace:
    """A clip of the gradients of some parameters, as an update."""

    def __init__(self, clip: Clip, parameters: list[Tensor]) -> None:
        self.layout, self._options = _layout_for(clip, parameters), clip.options
        self._bound = [(parameter, placed(parameter)) for parameter in parameters]

    def begin_update(self) -> Layout:
        """Copy the gradients that are elsewhere into their places."""
        gather(self._bound)
        self.layout.bind_options([self._options])  # which may be another call's by now, see `_layout_for`
        return self.layout

    def scalars_ahead(self, ahead: int, steps: int = 1) -> Any:
        """The scalars of clips that come after ``ahead`` others, a row for each."""
        return self.layout.scalar_rows(steps, ahead)

    def advance(self, layout: Layout, steps: int) -> None:
        """Account for clips that compiled code has made."""
        self.end_update(layout, None)

    def end_update(self, layout: Layout, stopped: Norm | None) -> None:
        """Copy them back, or raise for a norm that was not finite."""
        if stopped is not None:
            raise nonfinite_error(stopped, layout)
        now = tick()
        for parameter, place in self._bound:
            grad = parameter._grad
            assert grad is not None
            if grad._data is not place.window:
                grad._data[...] = place.window
            grad._version[0] = now


def _layout_for(clip: Clip, parameters: list[Tensor]) -> Layout:
    """The tables for clipping the gradients of these parameters; the last such call's are reused."""
    kind = (clip.rule, clip.norms, clip.exclude)
    layout = _kept_layout(kind, parameters)
    if layout is None:
        store = ParameterStore(_named(parameters))
        program = Program(Plan([*clip.elements, store_gradient], purpose=("grad",)), store)
        layout = program.lay_out([Member(entry, overrides=clip.overrides(entry)) for entry in store.entries.values()])
        if clip.exclude is None or isinstance(clip.exclude, Named):  # a function may differ in each call
            kept = [(weakref.ref(parameter), placed(parameter).memory) for parameter in parameters]
            placed(parameters[0]).clips[kind] = kept, layout
    return layout


def _kept_layout(kind: Any, parameters: list[Tensor]) -> Layout | None:
    """The tables of the last call of this kind with the same first parameter, if the others are the same too."""
    place = parameters[0]._place
    if place is None or kind not in place.clips:
        return None
    layout: Layout
    members, layout = place.clips[kind]
    if len(members) != len(parameters):
        return None
    for parameter, (ref, memory) in zip(parameters, members, strict=True):
        if ref() is not parameter or parameter._place is None or parameter._place.memory is not memory:
            return None
    return layout


def _named(parameters: list[Tensor]) -> list[tuple[str, Tensor]]:
    """The parameters with their names, or with numbers unless all have different names."""
    names = [getattr(parameter, "name", "") for parameter in parameters]
    if len({*names} - {""}) < len(names):
        names = [f"param{number}" for number in range(len(names))]
    return list(zip(names, parameters, strict=True))
