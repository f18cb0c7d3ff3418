"""Many steps in one call equal the same steps in Python, bit for bit; also several runs at once on threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad
from minigrad import clipping, nn, optim, random
from minigrad.compiled.epoch import Driver

pytestmark = pytest.mark.sample(1)

ROWS, BATCH = 96, 8
STEPS = ROWS // BATCH

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01, clip=clipping.by_global_norm(0.5)),
    "NAdam, which carries numbers": lambda p: optim.NAdam(p, lr=0.01),
    "LAMB": lambda p: optim.LAMB(p, lr=0.01, weight_decay=0.1),
    "Lookahead": lambda p: optim.Lookahead(optim.SGD(p, lr=0.1), k=3),
}


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((ROWS, 5), dtype=np.float32), rng.integers(0, 3, ROWS)


def make(optimizer, seed=0):
    minigrad.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = OPTIMIZERS[optimizer](model.parameters())

    def step(features, labels):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(features), labels)
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def batches(order):
    features, labels = data()
    for rows in order.reshape(-1, BATCH):
        yield minigrad.tensor(features[rows]), minigrad.tensor(labels[rows])


def driver(step):
    """A driver of a step, after the three calls that trace, check and run it."""
    compiled = minigrad.compile(step)
    for batch in batches(np.arange(3 * BATCH)):
        compiled(*batch)
    return Driver(compiled.ready(BATCH, 2), data())


def eager(step, order):
    return [step(*batch).item() for batch in batches(order)]


def state(model, optimizer):
    values = [tensor.data.tobytes() for tensor in model.state_dict().values()]
    grads = [parameter.grad.data.tobytes() for parameter in model.parameters()]
    return values, grads, repr(optimizer.state_dict()), optimizer.steps, repr(random.get_state())


def drive(each, order):
    losses, taken = [], 0
    while taken < len(order) // BATCH:
        steps = min(len(order) // BATCH - taken, each.longest() or STEPS)
        outcome = each.run(np.ascontiguousarray(order[taken * BATCH :]), steps)
        assert outcome.done == steps
        assert not outcome.eager
        losses += outcome.logs[0].tolist()
        taken += steps
    return losses


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_in_one_call_are_the_steps_of_python(optimizer):
    model, own, step = make(optimizer)
    eager(step, np.arange(3 * BATCH))
    order = np.random.default_rng(1).permutation(ROWS)
    losses = eager(step, order)
    expected = state(model, own)
    model, own, step = make(optimizer)
    each = driver(step)
    assert drive(each, order) == losses
    assert state(model, own) == expected


def test_options_that_change_between_steps():
    rates = [0.1, 0.02, 0.3, 0.0]

    def changing(own):
        remaining = iter(rates[1:] + rates)

        def change():
            own.param_groups[0]["lr"] = next(remaining)

        return change

    model, own, step = make("SGD")
    eager(step, np.arange(3 * BATCH))
    change = changing(own)
    for batch in batches(np.arange(4 * BATCH)):
        step(*batch)
        change()
    expected = state(model, own)
    model, own, step = make("SGD")
    each = driver(step)
    change, taken = changing(own), 0
    while taken < 4:
        taken += each.run(np.arange(taken * BATCH, 4 * BATCH), 4 - taken, change).done
    assert state(model, own) == expected


def test_a_label_out_of_range_ends_a_stretch_with_nothing_of_its_step_done():
    model, own, step = make("Adam")
    each = driver(step)
    labels = each.sources[1] = each.sources[1].copy()
    labels[5 * BATCH] = -1
    outcome = each.run(np.arange(ROWS), STEPS)
    assert outcome.done == 5
    assert "test_epoch.py" in outcome.eager
    found = state(model, own)
    model, own, step = make("Adam")
    eager(step, np.arange(3 * BATCH))
    eager(step, np.arange(5 * BATCH))
    expected = state(model, own)
    assert (found[0], found[2:]) == (expected[0], expected[2:])  # the gradients are of the step that was given up


@pytest.mark.parametrize("policy", ["skip", "raise"])
def test_a_norm_that_is_not_finite(policy):
    def made():
        minigrad.manual_seed(0)
        model = nn.Linear(5, 3)
        own = optim.SGD(model.parameters(), lr=0.1, clip=clipping.by_global_norm(1.0, nonfinite=policy))

        def step(features, labels):
            own.zero_grad()
            loss = (model(features) * model(features)).sum()
            loss.backward()
            own.step()
            return loss

        return model, own, step

    features, _ = data()
    features[4 * BATCH] = 3e38
    _, own, step = made()
    each = driver(step)
    each.sources[0] = features
    outcome = each.run(np.arange(ROWS), STEPS)
    if policy == "raise":
        assert isinstance(outcome.error, FloatingPointError)
        assert (outcome.done, own.steps) == (4, 3 + 4)
        return
    assert (outcome.done, own.skipped, own.steps) == (5, 1, 3 + 5)
    rest = each.run(np.arange(5 * BATCH, ROWS), STEPS - 5)
    assert (rest.done, own.skipped) == (STEPS - 5, 1)


def test_many_runs_at_once_are_the_same_for_any_number_of_threads():
    def results(threads):
        runs = []
        for seed in range(6):
            model, own, step = make("Adam", seed)
            each = driver(step)
            each.bound.draw_from(np.random.default_rng(seed))
            runs.append((each, np.random.default_rng(seed).permutation(ROWS), STEPS, model, own))
        with ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(lambda run: run[0].run(*run[1:3]), runs))
        losses = [outcome.logs[0].tobytes() for outcome in outcomes]
        return losses, [state(model, own)[:3] for *_, model, own in runs]

    alone = results(1)
    assert results(3) == alone
    assert len(set(alone[0])) == 6


def test_a_call_that_is_given_up_leaves_the_gradients_that_it_would_have_replaced():
    """Also where the step forgets the old ones only after the forward pass, and random numbers are drawn."""

    def made():
        minigrad.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 3))
        own = optim.Adam(model.parameters())

        def step(features, labels):
            loss = nn.functional.cross_entropy(model(features), labels)
            own.zero_grad()
            loss.backward()
            own.step()
            return loss

        return model, own, step

    def train(step):
        for batch in batches(np.arange(5 * BATCH)):
            step(*batch)
        features, labels = data()
        labels[3] = 3
        with pytest.raises(IndexError, match="label 3"):
            step(minigrad.tensor(features[:BATCH]), minigrad.tensor(labels[:BATCH]))

    model, own, step = made()
    train(step)
    expected = state(model, own)
    model, own, step = made()
    train(minigrad.compile(step))
    assert state(model, own) == expected
