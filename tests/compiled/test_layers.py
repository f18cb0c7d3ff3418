"""Every layer and loss in a compiled step, trained for some steps: everything as eager leaves it, bit for bit."""

import numpy as np
import pytest
from nn_cases import CASES, _draw
from step_tools import Training, batches, labels, mlp, normal, same_as_eager

import minigrad
from minigrad import Tensor, nn
from minigrad.nn import functional as F

pytestmark = pytest.mark.sample(1)

DTYPES = "float32", "float64"


def tensors(value):
    if isinstance(value, Tensor):
        return [value]
    return [each for item in value for each in tensors(item)]


class OfCase(Training):
    """A layer or loss of the registry; the step trains its parameters, and returns gradients of its input."""

    def __init__(self, case, dtype):
        layer = getattr(nn, case.kind)(*case.args, **case.options).astype(dtype)
        layer.train(case.training)
        super().__init__(nn.Sequential(layer, nn.LayerNorm(2, dtype=dtype)))
        self.case, self.layer = case, layer

    def step(self, first, *rest):
        self.optimizer.zero_grad()
        results = self.layer(first, *([tuple(rest)] if self.case.paired and rest else rest))
        total = sum((result * result).sum() for result in tensors(results))
        gradients = []
        if total.requires_grad:
            leaves = [first] if first.requires_grad else []
            own = list(self.layer.parameters())
            found = minigrad.grad(total, [*leaves, *own])
            gradients = found[: len(leaves)]
            for parameter, gradient in zip(own, found[len(leaves) :], strict=True):
                parameter.grad = gradient
        self.optimizer.step()
        return results, gradients


def inputs(case, dtype, number):
    rng = np.random.default_rng(number)
    found = []
    for kind in case.inputs:
        array = np.asarray(_draw(rng, *kind))
        floating = array.dtype.kind == "f"
        found.append(minigrad.tensor(array.astype(dtype) if floating else array))
        if floating and len(found) == 1:
            found[0].requires_grad = True
    return tuple(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layers_and_losses_of_the_registry(case, dtype):
    same_as_eager(lambda: OfCase(case, dtype), [inputs(case, dtype, i) for i in range(4)])


class Attention(nn.Module):
    """Self-attention of two heads with dropout, written by hand, around an embedding."""

    def __init__(self):
        self.embedding = nn.Embedding(7, 8, padding_idx=0)
        self.norm = nn.LayerNorm(8)
        self.queries, self.keys, self.values = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.25)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens):
        x = self.norm(self.embedding(tokens))
        n, length = tokens.shape

        def heads(layer):
            return layer(x).reshape(n, length, 2, 4).transpose(1, 2)

        scores = heads(self.queries) @ heads(self.keys).transpose(-1, -2) / 4**0.5
        future = np.triu(np.ones((length, length), bool), 1)
        scores = scores + minigrad.tensor(np.where(future, -1e9, 0.0).astype("f"))
        mixed = (self.dropout(F.softmax(scores, axis=-1)) @ heads(self.values)).transpose(1, 2).reshape(n, length, 8)
        return self.out((x + mixed).mean(axis=1))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        self.cells = getattr(nn, kind)(6, 5, batch_first=True, **options)
        self.out = nn.Linear(10 if options.get("bidirectional") else 5, 3)

    def forward(self, x):
        return self.out(self.cells(x[:, None, :] * np.array([[1.0], [0.5], [-1.0]], "f"))[0][:, -1])


MODELS = {
    "dropout": lambda: mlp(dropout=0.3),
    "dropout, batch norm": lambda: mlp(dropout=0.3, norm=True),
    "average": lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, momentum=None), nn.ReLU(), nn.Linear(4, 3)),
    "gelu": lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.GELU("tanh"), nn.Linear(8, 3)),
    "deep": lambda: nn.MLP([6, 8, 8, 8, 3], norm="rms", activation="silu", dropout=0.2),
    "LSTM": lambda: Recurrent("LSTM", bidirectional=True),
    "GRU": lambda: Recurrent("GRU", bidirectional=True, num_layers=2, dropout=0.3),
    "RNN": lambda: Recurrent("RNN", nonlinearity="relu"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_models_in_training_and_evaluation(name, dtype):
    """Masks of dropout, running statistics and the generator's state are eager's, in both modes."""

    def between(made, number, step):
        made.model.train(number not in (3, 4, 5))

    step = same_as_eager(lambda: Training(MODELS[name]().astype(dtype)), batches(8, dtype=dtype), between)
    if name != "deep":
        assert "everything is native" in step.plan()


def test_attention():
    calls = [(labels(4, 5, classes=7, seed=i), labels(4, seed=i)) for i in range(5)]
    same_as_eager(lambda: Training(Attention()), calls)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_draws_that_are_not_uniform(dtype):
    """Normal numbers and integers come from the generator through Python, in eager's order."""

    def step(made, features, target):
        made.optimizer.zero_grad()
        noise = minigrad.randn(*features.shape, dtype=dtype) * 0.1
        kept = minigrad.rand(4, 1, dtype=dtype) < 0.8
        moved = minigrad.randint(0, 3, (4,))
        loss = F.cross_entropy(made.model((features + noise) * kept), (target + moved) % 3)
        loss.backward()
        made.optimizer.step()
        return loss, noise

    same_as_eager(lambda: Training(mlp(dropout=0.3, dtype=dtype), step=step), batches(dtype=dtype))


def test_tensors_that_the_step_makes_are_new_in_each_call():
    def step(made, features, target):
        made.optimizer.zero_grad()
        with minigrad.no_grad():
            count, table = minigrad.zeros(()), minigrad.tensor([[1.0, 2.0, 3.0]])
            count += 1
            table[0, 1] += features.sum()
            ones = minigrad.ones(3)
            ones.mul_(2) if hasattr(ones, "mul_") else ones.copy_(ones * 2)
        scores = made.model(features) + table + minigrad.arange(3) * 0.5 + minigrad.full((3,), 0.5)
        loss = F.cross_entropy(scores, target) * count
        loss.backward()
        made.optimizer.step()
        return loss, count, table, ones

    same_as_eager(lambda: Training(step=step), batches())


def test_own_layers_and_own_parameters():
    class Scaled(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(normal(6, 3).data)
            self.scale = nn.Parameter(minigrad.tensor(1.5).data)
            self.register_buffer("seen", minigrad.zeros(3))
            self.register_buffer("calls", minigrad.tensor(0))

        def forward(self, x):
            y = (x @ self.weight).tanh() * self.scale
            with minigrad.no_grad():
                self.seen += abs(y).mean(axis=0)
                self.calls.data += 1
                self.seen[1] = self.seen[0] * 0.5
            return y / (1 + self.seen)

    same_as_eager(lambda: Training(Scaled()), batches())
