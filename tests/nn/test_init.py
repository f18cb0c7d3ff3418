"""Initializers: their distributions, what they refuse, and the defaults of the layers."""

import math

import numpy as np
import pytest

from minigrad import Tensor, nn, random
from minigrad.nn import init


def weight(*shape, dtype=np.float32):
    return Tensor(np.zeros(shape, dtype))


@pytest.fixture(autouse=True)
def _seed():
    random.manual_seed(0)


def test_fans():
    assert (init.fan_in(weight(5, 3)), init.fan_out(weight(5, 3))) == (3, 5)
    assert (init.fan_in(weight(5, 3, 2, 2)), init.fan_out(weight(5, 3, 2, 2))) == (12, 20)
    with pytest.raises(ValueError, match=r"at least 2 axes \(out, in\), not shape \(3,\)"):
        init.fan_in(weight(3))
    with pytest.raises(ValueError, match="empty weight"):
        init.fan_in(weight(3, 0))


def test_gains():
    expected = {"linear": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    assert {name: init.calculate_gain(name) for name in expected} == expected
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="unknown nonlinearity 'rellu'; did you mean 'relu'"):
        init.calculate_gain("rellu")
    with pytest.raises(ValueError, match="'tanh' has no parameter"):
        init.calculate_gain("tanh", 0.2)


# What a (400, 300) weight must be drawn from: the standard deviation, and the bound if it is uniform.
DISTRIBUTIONS = {
    "kaiming_uniform_": (lambda w: init.kaiming_uniform_(w), math.sqrt(2 / 300), True),
    "kaiming_uniform_ fan_out relu": (
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"),
        math.sqrt(2 / 400),
        True,
    ),
    "kaiming_uniform_ slope": (lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)), math.sqrt(1 / 900), True),
    "kaiming_normal_": (lambda w: init.kaiming_normal_(w, nonlinearity="tanh"), 5 / 3 / math.sqrt(300), False),
    "xavier_uniform_": (lambda w: init.xavier_uniform_(w, gain=2), 2 * math.sqrt(2 / 700), True),
    "xavier_normal_": (lambda w: init.xavier_normal_(w), math.sqrt(2 / 700), False),
    "lecun_uniform_": (lambda w: init.lecun_uniform_(w), math.sqrt(1 / 300), True),
    "lecun_normal_": (lambda w: init.lecun_normal_(w), math.sqrt(1 / 300), False),
    "uniform_": (lambda w: init.uniform_(w, -3, 3), math.sqrt(3), True),
    "normal_": (lambda w: init.normal_(w, 0, 0.5), 0.5, False),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name):
    fill, std, uniform = DISTRIBUTIONS[name]
    tensor = weight(400, 300)
    assert fill(tensor) is tensor
    values = tensor.data.astype(float)
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)
    assert values.std() == pytest.approx(std, rel=0.01)
    largest = np.abs(values).max()
    assert largest == pytest.approx(math.sqrt(3) * std, rel=1e-3) if uniform else largest > 3.5 * std


def test_normal_has_the_mean_asked_for():
    assert init.normal_(weight(300, 300), mean=7, std=0.1).data.mean() == pytest.approx(7, abs=1e-2)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 2, 0, 3), (0, 1, 0, 0.01), (0, 1, 2, 4), (0, 1, -9.5, -9), (0, 1, -1, math.inf)],
)
def test_trunc_normal_is_the_normal_distribution_within_its_bounds(mean, std, a, b):
    values = init.trunc_normal_(weight(200, 200, dtype=np.float64), mean, std, a, b).data
    assert values.min() >= a
    assert values.max() <= b
    # The moments of the truncated distribution, by quadrature.
    grid = np.linspace(a, min(b, mean + 10 * std), 200_001)
    density = np.exp(-0.5 * ((grid - mean) / std) ** 2)
    expected = (grid * density).sum() / density.sum()
    spread = math.sqrt(((grid - expected) ** 2 * density).sum() / density.sum())
    assert values.mean() == pytest.approx(expected, abs=5 * spread / 200)
    assert values.std() == pytest.approx(spread, rel=0.03)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (6, 2, 2)])
def test_orthogonal(shape):
    matrix = init.orthogonal_(weight(*shape, dtype=np.float64), gain=2).data.reshape(shape[0], -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_orthogonal_favors_no_sign():
    corners = [init.orthogonal_(weight(2, 2)).data[0, 0] for _ in range(200)]
    assert 60 < sum(corner > 0 for corner in corners) < 140


def test_constants():
    assert (init.constant_(weight(2, 3), 1.5).data == 1.5).all()
    assert (init.ones_(weight(2)).data == 1).all()
    assert (init.zeros_(Tensor([3.0])).data == 0).all()


def test_the_same_seed_gives_the_same_weights_and_the_next_layer_others():
    random.manual_seed(3)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    random.manual_seed(3)
    np.testing.assert_array_equal(first.weight.data, nn.Linear(3, 3).weight.data)
    assert not np.array_equal(first.weight.data, second.weight.data)


def test_a_generator_of_ones_own_leaves_the_common_one_alone():
    before = random.get_state()
    one, two = (init.normal_(weight(3, 3), generator=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.data, two.data)
    assert random.get_state() == before


def test_float64_is_not_rounded_to_float32():
    values = init.normal_(weight(3, 3, dtype=np.float64)).data
    assert (values != values.astype(np.float32)).any()


def test_filling_a_recorded_value_is_noticed():
    layer = nn.Linear(2, 2)
    loss = layer(Tensor(np.ones((1, 2), np.float32), requires_grad=True)).sum()
    layer.reset_parameters()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda w: init.uniform_(w, 1, 0), "empty; swap a and b"),
        (lambda w: init.uniform_(w, 0, math.inf), "b must be a finite number"),
        (lambda w: init.normal_(w, 0, -1), "std must be a finite number of 0 or more"),
        (lambda w: init.normal_(w, math.nan), "mean must be a finite number"),
        (lambda w: init.trunc_normal_(w, a=2, b=-2), "needs a < b"),
        (lambda w: init.trunc_normal_(w, std=0), "std must be a finite number above 0"),
        (lambda w: init.trunc_normal_(w, a=8, b=1000), "too far out"),
        (lambda w: init.kaiming_uniform_(w, mode="fan"), "unknown mode 'fan'"),
        (lambda w: init.kaiming_normal_(w, nonlinearity="swish"), "unknown nonlinearity 'swish'"),
        (lambda w: init.kaiming_uniform_(w, a=0.1, nonlinearity="relu"), "'relu' has no parameter"),
        (lambda w: init.xavier_normal_(w, gain=math.nan), "gain must be a finite number"),
        (lambda w: init.orthogonal_(weight(3)), "at least 2 axes"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_filled(fill, message):
    tensor = weight(3, 3)
    with pytest.raises(ValueError, match=message):
        fill(tensor)
    assert (tensor.data == 0).all()


def test_integers_cannot_be_filled():
    with pytest.raises(TypeError, match="floating-point tensors, not int64"):
        init.zeros_(Tensor(np.ones(3, int)))


# --- the defaults of the layers --------------------------------------------------------------------------------------


def assert_uniform(values, bound, name):
    assert 0.9 * bound < np.abs(values).max() <= bound, name
    assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.25), name


DEFAULTS = {
    "Linear": ((64, 200), 1 / 8),
    "RNN": ((8, 64), 1 / 8),
    "LSTM": ((8, 64), 1 / 8),
    "GRU": ((8, 64), 1 / 8),
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_default_weights_and_biases_are_uniform_with_pytorchs_bound(kind):
    args, bound = DEFAULTS[kind]
    for name, parameter in getattr(nn, kind)(*args).named_parameters():
        assert_uniform(parameter.data, bound, name)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_bounds_are_those_of_the_installed_pytorch(kind):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    args, bound = DEFAULTS[kind]
    for name, parameter in getattr(torch.nn, kind)(*args).named_parameters():
        assert_uniform(parameter.detach().numpy(), bound, name)


def test_an_embedding_starts_from_the_standard_normal_distribution():
    assert nn.Embedding(200, 200).weight.data.std() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("layer", [nn.LayerNorm(5), nn.RMSNorm(5), nn.BatchNorm1d(5)])
def test_norms_start_as_the_identity_and_can_be_reset(layer):
    layer.weight.data = np.full(5, 3.0)
    layer.reset_parameters()
    assert (layer.weight.data == 1).all()
    assert getattr(layer, "bias", None) is None or (layer.bias.data == 0).all()
