"""Thresholds of stability: derived from the rules, against closed forms, and against the steps themselves."""

import numpy as np
import pytest

import minigrad
from minigrad import clipping, nn, optim, study

LR = 0.01


def after_steps(make, steps=40, curvature=(0.5, 1.0, 2.0), start=1.0):
    """An optimizer of a weight matrix after some steps on a quadratic with a curvature for each weight."""
    weight = nn.Parameter(np.full((1, len(curvature)), start))
    optimizer = make([weight])
    for _ in range(steps):
        optimizer.zero_grad()
        (minigrad.tensor(np.array([curvature])) * weight**2 / 2).sum().backward()
        optimizer.step()
    return optimizer, weight


@pytest.mark.parametrize(
    ("make", "threshold"),
    [
        (lambda p: optim.SGD(p, lr=LR), 2 / LR),
        (lambda p: optim.SGD(p, lr=LR, momentum=0.8), (2 + 2 * 0.8) / LR),
        (lambda p: optim.SGD(p, lr=LR, momentum=0.8, nesterov=True), (2 + 2 * 0.8) / (LR * (1 + 2 * 0.8))),
        (lambda p: optim.SGD(p, lr=LR, momentum=0.8, dampening=0.5), (2 + 2 * 0.8) / (LR * 0.5)),
        (lambda p: optim.SGD(p, lr=LR, weight_decay=3.0), 2 / LR - 3),
        (lambda p: optim.RMSprop(p, lr=LR), 2 / LR),
        (lambda p: optim.RMSprop(p, lr=LR, momentum=0.7), (2 + 2 * 0.7) / LR),
        (lambda p: optim.Adam(p, lr=LR), 38 / LR),
        (lambda p: optim.Adam(p, lr=LR, betas=(0.5, 0.9)), (2 + 2 * 0.5) / (0.5 * LR)),
        (lambda p: optim.Adam(p, lr=LR, amsgrad=True), 38 / LR),
        (lambda p: optim.Adamax(p, lr=LR), 38 / LR),
        (lambda p: optim.AdaBelief(p, lr=LR), 38 / LR),
        (lambda p: optim.RAdam(p, lr=LR), 38 / LR),
        (lambda p: optim.AdamW(p, lr=LR, weight_decay=2.0), (2 - 0.02) * 1.9 / (0.1 * LR)),
        (lambda p: optim.Adagrad(p, lr=LR), 2 / LR),
        (lambda p: optim.Adadelta(p, lr=LR), 2 / LR),
        (lambda p: optim.Lookahead(optim.SGD(p, lr=LR)), 2 / LR),
    ],
)
def test_the_threshold_of_a_known_optimizer_has_its_closed_form(make, threshold):
    optimizer, _ = after_steps(make)
    assert study.stability(optimizer).threshold == pytest.approx(threshold, rel=1e-6)


def test_adams_preconditioner_is_the_root_of_its_second_moment():
    optimizer, weight = after_steps(lambda p: optim.Adam(p, lr=LR), steps=7)
    root = np.sqrt(optimizer.state[weight]["exp_avg_sq"] / (1 - 0.999**7)) + 1e-8
    (found,) = study.stability(optimizer).preconditioner.values()
    np.testing.assert_allclose(found, (1 - 0.9**7) * root, rtol=1e-12)


def test_a_threshold_is_known_before_the_first_step_and_follows_the_options():
    optimizer = optim.SGD([nn.Parameter(np.ones(2))], lr=0.1, momentum=0.9)
    assert study.stability(optimizer).threshold == pytest.approx(38)
    optimizer.param_groups[0]["lr"] = 0.2
    assert study.stability(optimizer).threshold == pytest.approx(19)
    assert optimizer.steps == 0
    optimizer, _ = after_steps(lambda p: optim.SGD(p, lr=0.1), steps=1)
    optimizer.param_groups[0]["lr"] = 0.2
    assert study.stability(optimizer).threshold == pytest.approx(10)


def test_each_group_has_its_own_rate():
    slow, fast = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    optimizer = optim.SGD([{"params": [slow]}, {"params": [fast], "lr": 0.4}], lr=0.1)
    found = study.stability(optimizer)
    bounds = [found.threshold * each for each in found.preconditioner.values()]
    np.testing.assert_allclose(bounds, [[20, 20], [5, 5]])


def test_lamb_with_its_ratio_frozen():
    optimizer, _ = after_steps(lambda p: optim.LAMB(p, lr=LR))
    found = study.stability(optimizer)
    (entry,) = optimizer.store.entries.values()
    norms = optimizer._layout.norms_of(entry)
    ratio = norms["param_norm"] / norms["update_norm"]
    assert found.threshold == pytest.approx(38 / (LR * ratio), rel=1e-6)


def test_a_clip_that_acts_raises_the_threshold_by_what_it_takes_off():
    optimizer, _ = after_steps(lambda p: optim.SGD(p, lr=LR, clip=clipping.by_global_norm(0.1)), steps=1)
    norm = np.linalg.norm([0.5, 1.0, 2.0])
    assert study.stability(optimizer).threshold == pytest.approx(2 / LR * norm / 0.1, rel=1e-4)


# --- optimizers of one's own -----------------------------------------------------------------------------------------


@optim.rule(state=("fast", "slow"))
def two_averages(update, fast, slow, *, beta, gamma):
    fast = beta * fast + (1 - beta) * update
    slow = gamma * slow + (1 - gamma) * fast
    update = slow + 0.25 * update
    return update, fast, slow


scale_by_adam_again = optim.adam.scale_by_adam


@optim.rule
def exponential(update):
    update = optim.exp(update)
    return update


def own(chain, **options):
    return lambda p: optim.Optimizer(p, {"lr": LR, **options}, chain=optim.chain(*chain, optim.apply_update))


def test_an_optimizer_without_a_meaning_is_measured_by_what_its_weights_can_stand():
    optimizer, _ = after_steps(own([scale_by_adam_again], beta1=0.5, beta2=0.9, eps=1e-8))
    adam, _ = after_steps(lambda p: optim.Adam(p, lr=LR, betas=(0.5, 0.9)))
    mine, known = study.stability(optimizer), study.stability(adam)
    bounds = [each.threshold * next(iter(each.preconditioner.values())) for each in (mine, known)]
    np.testing.assert_allclose(*bounds, rtol=1e-6)
    assert mine.threshold == pytest.approx(np.median(bounds[0]))


def grows(make, curvature):
    """Whether a weight on a quadratic of this curvature grows in the long run."""
    _, weight = after_steps(make, steps=3000, curvature=(curvature,), start=1e-6)
    return not abs(weight.item()) < 1e-6


@pytest.mark.parametrize(
    "make",
    [
        own([two_averages], beta=0.9, gamma=0.5),
        own([optim.common.add_decayed_weights, two_averages], beta=0.5, gamma=0.8, weight_decay=2.0),
        lambda p: optim.SGD(p, lr=LR, momentum=0.9, nesterov=True, weight_decay=1.0),
        lambda p: optim.LARS(p, lr=LR, momentum=0.5, exclude_from_adaptation=lambda name, p: True),
    ],
)
def test_steps_on_a_quadratic_grow_exactly_above_the_threshold(make):
    optimizer, _ = after_steps(make, steps=1)
    threshold = study.stability(optimizer).threshold
    assert not grows(make, threshold * 0.98)
    assert grows(make, threshold * 1.02)


def test_a_step_that_is_not_linear_is_refused():
    optimizer, _ = after_steps(own([exponential]))
    with pytest.raises(ValueError, match="not linear"):
        study.stability(optimizer)


def test_a_step_upwards_is_refused():
    optimizer, _ = after_steps(lambda p: optim.SGD(p, lr=LR, maximize=True))
    with pytest.raises(ValueError, match="unstable at any curvature"):
        study.stability(optimizer)


@pytest.mark.filterwarnings("error")
def test_a_rate_of_0_as_before_a_warm_up_is_stable_at_any_curvature():
    optimizer, _ = after_steps(lambda p: optim.Adam(p, lr=0.0), steps=1)
    assert study.stability(optimizer).threshold == np.inf
