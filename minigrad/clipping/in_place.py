"""Functions that clip gradients in place, as PyTorch's and timm's do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..graph import tick
from ..kernels.plan import Plan
from ..kernels.program import Cohort, Layout, Program
from ..store import Entry, ParameterStore, store_of
from ..tensor import Tensor
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
        parameters: one or more tensors; those without a gradient are passed over.
        max_norm: the longest norm that stays, above 0.
        norm_type: the order of the norm: 1, 2, any positive number, infinity.
        error_if_nonfinite: raise where the norm is NaN or infinite, before any gradient has changed. ``False``
            computes on, which makes finite gradients 0 and infinite ones NaN; that is PyTorch's default.
        scope: clip the whole gradient, or each ``"layer"``, ``"tensor"`` or ``"unit"`` by itself.

    Returns:
        The norm before clipping, in float64: a single number, or one per layer, tensor or unit that has a gradient.

    Raises:
        FloatingPointError: for a norm that is not finite.
        ValueError: for a threshold that is not above 0.
        TypeError: for something that is no tensor.

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
    values = layout.norm_values(layout.program.plan.norms[0])
    return Tensor(np.array(values[0] if scope == "global" else values[sorted({n for _, n in layout.parts(scope)})]))


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
    """Run a clip on gradients; ``None`` if there are none."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for parameter in given:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"clipping: needs tensors, such as model.parameters(), not {type(parameter).__name__}")
    # A parameter given twice has one gradient, which is clipped once.
    grads = {id(parameter): (parameter, parameter.grad) for parameter in given if parameter.grad is not None}
    if not grads:
        return None
    store = store_of([parameter for parameter, _ in grads.values()])
    clip.check([*(getattr(parameter, "name", "") for parameter in given), *store.entries])
    for parameter, held in grads.values():
        # Moving into a new store has put a copy in its place; the caller may hold on to this one.
        parameter._grad = held
    entries = [entry for entry in store.entries.values() if id(entry.parameter) in grads]
    for buffer in store.buffers:
        buffer.gather()
    layout = _layout_for(clip, store, entries)
    stopped = layout.run()
    if stopped is not None:
        raise nonfinite_error(stopped, layout)
    now = tick()
    for entry in entries:
        grad, view = entry.parameter._grad, entry.parameter._grad_view
        assert grad is not None
        assert view is not None
        if grad._data is not view:
            grad._data[...] = view
        grad._version[0] = now
    return layout


def _layout_for(clip: Clip, store: ParameterStore, entries: list[Entry]) -> Layout:
    """The tables for clipping these gradients, kept with the store from the last call of the same kind."""
    kind = (clip.rule, clip.norms, clip.exclude)
    kept = store.clip_layouts.get(kind)
    if kept is not None and kept[0] == entries:
        layout: Layout = kept[1]
    else:
        program = Program(Plan([*clip.elements, store_gradient]), store)
        cohorts: dict[tuple[tuple[str, float], ...], Cohort] = {}
        for entry in entries:
            overrides = clip.overrides(entry)
            cohorts.setdefault(tuple(overrides.items()), Cohort(0, overrides, 0, [])).entries.append(entry)
        missing = [entry for entry in store.entries.values() if entry not in entries]
        layout = program.lay_out(list(cohorts.values()), missing, [{} for _ in store.buffers])
        if clip.exclude is None or isinstance(clip.exclude, Named):  # a function may be another one every time
            store.clip_layouts[kind] = (entries, layout)
    for cohort in layout.cohorts:
        layout.program.bind_options(cohort, clip.options)
    return layout
