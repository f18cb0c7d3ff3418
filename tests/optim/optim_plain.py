"""The chain of an optimizer run as plain Python: one rule after the other, one element after the other.

This is the second reading of every rule. Elements are NumPy scalars of the parameter's dtype and hyper-parameters are
Python floats, so it computes what the compiled kernel must compute, to the last bit. Norms are taken from the compiled
step, because the order of a sum is not a property of a rule.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import Tensor, optim
from minigrad.optim.optimizer import Optimizer
from minigrad.rules import Rule

__all__ = ["plain_rules", "step_and_compare"]

Arrays = dict[str, np.ndarray]


def plain_rules(
    rules: Sequence[Rule], arrays: Mapping[str, np.ndarray], hypers: Mapping[str, float], norms: Mapping[str, float]
) -> Arrays:
    """The rules on flat arrays by name (update, param, grad, state); returns new arrays with the results."""
    result = {name: array.copy() for name, array in arrays.items()}
    for i in range(result["param"].size):
        element: dict[str, Any] = {name: array[i] for name, array in arrays.items()}
        for rule in rules:
            given = [element[name] if name in element else norms[name] for name in rule.inputs]
            returned = rule(*given, **{name: hypers[name] for name in rule.hypers})
            returned = returned if isinstance(returned, tuple) else (returned,)
            element |= dict(zip(rule.outputs, returned, strict=True))
        for name in result:
            assert type(element[name]) is result["param"].dtype.type
            result[name][i] = element[name]
    return result


def hypers_of(optimizer: Optimizer, name: str, rules: Sequence[Rule], step: int) -> dict[str, float]:
    """The hyper-parameters of one parameter at its own step: options, overrides, and what depends on the step."""
    group = next(g for g in optimizer.param_groups if name in dict(g.named))
    known = {**group.scalars(), **optimizer.parameter_options(group, optimizer.store.entries[name])}
    for rule in rules:
        if rule.scalars is not None:
            wanted = rule.scalars.__code__.co_varnames[1 : rule.scalars.__code__.co_argcount]
            known |= rule.scalars(step, **{option: known[option] for option in wanted})
    return known


def step_and_compare(optimizer: Optimizer, params: Mapping[str, Tensor]) -> None:
    """Take a compiled step, and assert that the plain rules make the same bits of parameters and state."""
    base = optimizer.base if isinstance(optimizer, optim.Lookahead) else optimizer
    base.prepare()
    before = {name: {"param": p.data.copy(), **_slots(base, name)} for name, p in params.items()}
    optimizer.step()
    rules = base.prepare().plan.rules
    for name, parameter in params.items():
        if parameter.grad is None:
            continue
        flat = {key: array.ravel() for key, array in before[name].items()}
        flat |= {"grad": parameter.grad.data.ravel(), "update": parameter.grad.data.ravel()}
        hypers = hypers_of(base, name, rules, base.state[name]["step"])
        after = plain_rules(rules, flat, hypers, base._layout.norms_of(base.store.entries[name]))
        if isinstance(optimizer, optim.Lookahead) and optimizer.counter % optimizer.k == 0:
            after = _slow_step(optimizer, after)
        for slot, array in {"param": parameter.data, **_slots(base, name)}.items():
            assert after[slot].dtype == array.dtype == parameter.dtype
            what = f"{type(base).__name__}, {slot} of {name}: the rules as plain Python beside the compiled step"
            assert_same_numbers(after[slot], array.ravel(), what)


def assert_same_numbers(actual: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    """The same bits, except that all NaN are equal: no standard defines which one arithmetic makes."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan, what)
    if actual[~nan].tobytes() != expected[~nan].tobytes():
        np.testing.assert_array_equal(actual[~nan], expected[~nan], what)  # shows the numbers, and passes for -0 and 0
        raise AssertionError(f"{what}: a zero has another sign")


def _slots(base: Optimizer, name: str) -> Arrays:
    return {slot: array.copy() for slot, array in base.state[name].items() if slot != "step"}


def _slow_step(optimizer: optim.Lookahead, arrays: Arrays) -> Arrays:
    (slow,) = optimizer.periodic
    return plain_rules(slow.rules(optimizer.prepare().plan.state), arrays, slow.options, {})
