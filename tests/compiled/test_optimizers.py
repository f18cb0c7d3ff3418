"""Updates in a compiled step: optimizers, clips, schedules and what changes between calls, bit for bit as eager."""

import math
from functools import partial

import numpy as np
import pytest
from optim_registry import VARIANTS
from step_tools import Training, batches, fails_as_before, mlp, normal, same_as_eager

import minigrad
from examples.your_own_optimizer import SlowSGD
from minigrad import clipping, nn, optim, schedulers
from minigrad.nn import functional as F
from minigrad.ops import primitive, sqrt

pytestmark = pytest.mark.slow

squareplus = primitive(  # the one of examples/your_own_op.py
    "test_compiled_squareplus",
    lambda x, *, b=4.0: (x + np.sqrt(x * x + b)) / 2,
    "x",
    (lambda g, x, *, b: g * (1 + x / sqrt(x * x + b)) / 2,),
    to_float=True,
    doc="(x + √(x² + b)) / 2.",
)

CLIPS = {
    "norm": clipping.by_global_norm(0.1),
    "norm of units": clipping.by_norm(0.05, "unit", 1.0),
    "value": clipping.by_value(0.02),
    "adaptive": clipping.adaptive(0.01),
    "all": [clipping.adaptive(0.05), clipping.by_norm(0.2, "layer"), clipping.by_value(-0.05, 0.1)],
    "skip": clipping.by_global_norm(0.1, nonfinite="skip"),
    "propagate": clipping.by_global_norm(0.1, nonfinite="propagate"),
}


def explosion(calls, *numbers):
    """The same calls, with infinite features in some."""
    return [(x * math.inf if i in numbers else x, y) for i, (x, y) in enumerate(calls)]


def of(name, **options):
    return lambda params: getattr(optim, name)(params, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("entry", "variant"), VARIANTS, ids=[f"{e.name}-{v}" for e, v in VARIANTS])
def test_optimizers(entry, variant, dtype):
    options = entry.variants[variant].options
    make = lambda: Training(mlp(dtype=dtype), lambda params: entry.make(params, **options))
    step = same_as_eager(make, batches(7, dtype=dtype))
    assert "by address" in step.plan()


@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
def test_clips(clip):
    step = same_as_eager(lambda: Training(optimizer=of("AdamW", clip=clip)), batches())
    assert "by address" in step.plan()


@pytest.mark.parametrize("policy", ["raise", "skip", "propagate"])
@pytest.mark.parametrize("number", [0, 1, 2, 4], ids=str)
def test_gradients_that_are_not_finite(policy, number):
    """In the call that is traced, the one that is checked, and compiled ones."""
    clip = clipping.by_global_norm(0.1, nonfinite=policy)
    make = lambda: Training(mlp(dropout=0.2, norm=True), of("NAdam", clip=clip))
    if policy == "raise" and number < 2:
        fails_as_before(make, explosion(batches(6), number), number, "FloatingPointError")
    else:
        same_as_eager(make, explosion(batches(6), number, number + 1))


def grouped(params):
    params = list(params)
    return optim.SGD(
        [
            {"params": params[:1], "lr": 0.5, "momentum": 0.9},
            {"params": params[1:3], "weight_decay": 0.1},
            {"params": params[3:], "maximize": True, "nesterov": True, "momentum": 0.5},
        ],
        lr=0.1,
        clip=clipping.by_norm(0.1, "tensor"),
    )


def test_groups():
    same_as_eager(lambda: Training(optimizer=grouped), batches())


@pytest.mark.parametrize("momentum", ["keep", "reset", "pullback"])
def test_lookahead(momentum):
    wrapped = lambda params: optim.Lookahead(optim.Adam(params), k=2, alpha=0.4, momentum=momentum)
    same_as_eager(lambda: Training(optimizer=wrapped), batches(9))


def test_an_own_optimizer():
    same_as_eager(lambda: Training(optimizer=SlowSGD), batches())


# --- schedules -------------------------------------------------------------------------------------------------------


class Scheduled(Training):
    """Steps a scheduler after, or before, each update; ``inside`` the step or between calls."""

    def __init__(self, make, place, optimizer=None):
        super().__init__(optimizer=optimizer or of("SGD", lr=0.1, momentum=0.9))
        self.scheduler, self.place = make(self.optimizer), place
        self.things.append(self.scheduler)

    def step(self, features, target):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(features), target)
        loss.backward()
        if self.place == "before":
            self.scheduler.step(self.scheduler.last_epoch + 1 if False else None)
        self.optimizer.step()
        if self.place == "after":
            self.scheduler.step()
        return loss

    def between(self, number, step):
        if self.place == "outside" and number:
            self.scheduler.step()


SCHEDULERS = {
    "cosine to 0": lambda o: schedulers.CosineAnnealingLR(o, 4),
    "steps": lambda o: schedulers.StepLR(o, 2, 0.5),
    "one cycle": lambda o: schedulers.OneCycleLR(o, 1.0, 9),
    "from 0": lambda o: schedulers.LambdaLR(o, lambda n: n / 3),
}


@pytest.mark.filterwarnings("ignore:.*came before")
@pytest.mark.parametrize("place", ["before", "after", "outside"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(name, place):
    between = lambda made, number, step: made.between(number, step)
    same_as_eager(lambda: Scheduled(SCHEDULERS[name], place), batches(8), between)


@pytest.mark.filterwarnings("ignore:.*came before")
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_step_that_is_given_up_steps_its_scheduler_once(place):
    """A label out of range, or another branch: eager's error or result, and the scheduler where eager leaves it."""

    class Branching(Scheduled):
        def step(self, features, target):
            loss = super().step(features, target)
            return loss

    calls = batches(6)
    calls[3] = calls[3][0], minigrad.tensor([0, 1, 7, 0])
    same_as_eager(lambda: Branching(SCHEDULERS["steps"], place), calls, eager=[3])


def test_plateau_between_calls():
    def between(made, number, step):
        if number:
            made.scheduler.step(1.0)

    make = lambda: Scheduled(lambda o: schedulers.ReduceLROnPlateau(o, patience=1), "outside")
    same_as_eager(make, batches(8), between)


# --- changes between calls -------------------------------------------------------------------------------------------


def sets(**options):
    def change(made, number):
        for name, value in options.items():
            made.optimizer.param_groups[0][name] = value

    return change


def loads(made, number):
    saved = made.optimizer.state_dict(), made.model.state_dict()
    made.saved = getattr(made, "saved", saved)
    if number == 5:
        made.optimizer.load_state_dict(made.saved[0])
        made.model.load_state_dict(made.saved[1])


def adds(made, number):
    if number == 3:
        made.optimizer.add_param_group({"params": [made.extra], "lr": 0.05})


def replaces(made, number):
    if number == 3:
        made.optimizer = optim.Adam(made.model.parameters(), lr=0.01)
        made.things[1] = made.optimizer


def perturbs(made, number):
    with minigrad.no_grad():
        for parameter in made.model.parameters():
            parameter += 0.01
        next(made.model.parameters()).data[...] = number


CHANGES = {
    "lr": lambda made, number: sets(lr=0.1 / (number + 1))(made, number),
    "lr 0": lambda made, number: sets(lr=0.0 if number % 2 else 0.1)(made, number),
    "momentum": lambda made, number: sets(momentum=0.9 if number in (2, 3, 6) else 0.0)(made, number),
    "decay": lambda made, number: sets(weight_decay=0.1 if number in (2, 3, 6) else 0.0)(made, number),
    "nesterov": lambda made, number: sets(nesterov=number > 3, momentum=0.9)(made, number),
    "maximize": lambda made, number: sets(maximize=number > 3)(made, number),
    "state dicts": loads,
    "a group": adds,
    "another optimizer": replaces,
    "parameters": perturbs,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_between_calls(change):
    class Changing(Training):
        def __init__(self):
            super().__init__(optimizer=of("SGD", lr=0.1))
            self.extra = nn.Parameter(np.ones(3, "f"))
            self.things.append(self.extra)

        def step(self, features, target):
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(features) * self.extra, target)
            loss.backward()
            self.optimizer.step()
            return loss

    same_as_eager(Changing, batches(9), lambda made, number, step: change(made, number))


@pytest.mark.parametrize("name", ["Adam", "NAdam", "LAMB", "RAdam"])
def test_options_of_stateful_optimizers(name):
    def between(made, number, step):
        group = made.optimizer.param_groups[0]
        group["betas"] = (0.9, 0.99) if number < 4 else (0.0, 0.9)
        group["weight_decay"] = 0.1 if number in (2, 3, 6) else 0.0

    same_as_eager(lambda: Training(optimizer=of(name, lr=0.01)), batches(9), between)


# --- clipping in place -----------------------------------------------------------------------------------------------


def clipped(made, features, target):
    made.optimizer.zero_grad()
    loss = F.cross_entropy(made.model(features), target)
    loss.backward()
    parameters = list(made.model.parameters())
    norm = clipping.clip_grad_norm_(parameters, 0.3)
    units = clipping.clip_grad_norm_(parameters[:2], 0.2, 1.0, scope="unit")
    clipping.clip_grad_value_(parameters, 0.05)
    clipping.adaptive_clip_grad_(parameters, 0.02)
    made.optimizer.step()
    return loss / (1 + norm.float()), norm, units


def test_clips_in_place():
    same_as_eager(lambda: Training(step=clipped), batches())


def test_clips_in_place_with_other_thresholds():
    def step(made, features, target):
        made.optimizer.zero_grad()
        F.cross_entropy(made.model(features), target).backward()
        first = clipping.clip_grad_norm_(made.model.parameters(), 0.3)
        second = clipping.clip_grad_norm_(made.model.parameters(), 0.1)
        made.optimizer.step()
        return first, second, [parameter.grad for parameter in made.model.parameters()]

    def between(made, number, step):  # the tables are kept for the parameters
        if number:
            clipping.clip_grad_norm_(made.model.parameters(), 1e-3)

    same_as_eager(lambda: Training(step=step), batches(), between)


@pytest.mark.parametrize("number", [0, 1, 3], ids=str)
def test_clips_in_place_of_gradients_that_are_not_finite(number):
    check = same_as_eager if number > 1 else partial(fails_as_before, number=number, error="FloatingPointError")
    check(lambda: Training(mlp(norm=True), step=clipped), explosion(batches(), number))


def test_a_norm_that_decides():
    """A branch on a norm is taken by Python in every call."""

    def step(made, features, target):
        made.optimizer.zero_grad()
        loss = F.cross_entropy(made.model(features), target)
        loss.backward()
        if clipping.clip_grad_norm_(made.model.parameters(), 0.3) < 1e9:
            made.optimizer.step()
        return loss

    same_as_eager(lambda: Training(step=step), batches(), eager=[1, 2, 3, 4])


# --- several updates -------------------------------------------------------------------------------------------------


class Adversarial(Training):
    def __init__(self):
        super().__init__(mlp(sizes=(2, 8, 4)), of("Adam", lr=0.01, betas=(0.5, 0.9)))
        self.critic = mlp(sizes=(4, 8, 1), dropout=0.1)
        self.critic_optimizer = optim.RMSprop(self.critic.parameters(), lr=0.01, clip=clipping.by_global_norm(1.0))
        self.things += [self.critic, self.critic_optimizer]

    def step(self, real):
        noise = minigrad.rand(4, 2)
        self.critic_optimizer.zero_grad()
        fake = self.model(noise)
        scores = self.critic(real), self.critic(fake.detach())
        loss = F.binary_cross_entropy_with_logits(scores[0], minigrad.ones(4, 1))
        loss = loss + F.binary_cross_entropy_with_logits(scores[1], minigrad.zeros(4, 1))
        loss.backward()
        self.critic_optimizer.step()
        self.optimizer.zero_grad()
        fooled = F.binary_cross_entropy_with_logits(self.critic(fake), minigrad.ones(4, 1))
        fooled.backward()
        self.optimizer.step()
        return loss, fooled


def test_two_optimizers():
    step = same_as_eager(Adversarial, [(normal(4, 4, seed=i),) for i in range(6)])
    assert step.plan().count("by address") == 2


@pytest.mark.parametrize("number", [0, 1, 3], ids=str)
def test_two_optimizers_of_which_one_fails(number):
    """Eager's error comes after eager's changes: those of the first optimizer."""

    class Failing(Adversarial):
        def __init__(self):
            super().__init__()
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1, clip=clipping.by_global_norm(1.0))
            self.things[1] = self.optimizer

        def step(self, real, factor):
            self.critic_optimizer.zero_grad()
            self.optimizer.zero_grad()
            loss = (self.critic(real) ** 2).mean()
            loss.backward()
            self.critic_optimizer.step()
            other = (self.model(real[:, :2]) * factor).sum()
            other.backward()
            self.optimizer.step()
            return loss, other

    calls = [(normal(4, 4, seed=i), minigrad.tensor(math.inf if i == number else 1.0)) for i in range(5)]
    check = same_as_eager if number > 1 else partial(fails_as_before, number=number, error="FloatingPointError")
    check(Failing, calls)


def test_one_optimizer_stepping_twice():
    def step(made, features, target):
        losses = []
        for half in (slice(0, 2), slice(2, 4)):
            made.optimizer.zero_grad()
            loss = F.cross_entropy(made.model(features[half]), target[half])
            loss.backward()
            made.optimizer.step()
            losses.append(loss)
        return losses

    same_as_eager(lambda: Training(optimizer=of("NAdam"), step=step), batches())


def test_a_scheduler_between_two_updates():
    def step(made, features, target):
        losses = []
        for half in (slice(0, 2), slice(2, 4)):
            made.optimizer.zero_grad()
            loss = F.cross_entropy(made.model(features[half]), target[half])
            loss.backward()
            made.optimizer.step()
            made.scheduler.step()
            losses.append(loss)
        return losses

    class Twice(Training):
        def __init__(self):
            super().__init__(optimizer=of("SGD", lr=0.1), step=step)
            self.scheduler = schedulers.ExponentialLR(self.optimizer, 0.7)
            self.things.append(self.scheduler)

    same_as_eager(Twice, batches())


@pytest.mark.parametrize("name", ["Adam", "Lookahead"])
def test_accumulation_within_a_step(name):
    def step(made, features, target):
        made.optimizer.zero_grad()
        for i in range(4):
            (F.cross_entropy(made.model(features[i : i + 1]), target[i : i + 1]) / 4).backward()
        made.optimizer.step()

    make = of("Adam") if name == "Adam" else lambda params: optim.Lookahead(optim.SGD(params, momentum=0.9), k=2)
    same_as_eager(lambda: Training(optimizer=make, step=step), batches())


@pytest.mark.parametrize("to_none", [True, False])
def test_accumulation_over_calls(to_none):
    def accumulate(made, features, target):
        loss = F.cross_entropy(made.model(features), target) / 3
        loss.backward()
        return loss

    def between(made, number, step):
        if number % 3 == 0 and number:
            made.optimizer.step()
            made.optimizer.zero_grad(to_none)

    same_as_eager(lambda: Training(step=accumulate), batches(12), between)


def test_accumulation_over_calls_with_an_update_by_argument():
    def step(made, features, target, update):
        loss = F.cross_entropy(made.model(features), target) / 3
        loss.backward()
        if update:
            made.optimizer.step()
            made.optimizer.zero_grad()
        return loss

    calls = [(x, y, i % 3 == 2) for i, (x, y) in enumerate(batches(14))]
    same_as_eager(lambda: Training(step=step), calls)


def test_zero_grad_to_zero_and_gradients_of_0():
    def step(made, features, target):
        made.optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(made.model(features), target)
        loss.backward()
        made.optimizer.step()
        made.model.zero_grad(set_to_none=False)
        return loss

    same_as_eager(lambda: Training(step=step), batches())


# --- second order, and unusual parameters -----------------------------------------------------------------------------


def test_gradient_penalty():
    def step(made, features, target):
        made.optimizer.zero_grad()
        features.requires_grad = True
        scores = made.model(features)
        (slope,) = minigrad.grad(scores.sum(), features, create_graph=True)
        loss = F.cross_entropy(scores, target) + ((slope**2).sum(axis=1).sqrt() - 1).mean() ** 2
        loss.backward()
        made.optimizer.step()
        return loss, slope

    def fresh(made, features, target):
        return step(made, features.detach(), target)

    same_as_eager(lambda: Training(step=fresh), batches())


def test_tied_and_frozen_weights():
    class Tied(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight
            self.out = nn.Linear(6, 3)
            self.out.weight.requires_grad = False

        def forward(self, x):
            return self.out(self.second(self.first(x).tanh()).tanh())

    def between(made, number, step):
        made.model.out.weight.requires_grad = number in (3, 4, 7)
        made.model.first.bias.requires_grad = number != 5

    same_as_eager(lambda: Training(Tied()), batches(9), between)


def test_requires_grad_that_the_step_changes():
    def step(made, features, target):
        made.optimizer.zero_grad()
        made.model[0].requires_grad_(False)
        loss = F.cross_entropy(made.model(features), target)
        loss.backward()
        made.optimizer.step()
        made.model[0].requires_grad_(True)
        return loss

    same_as_eager(lambda: Training(step=step), batches())


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_sgd_by_hand(with_optimizer):
    def step(made, features, target):
        made.model.zero_grad()
        loss = F.cross_entropy(made.model(features), target)
        loss.backward()
        with minigrad.no_grad():
            for i, parameter in enumerate(made.model.parameters()):
                if i % 2:
                    parameter.data -= 0.1 * parameter.grad.data
                else:
                    parameter -= 0.1 * parameter.grad
        return loss

    class Plain(Training):
        def __init__(self):
            self.model = mlp(dropout=0.1)
            self.things, self.own_step = [self.model], step

    same_as_eager(lambda: Training(step=step) if with_optimizer else Plain(), batches())


def test_gradients_that_are_set_and_scaled_by_hand():
    def step(made, features, target):
        made.optimizer.zero_grad()
        loss = F.cross_entropy(made.model(features), target)
        gradients = minigrad.grad(loss, list(made.model.parameters()))
        for parameter, gradient in zip(made.model.parameters(), gradients, strict=True):
            parameter.grad = gradient / (1e-3 + abs(gradient).max())
        made.model[0].bias.grad = None
        made.model[2].bias.grad *= 0.5
        made.optimizer.step()
        return loss

    same_as_eager(lambda: Training(step=step), batches())


def test_averages_of_weights_by_hand():
    class Averaging(Training):
        def __init__(self):
            super().__init__()
            self.average = mlp()
            self.average.requires_grad_(False)
            self.things.append(self.average)

        def step(self, features, target):
            loss = super().step(features, target)
            with minigrad.no_grad():
                for mean, parameter in zip(self.average.parameters(), self.model.parameters(), strict=True):
                    mean *= 0.9
                    mean += 0.1 * parameter
            return loss, self.average(features)

    same_as_eager(Averaging, batches())


def test_own_operations_and_losses():
    class Loss(nn.Module):
        def __init__(self):
            self.sharpness = nn.Parameter(np.array(1.5, "f"))

        def forward(self, scores, target):
            one_hot = (target[:, None] == minigrad.arange(3)).float()
            return (squareplus(scores * self.sharpness, b=0.5) - one_hot).abs().mean()

    class Own(Training):
        def __init__(self):
            self.loss = Loss()
            super().__init__(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))
            self.optimizer = optim.Adam([*self.model.parameters(), *self.loss.parameters()])
            self.things = [self.model, self.loss, self.optimizer]

        def step(self, features, target):
            self.optimizer.zero_grad()
            loss = self.loss(squareplus(self.model(features)), target)
            loss.backward()
            self.optimizer.step()
            return loss

    same_as_eager(Own, batches())


def test_a_closure():
    def step(made, features, target):
        def closure():
            made.optimizer.zero_grad()
            loss = F.cross_entropy(made.model(features), target)
            loss.backward()
            return loss

        return made.optimizer.step(closure)

    same_as_eager(lambda: Training(step=step), batches())


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_a_gradient_that_is_kept_is_added_to(with_optimizer):
    """Until it is replaced, a gradient is one tensor."""

    class Keeping(Training):
        def __init__(self):
            super().__init__()
            self.model = self.model if with_optimizer else mlp()
            self.kept, self.things = [], [self.model]

        def step(self, features, target):
            loss = F.cross_entropy(self.model(features), target)
            loss.backward()
            return loss

    def between(made, number, step):
        if number:
            made.kept.append(made.model[0].weight.grad)
            assert all(each is made.kept[-1] for each in made.kept[-1 - (number - 1) % 3 :])
            made.things = [made.model, list(made.kept)]
            if number % 3 == 0:
                made.model.zero_grad()

    same_as_eager(Keeping, batches(11), between)
