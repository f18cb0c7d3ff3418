"""Gradient clipping: by norm at any scope, by value, adaptively.

A clip is part of an optimizer's chain, ``optim.Adam(params, clip=clipping.by_global_norm(1.0))``, and costs no pass
over memory but that of its norm; or it is a function that changes the gradients in place, as in PyTorch. Both run
the same rules on the same buffers, so they give the same bits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .graph import tick
from .kernels.plan import Element, Plan
from .kernels.program import Array, Cohort, Layout, Program, range_names
from .rule import Norm, Rule, maximum, minimum, norm, rule
from .store import Entry, ParameterStore, store_of
from .tensor import Tensor

Predicate = Callable[[str, Tensor], bool]
Exclusion = Predicate | Sequence[str] | None


# --- the rules --------------------------------------------------------------------------------------------------


@rule
def clip_by_norm(update, clip_norm, *, max_norm):
    """Shorten the update to ``max_norm``; as in PyTorch, 1e-6 keeps the division from a norm of 0."""
    factor = minimum(1.0, max_norm / (clip_norm + 1e-6))
    update = factor * update
    return update


@rule
def clip_by_value(update, *, clip_low, clip_high):
    """Clamp every element; NaN stays NaN."""
    update = minimum(maximum(update, clip_low), clip_high)
    return update


@rule
def clip_to_unit(update, clip_norm, clip_param_norm, *, clip_factor, clip_eps, clipped):
    """Adaptive clipping: shorten a unit's update where it is long beside the unit's own norm."""
    limit = clip_factor * maximum(clip_param_norm, clip_eps)
    factor = limit / maximum(clip_norm, 1e-6) if clipped > 0 and clip_norm > limit else 1.0
    update = factor * update
    return update


@rule
def store_gradient(update, grad):
    """Make the clipped update the gradient itself, for the functions that change gradients in place."""
    grad = update
    return grad


# --- clips ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as part of a chain. Made by `by_global_norm` and its relatives.

    Attributes:
        rule: the rule that clips.
        norms: the norms that it reads, which stand before it.
        options: its hyper-parameters, which become options of the param groups and can be scheduled.
        exclude: which parameters it leaves alone.
    """

    rule: Rule
    norms: tuple[Norm, ...]
    options: Mapping[str, float]
    exclude: Predicate | None = None

    @property
    def names(self) -> set[str]:
        """What two clips in one chain must not share: the names of options and norms."""
        return {*self.options, *(taken.name for taken in self.norms)}

    @property
    def elements(self) -> list[Element]:
        """The elements of the chain."""
        return [*self.norms, self.rule]

    def overrides(self, entry: Entry) -> dict[str, float]:
        """Whether this parameter is clipped, for clips that leave some alone."""
        if self.exclude is None:
            return {}
        (flag,) = (name for name in self.rule.hypers if name.startswith("clipped"))
        return {flag: 0.0 if self.exclude(entry.name, entry.parameter) else 1.0}

    def numbered(self, number: int) -> Clip:
        """The same clip as the chain's second, third ...: with a 2, 3 ... in the names of norms and options."""
        if number == 1:
            return self
        names = {norm.name: norm.name.replace("clip", f"clip{number}", 1) for norm in self.norms}
        names |= {name: f"{name}{number}" for name in self.rule.hypers}
        norms = tuple(replace(norm, name=names[norm.name]) for norm in self.norms)
        options = {names[name]: value for name, value in self.options.items()}
        return Clip(self.rule.renamed(names), norms, options, self.exclude)


def by_norm(max_norm: float, scope: str, order: float = 2.0, *, nonfinite: str = "raise") -> Clip:
    """Shorten the gradient of each range to a norm of at most ``max_norm``, keeping its direction.

    The factor is min(1, c / (‖g‖ + 1e-6)), with the norm in float64.

    Args:
        max_norm: c, above 0. It becomes the option ``"max_norm"`` of the param groups.
        scope: the ranges: each ``"unit"``, ``"tensor"`` or ``"layer"``, or the whole gradient, ``"global"``.
        order: 1, 2, any positive number, or infinity for the largest absolute value.
        nonfinite: where a norm is NaN or infinite, ``"raise"`` FloatingPointError, ``"skip"`` the step, or
            ``"propagate"``: compute on, which makes finite gradients 0 and infinite ones NaN.

    Raises:
        ValueError: for a threshold that is not above 0, or an unknown scope or policy.
    """
    _check_positive("max_norm", max_norm)
    taken = norm("update", scope, order, name="clip_norm", nonfinite=nonfinite)
    return Clip(clip_by_norm, (taken,), {"max_norm": float(max_norm)})


def by_global_norm(max_norm: float, order: float = 2.0, *, nonfinite: str = "raise") -> Clip:
    """Shorten the whole gradient to a norm of at most ``max_norm``; see `by_norm`.

    Reference: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    return by_norm(max_norm, "global", order, nonfinite=nonfinite)


def by_value(low: float, high: float | None = None) -> Clip:
    """Clamp every element of the gradient to [low, high]; one number c means [-c, c].

    The bounds become the options ``"clip_low"`` and ``"clip_high"``.

    Raises:
        ValueError: for a single number that is not above 0, or bounds in the wrong order.
    """
    if high is None:
        _check_positive("clip_value", low)
        low, high = -low, low
    if not low <= high:
        raise ValueError(f"clipping: low must not be above high, but they are {low!r} and {high!r}")
    return Clip(clip_by_value, (), {"clip_low": float(low), "clip_high": float(high)})


def adaptive(
    clip_factor: float = 0.01, eps: float = 1e-3, *, exclude: Exclusion = None, nonfinite: str = "raise"
) -> Clip:
    """Adaptive gradient clipping: each unit's gradient to at most a share of the unit's own norm.

    Where ‖g‖ exceeds the limit λ·max(‖θ‖, ε), g becomes g · limit / max(‖g‖, 1e-6). A unit is a row of a weight, the
    incoming weights of one output; a bias or a gain is one unit.

    Args:
        clip_factor: λ, above 0. It becomes the option ``"clip_factor"``.
        eps: ε, which lets parameters move that start at 0. It becomes the option ``"clip_eps"``.
        exclude: what is left alone: names, of parameters or layers, or a function of name and parameter. The paper
            excludes the last layer.
        nonfinite: as in `by_norm`.

    Reference: Brock, De, Smith and Simonyan, "High-performance large-scale image recognition without normalization",
    ICML 2021.
    """
    _check_positive("clip_factor", clip_factor)
    _check_positive("eps", eps)
    norms = (
        norm("update", "unit", name="clip_norm", nonfinite=nonfinite),
        norm("param", "unit", name="clip_param_norm"),
    )
    options = {"clip_factor": float(clip_factor), "clip_eps": float(eps)}
    return Clip(clip_to_unit, norms, options, _predicate(exclude))


def _check_positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"clipping: {name} must be a number above 0, not {value!r}")


def _predicate(exclude: Exclusion) -> Predicate:
    if exclude is None:
        return lambda name, parameter: False
    if callable(exclude):
        return exclude
    names = {exclude} if isinstance(exclude, str) else set(exclude)
    return lambda name, parameter: name in names or name.rpartition(".")[0] in names


Clips = Clip | Sequence[Clip] | None


# --- what a clip did --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipReport:
    """What one clip did in the last step, range by range.

    Attributes:
        clip: the name of its rule.
        scope: what a range is.
        ranges: the names of the ranges.
        norm_before, norm_after: the 2-norm (or the clip's own order) of the gradient of each range.
        factor: what the norm was multiplied by.
        acted: whether the clip changed anything there.
    """

    clip: str
    scope: str
    ranges: tuple[str, ...]
    norm_before: Array
    norm_after: Array
    factor: Array
    acted: Array


def report(clip: Clip, layout: Layout) -> ClipReport:
    """What ``clip`` did when ``layout`` ran last, from the norms that the kernel left and the rule itself.

    A clip by value takes no norm, so its report is worked out from the gradients as they are now.
    """
    if not clip.norms:
        return _report_by_value(clip, layout)
    plan, scope = layout.program.plan, clip.norms[0].scope
    names = range_names(layout.program.store, scope)
    norms = {taken.name: layout.norm_values(taken) for taken in clip.norms}
    own_names = [p.name for p in inspect.signature(clip.rule.function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    factor = np.ones(len(names))
    for number, row in layout.rows(scope).items():
        hypers = [float(layout.scalars[row, plan.hypers.index(name)]) for name in clip.rule.hypers]
        values = [float(norms[name][number]) for name in clip.rule.norms]
        # The rule is linear in the update, so on an update of 1 it gives its factor.
        factor[number] = clip.rule.function(1.0, *values, **dict(zip(own_names, hypers, strict=True)))
    before = norms[clip.norms[0].name].copy()
    return ClipReport(clip.rule.name, scope, tuple(names), before, before * factor, factor, factor != 1.0)


def _report_by_value(clip: Clip, layout: Layout) -> ClipReport:
    plan = layout.program.plan
    low, high = (plan.hypers.index(name) for name in clip.rule.hypers)
    names, before, after, acted = [], [], [], []
    for row, cohort in enumerate(layout.cohorts):
        for entry in cohort.entries:
            grad = np.asarray(entry.parameter._grad_view._data, np.float64)  # type: ignore[union-attr]  # it is bound
            clipped = np.clip(grad, layout.scalars[row, low], layout.scalars[row, high])
            names.append(entry.name)
            before.append(float(np.linalg.norm(grad)))
            after.append(float(np.linalg.norm(clipped)))
            acted.append(bool((clipped != grad).any()))
    factor = np.divide(after, before, out=np.ones(len(names)), where=np.array(before) > 0)
    return ClipReport(
        clip.rule.name, "tensor", tuple(names), np.array(before), np.array(after), factor, np.array(acted)
    )


# --- functions that change gradients in place -----------------------------------------------------------------------


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
        The norm before clipping, in float64: a single number, or one per range of the scope.

    Raises:
        FloatingPointError: for a norm that is not finite.
        ValueError: for a threshold that is not above 0.
    """
    policy = "raise" if error_if_nonfinite else "propagate"
    layout = _clip_in_place(parameters, by_norm(max_norm, scope, norm_type, nonfinite=policy))
    if layout is None:
        return Tensor(np.zeros(() if scope == "global" else 0))
    values = layout.norm_values(layout.program.plan.norms[0])
    return Tensor(np.array(values[0] if scope == "global" else values))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp the gradients in place to [-clip_value, clip_value], as ``torch.nn.utils.clip_grad_value_``."""
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
        ValueError: for a ``norm_type`` other than 2, or a factor that is not above 0.
        FloatingPointError: for a norm that is not finite, before any gradient has changed.
    """
    if norm_type != 2:
        raise ValueError(f"adaptive_clip_grad_: the method is defined for the 2-norm, not for order {norm_type!r}")
    policy = "raise" if error_if_nonfinite else "propagate"
    _clip_in_place(parameters, adaptive(clip_factor, eps, exclude=exclude, nonfinite=policy))


def _clip_in_place(parameters: Tensor | Iterable[Tensor], clip: Clip) -> Layout | None:
    """Run a clip on gradients; ``None`` if there are none."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    chosen = [parameter for parameter in given if parameter.grad is not None]
    if not chosen:
        return None
    store = store_of(chosen)
    wanted = {id(parameter) for parameter in chosen}
    entries = [entry for entry in store.entries.values() if id(entry.parameter) in wanted]
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
        if grad is not view:
            grad._data[...] = view._data
        grad._version[0] = now
    return layout


def _layout_for(clip: Clip, store: ParameterStore, entries: list[Entry]) -> Layout:
    """The tables for clipping these gradients, kept with the store from the last call of the same kind."""
    kind = (clip.rule, clip.norms)
    kept = store.clip_layout
    if kept is None or kept[0] != kind or kept[1] != entries or clip.exclude is not None:
        program = Program(Plan([*clip.elements, store_gradient]), store)
        cohorts: dict[tuple[tuple[str, float], ...], Cohort] = {}
        for entry in entries:
            overrides = clip.overrides(entry)
            cohorts.setdefault(tuple(overrides.items()), Cohort(0, overrides, 0, [])).entries.append(entry)
        missing = [entry for entry in store.entries.values() if entry not in entries]
        layout = Layout(program, list(cohorts.values()), missing, [{} for _ in store.buffers])
        store.clip_layout = (kind, entries, layout)
    else:
        layout = kept[2]
    for cohort in layout.cohorts:
        layout.program.bind_options(cohort, clip.options)
    return layout


def nonfinite_error(norm: Norm, layout: Layout) -> FloatingPointError:
    """What to raise where a norm stopped a step: it names the parameters at fault."""
    values = layout.norm_values(norm)
    names = range_names(layout.program.store, norm.scope)
    ranges = [names[i] for i in np.flatnonzero(~np.isfinite(values))[:3]]
    culprits = [
        entry.name
        for cohort in layout.cohorts
        for entry in cohort.entries
        if not np.isfinite(entry.parameter._grad_view._data).all()  # type: ignore[union-attr]  # it is bound
    ]
    where = f"NaN or infinite in {', '.join(map(repr, culprits[:3]))}" if culprits else "too large for float64"
    return FloatingPointError(
        f"clipping: the gradient's norm is {values[~np.isfinite(values)][0]} ({', '.join(ranges)}): the gradient is "
        f"{where}; nothing was changed. Use nonfinite='skip' to pass over such steps"
    )
