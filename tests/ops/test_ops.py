"""Every primitive: gradients against differences, dtypes, and nobody's memory touched."""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES

from minigrad import ops
from minigrad.autograd.gradients import grad
from minigrad.autograd.graph import collect
from minigrad.autograd.tensor import Tensor, edge_of
from minigrad.devices.summation import axes_of
from minigrad.gradcheck import GradientError, check_gradients
from minigrad.ops import PRIMITIVES, primitive

FEW = settings(max_examples=10, deadline=None, derandomize=True)
TESTED = sorted(name for name in PRIMITIVES if not name.startswith("test_"))
DIFFERENTIABLE = [name for name in TESTED if PRIMITIVES[name].differentiable]


def test_every_primitive_has_a_case_and_every_case_a_primitive() -> None:
    assert set(TESTED) == set(CASES)


@pytest.mark.parametrize("name", TESTED)
@given(data=st.data())
@settings(FEW, max_examples=3)
def test_a_case_runs_the_primitive_it_is_named_after(name: str, data: st.DataObject) -> None:
    f, arrays = CASES[name](data.draw)
    calls = []
    entry = PRIMITIVES[name]
    forward = entry.forward
    entry.forward = lambda *args, **kwargs: (calls.append(name), forward(*args, **kwargs))[1]
    try:
        f(*map(Tensor, arrays))
    finally:
        entry.forward = forward
    assert calls


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
@FEW
def test_gradients_are_those_of_the_values_in_first_and_second_order(name: str, data: st.DataObject) -> None:
    f, arrays = CASES[name](data.draw)
    try:
        check_gradients(f, [Tensor(a) for a in arrays], seed=data.draw(st.integers(0, 1000)))
    except GradientError as error:
        shapes = ", ".join(str(a.shape) for a in arrays)
        error.add_note(
            f"{name} on inputs of shape {shapes}: look in the op table at the rule of the input marked WRONG. If more "
            "ops fail, it may be the rule of one that this rule is written in: mend the simplest first"
        )
        raise


def called_by(function: Any) -> Iterator[Any]:
    """What the text of a function names, from outside of it."""
    codes = [function.__code__]
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL" and instruction.argval in function.__globals__:
                yield function.__globals__[instruction.argval]
    yield from (cell.cell_contents for cell in function.__closure__ or ())


def arrays_met_by(function: Any, seen: set[Any]) -> Iterator[str]:
    """NumPy, and our own functions of arrays, as far as ``function`` calls them other than through primitives."""
    for value in called_by(function):
        module = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) or ""
        if inspect.isfunction(value) and value in seen:
            continue
        if isinstance(value, np.ufunc) or module.partition(".")[0] == "numpy" or module.startswith("minigrad.devices"):
            yield f"{function.__qualname__} names {value}"
        elif inspect.isfunction(value) and module.startswith(("minigrad.", __name__)):
            seen.add(value)
            yield from arrays_met_by(value, seen)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_rules_reach_arrays_only_through_operators_and_primitives(name: str) -> None:
    # What a rule computes with NumPy itself would have no gradient, and be a constant of a recorded or compiled walk.
    entry = PRIMITIVES[name]
    # `axes_of` computes with axes and shapes only.
    rules = [rule for rule in (*entry.vjps, *entry.extras.values()) if rule is not None]
    assert not [found for rule in rules for found in arrays_met_by(rule, {axes_of})]


def test_a_rule_that_calls_numpy_through_a_helper_is_found(wrong_rule) -> None:
    def helper(g, x):
        return g * np.sign(x)

    entry = wrong_rule("helped", np.abs, (lambda g, x: helper(g, x),))
    assert "helper names <module 'numpy'" in next(arrays_met_by(entry.vjps[0], set()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
@FEW
def test_dtypes_are_kept_and_no_memory_is_changed_or_shared(name: str, dtype: type, data: st.DataObject) -> None:
    f, arrays = CASES[name](data.draw)
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    before = [a.copy() for a in arrays]
    inputs = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out = f(*inputs)
    incoming = np.random.default_rng(0).standard_normal(out.shape).astype(dtype)
    given_gradient = incoming.copy()
    wanted = [x for x in inputs if x.requires_grad]
    found = grad(out, wanted, Tensor(incoming))

    assert out.dtype == dtype
    assert [g.dtype for g in found] == [dtype] * len(found)
    assert [g.shape for g in found] == [x.shape for x in wanted]
    np.testing.assert_array_equal(incoming, given_gradient)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    everything = [incoming, *arrays, *(g.data for g in found)]
    for g in found:
        assert sum(np.shares_memory(g.data, other) for other in everything) == 1 or not g.size


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
@FEW
def test_rules_compute_in_the_dtype_of_their_inputs(name: str, data: st.DataObject) -> None:
    # The walk would cast a float64 gradient back, but the time and the memory would be spent.
    f, arrays = CASES[name](data.draw)
    arrays = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
    out = f(*(Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays))
    for node in collect({edge_of(out)}):
        g = np.ones(node.shape, np.float32)
        for position, rule, places, names in node.recipe.rules:
            arrived = rule(g, *(node.saved[i] for i in places), **{key: node.settings[key] for key in names})
            assert arrived.dtype == np.float32, f"{node.primitive.name}, input {position}"


@pytest.mark.parametrize("name", sorted(set(TESTED) - set(DIFFERENTIABLE)))
@given(data=st.data())
@FEW
def test_results_without_gradient_require_none(name: str, data: st.DataObject) -> None:
    f, arrays = CASES[name](data.draw)
    out = f(*(Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays))
    assert not out.requires_grad
    assert out.dtype.kind in "bi" or out.dtype == arrays[0].dtype


# --- the checks themselves can fail ----------------------------------------------------------------------------------


@pytest.fixture
def wrong_rule():
    """Makes primitives with a wrong rule, and takes them out of the table again."""
    made = []

    def make(name, forward, rules, inputs="x", **options):
        made.append(f"test_{name}")
        return primitive(f"test_{name}", forward, inputs, rules, **options)

    yield make
    for name in made:
        del PRIMITIVES[name]


def test_a_wrong_factor_fails_the_check_by_complex_step(wrong_rule) -> None:
    cube = wrong_rule("cube", lambda x: x * x * x, (lambda g, x: g * 2.99 * x * x,))
    with pytest.raises(GradientError, match=r"WRONG input 0, order 1.*complex step"):
        check_gradients(cube, Tensor(np.array([0.5, -1.0, 2.0])))


def test_a_wrong_factor_fails_the_check_by_differences(wrong_rule) -> None:
    ramp = wrong_rule("ramp", lambda x: np.maximum(x, 0), (lambda g, x: g * (x > 0) * 1.01,), analytic=False)
    with pytest.raises(GradientError, match=r"WRONG input 0, order 1.*central difference"):
        check_gradients(ramp, Tensor(np.array([0.5, -1.0, 2.0])))


def test_a_rule_right_only_in_first_order_fails_in_second(wrong_rule) -> None:
    def rule(g, x):
        return g * Tensor(3 * np.square(getattr(x, "data", x))) if isinstance(g, Tensor) else g * 3 * x * x

    cube = wrong_rule("cube", lambda x: x * x * x, (rule,))
    inputs = Tensor(np.array([0.5, -1.0, 2.0]))
    assert check_gradients(cube, inputs, order=1)
    with pytest.raises(GradientError, match="order 2"):
        check_gradients(cube, inputs)


def test_a_wrong_second_order_is_not_taken_for_a_jump_where_the_true_one_is_0(wrong_rule) -> None:
    # The slopes of a constant are rounding errors, which grow as the step shrinks just as those across a jump do.
    def rule(g, x):
        g = g * 2 + g * (x * 3 - x * 2.1 - x * 0.9)
        return g + g * (x - x.detach()) if isinstance(x, Tensor) else g

    double = wrong_rule("double", lambda x: x * 2, (rule,), analytic=False)
    for point in np.linspace(-2.7, 3.1, 20):
        with pytest.raises(GradientError, match="WRONG input 0, order 2"):
            check_gradients(double, Tensor(point))


def test_an_error_that_cancels_in_a_plain_sum_is_seen(wrong_rule) -> None:
    reverse = wrong_rule("reverse", lambda x: x[::-1], (lambda g: g,))
    with pytest.raises(GradientError):
        check_gradients(reverse, Tensor(np.array([0.5, -1.0, 2.0])))


def test_a_rule_that_returns_an_impossible_shape_is_reported_with_the_op(wrong_rule) -> None:
    broken = wrong_rule("broken", lambda x: x * 2, (lambda g: ops.concatenate(g, g) * 2,))
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(ValueError, match=r"test_broken: the gradient rule for input 0 returned shape \(6,\)"):
        broken(x).sum().backward()
    assert x.grad is None


def test_an_exception_in_a_rule_names_the_op(wrong_rule) -> None:
    broken = wrong_rule("raising", lambda x: x * 2, (lambda g: g.no_such_method(),))
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(AttributeError) as caught:
        broken(x).sum().backward()
    assert "test_raising" in caught.value.__notes__[0]


def test_a_rule_that_asks_for_something_unknown_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="test_unknown: a gradient rule asks for 'y'"):
        primitive("test_unknown", np.negative, "x", (lambda g, y: g,))
    assert "test_unknown" not in PRIMITIVES


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="'exp' already exists"):
        primitive("exp", np.exp, "x")


def test_a_cell_that_defines_a_primitive_can_be_run_again() -> None:
    cell = (
        "from minigrad.ops import primitive\ncube = primitive('test_cell', lambda x: x ** power, 'x', doc='A power.')"
    )
    notebook = {"__name__": "__main__", "power": 2}
    try:
        exec(cell, notebook)
        first = notebook["cube"]
        exec(cell, notebook | {"power": 3})
        assert PRIMITIVES["test_cell"](2.0) == 8.0
        assert first(2.0) == 4.0, "what was made before is as it was"
        with pytest.raises(TypeError, match="asks for 'y'"):
            exec(cell.replace("doc=", "vjps=(lambda g, y: g,), doc="), notebook)
        assert PRIMITIVES["test_cell"](2.0) == 8.0, "a definition that is refused replaces nothing"
        with pytest.raises(ValueError, match="'test_cell' already exists, from __main__; choose another name"):
            exec(cell, {"__name__": "another_module", "power": 2})
    finally:
        PRIMITIVES.pop("test_cell", None)


@pytest.mark.parametrize("module", ["__main__", "mine", "minigrad.ops.elementwise"])
def test_a_name_of_the_package_stays_taken(module: str) -> None:
    before = PRIMITIVES["exp"]
    with pytest.raises(ValueError, match=r"'exp' already exists, from minigrad\.ops\.elementwise"):
        exec("from minigrad.ops import primitive\nprimitive('exp', abs, 'x')", {"__name__": module})
    assert PRIMITIVES["exp"] is before


@pytest.mark.parametrize("name", TESTED)
def test_every_primitive_says_in_a_sentence_what_it_computes(name: str) -> None:
    text = PRIMITIVES[name].__doc__
    assert text
    assert text.endswith(".")
    assert "\n" not in text, "NumPy's text rather than ours"


def test_a_number_that_is_taken_several_times_receives_every_gradient() -> None:
    for axis in (None, 0):
        x = Tensor(np.float64(0.5), requires_grad=True)
        x.take([0, 0, -1], axis=axis).sum().backward()
        assert x.grad.item() == 3


def test_a_list_is_summed_as_by_numpy() -> None:
    assert ops.sum([1.0, 2.0]) == 3
