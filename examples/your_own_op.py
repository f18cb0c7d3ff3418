"""A new operation in one table entry: its value, and its gradient in terms of operations that have gradients too.

Squareplus (Barron, "Squareplus: a softplus-like algebraic rectifier", 2021) is a ReLU with a rounded corner that needs
only a square root. One rule gives gradients of every order, because the rule is itself differentiable.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad.ops import primitive, sqrt

squareplus = primitive(
    "squareplus",
    lambda x, *, b=4.0: (x + np.sqrt(x * x + b)) / 2,  # on arrays
    "x",
    (lambda g, x, *, b: g * (1 + x / sqrt(x * x + b)) / 2,),  # for each input, from the gradient g of the output
    to_float=True,
    doc="(x + √(x² + b)) / 2.",
)
forgetful = primitive(  # the same with a mistake: the rule omits the square root
    "forgetful", squareplus.forward, "x", (lambda g, x, *, b: g * (1 + x / (x * x + b)) / 2,), to_float=True
)


def derivatives(op, x):
    """Return the values of op and of its first and second derivatives."""
    y = op(x)
    (first,) = minigrad.grad(y.sum(), x, create_graph=True)
    (second,) = minigrad.grad(first.sum(), x)
    return y, first, second


def draw(path):
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    x = minigrad.tensor(np.linspace(-6, 6, 401), requires_grad=True)
    titles = (
        "The value: the smaller b, the sharper",
        "The slope: from 0 to 1",
        "Its slope: largest at the corner",
    )
    for axes, title in zip(figure.subplots(1, 3), titles, strict=True):
        axes.set(title=title, xlabel="x")
        axes.grid(alpha=0.3)
    for b, color, dash in ((0.1, "#0072B2", "--"), (1.0, "#009E73", "-."), (4.0, "#D55E00", "-")):
        for axes, curve in zip(figure.axes, derivatives(lambda x, b=b: squareplus(x, b=b), x), strict=True):
            axes.plot(x.data, curve.data, dash, color=color, label=f"b = {b}")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Add an operation, and check its gradients.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    x = minigrad.tensor(np.random.default_rng(0).normal(size=(3, 2)), requires_grad=True)
    minigrad.check_gradients(squareplus, x)
    print("squareplus: its rule agrees with finite differences")
    try:
        minigrad.check_gradients(forgetful, x)
    except minigrad.GradientError as error:
        print(f"forgetful:  {error}")
    draw(folder / "your_own_op.png")
    print(f"{folder / 'your_own_op.png'}: its value and two derivatives, the second from the same rule")
