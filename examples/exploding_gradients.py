"""A recurrent network that must add two numbers it saw long ago: its gradients explode unless they are clipped.

The adding task (Hochreiter and Schmidhuber, 1997): of a sequence of random numbers two are marked, and the answer is
their sum. The network starts as a copy of its own state (Le, Jaitly and Hinton, "A simple way to initialize recurrent
networks of rectified linear units", 2015), so it keeps what it has written there. Its gradient over a sequence is a
product with one factor per step. After the first larger update that product is huge: one step along it moves the
weights so far away that no unit is ever active again, and from then on the network answers the mean. Scaling the
gradient down keeps its direction, and the network learns to add.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import clipping, nn, optim

LENGTH = 20
MEAN_ANSWER = 1 / 6  # the loss of the mean: the variance of the sum of two numbers from [0, 1]


class Adder(nn.Module):
    def __init__(self, hidden=32):
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu")
        self.rnn.weight_hh_l0.data[...] = np.eye(hidden)
        self.rnn.bias_ih_l0.data[...] = self.rnn.bias_hh_l0.data[...] = 0
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        _, last = self.rnn(x)
        return self.out(last[0])


def batch(rng, size=32):
    """Return sequences (LENGTH, size, 2) of numbers and marks, a mark in each half, and the sums of marked numbers."""
    numbers, marks = rng.random((LENGTH, size), np.float32), np.zeros((LENGTH, size), np.float32)
    for half in (0, LENGTH // 2):
        marks[half + rng.integers(LENGTH // 2, size=size), np.arange(size)] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)[:, None]


def train(max_norm, steps=2000, seed=0):
    """Return loss and gradient norm of every step. An infinite max_norm never clips, but still reports the norm."""
    minigrad.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Adder()
    clip = clipping.by_global_norm(max_norm, nonfinite="propagate")
    optimizer = optim.SGD(model.parameters(), lr=0.03, momentum=0.9, clip=clip)
    losses, norms = [], []
    for _ in range(steps):
        x, y = batch(rng)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        norms.append(optimizer.clip_reports()[0].norm_before[0])
    return losses, norms


def draw(runs, path):
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for (name, (losses, norms)), color in zip(runs.items(), ("#D55E00", "#0072B2"), strict=True):
        above.plot(losses, color=color, linewidth=0.8, label=name)
        below.plot(norms, color=color, linewidth=0.8)
    above.axhline(MEAN_ANSWER, color="black", linestyle="--", linewidth=1, label="always answering 1")
    above.set(yscale="log", ylabel="mean squared error")
    below.set(yscale="log", ylabel="norm of the gradient, before clipping", xlabel="step")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a recurrent network with and without clipping.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    path = parser.parse_args().output / "exploding_gradients.png"
    runs = {"not clipped": train(math.inf), "clipped to norm 0.25": train(0.25)}
    print(f"{'':22}{'largest norm':>14}{'largest loss':>14}{'loss at the end':>17}")
    for name, (losses, norms) in runs.items():
        print(f"{name:22}{max(norms):14.3g}{max(losses):14.3g}{np.mean(losses[-100:]):17.3f}")
    print(f"Always answering 1 costs {MEAN_ANSWER:.3f}.")
    draw(runs, path)
    print(f"Drawn to {path}")
