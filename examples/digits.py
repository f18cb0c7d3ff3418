"""Digits from scratch: every line of training is written out, without layers, optimizers or hidden loops.

A network of 64-64-10 units is four arrays. Its layers are two matrix products, its loss is the mean of -log p of the
right digits, and its optimizer is one subtraction. Everything that the package does for you elsewhere is in `train`.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import data


def initial_weights(rng, inputs, outputs):
    """A matrix that neither amplifies nor silences a layer of ReLUs: the variance 2 / inputs (He et al., 2015)."""
    return minigrad.tensor(rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)), dtype=np.float32, requires_grad=True)


def scores(x, weights):
    w1, b1, w2, b2 = weights
    hidden = (x @ w1 + b1).relu()
    return hidden @ w2 + b2


def cross_entropy(scores, labels):
    """The mean of -log p, where p = exp(score of the right digit) / (the sum of exp over all ten)."""
    right = scores[np.arange(len(labels)), labels]
    return (scores.logsumexp(axis=1) - right).mean()


def train(train_set, held_out, epochs=30, batch_size=32, lr=0.1, seed=0):
    rng = np.random.default_rng(seed)
    w1, w2 = initial_weights(rng, 64, 64), initial_weights(rng, 64, 10)
    b1, b2 = (minigrad.zeros(n, requires_grad=True) for n in (64, 10))
    weights = [w1, b1, w2, b2]
    errors = []
    for _ in range(epochs):
        order = rng.permutation(len(train_set))
        for start in range(0, len(order), batch_size):
            x, labels = train_set[order[start : start + batch_size]]
            loss = cross_entropy(scores(minigrad.tensor(x), weights), labels)
            loss.backward()
            with minigrad.no_grad():
                for w in weights:
                    w -= lr * w.grad
                    w.grad = None
        errors.append([100 * (predict(part, weights) != part.labels).mean() for part in (train_set, held_out)])
    return weights, np.array(errors)


def predict(part, weights):
    with minigrad.no_grad():
        return scores(minigrad.tensor(part.features), weights).argmax(axis=1).numpy()


def draw(weights, errors, held_out, path):
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    epochs = np.arange(1, len(errors) + 1)
    axes.plot(epochs, errors[:, 0], "--", color="#0072B2", label="training")
    axes.plot(epochs, errors[:, 1], color="#D55E00", label="held out")
    axes.set(xlabel="epoch", ylabel="wrong answers in %", title="The gap is what it learned by heart")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    answers = predict(held_out, weights)
    wrong = np.flatnonzero(answers != held_out.labels)[:12]
    right.suptitle("Digits it has not seen and got wrong: hard for you too?")
    for axes in (cells := right.subplots(3, 4).ravel()):
        axes.axis("off")
    for axes, row in zip(cells, wrong, strict=False):
        axes.imshow(held_out.features[row].reshape(8, 8), cmap="gray_r")
        axes.set_title(f"{held_out.labels[row]}, it says {answers[row]}", fontsize=9)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a network on digits, with every line written out.")
    parser.add_argument("--output", type=Path, default=Path(), metavar="FOLDER", help="where to write the picture")
    folder = parser.parse_args().output
    train_set, held_out = data.stratified_split(data.load_digits(), fraction=0.2, seed=0)
    weights, errors = train(train_set, held_out)
    for epoch in (1, 3, 10, len(errors)):
        print(
            f"epoch {epoch:2}: {errors[epoch - 1, 0]:5.2f} % wrong in training, {errors[epoch - 1, 1]:.2f} % held out"
        )
    draw(weights, errors, held_out, folder / "digits.png")
    print(f"{folder / 'digits.png'}: the errors in every epoch, and the digits that it still gets wrong.")
