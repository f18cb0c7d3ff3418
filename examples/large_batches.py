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
from minigrad import data, nn, optim, schedulers, training

EPOCHS = 40
SMALL, LARGE = 32, 360
OPTIMIZERS = {
    "SGD": (lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9), (0.01, 0.03, 0.1, 0.2, 0.3, 1), "#000000", "o-"),
    "LARS": (
        lambda p, lr: optim.LARS(p, lr=lr, momentum=0.9, trust_coefficient=0.01),
        (0.1, 0.3, 0.5, 1, 1.5, 3),
        "#009E73",
        "s-.",
    ),
    "Adam": (lambda p, lr: optim.Adam(p, lr=lr), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), "#0072B2", "v--"),
    "LAMB": (lambda p, lr: optim.LAMB(p, lr=lr), (0.003, 0.01, 0.02, 0.03, 0.1, 0.3), "#D55E00", "^-"),
}


def train(train_set, make, lr, batch_size, epochs=EPOCHS, seed=0):
    """Return the trained network, and how far its first step moved each weight matrix, as a share of the matrix."""
    minigrad.manual_seed(seed)
    model = nn.MLP([64, *[64] * 6, 10])
    optimizer = make(model.parameters(), lr)
    loader = data.DataLoader(train_set, batch_size=batch_size, shuffle=True, seed=seed)
    steps = epochs * len(loader)
    warm = steps // 10
    schedule = schedulers.Join(
        [schedulers.Warmup(warm, start_factor=0.1), schedulers.CosineAnnealing(steps - warm)], [warm]
    )
    scheduler = schedulers.Scheduler(optimizer, schedule)
    weights = [p for p in model.parameters() if p.ndim == 2]
    before, moved = [w.data.copy() for w in weights], None
    with np.errstate(all="ignore"):  # too large a rate overflows, which ends the run
        for _ in range(epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                if not np.isfinite(loss.item()):
                    return model, moved
                loss.backward()
                optimizer.step()
                scheduler.step()
                if moved is None:
                    pairs = zip(weights, before, strict=True)
                    moved = np.array([np.linalg.norm(w.data - old) / np.linalg.norm(old) for w, old in pairs])
    return model, moved


def accuracy(model, part):
    with np.errstate(all="ignore"):  # as in training
        found = training.evaluate(model, part, nn.functional.cross_entropy, {"accuracy": training.correct})
    return 100 * found["accuracy"]


def draw(sweeps, moved, reference, path):
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (_, _, color, style) in OPTIMIZERS.items():
        left.plot(*zip(*sweeps[name].items(), strict=True), style, color=color, label=name)
        right.plot(range(1, 1 + len(moved[name])), moved[name] / moved[name].max(), style, color=color)
    left.axhline(reference, color="black", linestyle=":", label=f"SGD, batches of {SMALL}, its best rate")
    left.set(xscale="log", xlabel="learning rate", ylabel="held-out accuracy in %", ylim=(0, 100))
    left.set_title(f"Batches of {LARGE}: how high does each reach?")
    right.set(yscale="log", xlabel="layer, from the input", ylabel="first step, as a share of the weights")
    right.set_title("Does every layer move by the same share? (largest = 1)")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with large batches by SGD, LARS, Adam and LAMB.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    train_set, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    sgd = OPTIMIZERS["SGD"][0]
    reference = max(accuracy(train(train_set, sgd, lr, SMALL)[0], held_out) for lr in (0.03, 0.1))
    print(f"{EPOCHS} epochs of batches of {SMALL}: SGD gets {reference:.1f} % of the held-out digits right")
    print(f"{EPOCHS} epochs of batches of {LARGE}, a tenth of the steps, each at the best of six rates:")
    sweeps, moved = {}, {}
    for name, (make, rates, _, _) in OPTIMIZERS.items():
        results = {lr: train(train_set, make, lr, LARGE) for lr in rates}
        sweeps[name] = {lr: accuracy(model, held_out) for lr, (model, _) in results.items()}
        best = max(sweeps[name], key=sweeps[name].get)
        moved[name] = results[best][1]
        spread = moved[name].max() / moved[name].min()
        print(
            f"  {name:5} {sweeps[name][best]:5.1f} % at rate {best:<5} spread of the layers' first steps: {spread:.3g}"
        )
    print("The spread: the largest first step of a layer over the smallest, both as shares of the layer's weights.")
    draw(sweeps, moved, reference, folder / "large_batches.png")
    print(f"Drawn to {folder / 'large_batches.png'}")
