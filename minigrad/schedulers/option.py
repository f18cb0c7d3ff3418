"""Option: where a scheduled number lies in a param group."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..checks import unknown
from ..optim import Optimizer
from ..optim._groups import ParamGroup


@dataclass(slots=True)
class Track:
    """What a scheduler knows of an option of one param group.

    Attributes:
        group: the param group.
        start: η₀, from which the schedule computes its values.
        factor: what the values of a schedule are multiplied by that do not follow η₀: what a plateau has left of them.
        last: the value that the scheduler has last set; None before that.
    """

    group: ParamGroup
    start: float
    factor: float = 1.0
    last: float | None = None


class Option:
    """A numeric option of every param group, by its own name or, within a tuple, by its place: ``beta1``.

    The value that it began with stays in the group under ``initial_``, as in PyTorch, so that the optimizer's state
    dict has it too.

    Attributes:
        name: as rules know it.
        key: the key of the group: ``betas`` for ``beta1``.
        initial_key: where the first value stays: ``initial_betas``.
        tracks: what the scheduler knows of every param group that it has set, in the order in which they came.
    """

    def __init__(self, name: str, key: str, index: int | None) -> None:
        self.name, self.key, self._index = name, key, index
        self.initial_key = f"initial_{key}"
        self.tracks: list[Track] = []

    def place(self, group: ParamGroup) -> int | None:
        """Where a group is among the tracks; None if it has been added since. The group may move in the optimizer."""
        return next((i for i, track in enumerate(self.tracks) if track.group is group), None)

    def places(self, groups: Iterable[ParamGroup]) -> list[int]:
        """The place of each group; those that have been added since come after the others."""
        later = itertools.count(len(self.tracks))
        return [next(later) if place is None else place for place in map(self.place, groups)]

    def track(self, group: ParamGroup) -> Track:
        """What is known of a group; if it has been added since, it begins with its first value."""
        place = self.place(group)
        return Track(group, self.initial(group)) if place is None else self.tracks[place]

    def tracks_of(self, groups: Sequence[ParamGroup]) -> list[Track]:
        """What is known of each group; for the groups that were always there the list itself."""
        tracks = self.tracks
        if len(tracks) != len(groups):
            return [self.track(group) for group in groups]
        for track, group in zip(tracks, groups, strict=True):
            if track.group is not group:
                return [self.track(each) for each in groups]
        return tracks

    def keep(self, tracks: list[Track]) -> None:
        """Take note of tracks in place of what was known of their groups."""
        if tracks is self.tracks:
            return
        for track in tracks:
            place = self.place(track.group)
            if place is None:
                self.tracks.append(track)
            else:
                self.tracks[place] = track

    def read(self, group: ParamGroup) -> float:
        """The value as it is now."""
        return self._pick(group[self.key])

    def write(self, group: ParamGroup, value: float) -> None:
        """Set it; the group refuses a value outside the option's range."""
        group[self.key] = self._put(group[self.key], value)

    def initial(self, group: ParamGroup) -> float:
        """The first value, which is the value now if no scheduler has come by."""
        return self._pick(group.get(self.initial_key, group[self.key]))

    def write_initial(self, group: ParamGroup, value: float) -> None:
        """Take another value for the first one."""
        group[self.initial_key] = self._put(group.get(self.initial_key, group[self.key]), value)

    def write_reference(self, group: ParamGroup, value: float, given: bool, first: bool) -> None:
        """Note the value of a new schedule that counts as a factor of 1 under ``max_``.

        Args:
            group: the param group.
            value: the value.
            given: whether the schedule gives its values itself; PyTorch notes the peak of such a one.
            first: whether it is the first schedule of the group. A later one that follows what an earlier one has left
                is a continuation of that: it counts from the same value, if that is higher.
        """
        key = f"max_{self.key}"
        if self._index is None and (given or key in group):
            group[key] = value if given or first else max(value, group[key])

    def _pick(self, value: Any) -> float:
        return float(value if self._index is None else value[self._index])

    def _put(self, before: Any, value: float) -> Any:
        if self._index is None:
            return value
        return (*before[: self._index], value, *before[self._index + 1 :])


def is_number(value: Any) -> bool:
    """Whether a group's value can be scheduled."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric_options(group: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Option]:
    """The options of a group that are numbers, by the names that rules know."""
    found = {}
    for key in known:
        value = group[key]
        if is_number(value):
            found[key] = Option(key, key, None)
        elif isinstance(value, tuple) and key.endswith("s") and all(map(is_number, value)):
            found |= {f"{key[:-1]}{i + 1}": Option(f"{key[:-1]}{i + 1}", key, i) for i in range(len(value))}
    return found


def find_option(owner: str, optimizer: Optimizer, name: str) -> Option:
    """An option by its name.

    Raises:
        ValueError: if a group has no such option, or it is no number there.
    """
    found = None
    for number, group in enumerate(optimizer.param_groups):
        options = numeric_options(group, group.known)
        if name not in options:
            told = unknown("option", str(name), options)
            raise ValueError(f"{owner}: {told} (numeric options of param group {number} of {type(optimizer).__name__})")
        found = options[name]
    assert found is not None  # an optimizer has at least one group
    return found


def momentum_option(owner: str, optimizer: Optimizer) -> str:
    """The option that ``cycle_momentum`` means: ``momentum``, or ``beta1`` where there are betas.

    Raises:
        ValueError: if there is neither.
    """
    if "betas" in optimizer.defaults:
        return "beta1"
    if "momentum" in optimizer.defaults:
        return "momentum"
    raise ValueError(f"{owner}: {type(optimizer).__name__} has neither momentum nor betas; give cycle_momentum=False")
