"""One weight's update, term by term: where did the last change come from, and what would the next one be?

A watched optimizer keeps the values that each step overwrites, and runs its rules again as plain Python for the weight
that you ask about. The terms add up to the change that the compiled kernel has made, to the last bit.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import clipping, data, nn, optim

NAME, INDEX = "0.weight", (3, 20)  # the weight from input 20 to hidden unit 3
STEPS, MAX_NORM = 60, 0.9
PARTS = {"gradient": "#0072B2", "earlier steps": "#D55E00", "decay": "#009E73"}


def train():
    """Return the explanation of every step, and the optimizer just before the next one."""
    minigrad.manual_seed(0)
    model = nn.MLP([64, 16, 10])
    clip = clipping.by_global_norm(MAX_NORM)
    optimizer = optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1, decoupled_weight_decay=True, clip=clip)
    optimizer.watch(NAME)
    loader, explanations = data.DataLoader(data.load_digits(), batch_size=16, shuffle=True, seed=0), []
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if len(explanations) == STEPS:
            return explanations, optimizer
        optimizer.step()
        explanations.append(optimizer.explain(NAME, INDEX))


def draw(explanations, path):
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    steps = np.arange(1, len(explanations) + 1)
    up, down = np.zeros(len(steps)), np.zeros(len(steps))
    for part, color in PARTS.items():
        values = np.array([each.parts[part] for each in explanations])
        above.bar(steps, values, bottom=np.where(values > 0, up, down), width=0.9, color=color, label=f"from {part}")
        up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
    above.plot(steps, [each.change for each in explanations], "k.", label="the change: their sum")
    above.set(
        ylabel="change of the weight",
        title="What is a step of Adam made of? Look at how soon the past outweighs the present",
    )
    below.plot(steps, [each["clip_norm"].value for each in explanations], color="black")
    below.axhline(MAX_NORM, color="0.6", linestyle="--")
    below.set(xlabel="step", ylabel="norm of the whole gradient", title="Above the dashed line it was clipped")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Explain the updates of one weight, term by term.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    path = parser.parse_args().output / "explain_update.png"
    explanations, optimizer = train()
    print(explanations[-1], end="\n\n")
    coming = optimizer.explain(NAME, INDEX, coming=True)
    print(f"The next step would change it by {coming.change:.3g}; computing this has changed nothing.")
    exact = sum(each.exact for each in explanations)
    print(f"In {exact} of {len(explanations)} steps, plain Python gave the value that the kernel stored, bit for bit.")
    draw(explanations, path)
    print(f"Drawn to {path}")
