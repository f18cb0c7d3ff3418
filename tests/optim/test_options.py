"""Options: their ranges belong to the optimizer that declares them, and they may change at any step."""

import copy
import inspect
import time
from dataclasses import KW_ONLY, replace

import numpy as np
import pytest
from optim_tools import assert_same_bits, leaves, take_step, values

from minigrad import Tensor, clipping, nn, optim, schedulers
from minigrad.optim import apply_update, rule

NAN, INF = float("nan"), float("inf")


# Ranges


@rule(state=("fast", "slow", "exp_avg_sq"))
def mix_two_momenta(update, fast, slow, exp_avg_sq, *, beta1, beta2, beta3, alpha, threshold):
    """AdEMAMix, Pagliardini et al. 2024, without its bias corrections."""
    fast = beta1 * fast + (1 - beta1) * update
    slow = beta3 * slow + (1 - beta3) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update * update
    update = (fast + alpha * slow) / (threshold + exp_avg_sq)
    return update, fast, slow, exp_avg_sq


class Mixed(optim.Optimizer):
    """An optimizer whose options have names that package optimizers use in other ranges."""

    def __init__(
        self, params, lr=1e-3, betas=(0.5, 0.75, 0.875), alpha=5.0, threshold=1.0, momentum=-2.0, *, clip=None
    ):
        defaults = {
            "lr": optim.option(lr, optim.at_least(0)),
            "betas": optim.option(betas, optim.tuple_of(optim.between(0, 1, open_high=True), 3)),
            "alpha": alpha,
            "threshold": threshold,
            "momentum": momentum,
        }
        super().__init__(params, defaults, clip=clip)

    def chain(self):
        return [mix_two_momenta, apply_update]


def test_options_of_ones_own_optimizer_have_no_ranges_but_those_that_it_declares():
    """AdEMAMix: alpha is 5, there are three betas, and a threshold of 1 is right."""
    params = leaves({"w": np.zeros(1)}, np.float64)
    optimizer = Mixed(params.items(), lr=1.0)
    after = take_step(optimizer, params, {"w": np.ones(1)})["w"]
    np.testing.assert_allclose(after, [-(0.5 + 5 * 0.125) / (1 + 0.25)], rtol=1e-15)
    for name, value in (("alpha", -7.5), ("threshold", 0.5), ("momentum", -1.0), ("eps2", None)):
        if name in optimizer.defaults:
            optimizer.param_groups[0][name] = value
            assert optimizer.param_groups[0][name] == value
    assert optimizer.param_groups[0].scalars()["beta3"] == 0.875
    assert optimizer.uses("beta3")
    assert optimizer.uses("betas")
    optimizer.param_groups[0]["betas"] = (0.0, 0.0, 0.0)
    assert not optimizer.uses("beta3")
    assert not optimizer.uses("betas")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lr": -1.0}, "Mixed: lr must be a finite number of 0 or more, not -1.0"),
        ({"betas": (0.9, 0.99)}, r"betas must be a tuple of 3, each a number in \[0, 1\), not \(0.9, 0.99\)"),
        ({"betas": (0.9, 0.99, 1.0)}, "betas must be a tuple of 3"),
        ({"betas": (0.9, 0.99, NAN)}, "betas must be a tuple of 3"),
        ({"alpha": NAN}, "Mixed: alpha must not be NaN"),
        ({"alpha": (1.0, NAN)}, "Mixed: alpha must not be NaN"),
    ],
    ids=str,
)
def test_declared_ranges_hold_wherever_the_option_is_set_and_nan_is_never_an_option(options, named):
    weight = nn.Parameter([1.0])
    with pytest.raises(ValueError, match=named):
        Mixed([weight], **options)
    with pytest.raises(ValueError, match=named):
        Mixed([{"params": [weight], **options}])
    optimizer = Mixed([weight])
    with pytest.raises(ValueError, match=named):
        optimizer.param_groups[0].update(options)
    saved = optimizer.state_dict()
    saved["param_groups"][0].update(options)
    with pytest.raises(ValueError, match=named):
        optimizer.load_state_dict(saved)


def test_the_first_value_that_a_scheduler_keeps_is_in_the_range_of_its_option():
    group = Mixed([nn.Parameter([1.0])]).param_groups[0]
    with pytest.raises(ValueError, match="initial_lr must be a finite number of 0 or more"):
        group["initial_lr"] = -1.0
    group["initial_alpha"] = -5.0


def test_every_beta_of_three_can_be_scheduled():
    optimizer = Mixed([nn.Parameter([1.0])], betas=(0.5, 0.75, 0.5))
    schedulers.Scheduler(optimizer, schedulers.Constant(0.5), option="beta3")
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.75, 0.25)


class Declaring(optim.Optimizer):
    """The options of `Mixed` as fields."""

    lr: float = optim.option(1e-3, optim.at_least(0))
    betas: tuple[float, float, float] = optim.option(
        (0.5, 0.75, 0.875), optim.tuple_of(optim.between(0, 1, open_high=True), 3)
    )
    alpha: float = 5.0
    threshold: float = 1.0
    _: KW_ONLY
    how: str = optim.fixed("sum", optim.one_of("sum", "mean"))

    def chain(self):
        return [mix_two_momenta, apply_update]


def test_fields_of_a_class_are_the_arguments_of_its_constructor():
    weight = nn.Parameter([1.0])
    optimizer = Declaring([weight], 1.0, alpha=2.0, maximize=True, clip=clipping.by_global_norm(1.0))
    group = optimizer.param_groups[0]
    assert (group["lr"], group["alpha"], group["maximize"], group["max_norm"]) == (1.0, 2.0, True, 1.0)
    assert str(inspect.signature(Declaring)).startswith("(params: 'Iterable[Any]', lr: float = 0.001, betas:")
    assert Declaring.declared["lr"].range.words == "a finite number of 0 or more"
    with pytest.raises(TypeError, match="Declaring: too many positional arguments"):
        Declaring([weight], 1.0, (0.5, 0.5, 0.5), 1.0, 1.0, "mean")
    with pytest.raises(TypeError, match="Declaring: missing a required argument: 'params'; it takes params, lr, "):
        Declaring()
    for attempt in (lambda: Declaring([weight], lr=-1.0), lambda: group.update(lr=-1.0)):
        with pytest.raises(ValueError, match=r"Declaring: lr must be a finite number of 0 or more, not -1\.0"):
            attempt()


def test_a_fixed_setting_is_an_attribute_that_cannot_change_and_is_compared_when_state_is_loaded():
    optimizer = Declaring([nn.Parameter([1.0])], how="mean")
    assert (optimizer.how, optimizer.settings) == ("mean", {"how": "mean"})
    assert "how" not in optimizer.param_groups[0]
    with pytest.raises(AttributeError, match="cannot be changed to 'sum'"):
        optimizer.how = "sum"
    with pytest.raises(ValueError, match="how must be 'sum' or 'mean', not 'max'"):
        Declaring([nn.Parameter([1.0])], how="max")
    with pytest.raises(ValueError, match="how was mean in the saved run, and is sum here"):
        Declaring([nn.Parameter([1.0])]).load_state_dict(optimizer.state_dict())


def test_a_class_inherits_fields_and_one_with_its_own_constructor_has_none():
    class More(Declaring):
        beta: float = optim.option(1.0, optim.above(0))

    class Own(Declaring):
        note: str = "not an option"

        def __init__(self, params, note):
            self.note = note
            super().__init__(params, lr=0.5)

    weight = nn.Parameter([1.0])
    more = More([weight], beta=2.0, how="mean").param_groups[0]
    assert (more["beta"], more["alpha"], More.declared.keys() - Declaring.declared.keys()) == (2.0, 5.0, {"beta"})
    own = Own([weight], "x")
    assert (own.note, own.param_groups[0]["lr"], "note" in own.param_groups[0]) == ("x", 0.5, False)


def test_an_option_is_checked_once_when_it_changes():
    checks = []
    range = optim.at_least(0)

    class Counting(optim.Optimizer):
        lr: float = optim.option(0.1, replace(range, allows=lambda value: checks.append(value) or range.allows(value)))

        def chain(self):
            return [apply_update]

    optimizer = Counting([{"params": [nn.Parameter([1.0])]}, {"params": [nn.Parameter([1.0])], "lr": 0.2}])
    assert checks == [0.1, 0.2]
    optimizer.param_groups[0]["lr"] = 0.3
    optimizer.param_groups[1].update(lr=0.4)
    assert checks == [0.1, 0.2, 0.3, 0.4]
    optimizer.load_state_dict(optimizer.state_dict())
    assert checks == [0.1, 0.2, 0.3, 0.4, 0.3, 0.4]


def test_a_chain_without_a_class_declares_its_options_in_the_same_way():
    weight = nn.Parameter([1.0])
    with pytest.raises(ValueError, match="Optimizer: lr must be a number above 0, not 0"):
        optim.Optimizer([weight], {"lr": optim.option(0, optim.above(0))}, chain=[apply_update])
    optimizer = optim.Optimizer([weight], {"lr": optim.option(2, optim.above(0))}, chain=[apply_update])
    assert optimizer.defaults == {"lr": 2}


def test_maximize_is_a_flag_in_every_optimizer_since_the_base_class_reads_it():
    with pytest.raises(ValueError, match="maximize must be True or False, not 2"):
        optim.Optimizer([nn.Parameter([1.0])], {"lr": 0.1, "maximize": 2}, chain=[apply_update])


@pytest.mark.parametrize(
    ("range", "inside", "outside"),
    [
        (optim.at_least(0), (0, 1e300), (-1e-9, INF, NAN, True, "1", None)),
        (optim.at_least(4, finite=False), (4.0, INF), (3.9, NAN)),
        (optim.above(0), (1e-9, INF), (0, -1, NAN, False)),
        (optim.between(0, 1), (0, 1.0), (1.1, -0.1, NAN, True)),
        (optim.between(0, 1, open_high=True), (0, 0.999), (1, NAN)),
        (optim.number(), (-INF, 3), (NAN, True, "x")),
        (optim.number(finite=True), (-3.0,), (INF, -INF, NAN)),
        (optim.flag(), (True, False, 0, 1), (2, "yes", None, NAN)),
        (optim.tuple_of(optim.above(0), 2), ((1, 2),), ((1,), (1, 0), 1, None)),
    ],
    ids=lambda value: getattr(value, "words", ""),
)
def test_ranges_have_the_values_that_they_say(range, inside, outside):
    assert all(map(range.allows, inside))
    assert not any(map(range.allows, outside))


def test_two_clips_of_a_kind_have_the_range_of_their_own_kind():
    class Own(Mixed):
        """Its option is called as that of a clip, but with a 3."""

        def __init__(self, params, *, clip=None):
            super().__init__(params, clip=clip)

    optimizer = Own([nn.Parameter([1.0])], clip=[clipping.by_global_norm(1.0), clipping.by_norm(2.0, "tensor")])
    with pytest.raises(ValueError, match="max_norm2 must be a number above 0"):
        optimizer.param_groups[0]["max_norm2"] = 0.0


# Options that change during the run


def gradient(step):
    return {"w": np.cos(np.arange(2.0) + step)}


# PyTorch 2.13.0, float64: two parameters that begin at 0.5 and -1, gradients cos(i + t), t from 0.
CHANGING = {
    "momentum and dampening from step 3": (
        lambda p: optim.SGD(p, lr=0.1),
        lambda t: {"momentum": 0.9, "dampening": 0.5} if t == 3 else {},
        8,
        [0.7380427848790296, -0.888967197195907],
    ),
    "momentum from step 3, dampening before": (
        lambda p: optim.SGD(p, lr=0.1, dampening=0.5),
        lambda t: {"momentum": 0.9} if t == 3 else {},
        8,
        [0.7380427848790296, -0.888967197195907],
    ),
    "dampening from step 3, momentum before": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda t: {"dampening": 0.5} if t == 3 else {},
        8,
        [-0.008668414153159084, -0.7361325903218502],
    ),
    "Nesterov's from step 3": (
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5),
        lambda t: {"nesterov": True} if t == 3 else {},
        8,
        [0.015736047685149992, -1.1945560185303594],
    ),
    "NAdam's beta1 at every step": (
        lambda p: optim.NAdam(p, lr=0.1),
        lambda t: {"betas": (0.85 + 0.002 * t, 0.99)},
        30,
        [0.4802792384227687, -0.8792815463378151],
    ),
    "NAdam's momentum decay at every step": (
        lambda p: optim.NAdam(p, lr=0.1),
        lambda t: {"momentum_decay": 0.004 * (1 + t)},
        30,
        [0.47288855538766583, -0.8874372288487747],
    ),
}
EVERY_CHANGE = pytest.mark.parametrize("case", CHANGING.values(), ids=CHANGING)


@EVERY_CHANGE
@pytest.mark.parametrize("company", [False, True], ids=["alone", "beside_a_group_that_has_it"])
def test_options_that_change_during_a_run_give_the_run_of_pytorch(case, company):
    make, changed, steps, expected = case
    params = leaves({"w": [0.5, -1.0]}, np.float64)
    optimizer = make(list(params.items()))
    if company:
        other = {"params": [("other", nn.Parameter(np.ones(3)))], **changed(3)}
        optimizer.add_param_group(other)
    for t in range(steps):
        optimizer.param_groups[0].update(changed(t))
        if company:
            optimizer.param_groups[1]["params"][0].grad = Tensor(np.ones(3))
        take_step(optimizer, params, gradient(t))
    np.testing.assert_allclose(params["w"].data, expected, rtol=1e-12)


@EVERY_CHANGE
def test_a_run_whose_options_change_resumes_with_the_same_bits_at_every_step(case):
    """Also one that continues after its groups were rearranged, or with a parameter that had no gradient meanwhile."""
    make, changed, steps, _ = case
    params = leaves({"w": [0.5, -1.0], "v": [1.0, 2.0]}, np.float64)
    optimizer = make([{"params": [pair]} for pair in params.items()])
    for t in range(steps):
        twins = leaves(values(params), np.float64)
        resumed = make([{"params": [pair]} for pair in twins.items()])
        resumed.load_state_dict(optimizer.state_dict())
        for each, tensors in ((optimizer, params), (resumed, twins)):
            for group in each.param_groups:
                group.update(changed(t))
            take_step(each, tensors, {**gradient(t), "v": None if t in (2, 3, 4) else gradient(t)["w"]})
            if t == 5:
                each.param_groups.reverse()
        assert_same_bits(values(twins), values(params))
        for part in ("state", "carried"):
            assert_same_bits(resumed.state_dict().get(part), optimizer.state_dict().get(part))


def test_momentum_of_one_group_switched_on_late_begins_with_the_raw_gradient():
    """Another group has momentum from the start, so that the rule and its state are there before."""
    params = leaves({"w": [0.5, -1.0], "v": [1.0]}, np.float64)
    groups = [{"params": [("w", params["w"])]}, {"params": [("v", params["v"])], "momentum": 0.9, "dampening": 0.5}]
    optimizer = optim.SGD(groups, lr=0.1)
    for t in range(8):
        if t == 3:
            optimizer.param_groups[0].update(momentum=0.9, dampening=0.5)
        take_step(optimizer, params, {**gradient(t), "v": np.ones(1)})
    np.testing.assert_allclose(params["w"].data, [0.7380427848790296, -0.888967197195907], rtol=1e-12)


def test_momentum_switched_on_right_after_a_group_was_added_begins_with_the_raw_gradient():
    params = leaves({"w": [0.5, -1.0]}, np.float64)
    optimizer = optim.SGD(list(params.items()), lr=0.1)
    for t in range(8):
        if t == 3:
            optimizer.add_param_group({"params": [("other", nn.Parameter([1.0]))]})
            optimizer.param_groups[0].update(momentum=0.9, dampening=0.5)
        take_step(optimizer, params, gradient(t))
    np.testing.assert_allclose(params["w"].data, [0.7380427848790296, -0.888967197195907], rtol=1e-12)


def test_a_skipped_step_carries_nothing_on():
    """A step that a clip skips is not a step of NAdam's product either."""
    params, twins = leaves({"w": [0.5, -1.0]}, np.float64), leaves({"w": [0.5, -1.0]}, np.float64)
    skipping = optim.NAdam(params.items(), lr=0.1, clip=clipping.by_global_norm(10.0, nonfinite="skip"))
    steady = optim.NAdam(twins.items(), lr=0.1, clip=clipping.by_global_norm(10.0))
    for t in range(9):
        if t in (0, 3, 4, 5, 8):
            take_step(skipping, params, {"w": np.array([NAN, 1.0])})
        for each in (skipping, steady):
            each.param_groups[0]["betas"] = (0.8 + 0.01 * t, 0.99)
        assert_same_bits(take_step(skipping, params, gradient(t)), take_step(steady, twins, gradient(t)))


def test_a_state_dict_of_nadam_without_its_product_is_taken_as_of_steady_options():
    """Such were written by earlier versions, which computed the product from the options."""
    params = leaves({"w": [0.5, -1.0]}, np.float64)
    optimizer = optim.NAdam(params.items(), lr=0.1)
    for t in range(5):
        take_step(optimizer, params, gradient(t))
    saved = optimizer.state_dict()
    assert saved["carried"]["w"]["mu_product"] == pytest.approx(0.45022**5, rel=0.01)
    del saved["carried"]
    twins = leaves(values(params), np.float64)
    resumed = optim.NAdam(twins.items())
    resumed.load_state_dict(saved)
    assert_same_bits(take_step(resumed, twins, gradient(5)), take_step(optimizer, params, gradient(5)))


@pytest.mark.parametrize(
    ("carried", "named"),
    [
        ({"w": {"mu_product": NAN}}, "mu_product must be a number, not nan"),
        ({"w": {"mu_product": "x"}}, "mu_product must be a number"),
        ({"w": {"mu": 0.5}}, "unexpected 'mu'"),
        ({"v": {"mu_product": 0.5}}, "missing 'w'; unexpected 'v'"),
    ],
    ids=str,
)
def test_carried_numbers_that_do_not_fit_are_refused_by_name(carried, named):
    optimizer = optim.NAdam([("w", nn.Parameter([1.0]))])
    with pytest.raises(ValueError, match=named):
        optimizer.load_state_dict({**optimizer.state_dict(), "carried": carried})


def test_a_step_of_nadam_under_a_schedule_does_not_take_longer_the_longer_the_run():
    """The product was computed from the start for each new beta1: at step 300,000 that is some 50 ms."""
    params = leaves({"w": np.ones(3)})
    optimizer = optim.NAdam(params.items(), betas=(0.999999, 0.999))
    saved = optimizer.state_dict()
    saved["state"]["w"]["step"] = 300_000
    saved["carried"] = {"w": {"mu_product": 1e-100}}
    optimizer.load_state_dict(saved)
    took = []
    for t in range(20):
        optimizer.param_groups[0]["betas"] = (0.999999 - 1e-9 * t, 0.999)
        start = time.perf_counter()
        take_step(optimizer, params, {"w": np.ones(3)})
        took.append(time.perf_counter() - start)
    assert min(took[5:]) < 2e-3


@rule(scalars=lambda step, lr, *, total=None: {"total": (total or 0.0) + lr, "share": lr / ((total or 0.0) + lr)})
def average_so_far(update, *, share):
    update = share * update
    return update


def test_ones_own_rule_carries_numbers_by_keyword_only_arguments_of_its_scalars():
    """The weights of a running average, as schedule-free methods keep them."""
    params = leaves({"w": np.zeros(1)}, np.float64)
    optimizer = optim.Optimizer(params.items(), {"lr": 1.0}, chain=[average_so_far, apply_update])
    moved = [0.0]
    for lr in (1.0, 3.0, 4.0):
        optimizer.param_groups[0]["lr"] = lr
        moved.append(float(take_step(optimizer, params, {"w": np.ones(1)})["w"][0]))
    np.testing.assert_allclose(np.diff(moved), [-1.0, -9 / 4, -16 / 8], rtol=1e-15)
    assert optimizer.state_dict()["carried"] == {"w": {"total": 8.0}}


# Lookahead begins where its parameters are


def looking_ahead(weight, k=2, **options):
    return optim.Lookahead(optim.SGD([("w", weight)], lr=1.0), k=k, alpha=0.5, **options)


def step_by(optimizer, weight, gradient, steps=1):
    for _ in range(steps):
        weight.grad = Tensor(np.full(weight.shape, gradient, weight.dtype))
        optimizer.step()


@pytest.mark.parametrize("how", ["load_state_dict", "copy_", "init", "data", "in_place"])
def test_slow_weights_begin_at_the_first_step_whatever_set_the_weights_before(how):
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    weight = model[0].weight
    optimizer = looking_ahead(weight)
    if how == "load_state_dict":
        model.load_state_dict({"0.weight": np.full((2, 2), 8.0, np.float32)})
    elif how == "copy_":
        weight.detach().copy_(Tensor(np.full((2, 2), 8.0, np.float32)))
    elif how == "init":
        nn.init.constant_(weight, 8.0)
    elif how == "data":
        weight.data = np.full((2, 2), 8.0, np.float32)
    else:
        weight.data[...] = 8.0
    assert (optimizer.state["w"]["slow"] == 8.0).all()
    step_by(optimizer, weight, 1.0, steps=2)
    assert (weight.data == 7.0).all()


def test_slow_weights_of_a_group_that_the_optimizer_inside_is_given_begin_at_its_parameters():
    first, second = nn.Parameter([4.0]), nn.Parameter([8.0])
    optimizer = looking_ahead(first, momentum="pullback")
    step_by(optimizer, first, 1.0)
    optimizer.base.add_param_group({"params": [("v", second)]})
    second.data = np.array([16.0], np.float32)
    second.grad = Tensor(np.ones(1, np.float32))
    step_by(optimizer, first, 1.0)
    assert (first.item(), second.item()) == (3.0, 15.5)


def test_slow_weights_begin_again_after_reset_state():
    weight = nn.Parameter([4.0])
    optimizer = looking_ahead(weight)
    step_by(optimizer, weight, 1.0)
    optimizer.reset_state()
    weight.data = np.array([16.0], np.float32)
    step_by(optimizer, weight, 1.0, steps=2)
    assert weight.item() == 15.0
    assert optimizer.counter == 2


def test_loaded_slow_weights_are_not_begun_again():
    weight, twin = nn.Parameter([4.0]), nn.Parameter([100.0])
    optimizer, resumed = looking_ahead(weight), looking_ahead(twin)
    step_by(optimizer, weight, 1.0)
    resumed.load_state_dict(optimizer.state_dict())
    twin.data = weight.data.copy()
    step_by(resumed, twin, 1.0)
    assert twin.item() == 3.0


# Chains with a period


@rule(state=("slow",))
def move_slowly(param, slow, *, share):
    slow = slow + share * (param - slow)
    param = slow
    return param, slow


def test_a_chain_with_a_period_runs_after_every_kth_update_and_its_options_can_be_set():
    weight = nn.Parameter([4.0])
    optimizer = optim.SGD([("w", weight)], lr=1.0)
    slow = optimizer.every(2, [move_slowly], name="Slow", state={"slow": "param"}, share=0.5)
    weight.data = np.array([8.0], np.float32)  # before the first step, as by loading weights
    step_by(optimizer, weight, 1.0)
    assert (weight.item(), optimizer.state["w"]["slow"].item(), slow.counter) == (7.0, 8.0, 1)
    step_by(optimizer, weight, 1.0)
    assert weight.item() == 7.0
    slow.k, slow.options["share"] = 1, 1.0
    step_by(optimizer, weight, 1.0)
    assert weight.item() == 6.0
    assert optimizer.title == "Slow around SGD"
    assert optimizer.plan().later.keys() == {("Slow", 1)}
    assert optimizer.state_dict()["slow"] == {"k": 1, "share": 1.0, "counter": 3}


def test_chains_with_a_period_keep_separate_state_and_a_copy_has_its_own():
    weight = nn.Parameter([4.0])
    optimizer = optim.Lookahead(optim.SGD([("w", weight)], lr=1.0), k=2, alpha=0.5)
    with pytest.raises(ValueError, match="Other: SGD keeps a state named 'slow' itself; rename it"):
        optimizer.every(3, [move_slowly], name="Other", state={"slow": "param"}, share=0.5)
    twin = copy.copy(optimizer)
    twin.alpha, twin.k = 1.0, 4
    assert (optimizer.alpha, optimizer.k, twin.periodic[0] is optimizer.periodic[0]) == (0.5, 2, False)


def test_lookahead_is_another_name_for_its_optimizer():
    calls = []

    class Noting(optim.SGD):
        def step(self, closure=None):
            calls.append("step")
            return super().step(closure)

    inside = Noting([("w", nn.Parameter([4.0]))], lr=1.0)
    outside = optim.Lookahead(inside, k=2)
    outside.step()
    assert calls == ["step"]  # a method that a subclass overrides is called
    assert (outside.steps, outside.param_groups is inside.param_groups, outside.algorithm) == (1, True, "Noting")
    inside.step()
    assert outside.counter == outside.steps == 2
