"""Every optimizer computes what its paper and the stored runs of PyTorch, timm and optax say, at every step.

float64 is compared with the stored trajectories and the textbook; float32 with the textbook one step at a time, and
bit for bit with the rules run as plain Python.
"""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from optim_cases import CASES, Case, assert_same_trajectory, case_named, flat, problem, textbook
from optim_plain import step_and_compare
from optim_reference import make
from optim_registry import REGISTRY, VARIANTS
from optim_tools import from_case, leaves, set_gradients, take_step

from minigrad import optim
from minigrad.optim import Optimizer, apply_update, rule
from minigrad.optim.adam import scale_by_adam
from minigrad.rules import Rule

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cache
def stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "optim_trajectories.npz") as file:
        return {name: file[name] for name in file.files}


def trajectory(case: Case, optimizer: Optimizer, params) -> np.ndarray:
    rates = [group["lr"] for group in optimizer.param_groups]
    rows = []
    for t, grads in enumerate(case.gradients()):
        if case.lr_factors is not None:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * case.lr_factors[t]
        rows.append(flat(take_step(optimizer, params, grads)))
    return np.array(rows)


def public_optimizers() -> set[str]:
    found = {name: getattr(optim, name) for name in optim.__all__}
    return {name for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Optimizer)} - {
        "Optimizer"
    }


def test_every_public_optimizer_has_an_entry_in_the_registry():
    assert public_optimizers() == {entry.name for entry in REGISTRY}


# float64


@EVERY_CASE
def test_float64_equals_the_stored_run_and_the_textbook_at_every_step(case):
    rows = trajectory(case, *from_case(case))
    assert rows.dtype == np.float64
    assert_same_trajectory(rows, textbook(case), case=case, beside="by the textbook (optim_reference.py)")
    assert_same_trajectory(rows, stored()[case.name], case=case, beside=f"in the stored run of {case.oracles[0]}")


# float32


def reset_to(optimizer: Optimizer, params, reference, dtype) -> None:
    """Put the textbook's parameters and state, rounded, in place of the optimizer's own."""
    outer = reference if hasattr(reference, "slow") else None
    base = reference.base if outer else reference
    for name, parameter in params.items():
        parameter.data = base.params[name].astype(dtype)
        for slot, array in optimizer.state[name].items():
            if slot == "step":
                continue
            if slot in ("slow", "slow_momentum"):
                array[...] = getattr(outer, slot)[name]
            elif slot in base.state[name]:
                array[...] = base.state[name][slot]


@pytest.mark.parametrize(
    "case", [case for case in CASES if len(case.names) > 3 or case.lookahead is not None], ids=lambda case: case.name
)
def test_float32_is_within_a_few_ulps_of_the_textbook_at_every_step(case):
    """Each step starts from the textbook's values, so that rounding does not pile up.

    A value is as exact as the parameter was before, or is after the step. The worst, 5 ulps, is centered RMSprop, where
    terms cancel; the others stay within 3.
    """
    optimizer, params = from_case(case, np.float32)
    reference = make(case.optimizer, case.parameters(), case.groups, case.lookahead, **case.options)
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.prepare()
    for t, grads in enumerate(case.gradients()):
        if case.lr_factors is not None:
            for group, (_, own), rate in zip(optimizer.param_groups, reference.groups, rates, strict=True):
                group["lr"] = own["lr"] = rate * case.lr_factors[t]
        if t:
            reset_to(optimizer, params, reference, np.float32)
        before = {name: np.abs(value) for name, value in reference.params.items()}
        reference.step(grads)
        after = take_step(optimizer, params, grads)
        for name, value in after.items():
            assert value.dtype == np.float32
            size = np.maximum(before[name], np.abs(reference.params[name]))
            error = np.abs(value - reference.params[name]) / (np.maximum(size, 0.01) * np.finfo(np.float32).eps)
            assert np.all(error <= 8), f"{name} at step {t + 1}: {np.max(error):.1f} ulps"


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_the_compiled_step_has_the_bits_of_the_rules_run_as_plain_python(entry, variant, dtype):
    arrays, steps = problem()
    params = leaves(arrays, dtype)
    optimizer = entry.make(list(params.items()), **entry.variants[variant].options)
    for grads in steps[:7]:
        set_gradients(params, grads)
        step_and_compare(optimizer, params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
def test_parameters_gradients_and_state_keep_their_dtype(entry, variant, dtype):
    arrays, steps = problem()
    params = leaves(arrays, dtype)
    optimizer = entry.make(list(params.items()), **entry.variants[variant].options)
    take_step(optimizer, params, steps[0])
    for name, parameter in params.items():
        assert parameter.dtype == parameter.grad.dtype == dtype
        slots = {slot: array for slot, array in optimizer.state[name].items() if slot != "step"}
        assert set(slots) == set(entry.variants[variant].slots)
        assert all(array.dtype == dtype and array.shape == parameter.shape for array in slots.values())


def test_float32_and_float64_parameters_in_one_optimizer_are_each_updated_in_their_own_precision():
    case = case_named("Adam/combined")
    arrays, steps = case.parameters(), case.gradients()
    params = {**leaves(arrays, np.float64), **leaves({"single": np.ones(5)}, np.float32)}
    optimizer = optim.Adam(list(params.items()), **case.options)
    rows = []
    for grads in steps:
        after = take_step(optimizer, params, {**grads, "single": np.full(5, 0.5)})
        assert after.pop("single").dtype == np.float32
        rows.append(flat(after))
    assert_same_trajectory(np.array(rows), stored()["Adam/combined"])


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_a_layer_whose_weight_and_bias_differ_in_dtype_has_one_norm(name):
    """The norm of a layer then covers two buffers."""
    rng = np.random.default_rng(0)
    arrays = {"0.weight": rng.normal(size=(3, 4)), "0.bias": rng.normal(size=3)}
    nothing = {"exclude_from_decay": lambda name, p: False, "exclude_from_adaptation": lambda name, p: False}
    options = {"lr": 0.1, "weight_decay": 0.1, "scope": "layer", **nothing}
    reference = make(name, arrays, **options)
    params = {"0.weight": leaves(arrays)["0.weight"], "0.bias": leaves(arrays, np.float64)["0.bias"]}
    optimizer = getattr(optim, name)(list(params.items()), **options)
    grads = {key: rng.normal(size=value.shape) for key, value in arrays.items()}
    reference.step(grads)
    after = take_step(optimizer, params, grads)
    np.testing.assert_allclose(after["0.bias"], reference.params["0.bias"], rtol=1e-6)
    np.testing.assert_allclose(after["0.weight"], reference.params["0.weight"], rtol=1e-6)


# A wrong rule fails the checks above


@rule(state=("exp_avg", "exp_avg_sq"), scalars=scale_by_adam.scalars)
def adam_with_eps_in_the_root(update, exp_avg, exp_avg_sq, *, beta1, beta2, eps, debias1, debias2):
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = debias1 * exp_avg / optim.sqrt(debias2 * exp_avg_sq + eps)
    return update, exp_avg, exp_avg_sq


class WrongAdam(optim.Adam):
    def chain(self):
        return [adam_with_eps_in_the_root, apply_update]


def test_a_deliberately_wrong_rule_fails_the_comparison():
    case = case_named("Adam/eps")
    params = leaves(case.parameters(), np.float64)
    rows = trajectory(case, WrongAdam(list(params.items()), **case.options), params)
    with pytest.raises(AssertionError, match="differs first at step 1"):
        assert_same_trajectory(rows, stored()[case.name], rtol=1e-7)


def test_a_kernel_that_does_not_compute_the_rule_fails_the_comparison_of_bits():
    class Inexact(Rule):
        def __call__(self, update, param, *, lr):
            return param - np.float32(1.0001) * np.float32(lr) * update

    class Inexactly(optim.SGD):
        def chain(self):
            return [Inexact(**{each.name: getattr(apply_update, each.name) for each in dataclasses.fields(Rule)})]

    params = leaves({"w": np.ones(3)})
    set_gradients(params, {"w": np.ones(3)})
    with pytest.raises(AssertionError):
        step_and_compare(Inexactly(list(params.items()), lr=0.1), params)
