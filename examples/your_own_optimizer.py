"""A new optimizer in one file: its rule, its options, its chain. Kernels, groups and state dict come with it.

This one adds the slow part of the gradient, an average over many steps, to the gradient itself before any other rule
uses it (Lee et al., "Grokfast: accelerated grokking by amplifying slow gradients", 2024).
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

import minigrad
from minigrad import data, nn, optim


@optim.rule(state=("slow_grad",))
def amplify_slow_gradients(update, slow_grad, *, alpha, strength):
    slow_grad = alpha * slow_grad + (1 - alpha) * update
    update = update + strength * slow_grad
    return update, slow_grad


class SlowSGD(optim.Optimizer):
    lr: float = optim.option(0.1, optim.at_least(0))
    alpha: float = optim.option(0.9, optim.between(0, 1))
    strength: float = optim.option(2.0)
    weight_decay: float = optim.option(0.0, optim.at_least(0))

    def chain(self):
        return [amplify_slow_gradients, optim.add_decayed_weights, optim.apply_update]


def train(train_set, make, epochs=10):
    """Return the optimizer and the mean loss of every epoch."""
    minigrad.manual_seed(0)
    model = nn.MLP([64, 64, 10])
    optimizer, losses = make(model.parameters()), []
    for _ in range(epochs):
        loader, total = data.DataLoader(train_set, batch_size=32, shuffle=True), 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(loader))
    return optimizer, losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train with your own optimizer, and print its plan.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    path = parser.parse_args().output / "your_own_optimizer.png"
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    makers = {
        "SGD, rate 0.1": (lambda p: optim.SGD(p, lr=0.1), "#000000", "o:"),
        "SlowSGD, rate 0.1": (SlowSGD, "#D55E00", "^-"),
        "SGD, rate 0.3": (lambda p: optim.SGD(p, lr=0.3), "#0072B2", "s--"),  # as large a step, without the average
    }
    for name, (make, color, style) in makers.items():
        optimizer, losses = train(data.load_digits(), make)
        axes.plot(range(1, 1 + len(losses)), losses, style, color=color, label=name)
        print(f"{name:18} loss of epoch 1: {losses[0]:.3f}, of epoch {len(losses)}: {losses[-1]:.3f}")
        if isinstance(optimizer, SlowSGD):
            plan = optimizer.plan()
    axes.set(xlabel="epoch", ylabel="mean loss", yscale="log", title="Is it more than a larger learning rate?")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    print(f"Drawn to {path}. This is how SlowSGD runs:\n\n{plan}")
