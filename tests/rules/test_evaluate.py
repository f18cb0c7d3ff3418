"""A rule called as plain Python computes what its kernel does, in the kernel's precision, however it is written."""

import math
from functools import cache

import numpy as np
import pytest
from optim_tools import Chain, leaves, set_gradients

from minigrad import clipping
from minigrad.optim import minimum, rule, sqrt
from minigrad.optim.adam import scale_by_adam, scale_by_amsgrad
from minigrad.optim.trust import scale_by_trust_ratio
from minigrad.rules.elements import run_on_arrays

VALUES = [0.1, -0.7, 3.0, 1e-30, -2.5e20, 0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, 7.3]


@rule(state=("a",))
def by_math(update, param, a):
    a = math.sqrt(math.fabs(update)) + param
    return a


@rule(state=("b",))
def by_numpy(update, param, b):
    b = np.sqrt(np.abs(update)) + param
    return b


@rule(state=("c",))
def by_name(update, param, c):
    c = sqrt(abs(update)) + param
    return c


@rule(state=("d",))
def powers(update, d, *, p, two):
    d = update**2 + abs(update) ** 0.5 + (1 - p) ** 2 * update + two**0.5
    return d


@rule(state=("e",))
def minus_infinity_to_a_half(update, e):
    e = update**0.5
    return e


@rule(state=("f",))
def constants_in_double_first(update, f, *, p):
    third = 1 / 3 if p > 0 else 0.1
    f = (third + 0.1) * (p + 1e-9) * update + third / 7
    return f


@rule(state=("g",))
def one_way_varies(update, g, *, p):
    rate = update if p > 5 else 0.1
    g = rate * 0.3
    return g


@rule(state=("h",))
def choices(update, param, h, *, p):
    large = abs(update) > p
    calm = not large and update != 0
    scale = max(update, 0.3) if calm or p < 0 else min(update, 0.7)
    h = np.maximum(scale, -p) - np.minimum(update, p) * np.sign(param)
    return h


@rule(state=("k",))
def divisions(update, param, k, *, p):
    low = 1 / (p - p) if p > 0 else p
    k = update / (param - param) + low + math.sqrt(-p) * 0 + math.log(p - p)
    return k


@rule(state=("m",))
def far(update, m, *, p):
    m = update * p**200 * 1e300
    return m


@rule
def keep(param):
    param = param + 0
    return param


RULES = [
    by_math,
    by_numpy,
    by_name,
    powers,
    minus_infinity_to_a_half,
    constants_in_double_first,
    one_way_varies,
    choices,
    divisions,
    far,
]
OPTIONS = {"p": 0.7, "two": 2.0}


@cache
def compiled(dtype):
    """The state that one step of all the rules leaves, by rule."""
    params = leaves({"w": np.array(VALUES[::-1])}, dtype)
    optimizer = Chain(params, *RULES, keep, **OPTIONS)
    set_gradients(params, {"w": np.array(VALUES)})
    optimizer.step()
    return {element.name: optimizer.state["w"][element.state[0]] for element in RULES}


def same(actual, expected):
    """The same bits, but for the bits of NaN."""
    assert actual.dtype == expected.dtype
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    assert actual[~nan].tobytes() == expected[~nan].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("element", RULES, ids=lambda element: element.name)
def test_scalars_and_arrays_have_the_bits_of_the_kernel(element, dtype):
    with np.errstate(over="ignore"):
        found = {"update": np.array(VALUES, dtype), "param": np.array(VALUES[::-1], dtype)}
    found[element.state[0]] = np.zeros(len(VALUES), dtype)
    arrays = [found[name] for name in element.inputs]
    options = {name: OPTIONS[name] for name in element.hypers}
    expected = compiled(dtype)[element.name]
    scalars = [element(*given, **options) for given in zip(*arrays, strict=True)]
    assert {type(value) for value in scalars} == {dtype}
    same(np.array(scalars), expected)
    same(np.broadcast_to(element(*arrays, **options), expected.shape), expected)


@pytest.mark.parametrize("element", RULES, ids=lambda element: element.name)
def test_a_rule_on_arrays_in_double_has_the_bits_of_the_kernel(element):
    found = {"update": VALUES, "param": VALUES[::-1], element.state[0]: np.zeros(len(VALUES))}
    result = run_on_arrays([element], found | OPTIONS)[element.state[0]]
    same(np.broadcast_to(result, len(VALUES)), compiled(np.float64)[element.name])


def test_rules_on_arrays_take_numbers_that_are_the_same_for_all():
    found = run_on_arrays([by_name, keep], {"update": 4, "param": np.float32([1, 2]), "c": 0.0})
    assert found["c"].tolist() == [3.0, 4.0]
    assert found["param"].dtype == np.float64


def test_the_root_is_taken_in_the_parameters_precision_however_it_is_spelled():
    f, numbers = np.float32, range(2, 50)
    single = [np.sqrt(f(n)) + f(0.1) for n in numbers]
    for by in (by_math, by_numpy, by_name):
        assert [by(f(n), f(0.1), f(0)) for n in numbers] == single
    assert [f(math.sqrt(n) + float(f(0.1))) for n in numbers] != single


def test_python_floats_alone_are_computed_in_double():
    assert by_math(2.0, 0.0, 0.0) == math.sqrt(2)
    assert isinstance(by_math(2.0, 0.0, 0.0), float)


def test_a_renamed_rule_runs_under_its_new_names():
    (first, second) = (clipping.by_global_norm(1.0).numbered(n) for n in (1, 2))
    assert first.rule(8.0, 4.0, max_norm=1.0) == pytest.approx(2.0, rel=1e-6)
    assert second.rule.inputs == ("update", "clip2_norm")
    assert second.rule(8.0, 4.0, max_norm2=1.0) == first.rule(8.0, 4.0, max_norm=1.0)
    assert [a.text for a in second.rule.body][1] == "update = factor * update"
    assert "max_norm2 / (clip2_norm + " in second.rule.body[0].text
    with pytest.raises(TypeError, match="unknown argument 'max_norm'; did you mean 'max_norm2'"):
        second.rule(8.0, 4.0, max_norm=1.0)


@rule
def reuses_a_name(update, *, threshold):
    threshold = threshold + 1
    update = threshold * update
    return update


def test_a_name_that_the_rule_sets_anew_is_renamed_too():
    assert reuses_a_name.renamed({"threshold": "threshold2"})(3.0, threshold2=1.0) == 6.0


def test_a_rule_returns_what_it_names_in_its_order():
    f = np.float32
    update, m, v = scale_by_adam(f(0.5), f(0), f(0), beta1=0.9, beta2=0.99, eps=1e-8, debias1=10.0, debias2=100.0)
    assert (type(update), type(m), type(v)) == (f, f, f)
    assert (m, v) == (f(1 - 0.9) * f(0.5), f(1 - 0.99) * f(0.5) * f(0.5))
    assert update == pytest.approx(1, rel=1e-6)
    options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "debias1": 10.0, "debias2": 100.0, "amsgrad": 0.0}
    (*_, largest) = scale_by_amsgrad(f(0.5), f(0), f(0), f(7), **options)
    assert (type(largest), largest) == (f, 0)


def test_norms_are_double_and_rounded_where_they_meet_the_update():
    norms = (2.0000000001, 3.0)
    found = scale_by_trust_ratio(np.float32(0.1), *norms, adapted=1.0, phi_low=0.0, phi_high=math.inf)
    assert found == np.float32(norms[0] / norms[1]) * np.float32(0.1)
    assert type(found) is np.float32


def test_arguments_are_bound_by_position_and_name_and_wrong_ones_are_refused():
    assert by_name(update=4.0, param=1.0, c=0.0) == by_name(4.0, 1.0, 0.0) == by_name(4.0, c=0.0, param=1.0) == 3.0
    with pytest.raises(TypeError, match="rule 'by_name': param and c must be given"):
        by_name(4.0)
    with pytest.raises(TypeError, match="unknown argument 'parm'; did you mean 'param'"):
        by_name(4.0, parm=1.0)
    with pytest.raises(TypeError, match="update is given twice"):
        by_name(4.0, 1.0, update=2.0)
    with pytest.raises(TypeError, match="takes update, param, c by position, not 4 values"):
        by_name(1.0, 2.0, 3.0, 4.0)
    with pytest.raises(TypeError, match="rule 'by_name': update must be a number, not 'four'"):
        by_name("four", 1.0, 0.0)


def test_statements_run_one_by_one_and_their_parts_have_values():
    reading = choices.reading({"update": np.float32(-0.1), "param": np.float32(2), "h": 0.0, "p": 0.7})
    found = [reading.assign(each.target, each.value) for each in choices.body]
    assert [bool(value) for value in found[:2]] == [False, True]
    assert found[2] == np.float32(0.3)
    assert bool(reading.value(choices.body[2].value.test)) is True
    assert reading.values["h"] == found[3] == choices(np.float32(-0.1), np.float32(2), 0.0, p=0.7)
    assert choices.body[0].text == "large = abs(update) > p"


@rule
def shorten(update, u_norm, *, longest):
    update = update * minimum(1.0, longest / u_norm)
    return update


def test_a_factor_is_what_an_update_of_1_becomes():
    assert shorten.factor({"u_norm": 4.0}, {"longest": 1.0}) == 0.25
    factors = shorten.factor({"u_norm": np.array([0.0, 0.5, 4.0])}, {"longest": np.array([[1.0], [8.0]]), "lr": 2.0})
    np.testing.assert_array_equal(factors, [[1, 1, 0.25], [1, 1, 1]])
    with pytest.raises(KeyError, match="longest"):
        shorten.factor({"u_norm": 4.0}, {})
