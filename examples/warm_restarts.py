"""Warm restarts: a cosine that starts over, so that the network is at its best several times in one run.

A large rate explores, a small one settles. A single cosine settles once, at an end that must be known in advance. With
warm restarts (Loshchilov and Hutter, "SGDR", 2017) the rate falls in cycles, each twice as long as the previous one,
and a run can be stopped at the end of any cycle.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim, schedulers, training

EPOCHS = 70  # three cycles: 10 + 20 + 40
CYCLE_ENDS = (10, 30, 70)
SCHEDULES = {
    "constant": (schedulers.Lambda(lambda epoch: 1.0), "#000000", ":"),
    "one cosine": (schedulers.CosineAnnealing(EPOCHS), "#0072B2", "--"),
    "warm restarts": (schedulers.WarmRestarts(T_0=10, T_mult=2), "#D55E00", "-"),
}


def train(moons, schedule, seed=0):
    """Return rate and loss on all points for every epoch. Small batches and a large rate make the descent noisy."""
    minigrad.manual_seed(seed)
    model = nn.MLP([2, 32, 32, 2], activation="tanh")
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = schedulers.Scheduler(optimizer, schedule)
    loader = data.DataLoader(moons, batch_size=8, shuffle=True, seed=seed)
    rates, losses = [], []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        scheduler.step()
        losses.append(training.evaluate(model, moons, nn.functional.cross_entropy)["loss"])
    return rates, losses


def draw(runs, path):
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for name, (rates, losses) in runs.items():
        _, color, dash = SCHEDULES[name]
        above.plot(range(1, EPOCHS + 1), rates, dash, color=color, drawstyle="steps-mid", label=name)
        below.plot(range(1, EPOCHS + 1), losses, dash, color=color)
    for axes in (above, below):
        for end in CYCLE_ENDS:
            axes.axvline(end + 0.5, color="0.8", zorder=0)
    above.set(ylabel="learning rate", title="Gray lines: the ends of the cycles")
    below.set(yscale="log", ylabel="loss on all points", xlabel="epoch")
    below.set_title("Each restart throws the loss up; look how low it is at the end of each cycle")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with a constant rate, a cosine, and warm restarts.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    moons = data.moons(samples=300, noise=0.25)
    runs = {name: train(moons, schedule) for name, (schedule, _, _) in SCHEDULES.items()}
    print(f"{'loss after epoch':18}" + "".join(f"{end:10}" for end in CYCLE_ENDS))
    for name, (_, losses) in runs.items():
        print(f"  {name:16}" + "".join(f"{losses[end - 1]:10.4f}" for end in CYCLE_ENDS))
    rise = np.max([runs["warm restarts"][1][end] / runs["warm restarts"][1][end - 1] for end in CYCLE_ENDS[:-1]])
    print(f"The first epoch after a restart raised the loss by a factor of up to {rise:.0f}.")
    draw(runs, folder / "warm_restarts.png")
    print(f"Drawn to {folder / 'warm_restarts.png'}")
