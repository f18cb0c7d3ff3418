"""Compiled training steps: one step per call and whole epochs beside PyTorch and JAX, compilation, and the command.

All steps of a model are timed by turns in one process. Compilation and the command run in fresh processes.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import minigrad
from minigrad import data, training
from minigrad.compiled.epoch import Driver
from minigrad.training._compiled import Stretches
from minigrad.training.loop import _train_epoch, finish_epoch

from . import peers
from .effort import Effort
from .processes import columns, run
from .report import Table
from .timing import Contender, Measure, Times, interleaved
from .training_step import in_jax, in_torch, jax_steps, jitted, mlp, on_blas_threads, random_data, training_loop

TITLE = "Compiled training step"
# Sizes of the layers, rows of a batch, and steps of an epoch.
MODELS = (
    ((2, 16, 16, 1), 32, 45),
    ((64, 32, 10), 32, 45),
    ((64, 64, 64, 10), 32, 45),
    ((784, 128, 10), 128, 16),
    ((784, 1024, 1024, 10), 512, 4),
)
# The names of contenders begin with these.
WAYS = ("eager", "compiled call", "compiled epoch", "fit", "PyTorch", "jax.jit", "lax.scan")
COMPARED = (
    ("compiled call", "PyTorch"),
    ("compiled call", "jax.jit"),
    ("compiled epoch", "PyTorch"),
    ("compiled epoch", "lax.scan"),
)


def measure(effort: Effort) -> list[Table]:
    """Return the tables of steps, of compilation, and of the command."""
    models = effort.of(MODELS, (MODELS[1], MODELS[3]), (((2, 3, 1), 4, 3), ((4, 3, 2), 4, 3)))
    calls, epochs, shortest, details = [], [], [], []
    for sizes, batch, steps in models:
        times = interleaved(contenders(sizes, batch, steps), effort.seconds)
        model = {"model": "-".join(map(str, sizes)), "batch": batch}
        calls.append(
            model
            | peers.mine(times, "eager")
            | peers.mine(times, "compiled call")
            | peers.versus(times, "PyTorch", "compiled call")
            | peers.versus(times, "jax.jit", "compiled call")
        )
        epochs.append(
            model
            | {"steps": steps}
            | peers.mine(times, "compiled epoch")
            | peers.mine(times, "fit")
            | peers.versus(times, "PyTorch", "compiled epoch")
            | peers.versus(times, "lax.scan", "compiled epoch")
        )
        shortest.append(model | best(times))
        details.append(model | {name: each.measure() for name, each in times.items()})
    notes = (
        "Float32; ReLU; cross-entropy, or for one output the squared error; Adam. PyTorch is eager with its fused "
        "Adam, on one thread and on all; JAX's programs have donated buffers, over tensors and flattened; minigrad's "
        "matrix products are on one thread and on all: the fastest setting of each. "
    )
    of_epochs = (
        "One call per epoch, which gathers every batch from memory in a shuffled order that is given. The epoch of "
        "fit also draws this order and reports the mean loss, without other metrics. PyTorch makes one step per call, "
        "of one batch that is there, and JAX all steps in one jax.lax.scan. µs per step."
    )
    return [
        Table("calls", "One training step per call", calls, notes + "µs per step."),
        Table("epochs", "An epoch per call", epochs, of_epochs),
        Table(
            "best", "The shortest of all calls", shortest, "The same calls; µs per step, and ratios of the shortest."
        ),
        Table("settings", "Every setting, µs", details, detail=True),
        starts(effort),
        commands(effort),
    ]


# --- steps -----------------------------------------------------------------------------------------------------------


def contenders(sizes: tuple[int, ...], batch: int, steps: int) -> dict[str, Contender]:
    """Return all ways to train a model, each with its own parameters."""
    features, labels = random_data(sizes, batch * steps)
    order = np.random.default_rng(1).permutation(len(features))
    x, y = features[:batch].copy(), labels[:batch].copy()
    tensors = minigrad.Tensor(x), minigrad.Tensor(y)
    found = on_blas_threads("eager", functools.partial(training_loop(*mlp(sizes)), *tensors))
    found |= on_blas_threads("compiled call", functools.partial(compiled(sizes, *tensors), *tensors))
    bound = compiled(sizes, *tensors).ready(batch, len(tensors))
    assert bound is not None
    driver = Driver(bound, [features, labels])
    found |= on_blas_threads("compiled epoch", functools.partial(driver.run, order, steps), steps)
    found |= on_blas_threads("fit", fit(sizes, features, labels, batch), steps)
    if peers.has("torch"):
        found |= {name: each for name, each in in_torch(sizes, x, y).items() if name.startswith("PyTorch fused")}
    if peers.has("jax"):
        found |= in_jax("jax.jit", sizes, x, y)
        found |= scanned(sizes, features, labels, order.reshape(steps, batch))
    return found


def compiled(sizes: tuple[int, ...], features: minigrad.Tensor, labels: minigrad.Tensor) -> Any:
    """Return a compiled step that was traced and checked.

    Raises:
        RuntimeError: if it is made eagerly.
    """
    step = minigrad.compile(training_loop(*mlp(sizes)))
    for _ in range(3):
        step(features, labels)
    if step.problem or step.reason:
        raise RuntimeError(f"a step was not compiled: {step.problem or step.reason}")
    return step


def fit(sizes: tuple[int, ...], features: Any, labels: Any, batch: int) -> Callable[[], None]:
    """Return the next epoch of `training.fit`, which compiles its steps."""
    model, optimizer, loss = mlp(sizes)
    loader = data.DataLoader(data.Dataset(features, labels), batch_size=batch, shuffle=True, seed=0)
    trained = training.Run(model, optimizer, loader, loss)
    stretches = Stretches(trained)

    def epoch() -> None:
        _train_epoch(trained, stretches)
        finish_epoch(trained, trained.evaluation)
        if trained.eager:
            raise RuntimeError(f"a step of fit was not compiled: {trained.eager}")

    return epoch


def scanned(sizes: tuple[int, ...], features: Any, labels: Any, order: Any) -> dict[str, Contender]:
    """An epoch in JAX, as one jitted scan over the rows of each batch, for each layout of optax."""
    jax, _ = peers.jax_modules()
    given = jax.numpy.array(features), jax.numpy.array(labels), jax.numpy.array(order)

    def program(step: Any) -> Any:
        def epoch(state: Any, features: Any, labels: Any, order: Any) -> Any:
            return jax.lax.scan(lambda state, rows: step(state, features[rows], labels[rows]), state, order)

        return jax.jit(epoch, donate_argnums=0)

    return {
        f"lax.scan, {layout}": jitted(program(step), state, given, len(order))
        for layout, state, step in jax_steps(sizes)
    }


def best(times: Mapping[str, Times]) -> dict[str, float]:
    """Return the shortest time of each way in its best setting, and how many times faster the compiled ones are."""
    found: dict[str, float] = {}
    for way in WAYS:
        settings = [each.best for name, each in times.items() if name.startswith(way)]
        if settings:
            found[way] = min(settings)
    shortest = {f"{way} (µs)": seconds * 1e6 for way, seconds in found.items()}
    return shortest | {
        f"{own}, times faster than {peer}": found[peer] / found[own] for own, peer in COMPARED if peer in found
    }


# --- fresh processes -------------------------------------------------------------------------------------------------

START = """
import json, time
start = time.perf_counter()
import minigrad
from minigrad import nn, optim
imported = time.perf_counter()
model = nn.MLP([64, 32, 10])
optimizer = optim.Adam(model.parameters())
def step(features, labels):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(features), labels)
    loss.backward()
    optimizer.step()
    return loss
step = {step}
features, labels = minigrad.zeros(32, 64), minigrad.tensor([0] * 32)
times = [time.perf_counter()]
for _ in range(3):
    step(features, labels)
    times.append(time.perf_counter())
first, second, third = [b - a for a, b in zip(times, times[1:])]
print(json.dumps({{"import": imported - start, "model": times[0] - imported, "first step": first,
    "second step": second, "third step": third, "to the first step": times[1] - start}}))
"""
EAGER, COMPILED = START.format(step="step"), START.format(step="minigrad.compile(step)")
_STEPS = {"eager": EAGER, "compiled": COMPILED}
_CACHES = ("empty", "filled")
_PARTS = ("import", "model", "first step", "second step", "third step", "to the first step")


def starts(effort: Effort) -> Table:
    """Return the seconds to the first steps in fresh processes, which alternate."""
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for _ in range(effort.of(5, 1, 1)):
        for steps, program in _STEPS.items():
            with tempfile.TemporaryDirectory() as folder:  # the first process fills the cache for the second one
                for cache in _CACHES:
                    runs.setdefault((steps, cache), []).append(run(program, MINIGRAD_CACHE_DIR=folder))
    rows = []
    for (steps, cache), found in runs.items():
        parts = columns(found)
        row = {"steps": steps, "cache": cache} | {f"{part} (s)": Measure.of(parts[part]) for part in _PARTS}
        rows.append(row)
    notes = (
        "An MLP 64-32-10 with Adam, batch 32. Model: of a compiled step, with loading the compiler. The first step of "
        "a compiled one is traced; the second one is compiled and checked against an eager step; the third one is the "
        "first that only runs. The cache holds the kernels of the update and the compiled steps. To the first step: "
        "from the first import to its end; the interpreter's own start is not counted."
    )
    return Table("starts", "Seconds to the first steps, in a fresh process", rows, notes)


COMMAND = """
import json, time
from minigrad import training
from minigrad.cli import main
trained = []
train = training.train
def timed(run, epochs):
    start = time.perf_counter()
    train(run, epochs)
    trained.append(time.perf_counter() - start)
    assert run.compiled == (not run.eager), run.eager
    return run
training.train = timed
whole = []
for _ in range(2):
    start = time.perf_counter()
    assert main({arguments}) == 0
    whole.append(time.perf_counter() - start)
print()
print(json.dumps({{"training": trained[0], "command": whole[0],
    "training again": trained[1], "command again": whole[1]}}))
"""


def commands(effort: Effort) -> Table:
    """Return the seconds of ``minigrad train`` on the digits, in processes that alternate."""
    epochs = effort.of(30, 3, 1)
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "runs")
        written = {"none (--no-output)": ["--no-output"], "a run folder": ["--output", output]}
        made = {"eager": ["--eager"], "compiled": []}

        def start(*options: str) -> Mapping[str, Any]:
            program = COMMAND.format(arguments=["train", "--epochs", str(epochs), *options])
            return run(program, MINIGRAD_CACHE_DIR=os.path.join(folder, "cache"))

        start("--no-output")  # fills the cache
        for _ in range(effort.of(3, 1, 1)):
            for steps, chosen in made.items():
                for files, options in written.items():
                    runs.setdefault((steps, files), []).append(start(*chosen, *options))
    rows = [
        {"steps": steps, "files": files, "epochs": epochs}
        | {f"{part} (s)": Measure.of(values) for part, values in columns(found).items()}
        for (steps, files), found in runs.items()
    ]
    notes = (
        f"minigrad train --epochs {epochs}: an MLP 64-32-10 on the digits, SGD. In a fresh process whose kernels and "
        "compiled steps are in the cache, and once more in the same process, where everything is loaded. Training: "
        "all epochs with evaluation, logs and checkpoints. Command: all of it, with the data, and for a run folder "
        "the picture of the curves."
    )
    return Table("commands", "Seconds of the command", rows, notes)
