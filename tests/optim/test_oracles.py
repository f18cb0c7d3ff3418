"""The oracles of the optimizers agree: textbook formulas and the runs of PyTorch, timm, optax and pytorch_optimizer.

minigrad itself does not appear here. What the two oracles agree on is what tests of minigrad may compare with.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from optim_cases import CASES, SHAPES, STEPS, Case, assert_same_trajectory, case_named, flat, problem, textbook
from optim_reference import ALGORITHMS, make, norm, nothing

GOLDEN = Path(__file__).parents[1] / "golden"
MODULE_OF = {"timm": "torch", "pytorch_optimizer": "torch"}  # what each needs besides itself
ELEMENT_WISE = [name for name in ALGORITHMS if name not in ("LAMB", "LARS")]


@cache
def stored() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "optim_trajectories.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def script():
    spec = importlib.util.spec_from_file_location("optim_trajectories", GOLDEN / "optim_trajectories.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def live(case: Case, library: str) -> np.ndarray:
    for needed in (MODULE_OF.get(library, library), library):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    return script().trajectory(case, library)


def run(name: str, params, steps, **options) -> np.ndarray:
    optimizer = make(name, params, **options)
    rows = []
    for grads in steps:
        optimizer.step(grads)
        rows.append(flat(optimizer.params))
    return np.array(rows)


# The oracles against each other


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_textbook_equals_the_stored_library_at_every_step(case):
    assert_same_trajectory(textbook(case), stored()[case.name], case=case, beside="in the stored run")


@pytest.mark.parametrize(
    ("case", "library"),
    [pytest.param(case, library, id=f"{case.name}-{library}") for case in CASES for library in case.oracles],
)
def test_the_textbook_equals_the_library_run_now(case, library):
    assert_same_trajectory(textbook(case), live(case, library), case=case, beside=f"in {library}")


def test_every_case_is_stored_and_nothing_else():
    assert set(stored()) == {case.name for case in CASES} | {"problem/parameters", "problem/gradients"}


def test_the_problem_is_the_one_the_libraries_were_run_on():
    params, steps = problem()
    assert np.array_equal(flat(params), stored()["problem/parameters"])
    # A power differs in its last bit between processors.
    np.testing.assert_allclose([flat(grads) for grads in steps], stored()["problem/gradients"], rtol=1e-15)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_defaults_groups_and_missing_gradients_among_its_cases(name):
    subjects = {case.subject for case in CASES if case.optimizer == name and case.lookahead is None}
    assert {"default", "two_groups", "none_gradients", "combined", "maximize", "weight_decay"} <= subjects


# Wrong readings are told from right ones


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Adagrad/eps", {"eps_in_sqrt": True}),
        ("RMSprop/eps", {"eps_in_sqrt": True}),
        ("RMSprop/combined", {"centered": False}),
        ("SGD/dampening", {"dampening": 0.0}),
        ("SGD/nesterov", {"nesterov": False}),
        ("Adam/combined", {"decoupled_weight_decay": True}),
        ("Adam/amsgrad", {"amsgrad": False}),
        ("AdamW/decay_by_schedule_only", {"decay_coupling": "lr"}),
        ("RAdam/threshold", {"threshold": 5.0}),
        ("RAdam/default", {"threshold": 4.0}),
        ("NAdam/momentum_decay", {"momentum_decay": 4e-3}),
        ("LAMB/combined", {"exclude_from_decay": nothing}),
        ("LAMB/combined", {"exclude_from_adaptation": nothing}),
        ("LAMB/scope_layer", {"scope": "tensor"}),
        ("LARS/scope_layer", {"scope": "tensor"}),
        ("LARS/schedule", {"lr_in_momentum": False}),
        ("LARS/eps", {"eps": 1e-8}),
        ("Adamax/eps", {"eps": 1e-8}),
        ("Adadelta/eps", {"eps": 1e-6}),
        ("AdaBelief/eps", {"eps": 1e-16}),
        ("Lion/betas", {"betas": (0.93, 0.7)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_wrong_reading_fails_the_comparison(name, wrong):
    with pytest.raises(AssertionError, match="differs first at step"):
        assert_same_trajectory(textbook(case_named(name), **wrong), stored()[name], rtol=1e-7)


@pytest.mark.parametrize("how", ["keep", "reset", "pullback"])
def test_the_three_ways_with_momentum_at_a_sync_differ_after_it_and_not_before(how):
    case = case_named(f"Lookahead/SGD/{how}")
    for other in {"keep", "reset", "pullback"} - {how}:
        rows = stored()[f"Lookahead/SGD/{other}"]
        assert_same_trajectory(textbook(case)[:3], rows[:3])
        assert np.max(np.abs(textbook(case)[3] - rows[3])) > 1e-3


def test_a_nan_never_passes_for_equal():
    with pytest.raises(AssertionError, match="step 2"):
        assert_same_trajectory(np.array([[1.0], [np.nan]]), np.array([[1.0], [1.0]]))


# Relations that need no oracle


@pytest.mark.parametrize("name", ALGORITHMS)
def test_maximizing_is_minimizing_the_negative(name):
    params, steps = problem()
    negative = [{key: -g for key, g in grads.items()} for grads in steps]
    assert np.array_equal(run(name, params, steps, maximize=True), run(name, params, negative))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Adamax", "LAMB"])
def test_without_eps_the_scale_of_the_gradient_does_not_matter(name):
    params, steps = problem()
    larger = [{key: 8.0 * g for key, g in grads.items()} for grads in steps]  # a power of two: exact
    options = {"eps": 0.0, "weight_decay": 0.0, "lr": 0.05}
    assert np.array_equal(run(name, params, larger, **options), run(name, params, steps, **options))


def test_lars_without_decay_and_eps_ignores_the_scale_of_the_gradient():
    params, steps = problem()
    params, steps = {"w": params["0.weight"]}, [{"w": grads["0.weight"]} for grads in steps]
    larger = [{"w": 8.0 * grads["w"]} for grads in steps]
    assert np.array_equal(run("LARS", params, larger, eps=0.0), run("LARS", params, steps, eps=0.0))


@pytest.mark.parametrize("name", ELEMENT_WISE)
def test_an_element_wise_algorithm_does_not_care_how_tensors_are_split(name):
    params, steps = problem()
    whole, pieces = flat(params), np.array([flat(grads) for grads in steps])
    one = run(name, {"all": whole}, [{"all": row} for row in pieces])
    assert np.array_equal(one, run(name, params, steps))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_lookahead_with_alpha_one_is_its_base(name):
    params, steps = problem()
    ahead = run(name, params, steps, lookahead={"k": 3, "alpha": 1.0})
    assert_same_trajectory(ahead, run(name, params, steps), rtol=1e-14)


def test_lookahead_with_alpha_zero_returns_to_the_start_at_every_sync():
    params, steps = problem()
    rows = run("Adam", params, steps, lookahead={"k": 5, "alpha": 0.0}, lr=0.1)
    assert np.array_equal(rows[4::5], np.tile(flat(params), (STEPS // 5, 1)))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_step_without_gradient_changes_nothing_and_does_not_age(name):
    params, steps = problem()
    none = dict.fromkeys(params)
    interleaved = [grads for given in steps for grads in (none, given, none)]
    assert np.array_equal(run(name, params, interleaved)[1::3], run(name, params, steps))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_gradients_and_the_given_parameters_are_not_modified(name):
    params, steps = problem()
    before, untouched = problem()
    run(name, params, steps, maximize=True, weight_decay=0.1)
    assert np.array_equal(flat(params), flat(before))
    assert all(np.array_equal(flat(a), flat(b)) for a, b in zip(steps, untouched, strict=True))


def test_radam_rectifies_from_step_6_at_threshold_5_and_from_step_5_at_4():
    """At beta2 = 0.999, rho_t is 3.997 at t = 4, 4.996 at 5, 5.994 at 6 and 6.992 at 7."""
    rho = [1999 - 2 * t * 0.999**t / (1 - 0.999**t) for t in (4, 5, 6, 7)]
    assert [round(value, 3) for value in rho] == [3.997, 4.996, 5.994, 6.992]
    params, steps = {"w": np.zeros(1)}, [{"w": np.ones(1)}] * 7  # m̂ = 1, so an unrectified step moves by exactly lr
    for threshold, first in ((5.0, 6), (4.0, 5)):
        moves = -np.diff(run("RAdam", params, steps, lr=1.0, threshold=threshold)[:, 0], prepend=0.0)
        rectified = [t for t, move in enumerate(moves, start=1) if abs(move - 1.0) > 0.1]
        assert rectified == list(range(first, 8))


def test_centered_rmsprop_stays_finite_where_rounding_makes_the_variance_negative():
    g = np.linspace(0.1, 1.0, 50)
    optimizer = make("RMSprop", {"w": np.ones(50)}, centered=True, alpha=0.7, eps=1e-3)
    went_negative = False
    for _ in range(200):
        optimizer.step({"w": g})
        state = optimizer.state["w"]
        went_negative |= bool(np.any(state["square_avg"] - state["grad_avg"] ** 2 < 0))
    assert went_negative
    assert np.all(np.isfinite(optimizer.params["w"]))


def test_lamb_moves_a_tensor_by_lr_times_its_clamped_norm():
    params, steps = problem()
    weight = {"w": params["0.weight"]}
    for phi, length in ((None, norm(weight.values())), ((0.0, 2.0), 2.0), ((9.0, 10.0), 9.0)):
        moved = run("LAMB", weight, [{"w": steps[0]["0.weight"]}], lr=0.1, phi=phi)[0] - flat(weight)
        assert np.isclose(np.linalg.norm(moved), 0.1 * length, rtol=1e-13)


def test_a_layer_of_zeros_moves_by_the_unscaled_step():
    g = np.full((2, 2), 0.5)
    zeros = {"w": np.zeros((2, 2))}
    assert np.allclose(run("LARS", zeros, [{"w": g}], lr=0.1)[0], -0.05, rtol=1e-15)
    assert np.allclose(run("LAMB", zeros, [{"w": g}], lr=0.1, eps=0.0)[0], -0.1, rtol=1e-15)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="adam has no option \\['beta'\\]"):
        make("Adam", problem()[0], beta=0.9)


def test_the_problem_has_every_shape_and_no_value_near_zero():
    params, steps = problem()
    assert {name: value.shape for name, value in params.items()} == SHAPES
    assert np.min(np.abs(flat(params))) >= 0.5
    assert all(np.min(np.abs(flat(grads))) > 1e-3 for grads in steps)
