"""A compiled step beside everything else: what looks on, evaluation, gradients that are kept, guards."""

import numpy as np
import pytest
from step_tools import Training, batches, mlp, same_as_eager

import minigrad
from minigrad import clipping, optim
from minigrad.nn import functional as F


def test_explain_of_a_watched_step():
    made = Training()
    step = minigrad.compile(made.step)
    for i, call in enumerate(batches()):
        if i == 4:
            watched = made.optimizer.watch("0.weight")
        step(*call)
    assert "watched" in step.reason
    assert "0.weight" in str(made.optimizer.explain("0.weight", (1, 2)))
    watched.remove()


def test_evaluation():
    """Functions without gradients, under no_grad or in evaluation mode, and a model itself."""

    def step(made, features, target):
        with minigrad.no_grad():
            scores = made.model(features)
            return F.cross_entropy(scores, target), (scores.argmax(axis=1) == target).mean(), scores

    def between(made, number, step):
        made.model.train(number > 4)

    same_as_eager(lambda: Training(mlp(norm=True, dropout=0.2), step=step), batches(9), between)
    model = mlp()
    compiled = minigrad.compile(model)
    for features, _ in batches():
        assert compiled(features).data.tobytes() == model(features).data.tobytes()
    with minigrad.no_grad():
        for features, _ in batches():
            assert compiled(features).data.tobytes() == model(features).data.tobytes()
    assert not compiled.reason


@pytest.mark.parametrize("form", [lambda g: g, lambda g: g.data, lambda g: g[0], lambda g: g.detach()])
def test_gradients_that_are_kept_keep_their_values(form):
    """The memory rule: a gradient that somebody holds is not written over by the next step's."""

    class Keeping(Training):
        def __init__(self):
            super().__init__(optimizer=lambda p: optim.Adam(p, clip=clipping.by_global_norm(0.1)))
            self.kept = []

    def between(made, number, step):
        if number in (1, 2, 3, 5):
            made.kept.append(form(made.model[0].weight.grad))
            made.kept.append(form(made.model[2].bias.grad))
        made.things = [made.model, made.optimizer, list(made.kept)]
        if number == 4:
            made.kept.clear()

    same_as_eager(Keeping, batches(9), between)


def test_parameters_and_results_that_are_kept():
    """Views of parameters follow the updates; results do not change."""
    made = Training()
    view, detached = made.model[0].weight.data, made.model[0].weight.detach()
    step = minigrad.compile(made.step)
    results = [step(*call) for call in batches(6)]
    values = [result.item() for result in results]
    assert len(set(values)) == 6
    step(*batches(1)[0])
    assert [result.item() for result in results] == values
    assert np.array_equal(view, made.model[0].weight.data)
    assert np.array_equal(detached.data, made.model[0].weight.data)


@pytest.mark.parametrize("number", [2, 4])
def test_a_label_out_of_range(number):
    """Eager's error, and nothing has changed that eager would not change."""

    def step(made, features, target):
        made.optimizer.zero_grad()
        loss = F.cross_entropy(made.model(features), target)
        loss.backward()
        made.optimizer.step()
        return loss

    calls = batches(6)
    calls[number] = calls[number][0], minigrad.tensor([0, 1, 3, 0])
    same_as_eager(lambda: Training(mlp(dropout=0.2, norm=True), step=step), calls, eager=[number])
