"""Optimizer: a chain bound to a store and to param groups, with PyTorch's interface."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy.typing as npt

from ..autograd.graph import tick
from ..autograd.hooks import Hooks, RemovableHandle
from ..autograd.memory import Place, gather, placed
from ..autograd.modes import enable_grad
from ..autograd.tensor import Tensor
from ..autograd.tracing import run_update, tracer, tracers
from ..checks import Range, parameters_of, refuse_unknown, whole
from ..clipping.clip import Clip, Clips
from ..clipping.reports import ClipReport, nonfinite_error, reports
from ..devices.arrays import beside
from ..kernels.cohort import Member
from ..kernels.layout import Layout
from ..kernels.plan import Element, Plan
from ..kernels.program import Program
from ..kernels.store import Entry, ParameterStore
from ..provided import provided_by
from ..rules import Norm
from ..rules.options import Option, check_option, flag, option
from ._declared import Declared
from ._groups import ParamGroup, ParamGroups, named_groups
from ._periodic import Periodic, Rules
from ._slots import Slots
from ._state import KEYS, READ_ONLY, Kept, StateView, chosen_names, export_state, import_state
from ._watch import Watch
from .chain import PlanText
from .common import negate
from .meaning import Meaning

if TYPE_CHECKING:
    from .explanation import Explanation  # only a type here, and it takes a while to import

Array = npt.NDArray[Any]
Hook = Callable[["Optimizer"], None]


T = TypeVar("T")


class _Placed:
    """An attribute that depends on where the parameters are, or that belongs to one optimizer.

    A copy sets all of them when one is first read, because until then its parameters may be unfinished themselves.
    Once they are set, the instance's own attributes are found before this descriptor.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        if "_saved" not in vars(optimizer):
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")
        optimizer._place()
        return getattr(optimizer, self._name)


def _placed(kind: type[T]) -> T:
    return cast(T, _Placed())


class Optimizer(Declared):
    """Base of every optimizer. A new one declares its options and states its chain::

        class SignDescent(optim.Optimizer):
            lr: float = optim.option(1e-3, optim.at_least(0))

            def chain(self):
                return [take_sign, optim.apply_update]

    The constructor of such a class takes the options in declared order, after the parameters, and ``maximize`` and
    ``clip`` by name: ``SignDescent(model.parameters(), 0.1, clip=...)``. A class may also define its own constructor,
    which calls this one with ``defaults``. A class can declare the meaning of its state (`meaning`).

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dictionaries with the key ``"params"`` and the options
            whose values differ for this group.
        defaults: every option with its default, or with its default and range (`minigrad.optim.option`).
        clip: one or more clips (`minigrad.clipping`), which act on the gradient first, in this order. Their thresholds
            become options of the groups.
        chain: rules and norms in order (`chain`), for an optimizer without its own class.
        maximize: whether to climb instead of descend: the gradient is negated before the chain. An option of the
            groups; an optimizer that is given ``defaults`` has it if it is among them.

    The parameters move into one contiguous buffer per dtype (`ParameterStore`), on their device: their ``data`` and
    ``grad`` are views of it from then on. What shares memory with a parameter, or was kept of a gradient, is safe from
    that; `minigrad.autograd.memory` has the rule. A parameter whose gradient is ``None`` is skipped, and its
    count of steps does not change.

    Copied or pickled together at any time, as in ``pickle.dumps((model, optimizer, scheduler))``, all of them continue
    training to the same bits. Hooks are copied; a `watch` stays with the original. Dropout draws from
    `minigrad.random`, whose state is not part of a pickle (it is part of a `minigrad.training.Run`).

    Attributes:
        declared: the options that the class declares, each with its default and range.
        stepped: whether the last `step` changed the parameters; a clip that skips non-finite gradients may not have.
        skipped: how many steps were skipped.
        periodic: the chains that run after every k-th update (`every`).
        steps: how many times `step` has run, skipped or not; schedulers use it to see whether it has.

    Raises:
        ValueError: for no parameters, a parameter given twice, or an option outside its range.
        TypeError: for an unknown option, or something that is not a tensor.
    """

    # Further arguments of every optimizer that declares its options.
    params: Iterable[Any]
    _: KW_ONLY
    maximize: bool = option(False, flag())
    clip: Clips = None

    store = _placed(ParameterStore)
    _groups = _placed(ParamGroups)
    # The number of each parameter's group; all parameters with their places, and their entries in the store.
    _group_of = _placed(dict[str, int])
    _bound = _placed(list[tuple[Tensor, Place]])
    _bound_entries = _placed(list[Entry])
    # State; ages, and carried numbers, of parameters that no cohort holds at the moment.
    _state = _placed(Slots)
    _ages = _placed(dict[str, int])
    _carried = _placed(dict[str, dict[str, float]])

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "chain" in vars(cls) and "meaning" not in vars(cls):
            cls.meaning = Optimizer.meaning  # type: ignore[method-assign]  # an inherited one is of another chain

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        known = parameters_of(cls.__init__) if kwargs else None
        if known is not None:
            refuse_unknown(cls.__name__, kwargs, known)
        self = super().__new__(cls)
        # Those that set options, in the order in which they were made; here, since in a copy they may come first.
        # Not through vars(self): an instance whose dictionary was asked for has slower attributes.
        object.__setattr__(self, "_schedulers", [])
        return self

    def __init__(
        self,
        params: Iterable[Any],
        defaults: Mapping[str, Any],
        *,
        clip: Clips = None,
        chain: Sequence[Element] | None = None,
    ) -> None:
        self._schedulers: list[weakref.ref[Any]]
        self._given_chain = chain
        # The fixed settings of the whole optimizer, as values that JSON can hold. A subclass may set more before this.
        self.settings: dict[str, Any] = getattr(self, "settings", {}) | self._fixed_settings()
        self._clips = _numbered(type(self).__name__, clip)
        declared = {name: value if isinstance(value, Option) else Option(value) for name, value in defaults.items()}
        if "maximize" in declared:
            declared["maximize"] = Option(declared["maximize"].value, flag())
        for one in self.clips:
            declared |= one.declared
        # The allowed values of the options that declare a range.
        self.ranges: dict[str, Range] = {name: each.range for name, each in declared.items() if each.range is not None}
        self.defaults = {
            name: check_option(type(self).__name__, name, each.value, each.range) for name, each in declared.items()
        }
        self.check_options(self.defaults)
        self._groups, self._bound = self._no_groups(), []
        self._state, self._ages, self._carried = Slots(), {}, {}
        self._pre_hooks, self._post_hooks = Hooks(), Hooks()
        # Called when the chain has run, before chains with a period.
        self._update_hooks = Hooks()
        self._watches: tuple[Watch, ...] = ()
        self.periodic: tuple[Periodic, ...] = ()
        self._program: Program | None = None
        self._layout: Layout | None = None
        self.stepped = False
        self.skipped = self.steps = 0
        self._regroup(named_groups(type(self).__name__, params))

    # --- what a subclass defines ---------------------------------------------------------------------------------

    def chain(self) -> list[Element]:
        """The rules and norms of one update, in order. Called again when an option is switched on or off."""
        if self._given_chain is None:
            name = type(self).__name__
            raise NotImplementedError(f"{name} does not define its chain: define chain(), or pass chain=")
        return list(self._given_chain)

    def meaning(self) -> Meaning | None:
        """The meaning of this chain's state; a recorder leaves out effective rates and signals if it is ``None``.

        A class that defines `chain` does not inherit it, since its chain may keep other state.
        """
        return None

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError where the defaults of options do not fit together, each of which is in its range."""

    def parameter_options(self, group: Mapping[str, Any], entry: Entry) -> dict[str, float]:
        """Per-parameter overrides of the group's numeric options; by default none."""
        return {}

    def first_carried(self, entry: Entry) -> dict[str, float]:
        """The numbers that rules carry at first, when such a rule joins the chain, maybe in the middle of a run."""
        return {}

    def uses(self, option: str) -> bool:
        """Whether an option is switched on (not 0, not False, not None) in any group.

        A tuple such as ``"betas"`` is on if any of its values is, and ``"beta3"`` if the third is.
        """
        return any(
            any(value) if isinstance(value, tuple) else bool(value)
            for group in self._groups
            for value in [group[option] if option in group else group.scalars().get(option)]
        )

    def _fixed_settings(self) -> dict[str, Any]:
        values = {
            name: getattr(self, name) for name, each in self.declared.items() if each.fixed and name in vars(self)
        }
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if not callable(v)}

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips, in order. They cannot change, since options and kernels follow from them."""
        return self._clips

    # --- param groups --------------------------------------------------------------------------------------------

    @property
    def param_groups(self) -> list[ParamGroup]:
        """The param groups: a list whose changes the optimizer follows (`ParamGroups`). Assigning replaces them all."""
        return self._groups

    @param_groups.setter
    def param_groups(self, groups: Iterable[Mapping[str, Any]]) -> None:
        self._regroup(groups)

    def _no_groups(self) -> ParamGroups:
        return ParamGroups(type(self).__name__, self.defaults, self.ranges, self._regroup)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with their own options. The state of the other parameters is kept.

        Raises:
            ValueError: if one of the parameters is already in a group, or an option is outside its range.
            TypeError: for an unknown option.
        """
        if not isinstance(group, Mapping):
            raise TypeError(f"add_param_group: needs a dictionary with 'params', not {type(group).__name__}")
        self._regroup([*self._groups, group])

    def _regroup(self, wanted: Iterable[Any]) -> None:
        """Use these groups, in this order; parameters that stay keep their state."""
        groups = self._groups.arranged(wanted)
        everyone = [pair for group in groups for pair in group.named]
        for clip in self.clips:
            clip.check(name for name, _ in everyone)
        before = [pair for group in self._groups for pair in group.named]
        same = {(name, id(parameter)) for name, parameter in before} == {(n, id(p)) for n, p in everyone}
        where = same and all(parameter._place is place for parameter, place in self._bound)
        store = self.store if where else ParameterStore(everyone)
        inits = {**Plan(self._elements()).inits, **self._periodic_state()} if self._state else {}
        kept = self._kept(before)
        for group in self._groups:
            if not any(group is each for each in groups):
                group.parted = {id(p): copy.deepcopy(kept[id(p)]) for _, p in group.named}
        for group in groups:
            kept, group.parted = kept | group.parted, {}
        self._groups.hold(groups)
        self.store = store
        self._bound = [(parameter, placed(parameter)) for _, parameter in everyone]
        self._bound_entries = [store.entries[name] for name, _ in everyone]
        self._group_of = {name: i for i, group in enumerate(groups) for name, _ in group.named}
        self._ages = {name: kept[id(p)].age if id(p) in kept else 0 for name, p in everyone}
        self._carried = {name: kept[id(p)].carried for name, p in everyone if id(p) in kept and kept[id(p)].carried}
        self._program = self._layout = None
        slots = tuple(self._state)
        self._state = Slots(store.buffers, {name: group for group in groups for name, _ in group.named})
        for slot in slots:
            self._state.make(slot, inits.get(slot, 0.0))
            arrays = self._state.views(slot)
            for name, p in everyone:
                if id(p) in kept and slot in kept[id(p)].arrays:
                    arrays[name][...] = kept[id(p)].arrays[slot]

    def _kept(self, named: Iterable[tuple[str, Tensor]]) -> dict[int, Kept]:
        """The state of each parameter by its identity; the arrays are views."""
        slots = {slot: self._state.views(slot) for slot in self._state}
        ages, carried = self._all_ages(), self._all_carried()
        return {
            id(p): Kept(ages[name], carried.get(name, {}), {slot: arrays[name] for slot, arrays in slots.items()})
            for name, p in named
        }

    # --- one step ------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, without changing the gradients.

        Args:
            closure: called before the update to compute the loss and its gradients; its result is returned.

        Raises:
            TypeError: if the dtype or shape of a parameter has changed since the optimizer was made.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if self._pre_hooks:
            if tracers:
                tracer().beginning(self)
            for hook in tuple(self._pre_hooks.values()):
                hook(self)
        if tracers:
            run_update(self)
        else:  # the same, at a frame less
            layout = self.begin_update()
            self.end_update(layout, layout.run())
        if self._post_hooks:
            for hook in tuple(self._post_hooks.values()):
                hook(self)
        return loss

    def begin_update(self) -> Layout:
        """Make the next update ready: options, gradients and scalars; the first time, kernels are compiled.

        Returns:
            The layout to run.
        """
        self.stepped = False
        layout = self._ready()
        if self.periodic:
            self._begin_periodic(layout)
        layout.refresh_scalars()
        return layout

    def end_update(self, layout: Layout, stopped: Norm | None) -> None:
        """Account for an update that has run, or that a norm has stopped."""
        periodic = self.periodic
        if stopped is not None:
            if stopped.nonfinite == "raise":
                raise nonfinite_error(stopped, layout)
            self.skipped += 1
            self.steps += 1
            return
        self.stepped = True
        self.steps += 1
        for cohort in layout.cohorts:
            cohort.age += 1
        now = tick()
        for version in layout.versions:
            version[0] = now
        if periodic:
            for each in periodic:
                each.counter += 1  # before hooks look at the state, which begins while this is 0
            for hook in tuple(self._update_hooks.values()):
                hook(self)
            for each in periodic:
                if each.is_due():
                    each.run(layout, self.store, self._state)

    def advance(self, layout: Layout, steps: int) -> None:
        """Account for updates that compiled code has made; a chain with a period may be due only after the last."""
        layout.advance(steps - 1)
        self.steps += steps - 1
        for each in self.periodic:
            each.counter += steps - 1
        self.end_update(layout, None)

    def restart(self, new: Optimizer) -> None:
        """Continue as a new optimizer that was made in the same way, but for the numbers among its options."""
        for group, theirs in zip(self._groups, new._groups, strict=True):
            for name in theirs.known:
                group[name] = theirs[name]
        inits = {**self.prepare().plan.inits, **self._periodic_state()}
        for slot in self._state:
            self._state.fill(slot, inits.get(slot, 0.0), self.store.entries)
        self._ages = dict.fromkeys(self._ages, 0)
        self._carry({})
        cohorts = [] if self._layout is None else self._layout.cohorts
        if self._carried or len({cohort.age for cohort in cohorts}) > 1:
            self._layout = None  # the cohorts will be others
        for cohort in cohorts:
            cohort.age = 0
        self.steps = self.skipped = 0
        for each in self.periodic:
            each.counter = 0

    def scalars_ahead(self, ahead: int, steps: int = 1) -> Array:
        """The scalars of updates that come after ``ahead`` others, with the present options, a row for each."""
        rows: Array = self._ready().scalar_rows(steps, ahead)
        return rows

    def _ready(self) -> Layout:
        """The layout for the present gradients, with the present options."""
        layout = self._layout
        for group in self._groups:
            if group.changed:
                layout = self._refresh_options()
                break
        for parameter, place in self._bound:
            grad = parameter._grad
            if grad is None or grad._data is not place.window:
                return self._regather()
        if layout is None or layout.missing:
            return self._regather()
        return layout

    def _regather(self) -> Layout:
        """Copy in gradients that are elsewhere, and make a new layout if the set of missing gradients has changed."""
        if any(parameter._place is not place for parameter, place in self._bound):
            self.store.check()
            self._regroup(self._groups)  # it was converted to another dtype or device and back
        missing = {self._bound_entries[number] for number in gather(self._bound)}
        if self._layout is None or self._layout.missing != missing:
            self._layout = self._make_layout(missing)
        return self._layout

    def _refresh_options(self) -> Layout | None:
        """Read the options again, and plan again if one was switched on or off."""
        if any(group.restructured for group in self.param_groups):
            # The cohorts change in any case, since an override may depend on the option.
            self._ages, self._carried = self._all_ages(), self._all_carried()
            self._layout = None
            if self._program is not None and Plan(self._elements()).elements != self._program.plan.elements:
                self._program = None
        if self._layout is not None:
            self._bind_options(self._layout)
        for group in self.param_groups:
            group.changed = group.restructured = False
        return self._layout

    def _bind_options(self, layout: Layout) -> None:
        layout.bind_options([group.scalars() for group in self.param_groups], self._groups)

    def _elements(self) -> list[Element]:
        clips = [element for clip in self.clips for element in clip.elements]
        own: Any = self.chain()
        if not isinstance(own, Iterable):
            raise TypeError(f"{type(self).__name__}: chain() must return a list of rules and norms, not {own!r}")
        return [*clips, *([negate] if self.uses("maximize") else []), *own]

    def prepare(self) -> Program:
        """Plan the chain and compile its kernels, or load them from the cache. By default the first step does so."""
        if any(group.changed for group in self.param_groups):
            self._refresh_options()
        if self._program is None:
            program = Program(Plan(self._elements()), self.store)
            # State that no rule reads anymore is dropped, so that the slots depend only on the options.
            for slot in self._state.keys() - {*program.plan.state, *self._periodic_state()}:
                del self._state[slot]
            for slot in program.plan.state:
                if slot not in self._state:
                    self._state.make(slot, program.plan.inits.get(slot, 0.0))
            self._program = program
            self._carry(self._carried)
            for each in self.periodic:
                each.program(self.store, program.plan.state)
        return self._program

    def _carry(self, known: Mapping[str, Mapping[str, float]]) -> None:
        """Keep the numbers that rules carry: those that are known of a parameter, or the first ones."""
        assert self._program is not None
        carry = self._program.plan.carry
        self._carried = {}
        for name, entry in self.store.entries.items() if carry else ():
            numbers = known[name] if name in known else self.first_carried(entry)
            self._carried[name] = {key: value for key, value in numbers.items() if key in carry}

    def _make_layout(self, missing: set[Entry]) -> Layout:
        program = self.prepare()
        ages, carried = self._all_ages(), self._all_carried()
        members = []
        for entry in self.store.entries.values():
            if entry in missing:
                continue
            number = self._group_of[entry.name]
            overrides = dict(self.parameter_options(self.param_groups[number], entry))
            for clip in self.clips:
                overrides |= clip.overrides(entry)
            members.append(Member(entry, number, ages[entry.name], overrides, carried.get(entry.name, {})))
        layout = program.lay_out(members, self._state.by_buffer())
        self._bind_options(layout)
        self._ages, self._carried = ages, carried
        return layout

    # --- chains with a period ------------------------------------------------------------------------------------

    def every(
        self,
        k: int,
        rules: Rules,
        *,
        name: str,
        state: Mapping[str, float | str] | None = None,
        settings: Mapping[str, Any] | None = None,
        **options: float,
    ) -> Periodic:
        """Run a second chain after every ``k``-th update, as `Lookahead` does with its slow step.

        The rules may move the parameters, or only keep state, such as an average of the weights. A parameter that had
        no gradient in that update is left alone, and so is its state.

        Args:
            k: the number of updates per run.
            rules: the rules in order, of which one returns ``param`` or state; or a function that chooses them by the
                names of the state that this optimizer keeps.
            name: its name in messages; in lower case, its key in the state dict.
            state: its slots of state, with their first values: a number, or ``"param"`` for the
                parameter just before its first step.
            settings: the values that a state dict must agree with to be loaded; they must be valid in JSON.
            **options: numbers that the rules read by name.

        Raises:
            ValueError: for a name that is taken in the state dict, or a slot of state that the optimizer already keeps.

        An exponential moving average of the weights:

        >>> @optim.rule(state=("average",))
        ... def average_weights(param, average, *, decay):
        ...     average = decay * average + (1 - decay) * param
        ...     return average
        >>> weight = nn.Parameter([1.0])
        >>> optimizer = optim.SGD([weight], lr=0.5)
        >>> kept = optimizer.every(1, [average_weights], name="average", state={"average": "param"}, decay=0.75)
        >>> for _ in range(2):
        ...     weight.grad = minigrad.ones(1)
        ...     optimizer.step()
        >>> weight.item(), optimizer.state[weight]["average"].item()  # the average goes from 1 to 0.875, 0.65625
        (0.0, 0.65625)

        The slow step of Lookahead, which moves the parameters:

        >>> from minigrad.optim.lookahead import look_ahead
        >>> weight = nn.Parameter([1.0])
        >>> optimizer = optim.SGD([weight], lr=0.1)
        >>> slow = optimizer.every(2, [look_ahead], name="Slow", state={"slow": "param"}, alpha=0.5)
        >>> for _ in range(2):
        ...     weight.grad = minigrad.ones(1)
        ...     optimizer.step()
        >>> weight
        Parameter (weight):
        [0.9]
        """
        wanted = state or {}
        taken = (*Plan(self._elements()).state, *self._periodic_state())
        for slot in wanted:
            if slot in taken:
                raise ValueError(f"{name}: {type(self).__name__} keeps a state named {slot!r} itself; rename it")
        made = Periodic(name, whole(name, "k", k), rules, wanted, options, settings or {})
        if made.key in (*KEYS, *(each.key for each in self.periodic)):
            raise ValueError(
                f"{name}: the state dict of {type(self).__name__} already has a key {made.key!r}; rename it"
            )
        for slot, first in wanted.items():
            self._state.make(slot, first)
        self.periodic = (*self.periodic, made)
        return made

    def _begin_periodic(self, layout: Layout) -> None:
        first = any(cohort.age == 0 for cohort in layout.cohorts)
        for each in self.periodic:
            if first or not each.counter:
                each.begin(self._all_ages(), self._state)

    def _periodic_state(self) -> dict[str, float | str]:
        return {slot: first for each in self.periodic for slot, first in each.state.items()}

    # --- state ---------------------------------------------------------------------------------------------------

    def _age(self, name: str) -> int:
        """How many steps one parameter has taken."""
        entry = self.store.entries[name]
        for cohort in () if self._layout is None else self._layout.cohorts:
            if entry in cohort.entries:
                return cohort.age
        return self._ages[name]

    def _all_ages(self) -> dict[str, int]:
        """How many steps each parameter has taken."""
        held = {} if self._layout is None else {e.name: c.age for c in self._layout.cohorts for e in c.entries}
        return self._ages | held

    def _all_carried(self) -> dict[str, dict[str, float]]:
        """The numbers that the rules carry for each parameter, by name."""
        layout = self._layout
        if layout is None or not layout.plan.carry:
            return dict(self._carried)
        return self._carried | {entry.name: cohort.carried() for cohort in layout.cohorts for entry in cohort.entries}

    def _restore(
        self, state: Mapping[str, Mapping[str, Any]], slots: Iterable[str], carried: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Take over state that was checked, after its options were set."""
        self._program = self._layout = None
        self._ages = {name: int(values["step"]) for name, values in state.items()}
        self._carried = {name: dict(values) for name, values in carried.items()}
        self._state.clear()
        for slot in slots:
            self._state.make(slot, 0.0)
            for name, array in self._state.views(slot).items():
                array[...] = beside(state[name][slot], array)

    @property
    def state(self) -> StateView:
        """The number of steps and the state of each parameter, by its name or itself, as views of the flat arrays.

        The mapping follows the optimizer and is read-only, but its arrays may be written in place, and the next step
        uses what was written. Read an array again after `add_param_group`, which moves the state.
        """
        for each in self.periodic:
            each.begin(self._all_ages(), self._state)
        return StateView(self)

    @state.setter
    def state(self, value: Any) -> None:
        raise AttributeError(READ_ONLY)

    def reset_state(self, names: Any = None) -> None:
        """Forget the state, so that the next step is like the first one.

        Args:
            names: the parameters whose state to forget, by their names or themselves; by default all of them.

        Raises:
            ValueError: for a parameter that the optimizer does not have; nothing has changed then.

        >>> weight = nn.Parameter([1.0, 2.0])
        >>> optimizer = optim.Adam([weight])
        >>> (weight**2).sum().backward()
        >>> optimizer.step()
        >>> optimizer.reset_state([weight])
        >>> optimizer.state[weight]["step"], optimizer.state[weight]["exp_avg"]
        (0, array([0., 0.], dtype=float32))
        """
        chosen = chosen_names(self, "reset_state", names)
        self._ages, self._carried = self._all_ages() | dict.fromkeys(chosen, 0), self._all_carried()
        self._carried |= {name: {} for name in chosen}
        self._program = self._layout = None
        inits = {**self.prepare().plan.inits, **self._periodic_state()}
        for slot in self._state:
            self._state.fill(slot, inits.get(slot, 0.0), chosen)
        for each in self.periodic if names is None else ():
            each.counter = 0

    def _views(self) -> dict[str, dict[str, Any]]:
        slots = {slot: self._state.views(slot) for slot in self._state}
        return {
            name: {"step": age, **{slot: arrays[name] for slot, arrays in slots.items()}}
            for name, age in self._all_ages().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Copy everything that a resumed run needs, by parameter name, on the device of the parameters."""
        return export_state(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state dict, matched by parameter name, from any device.

        Raises:
            ValueError: for the state of another optimizer or model, a missing or unknown name, or another shape;
                nothing has changed then.
        """
        import_state(self, state_dict)

    # --- copies: `copy.copy`, `copy.deepcopy` and `pickle` ---------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Everything except compiled kernels. Schedulers register themselves; a watch stays with the original."""
        saved = {"groups": list(self._groups), "restored": (self._views(), tuple(self._state), self._all_carried())}
        own = {name: value for name, value in vars(self).items() if name != "_schedulers" and name not in _PLACED}
        return own | {"_saved": saved, "_program": None, "_layout": None, "_watches": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def _place(self) -> None:
        saved = vars(self).pop("_saved")
        self._groups, self._bound = self._no_groups(), []
        self._state, self._ages, self._carried = Slots(), {}, {}
        try:
            self._regroup(saved["groups"])
            self._restore(*saved["restored"])
        except BaseException:
            for name in _PLACED & vars(self).keys():
                del vars(self)[name]
            self._saved = saved
            raise

    def __copy__(self) -> Self:
        """An optimizer of the same parameters with its own options and state."""
        state = self.__getstate__()
        state["_saved"] = state["_saved"] | {"groups": [copy.copy(group) for group in self._groups]}
        own = {name: copy.copy(vars(self)[name]) for name in ("_pre_hooks", "_post_hooks", "_update_hooks")}
        own["periodic"] = tuple(map(copy.copy, self.periodic))
        new = type(self).__new__(type(self))
        new.__setstate__(state | own)
        return new

    # --- the rest of PyTorch's interface -----------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` set them to zero, which counts as a gradient."""
        if tracers:
            for parameter, _ in self._bound:
                tracer().clearing(parameter)
        for parameter, _ in self._bound:
            if set_to_none:
                parameter._grad = None
            elif parameter._grad is not None:
                if parameter._grad._requires_grad:
                    parameter._grad = parameter._grad.detach()
                parameter._grad.zero_()

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer)`` before each update, after the closure."""
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer)`` after each update."""
        return RemovableHandle(self._post_hooks, hook)

    # --- seeing inside -------------------------------------------------------------------------------------------

    def watch(self, names: str | Iterable[str] | None = None) -> Watch:
        """Keep the values that each step overwrites, so that `explain` can explain the last step afterwards::

            with optimizer.watch("0.weight"):
                optimizer.step()
            print(optimizer.explain("0.weight", (3, 7)))

        A watched step computes the same bits; it copies the parameters, their gradients and their state before the
        update, and the results of the update.

        Args:
            names: of the parameters to watch; all of them by default.

        Returns:
            A handle, whose ``remove()`` ends the watch, as does leaving a ``with`` block.

        Raises:
            ValueError: for a parameter that the optimizer does not have.
        """
        watch = Watch(self, names)
        self._watches = (*(each for each in self._watches if each.active), watch)
        return watch

    @provided_by("minigrad.study.explanations._update")
    def explain(self, name: str, index: int | Sequence[int] = (), *, coming: bool = False) -> Explanation:
        """Explain the last update of one weight: every term in order, with the rules' own lines. Print the result.

        Args:
            name: of the parameter.
            index: of the weight in it: ``(3, 7)``.
            coming: explain the update that the next step would make with the present gradients, without making it;
                that needs no watch.

        Raises:
            RuntimeError: if no step was watched (`watch`). A note reports if the watched step is not the last one.
            ValueError: for a parameter that the optimizer does not have.
            IndexError: for an index that the parameter does not have.
        """
        raise NotImplementedError

    @property
    def algorithm(self) -> str:
        """The name of the class whose chain makes the update, ``"SGD"`` also for a `Lookahead` around SGD."""
        return type(self).__name__

    @property
    def title(self) -> str:
        """The algorithm with its chains with a period, such as ``"Lookahead around SGD"``."""
        return " around ".join([*(each.name for each in reversed(self.periodic)), self.algorithm])

    def origins(self, group: int) -> dict[str, str]:
        """For each scheduled option of a param group, by the name that rules know, a text about what set its value."""
        found: dict[str, str] = {}
        self._schedulers[:] = [ref for ref in self._schedulers if ref() is not None]
        for ref in self._schedulers:
            scheduler = ref()
            for name, words in () if scheduler is None else scheduler.origins(group).items():
                found[name] = words or found.get(name) or "set by hand, after a scheduler"
        return found

    def clip_reports(self) -> list[ClipReport]:
        """Report the effect of each clip in the last step, for each range of its scope."""
        return [] if self._layout is None else reports(self.clips, self._layout)

    def plan(self, device: str | None = None) -> PlanText:
        """The passes of one step, the bytes that each moves, and the source of the kernels. Print the result.

        Args:
            device: show the kernels of ``"cpu"`` or ``"cuda"``, which need not be available; by default, the
                parameters' device.
        """
        plan, device = Plan(self._elements()), device or self.store.device
        dtypes = [buffer.dtype for buffer in self.store.buffers]
        later = {(each.name, each.k): PlanText(each.plan(plan.state), dtypes, device) for each in self.periodic}
        return PlanText(plan, dtypes, device, later)

    def __repr__(self) -> str:
        groups = "\n".join(f"  {group!r}" for group in self.param_groups)
        return f"{type(self).__name__}(\n{groups}\n)"


_PLACED = {name for name, value in vars(Optimizer).items() if isinstance(value, _Placed)}


def _numbered(owner: str, clip: Clips) -> tuple[Clip, ...]:
    """The clips, with numbers in the names of options and norms that an earlier clip has too."""
    given: list[Any] = [] if clip is None else list(clip) if isinstance(clip, list | tuple) else [clip]
    for one in given:
        if not isinstance(one, Clip):
            raise TypeError(f"{owner}: clip must come from minigrad.clipping, such as by_global_norm(1.0), not {one!r}")
    return tuple(
        one.numbered(1 + sum(bool(one.names & earlier.names) for earlier in given[:i])) for i, one in enumerate(given)
    )
