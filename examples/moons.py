"""Two half moons and a small network: the effect of each layer on the plane, and the decision boundary.

The first program of micrograd, with the same loss: the hinge loss, which is 0 for a point that is on the right side by
a margin of at least 1 (Cortes and Vapnik, "Support-vector networks", 1995).
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim

BLUE, ORANGE = "#0072B2", "#D55E00"


def train(moons, hidden, steps=300, seed=1):
    """Train a network with two hidden layers on all points at once. Return it and its losses."""
    minigrad.manual_seed(seed)
    model = nn.MLP([2, hidden, hidden, 1], activation="relu")
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = minigrad.tensor(moons.features)
    side = minigrad.tensor(2 * moons.labels[:, None] - 1, dtype=np.float32)  # -1 or +1 for the labels 0 and 1
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (1 - side * model(x)).relu().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def scores(model, points):
    """Return the network's answers, above 0 for one moon and below 0 for the other."""
    with minigrad.no_grad():
        return model(minigrad.tensor(points)).numpy()[:, 0]


def draw(models, moons, path):
    figure = Figure(figsize=(4 * len(models), 4), layout="constrained")
    low, high = moons.features.min(0) - 0.5, moons.features.max(0) + 0.5
    x, y = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    for axes, (hidden, model) in zip(figure.subplots(1, len(models), sharey=True), models.items(), strict=True):
        z = scores(model, grid).reshape(x.shape)
        shades = axes.contourf(x, y, z, levels=np.linspace(-3, 3, 13), cmap="PuOr_r", alpha=0.6, extend="both")
        axes.contour(x, y, z, levels=[0], colors="black", linewidths=2)
        for label, color, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
            points = moons.features[moons.labels == label]
            axes.scatter(*points.T, s=14, color=color, marker=marker, edgecolor="white", linewidth=0.4)
        right = ((scores(model, moons.features) > 0) == moons.labels).mean()
        axes.set(title=f"2 layers of {hidden} units: {right:.1%} right", xlabel="first feature")
    figure.axes[0].set_ylabel("second feature")
    figure.colorbar(shades, ax=figure.axes, label="the network's answer; black line: 0, the boundary")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Separate two half moons with networks of three sizes.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    moons, models = data.moons(samples=300, noise=0.15), {}
    for hidden in (2, 4, 16):
        models[hidden], losses = train(moons, hidden)
        wrong = ((scores(models[hidden], moons.features) > 0) != moons.labels).sum()
        print(
            f"{hidden:3} hidden units: loss {losses[0]:.3f} -> {losses[-1]:.3f}, {wrong} of {len(moons)} points wrong"
        )
    draw(models, moons, folder / "moons.png")
    print(f"{folder / 'moons.png'}: each unit adds a straight fold, so more units bend the boundary more finely.")
