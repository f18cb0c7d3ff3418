"""Scheduler: schedules bound to the hyper-parameters of an optimizer."""

from __future__ import annotations

import contextlib
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

from ..checks import unknown
from ..optim import Optimizer
from ..optim._state import same_keys
from .option import Track, find_option
from .preview import draw
from .schedule import Function, Schedule, Step, as_schedule, check_step, check_whole

Values = dict[str, list[float]]
Tracks = dict[str, list[Track]]


class Scheduler:
    """Gives an option of an optimizer the value that a schedule has at each step::

        scheduler = schedulers.Scheduler(optimizer, schedulers.WarmupStableDecay(100, 800, 100))
        decay = schedulers.Scheduler(optimizer, schedulers.Linear(1.0, 0.0, total_iters=1000), option="weight_decay")

    Making it sets the value of step 0. Whether a step is a batch or an epoch is up to the caller of `step`.

    A schedule that is a factor of the first value composes with whatever else sets the option between two steps, such
    as another scheduler or the user: it scales the value that it finds, as in PyTorch. A schedule that gives the
    values themselves overwrites it, with a warning. The reductions of a `ReduceLROnPlateau` remain under any schedule.

    Args:
        optimizer: its param groups are followed, including those that are added later.
        schedule: a `Schedule`, which follows the value that the option has now, or any other function of the step,
            which gives the value itself; or a list with one for each param group.
        option: any option that is a number: ``"lr"``, ``"momentum"``, ``"weight_decay"``, a clip's threshold;
            ``"beta1"`` and ``"beta2"`` for the betas.
        last_epoch: the step that was the last one; -1 begins. From 0 on, the schedule follows the group's
            ``initial_lr`` (or ``initial_momentum``, …), which must be there, as it is when the optimizer's state dict
            was loaded.

    Attributes:
        optimizer: the optimizer.
        schedules: for each option one schedule, or a list with one for each group. Another one may be put in its place.
        epoch: the current step, a fraction if `step` was given one. It may be set; the next step follows it.

    The settings that a scheduler was made with are fixed: setting ``scheduler.gamma`` is an AttributeError. A new
    scheduler starts from the value that is set then.

    Raises:
        TypeError: for something that is not an optimizer, or not a schedule.
        ValueError: for an unknown option, another number of schedules than of groups, or a value that the option
            does not allow.
    """

    # In PyTorch, these schedules follow `initial_lr`, which the first scheduler of an optimizer leaves, where the
    # others follow the value that is set; and they overwrite what else sets the option.
    _from_initial: ClassVar[bool] = False

    optimizer: Optimizer
    schedules: dict[str, Schedule | list[Schedule]]
    epoch: Step

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Any,
        option: str = "lr",
        last_epoch: int = -1,
    ) -> None:
        self._bind(optimizer, {option: schedule}, last_epoch)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, unless it would be ignored.

        Raises:
            AttributeError: for a setting that the scheduler was made with.
        """
        kind: Any = type(self)
        if name == "epoch":
            value = check_step(kind.__name__, value)
        elif name in _settings(kind):
            raise AttributeError(
                f"{kind.__name__}: {name} cannot be set later; make another {kind.__name__}, which starts from the "
                "value that the option has now"
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
            starts: for each option the value of every group that its schedule follows; by default the one that is
                set, or where ``_from_initial`` or ``last_epoch`` say so, the first one that was.
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
        self.epoch = check_whole(owner, "last_epoch", last_epoch, low=-1) + 1
        tracks: Tracks = {}
        for name, option in self._options.items():
            for number, group in enumerate(groups):
                if last_epoch >= 0 and option.initial_key not in group:
                    raise ValueError(
                        f"{owner}: param group {number} does not know {option.initial_key!r}, from which "
                        f"last_epoch={last_epoch} goes on; load the optimizer's state dict first, or set it"
                    )
            read = option.initial if self._from_initial or last_epoch >= 0 else option.read
            first = [read(group) for group in groups] if starts is None else starts[name]
            tracks[name] = [Track(*each) for each in zip(groups, first, strict=True)]
        if last_epoch < 0:
            self._warn_if_forgotten(tracks)
        self._steps_before = optimizer.steps
        self._stepped = False
        values = self._values(self.epoch, tracks)
        fresh = all(option.initial_key not in group for group in groups for option in self._options.values())
        self._write(values, self.epoch, tracks)
        for name, option in self._options.items():
            for schedule, track in zip(self._schedules_of(name), tracks[name], strict=True):
                given = not (schedule.relative or isinstance(schedule, Function))
                option.write_reference(track.group, schedule.reference(track.start), given, fresh)
        self._enter()

    def _warn_if_forgotten(self, tracks: Tracks) -> None:
        """Warn of values that the user has set, where the schedule starts from those of an earlier scheduler."""
        earlier = [each for each in schedulers_of(self.optimizer) if isinstance(each, Scheduler)]
        for name, option in self._options.items():
            for i, track in enumerate(tracks[name]):
                now = option.read(track.group)
                known = [each._options[name].track(track.group).last for each in earlier if name in each._options]
                if now not in (track.start, *known):
                    warnings.warn(
                        f"{type(self).__name__}: starts from {option.initial_key}={track.start!r} of param group {i}, "
                        f"as in PyTorch, not from {now!r}, which is set; to start from that, set "
                        f"group[{option.initial_key!r}] to it as well",
                        UserWarning,
                        stacklevel=5,
                    )

    def _enter(self) -> None:
        """Let the optimizer know what sets its options."""
        self.optimizer._schedulers.append(weakref.ref(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter()

    # --- values ------------------------------------------------------------------------------------------------------

    def _schedules_of(self, name: str) -> list[Schedule]:
        """One for each param group."""
        given, groups, owner = self.schedules[name], self.optimizer.param_groups, type(self).__name__
        if isinstance(given, Schedule):
            return [given] * len(groups)
        if not isinstance(given, list):
            return [as_schedule(owner, given)] * len(groups)
        option = self._options[name]
        places = option.places(groups)
        if max(places) >= len(given) or (not option.tracks and len(given) != len(groups)):
            raise ValueError(
                f"{owner}: {len(given)} schedules of {name} for {max(*places, len(groups) - 1) + 1} param groups; "
                f"give one schedule for all of them, or one for each (append to scheduler.schedules[{name!r}])"
            )
        return [as_schedule(owner, given[place]) for place in places]

    def _tracks(self, warn: bool = False) -> Tracks:
        """What is known of each group, after following what else has set its options; nothing changes."""
        found: Tracks = {}
        for name, option in self._options.items():
            tracks = found[name] = option.tracks_of(self.optimizer.param_groups)
            for i, track in enumerate(tracks):
                if track.last is None or (now := option.read(track.group)) == track.last:
                    continue
                schedule = self._schedules_of(name)[i]
                composes = schedule.relative and not self._from_initial
                followed = self._rescaled(schedule, track, now) if composes else None
                if followed is not None:
                    found[name] = [*found[name][:i], followed, *tracks[i + 1 :]]
                elif warn:
                    warnings.warn(
                        f"{type(self).__name__}: {name} of param group {i} was set to {now!r} by something else since "
                        f"this scheduler set {track.last!r}, and is overwritten; combine several schedulers by "
                        "ChainedScheduler or SequentialLR",
                        UserWarning,
                        stacklevel=3,
                    )
        return found

    def _rescaled(self, schedule: Schedule, track: Track, value: float) -> Track | None:
        """The track with which the schedule has this value now; None if it can only be 0."""
        if schedule.relative:
            # Schedules are linear in the value that they follow: s(η₀) = s(0) + (s(1) - s(0)) η₀.
            with contextlib.suppress(ArithmeticError, ValueError, TypeError):
                zero, one = schedule.evaluate(self.epoch, 0.0), schedule.evaluate(self.epoch, 1.0)
                start = (value / track.factor - zero) / (one - zero)
                if math.isclose(schedule.evaluate(self.epoch, start) * track.factor, value, rel_tol=1e-9):
                    return Track(track.group, start, track.factor, value)
        return Track(track.group, track.start, track.factor * (value / track.last), value) if track.last else None

    def _follow(self, name: str, number: int, before: float, after: float) -> None:
        """Scale an option of a param group from now on as a plateau has just done."""
        option, group = self._options.get(name), self.optimizer.param_groups[number]
        if option is None or (track := option.track(group)).last is None:
            return
        value = after if track.last == before else track.last * (after / before)
        option.keep([self._rescaled(self._schedules_of(name)[number], track, value) or track])

    def _values(self, epoch: Step, tracks: Tracks) -> Values:
        return {
            name: [
                track.factor * schedule.evaluate(epoch, track.start)
                for schedule, track in zip(self._schedules_of(name), tracks[name], strict=True)
            ]
            for name in self._options
        }

    def _write(self, values: Values, epoch: Step | None, tracks: Tracks) -> None:
        """Set the options of every group and take note of that, or change nothing if one refuses its value."""
        entries = [
            (option, track, value)
            for name, option in self._options.items()
            for track, value in zip(tracks[name], values[name], strict=True)
        ]
        before: list[Any] = []
        try:
            for option, track, value in entries:
                before.append(track.group[option.key])
                option.write(track.group, value)
        except Exception as error:
            for (option, track, _), first in reversed([*zip(entries, before, strict=False)]):
                track.group[option.key] = first
            if epoch is None or not isinstance(error, ValueError):
                raise
            schedules = [schedule for name in self._options for schedule in self._schedules_of(name)]
            source = f"{schedules[len(before) - 1]!r} at step {epoch}"
            raise ValueError(f"{type(self).__name__}: {error}, from {source}") from None
        for (option, track, value), first in zip(entries, before, strict=True):
            if track.last is None:
                track.group.setdefault(option.initial_key, first)
            track.last = value
        for name, option in self._options.items():
            option.keep(tracks[name])

    def step(self, epoch: Step | None = None) -> None:
        """Advance by one step, or to any step or fraction of one; call it after ``optimizer.step()``.

        After a fraction the next step is the next whole one.

        Warns:
            UserWarning: if the optimizer has not stepped yet, or something else has set an option meanwhile that the
                schedule overwrites.

        Raises:
            ValueError: for a negative or infinite epoch, or a value that overflows or that the option does not allow;
                then nothing has changed.
        """
        owner = type(self).__name__
        if self.schedules.keys() != self._options.keys():
            same_keys(f"{owner}: schedules", self.schedules, self._options)
        following = self.last_epoch + 1 if epoch is None else check_step(owner, epoch)
        tracks = self._tracks(warn=epoch is None)
        values = self._values(following, tracks)
        if not self._stepped and self.optimizer.steps == self._steps_before:
            warnings.warn(
                f"{owner}.step() came before optimizer.step(), so the first value of the schedule was never used; "
                "call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._write(values, following, tracks)
        vars(self).update(epoch=following, _stepped=True)

    @property
    def last_epoch(self) -> int:
        """The current step, without its fraction. It may be set, like ``epoch``."""
        return math.floor(self.epoch)

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        self.epoch = check_whole(type(self).__name__, "last_epoch", value, low=0)

    def get_last_values(self, option: str = "lr") -> list[float]:
        """What this scheduler has last set, for each param group.

        Raises:
            ValueError: for an option that it does not schedule.
        """
        if option not in self._options:
            raise ValueError(f"{type(self).__name__}: {unknown('scheduled option', option, self._options)}")
        tracks = self._options[option].tracks_of(self.optimizer.param_groups)
        return [track.last for track in tracks if track.last is not None]

    def get_last_lr(self) -> list[float]:
        """The learning rate that this scheduler has last set, for each param group."""
        return self.get_last_values("lr")

    def origins(self, group: int) -> dict[str, str | None]:
        """For each option of a param group, as text, how this scheduler came to set it; None if another has since."""
        found: dict[str, str | None] = {}
        now = self.optimizer.param_groups[group]
        for name, option in self._options.items():
            track, schedule = option.track(now), self._schedules_of(name)[group]
            if track.last is None:  # added since
                continue
            if option.read(now) != track.last:
                found[name] = None
                continue
            start = f", from {track.start!r}" if schedule.relative else ""
            factor = "" if track.factor == 1 else f", times {track.factor!r}"
            found[name] = f"{type(self).__name__} at its step {self.epoch}: {schedule!r}{start}{factor}"
        return found

    # --- looking ahead ---------------------------------------------------------------------------------------------

    def preview(self, steps: int, path: str | PathLike[str] | None = None) -> dict[str, npt.NDArray[np.float64]]:
        """The curves that lie ahead; neither the scheduler nor the optimizer changes.

        Args:
            steps: how many values; the first one is the value now, the next that after one more `step`, and so on.
            path: where to draw them to, in the format of the file's suffix.

        Returns:
            For each option an array (param groups, steps).
        """
        steps = check_whole(type(self).__name__, "steps", steps)
        tracks = self._tracks()
        ahead = [self._values(self.last_epoch + i, tracks) for i in range(1, steps)]
        groups = self.optimizer.param_groups
        curves = {
            name: np.array([[option.read(group) for group in groups], *(values[name] for values in ahead)]).T
            for name, option in self._options.items()
        }
        if path is not None:
            draw(curves, np.array([self.epoch, *range(self.last_epoch + 1, self.last_epoch + steps)]), path)
        return curves

    # --- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, in plain values that JSON can hold.

        The schedules are there as text, functions by their name: `load_state_dict` compares them.
        """
        groups = self.optimizer.param_groups
        options = self._options.items()
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
        """Continue where another run was; before or after the optimizer loads its own state dict.

        Raises:
            ValueError: for the state of another scheduler, of other schedules or param groups, or for missing or
                unknown keys; then nothing has changed. To continue with other schedules, give ``last_epoch`` instead.
        """
        owner = type(self).__name__
        parts = ("initial", "start", "factor", "values")
        if isinstance(state_dict, Mapping) and {"initial", "start", "factor"} & state_dict.keys() == {"initial"}:
            # Of a version in which every scheduler started from the initial values.
            initial = state_dict["initial"]
            factors = {name: [1.0] * len(groups) for name, groups in dict(initial).items()}
            state_dict = {**state_dict, "start": initial, "factor": factors}
        check_kind(owner, state_dict, ("epoch", "schedules", *parts))
        for part in ("schedules", *parts):
            same_keys(f"{owner}: {part} of the state dict", state_dict[part], self._options)
        for name, given in self.schedules.items():
            check_same(owner, f"the schedule of {name}", state_dict["schedules"][name], repr(given))
        epoch = check_step(owner, state_dict["epoch"])
        initial, starts, factors, values = (self._loaded_values(state_dict[part]) for part in parts)
        groups = self.optimizer.param_groups
        tracks = {
            name: [Track(*each) for each in zip(groups, starts[name], factors[name], strict=True)] for name in starts
        }
        self._write(values, None, tracks)
        for name, option in self._options.items():
            for group, value in zip(groups, initial[name], strict=True):
                option.write_initial(group, value)
        self.epoch, self._stepped = epoch, epoch > 0

    def _loaded_values(self, saved: Mapping[str, Sequence[Any]]) -> Values:
        owner = type(self).__name__
        return {name: check_values(owner, name, values, self.optimizer) for name, values in saved.items()}

    def __repr__(self) -> str:
        schedules = ", ".join(f"{name}={given!r}" for name, given in self.schedules.items())
        return f"{type(self).__name__}({schedules}, epoch={self.epoch})"


def schedulers_of(optimizer: Optimizer) -> list[Any]:
    """Everything that sets options of an optimizer, in the order in which it was made."""
    return [each for ref in optimizer.innermost._schedulers if (each := ref()) is not None]


@cache
def _settings(kind: Any) -> frozenset[str]:
    """What can be given to the constructor of a scheduler, or is derived from it, and would be ignored later."""
    # A class outside the package may use other names as it likes.
    ours = next(base for base in kind.__mro__ if base.__module__.startswith(f"{__package__}."))
    arguments = inspect.signature(ours.__init__).parameters
    return frozenset(arguments) - {"self", "last_epoch"} | {"optimizer", "schedules", "base_lrs"}


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


def check_same(owner: str, what: str, saved: Any, here: Any) -> None:
    """Raise ValueError if a setting differs from that of the saved run."""
    if saved != here:
        raise ValueError(f"{owner}: {what} was {saved} in the saved run, and is {here} here")


def check_values(owner: str, name: str, values: Any, optimizer: Optimizer) -> list[float]:
    """Numbers, one for each param group."""
    groups = len(optimizer.param_groups)
    if not isinstance(values, Sequence) or len(values) != groups:
        raise ValueError(f"{owner}: the state dict has {name} for {len(values)} param groups, but there are {groups}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ValueError(f"{owner}: {name} in the state dict must be numbers, not {value!r}")
    return [float(value) for value in values]
