"""One eager training step of an MLP, beside PyTorch's and beside the NumPy calls that it cannot do without.

python -m benchmarks.eager_step [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad
from minigrad import nn, optim

from .timing import interleaved, report

MODELS = (([64, 32, 10], 32), ([784, 128, 10], 128))


def ours(sizes: list[int], x: Any, y: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward, loss and backward; and the same with an Adam step."""
    model = nn.MLP(sizes)
    optimizer = optim.Adam(model.parameters())
    features, labels = minigrad.Tensor(x), minigrad.Tensor(y)

    def gradients() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(features), labels).backward()

    def step() -> None:
        gradients()
        optimizer.step()

    return gradients, step


def theirs(sizes: list[int], x: Any, y: Any, threads: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same in PyTorch with its fused Adam."""
    import torch

    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    features, labels = torch.from_numpy(x), torch.from_numpy(y)

    def gradients() -> None:
        torch.set_num_threads(threads)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(features), labels).backward()

    def step() -> None:
        gradients()
        optimizer.step()

    return gradients, step


def bare(sizes: list[int], x: Any, y: Any) -> Callable[[], Any]:
    """Forward, loss and backward of a network with one hidden layer, as NumPy calls and nothing else."""
    rng = np.random.default_rng(0)
    w1, w2 = (
        rng.standard_normal((n, m), dtype=np.float32) / np.float32(m) ** 0.5 for m, n in itertools.pairwise(sizes)
    )
    b1, b2 = np.zeros(sizes[1], np.float32), np.zeros(sizes[2], np.float32)
    rows = np.arange(len(x))

    def gradients() -> tuple[Any, ...]:
        hidden = x @ w1.T
        hidden += b1
        active = np.maximum(hidden, 0)
        scores = active @ w2.T
        scores += b2
        scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
        p = np.exp(scores)
        total = np.add.reduce(p, axis=1, keepdims=True)
        p /= total
        loss = np.add.reduce(np.log(total)[:, 0] - scores[rows, y]) / len(x)
        p[rows, y] -= 1
        p *= np.float32(1 / len(x))
        g = p @ w2
        g *= active > 0
        return loss, p.T @ active, np.add.reduce(p, axis=0), g.T @ x, np.add.reduce(g, axis=0)

    return gradients


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", help="a JSON file for the results")
    chosen = parser.parse_args()
    threads = torch.get_num_threads()
    rows = []
    for sizes, batch in MODELS:
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)
        functions = dict(zip(("ours", "ours, Adam"), ours(sizes, x, y), strict=True))
        functions |= dict(zip(("torch 1", "torch 1, Adam"), theirs(sizes, x, y, 1), strict=True))
        functions |= dict(zip(("torch all", "torch all, Adam"), theirs(sizes, x, y, threads), strict=True))
        functions["bare"] = bare(sizes, x, y)
        times = interleaved(functions)
        best = min(times["torch 1"], times["torch all"])
        best_adam = min(times["torch 1, Adam"], times["torch all, Adam"])
        rows.append(
            {
                "model": "-".join(map(str, sizes)),
                "batch": batch,
                "forward, loss, backward (µs)": times["ours"],
                "its NumPy calls alone (µs)": times["bare"],
                "torch (µs)": best,
                "times faster": best / times["ours"],
                "with Adam (µs)": times["ours, Adam"],
                "torch with fused Adam (µs)": best_adam,
                "times faster with Adam": best_adam / times["ours, Adam"],
            }
        )
    report("One eager training step", "python -m benchmarks.eager_step", rows, chosen.output)


if __name__ == "__main__":
    main()
