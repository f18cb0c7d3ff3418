"""Scheduler: schedules bound to the hyper-parameters of an optimizer."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ..optim import Optimizer
from ..optim.groups import ParamGroup
from ..optim.state import same_keys
from ..suggest import unknown
from .option import Option, find_option
from .preview import draw
from .schedule import Schedule, Step, as_schedule, check_step, check_whole

Values = dict[str, list[float]]


class Scheduler:
    """Gives an option of an optimizer the value that a schedule has at each step::

        scheduler = Scheduler(optimizer, WarmupStableDecay(100, 800, 100))
        decay = Scheduler(optimizer, Linear(1.0, 0.0, total_iters=1000), option="weight_decay")

    Making it sets the value of step 0. Whether a step is a batch or an epoch is up to who calls `step`. The value
    depends on the step alone: what else sets the option in between is overwritten, with a warning.

    Args:
        optimizer: its param groups are followed, those too that are added later.
        schedule: a `Schedule`, which follows the value that the option has at the beginning, or any other function
            of the step, which gives the value itself; or a list with one for each param group.
        option: any option that is a number: ``"lr"``, ``"momentum"``, ``"weight_decay"``, a clip's threshold;
            ``"beta1"`` and ``"beta2"`` for the betas.
        last_epoch: the step that was the last one; -1 begins. From 0 on, the groups must know ``initial_lr`` (or
            ``initial_momentum``, …), as they do when the optimizer's state dict was loaded.

    Attributes:
        optimizer: the optimizer.
        schedules: for each option one schedule, or a list with one for each group.
        epoch: where the scheduler stands, a fraction if `step` was given one.

    Raises:
        TypeError: for something that is no optimizer, or no schedule.
        ValueError: for an unknown option, another number of schedules than of groups, or a value that the option
            does not allow.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Any,
        option: str = "lr",
        last_epoch: int = -1,
    ) -> None:
        self._bind(optimizer, {option: schedule}, last_epoch)

    def _bind(self, optimizer: Optimizer, schedules: Mapping[str, Any], last_epoch: int) -> None:
        """Check everything, then set the values of the first step."""
        owner = type(self).__name__
        self.optimizer = check_optimizer(owner, optimizer)
        self._options = {name: find_option(owner, optimizer, name) for name in schedules}
        self.schedules: dict[str, Schedule | list[Schedule]] = {
            name: [as_schedule(owner, each) for each in given]
            if isinstance(given, Sequence)
            else as_schedule(owner, given)
            for name, given in schedules.items()
        }
        self.epoch: Step = check_whole(owner, "last_epoch", last_epoch, low=-1) + 1
        for option in self._options.values():
            for number, group in enumerate(optimizer.param_groups):
                if last_epoch >= 0 and option.initial_key not in group:
                    raise ValueError(
                        f"{owner}: param group {number} does not know {option.initial_key!r}, from which "
                        f"last_epoch={last_epoch} goes on; load the optimizer's state dict first, or set it"
                    )
        self._last: Values = {}
        self._steps_before = optimizer.steps
        self._stepped = False
        self._write(self._values(self.epoch))
        self._enter()

    def _enter(self) -> None:
        """Let the optimizer know who sets its options."""
        self.optimizer._schedulers.append(weakref.ref(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._enter()

    # --- values ------------------------------------------------------------------------------------------------------

    def _schedules_of(self, name: str) -> list[Schedule]:
        """One for each param group."""
        given, groups = self.schedules[name], self.optimizer.param_groups
        if isinstance(given, Schedule):
            return [given] * len(groups)
        if len(given) != len(groups):
            raise ValueError(
                f"{type(self).__name__}: {len(given)} schedules of {name} for {len(groups)} param groups; "
                f"give one schedule for all of them, or one for each (append to scheduler.schedules[{name!r}])"
            )
        return given

    def _values(self, epoch: Step) -> Values:
        groups = self.optimizer.param_groups
        return {
            name: [
                schedule.value(epoch, option.initial(group))
                for schedule, group in zip(self._schedules_of(name), groups, strict=True)
            ]
            for name, option in self._options.items()
        }

    def _each(self) -> list[tuple[Option, ParamGroup, int]]:
        groups = self.optimizer.param_groups
        return [(option, group, i) for option in self._options.values() for i, group in enumerate(groups)]

    def _write(self, values: Values) -> None:
        """Set the options of every group, or of none if one refuses its value."""
        before = [(group, option, group[option.key]) for option, group, _ in self._each()]
        try:
            for option, group, i in self._each():
                option.write(group, values[option.name][i])
        except Exception:
            for group, option, value in before:
                group[option.key] = value
            raise
        for group, option, value in before:
            group.setdefault(option.initial_key, value)
        self._last = values

    def step(self, epoch: Step | None = None) -> None:
        """Go on by one step, or to any step or fraction of one; call it after ``optimizer.step()``.

        After a fraction the next step is the next whole one.

        Warns:
            UserWarning: if the optimizer has not stepped yet, or something else has set an option meanwhile.

        Raises:
            ValueError: for a negative or infinite epoch, or a value that the option does not allow; then nothing has
                changed.
        """
        owner = type(self).__name__
        following = self.last_epoch + 1 if epoch is None else check_step(owner, epoch)
        values = self._values(following)
        if not self._stepped and self.optimizer.steps == self._steps_before:
            warnings.warn(
                f"{owner}.step() came before optimizer.step(), so the first value of the schedule was never used; "
                "call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        if epoch is None:
            self._warn_if_changed(owner)
        self._write(values)
        self.epoch, self._stepped = following, True

    def _warn_if_changed(self, owner: str) -> None:
        for option, group, i in self._each():
            last = self._last[option.name]
            if i < len(last) and option.read(group) != last[i]:
                warnings.warn(
                    f"{owner}: {option.name} of param group {i} was set to {option.read(group)!r} by something else "
                    f"since this scheduler set {last[i]!r}, and is overwritten; combine several schedulers by "
                    "ChainedScheduler or SequentialLR",
                    UserWarning,
                    stacklevel=3,
                )

    @property
    def last_epoch(self) -> int:
        """The step where the scheduler stands, without its fraction."""
        return math.floor(self.epoch)

    def get_last_values(self, option: str = "lr") -> list[float]:
        """What this scheduler has last set, for each param group.

        Raises:
            ValueError: for an option that it does not schedule.
        """
        if option not in self._last:
            raise ValueError(f"{type(self).__name__}: {unknown('scheduled option', option, self._last)}")
        return list(self._last[option])

    def get_last_lr(self) -> list[float]:
        """The learning rate that this scheduler has last set, for each param group."""
        return self.get_last_values("lr")

    def origins(self, group: int) -> dict[str, str | None]:
        """For each option of a param group, in words, how this scheduler came to set it; None if another has since."""
        found: dict[str, str | None] = {}
        for name, option in self._options.items():
            if group >= len(self._last[name]):  # added since
                continue
            now, schedule = self.optimizer.param_groups[group], self._schedules_of(name)[group]
            if option.read(now) != self._last[name][group]:
                found[name] = None
                continue
            start = f", from {option.initial(now)!r}" if schedule.relative else ""
            found[name] = f"{type(self).__name__} at its step {self.epoch}: {schedule!r}{start}"
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
        ahead = [self._values(self.last_epoch + i) for i in range(1, steps)]
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
        return {
            "scheduler": type(self).__name__,
            "epoch": self.epoch,
            "schedules": {name: repr(given) for name, given in self.schedules.items()},
            "initial": {name: [option.initial(group) for group in groups] for name, option in options},
            "values": {name: [option.read(group) for group in groups] for name, option in options},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where another run was; before or after the optimizer loads its own state dict.

        Raises:
            ValueError: for the state of another scheduler, of other schedules or param groups, or for missing or
                unknown keys; then nothing has changed. To go on with other schedules, give ``last_epoch`` instead.
        """
        owner = type(self).__name__
        check_kind(owner, state_dict, ("epoch", "schedules", "initial", "values"))
        for part in ("schedules", "initial", "values"):
            same_keys(f"{owner}: {part} of the state dict", state_dict[part], self._options)
        for name, given in self.schedules.items():
            check_same(owner, f"the schedule of {name}", state_dict["schedules"][name], repr(given))
        epoch = check_step(owner, state_dict["epoch"])
        initial = self._loaded_values(state_dict["initial"])
        self._write(self._loaded_values(state_dict["values"]))
        for option, group, i in self._each():
            option.write_initial(group, initial[option.name][i])
        self.epoch, self._stepped = epoch, epoch > 0

    def _loaded_values(self, saved: Mapping[str, Sequence[Any]]) -> Values:
        owner = type(self).__name__
        return {name: check_values(owner, name, values, self.optimizer) for name, values in saved.items()}

    def __repr__(self) -> str:
        schedules = ", ".join(f"{name}={given!r}" for name, given in self.schedules.items())
        return f"{type(self).__name__}({schedules}, epoch={self.epoch})"


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
