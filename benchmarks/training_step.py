"""One eager training step of MLPs: forward, cross-entropy, backward, Adam."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minigrad
from minigrad import Tensor, nn, optim

from . import peers
from .effort import Effort
from .report import Table
from .timing import Contender, interleaved

TITLE = "Eager training step"
# Sizes of the layers, and rows of a batch.
MODELS = (
    ((2, 16, 16, 1), 32),
    ((64, 32, 10), 32),
    ((64, 64, 10), 32),
    ((784, 128, 10), 128),
    ((784, 256, 128, 10), 128),
    ((784, 1024, 1024, 10), 128),
)
# So small that the model stays as it is, and with it the work of a step. Otherwise it would learn the random labels by
# heart while it is timed, and compute with denormal numbers, which take a CPU much longer.
RATE = 1e-8


def measure(effort: Effort) -> list[Table]:
    """Return a row for each model with the fastest setting of each peer, and the times of every setting."""
    models = effort.of(MODELS, (MODELS[0], MODELS[1], MODELS[3], MODELS[5]), (((2, 3, 1), 4), ((4, 3, 2), 4)))
    rows, details = [], []
    for sizes, batch in models:
        row, detail = one_model(sizes, batch, effort.seconds)
        rows.append(row)
        details.append(detail)
    notes = (
        "Float32; ReLU; cross-entropy, or for one output the squared error; Adam. minigrad and its NumPy calls with "
        "matrix products on one thread and on all, PyTorch with each implementation of Adam on one thread and on all, "
        "JAX with the whole step in one jitted call with donated buffers, over tensors and flattened: the fastest "
        "setting of each. "
        "The unavoidable NumPy calls: forward, loss and backward written by hand, without the optimizer. On a small "
        "model, the rest of an eager step is Python's work for each operation, which a program compiled by JAX does "
        "not have; on a large one the matrix products dominate."
    )
    return [
        Table("models", "One training step with Adam", rows, notes),
        Table("settings", "Every setting, µs", details, detail=True),
    ]


def one_model(sizes: tuple[int, ...], batch: int, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare on one model. Return the comparison and the times of all contenders."""
    x, y = random_data(sizes, batch)
    step = training_loop(*mlp(sizes))
    contenders = on_blas_threads("minigrad", functools.partial(step, minigrad.Tensor(x), minigrad.Tensor(y)))
    contenders |= on_blas_threads("NumPy calls", bare(sizes, x, y))
    if peers.has("torch"):
        contenders |= in_torch(sizes, x, y)
    if peers.has("jax"):
        contenders |= in_jax("JAX", sizes, x, y)
    times = interleaved(contenders, seconds)
    calls, _ = peers.best_of(times, "NumPy calls") or ("", "")
    row = {
        "model": "-".join(map(str, sizes)),
        "batch": batch,
        **peers.mine(times),
        "its NumPy calls alone (µs)": times[calls].measure(),
        **peers.versus(times, "PyTorch"),
        **peers.versus(times, "JAX"),
    }
    return row, {"model": row["model"]} | {name: each.measure() for name, each in times.items()}


def random_data(sizes: tuple[int, ...], rows: int) -> tuple[Any, Any]:
    """Return features and labels for a model: classes, or numbers if it has one output."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, sizes[0]), dtype=np.float32)
    return x, rng.integers(0, sizes[-1], rows) if sizes[-1] > 1 else rng.standard_normal((rows, 1), dtype=np.float32)


def on_blas_threads(name: str, call: Callable[[], Any], units: int = 1) -> dict[str, Contender]:
    """Return the contender with matrix products on one thread and on all, if their number can be set."""
    if peers.blas() is None:
        return {name: Contender(call, units=units)}
    return {
        f"{name}, {count} BLAS thread{'s' * (count > 1)}": Contender(
            call, functools.partial(peers.blas_threads, count), units
        )
        for count in peers.thread_counts(peers.all_blas_threads())
    }


def mlp(sizes: tuple[int, ...]) -> tuple[nn.Module, optim.Optimizer, Callable[..., Tensor]]:
    """Return the model, its optimizer and its loss."""
    minigrad.manual_seed(0)
    model = nn.MLP(sizes)
    loss = nn.functional.cross_entropy if sizes[-1] > 1 else nn.functional.mse_loss
    return model, optim.Adam(model.parameters(), lr=RATE), loss


def training_loop(
    model: nn.Module, optimizer: optim.Optimizer, loss: Callable[..., Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a step of the training loop of the README."""

    def step(features: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(features), labels)
        value.backward()
        optimizer.step()
        return value

    return step


def in_torch(sizes: tuple[int, ...], x: Any, y: Any) -> dict[str, Contender]:
    """The same in PyTorch, eagerly, for each implementation of Adam."""
    import torch

    def make() -> tuple[Any, list[Any]]:
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        return model, list(model.parameters())

    features, labels = torch.from_numpy(x), torch.from_numpy(y)
    loss = torch.nn.functional.cross_entropy if sizes[-1] > 1 else torch.nn.functional.mse_loss
    found: dict[str, Contender] = {}
    for label, choice in peers.IMPLEMENTATIONS.items():
        model, parameters = make()
        optimizer = torch.optim.Adam(parameters, lr=RATE, **choice)

        def step(model: Any = model, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            loss(model(features), labels).backward()
            optimizer.step()

        found |= peers.on_threads(f"PyTorch {label}", step)
    return found


def in_jax(name: str, sizes: tuple[int, ...], x: Any, y: Any) -> dict[str, Contender]:
    """The same in JAX, in one jitted call, for each layout of optax."""
    jax, _ = peers.jax_modules()
    batch = jax.numpy.array(x), jax.numpy.array(y)
    return {
        f"{name}, {layout}": jitted(jax.jit(step, donate_argnums=0), state, batch)
        for layout, state, step in jax_steps(sizes)
    }


def jitted(program: Any, state: Any, rest: tuple[Any, ...], units: int = 1) -> Contender:
    """Return a call of a jitted program from state and other arguments to the next state and a result."""
    jax, _ = peers.jax_modules()
    held = [state]

    def call() -> None:
        held[0], value = program(held[0], *rest)
        jax.block_until_ready((held[0], value))

    return Contender(call, units=units)


def jax_steps(sizes: tuple[int, ...]) -> Iterator[tuple[str, Any, Any]]:
    """Yield for each layout of optax its name, the state, and the step, from state and batch to state and loss.

    A step is value and gradient, update and application. The state is parameters and optimizer state.
    """
    jax, optax = peers.jax_modules()
    jnp = jax.numpy

    def loss(parameters: Any, features: Any, labels: Any) -> Any:
        for weight, bias in parameters[:-1]:
            features = jax.nn.relu(features @ weight + bias)
        output = features @ parameters[-1][0] + parameters[-1][1]
        if sizes[-1] == 1:
            return jnp.mean((output - labels) ** 2)
        return optax.softmax_cross_entropy_with_integer_labels(output, labels).mean()

    def made(transform: Any) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        parameters: Any = [
            (jnp.array(rng.standard_normal((m, n), dtype=np.float32) / np.float32(m) ** 0.5), jnp.zeros(n))
            for m, n in itertools.pairwise(sizes)
        ]

        def step(state: Any, features: Any, labels: Any) -> Any:
            parameters, moments = state
            value, gradients = jax.value_and_grad(loss)(parameters, features, labels)
            updates, moments = transform.update(gradients, moments, parameters)
            return (optax.apply_updates(parameters, updates), moments), value

        return (parameters, transform.init(parameters)), step

    yield "by tensor", *made(optax.adam(RATE))
    yield "flattened", *made(optax.flatten(optax.adam(RATE)))


def bare(sizes: tuple[int, ...], x: Any, y: Any) -> Callable[[], Any]:
    """Forward, loss and backward as NumPy calls only."""
    rng = np.random.default_rng(0)
    weights = [
        rng.standard_normal((n, m), dtype=np.float32) / np.float32(m) ** 0.5 for m, n in itertools.pairwise(sizes)
    ]
    biases = [np.zeros(n, np.float32) for n in sizes[1:]]
    rows = np.arange(len(x))

    def slope_of_cross_entropy(scores: Any) -> tuple[Any, Any]:
        scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
        p = np.exp(scores)
        total = np.add.reduce(p, axis=1, keepdims=True)
        p /= total
        loss = np.add.reduce(np.log(total)[:, 0] - scores[rows, y]) / len(x)
        p[rows, y] -= 1
        p *= np.float32(1 / len(x))
        return loss, p

    def slope_of_square(scores: Any) -> tuple[Any, Any]:
        scores -= y
        loss = np.vdot(scores, scores) / scores.size
        scores *= np.float32(2 / scores.size)
        return loss, scores

    slope = slope_of_cross_entropy if sizes[-1] > 1 else slope_of_square

    def gradients() -> list[Any]:
        inputs = [x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = inputs[-1] @ weight.T
            hidden += bias
            inputs.append(np.maximum(hidden, 0))
        scores = inputs[-1] @ weights[-1].T
        scores += biases[-1]
        found, g = slope(scores)
        found = [found]
        for layer in range(len(weights) - 1, -1, -1):
            found += [g.T @ inputs[layer], np.add.reduce(g, axis=0)]
            if layer:
                g = g @ weights[layer]
                g *= inputs[layer] > 0
        return found

    return gradients
