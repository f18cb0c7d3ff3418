"""The same network in PyTorch and here: the same weights, batches and optimizer give the same numbers.

The training loop is one function for both; whatever has another name is passed in. The only difference is rounding,
because a matrix product adds its terms in a different order. In float64 it is a billion times smaller.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim, schedulers

try:
    import torch
except ImportError:
    print("Nothing to compare with: PyTorch is not installed here (pip install torch).")
    raise SystemExit from None

STEPS = 200


def make_model(nn):
    """The same code for ``minigrad.nn`` and ``torch.nn``."""
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 10))


def train(model, optim, schedulers, cross_entropy, batches):
    """The same code for both packages. Yields the loss of every step, and the parameters after it."""
    optimizer = optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    scheduler = schedulers.CosineAnnealingLR(optimizer, T_max=STEPS)
    for x, y in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        yield loss.item(), [parameter.detach().numpy().copy() for parameter in model.parameters()]


def compare(dtype):
    """Return the largest differences up to each step, of the loss and of any parameter, and the last loss of both."""
    minigrad.manual_seed(0)
    digits = data.load_digits()
    rows = np.random.default_rng(0).integers(len(digits), size=(STEPS, 32))
    batches = [(digits.features[r].astype(dtype), digits.labels[r]) for r in rows]
    here = make_model(nn).astype(dtype)
    there = make_model(torch.nn).to(torch.from_numpy(np.zeros(1, dtype)).dtype)
    there.load_state_dict({name: torch.from_numpy(value.numpy()) for name, value in here.state_dict().items()})
    ours = train(here, optim, schedulers, nn.functional.cross_entropy, map(as_tensors(minigrad.Tensor), batches))
    theirs = train(
        there,
        torch.optim,
        torch.optim.lr_scheduler,
        torch.nn.functional.cross_entropy,
        map(as_tensors(torch.from_numpy), batches),
    )
    differences = []
    for (loss, parameters), (other_loss, others) in zip(ours, theirs, strict=True):
        largest = max(np.abs(p - q).max() for p, q in zip(parameters, others, strict=True))
        differences.append((abs(loss - other_loss), largest))
    return np.maximum.accumulate(differences), loss, other_loss


def as_tensors(tensor):
    return lambda batch: (tensor(batch[0]), tensor(batch[1]))


def draw(runs, path):
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for (dtype, (differences, _, _)), color in zip(runs.items(), ("#D55E00", "#0072B2"), strict=True):
        for column, what, dash in ((0, "loss", ":"), (1, "largest of any parameter", "-")):
            axes.plot(differences[:, column], dash, color=color, linewidth=2, label=f"{dtype}, {what}")
        axes.axhline(np.finfo(dtype).eps, color=color, linewidth=6, alpha=0.2)
    axes.set(yscale="log", xlabel="step of AdamW", ylabel="largest |minigrad - PyTorch| so far")
    axes.set_title("How far apart do they drift? Broad lines: the spacing of numbers near 1")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the same network in PyTorch and in minigrad.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    runs = {dtype: compare(dtype) for dtype in ("float32", "float64")}
    for dtype, (differences, loss, other_loss) in runs.items():
        print(f"{dtype}: after {STEPS} steps the loss is {loss:.15g} here and {other_loss:.15g} in PyTorch;")
        print(f"         no parameter ever differed by more than {differences[-1, 1]:.2g}")
    draw(runs, folder / "same_as_pytorch.png")
    print(f"Drawn to {folder / 'same_as_pytorch.png'}")
