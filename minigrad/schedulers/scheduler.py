"""Scheduler: schedules bound to the options of an optimizer."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..autograd.tracing import tracer, tracers
from ..checks import is_number, same_keys, same_value, unknown, whole
from ..optim import Optimizer
from ._option import Option, Track, find_option
from .schedule import Function, Schedule, Step, as_schedule, check_step

__all__ = ["Scheduler"]

Curves = dict[str, npt.NDArray[np.float64]]


class OptionSetter:
    """Base of `Scheduler` and `ReduceLROnPlateau`: sets options of an optimizer, which knows it."""

    optimizer: Optimizer
    _options: dict[str, Option]

    def _enter(self) -> None:
        """Register the scheduler with the optimizer, by a weak reference, since the scheduler refers to it."""
        self.optimizer._schedulers.append(weakref.ref(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter()

    def get_last_values(self, option: str = "lr") -> list[float]:
        """The values that this scheduler has set last, one for each param group.

        Raises:
            ValueError: for an option that it does not schedule.
        """
        if option not in self._options:
            raise ValueError(f"{type(self).__name__}: {unknown('scheduled option', option, self._options)}")
        tracks = self._options[option].tracks_of(self.optimizer.param_groups)
        return [track.last for track in tracks if track.last is not None]

    def get_last_lr(self) -> list[float]:
        """The learning rates that this scheduler has set last, one for each param group."""
        return self.get_last_values("lr")

    def origins(self, group: int) -> dict[str, str | None]:
        """For each option of a param group, as text, how this scheduler set it; None if something else has since."""
        found: dict[str, str | None] = {}
        now = self.optimizer.param_groups[group]
        for name, option in self._options.items():
            track = option.track(now)
            if track.last is not None:  # a group that was added later has not been set yet
                found[name] = self._origin(name, track, group) if option.read(now) == track.last else None
        return found

    def _origin(self, name: str, track: Track, group: int) -> str:
        raise NotImplementedError


# An option of one param group and the schedule that sets it next; the start and factor become the track's when it does.
# A plain tuple, because every step makes one for each group.
Turn = tuple[Option, Track, Schedule, float, float]


def values_at(epoch: Step, turns: Sequence[Turn]) -> list[float]:
    """The value of each turn at a step."""
    return [factor * schedule.evaluate(epoch, start) for _, _, schedule, start, factor in turns]


class Scheduler(OptionSetter):
    """Sets an option of an optimizer to the value that a schedule has at each step::

        scheduler = schedulers.Scheduler(optimizer, schedulers.WarmupStableDecay(100, 800, 100))
        decay = schedulers.Scheduler(optimizer, schedulers.Linear(1.0, 0.0, total_iters=1000), option="weight_decay")

    The constructor sets the value of step 0. The caller of `step` decides whether a step is a batch or an epoch.

    A schedule that is a factor of the first value composes with everything else that sets the option between two
    steps, such as another scheduler or the user: it scales the value that it finds, as in PyTorch. A schedule with
    absolute values overwrites it, with a warning. The reductions of a `ReduceLROnPlateau` persist under any schedule.

    Args:
        optimizer: its param groups are followed, including those that are added later.
        schedule: a `Schedule`, which follows the current value of the option, or any other function of the step, which
            gives absolute values; or a list with one for each param group.
        option: any option that is a number: ``"lr"``, ``"momentum"``, ``"weight_decay"``, a clip's threshold;
            ``"beta1"`` and ``"beta2"`` for the betas.
        last_epoch: the last step that was taken; -1 to begin. From 0 on, the schedule follows the group's
            ``initial_lr`` (or ``initial_momentum``, …), which must exist, as it does once the optimizer's state dict
            is loaded.

    Attributes:
        optimizer: the optimizer.
        schedules: for each option one schedule, or a list with one for each group. They may be replaced.
        epoch: the current step, a fraction if `step` was given one. It may be set; the next step follows it.

    The settings that a scheduler was made with are fixed: setting ``scheduler.gamma`` is an AttributeError. A new
    scheduler starts from the current value.

    Raises:
        TypeError: if ``optimizer`` is not an optimizer, or ``schedule`` not a schedule.
        ValueError: for an unknown option, a list of schedules that does not match the groups, or a value that the
            option does not allow.
    """

    # PyTorch lets these schedulers follow `initial_lr`, which the first scheduler of an optimizer stores, where the
    # others follow the current value; and they overwrite whatever else sets the option.
    _from_initial: ClassVar[bool] = False

    schedules: dict[str, Schedule | list[Schedule]]
    epoch: Step

    def __init__(self, optimizer: Optimizer, schedule: Any, option: str = "lr", last_epoch: int = -1) -> None:
        self._bind(optimizer, {option: schedule}, last_epoch)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, unless it would be ignored.

        Raises:
            AttributeError: for a setting that the scheduler was made with.
        """
        kind: Any = type(self)
        if name == "epoch":
            value = check_step(self, value)
        elif name in _settings(kind):
            raise AttributeError(
                f"{kind.__name__}: {name} cannot be set later; make another {kind.__name__}, which starts from the "
                "current value of the option"
            )
        super().__setattr__(name, value)

    def _bind(
        self,
        optimizer: Optimizer,
        schedules: Mapping[str, Any],
        last_epoch: int,
        starts: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Check everything, then set the values of the first step.

        Args:
            optimizer, schedules, last_epoch: as in the constructor.
            starts: for each option the value of every group that its schedule follows; by default the current one, or
                the first one, according to ``_from_initial`` and ``last_epoch``.
        """
        owner = type(self).__name__
        groups = check_optimizer(owner, optimizer).param_groups
        self._options = {name: find_option(owner, optimizer, name) for name in schedules}
        found = {
            name: [as_schedule(owner, each) for each in given]
            if isinstance(given, Sequence)
            else as_schedule(owner, given)
            for name, given in schedules.items()
        }
        vars(self).update(optimizer=optimizer, schedules=found)
        self.epoch = whole(owner, "last_epoch", last_epoch, least=-1) + 1
        turns = []
        for name, option in self._options.items():
            for number, (group, schedule) in enumerate(zip(groups, self._schedules_of(name), strict=True)):
                if last_epoch >= 0 and option.initial_key not in group:
                    raise ValueError(
                        f"{owner}: param group {number} has no {option.initial_key!r}, from which "
                        f"last_epoch={last_epoch} continues; load the optimizer's state dict first, or set it"
                    )
                if starts is not None:
                    start = starts[name][number]
                else:
                    from_initial = self._from_initial or last_epoch >= 0
                    start = option.initial(group) if from_initial else option.read(group)
                turns.append((option, Track(group, start), schedule, start, 1.0))
        if last_epoch < 0:
            self._warn_if_forgotten(turns)
        self._steps_before, self._stepped = optimizer.steps, False
        first = all(option.initial_key not in track.group for option, track, *_ in turns)
        self._write(turns, values_at(self.epoch, turns), self.epoch)
        for option, track, schedule, start, _ in turns:
            absolute = not (schedule.relative or isinstance(schedule, Function))
            option.write_reference(track.group, schedule.reference(start), absolute, first)
        self._enter()

    def _warn_if_forgotten(self, turns: Sequence[Turn]) -> None:
        """Warn of values set by the user, if the schedule starts from an earlier scheduler's values."""
        earlier = [each for each in schedulers_of(self.optimizer) if isinstance(each, Scheduler)]
        for i, (option, track, *_) in enumerate(turns):
            now, name = option.read(track.group), option.name
            known = [each._options[name].track(track.group).last for each in earlier if name in each._options]
            if now not in (track.start, *known):
                warnings.warn(
                    f"{type(self).__name__}: starts from {option.initial_key}={track.start!r} of param group "
                    f"{i % len(self.optimizer.param_groups)}, as in PyTorch, not from {now!r}, its current value; to "
                    f"start from that, set group[{option.initial_key!r}] to it as well",
                    UserWarning,
                    stacklevel=5,
                )

    # --- values ------------------------------------------------------------------------------------------------------

    def _schedules_of(self, name: str) -> list[Schedule]:
        """The schedule of each param group."""
        given, groups = self.schedules[name], self.optimizer.param_groups
        if isinstance(given, list):
            remedy = f"append to scheduler.schedules[{name!r}]"
            what = f"{type(self).__name__}: {len(given)} schedules of {name}"
            return [as_schedule(self, each) for each in self._options[name].one_each(given, groups, what, remedy)]
        return [as_schedule(self, given)] * len(groups)

    def _turns(self, warn: bool = False) -> list[Turn]:
        """What sets each option of each group next, after following what else has set it; nothing changes yet."""
        turns = []
        for name, option in self._options.items():
            tracks = option.tracks_of(self.optimizer.param_groups)
            for i, (track, schedule) in enumerate(zip(tracks, self._schedules_of(name), strict=True)):
                start, factor = track.start, track.factor
                if track.last is not None and (now := option.read(track.group)) != track.last:
                    composes = schedule.relative and not self._from_initial
                    rescaled = self._rescaled(schedule, track, now) if composes else None
                    if rescaled is not None:
                        start, factor = rescaled
                    elif warn:
                        warnings.warn(
                            f"{type(self).__name__}: {name} of param group {i} was set to {now!r} by something else "
                            f"since this scheduler set {track.last!r}, and is overwritten; combine several schedulers "
                            "by ChainedScheduler or SequentialLR",
                            UserWarning,
                            stacklevel=3,
                        )
                turns.append((option, track, schedule, start, factor))
        return turns

    def _rescaled(self, schedule: Schedule, track: Track, value: float) -> tuple[float, float] | None:
        """The start and factor with which the schedule has this value now; None if it can only be 0."""
        if schedule.relative:
            # Schedules are linear in the value that they follow: s(η₀) = s(0) + (s(1) - s(0)) η₀.
            with contextlib.suppress(ArithmeticError, ValueError, TypeError):
                zero, one = schedule.evaluate(self.epoch, 0.0), schedule.evaluate(self.epoch, 1.0)
                start = (value / track.factor - zero) / (one - zero)
                if math.isclose(schedule.evaluate(self.epoch, start) * track.factor, value, rel_tol=1e-9):
                    return start, track.factor
        return (track.start, track.factor * (value / track.last)) if track.last else None

    def _follow(self, name: str, number: int, before: float, after: float) -> None:
        """Scale an option of a param group from now on, as a plateau has just done."""
        option, group = self._options.get(name), self.optimizer.param_groups[number]
        if option is None or (track := option.track(group)).last is None:
            return
        value = after if track.last == before else track.last * (after / before)
        rescaled = self._rescaled(self._schedules_of(name)[number], track, value)
        if rescaled is not None:
            track.start, track.factor = rescaled
            track.last = value

    def _write(self, turns: Sequence[Turn], values: Sequence[float], epoch: Step | None) -> None:
        """Set every option and remember it, or change nothing if a group refuses its value."""
        before = [track.group[option.key] for option, track, *_ in turns]
        failing: Schedule | None = None
        try:
            for (option, track, failing, _, _), value in zip(turns, values, strict=True):  # noqa: B007  # the error names it
                option.write(track.group, value)
        except Exception as error:
            for (option, track, *_), old in zip(turns, before, strict=True):
                track.group[option.key] = old
            if epoch is None or not isinstance(error, ValueError):
                raise
            raise ValueError(f"{type(self).__name__}: {error}, from {failing!r} at step {epoch}") from None
        for (option, track, _, start, factor), value, old in zip(turns, values, before, strict=True):
            if track.last is None:
                track.group.setdefault(option.initial_key, old)
                option.took(track, value)
            track.start, track.factor, track.last = start, factor, value

    def step(self, epoch: Step | None = None) -> None:
        """Advance by one step, or to any step or fraction of one; call it after ``optimizer.step()``.

        After a fraction the next step is the next whole one.

        Warns:
            UserWarning: if the optimizer has not stepped yet, or if the schedule overwrites a value that something
                else has set meanwhile.

        Raises:
            ValueError: for a negative or infinite epoch, or a value that overflows or that the option does not allow;
                then nothing has changed.
        """
        if tracers:
            tracer().calling(self, functools.partial(self.step, epoch))
        if self.schedules.keys() != self._options.keys():
            same_keys(f"{type(self).__name__}: schedules", self.schedules, self._options)
        following = self.last_epoch + 1 if epoch is None else check_step(self, epoch)
        turns = self._turns(warn=epoch is None)
        values = values_at(following, turns)
        if not self._stepped and self.optimizer.steps == self._steps_before:
            warnings.warn(
                f"{type(self).__name__}.step() came before optimizer.step(), so the first value of the schedule was "
                "never used; call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._write(turns, values, following)
        vars(self).update(epoch=following, _stepped=True)

    @property
    def last_epoch(self) -> int:
        """The current step, without its fraction. It may be set, like ``epoch``."""
        return math.floor(self.epoch)

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        self.epoch = whole(self, "last_epoch", value, least=0)

    def _origin(self, name: str, track: Track, group: int) -> str:
        schedule = self._schedules_of(name)[group]
        start = f", from {track.start!r}" if schedule.relative else ""
        factor = "" if track.factor == 1 else f", times {track.factor!r}"
        return f"{type(self).__name__} at its step {self.epoch}: {schedule!r}{start}{factor}"

    # --- looking ahead ---------------------------------------------------------------------------------------------

    def preview(self, steps: int, path: str | PathLike[str] | None = None) -> Curves:
        """Compute the curves of the next steps; neither the scheduler nor the optimizer changes.

        Args:
            steps: the number of values; the first is the current value, the next the value after one more `step`, etc.
            path: a file to draw the curves to, in the format of its suffix.

        Returns:
            For each option an array (param groups, steps).
        """
        steps, turns = whole(self, "steps", steps), self._turns()
        epochs = [self.epoch, *range(self.last_epoch + 1, self.last_epoch + steps)]
        now = [option.read(track.group) for option, track, *_ in turns]
        rows = np.array([now, *(values_at(epoch, turns) for epoch in epochs[1:])]).T
        # The turns have all groups of the first option, then all groups of the second, …
        curves = dict(zip(self._options, np.split(rows, len(self._options)), strict=True))
        if path is not None:
            draw(curves, epochs, path)
        return curves

    # --- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The current state, in plain values that JSON can hold.

        The schedules are stored as text, functions by their name: `load_state_dict` compares them.
        """
        groups, options = self.optimizer.param_groups, self._options.items()
        tracks = {name: option.tracks_of(groups) for name, option in options}
        return {
            "scheduler": type(self).__name__,
            "epoch": self.epoch,
            "schedules": {name: repr(given) for name, given in self.schedules.items()},
            "initial": {name: [option.initial(group) for group in groups] for name, option in options},
            "start": {name: [track.start for track in each] for name, each in tracks.items()},
            "factor": {name: [track.factor for track in each] for name, each in tracks.items()},
            "values": {name: [option.read(group) for group in groups] for name, option in options},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from the state of another run; before or after the optimizer loads its own state dict.

        Raises:
            ValueError: for the state of another scheduler, of other schedules or param groups, or for missing or
                unknown keys; then nothing has changed. To continue with other schedules, give ``last_epoch`` instead.
        """
        owner, groups = type(self).__name__, self.optimizer.param_groups
        parts = ("initial", "start", "factor", "values")
        if isinstance(state_dict, Mapping) and {"initial", "start", "factor"} & state_dict.keys() == {"initial"}:
            # A version in which every scheduler started from the initial values.
            initial = state_dict["initial"]
            factors = {name: [1.0] * len(values) for name, values in dict(initial).items()}
            state_dict = {**state_dict, "start": initial, "factor": factors}
        check_kind(owner, state_dict, ("epoch", "schedules", *parts))
        for part in ("schedules", *parts):
            same_keys(f"{owner}: {part} of the state dict", state_dict[part], self._options)
        for name, given in self.schedules.items():
            same_value(f"{owner}: the schedule of {name}", state_dict["schedules"][name], repr(given))
        epoch = check_step(owner, state_dict["epoch"])
        turns, values, initials = [], [], []
        for name, option in self._options.items():
            rows = [check_values(owner, name, state_dict[part][name], self.optimizer) for part in parts]
            for group, schedule, *row in zip(groups, self._schedules_of(name), *rows, strict=True):
                first, start, factor, value = row
                turns.append((option, option.track(group), schedule, start, factor))
                values.append(value)
                initials.append((option, group, first))
        self._write(turns, values, None)
        for option, group, first in initials:
            option.write_initial(group, first)
        self.epoch, self._stepped = epoch, epoch > 0

    def __repr__(self) -> str:
        schedules = ", ".join(f"{name}={given!r}" for name, given in self.schedules.items())
        return f"{type(self).__name__}({schedules}, epoch={self.epoch})"


def schedulers_of(optimizer: Optimizer) -> list[Any]:
    """Everything that sets options of an optimizer, in the order in which it was made."""
    return [each for ref in optimizer._schedulers if (each := ref()) is not None]


@cache
def _settings(kind: Any) -> frozenset[str]:
    """The arguments of a scheduler's constructor, and values derived from them: setting them would have no effect."""
    # A class outside the package may use other names as it likes.
    ours = next(base for base in kind.__mro__ if base.__module__.startswith(f"{__package__}."))
    arguments = inspect.signature(ours.__init__).parameters
    return frozenset(arguments) - {"self", "last_epoch"} | {"optimizer", "schedules", "base_lrs"}


def draw(curves: Curves, steps: Sequence[float], path: str | PathLike[str]) -> None:
    """Draw one plot for each option, with a line for each param group, to a file."""
    # A Figure made directly needs no display, and does not touch pyplot's state and backend.
    from matplotlib import style
    from matplotlib.figure import Figure

    # Color-blind readers can distinguish these colors; the dashes help in print.
    colors = style.library["tableau-colorblind10"]["axes.prop_cycle"].by_key()["color"]
    dashes = ("-", "--", "-.", ":")
    figure = Figure(figsize=(7, 2.8 * len(curves)), layout="constrained")
    axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, groups) in zip(axes, curves.items(), strict=True):
        for number, values in enumerate(groups):
            color, dash = colors[number % len(colors)], dashes[number % len(dashes)]
            ax.plot(steps, values, color=color, linestyle=dash, linewidth=1.8, label=f"param group {number}")
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
        if len(groups) > 1:
            ax.legend()
    axes[-1].set_xlabel("scheduler step")
    figure.savefig(path, dpi=150)


# --- checks that every scheduler makes -------------------------------------------------------------------------------


def check_optimizer(owner: str, optimizer: Any) -> Optimizer:
    """The optimizer, if it is one."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: needs an optimizer, not {type(optimizer).__name__}")
    return optimizer


def check_kind(owner: str, state_dict: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise ValueError for the state dict of another class, or with other keys."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{owner}: a state dict is a dictionary, not {type(state_dict).__name__}")
    if state_dict.get("scheduler", owner) != owner:
        raise ValueError(f"the state dict is of {state_dict['scheduler']}, not of {owner}")
    same_keys(f"{owner}: state dict", state_dict, ("scheduler", *keys))


def check_values(owner: str, name: str, values: Any, optimizer: Optimizer) -> list[float]:
    """Numbers, one for each param group."""
    groups = len(optimizer.param_groups)
    if not isinstance(values, Sequence) or len(values) != groups:
        raise ValueError(f"{owner}: the state dict has {name} for {len(values)} param groups, but there are {groups}")
    for value in values:
        if not is_number(value) or math.isnan(value):
            raise ValueError(f"{owner}: {name} in the state dict must be numbers, not {value!r}")
    return [float(value) for value in values]
