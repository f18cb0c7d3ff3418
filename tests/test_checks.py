"""One validator of arguments: what each check lets pass, what it returns, and how it refuses the rest."""

import math
import pickle
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from minigrad import checks, tensor

INF = math.inf


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), np.float16(1), Fraction(1)])
def test_a_number_of_any_type_becomes_a_python_float(value):
    found = checks.number("f", "x", value)
    assert type(found) is float
    assert found == 1


@pytest.mark.parametrize("value", ["1", None, True, np.True_, 1j, [1.0], np.array(1.0), tensor(1.0)])
def test_what_is_not_a_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="f: x must be a finite number, not "):
        checks.number("f", "x", value)


@pytest.mark.parametrize(
    ("limits", "allowed", "refused", "words"),
    [
        ({}, [-1e300, 0], [INF, -INF, math.nan, 10**400], "a finite number"),
        ({"finite": False}, [-INF, INF], [math.nan], "a number"),
        ({"low": 0}, [0, 1e300], [-1e-300, INF, math.nan], "a finite number of 0 or more"),
        ({"above": 0}, [1e-300], [0, -1, INF], "a finite number above 0"),
        ({"above": 0, "finite": False}, [1, INF], [0, -INF], "a number above 0"),
        ({"high": 2}, [2, -5], [2.1, -INF], "a finite number of 2 or less"),
        ({"below": 2}, [1.9, -5], [2, -INF], "a finite number below 2"),
        ({"low": 0, "high": 1}, [0, 1], [-0.1, 1.1], "a number in [0, 1]"),
        ({"low": 0, "below": 1}, [0, 0.9], [1, -0.1], "a number in [0, 1)"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "a number in (0, 1)"),
    ],
)
def test_a_number_keeps_to_its_limits_and_an_error_names_them(limits, allowed, refused, words):
    assert [checks.number("f", "x", value, **limits) for value in allowed] == allowed
    for value in refused:
        with pytest.raises(ValueError, match="f: x must be ") as caught:
            checks.number("f", "x", value, **limits)
        assert f"must be {words}, not " in str(caught.value)


def test_an_interval_can_be_pickled():
    found = pickle.loads(pickle.dumps(checks.interval(above=0)))
    assert not found.allows(0)
    assert found.allows(1)


def test_a_whole_number_is_an_integer_by_its_type_from_its_least_value_on():
    assert [checks.whole("f", "n", value) for value in (1, np.int8(3))] == [1, 3]
    assert checks.whole("f", "n", -5, least=None) == -5
    for value in (0, np.int8(-1)):
        with pytest.raises(ValueError, match="f: n must be a whole number of 1 or more, not "):
            checks.whole("f", "n", value)
    for value in (2.0, np.float64(2), True, np.True_, "2", None, [2]):
        with pytest.raises(TypeError, match="f: n must be a whole number of 1 or more, not "):
            checks.whole("f", "n", value)
    with pytest.raises(TypeError, match=r"f: n must be a whole number, not 0\.5"):
        checks.whole("f", "n", 0.5, least=None)


def test_a_flag_is_a_bool_and_nothing_that_is_only_true():
    assert checks.flag("f", "x", np.True_) is True
    for value in (1, 0, "yes", None):
        with pytest.raises(TypeError, match="f: x must be True or False, not "):
            checks.flag("f", "x", value)


def test_a_choice_names_the_nearest_word():
    assert checks.choice("f", "mode", "max", ("min", "max")) == "max"
    for value in ("mxa", None, ["max"]):
        with pytest.raises(ValueError, match="f: unknown mode "):
            checks.choice("f", "mode", value, ("min", "max"))


def test_a_function_is_anything_that_can_be_called():
    assert checks.function("f", "g", abs) is abs
    with pytest.raises(TypeError, match="f: g must be a function, not 3"):
        checks.function("f", "g", 3)
    assert checks.optional(checks.function)("f", "g", None) is None


def test_an_owner_may_be_an_object_whose_class_is_named():
    class Layer:
        pass

    with pytest.raises(ValueError, match="Layer: size must be a whole number of 1 or more, not -1"):
        checks.whole(Layer(), "size", -1)


def test_the_fields_of_a_frozen_dataclass_are_checked_and_converted():
    @dataclass(frozen=True)
    class Settings:
        gamma: float = checks.checked(checks.number, 0.5, low=0)
        every: int = checks.checked(checks.whole, 1)
        other: object = None

        def __post_init__(self):
            checks.check_fields(self)

    made = Settings(1, every=np.int32(2))
    assert (type(made.gamma), type(made.every)) == (float, int)
    with pytest.raises(ValueError, match="Settings: gamma must be a finite number of 0 or more, not -1"):
        Settings(-1, every=2)


def test_a_long_value_is_cut_in_a_message():
    with pytest.raises(TypeError) as caught:
        checks.whole("f", "n", list(range(1000)))
    assert len(str(caught.value)) < 140
