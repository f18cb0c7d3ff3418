"""Fresh processes: import, a model and its gradients, the first optimizer step, with and without compiled kernels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from . import peers
from .effort import Effort
from .processes import columns, run
from .report import Table
from .timing import Measure

TITLE = "Start-up"
_PARTS = ("import", "model and gradients", "first step")

MINIGRAD = """
import json, time
start = time.perf_counter()
import minigrad
from minigrad import nn, optim
imported = time.perf_counter()
model = nn.MLP([64, 32, 10])
optimizer = optim.Adam(model.parameters())
nn.functional.cross_entropy(model(minigrad.zeros(2, 64)), minigrad.tensor([0, 1])).backward()
built = time.perf_counter()
optimizer.step()
stepped = time.perf_counter()
print(json.dumps({"import": imported - start, "model and gradients": built - imported, "first step": stepped - built}))
"""
TORCH = """
import json, time
start = time.perf_counter()
import torch
imported = time.perf_counter()
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), fused=True)
torch.nn.functional.cross_entropy(model(torch.zeros(2, 64)), torch.tensor([0, 1])).backward()
built = time.perf_counter()
optimizer.step()
stepped = time.perf_counter()
print(json.dumps({"import": imported - start, "model and gradients": built - imported, "first step": stepped - built}))
"""
JAX = """
import json, time
start = time.perf_counter()
import jax, optax
imported = time.perf_counter()
jnp = jax.numpy
parameters = [(jnp.zeros((64, 32)), jnp.zeros(32)), (jnp.zeros((32, 10)), jnp.zeros(10))]
def loss(parameters, x, y):
    (w1, b1), (w2, b2) = parameters
    return optax.softmax_cross_entropy_with_integer_labels(jax.nn.relu(x @ w1 + b1) @ w2 + b2, y).mean()
gradients = jax.block_until_ready(jax.jit(jax.grad(loss))(parameters, jnp.zeros((2, 64)), jnp.array([0, 1])))
built = time.perf_counter()
transform = optax.adam(1e-3)
@jax.jit
def step(parameters, state, gradients):
    updates, state = transform.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state
jax.block_until_ready(step(parameters, transform.init(parameters), gradients))
stepped = time.perf_counter()
print(json.dumps({"import": imported - start, "model and gradients": built - imported, "first step": stepped - built}))
"""
WARM = "minigrad, kernels in the cache"
COLD = "minigrad, kernels to compile"
JAX_WARM, JAX_COLD = "JAX with optax, programs in its cache", "JAX with optax, programs to compile"
# By default JAX does not cache compiled code between processes, nor anything that compiled quickly.
JAX_CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def measure(effort: Effort) -> list[Table]:
    """Return a row for each library; processes alternate."""
    times = effort.of(7, 1, 1)
    runs: dict[str, list[Mapping[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        warm = os.path.join(folder, "warm")
        run(MINIGRAD, MINIGRAD_CACHE_DIR=warm)
        starts: dict[str, Callable[[int], Mapping[str, Any]]] = {
            WARM: lambda number: run(MINIGRAD, MINIGRAD_CACHE_DIR=warm),
            COLD: lambda number: run(MINIGRAD, MINIGRAD_CACHE_DIR=os.path.join(folder, str(number))),
        }
        if peers.has("torch"):
            starts["PyTorch"] = lambda number: run(TORCH)
        if peers.has("jax"):
            cached = {**JAX_CACHE, "JAX_COMPILATION_CACHE_DIR": os.path.join(folder, "jax")}
            run(JAX, **cached)
            starts[JAX_WARM] = lambda number: run(JAX, **cached)
            starts[JAX_COLD] = lambda number: run(JAX)
        for number in range(times):
            for name, start in starts.items():
                runs.setdefault(name, []).append(start(number))
    rows = []
    for name, found in runs.items():
        parts = columns(found)
        whole = [sum(values) for values in zip(*parts.values(), strict=True)]
        rows.append(
            {"start": name}
            | {f"{part} (s)": Measure.of(parts[part]) for part in _PARTS}
            | {"in all (s)": Measure.of(whole)}
        )
    notes = (
        "An MLP 64-32-10 with Adam, from the first import to the end of the first step; the interpreter's own start "
        "is not counted. PyTorch's Adam is the fused one. JAX's cache is off by default, and on only if a row says so."
    )
    return [Table("startup", "Seconds to the end of the first step, in a fresh process", rows, notes)]
