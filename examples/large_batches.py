"""Large batches leave few steps, and a single learning rate wastes them; LARS and LAMB give each layer its own.

In a deep network the gradient can be a far larger share of the weights in one layer than in another, so a rate that
suits the first hardly moves the second. With small batches there are enough steps to wait for the slow layers. With
large batches there are not, so LARS (You, Gitman and Ginsburg, 2017) and LAMB (You et al., 2020) make the step of each
tensor a fixed share of the tensor itself. Adam, on which LAMB is built, is shown for comparison.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim, study
from minigrad.text import table

OPTIMIZERS = {
    "SGD": (optim.SGD, {"momentum": 0.9}, "0.01..1:5"),
    "LARS": (optim.LARS, {"momentum": 0.9, "trust_coefficient": 0.01, "eps": 1e-8}, "0.1..10:5"),
    "Adam": (optim.Adam, {}, "0.001..0.1:5"),
    "LAMB": (optim.LAMB, {}, "0.001..0.1:5"),
}


def first_step(kind, options, lr):
    """Return how far the first step moves each weight matrix, as a share of the matrix."""
    minigrad.manual_seed(0)
    model = nn.MLP([64, *[64] * 6, 10])
    optimizer = kind(model.parameters(), lr=lr, **options)
    x, y = data.load_digits()[:360]
    nn.functional.cross_entropy(model(minigrad.tensor(x)), y).backward()
    weights = [p for p in model.parameters() if p.ndim == 2]
    before = [p.data.copy() for p in weights]
    optimizer.step()
    return np.array([np.linalg.norm(p.data - w) / np.linalg.norm(w) for p, w in zip(weights, before, strict=True)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with small and large batches by SGD, LARS, Adam and LAMB.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    names = [
        f"{name}:lr={rates},{','.join(f'{option}={value}' for option, value in options.items())}".strip(",")
        for name, (_, options, rates) in OPTIMIZERS.items()
    ]
    found = study.sweep(
        names, batch_size=[36, 360], model="mlp:64,64,64,64,64,64", epochs=40, warmup=4, schedule="CosineAnnealingLR"
    )
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for panel, (size, results) in zip(figure.subplots(1, 2), found.results.split("batch_size").items(), strict=True):
        panel.set_title(f"Batches of {size}")
        study.plots.sensitivity(results, "validation_accuracy", ax=panel)
        print(f"\n40 epochs of batches of {size}, each optimizer at its best rate (median of 5 seeds, 90 % band):")
        print(*table(results.overview()), *results.verdicts(), sep="\n")
    figure.savefig(folder / "large_batches.png", dpi=120)
    print("\nThe largest first step of a layer over the smallest, both as shares of the layer's weights:")
    for name, (kind, options, _) in OPTIMIZERS.items():
        moved = first_step(kind, options, 0.01)
        print(f"  {name:5} {moved.max() / moved.min():.3g}")
    print(f"Drawn to {folder / 'large_batches.png'}")
