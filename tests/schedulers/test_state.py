"""Interrupted runs go on bit for bit: any step, any order of restoring, any optimizer."""

import copy
import json
import math
import warnings

import numpy as np
import pytest
from schedule_cases import MAKERS

from minigrad import clipping, nn, optim, tensor
from minigrad import schedulers as S

STEPS = 60
SHAPES = {"weight": (4, 3), "bias": (4,)}


def gradients(step):
    rng = np.random.default_rng(1000 + step)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


class Run:
    """Two parameters in two groups, an optimizer, and three schedulers that compose schedules of three options."""

    def __init__(self, kind, restore_first=None):
        rng = np.random.default_rng(7)
        self.params = {name: nn.Parameter(rng.standard_normal(s).astype(np.float32)) for name, s in SHAPES.items()}
        groups = [
            {"params": [(name, p)], "lr": rate}
            for (name, p), rate in zip(self.params.items(), (0.05, 0.2), strict=True)
        ]
        clip = clipping.by_global_norm(2.0)
        if kind == "SGD":
            optimizer = optim.SGD(groups, momentum=0.9, weight_decay=0.1, clip=clip)
        else:
            optimizer = optim.LAMB(groups, weight_decay=0.1, clip=clip)
        self.optimizer = optim.Lookahead(optimizer, k=4) if kind == "Lookahead" else optimizer
        if restore_first is not None:
            self.optimizer.load_state_dict(restore_first)
        o = self.optimizer
        parts = [
            S.LinearLR(o, 0.1, total_iters=8),
            S.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=0.001),
            S.ChainedScheduler([S.ExponentialLR(o, 0.95), S.StepLR(o, 6, 0.7)]),
        ]
        schedule = S.Join([S.Warmup(10, "cosine"), S.Scale(S.Shift(S.InverseSqrt(5), 3), 0.9)], [10])
        self.schedulers = [
            S.SequentialLR(o, parts, [8, 40]),
            S.Scheduler(o, S.Product([schedule, S.Exponential(0.99)]), option="weight_decay"),
            S.Scheduler(o, lambda step: 2.0 + math.sin(step), option="max_norm"),
        ]
        self.plateau = S.ReduceLROnPlateau(sgd := optim.SGD([nn.Parameter(np.ones(1))]), patience=1, factor=0.5)
        self.other = sgd

    def advance(self, first, last):
        """The rates, decays and thresholds of each step, and the parameters' bits after it."""
        rows = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for step in range(first, last):
                for name, grad in gradients(step).items():
                    self.params[name].grad = tensor(grad)
                options = [(g["lr"], g["weight_decay"], g["max_norm"]) for g in self.optimizer.param_groups]
                self.optimizer.step()
                for scheduler in self.schedulers:
                    scheduler.step()
                self.plateau.step(1 / (1 + step % 7))
                rows.append(
                    (options, self.other.param_groups[0]["lr"], *(p.data.tobytes() for p in self.params.values()))
                )
        return rows

    def saved(self):
        states = [scheduler.state_dict() for scheduler in (*self.schedulers, self.plateau)]
        data = {name: p.data.copy() for name, p in self.params.items()}
        return data, self.optimizer.state_dict(), self.other.state_dict(), json.dumps(states, allow_nan=False)

    def restore(self, saved, order):
        data, state, other, schedulers = saved
        for name, p in self.params.items():
            p.data[...] = data[name]

        def load_schedulers():
            for scheduler, loaded in zip((*self.schedulers, self.plateau), json.loads(schedulers), strict=True):
                scheduler.load_state_dict(loaded)

        def load_optimizers():
            self.optimizer.load_state_dict(state)
            self.other.load_state_dict(other)

        steps = {"optimizer": load_optimizers, "scheduler": load_schedulers}
        for which in order.split():
            steps[which]()


@pytest.mark.parametrize("order", ["optimizer scheduler", "scheduler optimizer", "made-after scheduler"])
@pytest.mark.parametrize("kind", ["SGD", "LAMB", "Lookahead"])
def test_a_run_interrupted_at_any_step_goes_on_bit_for_bit(kind, order):
    whole = Run(kind)
    snapshots, expected = [], []
    for step in range(STEPS):
        snapshots.append(whole.saved())
        expected += whole.advance(step, step + 1)
    assert len({rates for (((rates, *_), _), *_) in expected}) > 30
    for step, saved in enumerate(snapshots):
        if step == 0:
            continue
        resumed = Run(kind, saved[1] if order.startswith("made-after") else None)
        resumed.restore(saved, order.replace("made-after ", ""))
        assert resumed.advance(step, STEPS) == expected[step:], f"resumed at step {step}"


# What a state dict holds, and when it is refused


def adam(rates=(0.1, 0.3)):
    return optim.Adam([{"params": [nn.Parameter(np.ones(2))], "lr": rate} for rate in rates])


VARIANTS = {
    "lambda-list": lambda S, o: S.LambdaLR(o, [lambda t: 0.9**t, math.cosh]),
    "cyclic-list": lambda S, o: S.CyclicLR(o, 0.1, [0.2, 0.3], 4),
    "sequential-momentum": lambda S, o: S.SequentialLR(o, [S.LinearLR(o), S.OneCycleLR(o, 0.5, 20)], [5]),
    "any": lambda S, o: S.Scheduler(o, S.Warmup(9), option="beta2"),
}
SCHEDULERS = MAKERS | VARIANTS


def options(optimizer):
    return [(group["lr"], group["betas"]) for group in optimizer.param_groups]


def advance(optimizer, scheduler, steps):
    rows = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rows.append(options(optimizer))
    return rows


@pytest.mark.parametrize("order", ["optimizer scheduler", "scheduler optimizer", "scheduler"])
@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
def test_every_scheduler_goes_on_from_its_state_in_json(make, order):
    optimizer = adam()
    scheduler = make(S, optimizer)
    advance(optimizer, scheduler, 4)
    state, optimizer_state = json.loads(json.dumps(scheduler.state_dict(), allow_nan=False)), optimizer.state_dict()
    now, expected = options(optimizer), advance(optimizer, scheduler, 12)
    # The resumed program was started with other rates, which the state of what schedules them must put right.
    again = adam((0.5, 0.6) if "optimizer" in order or "lr" in scheduler.schedules else (0.1, 0.3))
    resumed = make(S, again)
    for which in order.split():
        if which == "optimizer":
            again.load_state_dict(optimizer_state)
        else:
            resumed.load_state_dict(state)
    assert options(again) == now
    assert resumed.state_dict() == state
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert advance(again, resumed, 12) == expected


def test_a_state_dict_is_a_copy():
    optimizer = adam()
    scheduler = S.LambdaLR(optimizer, [math.exp, math.cosh])
    state = scheduler.state_dict()
    before = json.dumps(state)
    advance(optimizer, scheduler, 3)
    assert json.dumps(state) == before
    state["values"]["lr"][0] = 7.0
    assert optimizer.param_groups[0]["lr"] != 7.0


@pytest.mark.parametrize("order", ["optimizer scheduler", "scheduler optimizer"])
def test_a_group_that_was_just_added_keeps_its_rate_until_the_next_step(order):
    optimizer = adam((0.1,))
    scheduler = S.ExponentialLR(optimizer, 0.5)
    advance(optimizer, scheduler, 3)
    optimizer.add_param_group({"params": [nn.Parameter(np.ones(2))], "lr": 0.8})
    state, optimizer_state = scheduler.state_dict(), optimizer.state_dict()
    expected = advance(optimizer, scheduler, 3)
    again = adam((0.1,))
    resumed = S.ExponentialLR(again, 0.5)
    again.add_param_group({"params": [nn.Parameter(np.ones(2))], "lr": 0.8})
    for which in order.split():
        resumed.load_state_dict(state) if which == "scheduler" else again.load_state_dict(optimizer_state)
    assert [group["lr"] for group in again.param_groups] == [0.1 / 8, 0.8]
    assert advance(again, resumed, 3) == expected
    assert resumed.get_last_lr()[1] == 0.8 / 2**6


def test_the_fraction_of_an_epoch_is_kept():
    optimizer = adam()
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, 5)
    optimizer.step()
    scheduler.step(7.25)
    resumed = S.CosineAnnealingWarmRestarts(adam(), 5)
    resumed.load_state_dict(scheduler.state_dict())
    assert (resumed.epoch, resumed.last_epoch, resumed.T_cur) == (7.25, 7, 2.25)
    assert resumed.get_last_lr() == scheduler.get_last_lr()


def test_a_resumed_scheduler_may_step_first_where_the_saved_run_had_stepped_its_optimizer():
    optimizer = adam()
    scheduler = S.StepLR(optimizer, 3)
    advance(optimizer, scheduler, 2)
    optimizer.step()
    resumed = S.StepLR(adam(), 3)
    resumed.load_state_dict(scheduler.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.step()
    assert resumed.last_epoch == 3


def changed(state, **changes):
    state = json.loads(json.dumps(state))
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            state[part][key] = value
        elif value is None:
            del state[part]
        else:
            state[part] = value
    return state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "MultiStepLR"}, "the state dict is of MultiStepLR, not of StepLR"),
        ({"scheduler": None}, "missing 'scheduler'"),
        ({"epoch": None}, "StepLR: state dict: missing 'epoch'"),
        ({"extra": 1}, "unexpected 'extra'"),
        ({"epoch": -1}, "a step must be a whole number of 0 or more, not -1"),
        ({"values__momentum": [0.9, 0.9]}, "values of the state dict: unexpected 'momentum'"),
        ({"values": {}}, "values of the state dict: missing 'lr'"),
        ({"values__lr": [0.1]}, "has lr for 1 param groups, but there are 2"),
        ({"initial__lr": [0.1, "a"]}, "lr in the state dict must be numbers, not 'a'"),
        ({"values__lr": [0.1, -0.1]}, "lr must be a finite number of 0 or more, not -0.1"),
        ({"initial__lr": [0.1, math.nan]}, "must be numbers, not nan"),
        (
            {"schedules__lr": "StepDecay(step_size=4, gamma=0.5)"},
            r"the schedule of lr was StepDecay\(step_size=4, gamma=0.5\) in the saved run, and is .*step_size=3",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(changes, message):
    optimizer = adam()
    scheduler = S.StepLR(optimizer, 3, 0.5)
    advance(optimizer, scheduler, 4)
    state = scheduler.state_dict()
    again = adam((0.5, 0.6))
    resumed = S.StepLR(again, 3, 0.5)
    before = resumed.state_dict()
    with pytest.raises(ValueError, match=message):
        resumed.load_state_dict(changed(state, **changes))
    assert resumed.state_dict() == before
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "StepLR"}, "the state dict is of StepLR, not of ReduceLROnPlateau"),
        ({"best": None}, "missing 'best'"),
        ({"more": 1}, "unexpected 'more'"),
        ({"num_bad_epochs": -1}, "num_bad_epochs must be a whole number of 0 or more"),
        ({"lr": [0.1]}, "has lr for 1 param groups"),
        ({"lr": [0.1, -0.5]}, "lr must be a finite number of 0 or more"),
        ({"settings": "ReduceLROnPlateau(mode='max')"}, r"was ReduceLROnPlateau\(mode='max'\) in the saved run"),
    ],
)
def test_a_plateau_refuses_a_state_that_does_not_fit(changes, message):
    scheduler = S.ReduceLROnPlateau(adam(), patience=0)
    for metric in (1.0, 2.0):
        scheduler.step(metric)
    resumed = S.ReduceLROnPlateau(adam(), patience=0)
    before = resumed.state_dict()
    with pytest.raises(ValueError, match=message):
        resumed.load_state_dict(changed(scheduler.state_dict(), **changes))
    assert resumed.state_dict() == before


def test_a_state_dict_that_is_no_dictionary_is_refused():
    with pytest.raises(TypeError, match="a state dict is a dictionary, not list"):
        S.StepLR(adam(), 3).load_state_dict([1])


# Lookahead shares its param groups with the optimizer inside


@pytest.mark.parametrize("bound_to", ["outside", "inside"])
def test_a_scheduler_of_lookahead_or_of_the_optimizer_inside_reaches_the_update(bound_to):
    weight = nn.Parameter(np.zeros(1))
    inside = optim.SGD([weight], lr=1.0)
    outside = optim.Lookahead(inside, k=3, alpha=0.5)
    scheduler = S.ExponentialLR(outside if bound_to == "outside" else inside, 0.5)
    fast = slow = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(9):
            weight.grad = tensor(np.ones(1))
            outside.step()
            scheduler.step()
            fast -= 0.5**step
            if step % 3 == 2:
                fast = slow = slow + 0.5 * (fast - slow)
            np.testing.assert_allclose(weight.data, fast, rtol=1e-14)
    late = nn.Parameter(np.zeros(1))
    outside.add_param_group({"params": [late], "lr": 2.0})
    outside.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5**10, 2 * 0.5**10]


def test_lookahead_too_must_step_before_its_scheduler():
    outside = optim.Lookahead(optim.SGD([nn.Parameter(np.zeros(1))]))
    with pytest.warns(UserWarning, match="came before optimizer"):
        S.ExponentialLR(outside, 0.5).step()


def test_a_group_may_bring_its_initial_rate_as_in_pytorch():
    group = {"params": [tensor([1.0], requires_grad=True)], "initial_lr": 0.5}
    optimizer = optim.SGD([group], lr=0.1)
    assert S.StepLR(optimizer, step_size=3, last_epoch=2).get_last_lr() == [0.5 * 0.1]


@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_copy_of_an_optimizer_and_its_schedulers_continues_alike(make):
    optimizer = adam()
    scheduler, plateau = make(S, optimizer), S.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.01, 0.02])
    advance(optimizer, scheduler, 3)
    plateau.step(1.0)
    plateau.step(1.0)
    copied, *others = copy.deepcopy((optimizer, scheduler, plateau))
    rows = []
    for each, (follows, reduces) in ((optimizer, (scheduler, plateau)), (copied, others)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rows.append(advance(each, follows, 2))
            reduces.step(1.0)
            rows[-1] += advance(each, follows, 3)
    assert rows[0] == rows[1]


def test_the_state_of_a_version_in_which_schedulers_started_from_initial_values_is_loaded():
    def made():
        optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.4)
        return optimizer, S.StepLR(optimizer, 2, 0.5)

    first, scheduler = made()
    for _ in range(3):
        first.step()
        scheduler.step()
    saved = {name: value for name, value in scheduler.state_dict().items() if name not in ("start", "factor")}
    second, other = made()
    other.load_state_dict(saved)
    assert other.state_dict() == scheduler.state_dict()
    for optimizer, each in ((first, scheduler), (second, other)):
        optimizer.step()
        each.step()
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"] == 0.1
