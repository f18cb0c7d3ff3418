"""Gradient clipping: by norm at any scope, by value, adaptively.

A clip is part of an optimizer's chain, ``optim.Adam(params, clip=clipping.by_global_norm(1.0))``, and costs no pass
over memory but that of its norm; or it is a function that changes the gradients in place, as in PyTorch. Both run
the same rules on the same buffers, so they give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from .clip_reports import ClipReport, nonfinite_error
from .graph import tick
from .kernels.plan import Element, Plan
from .kernels.program import Cohort, Layout, Program
from .rules import Norm, Rule, maximum, minimum, norm, rule
from .store import Entry, ParameterStore, store_of
from .suggest import unknown
from .tensor import Tensor

__all__ = [
    "Clip",
    "ClipReport",
    "adaptive",
    "adaptive_clip_grad_",
    "by_global_norm",
    "by_norm",
    "by_value",
    "clip_grad_norm_",
    "clip_grad_value_",
]

Predicate = Callable[[str, Tensor], bool]
Exclusion = Predicate | Iterable[str] | None


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
def clip_to_unit(update, clip_unit_norm, clip_param_norm, *, clip_factor, clip_eps, clipped):
    """Adaptive clipping: shorten a unit's update where it is long beside the unit's own norm."""
    limit = clip_factor * maximum(clip_param_norm, clip_eps)
    factor = limit / maximum(clip_unit_norm, 1e-6) if clipped > 0 and clip_unit_norm > limit else 1.0
    update = factor * update
    return update


@rule
def store_gradient(update, grad):
    """Make the clipped update the gradient itself, for the functions that change gradients in place."""
    grad = update
    return grad


# --- clips ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """Holds for the parameters of these names, and for those of the layers or modules of these names."""

    names: tuple[str, ...]

    def __call__(self, name: str, parameter: Tensor | None = None) -> bool:
        return any(name == one or name.startswith(f"{one}.") for one in self.names)


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

    def check(self, names: Iterable[str]) -> None:
        """Refuse, with ValueError, an excluded name that none of the parameters ``names`` has or lies under."""
        if isinstance(self.exclude, Named):
            known = list(names)
            for name in self.exclude.names:
                if not any(Named((name,))(one) for one in known):
                    raise ValueError(f"clipping: exclude: {unknown('parameter or layer', name, known)}")

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

    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = minigrad.tensor([3.0, 4.0])
    >>> optimizer = optim.SGD([weight], lr=1.0, clip=clipping.by_norm(1.0, scope="tensor"))
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [-0.5999999 , -0.79999983]
    """
    _check_positive("max_norm", max_norm)
    taken = norm("update", scope, order, name="clip_norm", nonfinite=nonfinite)
    return Clip(clip_by_norm, (taken,), {"max_norm": float(max_norm)})


def by_global_norm(max_norm: float, order: float = 2.0, *, nonfinite: str = "raise") -> Clip:
    """Shorten the whole gradient to a norm of at most ``max_norm``; see `by_norm`.

    Reference: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = minigrad.tensor([3.0, 4.0])
    >>> optimizer = optim.SGD([weight], lr=1.0, clip=clipping.by_global_norm(1.0))
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [-0.5999999 , -0.79999983]
    >>> optimizer.clip_reports()[0].norm_before
    array([5.])
    """
    return by_norm(max_norm, "global", order, nonfinite=nonfinite)


def by_value(low: float, high: float | None = None) -> Clip:
    """Clamp every element of the gradient to [low, high]; one number c means [-c, c].

    The bounds become the options ``"clip_low"`` and ``"clip_high"``.

    Raises:
        ValueError: for a single number that is not above 0, or bounds in the wrong order.

    >>> weight = nn.Parameter([0.0, 0.0])
    >>> weight.grad = minigrad.tensor([3.0, 4.0])
    >>> optimizer = optim.SGD([weight], lr=1.0, clip=clipping.by_value(1.0))
    >>> optimizer.step()
    >>> weight
    Parameter (weight):
    [-1., -1.]
    """
    if high is None:
        _check_positive("clip_value", low)
        low, high = -low, low
    for bound in (low, high):
        if not _is_number(bound):
            raise ValueError(f"clipping: a bound must be a number, not {bound!r}")
    if not low <= high:
        raise ValueError(f"clipping: low must be at most high, but they are {low!r} and {high!r}")
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
        exclude: what is left alone: names, of parameters, layers or modules, or a function of name and parameter.
            The paper excludes the last layer.
        nonfinite: as in `by_norm`.

    Raises:
        ValueError: for a number that is not above 0. The optimizer raises it for an excluded name that it has not.

    Reference: Brock, De, Smith and Simonyan, "High-performance large-scale image recognition without normalization",
    ICML 2021.

    >>> weight = nn.Parameter([[3.0, 4.0]])  # one unit, of norm 5
    >>> weight.grad = minigrad.tensor([[30.0, 40.0]])
    >>> optimizer = optim.SGD([weight], lr=1.0, clip=clipping.adaptive(0.1))
    >>> optimizer.step()
    >>> weight  # moved by a tenth of its norm
    Parameter (weight):
    [[2.7, 3.6]]
    """
    _check_positive("clip_factor", clip_factor)
    _check_positive("eps", eps)
    norms = (
        norm("update", "unit", name="clip_unit_norm", nonfinite=nonfinite),
        norm("param", "unit", name="clip_param_norm"),
    )
    options = {"clip_factor": float(clip_factor), "clip_eps": float(eps)}
    return Clip(clip_to_unit, norms, options, _predicate(exclude))


def _check_positive(name: str, value: float) -> None:
    if not _is_number(value) or not value > 0:
        raise ValueError(f"clipping: {name} must be a number above 0, not {value!r}")


def _is_number(value: object) -> bool:
    """Whether it is one of Python's or NumPy's real numbers, and no flag."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _predicate(exclude: Exclusion) -> Predicate:
    if callable(exclude):
        return exclude
    if not isinstance(exclude, Iterable | None):
        raise TypeError(f"clipping: exclude needs names, or a function of name and parameter, not {exclude!r}")
    names = (exclude,) if isinstance(exclude, str) else tuple(exclude or ())
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"clipping: exclude needs names of parameters or layers, not {name!r}")
    return Named(names)


Clips = Clip | Sequence[Clip] | None


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
