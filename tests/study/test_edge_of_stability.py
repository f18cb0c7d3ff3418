"""Full-batch training raises the preconditioned sharpness to the optimizer's threshold, and keeps it there.

Cohen, Kaur, Li, Kolter and Talwalkar, "Gradient descent on neural networks typically occurs at the edge of stability",
ICLR 2021; for Adam, Cohen et al., "Adaptive gradient methods at the edge of stability", arXiv 2207.14484.
"""

import numpy as np
import pytest

import minigrad
from minigrad import data, nn, optim, study

ROWS = 200


def half_squares(output, targets):
    return ((output - targets) ** 2).sum(axis=1).mean() / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "threshold"),
    [
        (lambda p: optim.SGD(p, lr=0.15), 2 / 0.15),
        (lambda p: optim.SGD(p, lr=0.2), 2 / 0.2),
        (lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True), 3.8 / (0.05 * 2.8)),
        (lambda p: optim.Adam(p, lr=0.002), 38 / 0.002),
    ],
    ids=["gradient descent, 0.15", "gradient descent, 0.2", "Nesterov", "Adam"],
)
def test_the_sharpness_stays_within_5_percent_of_the_threshold(make, threshold):
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer, digits = make(model.parameters()), data.load_digits()
    batch = digits.features[:ROWS], np.eye(10, dtype=np.float32)[digits.labels[:ROWS]]
    x, y = map(minigrad.tensor, batch)
    sharpness = []
    for step in range(1, 1001):
        if step == 2 or (step > 600 and step % 40 == 0):
            found = study.curvature(model, batch, half_squares, optimizer=optimizer, tolerance=1e-2)
            assert found.threshold == pytest.approx(threshold)
            sharpness.append(found.preconditioned)
        optimizer.zero_grad()
        half_squares(model(x), y).backward()
        optimizer.step()
    assert sharpness[0] < 0.8 * threshold
    assert np.mean(sharpness[1:]) == pytest.approx(threshold, rel=0.05)
