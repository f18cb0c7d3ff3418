"""Peak memory of a fresh process: for optimizer steps, per parameter, and for training an MLP."""

from __future__ import annotations

from typing import Any

from . import peers
from .effort import Effort
from .processes import columns, run
from .report import Table
from .timing import Measure

TITLE = "Peak memory"

# Linux resets the high-water mark of a process on request; elsewhere the mark since the start has to do.
_MARKS = """
import json, sys
def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
def reset():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")
"""
_REPORT = """
print(json.dumps({"bytes": status("VmHWM") - before}))
"""
STEPS = {
    "minigrad": """
from minigrad import nn, optim
import numpy as np
def work(size, times):
    parameters = [nn.Parameter(np.zeros(size, np.float32)) for _ in range(6)]
    optimizer = optim.Adam(parameters)
    for _ in range(times):
        optimizer.zero_grad()
        for parameter in parameters:
            parameter.sum().backward()
        optimizer.step()
""",
    "PyTorch": """
import torch
def work(size, times):
    parameters = [torch.zeros(size, requires_grad=True) for _ in range(6)]
    optimizer = torch.optim.Adam(parameters, fused=True)
    for _ in range(times):
        optimizer.zero_grad()
        for parameter in parameters:
            parameter.sum().backward()
        optimizer.step()
""",
    "JAX": """
import functools, jax, optax
jnp = jax.numpy
transform = optax.adam(1e-3)
@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(parameters, state, gradients):
    updates, state = transform.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state
gradient = jax.jit(lambda parameters: jax.tree.map(jnp.ones_like, parameters))
def work(size, times):
    parameters = [jnp.zeros(size, jnp.float32) for _ in range(6)]
    state = transform.init(parameters)
    for _ in range(times):
        parameters, state = update(parameters, state, gradient(parameters))
    jax.block_until_ready(parameters)
""",
}
TRAINING = {
    "minigrad": """
import minigrad
from minigrad import nn, optim
import numpy as np
def work(size, times):
    model = nn.MLP([784, size, size, 10])
    optimizer = optim.Adam(model.parameters())
    x, y = minigrad.Tensor(np.ones((128, 784), np.float32)), minigrad.Tensor(np.zeros(128, np.int64))
    for _ in range(times):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
""",
    "PyTorch": """
import torch
def work(size, times):
    layers = [torch.nn.Linear(784, size), torch.nn.ReLU(), torch.nn.Linear(size, size), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(size, 10))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = torch.ones(128, 784), torch.zeros(128, dtype=torch.int64)
    for _ in range(times):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
""",
    "JAX": """
import functools, jax, optax
jnp = jax.numpy
transform = optax.adam(1e-3)
def loss(parameters, x, y):
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return optax.softmax_cross_entropy_with_integer_labels(x @ weight + bias, y).mean()
@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(parameters, state, x, y):
    updates, state = transform.update(jax.grad(loss)(parameters, x, y), state, parameters)
    return optax.apply_updates(parameters, updates), state
def work(size, times):
    shapes = [(784, size), (size, size), (size, 10)]
    parameters = [(jnp.ones(shape, jnp.float32), jnp.zeros(shape[1])) for shape in shapes]
    state = transform.init(parameters)
    x, y = jnp.ones((128, 784)), jnp.zeros(128, jnp.int32)
    for _ in range(times):
        parameters, state = update(parameters, state, x, y)
    jax.block_until_ready(parameters)
""",
}


def measure(effort: Effort) -> list[Table]:
    """Return a row for each library."""
    if not _available():
        return [Table("steps", "Peak memory", [], "The system does not tell a process its own high-water mark.")]
    size, hidden = effort.of((20_000_000, 1024), (4_000_000, 512), (1_000, 8))
    times = effort.of(3, 1, 1)
    taking_part = ["minigrad", *(["PyTorch"] if peers.has("torch") else []), *(["JAX"] if peers.has("jax") else [])]
    count = 784 * hidden + hidden + hidden**2 + hidden + hidden * 10 + 10
    steps = [
        {"library": name, "bytes per parameter": Measure.of(_peaks(STEPS[name], size // 6, times), 1 / size)}
        for name in taking_part
    ]
    training = [
        {
            "library": name,
            "MB": Measure.of(peaks := _peaks(TRAINING[name], hidden, times), 1e-6),
            "bytes per parameter": Measure.of(peaks, 1 / count),
        }
        for name in taking_part
    ]
    notes = (
        "The high-water mark of a process above what it had after the same work, which compiled what is compiled and "
        "gave back its memory. Parameters, gradients and Adam's two moments are 16 bytes per parameter."
    )
    return [
        Table("steps", f"Adam: backward and step, {size:,} parameters", steps, notes),
        Table("training", f"Training an MLP 784-{hidden}-{hidden}-10 ({count:,} parameters), batch 128", training),
    ]


def _available() -> bool:
    try:
        return "bytes" in run(f"{_MARKS}\nbefore = reset()\n{_REPORT}")
    except RuntimeError:
        return False


def _peaks(work: str, size: int, times: int) -> list[Any]:
    program = f"{_MARKS}{work}\nwork({size}, 2)\nbefore = reset()\nwork({size}, 3)\n{_REPORT}"
    return columns([run(program) for _ in range(times)])["bytes"]
