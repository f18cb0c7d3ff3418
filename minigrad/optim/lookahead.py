"""Lookahead: slow weights that follow any optimizer's fast ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

from ..attributes import RENEW, argument, fixed, setting, unchecked
from ..autograd.graph import tick
from ..autograd.hooks import Hooks
from ..checks import Range
from ..clipping import Clip
from ..clipping.reports import ClipReport
from ..kernels.cohort import Member
from ..kernels.layout import Layout
from ..kernels.plan import Element, Plan
from ..kernels.program import Program
from ..kernels.store import ParameterStore
from ..rules import Rule, rule
from ..rules.options import between, check_option
from ._groups import ParamGroup
from ._state import StateView, chosen_names, export_state, import_state, same_keys, whole_number
from ._watch import Slow
from .chain import PlanText
from .optimizer import Optimizer


@rule(state=("slow",))
def look_ahead(param, slow, *, slow_step):
    """The slow weights go part of the way; the fast ones begin anew from there."""
    slow = slow + slow_step * (param - slow)
    param = slow
    return param, slow


@rule(state=("momentum",))
def reset_momentum(momentum):
    """Forget the first moment."""
    momentum = 0.0
    return momentum


@rule(state=("momentum", "slow_momentum"))
def pull_back_momentum(momentum, slow_momentum, *, slow_step):
    """The same interpolation, of the first moment."""
    slow_momentum = slow_momentum + slow_step * (momentum - slow_momentum)
    momentum = slow_momentum
    return momentum, slow_momentum


def _whole(owner: Any, name: str, value: Any) -> int:
    number = check_option("Lookahead", name, value)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"Lookahead: {name} must be a whole number of 1 or more, not {value!r}")
    return number


_UNIT = Range("in [0, 1]", between(0, 1).allows)


def _fraction(owner: Any, name: str, value: Any) -> float:
    number: float = check_option("Lookahead", name, value, _UNIT)
    return number


def _treatment(owner: Any, name: str, value: Any) -> str:
    if value not in ("keep", "reset", "pullback"):
        raise ValueError(f"Lookahead: {name} must be 'keep', 'reset' or 'pullback', not {value!r}")
    return str(value)


class Lookahead(Optimizer):
    """Lookahead around another optimizer, which moves the fast weights θ; every k steps::

        s ← s + α(θ - s)
        θ ← s

    The slow weights s begin as the parameters are just before the first step, so weights can be loaded until then;
    after weights were loaded in the middle of a run, `reset_state` begins again. Steps are counted here, whatever the
    gradients; at a synchronization a parameter without a gradient is left alone.

    Args:
        optimizer: the one that moves the fast weights. Its param groups, hooks and options are this one's.
        k: how many fast steps there are to a slow one.
        alpha: α, the length of the slow step.
        momentum: what becomes of the first moment (``momentum_buffer`` or ``exp_avg``) at a slow step: ``"keep"``,
            ``"reset"`` to 0, or ``"pullback"``, the same interpolation with a slow momentum that begins at 0.

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
    base: Optimizer = fixed(unchecked)
    k, alpha = setting(_whole), setting(_fraction)
    momentum: str = fixed(_treatment)

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5, momentum: str = "keep") -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Lookahead: needs an optimizer, not {type(optimizer).__name__}")
        if isinstance(optimizer, Lookahead):
            raise TypeError("Lookahead: the optimizer looks ahead already")
        self.base, self.k, self.alpha, self.momentum = optimizer, k, alpha, momentum
        for slot in ("slow", "slow_momentum", "momentum"):
            if slot in Plan(optimizer._elements()).state:
                raise ValueError(
                    f"Lookahead: {type(optimizer).__name__} keeps a state named {slot!r} itself; rename it"
                )
        self.counter = self.steps = 0
        self.defaults = optimizer.defaults
        self._pre_hooks, self._post_hooks, self._watches = Hooks(), Hooks(), ()
        self._schedulers = optimizer._schedulers
        self._slow: Layout | None = None
        self._fast: Plan | None = None  # whose state the slow step reads
        optimizer.extra_slots = {"slow": "param", **({"slow_momentum": 0.0} if momentum == "pullback" else {})}
        for slot, init in optimizer.extra_slots.items():
            optimizer._make_slot(slot, init)
        # The parameters whose slow weights have begun, as of which store.
        self._begun: frozenset[str] = frozenset()
        self._begun_in: ParameterStore | None = None

    def _begin_slow(self) -> None:
        """Begin the slow weights of parameters that are about to take their first step at what they are now."""
        if self._begun_in is not self.store:
            self.base._fill("slow", "param", self.store.entries.keys() - self._begun)

    @property
    def store(self) -> ParameterStore:  # type: ignore[override]  # the one of the optimizer inside
        """The parameters of the optimizer inside."""
        return self.base.store

    @property
    def state(self) -> StateView:
        """The state of the optimizer inside, with the slow weights as ``slow``."""
        self._begin_slow()
        return self.base.state

    @state.setter
    def state(self, value: Any) -> None:
        self.base.state = value

    @property
    def param_groups(self) -> list[ParamGroup]:
        """The param groups of the optimizer inside."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self.base.param_groups = groups

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of the optimizer inside."""
        return self.base.clips

    @property
    def stepped(self) -> bool:  # type: ignore[override]  # the optimizer inside says so
        """Whether the last fast step changed the parameters."""
        return self.base.stepped

    @property
    def skipped(self) -> int:  # type: ignore[override]  # the optimizer inside counts them
        """How many fast steps were skipped."""
        return self.base.skipped

    @property
    def innermost(self) -> Optimizer:
        """The optimizer inside."""
        return self.base

    def slow_step(self) -> Slow:
        """Where in the cycle the run stands, and the rules of its slow step."""
        rules = self._slow_rules()
        return Slow(self.k, self.alpha, self.counter, rules, self._first_moment() if len(rules) > 1 else None)

    def clip_reports(self) -> list[ClipReport]:
        """What each clip did in the last fast step."""
        return self.base.clip_reports()

    def plan(self, device: str | None = None) -> PlanText:
        """The plan of a fast step."""
        return self.base.plan(device)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "_schedulers"}
        begun = self._begun if self._begun_in is not self.base.store else frozenset(self.store.entries)
        return own | {"_slow": None, "_fast": None, "_watches": (), "_begun": begun, "_begun_in": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        early = self._schedulers  # those that have entered themselves already
        vars(self).update(state)
        self._schedulers = self.base._schedulers
        self._schedulers += early

    def __copy__(self) -> Self:
        """An optimizer of the same parameters with its own options and state."""
        base = copy.copy(self.base)
        hooks = {name: copy.copy(vars(self)[name]) for name in ("_pre_hooks", "_post_hooks")}
        new = type(self).__new__(type(self))
        new.__setstate__(self.__getstate__() | hooks | {"base": base, "defaults": base.defaults})
        return new

    def chain(self) -> list[Element]:
        """The chain of the optimizer inside; the slow step is a plan of its own."""
        return self.base.chain()

    def prepare(self) -> Program:
        """Compile the kernels of the optimizer inside and that of the slow step."""
        self._slow_program()
        return self.base.prepare()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters to the optimizer inside; their slow weights begin with their first step."""
        self.base.add_param_group(group)

    def reset_state(self, names: Any = None) -> None:
        """Forget the state of the optimizer inside; the slow weights begin again at the next step.

        Args:
            names: the parameters to do it for, by their names or themselves; by default all of them, and the count
                of steps between synchronizations, too.
        """
        self.base.reset_state(names)
        self._begun -= frozenset(chosen_names(self.base, "reset_state", names))
        self._begun_in = None
        if names is None:
            self.counter = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.base.zero_grad(set_to_none)

    def _update(self) -> None:
        beginning = self._begun_in is not self.base.store
        if beginning:
            self._begin_slow()
        self.base.step()
        if not self.base.stepped:
            return  # skipped, and so is its place in the cycle
        if beginning:
            self._begun, self._begun_in = frozenset(self.store.entries), self.store
        self.counter += 1
        if self.counter % self.k == 0:
            layout = self._slow_layout()
            layout.run()
            now = tick()
            for version in layout.versions:
                version[0] = now

    def _first_moment(self) -> str | None:
        return next((s for s in ("momentum_buffer", "exp_avg") if s in self.base.prepare().plan.state), None)

    def _slow_rules(self) -> tuple[Rule, ...]:
        if self._first_moment() is None or self.momentum == "keep":
            return (look_ahead,)
        return (look_ahead, reset_momentum if self.momentum == "reset" else pull_back_momentum)

    def _slow_program(self) -> Program:
        return Program(Plan(self._slow_rules()), self.store)

    def _slow_layout(self) -> Layout:
        """The tables of the slow step, for the parameters that the fast step has just moved."""
        fast = self.base._layout
        assert fast is not None
        slow = self._slow
        alike = slow is not None and slow.missing == fast.missing and self._fast is fast.plan
        if slow is None or not alike or slow.cohorts[0].overrides["slow_step"] != self.alpha:
            program = self._slow_program()
            overrides = {"slow_step": self.alpha}
            members = [Member(e, overrides=overrides) for e in self.store.entries.values() if e not in fast.missing]
            states = []
            for number in range(len(self.store.buffers)):
                state = {slot: arrays[number] for slot, arrays in self.base._state.items()}
                first = state.get("momentum_buffer", state.get("exp_avg"))
                states.append(state if first is None else {**state, "momentum": first})
            self._slow = slow = program.lay_out(members, states)
            slow.bind_options([{}])
            self._fast = fast.plan
        return slow

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer inside with the slow weights, and where in the cycle of k steps the run stands."""
        slow = {"k": self.k, "alpha": self.alpha, "momentum": self.momentum, "counter": self.counter}
        self._begin_slow()
        return {**export_state(self.base), "lookahead": slow}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state dict of the same optimizer inside, with the same k, alpha and momentum."""
        slow = state_dict.get("lookahead")
        if not isinstance(slow, Mapping):
            raise ValueError("Lookahead: the state dict has no slow weights; it is of the optimizer without Lookahead")
        same_keys("state of Lookahead", slow, ("k", "alpha", "momentum", "counter"))
        for name in ("k", "alpha", "momentum"):
            if slow[name] != getattr(self, name):
                raise ValueError(f"Lookahead: {name} was {slow[name]!r} and is {getattr(self, name)!r} here")
        counter = whole_number("state of Lookahead: counter", slow["counter"])
        import_state(self.base, {k: v for k, v in state_dict.items() if k != "lookahead"})
        self.counter = counter
        self._begun = frozenset(self.store.entries) if counter else frozenset()
        self._begun_in = self.store if counter else None

    def __repr__(self) -> str:
        return f"Lookahead(k={self.k}, alpha={self.alpha}, momentum={self.momentum!r}, {self.base!r})"
