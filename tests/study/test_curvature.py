"""Curvature: Lanczos, trace and density against all eigenvalues of the whole Hessian, at 610 parameters."""

import numpy as np
import pytest

import minigrad
from minigrad import data, nn, optim, study
from minigrad.nn.functional import cross_entropy

DIGITS = data.load_digits()
ROWS = DIGITS.features[:100].astype(np.float64), DIGITS.labels[:100]


def network(dtype=np.float64):
    minigrad.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)).astype(dtype)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def hessian(model):
    return study.Hessian(model, ROWS, cross_entropy)


@pytest.fixture(scope="module")
def whole(hessian):
    """The whole matrix."""
    return np.array([hessian @ unit for unit in np.eye(hessian.size)])


def test_the_matrix_is_symmetric_and_the_slope_of_the_gradient(model, hessian, whole):
    assert whole.shape == (610, 610)
    assert np.abs(whole - whole.T).max() < 1e-15
    direction, h = np.random.default_rng(0).standard_normal(610), 1e-5
    start = nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()
    slopes = []
    for side in (1, -1):
        moved = network()
        nn.utils.vector_to_parameters(start + side * h * direction, moved.parameters())
        slopes.append(study.Hessian(moved, ROWS, cross_entropy).gradient)
    np.testing.assert_allclose(whole @ direction, (slopes[0] - slopes[1]) / (2 * h), atol=1e-8)


def test_the_largest_eigenvalues_are_those_of_the_whole_matrix(model, whole):
    exact = np.linalg.eigvalsh(whole)[::-1]
    found = study.curvature(model, ROWS, cross_entropy, k=3, tolerance=1e-5)
    np.testing.assert_allclose(found.eigenvalues, exact[:3], rtol=1e-9)
    assert found.sharpness == found.eigenvalues[0]


def test_residuals_are_those_of_the_vectors_and_bound_the_errors(model, whole):
    exact = np.linalg.eigvalsh(whole)
    found = study.curvature(model, ROWS, cross_entropy, k=3, products=6)
    for value, vector, residual in zip(found.eigenvalues, found.eigenvectors, found.residuals, strict=True):
        assert residual == pytest.approx(np.linalg.norm(whole @ vector - value * vector), rel=1e-9)
        assert 0 < np.abs(exact - value).min() <= residual


def test_the_default_tolerance_is_met_also_in_float32(whole):
    found = study.curvature(network(np.float32), (ROWS[0].astype(np.float32), ROWS[1]), cross_entropy)
    assert found.sharpness == pytest.approx(np.linalg.eigvalsh(whole)[-1], rel=1e-5)
    assert found.residuals[0] < 1e-3 * found.sharpness


def test_batches_of_different_sizes_are_averaged_by_their_rows(model, hessian):
    loader = data.DataLoader(data.Dataset(*ROWS), batch_size=64)
    batched = study.Hessian(model, loader, cross_entropy)
    vector = np.random.default_rng(1).standard_normal(610)
    np.testing.assert_allclose(batched @ vector, hessian @ vector, rtol=1e-9, atol=1e-12)
    assert batched.loss == pytest.approx(hessian.loss, rel=1e-12)
    np.testing.assert_allclose(batched.gradient, hessian.gradient, rtol=1e-9, atol=1e-12)


def test_the_trace_is_within_its_error_bars_which_are_right(hessian, whole):
    estimates = [hessian.trace(probes=8, seed=seed) for seed in range(30)]
    away = np.array([(each.value - np.trace(whole)) / each.error for each in estimates])
    assert np.abs(away.mean()) < 0.6  # without bias: a standard deviation of 1 over the root of 30, three times
    assert 0.5 < (np.abs(away) < 1).mean() < 0.9


def test_the_density_has_the_moments_and_the_form_of_the_spectrum(hessian, whole):
    exact, width = np.linalg.eigvalsh(whole), 0.05
    found = hessian.density(probes=16)
    np.testing.assert_allclose(found.weights.sum(1), 1)
    moments = [(found.weights * found.nodes**power).sum(1).mean() for power in (1, 2)]
    error = np.sqrt(2 * (exact**2).mean() / 610 / 16)  # the standard error of the mean, from 16 normal vectors
    assert moments[0] == pytest.approx(exact.mean(), abs=3 * error)
    assert moments[1] == pytest.approx((exact**2).mean(), rel=0.15)
    grid = np.linspace(exact[0], exact[-1], 200)
    density = np.exp(-(((grid[:, None] - exact) / width) ** 2) / 2).mean(1) / (width * np.sqrt(2 * np.pi))
    assert np.abs(found.at(grid, width) - density).max() < 0.05 * density.max()


def test_a_space_of_few_dimensions_is_found_whole():
    layer = nn.Linear(3, 1, bias=False).double()
    x = np.diag([1.0, 2.0, 2.0])
    found = study.curvature(layer, (x, np.zeros((3, 1))), nn.functional.mse_loss, k=2, products=3)
    np.testing.assert_allclose(found.eigenvalues, [8 / 3, 2 / 3])  # the two equal ones are seen as one
    density = study.Hessian(layer, (x, np.zeros((3, 1))), nn.functional.mse_loss).density(probes=1)
    assert density.weights.sum() == pytest.approx(1)
    assert np.count_nonzero(density.weights) == 2


def test_the_preconditioned_sharpness_is_that_of_the_whole_matrix(whole):
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        cross_entropy(model(minigrad.tensor(ROWS[0])), minigrad.tensor(ROWS[1])).backward()
        optimizer.step()
    hessian = study.Hessian(model, ROWS, cross_entropy)
    matrix = np.array([hessian @ unit for unit in np.eye(610)])
    second = [optimizer.state[p]["exp_avg_sq"].ravel() for p in model.parameters()]
    scale = 1 / np.sqrt((1 - 0.9**5) * (np.sqrt(np.concatenate(second) / (1 - 0.999**5)) + 1e-8))
    found = study.curvature(model, ROWS, cross_entropy, optimizer=optimizer)
    exact = np.linalg.eigvalsh(scale[:, None] * matrix * scale)[-1]
    assert found.preconditioned == pytest.approx(exact, rel=1e-6)
    assert found.threshold == pytest.approx(38 / 1e-3)
    assert f"{exact / 38e3:.0%} of the threshold" in str(found)


def test_gradient_descent_has_the_sharpness_of_the_hessian_and_leaves_frozen_layers_out(model):
    frozen = network()
    frozen[0].requires_grad_(False)
    optimizer = optim.SGD(frozen[2].parameters(), lr=0.1)
    found = study.curvature(frozen, ROWS, cross_entropy, optimizer=optimizer, tolerance=1e-5)
    assert found.preconditioned == found.sharpness
    # The same with the first layer left to no optimizer.
    optimizer = optim.SGD(model[2].parameters(), lr=0.1)
    held = study.curvature(model, ROWS, cross_entropy, optimizer=optimizer, tolerance=1e-5)
    assert held.preconditioned == pytest.approx(found.sharpness, rel=1e-6)
    assert held.sharpness > found.sharpness


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)).double()
    before = {name: value.data.copy() for name, value in model.state_dict().items()}
    state = minigrad.random.get_state()
    hessian = study.Hessian(model, ROWS, cross_entropy)
    vector = np.ones(hessian.size)
    np.testing.assert_array_equal(hessian @ vector, hessian @ vector)  # the dropout mask is fixed
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.data, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert minigrad.random.get_state() == state


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: study.curvature(m, [], cross_entropy), ValueError, "data is empty"),
        (lambda m: study.curvature(m, ROWS, cross_entropy, k=9, products=8), ValueError, "8 products give at most"),
        (lambda m: study.Hessian(m.requires_grad_(False), ROWS, cross_entropy), ValueError, "no parameter"),
        (lambda m: study.Hessian(m, ROWS, cross_entropy) @ np.ones(3), ValueError, "610 elements"),
        (lambda m: study.Hessian(m, ROWS, "mse"), TypeError, "loss"),
    ],
)
def test_an_error_names_the_problem(call, error, message):
    with pytest.raises(error, match=message):
        call(network())
