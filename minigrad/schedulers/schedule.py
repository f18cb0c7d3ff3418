"""Schedule: a pure function from step to value, and the checks of its numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from typing import Any

from ..checks import unknown

Step = int | float
Check = Callable[[str, str, Any], Any]


class Schedule:
    """The value of an option at any step t, asked in any order: ``schedule(t, initial=1.0)``.

    ``initial`` is the value that the option begins with, η₀. Most schedules are a factor of it, so that with the
    default of 1 they give that factor. Steps count from 0 and may be fractions. A new schedule is a frozen dataclass
    that states its numbers and `value`::

        @dataclass(frozen=True, repr=False)
        class Halving(Schedule):
            every: int = whole()

            def value(self, step, initial):
                return initial * 0.5 ** (step // self.every)

    Raises:
        ValueError: for a number outside its range, and for a step that is negative or not finite.
        TypeError: for something that is no number.
    """

    @property
    def relative(self) -> bool:
        """Whether the values follow ``initial``; otherwise they are what they are."""
        return True

    def reference(self, initial: float) -> float:
        """The value that counts as a factor of 1: ``initial``, or the peak of a schedule with given values."""
        return initial

    def value(self, step: Step, initial: float) -> float:
        """The value at a step that was checked."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its value is")

    def evaluate(self, step: Step, initial: float) -> float:
        """The value at a step that was checked, as a Python float.

        Raises:
            ValueError: naming the schedule and the step, if the value overflows or is NaN.
            TypeError: likewise, if it is not a number.
        """
        try:
            value = self.value(step, initial)
            if type(value) is float and math.isfinite(value):
                return value
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{self!r} must be a number at step {step}, not {value!r}")
            found = float(value)
            # A function may give an infinite value, such as the threshold of a clip that is off.
            if math.isinf(found) and math.isfinite(initial) and self.relative:
                raise OverflowError
        except OverflowError:
            raise ValueError(f"{self!r} is too large for a float at step {step}") from None
        if math.isnan(found):
            raise ValueError(f"{self!r} is NaN at step {step}")
        return found

    def __call__(self, step: Step, initial: float = 1.0) -> float:
        """The value at ``step`` of an option that begins with ``initial``."""
        return self.evaluate(check_step(type(self).__name__, step), initial)

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            check = each.metadata.get("check")
            if check is not None:
                object.__setattr__(self, each.name, check(type(self).__name__, each.name, getattr(self, each.name)))
        self.check()

    def check(self) -> None:
        """Raise ValueError where two settings, each right alone, do not fit."""

    def __repr__(self) -> str:
        shown = [each for each in fields(self) if each.repr]  # type: ignore[arg-type]  # as above
        return f"{type(self).__name__}({', '.join(f'{each.name}={_show(getattr(self, each.name))}' for each in shown)})"


def _show(value: Any) -> str:
    """As in code; a function by its name, because its address would differ from run to run."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_show, value))}]"
    if callable(value) and not isinstance(value, Schedule):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return repr(value)


# --- checks of single values ---------------------------------------------------------------------------------------


def check_number(
    owner: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> float:
    """A finite number as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: {name} must be a number, not {value!r}")
    found = float(value)
    if not (math.isfinite(found) and low <= found <= high and found > above):
        limits = [f"of {low:g} or more" if low > -math.inf else "", f"up to {high:g}" if high < math.inf else ""]
        limits += [f"above {above:g}" if above > -math.inf else ""]
        words = " ".join(["a finite number", *filter(None, limits)])
        raise ValueError(f"{owner}: {name} must be {words}, not {value!r}")
    return found


def check_whole(owner: str, name: str, value: Any, low: int = 1) -> int:
    """A whole number as a Python int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: {name} must be a whole number, not {value!r}")
    if not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{owner}: {name} must be a whole number of {low} or more, not {value!r}")
    return int(value)


def check_choice(owner: str, name: str, value: Any, known: Iterable[str]) -> str:
    """One of the known words."""
    choices = list(known)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{owner}: {unknown(name, str(value), choices)}")
    return value


def check_function(owner: str, name: str, value: Any) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{owner}: {name} must be a function, not {value!r}")
    return value


def check_flag(owner: str, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be True or False, not {value!r}")
    return value


def check_milestones(owner: str, name: str, value: Any, strictly: bool) -> tuple[int, ...]:
    """Whole numbers in increasing order; with ``strictly`` from 1 on, and none of them twice."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}: {name} must be a list of whole numbers, not {value!r}")
    found = tuple(check_whole(owner, f"each of {name}", each, low=1 if strictly else 0) for each in value)
    if any(b < a or (strictly and a == b) for a, b in pairwise(found)):
        raise ValueError(f"{owner}: {name} must be increasing, not {list(found)}")
    return found


def check_step(owner: str, step: Any) -> Step:
    """A step or epoch from 0 on: a Python int where it is whole by its type, otherwise a float."""
    if isinstance(step, numbers.Integral) and not isinstance(step, bool):
        step = int(step)
        if step >= 0:
            return step
        raise ValueError(f"{owner}: a step must be 0 or more, not {step}")
    return check_number(owner, "a step", step, low=0)


def check_result(owner: str, function: Callable[..., Any], step: Step, result: Any) -> float:
    """What a user's function gave, as a Python float."""
    try:
        return float(result)
    except OverflowError:
        raise ValueError(f"{owner}: {_show(function)}({step}) is too large for a float") from None
    except (TypeError, ValueError):
        raise TypeError(f"{owner}: {_show(function)}({step}) must be a number, not {result!r}") from None


# --- fields: a check and maybe a default -----------------------------------------------------------------------------


def checked(check: Check) -> dict[str, Check]:
    """Metadata of a field whose value goes through ``check(owner, name, value)``."""
    return {"check": check}


def optional(check: Check) -> Check:
    """The same check, which lets ``None`` pass."""
    return lambda owner, name, value: None if value is None else check(owner, name, value)


def number(default: Any = MISSING, **limits: float) -> Any:
    """A field for a finite number, with ``low``, ``high`` (inclusive) or ``above``."""
    return field(
        default=default, metadata=checked(lambda owner, name, value: check_number(owner, name, value, **limits))
    )


def whole(default: Any = MISSING, low: int = 1) -> Any:
    """A field for a whole number of ``low`` or more."""
    return field(default=default, metadata=checked(lambda owner, name, value: check_whole(owner, name, value, low)))


def choice(known: Iterable[str], default: Any = MISSING) -> Any:
    """A field for one of the known words."""
    words = tuple(known)
    return field(default=default, metadata=checked(lambda owner, name, value: check_choice(owner, name, value, words)))


def flag(default: bool) -> Any:
    """A field for True or False."""
    return field(default=default, metadata=checked(check_flag))


# --- a user's function -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Function(Schedule):
    """The value itself from a function of the step, whatever the option began with.

    Args:
        function: from step to value; it must depend on nothing else.
    """

    function: Callable[..., float] = field(metadata=checked(check_function))

    @property
    def relative(self) -> bool:
        """No: the function gives the value."""
        return False

    def value(self, step: Step, initial: float) -> float:
        """function(t)."""
        return check_result("Function", self.function, step, self.function(step))


def as_schedule(owner: str, schedule: Any) -> Schedule:
    """A schedule as it is; any other function of the step as `Function`."""
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(f"{owner}: a schedule must be a Schedule or a function of the step, not {schedule!r}")
    return Function(schedule)
