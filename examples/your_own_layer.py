"""A new layer in one class: waves whose frequencies are learned, compared with a ReLU network of the same size.

Setting a parameter as an attribute is all it takes: the optimizer, the state dict and the summary find it. This layer
returns sines and cosines of its inputs, so that the network after it can draw a wiggly line, which a ReLU network
learns slowly (Tancik et al., "Fourier features let networks learn high frequency functions", 2020).
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim

NOISE = 0.05  # the standard deviation added to every point


class Waves(nn.Module):
    """sin(x Wᵀ) and cos(x Wᵀ): ``(*, in_features)`` becomes ``(*, 2 * waves)``; W starts as N(0, scale²)."""

    def __init__(self, in_features, waves, scale=8.0):
        self.weight = nn.Parameter(np.empty((waves, in_features), np.float32))
        nn.init.normal_(self.weight, std=scale)

    def forward(self, x):
        angles = x @ self.weight.T
        return minigrad.concatenate([angles.sin(), angles.cos()], axis=-1)


def train(model, points, steps=1500):
    x, y = minigrad.tensor(points.features), minigrad.tensor(points.labels)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(models, losses, points, path):
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    x = np.linspace(-1, 1, 600, dtype=np.float32)[:, None]
    left.plot(x, wiggles(x), color="0.75", linewidth=5, label="the line to be drawn")
    left.plot(points.features, points.labels, ".", color="black", markersize=4, label="what they are shown")
    for (name, model), color, dash in zip(models.items(), ("#0072B2", "#D55E00"), ("--", "-"), strict=True):
        with minigrad.no_grad():
            left.plot(x, model(minigrad.tensor(x)).numpy(), dash, color=color, label=name)
        right.plot(losses[name], dash, color=color, linewidth=1)
    left.set(xlabel="x", ylabel="y", title="Which network follows the wiggles?")
    right.set(xlabel="step", ylabel="mean squared error", yscale="log", title="The same optimizer, the same rate")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def wiggles(x):
    return np.sin(6 * np.pi * x) * (1 - x**2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Add a layer with its own parameters, and train it.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    minigrad.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (100, 1)).astype(np.float32)
    points = data.Dataset(x, wiggles(x) + NOISE * rng.normal(size=x.shape).astype(np.float32), "wiggles")
    models = {
        "ReLU network": nn.MLP([1, 32, 32, 1]),
        "network on waves": nn.Sequential(Waves(1, 16), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)),
    }
    print(nn.summary(models["network on waves"], (1,)))
    losses = {name: train(model, points) for name, model in models.items()}
    for name, values in losses.items():
        size = sum(p.size for p in models[name].parameters())
        print(f"{name}, {size} parameters: error {values[0]:.3f} -> {values[-1]:.4f} (of the noise: {NOISE**2:.4f})")
    draw(models, losses, points, folder / "your_own_layer.png")
    print(f"Drawn to {folder / 'your_own_layer.png'}")
