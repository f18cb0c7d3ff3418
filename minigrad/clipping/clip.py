"""Clips: their rules, the class, and the functions that make one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..autograd.tensor import Tensor
from ..checks import unknown
from ..kernels.plan import Element
from ..kernels.store import Entry
from ..rules import Norm, Rule, maximum, minimum, norm, rule
from ..rules.options import Option, above, check_option, number, option

Predicate = Callable[[str, Tensor], bool]
Exclusion = Predicate | Iterable[str] | None


# --- the rules --------------------------------------------------------------------------------------------------


@rule
def clip_by_norm(update, clip_norm, *, max_norm):
    """Shorten the update to ``max_norm``; as in PyTorch, 1e-6 avoids a division by 0."""
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
    """Adaptive clipping: shorten a unit's update if it is long compared with the unit's own norm."""
    limit = clip_factor * maximum(clip_param_norm, clip_eps)
    factor = limit / maximum(clip_unit_norm, 1e-6) if clipped > 0 and clip_unit_norm > limit else 1.0
    update = factor * update
    return update


@rule
def store_gradient(update, grad):
    """Store the clipped update as the gradient, for the functions that change gradients in place."""
    grad = update
    return grad


# --- clips ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A predicate that holds for parameters with these names, and in layers or modules with these names."""

    names: tuple[str, ...]

    def __call__(self, name: str, parameter: Tensor | None = None) -> bool:
        """Whether the name is one of these, or begins with one and a dot."""
        return any(name == one or name.startswith(f"{one}.") for one in self.names)


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip as part of a chain. Made by `by_global_norm` and its relatives.

    Attributes:
        rule: the rule that clips.
        norms: the norms that it reads, which precede it in the chain.
        declared: its hyper-parameters, which become options of the param groups and can be scheduled.
        exclude: the parameters that it does not clip.

    Raises:
        ValueError: for a hyper-parameter outside its range.
    """

    rule: Rule
    norms: tuple[Norm, ...]
    declared: Mapping[str, Option]
    exclude: Predicate | None = None

    def __post_init__(self) -> None:
        for name, each in self.declared.items():
            check_option("clipping", name, each.value, each.range)

    @property
    def options(self) -> dict[str, float]:
        """The values of the hyper-parameters."""
        return {name: float(each.value) for name, each in self.declared.items()}

    def check(self, names: Iterable[str]) -> None:
        """Raise ValueError for an excluded name to which none of the parameters ``names`` belongs."""
        if isinstance(self.exclude, Named):
            known = list(names)
            for name in self.exclude.names:
                if not any(Named((name,))(one) for one in known):
                    raise ValueError(f"clipping: exclude: {unknown('parameter or layer', name, known)}")

    @property
    def names(self) -> set[str]:
        """The names of its options and norms, which two clips in one chain must not share."""
        return {*self.declared, *(taken.name for taken in self.norms)}

    @property
    def elements(self) -> list[Element]:
        """The elements of the chain."""
        return [*self.norms, self.rule]

    def overrides(self, entry: Entry) -> dict[str, float]:
        """For a clip that excludes parameters, the option that decides whether this one is clipped."""
        if self.exclude is None:
            return {}
        (flag,) = (name for name in self.rule.hypers if name.startswith("clipped"))
        return {flag: 0.0 if self.exclude(entry.name, entry.parameter) else 1.0}

    def numbered(self, number: int) -> Clip:
        """The same clip as the second, third ... of a chain: with 2, 3 ... in the names of its norms and options."""
        if number == 1:
            return self
        names = {norm.name: norm.name.replace("clip", f"clip{number}", 1) for norm in self.norms}
        names |= {name: f"{name}{number}" for name in self.rule.hypers}
        norms = tuple(replace(norm, name=names[norm.name]) for norm in self.norms)
        declared = {names[name]: each for name, each in self.declared.items()}
        return Clip(self.rule.renamed(names), norms, declared, self.exclude)


def by_norm(max_norm: float, scope: str, order: float = 2.0, *, nonfinite: str = "raise") -> Clip:
    """Shorten the gradient of each range to a norm of at most ``max_norm``, keeping its direction.

    The factor is min(1, c / (‖g‖ + 1e-6)), with the norm in float64.

    Args:
        max_norm: c, above 0. It becomes the option ``"max_norm"`` of the param groups.
        scope: the ranges: each ``"unit"``, ``"tensor"`` or ``"layer"``, or the whole gradient, ``"global"``.
        order: 1, 2, any positive number, or infinity for the largest absolute value.
        nonfinite: the action if a norm is NaN or infinite: ``"raise"`` FloatingPointError, ``"skip"`` the step, or
            ``"propagate"``, which computes as usual and so makes finite gradients 0 and infinite ones NaN.

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
    declared = {"max_norm": _threshold("max_norm", max_norm)}
    taken = norm("update", scope, order, name="clip_norm", nonfinite=nonfinite)
    return Clip(clip_by_norm, (taken,), declared)


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
        _threshold("clip_value", low)
        low, high = -low, low
    declared = {"clip_low": option(low, number()), "clip_high": option(high, number())}
    found = Clip(clip_by_value, (), declared)
    if not low <= high:
        raise ValueError(f"clipping: low must be at most high, but they are {low!r} and {high!r}")
    return found


def adaptive(
    clip_factor: float = 0.01, eps: float = 1e-3, *, exclude: Exclusion = None, nonfinite: str = "raise"
) -> Clip:
    """Adaptive gradient clipping: each unit's gradient to at most a share of the unit's own norm.

    Where ‖g‖ exceeds the limit λ·max(‖θ‖, ε), g becomes g · limit / max(‖g‖, 1e-6). A unit is a row of a weight, the
    incoming weights of one output; a bias or a gain is one unit.

    Args:
        clip_factor: λ, above 0. It becomes the option ``"clip_factor"``.
        eps: ε, which lets parameters that start at 0 move. It becomes the option ``"clip_eps"``.
        exclude: parameters that are not clipped: names of parameters, layers or modules, or a function of name and
            parameter. The paper excludes the last layer.
        nonfinite: as in `by_norm`.

    Raises:
        ValueError: for a number that is not above 0. The optimizer raises it for an unknown excluded name.

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
    declared = {"clip_factor": _threshold("clip_factor", clip_factor), "clip_eps": _threshold("eps", eps)}
    norms = (
        norm("update", "unit", name="clip_unit_norm", nonfinite=nonfinite),
        norm("param", "unit", name="clip_param_norm"),
    )
    return Clip(clip_to_unit, norms, declared, _predicate(exclude))


def _threshold(argument: str, value: float) -> Option:
    """A number above 0, as a float."""
    return option(float(check_option("clipping", argument, value, above(0))), above(0))


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
