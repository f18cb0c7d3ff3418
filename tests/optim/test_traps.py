"""The traps of SEMANTICS by name, over every optimizer: sizes, groups, missing and extreme gradients, relations."""

import numpy as np
import pytest
from optim_cases import assert_same_trajectory, flat, problem
from optim_plain import step_and_compare
from optim_reference import make
from optim_registry import ELEMENT_WISE, REGISTRY, VARIANTS, Entry, entry_named
from optim_tools import assert_same_bits, leaves, run, set_gradients, take_step, values

from minigrad import optim

EVERY_OPTIMIZER = pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
EVERY_VARIANT = pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=lambda value: getattr(value, "name", value))
INF = float("inf")


def built(entry: Entry, params, variant="default", **changed):
    return entry.make(list(params.items()), **{**entry.variants[variant].options, **changed})


def random_arrays(shapes: dict, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))
        for name, shape in shapes.items()
    }


def assert_equals_textbook(entry: Entry, arrays, steps, variant="default") -> None:
    options = entry.variants[variant].options
    params = leaves(arrays, np.float64)
    optimizer, reference = built(entry, params, variant), entry.reference(arrays, **options)
    rows, expected = [], []
    for grads in steps:
        rows.append(flat(take_step(optimizer, params, grads)))
        reference.step(grads)
        expected.append(flat(reference.params))
    assert_same_trajectory(np.array(rows), np.array(expected))


# Sizes


@EVERY_OPTIMIZER
def test_sizes_around_the_length_of_a_block_and_scalars_and_empty_tensors(entry):
    shapes = {"a.w": (1001,), "a.e": (0,), "b.w": (65535,), "c.s": (), "d.w": (65536,), "e.o": (1,), "f.w": (5, 65537)}
    if not entry.element_wise:
        shapes["f.w"] = (1, 65537)
    steps = [random_arrays(shapes, seed) for seed in (1, 2, 3)]
    assert_equals_textbook(entry, random_arrays(shapes), steps)


@EVERY_OPTIMIZER
def test_more_than_110_tensors(entry):
    shapes = {
        f"{i}.{kind}": (i % 7 + 1, 3) if kind == "weight" else (i % 7 + 1,)
        for i in range(70)
        for kind in ("weight", "bias")
    }
    steps = [random_arrays(shapes, seed) for seed in (1, 2, 3, 4)]
    assert_equals_textbook(entry, random_arrays(shapes), steps)


@EVERY_OPTIMIZER
def test_only_empty_tensors(entry):
    params = leaves({"nothing": np.zeros((0, 3))})
    optimizer = built(entry, params)
    assert take_step(optimizer, params, {"nothing": np.zeros((0, 3))})["nothing"].shape == (0, 3)
    assert optimizer.state["nothing"]["step"] == 1


# Groups and missing gradients


@EVERY_OPTIMIZER
def test_a_group_is_updated_as_if_it_were_alone(entry):
    """Options that one group switches on must not reach into another."""
    arrays, steps = problem()
    names = tuple(arrays)
    halves = names[::2], names[1::2]
    variants = [dict(variant.options) for variant in entry.variants.values()]
    own = [variants[0], {k: v for k, v in variants[-1].items() if k not in ("lr_in_momentum", "scope", "phi")}]
    if entry.lookahead:
        own = [{"lr": 0.05, "maximize": True}, {"lr": 0.02, "weight_decay": 0.1}]
    together = leaves(arrays)
    groups = [
        {"params": [(n, together[n]) for n in half], **options} for half, options in zip(halves, own, strict=True)
    ]
    optimizer = entry.make(groups)
    rows = run(optimizer, together, steps[:6])
    for half, options in zip(halves, own, strict=True):
        alone = leaves({name: arrays[name] for name in half})
        for row, expected in zip(rows, run(entry.make(list(alone.items()), **options), alone, steps[:6]), strict=True):
            assert_same_bits({name: row[name] for name in half}, expected)


@pytest.mark.parametrize(
    ("entry", "variant"),
    [pair for pair in VARIANTS if not pair[0].lookahead],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_parameter_without_gradient_is_skipped_with_its_state_and_its_age(entry, variant):
    """Its next step is the one it would have taken then. Lookahead counts its own steps instead."""
    arrays, steps = problem()
    params, undisturbed = leaves(arrays), leaves(arrays)
    optimizer, other = built(entry, params, variant), built(entry, undisturbed, variant)
    name = "0.weight"
    given = [grads if t % 3 else {**grads, name: None} for t, grads in enumerate(steps[:9])]
    for grads in given:
        before, state = params[name].data.copy(), {k: np.copy(v) for k, v in optimizer.state[name].items()}
        take_step(optimizer, params, grads)
        if grads[name] is None:
            assert_same_bits(params[name].data, before)
            assert all(np.array_equal(state[slot], optimizer.state[name][slot]) for slot in state)
        else:
            take_step(other, undisturbed, {**dict.fromkeys(arrays), name: grads[name]})
    assert optimizer.state[name]["step"] == 6
    assert_same_bits(params[name].data, undisturbed[name].data)


@EVERY_OPTIMIZER
def test_a_step_without_any_gradient_changes_nothing(entry):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry, params)
    take_step(optimizer, params, steps[0])
    before = values(params)
    assert_same_bits(take_step(optimizer, params, dict.fromkeys(arrays)), before)


@EVERY_VARIANT
def test_gradients_are_not_modified_by_a_step(entry, variant):
    arrays, steps = problem()
    params = leaves(arrays)
    optimizer = built(entry, params, variant, maximize=True)
    for grads in steps[:4]:
        set_gradients(params, grads)
        before = {name: p.grad.data.copy() for name, p in params.items()}
        optimizer.step()
        assert_same_bits({name: p.grad.data for name, p in params.items()}, before)


# Relations that need no oracle


@EVERY_OPTIMIZER
def test_maximizing_is_minimizing_the_negative_to_the_last_bit(entry):
    arrays, steps = problem()
    one, other = leaves(arrays), leaves(arrays)
    negative = [{name: -g for name, g in grads.items()} for grads in steps[:6]]
    climbed = run(built(entry, one, maximize=True), one, steps[:6])
    assert_same_bits(climbed, run(built(entry, other), other, negative))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "Adamax", "LAMB", "LARS"])
def test_without_eps_the_scale_of_the_gradient_does_not_matter(name):
    """LARS only where it adapts, so its parameters are matrices here."""
    arrays, steps = problem()
    matrices = {key: value for key, value in arrays.items() if value.ndim > 1}
    one, other = leaves(matrices), leaves(matrices)
    larger = [{key: 2.0**20 * grads[key] for key in matrices} for grads in steps[:8]]
    options = {"eps": 0.0, "weight_decay": 0.0, "lr": 0.05}
    assert_same_bits(
        run(entry_named(name).make(list(one.items()), **options), one, steps[:8]),
        run(entry_named(name).make(list(other.items()), **options), other, larger),
    )


@pytest.mark.parametrize("entry", ELEMENT_WISE, ids=lambda entry: entry.name)
def test_an_element_wise_optimizer_does_not_care_how_tensors_are_split(entry):
    arrays, steps = problem()
    split, whole = leaves(arrays), leaves({"all": flat(arrays)})
    pieces = run(built(entry, split), split, steps[:6])
    one = run(built(entry, whole), whole, [{"all": flat(grads)} for grads in steps[:6]])
    assert_same_bits([flat(row) for row in pieces], [row["all"] for row in one])


@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB"])
def test_lookahead_with_alpha_one_is_its_base(name):
    arrays, steps = problem()
    bare, wrapped = leaves(arrays), leaves(arrays)
    base = entry_named(name)
    optimizer = optim.Lookahead(built(base, wrapped), k=3, alpha=1.0)
    for expected, actual in zip(
        run(built(base, bare), bare, steps[:9]), run(optimizer, wrapped, steps[:9]), strict=True
    ):
        for key in arrays:
            # slow + (fast - slow) rounds once more than fast.
            np.testing.assert_allclose(actual[key], expected[key], rtol=1e-6, atol=1e-7)


def test_lookahead_with_alpha_zero_returns_to_the_start_at_every_sync():
    arrays, steps = problem()
    params = leaves(arrays)
    start = values(params)
    rows = run(optim.Lookahead(built(entry_named("Adam"), params), k=5, alpha=0.0), params, steps[:15])
    assert_same_bits(rows[4::5], [start] * 3)
    assert rows[5]["0.bias"][0] != start["0.bias"][0]


# Extreme values


@pytest.mark.parametrize(
    ("entry", "variant"),
    [pair for pair in VARIANTS if pair[0].element_wise],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("value", [1e20, -1e20, 1e-40, 1e-45, INF, -INF, float("nan"), 3e38], ids=str)
def test_extreme_gradients_are_computed_as_the_rules_say(entry, variant, value):
    """Whatever comes out, NaN or not, is what plain Python computes, and stays with the element it came from.

    The state has overflowed after the first step in some; two further steps go on from there.
    """
    params = leaves({"w": np.linspace(-1, 1, 6)})
    grad = np.full(6, 0.25)
    grad[2] = value
    untouched = leaves({"w": np.linspace(-1, 1, 6)})
    optimizer, other = built(entry, params, variant), built(entry, untouched, variant)
    for grads in (grad, np.full(6, -0.5), np.full(6, 0.125)):
        set_gradients(params, {"w": grads})
        step_and_compare(optimizer, params)
        take_step(other, untouched, {"w": np.where(np.arange(6) == 2, 0.25, grads)})
    elsewhere = np.arange(6) != 2
    assert_same_bits(params["w"].data[elsewhere], untouched["w"].data[elsewhere])


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_norms_of_float32_do_not_overflow(name):
    """‖[1e20, 1e20]‖ is 1.4e20; squared in float32 it would be infinite, and the ratio 0."""
    arrays, grads = {"w": np.full((1, 2), 1e20)}, {"w": np.full((1, 2), 1e20)}
    options = {"lr": 0.25, "weight_decay": 0.0}
    params, reference = leaves(arrays), make(name, arrays, **options)
    after = take_step(entry_named(name).make(list(params.items()), **options), params, grads)
    if name == "LAMB":  # Adam's own second moment overflows, and then the direction and its norm are 0
        assert np.all(np.isfinite(after["w"]))
        return
    reference.step(grads)
    np.testing.assert_allclose(after["w"], reference.params["w"], rtol=1e-6)


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
@pytest.mark.parametrize("value", [INF, float("nan")], ids=str)
def test_a_nonfinite_gradient_stays_within_its_tensor(name, value):
    arrays = {"0.weight": np.ones((2, 3)), "1.weight": np.ones((2, 3))}
    params = leaves(arrays)
    grads = {"0.weight": np.full((2, 3), value), "1.weight": np.full((2, 3), 0.5)}
    after = take_step(built(entry_named(name), params), params, grads)
    other = leaves({"1.weight": arrays["1.weight"]})
    assert not np.any(np.isfinite(after["0.weight"]))
    assert_same_bits(after["1.weight"], take_step(built(entry_named(name), other), other, grads)["1.weight"])


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_a_layer_of_zeros_and_a_gradient_of_zeros(name):
    """Where a norm is 0 the ratio is 1 or the step is 0, never 0/0."""
    zeros, ones = np.zeros((2, 3)), np.ones((2, 3))
    arrays = {"0.weight": zeros, "1.weight": ones, "2.weight": zeros}
    grads = {"0.weight": ones, "1.weight": zeros, "2.weight": zeros}
    params = leaves(arrays)
    after = take_step(entry_named(name).make(list(params.items()), lr=0.5, eps=0.0), params, grads)
    np.testing.assert_allclose(after["0.weight"], -0.5 * ones, rtol=1e-6)
    if name == "LARS":  # LAMB with ε = 0 divides 0 by 0 inside Adam, as its formula says
        assert_same_bits(after["1.weight"], np.float32(ones))
        assert_same_bits(after["2.weight"], np.float32(zeros))


def test_centered_rmsprop_has_no_nan_under_a_constant_float32_gradient():
    """Rounding makes E[g²] - E[g]² negative; PyTorch's root of it is NaN."""
    params = leaves({"w": np.ones(100)})
    optimizer = optim.RMSprop(list(params.items()), lr=1e-4, alpha=0.7, centered=True)
    gradient = np.linspace(0.01, 1, 100, dtype=np.float32)
    negative = False
    for _ in range(60):
        take_step(optimizer, params, {"w": gradient})
        state = optimizer.state["w"]
        negative |= bool(np.any(state["square_avg"] < state["grad_avg"] ** 2))
    assert negative
    assert np.all(np.isfinite(params["w"].data))


@pytest.mark.parametrize(("threshold", "first"), [(5.0, 6), (4.0, 5)])
def test_radam_at_t_4_5_6_and_7(threshold, first):
    """At beta2 = 0.999, rho_t is 3.997, 4.996, 5.994 and 6.992: rectified from t = 6, by the paper from t = 5."""
    params = leaves({"w": np.zeros(1)}, np.float64)
    optimizer = optim.RAdam(list(params.items()), lr=1.0, threshold=threshold)
    rows = [row["w"][0] for row in run(optimizer, params, [{"w": np.ones(1)}] * 7)]
    moves = -np.diff(rows, prepend=0.0)  # m̂ = 1, so an unrectified step moves by exactly lr
    assert [t for t in (4, 5, 6, 7) if abs(moves[t - 1] - 1) > 0.1] == list(range(first, 8))


def test_adam_first_step_is_the_learning_rate_whatever_the_gradient():
    """The bias correction of step 1, at a gradient where a wrong place of eps would show."""
    params = leaves({"w": np.zeros(4)}, np.float64)
    after = take_step(
        optim.Adam(list(params.items()), lr=0.5, eps=0.0), params, {"w": np.array([1e-12, -3.0, 1e9, -1e-30])}
    )
    np.testing.assert_allclose(after["w"], [-0.5, 0.5, -0.5, 0.5], rtol=1e-15)
