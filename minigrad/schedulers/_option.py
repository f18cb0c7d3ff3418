"""Option: where a scheduled number is stored in a param group, and the state that a scheduler keeps per group."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeVar

from ..checks import is_number, unknown
from ..optim import Optimizer
from ..optim._groups import ParamGroup

T = TypeVar("T")


@dataclass(slots=True)
class Track:
    """A scheduler's state for an option of one param group.

    Attributes:
        group: the param group.
        start: η₀, from which the schedule computes its values.
        factor: multiplies the values of a schedule; it holds the reductions of a plateau that η₀ cannot express.
        last: the value that the scheduler has set last; None before it has set one.
    """

    group: ParamGroup
    start: float
    factor: float = 1.0
    last: float | None = None


class Option:
    """A numeric option of every param group, by its own name or, in a tuple, by its position: ``beta1``.

    Its first value is stored in the group under ``initial_``, as in PyTorch, and so in the optimizer's state dict.

    Attributes:
        name: its name in rules.
        key: the key of the group: ``betas`` for ``beta1``.
        initial_key: the key of the first value: ``initial_betas``.
        tracks: one for every param group that has been set, in the order in which they were first set.
    """

    def __init__(self, name: str, key: str, index: int | None) -> None:
        self.name, self.key, self._index = name, key, index
        self.initial_key = f"initial_{key}"
        self.tracks: list[Track] = []

    def _place(self, group: ParamGroup) -> int | None:
        # By identity: two groups may be equal, and a group may move within the optimizer.
        return next((i for i, track in enumerate(self.tracks) if track.group is group), None)

    def track(self, group: ParamGroup) -> Track:
        """The track of a group; a new one, which starts from the group's first value, for a group added later."""
        place = self._place(group)
        return Track(group, self.initial(group)) if place is None else self.tracks[place]

    def tracks_of(self, groups: Sequence[ParamGroup]) -> list[Track]:
        """The track of each group."""
        tracks = self.tracks
        if len(tracks) == len(groups) and all(map(is_, [track.group for track in tracks], groups)):
            return tracks  # the usual case needs no search
        return [self.track(group) for group in groups]

    def took(self, track: Track, value: float) -> None:
        """Remember the value that was set."""
        if track.last is None and self._place(track.group) is None:
            self.tracks.append(track)
        track.last = value

    def one_each(self, given: Sequence[T], groups: Sequence[ParamGroup], what: str, remedy: str) -> list[T]:
        """The item of each group, from a list in the order in which the groups were first set.

        Raises:
            ValueError: if the list has no item for a group; ``what`` and ``remedy`` are parts of its text.
        """
        later = itertools.count(len(self.tracks))  # groups that were added later come after the others
        places = [next(later) if place is None else place for place in map(self._place, groups)]
        if max(places) >= len(given) or (not self.tracks and len(given) != len(groups)):
            count = max(*places, len(groups) - 1) + 1
            raise ValueError(f"{what} for {count} param groups; give one for all of them, or one for each ({remedy})")
        return [given[place] for place in places]

    def read(self, group: ParamGroup) -> float:
        """The current value."""
        value = group[self.key]
        return float(value if self._index is None else value[self._index])

    def write(self, group: ParamGroup, value: float) -> None:
        """Set the value; the group refuses one outside the option's range."""
        group[self.key] = value if self._index is None else self._put(group[self.key], value)

    def initial(self, group: ParamGroup) -> float:
        """The first value, which is the current one if no scheduler has set it."""
        if self.initial_key not in group:
            return self.read(group)
        value = group[self.initial_key]
        return float(value if self._index is None else value[self._index])

    def write_initial(self, group: ParamGroup, value: float) -> None:
        """Replace the first value."""
        group[self.initial_key] = self._put(group.get(self.initial_key, group[self.key]), value)

    def write_reference(self, group: ParamGroup, value: float, absolute: bool, first: bool) -> None:
        """Store the value of a new schedule that counts as a factor of 1 under ``max_``.

        Args:
            group: the param group.
            value: the value.
            absolute: whether the schedule gives absolute values; PyTorch stores the peak of such a schedule.
            first: whether it is the first schedule of the group. A later schedule that follows the value that an
                earlier one has left continues it: it counts from the same value, if that is higher.
        """
        key = f"max_{self.key}"
        if self._index is None and (absolute or key in group):
            group[key] = value if absolute or first else max(value, group[key])

    def _put(self, before: Any, value: float) -> Any:
        if self._index is None:
            return value
        return (*before[: self._index], value, *before[self._index + 1 :])


def numeric_options(group: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Option]:
    """The options of a group that are numbers, by their names in rules."""
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
        ValueError: if a group has no such option, or its value is not a number.
    """
    found = None
    for number, group in enumerate(optimizer.param_groups):
        options = numeric_options(group, group.known)
        if name not in options:
            refusal = unknown("option", str(name), options)
            kind = type(optimizer).__name__
            raise ValueError(f"{owner}: {refusal} (numeric options of param group {number} of {kind})")
        found = options[name]
    assert found is not None  # an optimizer has at least one group
    return found
