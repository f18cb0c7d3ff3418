"""Many runs of one small model: trained together, one after the other, and beside JAX; and a whole sweep.

A run is an MLP 64-32-10 with Adam on the digits, 30 epochs in batches of 32, without evaluation. The runs differ in
their learning rate and seed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import data, nn, optim, random, training
from minigrad.kernels.threads import available
from minigrad.training._together import train_together

from . import peers
from .effort import Effort
from .report import Table
from .timing import Contender, interleaved, ratio

TITLE = "Sweeps"
SIZES, BATCH = (64, 32, 10), 32
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
Make = Callable[[], training.Run]


def measure(effort: Effort) -> list[Table]:
    """Return the tables of runs, and of a sweep."""
    seeds, epochs = effort.of((16, 30), (4, 10), (1, 2))
    count = seeds * len(RATES)
    digits = data.load_digits()
    dataset = data.Dataset(digits.features.astype(np.float32), digits.labels)
    makes = [functools.partial(make, dataset, rate, seed) for rate in RATES for seed in range(seeds)]
    contenders = {
        "eager runs": Contender(functools.partial(alone, makes[0], epochs, False)),
        "fit, run by run": Contender(functools.partial(alone, makes[0], epochs, True)),
        "together, 1 thread": Contender(functools.partial(together, makes, epochs, 1), units=count),
        "together, all threads": Contender(functools.partial(together, makes, epochs, available()), units=count),
    }
    if peers.has("jax"):
        contenders |= in_jax(dataset, seeds, epochs)
    peers.blas_threads(1)
    try:
        times = interleaved(contenders, effort.seconds)
    finally:
        peers.blas_threads(peers.all_blas_threads())
    own = times["together, all threads"]
    rows = [
        {
            "runs": name,
            "at a time": contender.units,
            "per run (ms)": times[name].measure(1e3),
            "shortest (ms)": times[name].best * 1e3,
            "together is times faster": ratio(times[name], own) if name != "together, all threads" else None,
            "shortest, times faster": times[name].best / own.best,
        }
        for name, contender in contenders.items()
    ]
    notes = (
        f"{count} runs of {epochs} epochs of {len(dataset) // BATCH} steps, and a last short batch; Adam; one thread "
        "for matrix products. The time of runs that are trained together has their initial parameters, the order of "
        "their data and tracing in it; that of JAX, which takes full batches only, has the steps alone."
    )
    return [Table("runs", "Time of a run", rows, notes)]


def make(dataset: data.Dataset, rate: float, seed: int) -> training.Run:
    """Return a run at its beginning."""
    random.manual_seed(seed)
    model = nn.MLP(SIZES)
    optimizer = optim.Adam(model.parameters(), lr=rate)
    loader = data.DataLoader(dataset, BATCH, shuffle=True, seed=seed)
    return training.Run(model, optimizer, loader, nn.functional.cross_entropy)


def alone(make: Make, epochs: int, compiled: bool) -> None:
    """Train one run."""
    run = make()
    run.compiled = compiled
    training.train(run, epochs)


def together(makes: list[Make], epochs: int, threads: int) -> None:
    """Train all runs."""
    for found in train_together([("digits", each) for each in makes], epochs, threads):
        if found.error is not None:
            raise found.error


def in_jax(dataset: data.Dataset, seeds: int, epochs: int) -> Iterator[tuple[str, Contender]]:
    """Yield runs in JAX, each a jitted scan over all its steps: by themselves, and several at a time by vmap."""
    jax, optax = peers.jax_modules()
    jnp = jax.numpy
    features, labels = jnp.array(dataset.features), jnp.array(dataset.labels)
    rows = len(dataset) // BATCH * BATCH

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        scores = x @ parameters[-1][0] + parameters[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def run(rate: Any, parameters: Any, order: Any) -> Any:
        adam = optax.flatten(optax.adam(rate))

        def step(state: Any, rows: Any) -> Any:
            parameters, moments = state
            value, gradients = jax.value_and_grad(loss)(parameters, features[rows], labels[rows])
            updates, moments = adam.update(gradients, moments, parameters)
            return (optax.apply_updates(parameters, updates), moments), value

        return jax.lax.scan(step, (parameters, adam.init(parameters)), order)

    def given(count: int) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(0)
        rates = jnp.array([rate for rate in RATES for _ in range(seeds)][:count], jnp.float32)
        parameters = [
            (
                jnp.array(rng.standard_normal((count, m, n), dtype=np.float32) / np.float32(m) ** 0.5),
                jnp.zeros((count, n)),
            )
            for m, n in itertools.pairwise(SIZES)
        ]
        orders = [[rng.permutation(len(dataset))[:rows] for _ in range(epochs)] for _ in range(count)]
        return rates, parameters, jnp.array(np.reshape(orders, (count, -1, BATCH)), jnp.int32)

    single, several = jax.jit(run), jax.jit(jax.vmap(run))
    one = jax.tree.map(lambda array: array[0], given(1))
    yield "JAX, run by run", Contender(lambda: jax.block_until_ready(single(*one)))
    for count in (8, 16, 64):
        if count <= seeds * len(RATES):
            batch = given(count)
            call = functools.partial(lambda batch: jax.block_until_ready(several(*batch)), batch)
            yield f"JAX, vmap of {count}", Contender(call, units=count)
