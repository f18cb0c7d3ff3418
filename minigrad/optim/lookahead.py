"""Lookahead: slow weights that follow the fast ones of any optimizer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, Self

from ..attributes import RENEW, argument, fixed
from ..autograd.hooks import RemovableHandle
from ..checks import Range
from ..rules import Rule, rule
from ..rules.options import between, check_option, one_of
from ._periodic import Periodic
from .optimizer import Hook, Optimizer

__all__ = ["Lookahead"]


@rule(state=("slow",))
def look_ahead(param, slow, *, alpha):
    """Move the slow weights part of the way; the fast ones start again from there."""
    slow = slow + alpha * (param - slow)
    param = slow
    return param, slow


@rule(state=("momentum",))
def reset_momentum(momentum):
    """Forget the first moment."""
    momentum = 0.0
    return momentum


@rule(state=("momentum", "slow_momentum"))
def pull_back_momentum(momentum, slow_momentum, *, alpha):
    """Interpolate the first moment as the weights."""
    slow_momentum = slow_momentum + alpha * (momentum - slow_momentum)
    momentum = slow_momentum
    return momentum, slow_momentum


@cache
def _slow_step(momentum: str, state: tuple[str, ...]) -> Sequence[Rule]:
    """The rules of the slow step of an optimizer that keeps this state."""
    first = next((slot for slot in ("momentum_buffer", "exp_avg") if slot in state), None)
    if first is None or momentum == "keep":
        return (look_ahead,)
    of_momentum = reset_momentum if momentum == "reset" else pull_back_momentum
    return (look_ahead, of_momentum.renamed({"momentum": first}))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_COUNT = Range("a whole number of 1 or more", _is_count)
_UNIT = between(0, 1)
_TREATMENT = one_of("keep", "reset", "pullback")
_NAME = "Lookahead"


class Lookahead(Optimizer):
    """Lookahead around another optimizer, which moves the fast weights θ; every k steps::

        s ← s + α(θ - s)
        θ ← s

    The slow weights s are copied from the parameters just before the first step, so weights can be loaded until then;
    after weights were loaded in the middle of a run, `reset_state` begins again. Steps are counted here, whatever the
    gradients; at a synchronization a parameter without a gradient is not changed.

    The optimizer itself gets the slow step as a second chain (`Optimizer.every`). This object is another name for it,
    with ``k`` and ``alpha``: every other attribute and method is the optimizer's.

    Args:
        optimizer: moves the fast weights.
        k: the number of fast steps per slow step. May be set later.
        alpha: α, the length of the slow step, in [0, 1]. May be set later.
        momentum: the treatment of the first moment (``momentum_buffer`` or ``exp_avg``) at a slow step: ``"keep"``,
            ``"reset"`` to 0, or ``"pullback"``, the same interpolation with a slow momentum that begins at 0.

    Attributes:
        base: the optimizer.
        counter: the number of fast steps so far.

    Reference: Zhang, Lucas, Hinton and Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019.

    >>> weight = nn.Parameter([1.0])
    >>> optimizer = optim.Lookahead(optim.SGD([weight], lr=0.1), k=2, alpha=0.5)
    >>> for _ in range(2):
    ...     weight.grad = minigrad.ones(1)
    ...     optimizer.step()
    >>> weight  # half of the way that the fast weights went, to 0.8
    Parameter (weight):
    [0.9]
    """

    optimizer = argument(RENEW)
    base = fixed()
    momentum = fixed(lambda owner, name, value: check_option(_NAME, name, value, _TREATMENT))

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5, momentum: str = "keep") -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Lookahead: needs an optimizer, not {type(optimizer).__name__}")
        if any(each.name == _NAME for each in optimizer.periodic):
            raise TypeError("Lookahead: the optimizer already looks ahead")
        self.momentum = momentum
        optimizer.every(
            check_option(_NAME, "k", k, _COUNT),
            partial(_slow_step, momentum),
            name=_NAME,
            state={"slow": "param", **({"slow_momentum": 0.0} if momentum == "pullback" else {})},
            settings={"momentum": momentum},
            alpha=check_option(_NAME, "alpha", alpha, _UNIT),
        )
        self.base = optimizer

    @property
    def _chain(self) -> Periodic:
        return next(each for each in self.base.periodic if each.name == _NAME)

    @property
    def k(self) -> int:
        """The number of fast steps per slow step."""
        return self._chain.k

    @k.setter
    def k(self, value: int) -> None:
        self._chain.k = check_option(_NAME, "k", value, _COUNT)

    @property
    def alpha(self) -> float:
        """The length of the slow step."""
        return self._chain.options["alpha"]

    @alpha.setter
    def alpha(self, value: float) -> None:
        self._chain.options["alpha"] = check_option(_NAME, "alpha", value, _UNIT)

    @property
    def counter(self) -> int:
        """The number of fast steps so far."""
        return self._chain.counter

    # --- another name for the optimizer ----------------------------------------------------------------------------

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__")
        # While a copy is being made, it has no optimizer yet, but its own attributes may be read.
        if name in _OWN or name.startswith("__") or "base" not in own:
            return object.__getattribute__(self, name)
        return getattr(own["base"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.base, name, value)

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook`` with this object before each update, after the closure."""
        return self.base.register_step_pre_hook(partial(_call_with, self, hook))

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook`` with this object after each update."""
        return self.base.register_step_post_hook(partial(_call_with, self, hook))

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "momentum": self.momentum}

    def __setstate__(self, state: dict[str, Any]) -> None:
        early = vars(self)["_schedulers"]  # those that have already entered themselves
        vars(self).update(state)
        self.base._schedulers += early

    def __copy__(self) -> Self:
        """A name for a copy of the optimizer."""
        new = type(self).__new__(type(self))
        new.__setstate__(self.__getstate__() | {"base": copy.copy(self.base)})
        return new

    def __repr__(self) -> str:
        return f"Lookahead(k={self.k}, alpha={self.alpha}, momentum={self.momentum!r}, {self.base!r})"


def _call_with(name: Lookahead, hook: Hook, optimizer: Optimizer) -> None:
    hook(name)


_OWN = frozenset(name for name in vars(Lookahead) if not name.startswith("__"))
