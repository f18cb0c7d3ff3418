"""A deep network without normalization tolerates only small learning rates; adaptive clipping lets it use larger ones.

Normalization keeps the activations in range whatever a step has done to the weights. Without it, one step that is large
compared with the weights of a unit ruins that unit and, in a deep network, every unit after it. Adaptive gradient
clipping (Brock, De, Smith and Simonyan, 2021) limits the gradient of each unit to a share of the norm of its weights.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import clipping, data, nn, optim, training

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
KINDS = {  # the layer before each block, and the clip
    "nothing": (nn.Identity, lambda: None, "#000000", "o--"),
    "LayerNorm": (lambda: nn.LayerNorm(64), lambda: None, "#0072B2", "s-."),
    "adaptive clipping": (
        nn.Identity,
        lambda: clipping.adaptive(0.02, exclude="out", nonfinite="propagate"),
        "#D55E00",
        "^-",
    ),
}


class Block(nn.Module):
    """x + W₂ relu(W₁ norm(x)): each block adds to the sum of the blocks before it."""

    def __init__(self, norm):
        self.norm = norm()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x):
        return x + self.second(self.first(self.norm(x)).relu())


class ResidualNet(nn.Module):
    def __init__(self, norm, depth=6):
        self.blocks = nn.Sequential(*(Block(norm) for _ in range(depth)))
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        return self.out(self.blocks(x).relu())


def train(train_set, norm, clip, lr, epochs=6, seed=0):
    """Return the trained network, and the share of units whose gradient the clip shortened in each step."""
    minigrad.manual_seed(seed)
    model = ResidualNet(norm)
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9, clip=clip)
    clipped = []
    with np.errstate(all="ignore"):  # too large a rate overflows, which ends the run
        for _ in range(epochs):
            for x, y in data.DataLoader(train_set, batch_size=64, shuffle=True, seed=seed):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                if not np.isfinite(loss.item()):
                    return model, clipped
                loss.backward()
                optimizer.step()
                clipped += [report.acted.mean() for report in optimizer.clip_reports()]
    return model, clipped


def accuracy(model, part):
    with np.errstate(all="ignore"):  # as in training
        found = training.evaluate(model, part, nn.functional.cross_entropy, {"accuracy": training.correct})
    return 100 * found["accuracy"]


def draw(sweeps, clipped, path):
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (_, _, color, style) in KINDS.items():
        left.plot(RATES, sweeps[name], style, color=color, label=name)
    left.set(xscale="log", xlabel="learning rate", ylabel="held-out accuracy in %", ylim=(0, 100))
    left.set_title("Up to which rate does it still learn?")
    left.legend(title="what keeps the network in range", loc="lower left", frameon=False)
    for (lr, shares), shade in zip(clipped.items(), ("#F0B38A", "#D55E00", "#7A3600"), strict=True):
        right.plot(100 * np.array(shares), color=shade, linewidth=1.2, label=f"rate {lr}")
    right.set(xlabel="step", ylabel="units whose gradient was shortened, in %", ylim=(0, 105))
    right.set_title("How many units does adaptive clipping shorten?")
    right.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a deep network without normalization.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    train_set, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    sweeps, clipped = {}, {}
    print("held-out accuracy in % " + "".join(f"{f'rate {lr}':>11}" for lr in RATES))
    for name, (norm, clip, _, _) in KINDS.items():
        runs = {lr: train(train_set, norm, clip(), lr) for lr in RATES}
        sweeps[name] = [accuracy(model, held_out) for model, _ in runs.values()]
        print(f"  {name:21}" + "".join(f"{value:11.1f}" for value in sweeps[name]))
        if name == "adaptive clipping":
            clipped = {lr: runs[lr][1] for lr in (0.01, 0.03, 0.1)}
    highest = {
        name: max((lr for lr, value in zip(RATES, values, strict=True) if value > 80), default="none")
        for name, values in sweeps.items()
    }
    print(
        "The largest rate that still reaches 80 %: " + ", ".join(f"{name} {lr}" for name, lr in highest.items()) + "."
    )
    draw(sweeps, clipped, folder / "without_normalization.png")
    print(f"Drawn to {folder / 'without_normalization.png'}")
