"""Optimizers on two functions of two variables, each at its best learning rate.

A path at an arbitrary rate shows more about the rate than about the optimizer. Here every optimizer is
tried at the same rates, from 0.0001 to 3.2, and is shown at the one that ends lowest. Nothing is clipped. A run that
ever climbs above its first value counts as failed; otherwise the winner could be a rate so large that the first step
jumps far away and happens to find its way back.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minigrad import nn, optim

STEPS = 200
RATES = np.logspace(-4, 0.5, 19)
OPTIMIZERS = {
    "SGD": (lambda p, lr: optim.SGD(p, lr=lr), "#000000", "-"),
    "SGD, momentum 0.9": (lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9), "#0072B2", "--"),
    "Adagrad": (lambda p, lr: optim.Adagrad(p, lr=lr), "#009E73", "-."),
    "RMSprop": (lambda p, lr: optim.RMSprop(p, lr=lr), "#CC79A7", ":"),
    "Adam": (lambda p, lr: optim.Adam(p, lr=lr), "#D55E00", "-"),
}


def valley(x, y):
    """A straight valley that is 100 times as steep across as along; its minimum is 0 at (0, 0)."""
    return (x**2 + 100 * y**2) / 2


def rosenbrock(x, y):
    """A bent valley with a nearly flat floor (Rosenbrock, 1960); its minimum is 0 at (1, 1)."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


FUNCTIONS = {"Straight valley": (valley, (-2.0, 0.7), (0, 0)), "Rosenbrock": (rosenbrock, (-1.2, 1.0), (1, 1))}


def descend(function, start, make, lr):
    """Return the points visited, and the function's values there."""
    point = nn.Parameter(np.array(start))  # float64, like the array
    optimizer = make([point], lr)
    points, values = [], []
    with np.errstate(all="ignore"):  # too large a rate overflows, which judge() takes into account
        for _ in range(STEPS):
            optimizer.zero_grad()
            value = function(point[0], point[1])
            value.backward()
            points.append(point.data.copy())
            values.append(value.item())
            optimizer.step()
        points.append(point.data.copy())
        values.append(float(function(*points[-1])))
    return np.array(points), np.array(values)


def judge(values):
    """Return the last value of a run, or infinity if it climbed above the first or overflowed."""
    return values[-1] if (values <= values[0]).all() else math.inf


def draw(results, path):
    figure = Figure(figsize=(11, 9), layout="constrained")
    for (paths, ends), (title, (function, start, minimum)) in zip(
        figure.subplots(2, 2), FUNCTIONS.items(), strict=True
    ):
        x, y = np.meshgrid(np.linspace(-2.2, 2.2, 200), np.linspace(-1.2, 2.2, 200))
        paths.contour(x, y, function(x, y), levels=np.logspace(-1, 3, 12), colors="0.8", linewidths=0.8)
        for name, (_, color, dash) in OPTIMIZERS.items():
            runs = results[title, name]
            points, _ = runs[best := min(runs, key=lambda lr: judge(runs[lr][1]))]
            paths.plot(*points.T, dash, color=color, linewidth=1.3, label=f"{name}, rate {best:.2g}")
            ends.plot(RATES, [judge(runs[lr][1]) for lr in RATES], dash, color=color, marker=".")
        paths.plot(*start, "o", color="black")
        paths.plot(*minimum, "*", color="black", markersize=14)
        paths.set(xlim=(-2.2, 2.2), ylim=(-1.2, 2.2), xlabel="x", ylabel="y")
        paths.set_title(f"{title}: from dot to star, each at its best rate")
        paths.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=9)
        ends.set(
            xscale="log",
            yscale="log",
            ylim=(1e-12 if minimum == (0, 0) else 1e-2, 100),
            xlabel="learning rate",
            ylabel=f"value after {STEPS} steps",
        )
        ends.set_title("Every rate tried; where a line ends, larger ones climb")
        ends.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare optimizers, each at its best learning rate.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    results = {
        (title, name): {lr: descend(function, start, make, lr) for lr in RATES}
        for title, (function, start, _) in FUNCTIONS.items()
        for name, (make, _, _) in OPTIMIZERS.items()
    }
    for title, (function, start, _) in FUNCTIONS.items():
        print(f"{title:20}{'best rate':>10}{'value there':>13}   rates that end below 1 % of the first value")
        for name in OPTIMIZERS:
            ends = {lr: judge(values) for lr, (_, values) in results[title, name].items()}
            best, good = min(ends, key=ends.get), sum(value < 0.01 * function(*start) for value in ends.values())
            print(f"  {name:18}{best:10.2g}{ends[best]:13.1e}   {good} of {len(RATES)}")
    draw(results, folder / "compare_optimizers.png")
    print(f"{folder / 'compare_optimizers.png'}: the paths on the left, the result of every rate on the right.")
